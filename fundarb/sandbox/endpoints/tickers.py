"""The rows of market/tickers as JSON text: the hottest path of the sandbox, hence built by hand and only from
what changes.

Field set and formats as recorded: prices in plain notation, ``price24hPcnt`` a fraction, running funding with
its live interval.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal

from fundarb.core.instants import to_ms
from fundarb.core.market import Category, FundingRate, PerpInstrument, SpotInstrument
from fundarb.sandbox.house import DayText, House
from fundarb.sandbox.wire import compact
from fundarb.venue.feed import Point

_HOUR = timedelta(hours=1)
Text = Callable[[Decimal], str]
Item = tuple[str, Point, DayText]
Own = Callable[[Item, Text], str]


def ticker_rows(house: House, category: Category, *, symbol: str | None = None) -> str:
    """The rows of one market (or one symbol), joined by commas."""
    venue = house.venue
    points = venue.points(category) if symbol is None else {symbol: venue.point(category, symbol)}
    spot = category is Category.SPOT
    rows = _spot_rows(house, points) if spot else _linear_rows(house, points, symbol=symbol)
    for key, patch in venue.ticker_patches().items():
        kind, _, name = key.partition(":")
        if kind == category.value and name in rows and patch:
            rows[name] = compact({**json.loads(rows[name]), **patch})
    return ",".join(rows.values())


def plain_text(value: Decimal) -> str:
    """Plain notation whatever the exponent; ``str`` does for ordinary prices and is three times as fast."""
    return format(value, "f")


def _day(house: House, category: Category, *, item: SpotInstrument | PerpInstrument, point: Point) -> DayText:
    """The parts that change a few times a day, made when the market hands out new figures (the house forgets
    them when the world changes an instrument).
    """
    key = (category, item.symbol)
    prev = plain_text(point.prev_24h)
    house.day_texts[key] = found = DayText(
        turnover=point.turnover_24h,
        interest=point.open_interest,
        high=point.high_24h,
        low=point.low_24h,
        prev=float(point.prev_24h) or 1.0,
        interest_size=float(point.open_interest),
        head=f'{{"symbol":"{item.symbol}","prevPrice24h":"{prev}","price24hPcnt":"',
        high_text=plain_text(point.high_24h),
        low_text=plain_text(point.low_24h),
        tail=_tail(item, point),
    )
    return found


def _tail(item: SpotInstrument | PerpInstrument, point: Point) -> str:
    """What follows the moving figures of a row."""
    day = f'"turnover24h":"{plain_text(point.turnover_24h)}","volume24h":"{plain_text(point.volume_24h)}"'
    if not isinstance(item, PerpInstrument):
        return f"{day}}}"
    delivery = "0" if item.delivery_time is None else str(to_ms(item.delivery_time))
    phase = "ContinuousTrading" if item.pre_listing else ""
    return (
        f'{day},"openInterest":"{plain_text(point.open_interest)}","prevPrice1h":"","predictedDeliveryPrice":"",'
        f'"basisRate":"","deliveryFeeRate":"","deliveryTime":"{delivery}","basis":"","preOpenPrice":"",'
        f'"preQty":"","curPreListingPhase":"{phase}","basisRateYear":""}}'
    )


def _moving(point: Point, day: DayText, *, text: Text) -> str:
    """What moves in both markets: the touch (an empty side has empty strings), the last price, the range.
    What is the same object as before is not made into text again.
    """
    bid, bid_size, ask, ask_size, last, _, _, _, _, _, high, low, _ = point
    bid_text = ask_text = left = right = ""
    if bid is not None:
        bid_text, left = text(bid), text(bid_size)
    if ask is not None:
        ask_text, right = text(ask), text(ask_size)
    last_text = bid_text if last is bid else ask_text if last is ask else text(last)
    return (
        f'{float(last) / day.prev - 1.0:.4f}","bid1Price":"{bid_text}","bid1Size":"{left}",'
        f'"ask1Price":"{ask_text}","ask1Size":"{right}","lastPrice":"{last_text}",'
        f'"highPrice24h":"{day.high_text if high is day.high else text(high)}",'
        f'"lowPrice24h":"{day.low_text if low is day.low else text(low)}"'
    )


def _rows(
    house: House,
    category: Category,
    *,
    points: Mapping[str, Point],
    own: Own,
) -> dict[str, str]:
    """A row for every point; ``own`` writes what only this market has. ``str`` leaves an exponent in very
    small numbers: such a row is written again the slow way.
    """
    instruments, days = house.venue.instruments(category), house.day_texts
    rows = {}
    for symbol, point in points.items():
        day = days.get((category, symbol))
        if day is None or day.turnover is not point.turnover_24h or day.interest is not point.open_interest:
            day = _day(house, category, item=instruments[symbol], point=point)
        row = f"{_moving(point, day, text=str)},{own((symbol, point, day), str)}"
        if "E" in row:
            row = f"{_moving(point, day, text=plain_text)},{own((symbol, point, day), plain_text)}"
        rows[symbol] = f"{day.head}{row},{day.tail}"
    return rows


def _spot_rows(house: House, points: Mapping[str, Point]) -> dict[str, str]:
    instruments, rules = house.venue.instruments(Category.SPOT), house.venue.coin_rules()

    def own(row: Item, text: Text) -> str:
        """Only coins that are collateral have a USD index."""
        symbol, point, _ = row
        item = instruments[symbol]
        indexed = item.base_coin in rules and item.quote_coin == "USDT"
        return f'"usdIndexPrice":"{text(point.index) if indexed else ""}"'

    return _rows(house, Category.SPOT, points=points, own=own)


def _linear_rows(house: House, points: Mapping[str, Point], *, symbol: str | None) -> dict[str, str]:
    venue = house.venue
    fundings: Mapping[str, FundingRate]
    if symbol is None:
        fundings = venue.fundings()
    else:
        item = venue.instruments(Category.LINEAR)[symbol]
        perpetual = isinstance(item, PerpInstrument) and item.perpetual
        fundings = {symbol: venue.funding(symbol)} if perpetual else {}

    def own(row: Item, text: Text) -> str:
        name, point, day = row
        mark = point.mark
        return (
            f'"indexPrice":"{text(point.index)}","markPrice":"{text(mark)}",'
            f'"openInterestValue":"{day.interest_size * float(mark):.2f}",'
            f"{_funding(house, name, funding=fundings.get(name))}"
        )

    return _rows(house, Category.LINEAR, points=points, own=own)


def _funding(house: House, symbol: str, *, funding: FundingRate | None) -> str:
    """The funding part; all but the rate is remembered until the next settlement."""
    if funding is None:
        return '"fundingRate":"","nextFundingTime":"0","fundingIntervalHour":"","fundingCap":""'
    known = house.funding_texts.get(symbol)
    if known is None or known[0] is not funding.next_time:
        hours = funding.interval // _HOUR
        cap = "" if funding.cap is None else plain_text(funding.cap)
        next_ms = to_ms(funding.next_time)
        tail = f'"nextFundingTime":"{next_ms}","fundingIntervalHour":"{hours}","fundingCap":"{cap}"'
        known = house.funding_texts[symbol] = (funding.next_time, tail)
    return f'"fundingRate":"{funding.rate:f}",{known[1]}'
