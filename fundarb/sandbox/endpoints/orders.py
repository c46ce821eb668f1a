"""Orders as they are written: create, create-batch, amend, cancel and cancel-all acknowledge a request,
nothing more; pre-check changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from fundarb.core.instants import to_ms
from fundarb.core.market import Category
from fundarb.core.money import ZERO
from fundarb.errors import Rejected
from fundarb.sandbox.endpoints.common import known_symbol, order_meant, settle_coin, traded_category
from fundarb.sandbox.endpoints.specs import amount, order_spec
from fundarb.sandbox.house import Call, House
from fundarb.sandbox.rows import link_of
from fundarb.sandbox.wire import Answer, Parameters, WireError, bad_parameter
from fundarb.venue.rows import Ack, OrderSpec, WalletView

_BATCH = {Category.SPOT: 10, Category.LINEAR: 20}
_SHORT_OF_MARGIN = 110007
_TOO_MANY = WireError(10006, "Too many visits. Exceeded the API Rate Limit.")


def create(house: House, call: Call) -> Answer:
    """POST /v5/order/create: an acknowledgement; matching comes afterwards."""
    spec = order_spec(house, call)
    ack = house.venue.place(spec, call.directive)
    return Answer(_ack(spec.category, ack))


def _ack(category: Category, ack: Ack) -> dict[str, str]:
    link = link_of(category, ack.order_id, link_id=ack.link_id)
    return {"orderId": ack.order_id, "orderLinkId": link}


def create_batch(house: House, call: Call) -> Answer:
    """POST /v5/order/create-batch: retCode 0 whatever became of its orders; ``result.list[i]`` pairs with
    ``retExtInfo.list[i]``, a refused one has an empty order id. What the request limit does not let through
    fails one by one.
    """
    category = traded_category(call)
    orders = call.parameters.batch(_BATCH[category])
    granted = len(orders) if call.granted is None else call.granted
    results: list[dict[str, Any]] = []
    outcomes: list[dict[str, Any]] = []
    for number, order in enumerate(orders):
        ids, outcome = {"orderId": "", "orderLinkId": order.peek("orderLinkId") or ""}, _TOO_MANY
        if number < granted:
            ids, outcome = _one_of_batch(house, replace(call, parameters=order), ids=ids)
        at = str(to_ms(house.wire_now())) if ids["orderId"] else ""
        symbol = order.peek("symbol") or ""
        results.append({"category": category.value, "symbol": symbol, **ids, "createAt": at})
        outcomes.append({"code": outcome.code, "msg": outcome.message})
    return Answer({"list": results}, ext={"list": outcomes})


def _one_of_batch(house: House, call: Call, *, ids: dict[str, str]) -> tuple[dict[str, str], WireError]:
    """The ids of one order of a batch, and how it went (code 0: accepted)."""
    try:
        spec = order_spec(house, call)
        return _ack(spec.category, house.venue.place(spec, call.directive)), _FINE
    except Rejected as refusal:
        return ids, WireError(refusal.code or 10001, str(refusal))
    except WireError as error:
        return ids, error


_FINE = WireError(0, "OK")


def amend(house: House, call: Call) -> Answer:
    """POST /v5/order/amend: another total quantity or price for an open order; an acknowledgement."""
    category = traded_category(call)
    symbol = known_symbol(house, category, call=call)
    parameters = call.parameters
    order_id = order_meant(house, call, category=category)
    if any(parameters.has(name) for name in ("triggerPrice", "takeProfit", "stopLoss", "orderIv")):
        raise bad_parameter("params error: conditional orders, take profit and stop loss are not offered")
    order = house.venue.find_order(category, order_id=order_id)
    wanted: dict[str, Decimal | None] = {
        name: amount(parameters, name) if parameters.has(name) else None for name in ("qty", "price")
    }
    if any(value == 0 for value in wanted.values()):
        raise bad_parameter("params error: qty and price must be positive")
    known = order_id if order is not None and order.symbol == symbol else ""
    ack = house.venue.amend(category, order_id=known, quantity=wanted["qty"], price=wanted["price"])
    return Answer(_ack(category, ack))


def pre_check(house: House, call: Call) -> Answer:
    """POST /v5/order/pre-check: margin rates in units of 1e-4 before and after; short of margin the rates
    after stand in ``retExtInfo`` beside 110007.
    """
    spec = order_spec(house, call)
    if spec.category is Category.SPOT:
        raise bad_parameter("params error: category invalid")
    try:
        before, after = house.venue.check(spec)
    except Rejected as refusal:
        if refusal.code != _SHORT_OF_MARGIN:
            raise
        _, after = house.venue.check(spec, funded=False)
        raise WireError(
            _SHORT_OF_MARGIN, str(refusal), ext=_rates_after(house, after, spec=spec)
        ) from refusal
    rates = {"preImrE4": _e4(before.im_rate), "preMmrE4": _e4(before.mm_rate)}
    ids = {"orderId": "", "orderLinkId": spec.link_id}
    return Answer({**ids, **rates, **_rates_after(house, after, spec=spec)})


def _rates_after(house: House, wallet: WalletView, *, spec: OrderSpec) -> dict[str, int]:
    """Rates with the order open; an open order has no maintenance margin of its own, so that of the larger
    position it would make is added.
    """
    size = house.venue.held().get(spec.symbol, ZERO)
    larger = max(abs(size + spec.quantity * spec.side.sign) - abs(size), ZERO)
    value = larger * house.venue.point(spec.category, spec.symbol).mark
    more = (
        value * house.venue.tier(spec.symbol).mm_rate / wallet.margin_balance
        if wallet.margin_balance
        else ZERO
    )
    return {"postImrE4": _e4(wallet.im_rate), "postMmrE4": _e4(wallet.mm_rate + more)}


def _e4(rate: Decimal) -> int:
    return int(rate * 10_000)


def cancel(house: House, call: Call) -> Answer:
    """POST /v5/order/cancel: by order id or link id, the order id wins; an acknowledgement."""
    category = traded_category(call)
    symbol = known_symbol(house, category, call=call)
    order_id = order_meant(house, call, category=category)
    return Answer(_ack(category, house.venue.cancel(category, symbol, order_id=order_id)))


def cancel_all(house: House, call: Call) -> Answer:
    """POST /v5/order/cancel-all: a symbol goes before a base coin, that before a settle coin; linear needs
    one of them.
    """
    category = traded_category(call)
    symbols: Iterable[str | None] = [None]
    if call.parameters.has("symbol"):
        symbols = [known_symbol(house, category, call=call)]
    elif category is Category.LINEAR:
        symbols = _of_coin(house, call.parameters)
    acks: list[Ack] = []
    for symbol in symbols:
        acks.extend(house.venue.cancel_all(category, symbol))
    return Answer({"list": [_ack(category, ack) for ack in acks], "success": "1"})


def _of_coin(house: House, parameters: Parameters) -> Iterable[str]:
    """The perps with open orders whose base coin is meant, or without one their settle coin."""
    base, settle = parameters.text("baseCoin"), parameters.text("settleCoin")
    if not base and not settle:
        raise bad_parameter("params error: symbol, baseCoin or settleCoin is required")
    items = house.venue.instruments(Category.LINEAR)
    symbols = dict.fromkeys(order.symbol for order in house.venue.open_orders(Category.LINEAR))
    return [
        symbol
        for symbol in symbols
        if (items[symbol].base_coin == base if base else settle_coin(items[symbol]) == settle)
    ]
