"""Whether an order may enter: every filter and balance rule with Bybit's own code and words; changes
nothing.

What passes comes out as an :class:`Order` in state New, with the limit price that is in force (bands
applied) and the coins to lock. Codes and the semantics of quantity and price: Bybit V5 API.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import NoReturn

from fundarb.core.market import Category, PerpInstrument, SpotInstrument
from fundarb.core.money import CASH_STEP, ZERO, cash, ceil_to, is_multiple, plain
from fundarb.core.orders import Side, TimeInForce
from fundarb.errors import Rejected
from fundarb.venue.account import Account
from fundarb.venue.book import Want
from fundarb.venue.feed import Listing
from fundarb.venue.margin import Margin
from fundarb.venue.market import Market
from fundarb.venue.register import Register
from fundarb.venue.rows import CLOSING, MarketUnit, Order, OrderSpec, OrderType
from fundarb.venue.schedule import Schedule
from fundarb.venue.state import Rules, State

_LINK_ID = re.compile(r"[A-Za-z0-9_-]{1,36}", re.ASCII)
MAX_OPEN = 500
_LENDS = frozenset({"both", "utaOnly"})
"""Values of ``marginTrading`` with which a unified account can borrow for a pair (Bybit V5 API)."""


def refuse(code: int, message: str) -> NoReturn:
    """The venue's definite no."""
    raise Rejected(message, code=code)


@dataclass(frozen=True, slots=True)
class Priced:
    """The limit in force and the quantity, after the rules of price and quantity."""

    price: Decimal
    quantity: Decimal
    by_value: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What an admission is judged by."""

    market: Market
    schedule: Schedule
    account: Account
    register: Register
    margin: Margin


class Admission:
    """The gatekeeper of ``place`` and ``amend``."""

    def __init__(self, state: State, rules: Rules, *, facts: Facts) -> None:
        """Introduce what it reads."""
        self._rules = rules
        self._state = state
        self._market = facts.market
        self._schedule = facts.schedule
        self._account = facts.account
        self._register = facts.register
        self._margin = facts.margin

    def admit(self, spec: OrderSpec, *, funded: bool = True) -> Order:
        """The order as it enters; ``Rejected`` with Bybit's code otherwise. ``funded`` False asks about
        everything but the margin of a perp order.
        """
        counter = self._state.counter
        try:
            return self._admitted(spec, funded=funded)
        except Rejected:
            self._state.counter = counter  # a refusal leaves no trace, not even a number
            raise

    def _admitted(self, spec: OrderSpec, *, funded: bool) -> Order:
        listing = self._market.listing(spec.category, spec.symbol)
        self._check_link(spec)
        if isinstance(listing.instrument, PerpInstrument):
            self._perp_open(spec, listing.instrument)
            priced = self._perp_priced(spec, listing.instrument)
            self._perp_limits(spec, listing.instrument, priced=priced)
            order = self._order(spec, priced)
            order.worst = self._perp_worst(order)
            if funded and not self._margin.affords(order):
                refuse(110007, "ab not enough for new order")
            return order
        self._spot_open(spec)
        priced = self._spot_priced(spec, listing.instrument, listing=listing)
        lock, coin = self._spot_lock(spec, listing.instrument, priced=priced)
        order = self._order(spec, priced, lock=lock, coin=coin)
        self._spot_funds(order, listing.instrument)
        return order

    def _order(self, spec: OrderSpec, priced: Priced, *, lock: Decimal = ZERO, coin: str = "") -> Order:
        order_id = self._account.unique("order")
        if spec.category is Category.SPOT:
            order_id = str(int(order_id.replace("-", ""), 16))[:19]
        market = spec.order_type is OrderType.MARKET
        return Order(
            order_id=order_id,
            link_id=spec.link_id,
            category=spec.category,
            symbol=spec.symbol,
            side=spec.side,
            order_type=spec.order_type,
            time_in_force=TimeInForce.IOC if market else spec.time_in_force,
            quantity=priced.quantity,
            price=priced.price,
            reduce_only=spec.reduce_only,
            by_value=priced.by_value,
            created=self._state.now,
            updated=self._state.now,
            sequence=self._state.counter,
            create_type=CLOSING if spec.reduce_only else "CreateByUser",
            leverage=spec.leverage,
            locked=lock,
            locked_coin=coin,
        )

    def _check_link(self, spec: OrderSpec) -> None:
        if not spec.link_id:
            return
        if _LINK_ID.fullmatch(spec.link_id) is None:
            refuse(10001, "params error: OrderLinkId is invalid or longer than 36 characters")
        if self._register.link_used(spec.category, spec.link_id):
            if spec.category is Category.SPOT:
                refuse(170141, "Duplicate clientOrderId.")
            refuse(110072, "OrderLinkedID is duplicate")

    # ------------------------------------------------------------------------------------------ perp

    def _perp_open(self, spec: OrderSpec, perp: PerpInstrument) -> None:
        if not perp.trading:
            refuse(110074, "This contract is not live")
        if not self._market.open_for_trading(spec.category, spec.symbol):
            refuse(110066, "Trading is currently not allowed.")
        if self._schedule.settling(spec.symbol, self._rules.settling):
            refuse(110063, f"Settlement in progress! {spec.symbol} not available for trading.")
        if len(self._register.open(Category.LINEAR, spec.symbol)) >= MAX_OPEN:
            refuse(110020, "You can't have more than 500 active orders.")

    def _perp_priced(self, spec: OrderSpec, perp: PerpInstrument) -> Priced:
        quantity = self._perp_quantity(spec, perp)
        return Priced(self._perp_price(spec, perp), quantity)

    def _perp_quantity(self, spec: OrderSpec, perp: PerpInstrument) -> Decimal:
        size = self._account.size(spec.symbol)
        # all of it, whatever the steps are now
        whole = spec.quantity == 0 and spec.reduce_only and spec.close_on_trigger
        quantity = abs(size) if whole else spec.quantity
        if spec.reduce_only and size * spec.side.sign >= 0:
            refuse(110017, "current position is zero, cannot fix reduce-only order qty")
        if quantity <= 0 or not (whole or is_multiple(quantity, perp.qty_step)):
            refuse(10001, "Qty invalid")
        if quantity < perp.min_qty and not whole:
            refuse(10001, "The number of contracts exceeds minimum limit allowed")
        most = perp.max_market_qty if spec.order_type is OrderType.MARKET else perp.max_limit_qty
        if quantity > most and not spec.reduce_only:
            refuse(
                10001,
                "The number of contracts exceeds maximum limit allowed: too large, "
                f"order_qty:{plain(quantity)}, max_qty:{plain(most)}",
            )
        return quantity

    def _perp_price(self, spec: OrderSpec, perp: PerpInstrument) -> Decimal:
        highest, lowest = self._market.price_limits(spec.category, spec.symbol)
        edge = highest if spec.side is Side.BUY else lowest
        if spec.order_type is OrderType.MARKET:
            point = self._market.point(spec.category, spec.symbol)
            if (point.ask if spec.side is Side.BUY else point.bid) is None:
                refuse(
                    110118,
                    "The market order cannot be priced: there is nothing on the other side of the book.",
                )
            return edge
        if spec.price is None or spec.price <= 0 or not is_multiple(spec.price, perp.tick_size):
            refuse(10001, "Price invalid")
        return min(spec.price, edge) if spec.side is Side.BUY else max(spec.price, edge)

    def _perp_limits(self, spec: OrderSpec, perp: PerpInstrument, *, priced: Priced) -> None:
        size = self._account.size(spec.symbol)
        closes_all = spec.reduce_only and priced.quantity >= abs(size)
        price = priced.price
        if spec.order_type is OrderType.MARKET:  # its bound is far from what it is worth
            price = min(price, self._market.point(spec.category, spec.symbol).mark)
        if priced.quantity * price < perp.min_notional and not closes_all:
            refuse(
                110094,
                f"Order does not meet minimum order value {plain(perp.min_notional)}{perp.settle_coin}",
            )
        if spec.reduce_only:
            return
        after = abs(size + (priced.quantity + self._queued(spec)) * spec.side.sign)
        if after <= abs(size):
            return
        if perp.delivery_time is not None and perp.delivery_time - self._state.now <= self._rules.close_only:
            refuse(30228, "No new positions during delisting.")
        value = after * self._market.point(spec.category, spec.symbol).mark
        tier = self._margin.tier(spec.symbol, value)
        if value > tier.limit or self._margin.leverage(spec.symbol) > tier.max_leverage:
            refuse(
                110090,
                "Order placement failed as your position may exceed the max limit. "
                f"Please adjust your leverage to {plain(tier.max_leverage)} or below.",
            )

    def _queued(self, spec: OrderSpec) -> Decimal:
        """What earlier orders of the same side may still add."""
        orders = self._register.open(spec.category, spec.symbol)
        return sum(
            (order.leaves for order in orders if order.side is spec.side and not order.reduce_only), ZERO
        )

    def _perp_worst(self, order: Order) -> Decimal | None:
        """The last level that a market order would reach as the book stands; its bound if the book ends
        before.
        """
        if order.order_type is not OrderType.MARKET:
            return None
        bound = order.price or ZERO
        step = self._market.instruments(order.category)[order.symbol].qty_step
        want = Want(order.side is Side.BUY, bound, step, quantity=order.quantity)
        takes = self._market.takes(order.category, order.symbol, want=want)
        filled = sum((item.quantity for item in takes), ZERO)
        return takes[-1].price if filled >= order.quantity else bound

    # ------------------------------------------------------------------------------------------ spot

    def _spot_open(self, spec: OrderSpec) -> None:
        if not self._market.open_for_trading(spec.category, spec.symbol):
            refuse(170151, "This trading pair is not available for API trading.")
        if spec.reduce_only:
            refuse(10001, "params error: reduceOnly is not supported for spot")
        if len(self._register.open(Category.SPOT)) >= MAX_OPEN:
            refuse(170810, "Cannot exceed maximum of 500 conditional, TP/SL and active orders.")

    def _spot_priced(self, spec: OrderSpec, spot: SpotInstrument, *, listing: Listing) -> Priced:
        highest, lowest = self._market.price_limits(spec.category, spec.symbol)
        buying = spec.side is Side.BUY
        edge = highest if buying else lowest
        market = spec.order_type is OrderType.MARKET
        unit = spec.market_unit or (MarketUnit.QUOTE if buying else MarketUnit.BASE)
        if market and unit is MarketUnit.QUOTE:
            if spec.quantity <= 0 or not is_multiple(spec.quantity, listing.quote_precision):
                refuse(170148, "Market order amount decimal too long.")
            if spec.quantity < spot.min_notional:
                refuse(170140, "Order value exceeded lower limit.")
            point = self._market.point(spec.category, spec.symbol)
            if spec.quantity > spot.max_market_qty * ((point.ask if buying else point.bid) or point.last):
                refuse(170124, "Order amount too large.")
            return Priced(edge, spec.quantity, by_value=True)
        self._spot_quantity(spec, spot, listing=listing)
        point = self._market.point(spec.category, spec.symbol)
        price = edge if market else self._spot_limit(spec, spot, highest=highest, lowest=lowest)
        reference = point.last if market else price
        if spec.quantity * reference < spot.min_notional:
            refuse(170140, "Order value exceeded lower limit.")
        return Priced(price, spec.quantity)

    @staticmethod
    def _spot_quantity(spec: OrderSpec, spot: SpotInstrument, *, listing: Listing) -> None:
        step = max(spot.qty_step, CASH_STEP)  # coins are booked in multiples of it
        if spec.quantity <= 0 or not is_multiple(spec.quantity, step):
            refuse(170137, "Order quantity has too many decimals.")
        if spec.quantity < spot.min_qty:
            refuse(170136, "Order quantity exceeded lower limit.")
        most = spot.max_market_qty if spec.order_type is OrderType.MARKET else spot.max_limit_qty
        if spec.time_in_force is TimeInForce.POST_ONLY and listing.postonly_max_qty is not None:
            most = min(most, listing.postonly_max_qty)
        if spec.quantity > most:
            refuse(170135, "Order quantity exceeded upper limit.")

    def _spot_limit(
        self, spec: OrderSpec, spot: SpotInstrument, *, highest: Decimal, lowest: Decimal
    ) -> Decimal:
        price = spec.price
        if price is None or price <= 0:
            refuse(170132 if price else 10001, "Order price is invalid.")
        if not is_multiple(price, spot.tick_size):
            refuse(170134, "Order price has too many decimals.")
        if spec.side is Side.BUY and price > highest:
            refuse(170193, f"Buy order price cannot be higher than {plain(highest)}{spot.quote_coin}.")
        if spec.side is Side.SELL and price < lowest:
            refuse(170194, f"Sell order price cannot be lower than {plain(lowest)}{spot.quote_coin}.")
        return price

    @staticmethod
    def _spot_lock(spec: OrderSpec, spot: SpotInstrument, *, priced: Priced) -> tuple[Decimal, str]:
        if spec.side is Side.SELL:
            if priced.by_value:
                return ceil_to(priced.quantity / priced.price, spot.qty_step), spot.base_coin
            return priced.quantity, spot.base_coin
        if priced.by_value:
            return priced.quantity, spot.quote_coin
        return cash(priced.quantity * priced.price), spot.quote_coin

    def _spot_funds(self, order: Order, spot: SpotInstrument) -> None:
        """Own coins (losses of perps count) or, with leverage, a loan of a pair that lends; and margin for
        the loan and for the haircut of turning cash into coins, that of other open orders included.
        """
        coin = order.locked_coin
        losses = min(self._margin.totals().unrealised_by_coin.get(coin, ZERO), ZERO)
        short = order.locked - self._account.free(coin) - losses
        if order.leverage and spot.margin_trading not in _LENDS:
            refuse(170037, "Cross Margin Trading not yet supported by the selected coin.")
        if short > 0 and not order.leverage:
            refuse(170131, "Insufficient balance.")
        if short > 0:
            rule = self._market.coin_rules().get(coin)
            if rule is None or self._account.coin(coin).borrowed + short > rule.max_borrow:
                refuse(170033, "Insufficient margin balance.")
        if not self._margin.affords(order):
            if order.leverage:
                refuse(170033, "Insufficient margin balance.")
            refuse(170131, "Insufficient balance.")
