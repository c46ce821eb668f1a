"""Bars out of a price function: for kline end points over a market that has a price at every instant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

from fundarb.core.instants import from_ms, to_ms
from fundarb.markets.ladder import Grid
from fundarb.markets.noise import unit
from fundarb.venue.feed import Bar, BarKind, BarQuery

_SAMPLES = 6
_DAY_MS = 86_400_000
_MAX_BARS = 1000
_PREMIUM = Grid(Decimal("1e-8"), 1e-8)


class Sampled:
    """Bars by sampling a pure price function; high and low are those of the samples."""

    def __init__(
        self, price: Callable[[datetime], float], grid: Grid, *, step: Grid, turnover: float
    ) -> None:
        self._price = price
        self._grid = grid
        self._step = step
        self._turnover = turnover

    def bars(self, query: BarQuery) -> tuple[Bar, ...]:
        """All bars that start in the query's window (at most a thousand, the newest)."""
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
        prices = [self._price(from_ms(start + span * n // _SAMPLES)) for n in range(_SAMPLES + 1)]
        grid = _PREMIUM if kind is BarKind.PREMIUM else self._grid
        values = [grid.decimal(round(price / grid.size)) for price in prices]
        volume = turnover = Decimal(0)
        if kind is BarKind.LAST:
            money = self._turnover * span / _DAY_MS * (0.5 + unit(start // step, step))
            volume = self._step.decimal(round(money / prices[-1] / self._step.size))
            turnover = Decimal(round(money * 10_000)).scaleb(-4)
        return Bar(from_ms(start), values[0], max(values), min(values), values[-1], volume, turnover)
