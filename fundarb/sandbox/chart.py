"""What the market has shown so far: bars and public trades, the jumps that the world made included; it must
never look ahead.

The feed knows the past without the world's hand; every price of a coin from before a jump is as it was, every
later one is multiplied.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from heapq import nlargest
from itertools import groupby
from typing import NamedTuple
from zlib import crc32

from fundarb.core.instants import from_ms, to_ms
from fundarb.core.market import Category
from fundarb.core.money import ONE, ZERO, floor_to, round_to
from fundarb.core.orders import ExecKind, Side
from fundarb.core.pairing import readings
from fundarb.sandbox.house import House
from fundarb.sandbox.periods import begun, following
from fundarb.venue.feed import Bar, BarFeed, BarKind, BarQuery, Point

PRINT_EVERY = timedelta(seconds=5)
"""The market makes one public trade so often."""
_DAY = timedelta(days=1)
_FINER = (timedelta(hours=1), timedelta(minutes=5), timedelta(minutes=1))
"""Shorter bars, of which the range of a bar with a jump inside is made."""
_MOMENT = timedelta(milliseconds=1)
_MOST_DAYS = 999
"""Whole daily bars that a market makes at once, beside one that has just begun."""
_LONG_KEPT = timedelta(days=1461)
_PRINT_EVERY_MS = PRINT_EVERY // timedelta(milliseconds=1)


class Print(NamedTuple):
    """One public trade; ``side`` is the taker's."""

    at: datetime
    price: Decimal
    size: Decimal
    side: Side
    ident: str


def factor_at(house: House, category: Category, *, symbol: str, at: datetime) -> Decimal:
    """By how much the world had moved a coin's prices by then."""
    return _factors(house, category, symbol=symbol, span=(at, at))[-1]


def _factors(
    house: House, category: Category, *, symbol: str, span: tuple[datetime, datetime]
) -> list[Decimal]:
    """By how much the world had moved a coin's prices at the beginning of a span, and after each jump inside
    it, its end included.
    """
    if not house.setting.jumps:
        return [ONE]
    own, begin, end = _coins(house, category, symbol=symbol), to_ms(span[0]), to_ms(span[1])
    found = [ONE]
    for moved_ms, moved, by in house.setting.jumps:
        kinds = [kind for kind in Category if moved in house.venue.instruments(kind)]
        if moved_ms > end or not any(own & _coins(house, kind, symbol=moved) for kind in kinds):
            continue
        if moved_ms <= begin:
            found[-1] *= by
        else:
            found.append(found[-1] * by)
    return found


def _coins(house: House, category: Category, *, symbol: str) -> set[str]:
    return {coin for coin, _ in readings(house.venue.instruments(category)[symbol].base_coin)}


# ------------------------------------------------------------------------------------------------ bars


def bars(house: House, query: BarQuery) -> list[Bar]:
    """Bars oldest first; none from a market that keeps none."""
    if not isinstance(house.feed, BarFeed):
        return []
    found = list(house.feed.bars(query))
    if not house.setting.jumps or query.kind is BarKind.PREMIUM:
        return found
    return [_moved(house, query, bar=bar) for bar in found]


def long_bars(house: House, query: BarQuery, *, interval: str) -> list[Bar]:
    """Weeks or months, joined from daily bars; of the oldest ones as many as four years have."""
    oldest = begun(interval, query.end - _LONG_KEPT)
    first = max(query.start, oldest)
    start = begun(interval, first)
    start = start if start == first else following(interval, start)
    days: list[Bar] = []
    while start <= query.end:
        until = start + _MOST_DAYS * _DAY
        part = bars(house, replace(query, step=_DAY, start=start, end=min(until, query.end)))
        days += [bar for bar in part if bar.start < until]
        start = until
    return [_joined(list(part)) for _, part in groupby(days, key=lambda bar: begun(interval, bar.start))]


def _joined(days: list[Bar]) -> Bar:
    """One bar of the days in it."""
    first, last = days[0], days[-1]
    return first._replace(
        high=max(bar.high for bar in days),
        low=min(bar.low for bar in days),
        close=last.close,
        volume=sum((bar.volume for bar in days), ZERO),
        turnover=sum((bar.turnover for bar in days), ZERO),
    )


def _moved(house: House, query: BarQuery, *, bar: Bar) -> Bar:
    """A bar as it looks with the jumps before and inside it. A jump at the instant at which a bar ends
    belongs to the next one.
    """
    end = bar.start + query.step
    until = end - _MOMENT if end <= query.end else query.end
    factors = _factors(house, query.category, symbol=query.symbol, span=(bar.start - _MOMENT, until))
    if all(factor == ONE for factor in factors):
        return bar
    tick = house.venue.instruments(query.category)[query.symbol].tick_size
    tick = tick if query.kind is BarKind.LAST else tick / 100
    first, last = round_to(bar.open * factors[0], tick), round_to(bar.close * factors[-1], tick)
    high, low = _extremes(house, query, bar=bar, factors=factors)
    return bar._replace(
        open=first,
        close=last,
        high=max(first, last, round_to(high, tick)),
        low=min(first, last, round_to(low, tick)),
    )


def _extremes(house: House, query: BarQuery, *, bar: Bar, factors: list[Decimal]) -> tuple[Decimal, Decimal]:
    """High and low of a bar: a long one with a jump inside has those of the shorter ones in it, the shortest
    one is taken to have had its whole range before and after each jump.
    """
    step = next((step for step in _FINER if step < query.step and not query.step % step), None)
    if len(factors) > 1 and step is not None:
        end = min(bar.start + query.step, query.end)
        inside = replace(query, step=step, start=bar.start, end=end)
        parts = [part for part in bars(house, inside) if part.start < bar.start + query.step]
        if parts:
            return max(part.high for part in parts), min(part.low for part in parts)
    return bar.high * max(factors), bar.low * min(factors)


# ------------------------------------------------------------------------------------------------ trades


def prints(house: House, category: Category, *, symbol: str, count: int) -> list[Print]:
    """The latest public trades, newest first: one of the market every five seconds, and our own fills among
    them.
    """
    venue = house.venue
    frozen = venue.frozen_since(symbol)
    now_ms = to_ms(venue.now if frozen is None else min(frozen, venue.now))
    newest = now_ms // _PRINT_EVERY_MS * _PRINT_EVERY_MS
    instants = [from_ms(newest - number * _PRINT_EVERY_MS) for number in range(count)]
    oldest = instants[-1]
    own = [
        Print(
            fill.time,
            fill.price,
            fill.quantity,
            (Side.SELL if fill.side is Side.BUY else Side.BUY) if fill.maker else fill.side,
            fill.exec_id,
        )
        for fill in venue.fills(category, oldest, until=venue.now)
        if fill.symbol == symbol and fill.kind is ExecKind.TRADE
    ]
    market = [_print(house, category, symbol=symbol, at=at) for at in instants]
    return nlargest(count, [*own, *market], key=lambda item: item.at)


def _print(house: House, category: Category, *, symbol: str, at: datetime) -> Print:
    """The market's trade of an instant: its last price, and a size that is always the same for that
    instant.
    """
    item = house.venue.instruments(category)[symbol]
    point = house.feed.point(category, symbol, at=at)
    price = round_to(point.last * factor_at(house, category, symbol=symbol, at=at), item.tick_size)
    ident = f"{crc32(symbol.encode()):08x}-{to_ms(at):013d}"
    share = Decimal(1 + crc32(ident.encode()) % 100) / 100
    size = max(floor_to(_touch(point) * share, item.qty_step), item.qty_step)
    return Print(at, max(price, item.tick_size), size, _taker(point), ident)


def _touch(point: Point) -> Decimal:
    return point.bid_size if _taker(point) is Side.SELL else point.ask_size


def _taker(point: Point) -> Side:
    """Who took: a trade at or below the bid was a sale."""
    return Side.SELL if point.bid is not None and point.last <= point.bid else Side.BUY
