"""Market facts: instruments, quotes, books, funding rates, pairs and the snapshot of a whole market.

Immutable values; what a venue sent has been checked before it becomes one of these (``exchange.parse``), so
prices here are finite and positive or None where the venue said "not applicable". Nothing here decides
anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from fundarb.core.money import ZERO


class Category(StrEnum):
    """The product type, with the venue's own words."""

    SPOT = "spot"
    LINEAR = "linear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """What both kinds of instrument share. Quantities are in base units of the instrument (contracts for a
    perp).

    ``min_qty`` is zero where the venue has no quantity minimum; ``min_notional`` is in the quote coin.
    ``price_limit_x`` and ``price_limit_y`` are the fractions of the venue's price band (Bybit V5 API), None
    if unknown.
    """

    symbol: str
    base_coin: str
    quote_coin: str
    status: str
    symbol_type: str
    tick_size: Decimal
    qty_step: Decimal
    min_qty: Decimal
    min_notional: Decimal
    max_limit_qty: Decimal
    max_market_qty: Decimal
    price_limit_x: Decimal | None = None
    price_limit_y: Decimal | None = None

    @property
    def trading(self) -> bool:
        """Whether the venue lists it as open for trading."""
        return self.status == "Trading"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotInstrument(Instrument):
    """A spot pair. ``special_treatment`` is the venue's warning tag (``stTag``)."""

    special_treatment: bool = False
    margin_trading: str = "none"

    @property
    def category(self) -> Category:
        """Always spot."""
        return Category.SPOT


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpInstrument(Instrument):
    """A linear contract. ``base_coin`` still carries the multiplier (``1000PEPE``).

    ``delivery_time`` is None for a healthy perpetual; a value on a perpetual announces its delisting.
    ``listed_interval`` is the *slow* funding interval of the instrument list; the live one is in
    ``FundingRate``.
    """

    settle_coin: str
    contract_type: str
    launch_time: datetime | None
    delivery_time: datetime | None
    listed_interval: timedelta
    max_leverage: Decimal
    leverage_step: Decimal
    pre_listing: bool = False
    rate_cap: Decimal | None = None
    rate_floor: Decimal | None = None

    @property
    def category(self) -> Category:
        """Always linear."""
        return Category.LINEAR

    @property
    def perpetual(self) -> bool:
        """Whether it has no expiry by design (dated futures do)."""
        return self.contract_type == "LinearPerpetual"


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingRate:
    """The running funding period: the predicted ``rate`` that longs pay to shorts at ``next_time``.

    A fraction per ``interval``; positive = shorts receive. It keeps moving until the settlement. ``cap`` is
    the largest absolute rate, None if the venue did not say. The first rate after an interval change is for
    the new number of hours.
    """

    rate: Decimal
    interval: timedelta
    next_time: datetime
    cap: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledFunding:
    """A rate that was settled at ``time`` (fraction of notional, positive = shorts received)."""

    symbol: str
    rate: Decimal
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Best bid and ask with their sizes in base units; ``turnover_24h`` in the quote coin."""

    symbol: str
    bid: Decimal
    bid_size: Decimal
    ask: Decimal
    ask_size: Decimal
    last: Decimal
    turnover_24h: Decimal

    @property
    def mid(self) -> Decimal:
        """The middle of bid and ask."""
        return (self.bid + self.ask) / 2

    @property
    def spread(self) -> Decimal:
        """The quoted spread as a fraction of mid."""
        return (self.ask - self.bid) / self.mid


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotQuote(Quote):
    """A spot quote. ``usd_index`` is None when the coin is not collateral."""

    usd_index: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PerpQuote(Quote):
    """A perp quote with mark, index, open interest (quote coin) and the running funding (None on dated
    futures).
    """

    mark: Decimal
    index: Decimal
    open_interest_notional: Decimal
    funding: FundingRate | None
    delivery_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """One price level of a book; quantity in base units."""

    price: Decimal
    quantity: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """An order book: bids from the best down, asks from the best up. ``as_of`` is the matching engine's
    time.
    """

    category: Category
    symbol: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    as_of: datetime

    @property
    def mid(self) -> Decimal:
        """The middle of the best bid and ask; both sides must be non-empty."""
        return (self.bids[0].price + self.asks[0].price) / 2

    @property
    def crossed(self) -> bool:
        """Whether it is empty on a side or bid ≥ ask, so that nothing may be decided from it."""
        return not self.bids or not self.asks or self.bids[0].price >= self.asks[0].price


def depth_at(levels: tuple[Level, ...], cap_price: Decimal, *, buying: bool) -> Decimal:
    """The quote value that can be taken from ``levels`` without passing ``cap_price``."""
    total = ZERO
    for level in levels:
        if (level.price > cap_price) if buying else (level.price < cap_price):
            break
        total += level.price * level.quantity
    return total


def average_price(levels: tuple[Level, ...], quantity: Decimal) -> Decimal | None:
    """The volume-weighted price of taking ``quantity`` from ``levels``; None if they do not hold so much."""
    left, value = quantity, ZERO
    for level in levels:
        taken = min(left, level.quantity)
        value += taken * level.price
        left -= taken
        if left <= 0:
            return value / quantity
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The spot and the perp of one coin; one contract hedges ``multiplier`` coins."""

    base: str
    spot: SpotInstrument
    perp: PerpInstrument
    multiplier: Decimal


@dataclass(frozen=True, slots=True)
class Instruments:
    """Every instrument of the venue, by symbol, with the instant at which the list was read."""

    spot: Mapping[str, SpotInstrument]
    perp: Mapping[str, PerpInstrument]
    as_of: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketSnapshot:
    """All quotes of the market. Rows carry no time of their own: ``spot_as_of``/``perp_as_of`` are the
    venue's answer times.

    ``unreadable`` names symbols whose row could not be trusted, with why (empty, NaN, zero or negative prices
    …).
    """

    spot: Mapping[str, SpotQuote]
    perp: Mapping[str, PerpQuote]
    spot_as_of: datetime
    perp_as_of: datetime
    unreadable: Mapping[str, str] = field(default_factory=dict)

    @property
    def as_of(self) -> datetime:
        """The older of the two answer times."""
        return min(self.spot_as_of, self.perp_as_of)
