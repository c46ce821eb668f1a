"""Where a venue's prices come from: the port that market sources satisfy, and the values that cross it.

The venue asks lazily, per symbol and instant, and never looks ahead: an implementation must answer for the
asked instant only, the same instant always with the same answer, and may be asked for any order of
instants. Values are Decimals that are already multiples of the instrument's tick where they are quotes
(bid, ask, book levels); mark and index need not be. This module decides nothing about accounts or orders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple, Protocol, runtime_checkable

from fundarb.core.market import Book, Category, FundingRate, PerpInstrument, SettledFunding, SpotInstrument


class Point(NamedTuple):
    """The market of one symbol at one instant. A named tuple because hundreds are made at each step of the
    clock.

    ``bid``/``ask`` are None when that side of the book is empty. For spot, ``mark`` is the fair price (the
    middle will do) and ``index`` the price index of the pair; ``open_interest`` is in base units
    (contracts), zero for spot. ``turnover_24h`` is in the quote coin, ``volume_24h`` in base units.
    ``prev_24h`` is the last price a day ago.
    """

    bid: Decimal | None
    bid_size: Decimal
    ask: Decimal | None
    ask_size: Decimal
    last: Decimal
    mark: Decimal
    index: Decimal  # type: ignore[assignment]  # the method of tuples is of no use here
    turnover_24h: Decimal
    volume_24h: Decimal
    prev_24h: Decimal
    high_24h: Decimal
    low_24h: Decimal
    open_interest: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskTier:
    """One risk tier of a perp: valid up to ``limit`` of position value (settle coin).

    ``mm = value × mm_rate − mm_deduction``; ``im_rate = 1/max_leverage``.
    """

    limit: Decimal
    mm_rate: Decimal
    im_rate: Decimal
    max_leverage: Decimal
    mm_deduction: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What the venue knows of one instrument beyond the public core type.

    ``tiers`` lowest first (perps; empty = one generous default tier is assumed). ``quote_precision`` is the
    wire's ``quotePrecision`` of a spot pair, ``postonly_max_qty`` its ``postOnlyMaxLimitOrderSize`` (None:
    as for limit orders).
    """

    instrument: SpotInstrument | PerpInstrument
    tiers: tuple[RiskTier, ...] = ()
    quote_precision: Decimal = Decimal("1e-8")
    postonly_max_qty: Decimal | None = None

    @property
    def category(self) -> Category:
        """Spot or linear."""
        return self.instrument.category

    @property
    def symbol(self) -> str:
        """The wire's symbol."""
        return self.instrument.symbol


@dataclass(frozen=True, slots=True, kw_only=True)
class CollateralTier:
    """Coins up to ``limit`` (None = no end) count with ``ratio`` of their value; marginal, like a tax
    bracket.
    """

    limit: Decimal | None
    ratio: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class CoinRules:
    """Collateral and lending of one coin. ``hourly_borrow_rate`` is a fraction per hour.

    ``free_borrow`` is the interest-free allowance, which covers unrealised derivative losses only.
    """

    coin: str
    tiers: tuple[CollateralTier, ...]
    hourly_borrow_rate: Decimal = Decimal("0.00001")
    free_borrow: Decimal = Decimal(0)
    max_borrow: Decimal = Decimal(1_000_000)


class HappeningKind(StrEnum):
    """What a script can do to the venue besides moving prices and funding (those live in the prices)."""

    DELIST_ANNOUNCED = "delist_announced"
    """``deliveryTime`` becomes ``when``; trading goes on until then, then positions are settled."""
    HALT = "halt"
    RESUME = "resume"
    COLLATERAL = "collateral"
    """The collateral ratio of the coin named by ``symbol`` becomes ``value`` (0 = none)."""
    NOTE = "note"
    """Nothing to do: a pump, an interval switch, … that the prices or funding already contain; for
    announcements.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One line of a market's script. The venue performs it when its clock passes ``at``."""

    at: datetime
    kind: HappeningKind
    category: Category
    symbol: str
    when: datetime | None = None
    value: Decimal | None = None
    text: str = ""


class MarketFeed(Protocol):
    """A source of market truth: synthetic, replayed or live. Categories are told apart because names
    coincide (BTCUSDT).
    """

    def listings(self) -> tuple[Listing, ...]:
        """Every instrument that ever exists in this market (as at its start; asked once)."""

    def coins(self) -> Mapping[str, CoinRules]:
        """Collateral and borrow rules by coin (asked once); a coin that is missing is no collateral."""

    def happenings(self) -> tuple[Happening, ...]:
        """The whole script, ordered by time (asked once)."""

    def point(self, category: Category, symbol: str, *, at: datetime) -> Point:
        """One symbol's market. Must be cheap (microseconds after the first call): held symbols are asked at
        every step.
        """

    def points(self, category: Category, at: datetime) -> Mapping[str, Point]:
        """All symbols of a market at one instant, in bulk (600 symbols in a few milliseconds)."""

    def book(self, category: Category, symbol: str, *, at: datetime, depth: int) -> Book:
        """The undisturbed order book, up to ``depth`` levels a side; its best levels are the point's bid
        and ask.
        """

    def funding(self, symbol: str, at: datetime) -> FundingRate:
        """The running funding period. At a settlement instant itself ``next_time`` is already the following
        one.
        """

    def fundings(self, at: datetime) -> Mapping[str, FundingRate]:
        """The running funding of every perpetual, in bulk."""

    def settlements(self, symbol: str, since: datetime, *, until: datetime) -> tuple[SettledFunding, ...]:
        """Rates settled in ``(since, until]``, oldest first; ``until`` is never after the instant that the
        venue is being advanced to. Settlements fall on full hours.
        """


@runtime_checkable
class RangeFeed(Protocol):
    """Optional face of a source that knows more of the past than it could show while it was the present:
    prices of bars. Risk is judged by it, so that a spike between two looks is not missed.
    """

    def mark_range(self, symbol: str, since: datetime, *, until: datetime) -> tuple[Decimal, Decimal] | None:
        """The lowest and the highest mark in ``(since, until]`` as far as ``until`` can know; None: nothing
        beyond the points.
        """


@runtime_checkable
class EndingFeed(Protocol):
    """Optional face of a source that ends. Nothing is known of what comes after ``until``, so the clock of a
    venue over it must not go there.
    """

    @property
    def until(self) -> datetime:
        """The last instant of which anything is known."""


class BarKind(StrEnum):
    """Which price a bar is made of."""

    LAST = "last"
    MARK = "mark"
    INDEX = "index"
    PREMIUM = "premium"


class Bar(NamedTuple):
    """One bar: start, open, high, low, close, volume (base) and turnover (quote)."""

    start: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class BarQuery:
    """Which bars: those that start in ``[start, end]``, each ``step`` long."""

    category: Category
    symbol: str
    kind: BarKind
    step: timedelta
    start: datetime
    end: datetime


@runtime_checkable
class BarFeed(Protocol):
    """Optional second face of a market source: bars for the kline end points (the venue itself never needs
    them).
    """

    def bars(self, query: BarQuery) -> tuple[Bar, ...]:
        """Oldest first; the last one may be unfinished when ``end`` is now."""
