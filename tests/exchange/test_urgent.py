"""Reads while a leg is naked: a whole read ends within the patience that was given, and goes before all
others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest

from fundarb.clock import SystemClock, VirtualClock
from fundarb.core.market import Category
from fundarb.core.orders import OrderRequest, Outcome
from fundarb.errors import Unavailable
from fundarb.exchange.budget import Lane
from fundarb.exchange.bybit import SANDBOX_CREDENTIALS, BybitExchange, connect
from fundarb.exchange.patience import Patience
from fundarb.exchange.strict import NoAnswer
from tests.exchange.conftest import settings
from tests.exchange.server import FakeVenue, Reply, Request, envelope, listing

MACHINE = SystemClock()
SHORT = timedelta(milliseconds=400)
SOON = timedelta(seconds=2)
"""Well below the ordinary ten seconds, well above the patience: the machine may be busy."""

Read = Callable[[BybitExchange], object]
READS: dict[str, Read] = {
    "positions": lambda exchange: exchange.positions(),
    "wallet": lambda exchange: exchange.wallet(),
    "order": lambda exchange: exchange.order_realtime(Category.SPOT, "BTCUSDT", link_id="x"),
    "fills": lambda exchange: exchange.executions_of(Category.SPOT, "BTCUSDT", link_id="x"),
    "book": lambda exchange: exchange.book(Category.SPOT, "BTCUSDT"),
    "quotes": lambda exchange: exchange.snapshot(),
}
PATHS = (
    "/v5/position/list",
    "/v5/account/wallet-balance",
    "/v5/order/realtime",
    "/v5/execution/list",
    "/v5/market/orderbook",
    "/v5/market/tickers",
)


def took(read: Callable[[], object]) -> timedelta:
    """The machine's time until ``read`` gave up."""
    started = MACHINE.monotonic()
    with pytest.raises(Unavailable):
        read()
    return MACHINE.monotonic() - started


@pytest.mark.parametrize("name", READS)
def test_a_venue_that_hangs_is_left_after_the_patience(
    exchange: BybitExchange, venue: FakeVenue, name: str
) -> None:
    """A read of either side of the venue ends by the patience, not by its ordinary ten seconds."""
    for path in PATHS:
        venue.on(path, Reply(how="hang"))
    exchange.server_time()
    with exchange.urgent(SHORT):
        assert SHORT * 0.9 < took(lambda: READS[name](exchange)) < SOON


def test_the_patience_covers_repetitions_pages_and_the_venues_clock(
    venue: FakeVenue, exchange: BybitExchange
) -> None:
    """A venue that answers every request slowly, and the first ones with garbage, cannot add up the waits."""

    def slow(_: Request) -> Reply:
        MACHINE.sleep(timedelta(milliseconds=150))
        return Reply(listing(cursor=f"page{len(venue.requests)}"))

    venue.on("/v5/position/list", slow)
    with exchange.urgent(SHORT):
        assert took(exchange.positions) < SOON
    assert 2 <= len(venue.to("/v5/position/list")) <= 4


def test_repetitions_of_an_urgent_read_wait_less(venue: FakeVenue) -> None:
    """On a real clock a fault of a moment is survived within the patience, and no attempt is begun after
    it.
    """
    exchange = connect(settings(venue), clock=MACHINE, credentials=SANDBOX_CREDENTIALS)
    exchange.server_time()
    venue.on("/v5/position/list", Reply(b"", status=502), listing())
    with exchange.urgent(SHORT):
        assert exchange.positions() == ()
    venue.on("/v5/position/list", Reply(b"", status=502))
    with exchange.urgent(timedelta(milliseconds=60)):
        assert took(exchange.positions) < timedelta(milliseconds=500)
    exchange.close()


def test_the_patience_ends_with_its_scope(exchange: BybitExchange, venue: FakeVenue) -> None:
    """After the scope, also one left by an exception, the ordinary deadline holds again."""

    def slow(_: Request) -> Reply:
        MACHINE.sleep(timedelta(milliseconds=100))
        return Reply(listing())

    venue.on("/v5/position/list", slow)
    exchange.server_time()
    with pytest.raises(Unavailable), exchange.urgent(timedelta(milliseconds=50)):
        exchange.positions()
    assert exchange.positions() == ()


def test_each_read_of_a_scope_has_the_whole_patience(exchange: BybitExchange, venue: FakeVenue) -> None:
    """The scope bounds reads, not itself: what the engine does between two of them costs them nothing."""
    venue.on("/v5/position/list", listing())
    with exchange.urgent(SHORT):
        exchange.positions()
        MACHINE.sleep(SHORT)
        assert exchange.positions() == ()


def test_a_write_keeps_its_own_deadline(
    exchange: BybitExchange, venue: FakeVenue, request_: OrderRequest
) -> None:
    """Giving a create up early would only make its outcome uncertain."""

    def slow(_: Request) -> Reply:
        MACHINE.sleep(timedelta(milliseconds=150))
        return Reply(envelope({"orderId": "1", "orderLinkId": request_.link_id}))

    venue.on("/v5/order/create", slow)
    with exchange.urgent(timedelta(milliseconds=50)):
        answer = exchange.create(request_, signed_at=MACHINE.now())
    assert answer.outcome is Outcome.ACCEPTED


def test_urgent_reads_take_what_is_reserved_for_hedges(
    exchange: BybitExchange, venue: FakeVenue, clock: VirtualClock
) -> None:
    """When scans have used up their share, an urgent look at the market does not stand in their line."""
    venue.on("/v5/market/tickers", Reply(b"", status=502))
    exchange.server_time()
    budget = exchange._gateway.budget
    while budget._try(Lane.NORMAL, "") == 0:
        pass
    started = clock.monotonic()
    with exchange.urgent(SHORT), pytest.raises(Unavailable):
        exchange.snapshot()
    assert len(venue.to("/v5/market/tickers")) >= 1
    assert clock.monotonic() - started < SHORT


def test_a_used_up_budget_is_said_at_once(exchange: BybitExchange, clock: VirtualClock) -> None:
    """Where no token can be there in time the engine hears so without waiting, and nothing is sent."""
    budget = exchange._gateway.budget
    while budget._try(Lane.URGENT, "position") == 0:
        pass
    started = clock.monotonic()
    with pytest.raises(NoAnswer, match="budget") as caught:
        budget.take(Lane.URGENT, "position", patience=timedelta(milliseconds=1))
    assert not caught.value.sent
    assert clock.monotonic() == started


def test_another_thread_is_not_hurried(exchange: BybitExchange) -> None:
    """The patience belongs to the thread that entered it."""
    seen: list[timedelta | None] = []
    with exchange.urgent(SHORT):
        thread = threading.Thread(target=lambda: seen.append(exchange._gateway.patience.limit))
        thread.start()
        thread.join()
    assert seen == [None]


def test_of_two_patiences_the_shorter_counts() -> None:
    """An inner scope cannot give itself more than the outer one allows."""
    patience = Patience(MACHINE)
    with patience.urgent(SHORT):
        with patience.urgent(SOON):
            assert patience.limit == SHORT
        with patience.urgent(SHORT / 2):
            assert patience.limit == SHORT / 2
        assert patience.limit == SHORT
    assert patience.limit is None


@pytest.mark.parametrize("seconds", [Decimal(0), Decimal(-1)])
def test_no_patience_at_all_is_a_mistake(seconds: Decimal) -> None:
    """A scope in which no read could succeed is the caller's error."""
    with (
        pytest.raises(ValueError, match="positive"),
        Patience(MACHINE).urgent(timedelta(seconds=int(seconds))),
    ):
        pass
