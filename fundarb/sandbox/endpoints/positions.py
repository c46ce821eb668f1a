"""Positions: what is held, at what leverage, and what closing it has earned."""

from __future__ import annotations

from datetime import timedelta

from fundarb.core.market import Category
from fundarb.core.money import dec
from fundarb.sandbox.closings import closings
from fundarb.sandbox.endpoints.common import (
    category_of,
    known_symbol,
    listed,
    paged,
    settle_coin,
    traded_category,
)
from fundarb.sandbox.house import Call, House
from fundarb.sandbox.rows import closed_row, position_row
from fundarb.sandbox.wire import Answer, WireError, bad_parameter

_WEEK = timedelta(days=7)


def position_list(house: House, call: Call) -> Answer:
    """GET /v5/position/list: with a symbol always answered, flat included; with a settle coin only what has
    a size.
    """
    category = category_of(call)
    if category is None:
        return listed(call, [])
    if category is Category.SPOT:
        raise bad_parameter("params error: category invalid")
    parameters = call.parameters
    limit = parameters.limit(20, 200)
    if parameters.has("symbol"):
        symbol = known_symbol(house, Category.LINEAR, call=call)
        return listed(call, [position_row(house.venue.position(symbol))])
    settle = parameters.text("settleCoin")
    if not settle:
        raise bad_parameter("params error: symbol or settleCoin is required")
    items = house.venue.instruments(category)
    views = [view for view in house.venue.positions() if settle_coin(items[view.symbol]) == settle]
    if len(views) <= limit and not parameters.has("cursor"):
        return listed(call, [position_row(view) for view in views])
    listed_at = {symbol: number for number, symbol in enumerate(items)}
    views.sort(key=lambda view: listed_at[view.symbol])
    return paged(
        call,
        views,
        limit=limit,
        name=lambda view: view.symbol,
        place=lambda view: -listed_at[view.symbol],
        row=position_row,
    )


def closed_pnl(house: House, call: Call) -> Answer:
    """GET /v5/position/closed-pnl: one row for each order that closed something, newest first."""
    category = category_of(call)
    if category is None:
        return listed(call, [])
    if category is Category.SPOT:
        raise bad_parameter("params error: category invalid")
    parameters, venue = call.parameters, house.venue
    symbol = known_symbol(house, category, call=call) if parameters.has("symbol") else ""
    limit = parameters.limit(50, 100)
    since, until = parameters.window(now=venue.now, default=_WEEK, most=_WEEK)
    fills = (fill for fill in venue.all_fills() if fill.category is category and symbol in {"", fill.symbol})
    found = [
        item for item in closings(fills) if since <= item.updated <= until and call.visible(item.updated)
    ]

    return paged(
        call,
        sorted(found, key=lambda item: -item.last.sequence),
        limit=limit,
        name=lambda item: item.last.order_id,
        place=lambda item: item.last.sequence,
        row=lambda item: closed_row(item, venue.leverage(item.last.symbol)),
    )


def set_leverage(house: House, call: Call) -> Answer:
    """POST /v5/position/set-leverage: both sides alike in one-way mode."""
    category = traded_category(call)
    if category is Category.SPOT:
        raise bad_parameter("params error: category invalid")
    symbol = known_symbol(house, category, call=call)
    try:
        buy, sell = (
            dec(call.parameters.required("buyLeverage")),
            dec(call.parameters.required("sellLeverage")),
        )
    except ValueError as error:
        raise bad_parameter("params error: leverage invalid") from error
    if buy != sell:
        raise bad_parameter("buy leverage must equal sell leverage")
    if buy < 1:
        raise WireError(110013, "cannot set leverage below minLeverage")
    house.venue.set_leverage(symbol, buy)
    return Answer({})


def switch_mode(house: House, call: Call) -> Answer:
    """POST /v5/position/switch-mode: one-way is the only mode here."""
    category = traded_category(call)
    if category is Category.SPOT:
        raise bad_parameter("params error: category invalid")
    parameters = call.parameters
    if parameters.has("symbol"):
        known_symbol(house, category, call=call)
    elif not parameters.has("coin"):
        raise bad_parameter("params error: symbol or coin is required")
    mode = parameters.integer("mode", -1, low=-1, high=3)
    if mode == 0:
        raise WireError(110025, "Position mode is not modified")
    raise bad_parameter("params error: mode invalid, this sandbox knows one-way mode (0) only")
