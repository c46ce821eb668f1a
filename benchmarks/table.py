"""What a benchmark hands back, and how it is shown: a row, an aligned table, a JSON document."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured figure. ``target`` is the largest figure that keeps the promise; None where nothing is
    promised.

    ``ratio`` is the figure over that of the row it is compared with (said in ``note``), None where it stands
    alone.
    """

    name: str
    figure: float
    unit: str
    target: float | None = None
    note: str = ""
    ratio: float | None = None

    @property
    def kept(self) -> bool | None:
        """Whether the promise is kept; None where nothing is promised."""
        return None if self.target is None else self.figure <= self.target


def document(results: dict[str, Sequence[Row]]) -> list[dict[str, Any]]:
    """The rows of all modules as JSON objects."""
    return [
        {"module": module, **asdict(row), "kept": row.kept}
        for module, rows in results.items()
        for row in rows
    ]


def rendered(rows: Sequence[Row]) -> str:
    """An aligned text table, numbers to the right."""
    head = ("what", "measured", "unit", "target", "ratio", "", "note")
    body = [
        (
            row.name,
            number(row.figure),
            row.unit,
            "" if row.target is None else f"≤ {number(row.target)}",
            "" if row.ratio is None else f"×{number(row.ratio)}",
            {True: "ok", False: "MISSED", None: ""}[row.kept],
            row.note,
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in (head, *body)) for column in range(len(head))]
    right = {1, 3, 4}
    lines = [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (head, *body)
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def number(value: float) -> str:
    """Three significant figures without an exponent, thousands separated."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"
