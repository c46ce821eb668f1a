"""Matching: an admitted order meets the book, fills are booked with their fees, what cannot fill rests or
is cancelled.

Taker fills consume levels, and what was taken is missing from the book until it has recovered. A resting
order fills only when the opposite side of the book has reached its price, at its own price, as maker. This
module owns every change of an order's state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from fundarb.core.market import Category, PerpInstrument, SpotInstrument
from fundarb.core.money import CASH_STEP, ZERO, cash, floor_to, is_multiple
from fundarb.core.orders import ExecKind, OrderStatus, Side, TimeInForce
from fundarb.venue.account import Account, Entry
from fundarb.venue.book import Take, Want
from fundarb.venue.fees import Charge, Fees
from fundarb.venue.market import Market
from fundarb.venue.register import Register, copy_of
from fundarb.venue.rows import Fill, Notice, Order, OrderType, Topic
from fundarb.venue.state import State

NO_FILL = "EC_NoImmediateQtyToFill"
NOT_ENOUGH = "EC_NoEnoughQtyToFill"
NOT_FULL = "EC_CancelForNoFullFill"
WOULD_TAKE = "EC_PostOnlyWillTakeLiquidity"
_RESTS = frozenset({TimeInForce.GTC, TimeInForce.POST_ONLY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One fill about to be booked; ``kind`` other than TRADE has no order of ours behind it."""

    instrument: SpotInstrument | PerpInstrument
    side: Side
    price: Decimal
    quantity: Decimal
    maker: bool = False
    kind: ExecKind = ExecKind.TRADE
    log_kind: str = "TRADE"
    create_type: str = ""
    free_of_charge: bool = False


class Matching:
    """Moves orders through their states and books fills."""

    def __init__(
        self, state: State, market: Market, *, account: Account, register: Register, fees: Fees
    ) -> None:
        """Introduce the collaborators; ``tell`` is set by the venue."""
        self._state = state
        self._market = market
        self._account = account
        self._register = register
        self._fees = fees
        self.tell: Callable[[Notice], None] = _nobody

    # ------------------------------------------------------------------------------------------ orders

    def announce(self, order: Order) -> None:
        """Tell subscribers how an order stands."""
        self._stamp(order)
        self.tell(Notice(Topic.ORDER, self._state.now, copy_of(order)))

    def _stamp(self, order: Order) -> None:
        order.updated = self._state.now
        order.sequence = self._state.count()

    def finish(self, order: Order, status: OrderStatus, *, reason: str = "", cancel_type: str = "") -> None:
        """Make an order final: unlock, index, announce. A partly filled spot order has its own status."""
        if order.status.final:
            return
        if status is OrderStatus.CANCELLED and order.category is Category.SPOT and order.filled:
            status = OrderStatus.PARTIALLY_FILLED_CANCELED
        self._unlock(order, order.locked)
        order.status = status
        order.reject_reason = reason or order.reject_reason
        order.cancel_type = cancel_type or order.cancel_type
        order.resting = False
        self._register.close(order)
        self.announce(order)

    def _unlock(self, order: Order, amount: Decimal) -> None:
        if amount:
            order.locked -= amount
            self._account.coin(order.locked_coin).locked -= amount

    def match(self, order: Order) -> None:
        """The first meeting of an order with the book."""
        if order.status.final or order.resting:
            return
        if order.reject_at_match:
            self.finish(order, OrderStatus.REJECTED, reason=order.reject_at_match)
        elif not self._market.open_for_trading(order.category, order.symbol):
            self.finish(order, OrderStatus.CANCELLED, cancel_type="CancelByAdmin")
        else:
            self._meet(order)

    def _meet(self, order: Order) -> None:
        takes = self._takes(order, self._wanted(order))
        tif = order.time_in_force
        if tif is TimeInForce.POST_ONLY and takes:
            self.finish(order, OrderStatus.CANCELLED, reason=WOULD_TAKE)
            return
        if tif is TimeInForce.FOK and sum((item.quantity for item in takes), ZERO) < order.quantity:
            self.finish(order, OrderStatus.CANCELLED, reason=NOT_ENOUGH)
            return
        self._fill_all(order, takes, maker=False)
        if order.status.final:
            return
        if tif in _RESTS and order.fill_frac is None:
            order.resting = True
            if not takes:  # it stands as it was announced
                self._stamp(order)
            self._trim(order)
            return
        self._cancel_rest(order)

    def _cancel_rest(self, order: Order) -> None:
        if order.reduce_only and not self._reducible(order):
            self.finish(order, OrderStatus.CANCELLED, cancel_type="CancelByReduceOnly")
            return
        self.finish(order, OrderStatus.CANCELLED, reason=NOT_FULL if order.filled else NO_FILL)

    def touch_resting(self, order: Order) -> None:
        """A resting order looks at the book again."""
        if order.status.final or not order.resting:
            return
        if not self._market.open_for_trading(order.category, order.symbol):
            return
        if not self._trim(order):
            return
        point = self._market.point(order.category, order.symbol)
        best = point.ask if order.side is Side.BUY else point.bid
        limit = order.price or ZERO
        if best is None or (best > limit if order.side is Side.BUY else best < limit):
            return
        self._fill_all(order, self._takes(order, self._wanted(order)), maker=True)

    # ------------------------------------------------------------------------------------------ how much

    def _reducible(self, order: Order) -> Decimal:
        """What a reduce-only order may still fill."""
        size = self._account.size(order.symbol)
        return abs(size) if size * order.side.sign < 0 else ZERO

    def _trim(self, order: Order) -> bool:
        """A resting reduce-only order shrinks with its position; False if it was cancelled, as there is
        nothing left to reduce.
        """
        if not (order.resting and order.reduce_only):
            return True
        most = self._reducible(order)
        if not most:
            self.finish(order, OrderStatus.CANCELLED, cancel_type="CancelByReduceOnly")
            return False
        if order.leaves > most:
            order.quantity = order.filled + most
            self.announce(order)
        return True

    def _wanted(self, order: Order) -> Decimal:
        """What may fill now, in the order's unit."""
        wanted = order.leaves
        if order.fill_frac is not None:
            wanted = min(wanted, order.quantity * order.fill_frac)
        if order.reduce_only:
            wanted = min(wanted, self._reducible(order))
        return wanted

    def _takes(self, order: Order, wanted: Decimal) -> list[Take]:
        if wanted <= 0:
            return []
        step = self._market.instruments(order.category)[order.symbol].qty_step
        if order.reduce_only and not is_multiple(order.quantity, step):
            step = CASH_STEP  # the end of a position from before the steps changed
        want = Want(
            buying=order.side is Side.BUY,
            limit=order.price or ZERO,
            step=step,
            quantity=None if order.by_value else wanted,
            value=wanted if order.by_value else None,
        )
        return self._market.takes(order.category, order.symbol, want=want)

    # ------------------------------------------------------------------------------------------ fills

    def _fill_all(self, order: Order, takes: list[Take], *, maker: bool) -> None:
        instrument = self._market.instruments(order.category)[order.symbol]
        taken = sum((item.quantity for item in takes), ZERO)
        if not taken:
            return
        self._market.consume(order.category, order.symbol, buying=order.side is Side.BUY, quantity=taken)
        for item in takes:
            price = (order.price or item.price) if maker else item.price
            self._fill_one(order, instrument, item=Take(price, item.quantity), maker=maker)
        if order.leaves <= 0:
            self.finish(order, OrderStatus.FILLED)
        else:
            order.status = OrderStatus.PARTIALLY_FILLED
            self.announce(order)
        self._told(instrument)

    def _fill_one(
        self, order: Order, instrument: SpotInstrument | PerpInstrument, *, item: Take, maker: bool
    ) -> None:
        value = cash(item.price * item.quantity)
        order.filled += item.quantity
        order.filled_value += value
        trade = Trade(
            instrument=instrument, side=order.side, price=item.price, quantity=item.quantity, maker=maker
        )
        if order.locked:
            self._unlock(order, self._share(order, item, value=value))
        charge = self.book_trade(trade, order)
        order.fees[charge.coin] = order.fees.get(charge.coin, ZERO) + charge.amount
        if order.leverage:
            self._borrow_shortage(instrument)

    @staticmethod
    def _share(order: Order, item: Take, *, value: Decimal) -> Decimal:
        """How much of the lock one fill uses up."""
        if order.side is Side.SELL:
            used = item.quantity
        elif order.by_value:
            used = value
        else:
            used = cash(item.quantity * (order.price or item.price))
        return min(used, order.locked)

    def _borrow_shortage(self, instrument: SpotInstrument | PerpInstrument) -> None:
        """A spot order with leverage has spent more than there was: borrow it."""
        for name in (instrument.base_coin, instrument.quote_coin):
            short = -self._account.wallet(name)
            if short > 0:
                self._account.post(Entry(kind="BORROW", coin=name, cash_flow=short))
                self._account.coin(name).borrowed += short

    def _told(self, instrument: SpotInstrument | PerpInstrument) -> None:
        if isinstance(instrument, PerpInstrument):
            self.tell(Notice(Topic.POSITION, self._state.now, instrument.symbol))
            for order in self._register.open(Category.LINEAR, instrument.symbol):
                self._trim(order)
        self.tell(Notice(Topic.WALLET, self._state.now, ""))

    def book_trade(self, trade: Trade, order: Order | None = None) -> Charge:
        """Book one fill: wallet, position, transaction log, execution row, notice. ``order`` None: the
        venue's own act.
        """
        instrument = trade.instrument
        value = cash(trade.price * trade.quantity)
        charge = self._fees.charge(
            instrument, trade.side, quantity=trade.quantity, value=value, maker=trade.maker
        )
        if trade.free_of_charge:
            charge = Charge(ZERO, charge.coin, ZERO)
        exec_id = self._account.unique("exec")
        closed = ZERO
        if isinstance(instrument, PerpInstrument):
            closed = self._book_perp(instrument, trade, charge=charge, exec_id=exec_id, order=order)
        else:
            self._book_spot(instrument, trade, charge=charge, exec_id=exec_id, order=order)
        self._write_fill(trade, charge, exec_id=exec_id, closed=closed, order=order)
        return charge

    def _book_perp(
        self, perp: PerpInstrument, trade: Trade, *, charge: Charge, exec_id: str, order: Order | None
    ) -> Decimal:
        value = cash(trade.price * trade.quantity)
        pnl, closed = self._account.trade(perp.symbol, trade.side, quantity=trade.quantity, value=value)
        settle_fee = charge.amount if charge.coin == perp.settle_coin else ZERO
        row = self._entry(trade, charge, exec_id=exec_id, order=order)
        size = self._account.size(perp.symbol)
        self._account.post(
            replace(
                row, coin=perp.settle_coin, cash_flow=pnl, fee=settle_fee, quantity=trade.quantity, size=size
            )
        )
        if charge.amount and charge.coin != perp.settle_coin:
            self._account.post(replace(row, coin=charge.coin, fee=charge.amount))
        opened = trade.quantity - closed
        holding = -cash(settle_fee * opened / trade.quantity) if closed and opened else None
        self._account.realise(perp.symbol, pnl - settle_fee, coin=perp.settle_coin, holding=holding)
        self._account.position(perp.symbol).sequence = self._state.counter
        return closed

    def _book_spot(
        self, spot: SpotInstrument, trade: Trade, *, charge: Charge, exec_id: str, order: Order | None
    ) -> None:
        signed = trade.quantity * trade.side.sign
        value = cash(trade.price * trade.quantity) * trade.side.sign
        row = self._entry(trade, charge, exec_id=exec_id, order=order)
        flows = {spot.base_coin: signed, spot.quote_coin: -value}
        if charge.amount and charge.coin not in flows:
            flows[charge.coin] = ZERO
        for coin, flow in flows.items():
            fee = charge.amount if charge.coin == coin else ZERO
            self._account.post(replace(row, coin=coin, cash_flow=flow, fee=fee, quantity=flow))

    @staticmethod
    def _entry(trade: Trade, charge: Charge, *, exec_id: str, order: Order | None) -> Entry:
        """What all rows of one fill share."""
        return Entry(
            kind=trade.log_kind,
            coin="",
            category=trade.instrument.category.value,
            symbol=trade.instrument.symbol,
            side=trade.side,
            price=trade.price,
            fee_rate=charge.rate,
            trade_id=exec_id,
            order_id=order.order_id if order is not None else "",
            link_id=order.link_id if order is not None else "",
        )

    def _write_fill(
        self, trade: Trade, charge: Charge, *, exec_id: str, closed: Decimal, order: Order | None
    ) -> None:
        instrument = trade.instrument
        perp = isinstance(instrument, PerpInstrument)
        order_id = order.order_id if order is not None else self._account.unique("order")
        fill = Fill(
            exec_id=exec_id,
            order_id=order_id,
            link_id=order.link_id if order is not None else "",
            category=instrument.category,
            symbol=instrument.symbol,
            side=trade.side,
            order_type=order.order_type.value if order is not None else OrderType.MARKET.value,
            order_price=(order.price if order is not None else None) or trade.price,
            order_quantity=order.quantity if order is not None else trade.quantity,
            leaves=order.leaves if order is not None else ZERO,
            price=trade.price,
            quantity=trade.quantity,
            value=cash(trade.price * trade.quantity),
            fee=charge.amount,
            fee_coin=charge.coin,
            fee_rate=charge.rate,
            maker=trade.maker,
            kind=trade.kind,
            time=self._state.now,
            mark=self._market.point(instrument.category, instrument.symbol).mark if perp else None,
            closed=closed,
            create_type=order.create_type if order is not None else trade.create_type,
            sequence=self._state.count(),
        )
        self._account.book.fills.append(fill)
        self.tell(Notice(Topic.EXECUTION, self._state.now, fill))

    # -------------------------------------------------------------------------------------- venue's own acts

    def cancel_open(self, symbol: str | None, category: Category | None, *, cancel_type: str) -> list[Order]:
        """Cancel every open order of a symbol or market at once; returns them."""
        orders = self._register.open(category, symbol)
        for order in orders:
            self.finish(order, OrderStatus.CANCELLED, cancel_type=cancel_type)
        return orders

    def close_at(self, symbol: str, quantity: Decimal, *, trade: Trade) -> None:
        """Take ``quantity`` (rounded down to the step, at least all or one step) off a position at
        ``trade.price``.
        """
        size = self._account.size(symbol)
        step = trade.instrument.qty_step
        amount = min(max(floor_to(quantity, step), step), abs(size))
        if not amount:
            return
        side = Side.SELL if size > 0 else Side.BUY
        self.book_trade(replace(trade, side=side, quantity=amount))
        self._told(trade.instrument)


def _nobody(_: Notice) -> None:
    """Nobody listens."""
