"""The values that go into a venue and come out of it: orders, fills, positions, wallet, notices.

Rows are immutable except :class:`Order`, whose state the matching owns: everybody else only reads it.
Signs: quantities are positive with a side; position ``size`` is signed (negative = short); ``fee`` + =
expense; a FUNDING fill has ``fee`` + = paid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from fundarb.core.account import CoinBalance, PositionReport, Wallet
from fundarb.core.market import Category
from fundarb.core.orders import ExecKind, Execution, OrderReport, OrderStatus, Side, TimeInForce

CLOSING = "CreateByClosing"
"""The ``createType`` of a reduce-only order (Bybit V5 API)."""


class OrderType(StrEnum):
    """Limit or market, with the wire's own words."""

    LIMIT = "Limit"
    MARKET = "Market"


class MarketUnit(StrEnum):
    """What the quantity of a spot market order counts."""

    BASE = "baseCoin"
    QUOTE = "quoteCoin"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderSpec:
    """An order as a client asks for it. ``price`` is None for a market order.

    ``market_unit`` None means the wire's default: a spot market buy counts quote, everything else base.
    ``leverage`` is the wire's ``isLeverage`` (spot may borrow).
    """

    category: Category
    symbol: str
    side: Side
    quantity: Decimal
    order_type: OrderType = OrderType.LIMIT
    price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    link_id: str = ""
    reduce_only: bool = False
    market_unit: MarketUnit | None = None
    leverage: bool = False
    close_on_trigger: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """What a fault makes of one order: fill only a fraction of its quantity (the rest is cancelled), or
    reject it when matching.
    """

    fill_frac: Decimal | None = None
    reject_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderMatch:
    """Which of the next orders an armed directive is for; None matches everything."""

    category: Category | None = None
    symbol: str | None = None
    side: Side | None = None
    link_id: str | None = None
    reduce_only: bool | None = None

    def fits(self, spec: OrderSpec) -> bool:
        """Whether the order is meant."""
        return (
            self.category in {None, spec.category}
            and self.symbol in {None, spec.symbol}
            and self.side in {None, spec.side}
            and self.link_id in {None, spec.link_id}
            and self.reduce_only in {None, spec.reduce_only}
        )


@dataclass(frozen=True, slots=True)
class Ack:
    """The venue's acknowledgement of a create or cancel: the *request* was accepted, nothing more."""

    order_id: str
    link_id: str


@dataclass(slots=True, kw_only=True)
class Order:
    """One order. ``price`` is the limit in force (for a market order its protective bound, as on the wire).

    ``fees`` is by coin, + = expense. ``status`` moves only forward. ``locked`` is what is reserved of
    ``locked_coin`` for the unfilled part of a spot order. ``by_value``: the quantity counts quote (spot
    market buy). ``updated`` changes with every event. ``worst`` is the last level that a perp market order
    would have reached when it came in; margin is reckoned at it.
    """

    order_id: str
    link_id: str
    category: Category
    symbol: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    quantity: Decimal
    price: Decimal | None
    reduce_only: bool
    by_value: bool
    created: datetime
    updated: datetime
    sequence: int
    create_type: str = "CreateByUser"
    leverage: bool = False
    status: OrderStatus = OrderStatus.NEW
    filled: Decimal = Decimal(0)
    filled_value: Decimal = Decimal(0)
    fees: dict[str, Decimal] = field(default_factory=dict)
    reject_reason: str = "EC_NoError"
    cancel_type: str = "UNKNOWN"
    locked: Decimal = Decimal(0)
    locked_coin: str = ""
    resting: bool = False
    fill_frac: Decimal | None = None
    reject_at_match: str = ""
    worst: Decimal | None = None

    @property
    def average_price(self) -> Decimal | None:
        """Value ÷ quantity of what was filled, None without a fill."""
        return self.filled_value / self.filled if self.filled else None

    @property
    def leaves(self) -> Decimal:
        """What is still to fill, in the unit of ``quantity``; zero once the order is final."""
        if self.status.final:
            return Decimal(0)
        return self.quantity - (self.filled_value if self.by_value else self.filled)

    def report(self) -> OrderReport:
        """As the core type."""
        return OrderReport(
            order_id=self.order_id,
            link_id=self.link_id,
            category=self.category,
            symbol=self.symbol,
            side=self.side,
            quantity=self.quantity,
            limit_price=self.price,
            filled=self.filled,
            average_price=self.average_price,
            status=self.status,
            reduce_only=self.reduce_only,
            reject_reason=self.reject_reason,
            cancel_type=self.cancel_type,
            created=self.created,
            updated=self.updated,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """One execution row. ``value = cash(price × quantity)``; ``mark`` and ``closed`` are None/zero for
    spot.

    ``sequence`` grows over the whole venue. For FUNDING: ``quantity`` is the position size, ``price`` the
    settlement mark, ``order_quantity`` zero, ``fee`` + = paid.
    """

    exec_id: str
    order_id: str
    link_id: str
    category: Category
    symbol: str
    side: Side
    order_type: str
    order_price: Decimal
    order_quantity: Decimal
    leaves: Decimal
    price: Decimal
    quantity: Decimal
    value: Decimal
    fee: Decimal
    fee_coin: str
    fee_rate: Decimal
    maker: bool
    kind: ExecKind
    time: datetime
    mark: Decimal | None
    closed: Decimal
    create_type: str
    sequence: int

    def execution(self) -> Execution:
        """As the core type."""
        return Execution(
            exec_id=self.exec_id,
            order_id=self.order_id,
            link_id=self.link_id,
            category=self.category,
            symbol=self.symbol,
            side=self.side,
            price=self.price,
            quantity=self.quantity,
            value=self.value,
            fee=self.fee,
            fee_coin=self.fee_coin,
            kind=self.kind,
            raw_kind=self.kind.value,
            time=self.time,
            maker=self.maker,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionView:
    """One perp position with everything the wire shows; ``size`` signed, zero when flat (asked by symbol).

    ``entry_price`` is None when flat. ``realised`` is of this holding, ``realised_total`` of all time (both
    after fees and funding). ``liquidation_price`` is an estimate in cross margin, None if there is none.
    """

    symbol: str
    size: Decimal
    entry_price: Decimal | None
    value: Decimal
    mark: Decimal
    leverage: Decimal
    liquidation_price: Decimal | None
    initial_margin: Decimal
    maintenance_margin: Decimal
    unrealised: Decimal
    realised: Decimal
    realised_total: Decimal
    adl_rank: int
    status: str
    reduce_only: bool
    risk_limit: Decimal
    created: datetime | None
    opened: datetime | None
    updated: datetime | None
    sequence: int

    def report(self) -> PositionReport:
        """As the core type."""
        return PositionReport(
            symbol=self.symbol,
            size=self.size,
            average_price=self.entry_price,
            mark_price=self.mark,
            leverage=self.leverage,
            liquidation_price=self.liquidation_price,
            unrealised_pnl=self.unrealised,
            maintenance_margin=self.maintenance_margin,
            adl_rank=self.adl_rank,
            reduce_only=self.reduce_only,
            status=self.status,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CoinView:
    """One coin of the unified wallet; amounts in the coin, ``usd_value`` in USD. ``wallet`` includes
    spot-borrowed coins.

    ``borrowed`` = spot and derivative liability; ``equity = wallet − spot_borrowed + unrealised``.
    """

    coin: str
    wallet: Decimal
    locked: Decimal
    borrowed: Decimal
    spot_borrowed: Decimal
    accrued_interest: Decimal
    equity: Decimal
    usd_value: Decimal
    unrealised: Decimal
    realised_total: Decimal
    order_im: Decimal
    position_im: Decimal
    position_mm: Decimal
    collateral: bool
    collateral_switch: bool

    def balance(self) -> CoinBalance:
        """As the core type."""
        return CoinBalance(
            coin=self.coin,
            wallet=self.wallet,
            locked=self.locked,
            borrowed=self.borrowed,
            spot_borrowed=self.spot_borrowed,
            accrued_interest=self.accrued_interest,
            equity=self.equity,
            usd_value=self.usd_value,
            unrealised_pnl=self.unrealised,
            collateral=self.collateral and self.collateral_switch,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletView:
    """The whole account in USD, with its coins. Rates are fractions; liquidation at ``mm_rate ≥ 1``."""

    total_equity: Decimal
    total_wallet: Decimal
    margin_balance: Decimal
    available: Decimal
    unrealised: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    im_rate: Decimal
    mm_rate: Decimal
    coins: Mapping[str, CoinView]

    def report(self) -> Wallet:
        """As the core type."""
        return Wallet(
            total_equity=self.total_equity,
            margin_balance=self.margin_balance,
            available=self.available,
            initial_margin_rate=self.im_rate,
            maintenance_margin_rate=self.mm_rate,
            coins={name: coin.balance() for name, coin in self.coins.items()},
        )


class Topic(StrEnum):
    """The private streams a notice belongs to; MARKET: an override, status or instrument changed outside
    the feed.
    """

    ORDER = "order"
    EXECUTION = "execution"
    POSITION = "position"
    WALLET = "wallet"
    MARKET = "market"


@dataclass(frozen=True, slots=True)
class Notice:
    """Told to subscribers in the order of events. ``payload``: a *copy* of the Order, a Fill, a symbol
    (POSITION, MARKET), "" (WALLET).
    """

    topic: Topic
    at: datetime
    payload: Order | Fill | str
