"""Everything of a venue that can change, in one tree of plain values, so that a snapshot is complete by
construction.

Only data and the smallest invariants live here; who may change what is the business of the modules that own
the behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import IntEnum

from fundarb.core.account import VIP0_LINEAR, VIP0_SPOT, FeeRates, Transaction
from fundarb.core.market import Category, Level, SettledFunding
from fundarb.core.money import ONE, ZERO
from fundarb.venue.rows import Directive, Fill, Order, OrderMatch

_VIP0_SPOT = FeeRates(taker=VIP0_SPOT.taker, maker=VIP0_SPOT.maker)
_VIP0_LINEAR = FeeRates(taker=VIP0_LINEAR.taker, maker=VIP0_LINEAR.maker)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How this venue behaves; all of it settable, none of it kinder than the real one by default.

    ``recovery``: how long taken liquidity needs to come back. ``close_only``: how long before its delivery a
    contract takes no new positions. ``settling``: how long from a settlement on its contract takes no orders.
    ``borrow_im``/``borrow_mm``: margin asked for a borrowed USD, as fractions.
    """

    match_delay: timedelta = timedelta()
    recovery: timedelta = timedelta(seconds=30)
    spot_fees: FeeRates = _VIP0_SPOT
    linear_fees: FeeRates = _VIP0_LINEAR
    default_leverage: Decimal = Decimal(10)
    borrow_im: Decimal = Decimal("0.1")
    borrow_mm: Decimal = Decimal("0.04")
    hourly_interest_minute: int = 5
    close_only: timedelta = timedelta(minutes=30)
    settling: timedelta = timedelta(seconds=1)
    keep_closed: int = 500


class DueKind(IntEnum):
    """What can be due; among things due at one instant the smaller number goes first.

    FUNDING must stay first: settlements are searched in (now, …], so nothing may move the clock to their
    instant before them.
    """

    FUNDING = 0
    HAPPENING = 1
    DELIVERY = 2
    INTEREST = 3
    MATCH = 4
    CANCEL = 5
    RESTING = 6
    RISK = 7
    AMEND = 8


@dataclass(frozen=True, slots=True, order=True)
class Due:
    """One entry of the agenda; ``subject`` is an order id or a symbol."""

    at: datetime
    kind: DueKind
    sequence: int
    subject: str


@dataclass(frozen=True, slots=True)
class Taken:
    """Liquidity taken from one side of one book: so much base at that instant, coming back evenly."""

    quantity: Decimal
    at: datetime


@dataclass(frozen=True, slots=True)
class Jump:
    """A factor of all prices of a coin that held before an instant."""

    until: datetime
    factor: Decimal


@dataclass(frozen=True, slots=True)
class FixedBook:
    """A book that the world has put in place of the feed's."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


@dataclass(frozen=True, slots=True)
class CollateralRule:
    """What the world has decided about a coin: platform switch, and a flat ratio instead of the tiers."""

    on: bool
    ratio: Decimal | None


@dataclass(slots=True, kw_only=True)
class MarketState:
    """What differs from the feed. Keys: symbol, coin, or ``category:symbol`` (``book`` keys also name the
    side).
    """

    factors: dict[str, Decimal] = field(default_factory=dict)
    jumps: dict[str, list[Jump]] = field(default_factory=dict)
    marks: dict[str, Decimal] = field(default_factory=dict)
    books: dict[str, FixedBook] = field(default_factory=dict)
    frozen: dict[str, datetime] = field(default_factory=dict)
    taken: dict[str, Taken] = field(default_factory=dict)
    patches: dict[str, dict[str, str]] = field(default_factory=dict)
    rates: dict[str, Decimal] = field(default_factory=dict)
    intervals: dict[str, int] = field(default_factory=dict)
    own_since: dict[str, datetime] = field(default_factory=dict)
    settled: dict[str, list[SettledFunding]] = field(default_factory=dict)
    deliveries: dict[str, datetime] = field(default_factory=dict)
    closed: dict[str, datetime] = field(default_factory=dict)
    halted: dict[str, bool] = field(default_factory=dict)
    filters: dict[str, dict[str, str]] = field(default_factory=dict)
    collateral: dict[str, CollateralRule] = field(default_factory=dict)
    usd: Decimal = ONE


@dataclass(slots=True, kw_only=True)
class Coin:
    """One coin of the wallet. ``wallet`` includes ``borrowed`` coins (spot borrowing); ``locked`` is tied
    in spot orders.
    """

    wallet: Decimal = ZERO
    locked: Decimal = ZERO
    borrowed: Decimal = ZERO
    accrued_interest: Decimal = ZERO
    realised: Decimal = ZERO
    collateral_switch: bool = True

    def debt(self, equity: Decimal, locked: Decimal | None = None) -> Decimal:
        """What is owed of it: what spot orders tie up covers no losses (Bybit: |min(0, equity − frozen)|)."""
        return max(self.borrowed, (self.locked if locked is None else locked) - equity, ZERO)


@dataclass(slots=True, kw_only=True)
class Position:
    """One perp position. ``cost`` = signed size × average entry, a multiple of 1e-8: what realised P&L has
    not taken yet.
    """

    symbol: str
    size: Decimal = ZERO
    cost: Decimal = ZERO
    realised: Decimal = ZERO
    realised_total: Decimal = ZERO
    adl_rank: int = 0
    status: str = "Normal"
    created: datetime | None = None
    opened: datetime | None = None
    updated: datetime | None = None
    sequence: int = -1


@dataclass(slots=True, kw_only=True)
class AccountState:
    """The account: coins, positions, its two histories, and the other side of every entry (``truth``:
    ``account|coin``).
    """

    coins: dict[str, Coin] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    leverage: dict[str, Decimal] = field(default_factory=dict)
    log: list[Transaction] = field(default_factory=list)
    fills: list[Fill] = field(default_factory=list)
    truth: dict[str, Decimal] = field(default_factory=dict)
    opening: dict[str, Decimal] = field(default_factory=dict)
    fees: dict[str, FeeRates] = field(default_factory=dict)
    mnt: dict[str, bool] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Armed:
    """A directive that waits for its order."""

    match: OrderMatch
    directive: Directive


@dataclass(frozen=True, slots=True)
class Amendment:
    """A change of an open order that was acknowledged and is on its way to the matching; None: as it is."""

    quantity: Decimal | None
    price: Decimal | None


@dataclass(slots=True, kw_only=True)
class KeyState:
    """The API key as the world has changed it; the server enforces it."""

    expires: datetime | None = None
    read_only: bool = False
    permissions: dict[str, list[str]] = field(default_factory=dict)
    addresses: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class State:
    """The whole venue. ``counter`` numbers every event; ``script`` counts performed lines of the feed's
    script; ``amendments`` waits by order id; ``checked`` is until when the account's risk was judged by the
    extremes of marks too, ``near`` whether it was near enough to liquidation to be looked at in every step;
    ``forgotten`` the number of the last restart: order/realtime shows no order that closed before it.
    """

    uid: str
    start: datetime
    now: datetime
    next_interest: datetime
    next_risk: datetime
    counter: int = 0
    script: int = 0
    market: MarketState = field(default_factory=MarketState)
    account: AccountState = field(default_factory=AccountState)
    orders: dict[str, Order] = field(default_factory=dict)
    agenda: list[Due] = field(default_factory=list)
    armed: list[Armed] = field(default_factory=list)
    checked: datetime | None = None
    near: bool = False
    forgotten: int = 0
    amendments: dict[str, list[Amendment]] = field(default_factory=dict)
    key: KeyState = field(default_factory=KeyState)
    delta_mode: bool = False
    margin_mode: str = "REGULAR_MARGIN"

    def count(self) -> int:
        """The next number of an event, order or row."""
        self.counter += 1
        return self.counter


_WORDS = {category: category.value for category in Category}
"""Reading ``.value`` of an enum costs more than the rest of the key."""


def slot(category: Category, symbol: str) -> str:
    """The key of a symbol in a market."""
    return f"{_WORDS[category]}:{symbol}"
