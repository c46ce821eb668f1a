"""Tables that fit the screen: the same rows with fewer columns where there is less room, never cut figures.

Knows columns and widths, nothing of what stands in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Generic, TypeVar

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.table import Table
from rich.text import Text

R = TypeVar("R")
Cell = str | Text
_GAP = 2
"""Between two columns."""
_PART = 200
"""Rows that are drawn at once: what it takes to draw a table grows faster than its rows do."""


@dataclass(frozen=True, slots=True)
class Column(Generic[R]):
    """One column: its header (a unit on the second line), what a row shows there, whether it is a name (left)
    or a figure (right), and how early it is left out where there is no room (0: never).
    """

    header: str
    show: Callable[[R], Cell]
    name: bool = False
    spare: int = 0


def fitted(
    console: Console, columns: Sequence[Column[R]], *, rows: Iterable[R], last: R | None = None
) -> Fitted[R]:
    """The rows as a table with as many of the columns as the console is wide; ``last`` is a row of totals.

    The columns with the largest ``spare`` go first.
    """
    held = list(rows)
    widths = [_width(column, held if last is None else [*held, last]) for column in columns]
    kept = list(zip(columns, widths, strict=True))
    while True:
        width = sum(width for _, width in kept) + _GAP * (len(kept) - 1)
        most = max(column.spare for column, _ in kept)
        if width <= console.width or not most:
            return Fitted(kept, held, last, fits=width <= console.width)
        kept = [(column, width) for column, width in kept if column.spare < most]


def _width(column: Column[R], rows: Iterable[R]) -> int:
    """How wide a column must be."""
    cells = chain(column.header.splitlines(), map(column.show, rows))
    return max((cell_len(cell) if isinstance(cell, str) else cell.cell_len for cell in cells), default=0)


@dataclass(frozen=True, slots=True)
class Fitted(Generic[R]):
    """A table whose columns are chosen. Drawn part by part, each as wide as the whole; one that does not fit
    however few columns it has is drawn at once, and cut.
    """

    columns: Sequence[tuple[Column[R], int]]
    rows: Sequence[R]
    last: R | None
    fits: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """One part after the other, the first with the header, the last with the totals."""
        step = _PART if self.fits else len(self.rows) or 1
        for start in range(0, len(self.rows) or 1, step):
            part = self.rows[start : start + step]
            ends = start + step >= len(self.rows)
            yield self._part(part, first=not start, last=self.last if ends else None)

    def _part(self, rows: Sequence[R], *, first: bool, last: R | None) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold", show_header=first)
        for column, width in self.columns:
            justify: JustifyMethod = "left" if column.name else "right"
            least = width if self.fits else None
            table.add_column(column.header, justify=justify, no_wrap=True, min_width=least)
        for row in rows:
            table.add_row(*(column.show(row) for column, _ in self.columns))
        if last is not None:
            table.add_section()
            table.add_row(*(column.show(last) for column, _ in self.columns), style="bold")
        return table
