"""The body of a create as the order it asks for: every parameter read strictly, what the sandbox does not
offer refused by name. Filters and balances are the venue's business.
"""

from __future__ import annotations

import re
from decimal import Decimal

from fundarb.core.market import Category
from fundarb.core.money import dec
from fundarb.core.orders import Side, TimeInForce
from fundarb.sandbox.endpoints.common import known_symbol, traded_category
from fundarb.sandbox.house import Call, House
from fundarb.sandbox.wire import Parameters, bad_parameter
from fundarb.venue.rows import MarketUnit, OrderSpec, OrderType

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


def order_spec(house: House, call: Call) -> OrderSpec:
    """The order that a create, an order of a batch or a pre-check asks for."""
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
    quantity = amount(parameters, "qty")
    if quantity == 0 and not (reduce_only and closing):
        raise bad_parameter("params error: qty invalid")
    price = amount(parameters, "price") if order_type is OrderType.LIMIT else None
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


def amount(parameters: Parameters, name: str) -> Decimal:
    """A required amount without a sign or an exponent."""
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
