"""Randomness with an address: the same key and index always give the same number, whatever was asked
before.

Everything a synthetic market does at an instant is made of these, so that a price is a pure function of
seed, symbol and instant. Blocks that were thrown away are simply drawn again; nothing here keeps a position
in a sequence.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from random import Random

_BLOCK = 64
_KEPT_BLOCKS = 6
_KEPT_NODES = 512
_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MIX = 0xD6E8FEB86659FD93


def key_number(key: str) -> int:
    """A 64-bit number of a text; stable between runs and machines (unlike ``hash``)."""
    return Random(key).getrandbits(64)


def unit(key: int, index: int) -> float:
    """A uniform number in [0, 1) of a 64-bit key and an index: one multiply-xorshift mix, cheap enough for
    every quote.
    """
    x = (index * _GOLDEN + key) & _MASK
    x = ((x ^ (x >> 32)) * _MIX) & _MASK
    x = ((x ^ (x >> 32)) * _MIX) & _MASK
    return (x >> 11) / 9007199254740992.0


def three_units(key: int, index: int) -> tuple[float, float, float]:
    """Three uniform numbers in [0, 1), coarser (21 bits) and cheaper than three calls of ``unit``."""
    x = (index * _GOLDEN + key) & _MASK
    x = ((x ^ (x >> 32)) * _MIX) & _MASK
    x = ((x ^ (x >> 32)) * _MIX) & _MASK
    return (x & 0x1FFFFF) / 2097152.0, (x >> 21 & 0x1FFFFF) / 2097152.0, (x >> 43) / 2097152.0


class Shocks:
    """Rows of independent standard normal numbers, one row an index (positive or negative).

    ``lanes`` is the length of a row, ``offset`` moves the borders of the internal blocks, so that many
    streams do not all draw their next block at the same index.
    """

    def __init__(self, key: str, lanes: int, *, offset: int = 0) -> None:
        self._key = key
        self._lanes = lanes
        self._offset = offset
        self._blocks: dict[int, list[tuple[float, ...]]] = {}

    def row(self, index: int) -> tuple[float, ...]:
        """The numbers of one index."""
        block, place = divmod(index + self._offset, _BLOCK)
        rows = self._blocks.get(block)
        if rows is None:
            rows = self._draw(block)
        return rows[place]

    def _draw(self, block: int) -> list[tuple[float, ...]]:
        gauss, lanes = Random(f"{self._key}|{block}").gauss, range(self._lanes)
        rows = [tuple([gauss(0.0, 1.0) for _ in lanes]) for _ in range(_BLOCK)]
        if len(self._blocks) >= _KEPT_BLOCKS:
            del self._blocks[next(iter(self._blocks))]
        self._blocks[block] = rows
        return rows


class Drift:
    """Smooth noise: standard normal numbers at every ``hours`` hours, smooth in between; its variance is a
    little under 1.
    """

    def __init__(self, key: str, hours: int) -> None:
        self._hours = hours
        self._phase = key_number(key) % hours
        self._nodes = Shocks(key, 1)

    def at(self, hour: int) -> float:
        """Its value at a whole hour."""
        node, place = divmod(hour + self._phase, self._hours)
        left = self._nodes.row(node)[0]
        if not place:
            return left
        u = place / self._hours
        u = u * u * (3.0 - 2.0 * u)
        return left + (self._nodes.row(node + 1)[0] - left) * u


class Regime:
    """A level that stays for weeks and then moves to another: drawn per stretch of ``hours``, the last
    third is the passage.
    """

    def __init__(self, key: str, hours: int, *, draw: Callable[[Random], float]) -> None:
        self._key = key
        self._hours = hours
        self._phase = key_number(key) % hours
        self._draw = draw
        self._levels: dict[int, float] = {}

    def pin(self, hour: int, *levels: float) -> None:
        """Give the stretch that holds an hour, and those after it, levels of their own (before anything is
        asked).
        """
        first = (hour + self._phase) // self._hours
        for number, level in enumerate(levels):
            self._levels[first + number] = level

    def at(self, hour: int) -> float:
        """Its value at a whole hour."""
        stretch, place = divmod(hour + self._phase, self._hours)
        left = self._level(stretch)
        u = (place / self._hours - 0.67) / 0.33
        if u <= 0.0:
            return left
        return left + (self._level(stretch + 1) - left) * u * u * (3.0 - 2.0 * u)

    def _level(self, stretch: int) -> float:
        level = self._levels.get(stretch)
        if level is None:
            level = self._levels[stretch] = self._draw(Random(f"{self._key}|{stretch}"))
        return level


class Nodes:
    """A memory for the values of a pure function at whole hours, of bounded size."""

    def __init__(self, compute: Callable[[int], float]) -> None:
        self._compute = compute
        self._known: dict[int, float] = {}

    def at(self, hour: int) -> float:
        """The function's value."""
        value = self._known.get(hour)
        if value is None:
            if len(self._known) > _KEPT_NODES:
                self._known.clear()
            value = self._known[hour] = self._compute(hour)
        return value


class Walk:
    """A sum of steps in both directions from index 0, where it is zero; the step of index i leads from i to
    i + 1.
    """

    def __init__(self, step: Callable[[int], float]) -> None:
        self._step = step
        self._ahead = array("d", [0.0])
        self._behind = array("d", [0.0])

    def at(self, index: int) -> float:
        """The sum of all steps from 0 to the index."""
        if index >= 0:
            ahead = self._ahead
            while len(ahead) <= index:
                ahead.append(ahead[-1] + self._step(len(ahead) - 1))
            return ahead[index]
        behind = self._behind
        while len(behind) <= -index:
            behind.append(behind[-1] - self._step(-len(behind)))
        return behind[-index]
