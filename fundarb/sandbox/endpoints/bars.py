"""What the market has done: klines of four prices, open interest over time, the latest public trades."""

from __future__ import annotations

from datetime import datetime, timedelta

from fundarb.core.instants import from_ms, to_ms
from fundarb.core.market import Category
from fundarb.core.money import plain
from fundarb.sandbox.chart import bars, long_bars, prints
from fundarb.sandbox.endpoints.common import category_of, known_symbol, paged, traded_category
from fundarb.sandbox.house import Call, House
from fundarb.sandbox.periods import INTERVALS, OF_DAYS, begun, earlier, following, shortest
from fundarb.sandbox.wire import Answer, Parameters, bad_parameter
from fundarb.venue.feed import BarKind, BarQuery

_INTEREST_MS = {
    "5min": 300_000,
    "15min": 900_000,
    "30min": 1_800_000,
    "1h": 3_600_000,
    "4h": 14_400_000,
    "1d": 86_400_000,
}
_INTEREST_KEPT = timedelta(days=30)
_TRADES = {Category.SPOT: (60, 60), Category.LINEAR: (500, 1000)}
"""Default and largest number of public trades."""


def kline(house: House, call: Call) -> Answer:
    """GET /v5/market/kline."""
    return _bars(house, call, kind=BarKind.LAST)


def mark_kline(house: House, call: Call) -> Answer:
    """GET /v5/market/mark-price-kline."""
    return _bars(house, call, kind=BarKind.MARK)


def index_kline(house: House, call: Call) -> Answer:
    """GET /v5/market/index-price-kline."""
    return _bars(house, call, kind=BarKind.INDEX)


def premium_kline(house: House, call: Call) -> Answer:
    """GET /v5/market/premium-index-price-kline."""
    return _bars(house, call, kind=BarKind.PREMIUM)


def _bars(house: House, call: Call, *, kind: BarKind) -> Answer:
    parameters = call.parameters
    category = Category(parameters.choice("category", ("spot", "linear"), default="linear"))
    symbol = known_symbol(house, category, call=call)
    if category is Category.SPOT and kind is not BarKind.LAST:
        raise bad_parameter("params error: category invalid")
    interval = parameters.choice("interval", INTERVALS)
    now = house.venue.now
    first, last = _window(parameters, interval, now=now)
    rows: list[list[str]] = []
    if first <= last:
        query = BarQuery(category=category, symbol=symbol, kind=kind, step=shortest(interval),
                         start=first, end=min(following(interval, last), now))  # fmt: skip
        found = long_bars(house, query, interval=interval) if interval in OF_DAYS else bars(house, query)
        for bar in found:
            row = [str(to_ms(bar.start)), plain(bar.open), plain(bar.high), plain(bar.low), plain(bar.close)]
            if bar.start <= last:
                rows.append([*row, plain(bar.volume), plain(bar.turnover)] if kind is BarKind.LAST else row)
    return Answer({"symbol": symbol, "category": category.value, "list": rows[::-1]})


def _window(parameters: Parameters, interval: str, *, now: datetime) -> tuple[datetime, datetime]:
    """When the first and the last bar of an answer begin: the newest ones up to ``end``; with ``start`` alone
    the oldest ones from the bar on in which it lies (github.com/ccxt/ccxt/issues/20646).
    """
    limit = parameters.limit(200, 1000)
    start, end = parameters.instant("start"), parameters.instant("end")
    if start is not None and end is not None and end < start:
        raise bad_parameter("params error: end must not be before start")
    last = begun(interval, min(end or now, now))
    newest = earlier(interval, last, count=limit - 1)
    if start is None:
        return newest, last
    first = begun(interval, start)
    if end is None:
        return first, min(last, earlier(interval, first, count=1 - limit))
    return max(first, newest), last


def open_interest(house: House, call: Call) -> Answer:
    """GET /v5/market/open-interest: both sides in base units, at the ends of past intervals, newest first."""
    category = category_of(call)
    parameters = call.parameters
    if category is None:
        return Answer(
            {"symbol": parameters.text("symbol"), "category": parameters.text("category"), "list": []}
        )
    if category is Category.SPOT:
        raise bad_parameter("params error: category invalid")
    symbol = known_symbol(house, category, call=call)
    step = _INTEREST_MS[parameters.choice("intervalTime", tuple(_INTEREST_MS))]
    limit = parameters.limit(50, 200)
    start, end = parameters.instant("startTime"), parameters.instant("endTime")
    if start is not None and end is not None and end < start:
        raise bad_parameter("params error: endTime must not be before startTime")
    now = house.venue.now
    last = to_ms(min(end or now, now)) // step * step
    first = to_ms(max(start or now - _INTEREST_KEPT, now - _INTEREST_KEPT))

    def row(ms: int) -> dict[str, str]:
        point = house.feed.point(category, symbol, at=from_ms(ms))
        return {"openInterest": plain(point.open_interest), "timestamp": str(ms)}

    answer = paged(call, range(last, first - 1, -step), limit=limit, name=str, place=int, row=row)
    return Answer({"symbol": symbol, **(answer.result or {})})


def recent_trades(house: House, call: Call) -> Answer:
    """GET /v5/market/recent-trade: the latest public trades, our own among them, newest first."""
    category = traded_category(call)
    symbol = known_symbol(house, category, call=call)
    default, most = _TRADES[category]
    count = call.parameters.limit(default, most)
    rows = [
        {
            "execId": item.ident,
            "symbol": symbol,
            "price": plain(item.price),
            "size": plain(item.size),
            "side": item.side.value,
            "time": str(to_ms(item.at)),
            "isBlockTrade": False,
            "isRPITrade": False,
            "seq": str(to_ms(item.at)),
        }
        for item in prints(house, category, symbol=symbol, count=count)
    ]
    return Answer({"category": category.value, "list": rows})
