"""Rows as immutable records, through statements whose text is put together once.

peewee's own query builder costs a third of a millisecond per statement, more than the durable commit itself;
the tables that an order passes through on its way to the wire are read and written here. Conditions are
written as SQL over our own column names; values are always bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, TypeVar

import peewee

from fundarb.core.instants import to_ms
from fundarb.store.fields import Integer, Text
from fundarb.store.session import Session

R = TypeVar("R")
_KNOWN = 256
"""So many rows of a table are recognised at most; beyond that everything is forgotten."""


def bound(value: object) -> str | int | None:
    """A value of a condition as it is stored; ``TypeError`` for money, which is never compared in SQL."""
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, datetime):
        return to_ms(value)
    if value is None or isinstance(value, (str, int)):
        return int(value) if isinstance(value, bool) else value
    if isinstance(value, Decimal):
        raise TypeError("money is not compared in SQL; read it and use Decimal")
    raise TypeError(f"not a value of a condition: {value!r}")


class Records(Generic[R]):
    """The rows of one table as records of one dataclass, whose fields are columns of the same names."""

    def __init__(
        self,
        session: Session,
        table: Any,
        *,
        kind: Callable[..., R],
        names: tuple[str, ...] = (),
        often: bool = False,
    ) -> None:
        """``names`` are the columns to read; the record's fields if it is a dataclass and none are given.

        ``often``: the same few rows are read again and again. Making a record costs more than reading its
        row, so a row that was seen before, equal in every column, gives the record that was made of it.
        """
        meta = table._meta  # noqa: SLF001 - peewee's documented place for the columns
        self._session = session
        self._database = session.database
        self._kind = kind
        self._names = names or tuple(item.name for item in fields(kind))  # type: ignore[arg-type]  # see docstring
        self._encoders: Mapping[str, Callable[[Any], Any]] = {
            name: field.db_value for name, field in meta.fields.items()
        }
        self._decoders = tuple(
            (place, meta.fields[name].python_value)
            for place, name in enumerate(self._names)
            if not isinstance(meta.fields[name], (Text, Integer))  # those are kept as they are
        )
        self._table = f'"{meta.table_name}"'
        numbered = isinstance(meta.primary_key, peewee.AutoField)
        self._returning = session.database.returning if numbered else ""
        columns = ", ".join(f'"{name}"' for name in self._names)
        self._select = f"SELECT {columns} FROM {self._table}"
        self._updates: dict[tuple[str, ...], str] = {}
        self._inserts: dict[tuple[str, ...], str] = {}
        self._often = often
        self._known: dict[tuple[Any, ...], R] = {}

    def many(self, condition: str = "", *values: object) -> tuple[R, ...]:
        """The records for which a condition (``WHERE … ORDER BY … LIMIT …``, ``?`` for values) holds."""
        rows = self._database.rows(f"{self._select} {condition}", [bound(value) for value in values])
        return tuple(self._record(row) for row in rows)

    def one(self, condition: str, *values: object) -> R | None:
        """The first such record, or None."""
        statement = f"{self._select} {condition} LIMIT 1"
        row = self._database.row(statement, [bound(value) for value in values])
        return None if row is None else self._record(row)

    def value(self, what: str, condition: str = "", *values: object) -> Any:
        """One bare value: the first column of the first row of ``SELECT what FROM table condition``."""
        statement = f"SELECT {what} FROM {self._table} {condition}"
        row = self._database.row(statement, [bound(value) for value in values])
        return None if row is None else row[0]

    def insert(self, values: Mapping[str, Any]) -> int:
        """Write one row; its number where the table numbers its rows. A broken constraint passes through."""
        names = tuple(values)
        statement = self._inserts.get(names)
        if statement is None:
            columns, marks = ", ".join(f'"{name}"' for name in names), ", ".join("?" * len(names))
            statement = f"INSERT INTO {self._table} ({columns}) VALUES ({marks}){self._returning}"
            self._inserts[names] = statement
        return self._database.insert(statement, self._encoded(values))

    def add(self, record: R, **more: Any) -> R:
        """Write a record (and columns beyond it); as it will be read."""
        values = {name: getattr(record, name) for name in self._names}
        self.insert({**values, **more})
        encoded = [self._encoders[name](values[name]) for name in self._names]
        return self._made(encoded)

    def update(self, changes: Mapping[str, Any], condition: str, *values: object) -> int:
        """Change columns where a condition holds; how many rows."""
        names = tuple(changes)
        statement = self._updates.get(names)
        if statement is None:
            statement = f"UPDATE {self._table} SET " + ", ".join(f'"{name}" = ?' for name in names)
            self._updates[names] = statement
        parameters = [*self._encoded(changes), *(bound(value) for value in values)]
        return int(self._database.execute_sql(f"{statement} {condition}", parameters).rowcount)

    def delete(self, condition: str, *values: object) -> int:
        """Remove the rows for which a condition holds; how many."""
        cursor = self._database.execute_sql(
            f"DELETE FROM {self._table} {condition}", [bound(value) for value in values]
        )
        return int(cursor.rowcount)

    def _encoded(self, values: Mapping[str, Any]) -> list[Any]:
        return [self._encoders[name](value) for name, value in values.items()]

    def _record(self, row: Sequence[Any]) -> R:
        if not self._often:
            return self._made(row)
        row = tuple(row)
        record = self._known.get(row)
        if record is None:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            record = self._known[row] = self._made(row)
        return record

    def _made(self, row: Sequence[Any]) -> R:
        values = list(row)
        for place, decode in self._decoders:
            values[place] = decode(values[place])
        return self._kind(**dict(zip(self._names, values, strict=True)))
