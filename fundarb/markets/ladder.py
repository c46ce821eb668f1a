"""From a fair price in float to what an exchange shows: quotes on the tick, sizes on the step, levels
behind the best ones.

Here floats become Decimals, by way of whole numbers of ticks and steps, so every price is an exact
multiple. Shared by the synthetic market and the replay; it knows nothing of how the fair price came about.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from math import floor, log10

from fundarb.core.market import Level
from fundarb.markets.noise import three_units, unit

MAX_LEVELS = 1000
"""As many as the exchange shows (Bybit V5 API, market/orderbook)."""
_GROWTH = 40.0
_FARTHEST = 100
"""From this level on the distances grow no more; what was recorded was as dense at 250 bp as at 50."""
_LANE = 256
_EVEN = 0.5


@dataclass(frozen=True, slots=True)
class Grid:
    """A tick or a step: ``step`` exactly (never with a positive exponent), ``size`` as a float."""

    step: Decimal
    size: float

    @classmethod
    def of(cls, step: Decimal) -> Grid:
        """The grid of a tick size or quantity step."""
        exact = Decimal(format(step.normalize(), "f"))
        return cls(exact, float(step))

    def decimal(self, count: int) -> Decimal:
        """So many ticks."""
        return self.step * count


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How deep a book is: USD at the touch, USD per bp behind it, the usual spread and distance of levels
    in bp.
    """

    touch: float
    density: float
    spread_bp: float

    @property
    def gap_bp(self) -> float:
        """The usual distance between two levels."""
        return 0.15 + 0.35 * log10(1.0 + 4e5 / self.density)


class Ladder:
    """The quoting of one instrument: ``tick`` and ``step`` of its filters, a depth, a key for its own small
    noise.
    """

    def __init__(self, *, tick: Decimal, step: Decimal, depth: Depth, key: int) -> None:
        self.tick = Grid.of(tick)
        self.step = Grid.of(step)
        self.depth = depth
        self._key = key
        self._touch = depth.touch / self.step.size
        self._spread = depth.spread_bp * 1e-4 / self.tick.size
        self.fine = Grid.of(tick / 10)
        """Mark and index have one digit more than the tick."""

    def quote(
        self, fair: float, moment: int, *, stress: float = 1.0
    ) -> tuple[Decimal, Decimal, Decimal, Decimal, Decimal]:
        """Bid, its size, ask, its size and the last price around a fair price in a moment. ``stress`` widens
        the spread and thins the book as a nervous market does.
        """
        width = round(fair * self._spread * stress) or 1
        ticks = floor(fair / self.tick.size - (width - 1) / 2.0) or 1
        typical = self._touch / fair / stress
        first, second, third = three_units(self._key, moment)
        tick, step = self.tick.step, self.step.step
        bid, ask = tick * ticks, tick * (ticks + width)
        return (
            bid,
            step * (int(typical * (0.15 + 2.0 * first * first)) or 1),
            ask,
            step * (int(typical * (0.15 + 2.0 * second * second)) or 1),
            bid if third < _EVEN else ask,
        )

    def levels(
        self, best: Decimal, size: Decimal, *, upward: bool, moment: int, count: int, stress: float = 1.0
    ) -> tuple[Level, ...]:
        """Up to ``count`` levels from the best price away from the middle, thinning noise repeated for a
        moment.
        """
        ticks = round(best / self.tick.decimal(1))
        fair = float(best)
        gap = self.depth.gap_bp * 1e-4 * fair / self.tick.size
        typical = self.depth.density * self.depth.gap_bp / (fair * self.step.size * stress)
        found = [Level(best, size)]
        salt = self._key ^ (0x5DEECE66D if upward else 0xB5297A4D)
        for number in range(1, min(count, MAX_LEVELS)):
            lane, place = divmod(number, _LANE)
            noise = unit(salt + lane, moment * _LANE + place)
            far = 1.0 + min(number, _FARTHEST) / _GROWTH
            ticks += max(1, round(gap * (0.5 + noise) * far)) * (1 if upward else -1)
            if ticks < 1:
                break
            quantity = max(1, int(typical * (0.4 + 1.2 * noise) * far))
            found.append(Level(self.tick.decimal(ticks), self.step.decimal(quantity)))
        return tuple(found)
