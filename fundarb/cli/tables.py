"""Tables that fit the screen: the same rows with fewer columns where there is less room, never cut figures.

Knows columns and widths, nothing of what stands in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

R = TypeVar("R")
Cell = str | Text
_UNBOUNDED = 10_000


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
) -> Table:
    """The rows as a table with as many of the columns as the console is wide; ``last`` is a row of totals.

    The columns with the largest ``spare`` go first.
    """
    kept, held = list(columns), list(rows)
    while True:
        table = _table(kept, held, last=last)
        width = Measurement.get(console, console.options.update(max_width=_UNBOUNDED), table).maximum
        most = max(column.spare for column in kept)
        if width <= console.width or not most:
            return table
        kept = [column for column in kept if column.spare < most]


def _table(columns: Sequence[Column[R]], rows: Sequence[R], *, last: R | None) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.header, justify="left" if column.name else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(column.show(row) for column in columns))
    if last is not None:
        table.add_section()
        table.add_row(*(column.show(last) for column in columns), style="bold")
    return table
