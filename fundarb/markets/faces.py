"""One instrument of the synthetic market as an exchange shows it: quotes, daily figures, running and
settled funding.

An instant inside an hour costs a few multiplications; everything slower is prepared when an hour is
entered. Figures of the day are renewed every few hours, each instrument at hours of its own, so that no
step of the clock pays for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from math import exp
from typing import NamedTuple

from fundarb.core.instants import from_ms, to_ms
from fundarb.core.market import Category, FundingRate
from fundarb.markets.coins import Coin
from fundarb.markets.ladder import Depth, Ladder
from fundarb.markets.model import HOUR_MS, CoinModel, Segment
from fundarb.markets.noise import key_number, unit
from fundarb.markets.script import Switch
from fundarb.venue.feed import Listing, Point

_STAT_HOURS = 4
_SPOT_TURNOVER = 0.18
_BIG_MOVE = 4.0
"""Hourly moves of so many of a coin's own standard deviations make its book nervous."""
_MOST_STRESS = 6.0
_RATE = Decimal("1e-8")
_CENT = Decimal("0.01")


class Moment(NamedTuple):
    """An instant in the market's own terms, with what all coins share at it. ``tick`` numbers the half
    seconds.
    """

    ms: int
    hour: int
    fraction: float
    sines: tuple[float, float, float, float]
    tick: int


class FundingGrid:
    """When funding settles: on full hours of UTC that divide by the interval in force. Hours count from the
    origin.
    """

    def __init__(self, origin: datetime, switches: Mapping[str, tuple[Switch, ...]]) -> None:
        self._origin_ms = to_ms(origin)
        self._origin_hour = self._origin_ms // HOUR_MS
        self._switches = switches

    def hours(self, coin: Coin, hour: int) -> int:
        """The interval in force from a whole hour on."""
        hours = coin.hours
        for switch in self._switches.get(coin.name, ()):
            if hour >= switch.hour:
                hours = switch.hours
        return hours

    def period(self, coin: Coin, hour: int) -> tuple[int, int]:
        """The hour at which the period that holds a whole hour began, and its length."""
        hours = self.hours(coin, hour)
        return hour - (hour + self._origin_hour) % hours, hours

    def ends(self, coin: Coin, first: int, *, last: int) -> Iterator[tuple[int, int]]:
        """Every settlement in ``[first, last]`` with the length of the period that it ends."""
        hour = first
        while hour <= last:
            hours = self.hours(coin, hour - 1)
            wait = -(hour + self._origin_hour) % hours
            if wait == 0:
                yield hour, hours
            hour += wait or 1

    def instant(self, hour: int) -> datetime:
        """A whole hour as an instant."""
        return from_ms(self._origin_ms + hour * HOUR_MS)


class _Day(NamedTuple):
    """The 24 hours behind an instant."""

    prev: Decimal
    high: Decimal
    low: Decimal
    turnover: Decimal
    volume: Decimal
    open_interest: Decimal


class _Hour(NamedTuple):
    """What one instrument needs inside one hour; ``area``: the premium's integral since the period began,
    ``stress``: how nervous its book is, 1 in calm.
    """

    hour: int
    path: Segment
    premium: float
    premium_change: float
    since: int
    hours: int
    area: float
    next_time: datetime
    interval: timedelta
    day: _Day
    stress: float


class Face:
    """One instrument: ``model`` moves it, ``listing`` says its filters, ``grid`` when it settles."""

    def __init__(self, model: CoinModel, listing: Listing, *, grid: FundingGrid) -> None:
        coin = model.coin
        instrument = listing.instrument
        self.model = model
        self.linear = listing.category is Category.LINEAR
        self.multiplier = float(coin.multiplier) if self.linear else 1.0
        self.cap = Decimal(coin.size.cap)
        self.ladder = Ladder(
            tick=instrument.tick_size,
            step=instrument.qty_step,
            depth=_depth(coin, linear=self.linear),
            key=key_number(f"{coin.name}|{listing.category}") ^ model.offset,
        )
        self._grid = grid
        self._scale = model.base * self.multiplier
        self._hour: _Hour | None = None
        self._day: tuple[int, _Day] | None = None

    def inside(self, hour: int) -> _Hour:
        """What is needed inside an hour, from memory or prepared now."""
        known = self._hour
        return known if known is not None and known.hour == hour else self._enter(hour)

    def fair(self, moment: Moment) -> tuple[float, float]:
        """Fair price and index at a moment, in the quote coin."""
        return self._fair(self.inside(moment.hour), moment)

    def _fair(self, known: _Hour, moment: Moment) -> tuple[float, float]:
        fraction = moment.fraction
        one, two, three, four = moment.sines
        start, change, a, b, c, d = known.path
        index = self._scale * exp(start + change * fraction + a * one + b * two + c * three + d * four)
        return index * (1.0 + known.premium + known.premium_change * fraction), index

    def point(self, moment: Moment) -> Point:
        """The market of this instrument at a moment."""
        known = self.inside(moment.hour)
        fair, index = self._fair(known, moment)
        bid, bid_size, ask, ask_size, last = self.ladder.quote(fair, moment.tick, stress=known.stress)
        prev, high, low, turnover, volume, interest = known.day
        fine = self.ladder.fine
        mark = fine.step * round(fair / fine.size)
        return Point(
            bid,
            bid_size,
            ask,
            ask_size,
            last,
            mark,
            fine.step * round(index / fine.size) if self.linear else mark,
            turnover,
            volume,
            prev,
            high if high > last else last,  # noqa: FURB136 - hundreds a step: a call less
            low if low < last else last,  # noqa: FURB136 - as above
            interest,
        )

    def running(self, moment: Moment) -> FundingRate:
        """The running period: the rate is the formula over the premium *so far*, so it still moves."""
        known = self.inside(moment.hour)
        fraction = moment.fraction
        mean, passed = known.premium, known.hour - known.since + fraction
        if passed:
            mean = (known.area + fraction * (mean + known.premium_change * fraction / 2.0)) / passed
        return FundingRate(
            rate=_RATE * round(self.model.rate(mean, known.hours) * 1e8),
            interval=known.interval,
            next_time=known.next_time,
            cap=self.cap,
        )

    def settled(self, hour: int, hours: int) -> Decimal:
        """The rate settled at a whole hour for the ``hours`` before it."""
        mean = self.model.premium_area(hour - hours, hour) / hours
        return _RATE * round(self.model.rate(mean, hours) * 1e8)

    # ------------------------------------------------------------------------------------------ hours

    def _enter(self, hour: int) -> _Hour:
        model, premium, change, since, hours, area = self.model, 0.0, 0.0, hour, 8, 0.0
        if self.linear:
            premium = model.premium(hour)
            change = model.premium(hour + 1) - premium
            since, hours = self._grid.period(model.coin, hour)
            area = model.premium_area(since, hour)
        self._hour = _Hour(
            hour=hour,
            path=model.segment(hour),
            premium=premium,
            premium_change=change,
            since=since,
            hours=hours,
            area=area,
            next_time=self._grid.instant(since + hours),
            interval=timedelta(hours=hours),
            day=self._look_back(hour),
            stress=self._stress(hour),
        )
        return self._hour

    def _stress(self, hour: int) -> float:
        """From the volatility of the hour and the move of the hour before: what comes is not known to a
        book.
        """
        model = self.model
        moved = abs(model.log_price(hour) - model.log_price(hour - 1)) / (_BIG_MOVE * model.coin.size.idio)
        return min(max(1.0, model.volatility(hour), moved), _MOST_STRESS)

    def _look_back(self, hour: int) -> _Day:
        block = (hour + self.model.offset) // _STAT_HOURS
        if self._day is None or self._day[0] != block:
            self._day = (block, self._count(block * _STAT_HOURS - self.model.offset))
        return self._day[1]

    def _price_at(self, hour: int) -> float:
        price = self.model.price_at(hour) * self.multiplier
        return price * (1.0 + self.model.premium(hour)) if self.linear else price

    def _count(self, hour: int) -> _Day:
        """The figures of the 24 hours before a whole hour."""
        nodes = [self._price_at(node) for node in range(hour - 24, hour + 1, 2)]
        size = self.model.coin.size
        swing = unit(self.model.offset, hour // 24)
        turnover = size.turnover * (0.5 + 1.2 * swing) * (1.0 if self.linear else _SPOT_TURNOVER)
        tick, step = self.ladder.tick, self.ladder.step
        volume = turnover / nodes[-1]
        return _Day(
            prev=tick.decimal(max(1, round(nodes[0] / tick.size))),
            high=tick.decimal(max(1, round(max(nodes) * 1.002 / tick.size))),
            low=tick.decimal(max(1, round(min(nodes) * 0.998 / tick.size))),
            turnover=_CENT * round(turnover * 100),
            volume=step.decimal(round(volume / step.size)),
            open_interest=step.decimal(round(0.35 * volume / step.size)) if self.linear else Decimal(0),
        )


def _depth(coin: Coin, *, linear: bool) -> Depth:
    """The depth of a coin's book; spot has a share of the perp's and a wider spread."""
    size = coin.size
    share = 1.0 if linear else size.spot_share
    return Depth(
        touch=size.touch * share, density=size.density * share, spread_bp=size.spread_bp / share**0.4
    )
