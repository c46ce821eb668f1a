"""The smaller parts of the paper account: what it needs of the market, how it begins, and what its file
holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from fundarb.core.market import Category, Instruments, PerpInstrument, SpotInstrument
from fundarb.core.money import dec
from fundarb.errors import Rejected, Unavailable
from fundarb.exchange.paper_feed import Key, Terms
from fundarb.venue.codec import decode
from fundarb.venue.engine import Venue
from fundarb.venue.feed import Bar, CollateralTier, Point, RiskTier

T = TypeVar("T")
U = TypeVar("U")
_NO_SUCH_SYMBOL = frozenset({10001, 10029, 110074, 170121})
"""Codes of reads about a symbol that is not, or no longer, listed (Bybit V5 API)."""


@runtime_checkable
class MarkHistory(Protocol):
    """Optional second face of the market data: mark price bars of the past, for an exact catch-up."""

    def mark_bars(self, symbol: str, *, step: timedelta, since: datetime, until: datetime) -> tuple[Bar, ...]:
        """Bars that cover [since, until], oldest first."""


@runtime_checkable
class MarginTerms(Protocol):
    """Optional third face: the venue's public tables of margin and collateral, instead of assumptions."""

    def risk_tiers(self, symbol: str) -> tuple[RiskTier, ...]:
        """The risk tiers of a contract, lowest first."""

    def collateral(self) -> Mapping[str, tuple[CollateralTier, ...]]:
        """The collateral tiers of every coin; a coin that is missing is no collateral."""


@runtime_checkable
class Endings(Protocol):
    """Optional fourth face: what became of contracts that the venue lists no more."""

    def ended(self, symbol: str) -> datetime | None:
        """When a contract ended; None where the venue does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperAccount:
    """Where the account lives and how it begins. A ``readonly`` one is never written: for commands that
    only look.
    """

    path: Path
    balances: Mapping[str, Decimal]
    latency: timedelta = timedelta(milliseconds=200)
    readonly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CaughtUp:
    """What happened to the account while nobody looked. ``marks``: "history" or "current" (an
    approximation).
    """

    since: datetime
    until: datetime
    settlements: int
    liquidated: tuple[str, ...]
    delivered: tuple[str, ...]
    marks: str


@dataclass(slots=True, kw_only=True)
class Live:
    """What is kept beside the venue's state: expected and late settlements, the tables of margin."""

    terms: Terms = field(default_factory=Terms)
    expected: dict[str, datetime] = field(default_factory=dict)
    late: dict[str, list[datetime]] = field(default_factory=dict)


def where_known(read: Callable[[], T], otherwise: U) -> T | U:
    """What a read about one symbol gives; ``otherwise`` if the market knows nothing of the symbol (any
    more). That the market does not answer is raised: it says nothing about the symbol.
    """
    try:
        return read()
    except (Unavailable, Rejected) as error:
        if error.code not in _NO_SUCH_SYMBOL:
            raise
        return otherwise


def uid(created: str) -> str:
    """The account's uid: a hash of when, where and with what it was begun."""
    return f"paper-{sha256(created.encode()).hexdigest()[:12]}"


def worth_keeping(venue: Venue) -> list[Key]:
    """Symbols without whose quote the account cannot be valued, or an order not be ended: held contracts,
    coins owned, open orders.
    """
    held: list[Key] = [(Category.LINEAR, symbol) for symbol in venue.held()]
    spots = venue.instruments(Category.SPOT)
    held += [(Category.SPOT, f"{coin}USDT") for coin in venue.coins_owned() if f"{coin}USDT" in spots]
    held += [(kind, order.symbol) for kind in Category for order in venue.open_orders(kind)]
    return list(dict.fromkeys(held))


def text(key: Key) -> str:
    """A key as JSON can hold it."""
    return f"{key[0].value}:{key[1]}"


def row(point: Point) -> list[str | None]:
    """A quote as JSON can hold it."""
    return [None if item is None else str(item) for item in point]


def point_of(row: list[str | None]) -> Point:
    """The quote that ``row`` made; ``ValueError`` or ``TypeError`` if it is none."""
    values: Any = [None if item is None else dec(item) for item in row]
    return Point(*values)


def remembered(content: Mapping[str, Any], fresh: Instruments) -> tuple[dict[Key, Point], Instruments]:
    """Quotes and instruments of the file; what the venue lists today wins."""
    points: dict[Key, Point] = {}
    for key, values in content["quotes"].items():
        kind, _, symbol = key.partition(":")
        points[Category(kind), symbol] = point_of(values)
    spot, perp = dict(fresh.spot), dict(fresh.perp)
    for item in content["instruments"]:
        if item["category"] == Category.SPOT.value:
            old_spot = decode(SpotInstrument, item["row"])
            spot.setdefault(old_spot.symbol, old_spot)
        else:
            old_perp = decode(PerpInstrument, item["row"])
            perp.setdefault(old_perp.symbol, old_perp)
    return points, Instruments(spot=spot, perp=perp, as_of=fresh.as_of)
