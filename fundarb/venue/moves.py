"""By how much the world has moved the prices of coins: what the feed says, times a factor, now and in the day
behind; it knows nothing of books, orders and accounts.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from fundarb.core.instants import floor_hour
from fundarb.core.market import Category, PerpInstrument, SpotInstrument
from fundarb.core.money import ONE, ceil_to, floor_to, round_to
from fundarb.core.pairing import readings
from fundarb.venue.feed import MarketFeed, Point
from fundarb.venue.state import Jump, MarketState

_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)
_BETWEEN = Decimal("0.002")
"""How far a price may have been beyond its hourly samples: as much as the synthetic market allows for."""
_FAIR_SHARE, _FAIR_DIGITS = Decimal("0.1"), 8
_Instrument = SpotInstrument | PerpInstrument


class Moves:
    """The factors of all coins, and prices times them."""

    def __init__(self, feed: MarketFeed, over: MarketState) -> None:
        """``over`` holds the factors and the jumps of the last day."""
        self._feed = feed
        self._over = over
        self._ranges: dict[tuple[Category, str], tuple[datetime, Decimal, Decimal]] = {}

    def factor(self, instrument: _Instrument, at: datetime | None = None) -> Decimal:
        """By how much all prices of this coin are moved: now, or as it was at an instant of the last day."""
        factors = self._over.factors
        coin = self._coin(instrument) if factors else None
        if coin is None:
            return ONE
        jumps = self._over.jumps.get(coin, ()) if at is not None else ()
        return next((jump.factor for jump in jumps if at is not None and at < jump.until), factors[coin])

    def scale(self, coin: str, factor: Decimal, *, now: datetime) -> None:
        """From now on all prices of a coin are the feed's times a factor; what held until now is remembered
        as long as a day's range or an average may ask for it.
        """
        over = self._over
        known = [jump for jump in over.jumps.get(coin, ()) if now - jump.until <= _DAY + _HOUR]
        over.jumps[coin] = [*known, Jump(now, over.factors.get(coin, ONE))]
        over.factors[coin] = factor
        self._ranges.clear()

    def _coin(self, instrument: _Instrument) -> str | None:
        """The coin of an instrument, if it was ever moved."""
        return next((coin for coin, _ in readings(instrument.base_coin) if coin in self._over.factors), None)

    def point(self, instrument: _Instrument, at: datetime) -> Point:
        """The feed's market of an instrument, all prices times the factor; bid down and ask up to the tick.
        The day behind holds what was shown in it.
        """
        point = self._feed.point(instrument.category, instrument.symbol, at=at)
        coin = self._coin(instrument) if self._over.factors else None
        if coin is None:
            return point
        factor, tick = self._over.factors[coin], instrument.tick_size
        jumps = [jump for jump in self._over.jumps.get(coin, ()) if floor_hour(at) - jump.until < _DAY]
        if factor == ONE and not jumps:
            return point
        last = max(round_to(point.last * factor, tick), tick)
        high, low = self._range(instrument, point, jumps=jumps, at=at)
        return point._replace(
            bid=None if point.bid is None else max(floor_to(point.bid * factor, tick), tick),
            ask=None if point.ask is None else ceil_to(point.ask * factor, tick),
            last=last,
            high_24h=max(round_to(high, tick), last),
            low_24h=min(max(round_to(low, tick), tick), last),
            prev_24h=max(round_to(point.prev_24h * self.factor(instrument, at - _DAY), tick), tick),
            mark=fair(point.mark * factor, tick),
            index=fair(point.index * factor, tick),
        )

    def _range(
        self, instrument: _Instrument, point: Point, *, jumps: list[Jump], at: datetime
    ) -> tuple[Decimal, Decimal]:
        """Extremes of the last price in the day behind. Until its first jump they are the feed's own; from
        there on those of both sides of every jump and of every full hour.
        """
        if not jumps:
            factor = self.factor(instrument)
            return point.high_24h * factor, point.low_24h * factor
        hour, key = floor_hour(at), (instrument.category, instrument.symbol)
        known = self._ranges.get(key)
        if known is None or known[0] != hour:
            lasts = list(self._samples(instrument, jumps, until=hour))
            known = self._ranges[key] = (hour, max(lasts) * (1 + _BETWEEN), min(lasts) * (1 - _BETWEEN))
        before = jumps[0].factor
        return max(point.high_24h * before, known[1]), min(point.low_24h * before, known[2])

    def _samples(self, instrument: _Instrument, jumps: list[Jump], *, until: datetime) -> Iterator[Decimal]:
        """The last price on both sides of each jump, and at each full hour since the first one."""
        factors = [*(jump.factor for jump in jumps), self.factor(instrument)]
        for jump, (before, after) in zip(jumps, pairwise(factors), strict=True):
            last = self._last(instrument, jump.until)
            yield last * before
            yield last * after
        hour = floor_hour(jumps[0].until) + _HOUR
        while hour <= until:
            yield self._last(instrument, hour) * self.factor(instrument, hour)
            hour += _HOUR

    def _last(self, instrument: _Instrument, at: datetime) -> Decimal:
        return self._feed.point(instrument.category, instrument.symbol, at=at).last


def fair(price: Decimal, tick: Decimal) -> Decimal:
    """A fair price as a venue shows it: one digit finer than the tick, but never fewer than eight digits, for
    jumps can take a price far below its tick.
    """
    step = min(tick * _FAIR_SHARE, ONE.scaleb(price.adjusted() + 1 - _FAIR_DIGITS))
    return price.quantize(step.normalize())
