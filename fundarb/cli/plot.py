"""A curve in the terminal, drawn with braille dots: two columns and four rows of dots to a character."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_BLANK = 0x2800
_LABEL = 12
_WIDEST = 100


def lines(values: Sequence[Decimal], *, width: int = 80, height: int = 10) -> tuple[str, ...]:
    """The curve of equally spaced values as lines of text, the largest and smallest value beside them."""
    columns = max(min(width, _WIDEST) - _LABEL - 1, 2)
    low, high = min(values), max(values)
    span = high - low or Decimal(1)
    grid = [[_BLANK] * columns for _ in range(height)]
    last = height * 4 - 1
    before: int | None = None
    for x in range(columns * 2):
        value = values[x * (len(values) - 1) // max(columns * 2 - 1, 1)]
        y = last - int((value - low) / span * last)
        first, end = sorted((y, before if before is not None else y))
        for dot in range(first, end + 1):
            grid[dot // 4][x // 2] |= _DOTS[x % 2][dot % 4]
        before = y
    labels = {0: f"{high:,.2f}", height - 1: f"{low:,.2f}"}
    return tuple(
        f"{labels.get(number, ''):>{_LABEL}} " + "".join(map(chr, row)).rstrip(chr(_BLANK))
        for number, row in enumerate(grid)
    )
