"""Public market data: time, instruments, tickers, books, funding history, risk limits, status,
announcements.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from fundarb.core.instants import to_ms
from fundarb.core.market import Category, PerpInstrument, SettledFunding
from fundarb.core.money import plain
from fundarb.sandbox.endpoints.common import category_of, known_symbol, listed, traded_category
from fundarb.sandbox.endpoints.tickers import ticker_rows
from fundarb.sandbox.house import Call, House
from fundarb.sandbox.instrument_rows import linear_instrument, risk_tier, spot_instrument
from fundarb.sandbox.paging import page
from fundarb.sandbox.wire import Answer, bad_parameter, compact
from fundarb.venue.feed import HappeningKind

_STATUSES = ("PreLaunch", "Trading", "Delivering", "Closed")
_RISK_PAGE = 15
_USUAL_INTERVAL, _LONGEST_INTERVAL = timedelta(hours=8), timedelta(hours=24)
_MOST_LEVELS = 1000
_DEFAULT_LEVELS = {Category.SPOT: 1, Category.LINEAR: 25}


def server_time(house: House, _call: Call) -> Answer:
    """GET /v5/market/time."""
    ms = to_ms(house.wire_now())
    return Answer({"timeSecond": str(ms // 1000), "timeNano": str(ms * 1_000_000)})


def instruments_info(house: House, call: Call) -> Answer:
    """GET /v5/market/instruments-info: only Trading ones unless a status is asked for; spot never paged."""
    category = category_of(call)
    if category is None:
        return listed(call, [])
    parameters = call.parameters
    status = parameters.choice("status", _STATUSES, default="Trading")
    symbol, base = parameters.text("symbol"), parameters.text("baseCoin")
    kind = parameters.text("symbolType")
    items = [
        (number, item)
        for number, item in enumerate(house.venue.instruments(category).values())
        if item.status == status
        and symbol in {"", item.symbol}
        and base in {"", item.base_coin}
        and kind in {"", item.symbol_type}
    ]
    if category is Category.SPOT:
        rows = [spot_instrument(house.venue.listing(category, item.symbol), number) for number, item in items]
        return listed(call, rows)
    limit = parameters.limit(500, 1000)
    part, cursor = page(
        items,
        cursor=parameters.cursor(),
        limit=limit,
        name=lambda item: item[1].symbol,
        place=lambda item: -item[0],
    )
    more = bool(part) and part[-1] != items[-1]
    rows = [linear_instrument(house.venue.listing(category, item.symbol), number) for number, item in part]
    return listed(call, rows, cursor=cursor if more else "")


def tickers(house: House, call: Call) -> Answer:
    """GET /v5/market/tickers: one row, or all of a category from the cache of this instant. Of a delivered
    contract there is none.
    """
    category = category_of(call)
    if category is None:
        return Answer({"category": call.parameters.text("category"), "list": []})
    symbol = call.parameters.text("symbol")
    if symbol:
        house.venue.listing(category, symbol)
        if category is Category.LINEAR and house.venue.delivered(symbol):
            raise bad_parameter("params error: symbol invalid")
        rows = ticker_rows(house, category, symbol=symbol)
        return Answer(text=f'{{"category":"{category}","list":[{rows}]}}')
    house.habit.ask(category)
    return Answer(text=all_tickers(house, category))


def all_tickers(house: House, category: Category) -> str:
    """All tickers of a market, made once for an instant."""
    text = house.served_text.get((category.value, house.venue.now))
    if text is None:
        rows = ticker_rows(house, category)
        text = house.remember_text(category.value, f'{{"category":"{category}","list":[{rows}]}}')
    return text


def orderbook(house: House, call: Call) -> Answer:
    """GET /v5/market/orderbook."""
    category = traded_category(call)
    symbol = known_symbol(house, category, call=call)
    depth = call.parameters.integer("limit", _DEFAULT_LEVELS[category], low=1, high=_MOST_LEVELS)
    streamed = house.streamed_update(category, symbol)
    book = house.venue.book(category, symbol, depth=depth)
    ms, cts = to_ms(house.wire_now()), to_ms(book.as_of)
    bids = ",".join([f'["{plain(level.price)}","{plain(level.quantity)}"]' for level in book.bids])
    asks = ",".join([f'["{plain(level.price)}","{plain(level.quantity)}"]' for level in book.asks])
    update = cts // 10 if streamed is None else streamed
    return Answer(
        text=f'{{"s":{compact(symbol)},"b":[{bids}],"a":[{asks}],"ts":{ms},"u":{update},"seq":{cts},"cts":{cts}}}'
    )


def funding_history(house: House, call: Call) -> Answer:
    """GET /v5/market/funding/history: newest first; a start without an end is an error."""
    category = traded_category(call)
    if category is not Category.LINEAR:
        raise bad_parameter("params error: category invalid")
    symbol = known_symbol(house, category, call=call)
    limit = call.parameters.limit(200, 200)
    start, end = call.parameters.instant("startTime"), call.parameters.instant("endTime")
    if start is not None and end is None:
        raise bad_parameter("params error: endTime is required when startTime is given")
    if start is not None and end is not None and end < start:
        raise bad_parameter("params error: endTime must not be before startTime")
    until = min(end, house.venue.now) if end is not None else house.venue.now
    if start is not None:
        rates = house.venue.settled_funding(symbol, start - timedelta(milliseconds=1), until=until)
    else:
        rates = _newest_rates(house, symbol, until=until, limit=limit)
    rows = [
        {
            "symbol": rate.symbol,
            "fundingRate": plain(rate.rate),
            "fundingRateTimestamp": str(to_ms(rate.time)),
        }
        for rate in reversed(rates[-limit:])
    ]
    return Answer({"category": "linear", "list": rows})


def _newest_rates(house: House, symbol: str, *, until: datetime, limit: int) -> tuple[SettledFunding, ...]:
    """At least the newest ``limit`` settlements, where there are so many: first by the usual interval, then,
    if they are too few, by the longest.
    """
    rates = house.venue.settled_funding(symbol, until - _USUAL_INTERVAL * (limit + 1), until=until)
    if len(rates) >= limit:
        return rates
    return house.venue.settled_funding(symbol, until - _LONGEST_INTERVAL * (limit + 1), until=until)


def risk_limit(house: House, call: Call) -> Answer:
    """GET /v5/market/risk-limit: without a symbol fifteen symbols a page."""
    category = category_of(call)
    if category is None:
        return listed(call, [])
    if category is Category.SPOT:
        raise bad_parameter("params error: category invalid")
    if call.parameters.has("symbol"):
        symbols, cursor = [known_symbol(house, category, call=call)], ""
    else:
        items = enumerate(house.venue.instruments(category).values())
        everything = [(number, item.symbol) for number, item in items if item.status == "Trading"]
        part, cursor = page(
            everything,
            cursor=call.parameters.cursor(),
            limit=_RISK_PAGE,
            name=lambda item: item[1],
            place=lambda item: -item[0],
        )
        symbols = [symbol for _, symbol in part]
        cursor = cursor if list(part[-1:]) != everything[-1:] else ""
    rows = [
        risk_tier(symbol, number, tier=tier)
        for symbol in symbols
        for number, tier in enumerate(house.venue.listing(category, symbol).tiers, 1)
    ]
    return listed(call, rows, cursor=cursor)


def price_limit(house: House, call: Call) -> Answer:
    """GET /v5/market/price-limit."""
    category = Category(call.parameters.choice("category", ("spot", "linear"), default="linear"))
    symbol = known_symbol(house, category, call=call)
    buy, sell = house.venue.price_limits(category, symbol)
    ms = str(to_ms(house.wire_now()))
    return Answer({"symbol": symbol, "buyLmt": plain(buy), "sellLmt": plain(sell), "ts": ms})


def system_status(house: House, _call: Call) -> Answer:
    """GET /v5/system/status: the maintenance windows that the world verb announced."""
    now = to_ms(house.venue.now)
    rows = []
    for number, (begin, end) in enumerate(house.setting.maintenance):
        state = "scheduled" if now < begin else ("ongoing" if now < end else "completed")
        rows.append(
            {
                "id": f"sandbox-maintenance-{number}",
                "title": "System maintenance",
                "state": state,
                "begin": str(begin),
                "end": str(end),
                "href": "",
                "serviceTypes": [1, 2, 3, 4, 5],
                "product": [1, 2],
                "uidSuffix": [],
                "maintainType": 1,
                "env": 1,
            }
        )
    return Answer({"list": rows}, message="")


def announcements(house: House, call: Call) -> Answer:
    """GET /v5/announcements/index: delistings, as they are announced."""
    call.parameters.required("locale")
    wanted = call.parameters.text("type")
    size = call.parameters.limit(20, 100)
    number = call.parameters.integer("page", 1, low=1, high=10_000)
    rows = _delistings(house) if wanted in {"", "delistings"} else []
    return Answer({"total": len(rows), "list": rows[(number - 1) * size : number * size]})


def _delistings(house: House) -> list[dict[str, Any]]:
    announced = dict(house.setting.announced)
    for happening in house.happenings:
        if happening.kind is HappeningKind.DELIST_ANNOUNCED and happening.at <= house.venue.now:
            announced.setdefault(happening.symbol, happening.at)
    rows = []
    for item in house.venue.instruments(Category.LINEAR).values():
        if not isinstance(item, PerpInstrument) or item.delivery_time is None or not item.perpetual:
            continue
        ms = to_ms(announced.get(item.symbol, house.start))
        rows.append(
            {
                "title": f"Delisting of {item.symbol} Perpetual Contract",
                "description": f"{item.symbol} will be delisted at {item.delivery_time:%Y-%m-%d %H:%M} UTC",
                "type": {"title": "Delistings", "key": "delistings"},
                "tags": ["Derivatives", "Delistings"],
                "url": "",
                "dateTimestamp": ms,
                "startDateTimestamp": ms,
                "endDateTimestamp": to_ms(item.delivery_time),
                "publishTime": ms,
            }
        )
    return sorted(rows, key=lambda row: -int(row["dateTimestamp"]))
