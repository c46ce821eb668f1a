"""Orders and executions as they are read: Bybit's windows, pages and memories."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from fundarb.core.market import Category
from fundarb.core.orders import ExecKind, OrderStatus
from fundarb.sandbox.endpoints.common import category_of, find_order, listed, paged, settle_coin
from fundarb.sandbox.house import Call, House
from fundarb.sandbox.paging import number_of
from fundarb.sandbox.rows import Row, execution_row, order_row
from fundarb.sandbox.wire import Answer, Parameters, WireError, bad_parameter
from fundarb.venue.rows import Fill, Order

_WEEK = timedelta(days=7)
_DAY = timedelta(days=1)
_TWO_YEARS = timedelta(days=730)
_TRADE_KINDS = (
    *(kind.value for kind in ExecKind),
    "BlockTrade",
    "MovePosition",
    "FutureSpread",
    "CorporateAction",
)
_VANISHING = frozenset({OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.DEACTIVATED})


def realtime(house: House, call: Call) -> Answer:
    """GET /v5/order/realtime: open orders; by id, or with openOnly=1, also the latest 500 closed ones."""
    category = category_of(call)
    if category is None:
        return listed(call, [])
    parameters = call.parameters
    limit = parameters.limit(20, 50)
    closed = parameters.integer("openOnly", 0, low=0, high=2) == 1
    found = _by_id(house, call, category=category)
    if found is not None:
        recent = {order.order_id for order in house.venue.closed_orders(category)}
        orders = [order for order in found if not order.status.final or order.order_id in recent]
    else:
        if category is Category.LINEAR and not any(
            parameters.has(name) for name in ("symbol", "baseCoin", "settleCoin")
        ):
            raise bad_parameter("params error: symbol, baseCoin or settleCoin is required")
        pool = [
            order for order in _latest(house, call, category=category) if _was_closed(call, order) is closed
        ]
        orders = _filtered(house, call, category=category, pool=pool)
    return _orders(house, call, orders=orders, limit=limit, ended=closed)


def _latest(house: House, call: Call, *, category: Category) -> tuple[Order, ...]:
    """Open and recently closed orders, newest first; closed ones only where they matter."""
    open_now = house.venue.open_orders(category)
    if call.cutoff is None and call.parameters.text("openOnly") != "1":
        return open_now
    return (*open_now, *house.venue.closed_orders(category))


def _was_closed(call: Call, order: Order) -> bool:
    """Whether an order was closed at the moment that the read shows."""
    return order.status.final and call.visible(order.updated)


def history(house: House, call: Call) -> Answer:
    """GET /v5/order/history: seven days; orders without a fill are forgotten after a day, the others after
    two years.
    """
    category = category_of(call)
    if category is None:
        return listed(call, [])
    parameters = call.parameters
    limit = parameters.limit(20, 50)
    since, until = parameters.window(now=house.venue.now, default=_WEEK, most=_WEEK)
    found = _by_id(house, call, category=category)
    if found is not None:
        orders = [order for order in found if order.status.final and _remembered(house, order)]
    else:
        pool = house.venue.order_history(category, since, until=until)
        orders = [
            order
            for order in _filtered(house, call, category=category, pool=pool)
            if _remembered(house, order)
        ]
    status = parameters.text("orderStatus")
    if status:
        if status not in {item.value for item in OrderStatus if item.final}:
            raise WireError(181017, "orderStatus must be a final status")
        orders = [order for order in orders if order.status.value == status]
    seen = [order for order in orders if call.visible(order.updated)]
    return _orders(house, call, orders=seen, limit=limit, ended=True)


def _remembered(house: House, order: Order) -> bool:
    age = house.venue.now - order.updated
    if order.filled == 0 and order.status in _VANISHING:
        return age <= _DAY
    return age <= _TWO_YEARS


def _by_id(house: House, call: Call, *, category: Category) -> list[Order] | None:
    """The order that is asked for by id (none or one); None if the query names no id."""
    order_id, link_id = call.parameters.text("orderId"), call.parameters.text("orderLinkId")
    if not order_id and not link_id:
        return None
    order = find_order(house, call, category=category)
    return [] if order is None or not call.visible(order.created) else [order]


def _filtered(house: House, call: Call, *, category: Category, pool: Iterable[Order]) -> list[Order]:
    parameters = call.parameters
    symbol, base, settle = (
        parameters.text("symbol"),
        parameters.text("baseCoin"),
        parameters.text("settleCoin"),
    )
    instruments = house.venue.instruments(category)
    return [
        order
        for order in pool
        if symbol in {"", order.symbol}
        and (symbol or base in {"", instruments[order.symbol].base_coin})
        and (symbol or not settle or settle_coin(instruments[order.symbol]) == settle)
        and call.visible(order.created)
    ]


def _orders(house: House, call: Call, *, orders: list[Order], limit: int, ended: bool) -> Answer:
    """A page of orders: closed ones in the order in which they ended, the others in that of their making."""

    def row(order: Order) -> Row:
        if call.visible(order.updated):
            return order_row(order)
        seen = tuple(fill for fill in house.venue.fills_of(order) if call.visible(fill.time))
        return order_row(order, seen)

    def place(order: Order) -> int:
        return order.sequence if ended else number_of(order, everything, when=lambda item: item.created)

    everything = () if ended else house.venue.all_orders()
    if call.cutoff is not None:  # what was still open then is, today, among the closed ones
        orders.sort(key=place, reverse=True)
    return paged(call, orders, limit=limit, name=lambda order: order.order_id, place=place, row=row)


def executions(house: House, call: Call) -> Answer:
    """GET /v5/execution/list: newest first; an id makes every other filter void."""
    category = category_of(call)
    if category is None:
        return listed(call, [])
    parameters = call.parameters
    limit = parameters.limit(50, 100)
    kind = parameters.text("execType")
    if kind and kind not in _TRADE_KINDS:
        raise bad_parameter("params error: execType invalid")
    since, until = parameters.window(now=house.venue.now, default=_WEEK, most=_WEEK)
    order_id, link_id = parameters.text("orderId"), parameters.text("orderLinkId")
    if order_id or link_id:
        order = find_order(house, call, category=category)
        fills = house.venue.fills_of(order) if order is not None else ()
    else:
        fills = tuple(
            fill
            for fill in house.venue.fills(category, since, until=until)
            if kind in {"", fill.kind.value} and _meant(house, parameters, fill=fill)
        )
    seen = [fill for fill in fills if call.visible(fill.time)]
    return paged(
        call,
        seen[::-1],
        limit=limit,
        name=lambda fill: fill.exec_id,
        place=lambda fill: fill.sequence,
        row=execution_row,
    )


def _meant(house: House, parameters: Parameters, *, fill: Fill) -> bool:
    symbol = parameters.text("symbol")
    if symbol:
        return fill.symbol == symbol
    item = house.venue.instruments(fill.category)[fill.symbol]
    base, settle = parameters.text("baseCoin"), parameters.text("settleCoin")
    return base in {"", item.base_coin} and (not settle or settle_coin(item) == settle)
