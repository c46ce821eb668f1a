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
_NO_BID = '"","bid1Size":""'
_NO_ASK = '"","ask1Size":""'
Text = Callable[[Decimal], str]


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


def _ordinary(row: str) -> bool:
    """Whether ``str`` has left no exponent in a row (a false alarm only costs the slow way)."""
    return "E-" not in row and "E+" not in row


def _day(house: House, category: Category, *, item: SpotInstrument | PerpInstrument, point: Point) -> DayText:
    """The parts that change a few times a day, remembered for as long as the market hands out the same
    figures (the house forgets them when the world changes an instrument).
    """
    key = (category, item.symbol)
    known = house.day_texts.get(key)
    if known is None or known.turnover is not point.turnover_24h or known.interest is not point.open_interest:
        prev = plain_text(point.prev_24h)
        known = house.day_texts[key] = DayText(
            turnover=point.turnover_24h,
            interest=point.open_interest,
            prev=float(point.prev_24h) or 1.0,
            interest_size=float(point.open_interest),
            head=f'{{"symbol":"{item.symbol}","prevPrice24h":"{prev}","price24hPcnt":"',
            tail=_tail(item, point),
        )
    return known


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
    """What moves in both markets: the touch (an empty side has empty strings), the last price, the range."""
    bid, bid_size, ask, ask_size, last, _, _, _, _, _, high, low, _ = point
    left = f'"{text(bid)}","bid1Size":"{text(bid_size)}"' if bid is not None else _NO_BID
    right = f'"{text(ask)}","ask1Size":"{text(ask_size)}"' if ask is not None else _NO_ASK
    return (
        f'{day.head}{float(last) / day.prev - 1.0:.4f}","bid1Price":{left},"ask1Price":{right},'
        f'"lastPrice":"{text(last)}","highPrice24h":"{text(high)}","lowPrice24h":"{text(low)}"'
    )


def _spot_rows(house: House, points: Mapping[str, Point]) -> dict[str, str]:
    instruments, rules = house.venue.instruments(Category.SPOT), house.venue.coin_rules()
    rows = {}
    for symbol, point in points.items():
        item = instruments[symbol]
        indexed = item.base_coin in rules and item.quote_coin == "USDT"
        day = _day(house, Category.SPOT, item=item, point=point)
        row = _spot_row(point, day, indexed=indexed, text=str)
        rows[symbol] = row if _ordinary(row) else _spot_row(point, day, indexed=indexed, text=plain_text)
    return rows


def _spot_row(point: Point, day: DayText, *, indexed: bool, text: Text) -> str:
    """A row; only coins that are collateral have a USD index."""
    usd = text(point.index) if indexed else ""
    return f'{_moving(point, day, text=text)},"usdIndexPrice":"{usd}",{day.tail}'


def _linear_rows(house: House, points: Mapping[str, Point], *, symbol: str | None) -> dict[str, str]:
    instruments, venue = house.venue.instruments(Category.LINEAR), house.venue
    fundings: Mapping[str, FundingRate]
    if symbol is None:
        fundings = venue.fundings()
    else:
        item = instruments[symbol]
        perpetual = isinstance(item, PerpInstrument) and item.perpetual
        fundings = {symbol: venue.funding(symbol)} if perpetual else {}
    rows = {}
    for name, point in points.items():
        day = _day(house, Category.LINEAR, item=instruments[name], point=point)
        funding = _funding(house, name, funding=fundings.get(name))
        row = _linear_row(point, day, funding=funding, text=str)
        rows[name] = row if _ordinary(row) else _linear_row(point, day, funding=funding, text=plain_text)
    return rows


def _linear_row(point: Point, day: DayText, *, funding: str, text: Text) -> str:
    mark = text(point.mark)
    return (
        f'{_moving(point, day, text=text)},"indexPrice":"{text(point.index)}","markPrice":"{mark}",'
        f'"openInterestValue":"{day.interest_size * float(mark):.2f}",{funding},{day.tail}'
    )


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
