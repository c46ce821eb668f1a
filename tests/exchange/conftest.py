"""What the adapter's tests share: a scripted venue on loopback, adapters that talk to it, recorded
answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.clock import VirtualClock
from fundarb.core.market import Category
from fundarb.core.orders import OrderRequest, Side
from fundarb.exchange.bybit import SANDBOX_CREDENTIALS, BybitExchange, BybitSettings, connect
from tests.exchange.server import TIME_MS, FakeVenue, envelope

NOW = datetime.fromtimestamp(TIME_MS / 1000, UTC)


class Gate:
    """A wire gate that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[OrderRequest, datetime]] = []
        self.error: Exception | None = None

    def admit(self, request: OrderRequest, signed_at: datetime) -> None:
        """Remember the question; raise what the test asked for."""
        self.asked.append((request, signed_at))
        if self.error is not None:
            raise self.error


@pytest.fixture
def venue() -> Iterator[FakeVenue]:
    """A venue that knows the time and nothing else yet."""
    fake = FakeVenue()
    fake.on("/v5/market/time", envelope({"timeSecond": str(TIME_MS // 1000), "timeNano": f"{TIME_MS}000000"}))
    yield fake
    fake.close()


@pytest.fixture
def clock() -> VirtualClock:
    """A clock that stands at the fake venue's time and costs nothing to sleep on."""
    return VirtualClock(NOW)


@pytest.fixture
def gate() -> Gate:
    """A gate that lets everything pass unless told otherwise."""
    return Gate()


def settings(venue: FakeVenue, **changes: object) -> BybitSettings:
    """The fake venue as a sandbox, with patience for a busy machine."""
    patience = {"read_timeout": timedelta(seconds=10), "write_timeout": timedelta(seconds=10)}
    return BybitSettings(venue="sandbox", url=venue.url, **{**patience, **changes})  # type: ignore[arg-type]


@pytest.fixture
def public(venue: FakeVenue, clock: VirtualClock) -> Iterator[BybitExchange]:
    """An adapter without a key."""
    adapter = connect(settings(venue), clock=clock)
    yield adapter
    adapter.close()


@pytest.fixture
def exchange(venue: FakeVenue, clock: VirtualClock, gate: Gate) -> Iterator[BybitExchange]:
    """An adapter with a key and a gate."""
    adapter = connect(settings(venue), clock=clock, credentials=SANDBOX_CREDENTIALS, gate=gate)
    yield adapter
    adapter.close()


@pytest.fixture
def request_() -> OrderRequest:
    """A create of the perp leg."""
    return order_request()


def order_request(**changes: object) -> OrderRequest:
    """A create, with changes."""
    fields: dict[str, object] = {
        "link_id": "fa-k3f9-7Q2MX0WA4D-p003",
        "category": Category.LINEAR,
        "symbol": "BTCUSDT",
        "side": Side.SELL,
        "quantity": Decimal("0.0100"),
        "limit_price": Decimal("6.4E+4"),
    }
    return OrderRequest(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture
def recorded(shared_dir: Path) -> Callable[[str], bytes]:
    """The recorded answers by file name, without the folder and the ending."""
    return lambda name: (shared_dir / "fixtures" / "bybit" / "rest" / f"{name}.json").read_bytes()
