"""One open database file: its tables, its transactions, and the few calls through which every query runs.

The collaborators (positions, intents, the ledger …) are built upon a ``Session`` and know nothing of one
another beyond what they are handed. Each thread has its own connection; two sessions, of one file or of two,
may live in one process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from fundarb.clock import Clock
from fundarb.core.instants import from_ms, to_ms
from fundarb.crash import Point
from fundarb.errors import InvariantBroken
from fundarb.store import files
from fundarb.store.sqlite import Sqlite, translated
from fundarb.store.tables import Tables, make_tables
from fundarb.store.transaction import Transaction, Transactions


class Session:
    """An existing file whose schema is right, open."""

    def __init__(self, path: Path, *, clock: Clock, readonly: bool) -> None:
        """Connect at once, so that a file that cannot be opened is known now."""
        self.path = path
        self.url = files.url_of(path)
        self.clock = clock
        self.readonly = readonly
        self.database = Sqlite(path, readonly=readonly)
        self.tables: Tables = make_tables(self.database)
        self._transactions = Transactions(self.database, self.still_there)
        self._places = (str(path), f"{path}-wal")
        self._file = _identity_of(self._places[0])
        self.database.execute_sql("SELECT count(*) FROM sqlite_master").fetchone()
        # as long as this first connection lives, SQLite never replaces the write-ahead log
        self._wal = _identity_of(self._places[1])

    def transaction(self, *, before: Point | None = None, after: Point | None = None) -> Transaction:
        """A block that is durable as a whole or not at all: ``with store.transaction(): …``.

        Inside another it joins; if it raises, it alone is undone. ``before`` and ``after`` name crash points
        around the commit that makes it durable (the outermost one). ``StateUnavailable`` if that commit fails
        or the file is gone: then nothing of it may be acted upon.
        """
        if self.readonly:
            raise InvariantBroken(f"{self.path} was opened for reading only")
        return Transaction(self._transactions, before=before, after=after)

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call once the current transaction is durable; at once if there is none; never if it is undone."""
        self._transactions.on_commit(callback)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Several reads that see one and the same moment of the database."""
        if self._transactions.frames or self.database.in_transaction():
            yield
            return
        with translated(self.path), self.database.transaction():
            yield

    def still_there(self) -> bool:
        """Whether the file, and its write-ahead log, are still the ones that were opened. Cheap: two ``stat``
        calls.
        """
        file, log = self._places
        return _identity_of(file) == self._file and _identity_of(log) == self._wal

    def now(self) -> datetime:
        """The clock's instant as a column keeps it: cut to the millisecond."""
        return from_ms(to_ms(self.clock.now()))

    def rows(self, query: Any) -> list[dict[str, Any]]:
        """All rows of a select, as dictionaries by column name, values in core types."""
        with translated(self.path):
            return list(query.dicts())

    def row(self, query: Any) -> dict[str, Any] | None:
        """The first row of a select, or None."""
        rows = self.rows(query.limit(1))
        return rows[0] if rows else None

    def scalar(self, query: Any) -> Any:
        """The first value of the first row, or None."""
        with translated(self.path):
            return query.scalar()

    def execute(self, query: Any) -> Any:
        """Run an insert, update or delete; what peewee answers (rows changed, or the new id). Broken
        constraints pass through.
        """
        with translated(self.path):
            return query.execute()

    def close(self) -> None:
        """Close every connection; the store cannot be used afterwards."""
        self.database.close_all()

    def __enter__(self) -> Self:
        """The store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


def _identity_of(place: str) -> tuple[int, int] | None:
    try:
        found = os.stat(place)  # noqa: PTH116 - asked four times per order; a Path costs ten times as much
    except OSError:
        return None
    return (found.st_dev, found.st_ino)
