"""Bars for kline end points: sampled from a price function, or joined from finer recorded ones."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from fundarb.core.instants import from_ms, to_ms
from fundarb.markets.ladder import Grid
from fundarb.markets.noise import unit
from fundarb.markets.tape import Series
from fundarb.venue.feed import Bar, BarKind, BarQuery

_SAMPLES = 6
_DAY_MS = 86_400_000
_MAX_BARS = 1001
"""A full page, and the bar that begins where its last one ends."""
_PREMIUM = Grid(Decimal("1e-8"), 1e-8)


class Sampled:
    """Bars by sampling a pure price function; high and low are those of the samples."""

    def __init__(
        self,
        price: Callable[[datetime], float],
        grid: Grid,
        *,
        step: Grid,
        turnover: Callable[[datetime], Decimal],
    ) -> None:
        """``turnover`` is that of a day, as known at an instant."""
        self._price = price
        self._grid = grid
        self._step = step
        self._turnover = turnover

    def bars(self, query: BarQuery) -> tuple[Bar, ...]:
        """All bars that start in the query's window (at most ``_MAX_BARS``, the newest)."""
        step = to_ms(from_ms(0) + query.step)
        first = -(-to_ms(query.start) // step) * step
        last = to_ms(query.end) // step * step
        first = max(first, last - step * (_MAX_BARS - 1))
        end = to_ms(query.end)
        return tuple(
            self._bar(query.kind, start, span=min(step, end - start), step=step)
            for start in range(first, last + 1, step)
        )

    def _bar(self, kind: BarKind, start: int, *, span: int, step: int) -> Bar:
        daily = float(self._turnover(from_ms(start))) if kind is BarKind.LAST else 0.0
        prices = [self._price(from_ms(start + span * n // _SAMPLES)) for n in range(_SAMPLES + 1)]
        grid = _PREMIUM if kind is BarKind.PREMIUM else self._grid
        values = [grid.decimal(round(price / grid.size)) for price in prices]
        volume = turnover = Decimal(0)
        if kind is BarKind.LAST:
            money = daily * span / _DAY_MS * (0.5 + unit(start // step, step))
            volume = self._step.decimal(round(money / prices[-1] / self._step.size))
            turnover = Decimal(round(money * 10_000)).scaleb(-4)
        return Bar(from_ms(start), values[0], max(values), min(values), values[-1], volume, turnover)


def fits(series: Series, query: BarQuery) -> bool:
    """Whether the bars asked for are made of whole recorded ones."""
    return to_ms(from_ms(0) + query.step) % series.step_ms == 0


def recorded_bars(series: Series, query: BarQuery, *, tick: Grid, step: Grid) -> tuple[Bar, ...]:
    """Recorded bars joined to the length asked for (at most ``_MAX_BARS``, the newest); of those that are not
    finished at the end of the query only what is known by then.
    """
    length, end = to_ms(from_ms(0) + query.step), to_ms(query.end)
    first = max(-(-to_ms(query.start) // length), -(-series.first_ms // length)) * length
    last = min(end, series.last_ms - 1) // length * length
    first = max(first, last - length * (_MAX_BARS - 1))
    count, now = length // series.step_ms, series.bar_at(end)
    found = []
    for start in range(first, last + 1, length):
        number = series.bar_at(start)
        found.append(_joined(series, start, bars=range(number, min(number + count, now)), grids=(tick, step)))
    return tuple(found)


def _joined(series: Series, start: int, *, bars: range, grids: tuple[Grid, Grid]) -> Bar:
    """One bar of some finished recorded ones; without any, of the price at its start."""
    tick, step = grids
    opened, closed = series.nodes[bars.start], series.nodes[max(bars.stop, bars.start)]
    high = max([opened, closed, *(series.highs[number] for number in bars)])
    low = min([opened, closed, *(series.lows[number] for number in bars)])
    volume = sum(series.volumes[number] for number in bars)
    money = sum(series.volumes[number] * series.nodes[number] for number in bars)
    prices = [tick.decimal(round(price / tick.size)) for price in (opened, high, low, closed)]
    return Bar(
        from_ms(start),
        prices[0],
        prices[1],
        prices[2],
        prices[3],
        step.decimal(round(volume / step.size)),
        Decimal(round(money * 10_000)).scaleb(-4),
    )
