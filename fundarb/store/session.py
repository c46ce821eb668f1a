"""One open database: its tables, its transactions, and the few calls through which every query runs.

The collaborators (positions, intents, the ledger …) are built upon a ``Session`` and know nothing of one
another beyond what they are handed. Each thread has its own connection; two sessions, of one database or of
two, may live in one process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from fundarb.clock import Clock
from fundarb.core.instants import from_ms, to_ms
from fundarb.crash import Point
from fundarb.errors import ConfigError, InvariantBroken, Problem
from fundarb.store.ports import Database, Place
from fundarb.store.tables import Tables, make_tables
from fundarb.store.transaction import Transaction, Transactions


class Session:
    """An existing database whose schema is right, open."""

    def __init__(self, place: Place, *, clock: Clock, readonly: bool) -> None:
        """Connect at once, so that what cannot be opened is known now."""
        self.place = place
        self.name = place.name
        self.url = place.url
        self.clock = clock
        self.readonly = readonly
        self.database: Database = place.connect(readonly=readonly)
        self.tables: Tables = make_tables(self.database)
        self._transactions = Transactions(self.database)

    @property
    def path(self) -> Path:
        """The database's file; ``ConfigError`` where a server keeps it."""
        if self.place.file is None:
            raise ConfigError(Problem("--db", f"{self.name} is no file"))
        return self.place.file

    def transaction(self, *, before: Point | None = None, after: Point | None = None) -> Transaction:
        """A block that is durable as a whole or not at all: ``with store.transaction(): …``.

        Inside another it joins; if it raises, it alone is undone. ``before`` and ``after`` name crash points
        around the commit that makes it durable (the outermost one). ``StateUnavailable`` if that commit fails
        or the database is gone: then nothing of it may be acted upon.
        """
        if self.readonly:
            raise InvariantBroken(f"{self.name} was opened for reading only")
        return Transaction(self._transactions, before=before, after=after)

    @property
    def depth(self) -> int:
        """How many blocks of a transaction are open on this thread, one inside the other."""
        return len(self._transactions.frames)

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call once the current transaction is durable; at once if there is none; never if it is undone."""
        self._transactions.on_commit(callback)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Several reads that see one and the same moment of the database."""
        if self._transactions.frames or self.database.in_transaction():
            yield
            return
        with self.database.snapshot():
            yield

    def still_there(self) -> bool:
        """Whether what was opened is still the database of that name. Cheap."""
        return self.database.still_there()

    def now(self) -> datetime:
        """The clock's instant as a column keeps it: cut to the millisecond."""
        return from_ms(to_ms(self.clock.now()))

    def rows(self, query: Any) -> list[dict[str, Any]]:
        """All rows of a select, as dictionaries by column name, values in core types."""
        with self.database.translated():
            return list(query.dicts())

    def row(self, query: Any) -> dict[str, Any] | None:
        """The first row of a select, or None."""
        rows = self.rows(query.limit(1))
        return rows[0] if rows else None

    def scalar(self, query: Any) -> Any:
        """The first value of the first row, or None."""
        with self.database.translated():
            return query.scalar()

    def execute(self, query: Any) -> Any:
        """Run an insert, update or delete; what peewee answers (rows changed, or the new id). Broken
        constraints pass through.
        """
        with self.database.translated():
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
