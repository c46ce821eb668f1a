"""Every row of a database, poured from one engine into another: a backup of a server's database is a file
that fundarb itself can open, and that a server can be filled from.

Both engines keep the same values (money as plain text, instants as milliseconds), so nothing is converted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Final

from fundarb.clock import Clock
from fundarb.store.backup import COPY_MARK
from fundarb.store.ledger_tables import make_ledger_tables
from fundarb.store.migrate import migrate
from fundarb.store.ports import Database
from fundarb.store.sqlite import Sqlite, translated
from fundarb.store.tables import make_tables
from fundarb.store.transaction import alone

_ROWS: Final = 64
"""Rows in one statement, well below every engine's limit of bound values."""
_PARENTS: Final = ("positions", "ledger_journals")
"""To which rows of other tables refer: they come first."""


def models(database: Database) -> tuple[Any, ...]:
    """The model of each table, in an order in which their rows can be written."""
    groups = (make_tables(database), make_ledger_tables(database))
    found = [getattr(group, name) for group in groups for name in type(group).__dataclass_fields__]
    return tuple(sorted(found, key=lambda model: _rank(table_of(model))))


def _rank(table: str) -> int:
    return _PARENTS.index(table) if table in _PARENTS else len(_PARENTS)


def table_of(model: Any) -> str:
    """The name of a model's table."""
    return str(model._meta.table_name)  # noqa: SLF001 - peewee's documented place for it


def pour(source: Database, target: Database) -> None:
    """Write every row of one database into another, whose tables are empty; in the transactions around."""
    for model in models(source):
        columns = [field.column_name for field in model._meta.sorted_fields]  # noqa: SLF001 - as above
        names = ", ".join(f'"{name}"' for name in columns)
        table = table_of(model)
        head = f'INSERT INTO "{table}" ({names}) VALUES '
        marks = f"({', '.join('?' * len(columns))})"
        for rows in _pages(source.stream(f'SELECT {names} FROM "{table}"')):
            values = [value for row in rows for value in row]
            target.execute_sql(head + ", ".join([marks] * len(rows)), values)


def _pages(rows: Iterator[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    while page := list(islice(rows, _ROWS)):
        yield page


def export(source: Database, target: Path, *, name: str, clock: Clock) -> None:
    """Fill an empty file with every row of a database, as of one moment; ``name`` is what the copy will be
    called.
    """
    migrate(target, clock=clock)
    file = Sqlite(target, readonly=False)
    try:
        file.watch()
        with source.snapshot(), alone(file):
            pour(source, file)
            file.execute_sql("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (COPY_MARK, name))
    finally:
        file.close_all()
    with translated(target), closing(sqlite3.connect(target)) as last:
        last.execute("PRAGMA journal_mode = DELETE").fetchone()  # one file, no write-ahead log beside it
