"""Tables of many rows: drawn part by part, and one table to the eye."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from fundarb.cli.tables import Column, fitted


def drawn(rows: list[int], *, width: int, last: int | None = None) -> list[str]:
    """The lines of a table with a name, a figure, and a figure that is left out first."""
    out = Console(file=StringIO(), width=width, color_system=None)
    columns: list[Column[int]] = [
        Column("name", lambda row: "total" if row == last else f"row {row}", name=True),
        Column("figure\nUSDT", lambda row: str(row * row)),
        Column("more", lambda row: "x" * 40, spare=1),
    ]
    out.print(fitted(out, columns, rows=rows, last=last))
    assert isinstance(out.file, StringIO)
    return out.file.getvalue().splitlines()


def test_a_long_table_is_one_table() -> None:
    """A thousand rows have one header, one total, and every figure ends in the same column."""
    lines = drawn(list(range(1000)), width=80, last=1000)
    assert [line.split() for line in lines[:3]] == [
        ["figure"],
        ["name", "USDT", "more"],
        ["row", "0", "0", "x" * 40],
    ]
    assert sum("name" in line for line in lines) == 1
    assert lines[-1].split() == ["total", "1000000", "x" * 40]
    body = [line for line in lines[2:] if line.strip()]
    assert len(body) == 1001
    assert len({line.index(" x" + "x" * 39) for line in body}) == 1


def test_the_widest_cell_decides_wherever_it_stands() -> None:
    """A column that is too much for one row far down is left out of all of them."""
    columns: list[Column[int]] = [
        Column("n", str),
        Column("word", lambda row: "w" * (60 if row == 900 else 1), spare=1),
    ]
    out = Console(file=StringIO(), width=40, color_system=None)
    out.print(fitted(out, columns, rows=range(1000)))
    assert isinstance(out.file, StringIO)
    assert "w" not in out.file.getvalue()


def test_what_fits_nowhere_is_cut_and_not_left_out() -> None:
    """Where even what is needed is too wide, the row is cut at the screen's edge."""
    lines = drawn([123_456_789], width=12)
    assert all(len(line) <= 12 for line in lines)
    assert "…" in lines[-1]
