"""Tables that fit the screen: the same rows with fewer columns where there is less room, never cut figures.

Knows columns and widths, nothing of what stands in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Generic, TypeVar

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

R = TypeVar("R")
Cell = str | Text
_GAP = 2
"""Between two columns."""


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
    """A table whose columns are chosen, with their widths; one that does not fit however few columns it has
    is cut at the screen's edge.

    Lines are written as they come: rich's own table weighs every cell against all others anew, which takes
    longer than to read some thousand rows.
    """

    columns: Sequence[tuple[Column[R], int]]
    rows: Sequence[R]
    last: R | None
    fits: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The header, the rows, and the totals."""
        if not self.fits:
            yield self._cut()
            return
        bold = console.get_style("bold")
        headers = [column.header.splitlines() for column, _ in self.columns]
        for back in range(max(map(len, headers)), 0, -1):
            yield from self._line(
                [one[-back] if back <= len(one) else "" for one in headers], console, style=bold
            )
        for row in self.rows:
            yield from self._line([column.show(row) for column, _ in self.columns], console)
        if self.last is not None:
            yield from self._line([column.show(self.last) for column, _ in self.columns], console, style=bold)

    def _line(
        self, cells: Sequence[Cell], console: Console, *, style: Style | None = None
    ) -> Iterator[Segment]:
        text = ""  # as long as nothing in it has a style of its own
        for place, (cell, (column, width)) in enumerate(zip(cells, self.columns, strict=True)):
            length = cell_len(cell) if isinstance(cell, str) else cell.cell_len
            free, gap = " " * (width - length), " " * (_GAP if place else 0)
            text += gap if column.name else gap + free
            if isinstance(cell, str):
                text += cell
            else:
                yield Segment(text, style)
                yield from Segment.apply_style(cell.render(console, end=""), style)
                text = ""
            text += free if column.name else ""
        yield Segment(text, style)
        yield Segment.line()

    def _cut(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column, _ in self.columns:
            table.add_column(column.header, justify="left" if column.name else "right", no_wrap=True)
        for row in self.rows:
            table.add_row(*(column.show(row) for column, _ in self.columns))
        if self.last is not None:
            table.add_section()
            table.add_row(*(column.show(self.last) for column, _ in self.columns), style="bold")
        return table
