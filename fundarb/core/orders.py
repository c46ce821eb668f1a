"""The words of an order: side, leg, purpose, request, report, execution, and the link id that names it at the
venue.

An acknowledgement is not an order, an order's status is not its fill: only executions say what was traded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from fundarb.core.market import Category


class Side(StrEnum):
    """Buy or sell, with the venue's own words."""

    BUY = "Buy"
    SELL = "Sell"

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY

    @property
    def sign(self) -> int:
        """+1 for a buy, −1 for a sell."""
        return 1 if self is Side.BUY else -1


class Leg(StrEnum):
    """The two legs of a position."""

    SPOT = "spot"
    PERP = "perp"

    @property
    def category(self) -> Category:
        """The product type in which this leg trades."""
        return Category.SPOT if self is Leg.SPOT else Category.LINEAR

    @property
    def other(self) -> Leg:
        """The other leg."""
        return Leg.PERP if self is Leg.SPOT else Leg.SPOT


class Purpose(StrEnum):
    """What an order is for."""

    ENTER = "enter"
    TOP_UP = "top_up"
    TRIM = "trim"
    UNWIND = "unwind"
    EXIT = "exit"

    @property
    def adds_exposure(self) -> bool:
        """Whether the hard caps for new exposure apply (hedges and reductions obey other caps)."""
        return self is Purpose.ENTER


class TimeInForce(StrEnum):
    """How long an order rests; fundarb itself only sends IOC."""

    IOC = "IOC"
    FOK = "FOK"
    GTC = "GTC"
    POST_ONLY = "PostOnly"


class OrderStatus(StrEnum):
    """The venue's order states (Bybit V5 API); UNKNOWN stands for a word the venue added later."""

    NEW = "New"
    PARTIALLY_FILLED = "PartiallyFilled"
    UNTRIGGERED = "Untriggered"
    REJECTED = "Rejected"
    PARTIALLY_FILLED_CANCELED = "PartiallyFilledCanceled"
    FILLED = "Filled"
    CANCELLED = "Cancelled"
    TRIGGERED = "Triggered"
    DEACTIVATED = "Deactivated"
    UNKNOWN = "Unknown"

    @property
    def final(self) -> bool:
        """Whether nothing more can happen to the order. A final order may have any filled quantity."""
        return self in _FINAL


_FINAL = frozenset(
    {
        OrderStatus.REJECTED,
        OrderStatus.PARTIALLY_FILLED_CANCELED,
        OrderStatus.FILLED,
        OrderStatus.CANCELLED,
        OrderStatus.DEACTIVATED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """An order as it is to be sent: always a limit order with a price cap, quantity in base units (contracts
    for a perp).

    ``quantity`` and ``limit_price`` are exact multiples of the instrument's steps. ``reduce_only`` exists on
    perps only.
    """

    link_id: str
    category: Category
    symbol: str
    side: Side
    quantity: Decimal
    limit_price: Decimal
    reduce_only: bool = False
    time_in_force: TimeInForce = TimeInForce.IOC


class Outcome(StrEnum):
    """What an answer to a write means."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    EXISTS = "exists"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteAnswer:
    """The classified answer to a create or cancel. ACCEPTED means the *request* was accepted, no more.

    ``code`` is the venue's retCode if there was one, ``sent`` is False only when no byte left this process.
    ``extend_table`` is True when the code is not in the outcome table and somebody should look at it.
    """

    outcome: Outcome
    order_id: str = ""
    code: int | None = None
    message: str = ""
    sent: bool = True
    extend_table: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderReport:
    """The venue's account of one order. ``average_price`` is None without a fill."""

    order_id: str
    link_id: str
    category: Category
    symbol: str
    side: Side
    quantity: Decimal
    limit_price: Decimal | None
    filled: Decimal
    average_price: Decimal | None
    status: OrderStatus
    reduce_only: bool
    reject_reason: str
    cancel_type: str
    created: datetime
    updated: datetime


class ExecKind(StrEnum):
    """The venue's execution types; OTHER stands for one that was added later (its text is kept in
    ``raw_kind``).
    """

    TRADE = "Trade"
    FUNDING = "Funding"
    ADL = "AdlTrade"
    BUST = "BustTrade"
    DELIVERY = "Delivery"
    SETTLE = "Settle"
    OTHER = "Other"

    @property
    def trades(self) -> bool:
        """Whether it moves a quantity (funding does not)."""
        return self in _TRADING_KINDS


_TRADING_KINDS = frozenset({ExecKind.TRADE, ExecKind.ADL, ExecKind.BUST, ExecKind.DELIVERY, ExecKind.SETTLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One execution row. ``fee`` + = expense, in ``fee_coin``; for FUNDING ``fee`` + = *paid*, − = received.

    ``quantity`` is positive in base units, ``price`` the fill price (the settlement mark for FUNDING),
    ``value`` in quote.
    """

    exec_id: str
    order_id: str
    link_id: str
    category: Category
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    value: Decimal
    fee: Decimal
    fee_coin: str
    kind: ExecKind
    raw_kind: str
    time: datetime
    maker: bool = False

    @property
    def key(self) -> str:
        """The unique key under which the ledger posts it."""
        return f"exec:{self.category}:{self.symbol}:{self.exec_id}"


LINK_PREFIX = "fa-"
_LINK_ID = re.compile(
    r"fa-(?P<tag>[0-9a-z]{4})-(?P<plan>[0-9A-Z]{10})-(?P<leg>[sp])(?P<seq>\d{3}|[1-9]\d{3,5})", re.ASCII
)
_LEG_LETTER = {Leg.SPOT: "s", Leg.PERP: "p"}
_LETTER_LEG = {letter: leg for leg, letter in _LEG_LETTER.items()}
MAX_SEQ = 999_999
"""Three digits, more where a plan needs them: 26 of the venue's 36 characters at most."""


@dataclass(frozen=True, slots=True)
class LinkId:
    """The parts of one of our link ids: which database (tag), which plan, which leg, which order of the
    plan.
    """

    tag: str
    plan: str
    leg: Leg
    seq: int

    def __str__(self) -> str:
        """As it goes over the wire, 23 characters up to the 999th order (36 are allowed)."""
        return f"{LINK_PREFIX}{self.tag}-{self.plan}-{_LEG_LETTER[self.leg]}{self.seq:03d}"


def link_id(tag: str, plan: str, *, leg: Leg, seq: int) -> str:
    """``fa-{tag:4}-{plan:10}-{s|p}{seq:03}``; ``ValueError`` if a part does not fit its form.

    A number beyond 999 simply has more digits: an order that hedges is never one too many.
    """
    text = str(LinkId(tag, plan, leg, seq))
    if not 1 <= seq <= MAX_SEQ or _LINK_ID.fullmatch(text) is None:
        msg = f"not a valid link id: {text!r}"
        raise ValueError(msg)
    return text


def parse_link_id(text: str) -> LinkId | None:
    """The parts of one of *anybody's* fundarb link ids; None for foreign ones."""
    match = _LINK_ID.fullmatch(text)
    if match is None:
        return None
    return LinkId(match["tag"], match["plan"], _LETTER_LEG[match["leg"]], int(match["seq"]))
