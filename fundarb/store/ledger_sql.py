"""Statements of the ledger that are written once: building their SQL anew for every fact costs more than
running them.

Values go through the same fields as everywhere in the store, so that money stays exact; nothing here
knows what is booked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fundarb.store.session import Session


class Insert:
    """Puts rows into one table: ``insert([{column: value}, …])``. Rows with the same ``keys`` replace the
    old ones.
    """

    def __init__(
        self, session: Session, model: Any, *, keys: Sequence[str] = (), returning: str = ""
    ) -> None:
        """``returning`` names a column whose value of the (last) row is the answer."""
        self._session = session
        meta = model._meta  # noqa: SLF001 - peewee's documented place for a model's columns
        self._fields = [field for field in meta.sorted_fields if not field.auto_increment]
        columns = [field.column_name for field in self._fields]
        self._head = f"INSERT INTO {meta.table_name} ({', '.join(columns)}) VALUES "
        self._row = f"({', '.join([session.database.param] * len(columns))})"
        self._tail = ""
        if keys:
            kept = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in keys)
            self._tail = f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {kept}"
        if returning:
            self._tail += f" RETURNING {returning}"
        self._returning = bool(returning)

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        """Insert all rows in one statement; a column that a row does not name is NULL."""
        values = [field.db_value(row.get(field.name)) for row in rows for field in self._fields]
        sql = self._head + ", ".join([self._row] * len(rows)) + self._tail
        cursor = self._session.database.execute_sql(sql, values)
        return cursor.fetchone()[0] if self._returning else None


class Lookup:
    """Finds the one row whose ``keys`` have given values: ``lookup(value, …)`` answers its columns, or
    None.
    """

    def __init__(self, session: Session, model: Any, *, columns: Sequence[str], keys: Sequence[str]) -> None:
        """Both name columns of the model."""
        self._session = session
        meta = model._meta  # noqa: SLF001 - as above
        self._fields = [meta.fields[name] for name in columns]
        self._keys = [meta.fields[name] for name in keys]
        wanted = ", ".join(field.column_name for field in self._fields)
        condition = " AND ".join(f"{field.column_name} = {session.database.param}" for field in self._keys)
        self._sql = f"SELECT {wanted} FROM {meta.table_name} WHERE {condition}"

    def __call__(self, *values: object) -> tuple[Any, ...] | None:
        """The row's columns in core types."""
        bound = [field.db_value(value) for field, value in zip(self._keys, values, strict=True)]
        row = self._session.database.execute_sql(self._sql, bound).fetchone()
        if row is None:
            return None
        return tuple(field.python_value(value) for field, value in zip(self._fields, row, strict=True))
