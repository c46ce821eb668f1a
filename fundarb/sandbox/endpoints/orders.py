"""Orders and executions: create and cancel acknowledge a request, nothing more; the reads keep Bybit's
windows and memories.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

from fundarb.core.market import Category
from fundarb.core.money import dec
from fundarb.core.orders import ExecKind, OrderStatus, Side, TimeInForce
from fundarb.sandbox.endpoints.common import category_of, known_symbol, listed, paged, traded_category
from fundarb.sandbox.house import Call, House
from fundarb.sandbox.rows import Row, execution_row, link_of, order_row
from fundarb.sandbox.wire import Answer, Parameters, WireError, bad_parameter
from fundarb.venue.rows import Ack, Fill, MarketUnit, Order, OrderSpec, OrderType

_WEEK = timedelta(days=7)
_DAY = timedelta(days=1)
_TWO_YEARS = timedelta(days=730)
_AMOUNT = re.compile(r"\d{1,24}(?:\.\d{1,24})?", re.ASCII)
_LINK_ID = re.compile(r"[A-Za-z0-9_-]{1,36}", re.ASCII)
_NOT_OFFERED = (
    "triggerPrice",
    "takeProfit",
    "stopLoss",
    "slippageTolerance",
    "slippageToleranceType",
    "bboSideType",
    "orderFilter",
)
_TRADE_KINDS = (
    *(kind.value for kind in ExecKind),
    "BlockTrade",
    "MovePosition",
    "FutureSpread",
    "CorporateAction",
)
_VANISHING = frozenset({OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.DEACTIVATED})


# ------------------------------------------------------------------------------------------------ writes


def create(house: House, call: Call) -> Answer:
    """POST /v5/order/create: an acknowledgement; matching comes afterwards."""
    spec = _spec(house, call)
    ack = house.venue.place(spec, call.directive)
    return Answer(_ack(spec.category, ack))


def _ack(category: Category, ack: Ack) -> dict[str, str]:
    link = link_of(category, ack.order_id, link_id=ack.link_id)
    return {"orderId": ack.order_id, "orderLinkId": link}


def _found(house: House, call: Call, *, category: Category) -> Order | None:
    """The order that ``orderId`` or else ``orderLinkId`` names, an invented link id included."""
    order_id, link_id = call.parameters.text("orderId"), call.parameters.text("orderLinkId")
    if order_id:
        return house.venue.find_order(category, order_id=order_id)
    order = house.venue.find_order(category, link_id=link_id)
    if order is None and category is Category.SPOT and link_id.isascii() and link_id.isdigit():
        order = house.venue.find_order(category, order_id=str(int(link_id) - 1))
        return order if order is not None and not order.link_id else None
    return order


def _spec(house: House, call: Call) -> OrderSpec:
    parameters = call.parameters
    category = traded_category(call)
    symbol = known_symbol(house, category, call=call)
    for name in _NOT_OFFERED:
        if parameters.has(name) and parameters.peek(name) not in {"Order", "UNKNOWN", "0"}:
            raise bad_parameter(f"params error: {name} is not offered by this sandbox")
    order_type = OrderType(parameters.choice("orderType", ("Market", "Limit")))
    side = Side(parameters.choice("side", ("Buy", "Sell")))
    if parameters.integer("positionIdx", 0, low=-10, high=10) != 0:
        raise bad_parameter("position idx not match position mode")
    reduce_only, closing = parameters.flag("reduceOnly"), parameters.flag("closeOnTrigger")
    if reduce_only and category is Category.SPOT:
        raise bad_parameter("params error: reduceOnly is not offered for spot")
    quantity = _amount(parameters, "qty")
    if quantity == 0 and not (reduce_only and closing):
        raise bad_parameter("params error: qty invalid")
    price = _amount(parameters, "price") if order_type is OrderType.LIMIT else None
    if price == 0:
        raise bad_parameter("params error: price invalid")
    return OrderSpec(
        category=category,
        symbol=symbol,
        side=side,
        quantity=quantity,
        order_type=order_type,
        price=price,
        time_in_force=_time_in_force(parameters, order_type),
        link_id=_link_id(parameters),
        reduce_only=reduce_only,
        market_unit=_market_unit(parameters, category, order_type=order_type),
        leverage=category is Category.SPOT and parameters.integer("isLeverage", 0, low=0, high=1) == 1,
        close_on_trigger=closing,
    )


def _amount(parameters: Parameters, name: str) -> Decimal:
    text = parameters.required(name)
    if not _AMOUNT.fullmatch(text):
        raise bad_parameter(f"params error: {name} invalid")
    return dec(text)


def _time_in_force(parameters: Parameters, order_type: OrderType) -> TimeInForce:
    word = parameters.choice("timeInForce", tuple(item.value for item in TimeInForce), default="GTC")
    return TimeInForce.IOC if order_type is OrderType.MARKET else TimeInForce(word)


def _link_id(parameters: Parameters) -> str:
    link = parameters.text("orderLinkId")
    if link and not _LINK_ID.fullmatch(link):
        raise bad_parameter(
            "order link id is longer than 36 characters or holds others than letters, digits, - and _"
        )
    return link


def _market_unit(parameters: Parameters, category: Category, *, order_type: OrderType) -> MarketUnit | None:
    if (
        not parameters.has("marketUnit")
        or category is not Category.SPOT
        or order_type is not OrderType.MARKET
    ):
        return None
    return MarketUnit(parameters.choice("marketUnit", ("baseCoin", "quoteCoin")))


def cancel(house: House, call: Call) -> Answer:
    """POST /v5/order/cancel: by order id or link id, the order id wins; an acknowledgement."""
    category = traded_category(call)
    symbol = known_symbol(house, category, call=call)
    order_id, link_id = call.parameters.text("orderId"), call.parameters.text("orderLinkId")
    if not order_id and not link_id:
        raise bad_parameter("params error: orderId or orderLinkId is required")
    ack = house.venue.cancel(category, symbol, order_id=order_id, link_id="" if order_id else link_id)
    return Answer(_ack(category, ack))


def cancel_all(house: House, call: Call) -> Answer:
    """POST /v5/order/cancel-all: linear needs a symbol, base coin or settle coin."""
    category = traded_category(call)
    parameters = call.parameters
    symbols: list[str | None] = [None]
    if parameters.has("symbol"):
        symbols = [known_symbol(house, category, call=call)]
    elif category is Category.LINEAR and not parameters.has("settleCoin"):
        base = parameters.text("baseCoin")
        if not base:
            raise bad_parameter("params error: symbol, baseCoin or settleCoin is required")
        items = house.venue.instruments(category).values()
        symbols = [item.symbol for item in items if item.base_coin == base]
    acks: list[Ack] = []
    for symbol in symbols:
        acks.extend(house.venue.cancel_all(category, symbol))
    return Answer({"list": [_ack(category, ack) for ack in acks], "success": "1"})


# ------------------------------------------------------------------------------------------------ reads


def realtime(house: House, call: Call) -> Answer:
    """GET /v5/order/realtime: open orders; by id, or with openOnly=1, also the latest 500 closed ones."""
    category = category_of(call)
    if category is None:
        return listed(call, [])
    parameters = call.parameters
    limit = parameters.limit(20, 50)
    found = _by_id(house, call, category=category)
    if found is not None:
        recent = {order.order_id for order in house.venue.closed_orders(category)}
        orders = [order for order in found if not order.status.final or order.order_id in recent]
    else:
        if category is Category.LINEAR and not any(
            parameters.has(name) for name in ("symbol", "baseCoin", "settleCoin")
        ):
            raise bad_parameter("params error: symbol, baseCoin or settleCoin is required")
        closed = parameters.integer("openOnly", 0, low=0, high=2) == 1
        pool = house.venue.closed_orders(category) if closed else house.venue.open_orders(category)
        orders = _filtered(house, call, category=category, pool=pool)
    return _orders(house, call, orders=orders, limit=limit)


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
    return _orders(
        house, call, orders=[order for order in orders if call.visible(order.updated)], limit=limit
    )


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
    order = _found(house, call, category=category)
    return [] if order is None or not call.visible(order.created) else [order]


def _filtered(house: House, call: Call, *, category: Category, pool: tuple[Order, ...]) -> list[Order]:
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
        and (symbol or not settle or getattr(instruments[order.symbol], "settle_coin", "") == settle)
        and call.visible(order.created)
    ]


def _orders(house: House, call: Call, *, orders: list[Order], limit: int) -> Answer:
    def row(order: Order) -> Row:
        if call.visible(order.updated):
            return order_row(order)
        seen = tuple(fill for fill in house.venue.fills_of(order) if call.visible(fill.time))
        return order_row(order, seen)

    return paged(call, orders, limit=limit, name=lambda order: order.order_id, row=row)


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
        order = _found(house, call, category=category)
        fills = house.venue.fills_of(order) if order is not None else ()
    else:
        fills = tuple(
            fill
            for fill in house.venue.fills(category, since, until=until)
            if kind in {"", fill.kind.value} and _meant(house, parameters, fill=fill)
        )
    seen = [fill for fill in fills if call.visible(fill.time)]
    return paged(call, seen[::-1], limit=limit, name=lambda fill: fill.exec_id, row=execution_row)


def _meant(house: House, parameters: Parameters, *, fill: Fill) -> bool:
    symbol = parameters.text("symbol")
    if symbol:
        return fill.symbol == symbol
    item = house.venue.instruments(fill.category)[fill.symbol]
    base, settle = parameters.text("baseCoin"), parameters.text("settleCoin")
    return base in {"", item.base_coin} and (not settle or getattr(item, "settle_coin", "") == settle)
