"""Statements of the ledger that are written once: building their SQL anew for every fact costs more than
running them.

Money stays exact and checked on its way; nothing here knows what is booked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from fundarb.core.instants import to_ms
from fundarb.core.ledger import Account
from fundarb.core.market import Category
from fundarb.core.money import dec, plain
from fundarb.core.orders import Leg, Side
from fundarb.store.fields import Text
from fundarb.store.session import Session

_ENCODE_TEXT: Final = Text().db_value


_SIZES: Final = (64, 16, 4, 1)
"""How many rows one statement takes: few texts, so that each stays prepared, and well below every engine's
limit of bound values.
"""
_SHORT: Final = 40
"""Text of a Decimal that is no longer than this, and plain, needs no further look at its size."""


def money(amount: Decimal) -> str:
    """An exact amount as it is stored, ``plain(dec(amount))``; most amounts are plain text already."""
    text = str(amount)
    if type(amount) is Decimal and len(text) <= _SHORT and text.lstrip("-").replace(".", "", 1).isdecimal():
        if "." in text:
            text = text.rstrip("0").rstrip(".")
        return "0" if text == "-0" else text
    return plain(dec(amount))


def _text(value: str) -> str | None:
    return value if value.isascii() else _ENCODE_TEXT(value)


_ENCODERS: Final[dict[type, Callable[[Any], Any]]] = {
    str: _text,
    Decimal: money,
    datetime: to_ms,
    int: int,
    type(None): lambda _: None,
    Account: str,
    Leg: str,
    Side: str,
    Category: str,
}


def stored(value: object) -> Any:
    """A value as its column keeps it; words of an enum as their text."""
    encode = _ENCODERS.get(type(value))
    if encode is not None:
        return encode(value)
    if isinstance(value, StrEnum):
        return value.value
    raise TypeError(f"no column keeps {value!r}")


def encoded(values: Iterable[object]) -> tuple[Any, ...]:
    """Many values as their columns keep them, each as ``stored`` would."""
    return tuple([(_ENCODERS.get(type(value)) or stored)(value) for value in values])


class Insert:
    """Puts rows into one table. Rows with the same ``keys`` replace the old ones; of columns in ``added``
    the old and the new amount are added up, exactly.
    """

    def __init__(
        self,
        session: Session,
        model: Any,
        *,
        columns: Sequence[str],
        keys: Sequence[str] = (),
        added: Sequence[str] = (),
    ) -> None:
        """``columns`` as the model names them."""
        self._database = session.database
        table = model._meta.table_name  # noqa: SLF001 - peewee's documented place for a model's columns
        head = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "
        row = f"({', '.join([session.database.param] * len(columns))})"
        tail = ""
        if keys:
            kept = [f"{column} = excluded.{column}" for column in columns if column not in {*keys, *added}]
            sums = [f"{column} = dadd({table}.{column}, excluded.{column})" for column in added]
            tail = f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {', '.join(kept + sums)}"
        self._texts = tuple((size, head + ", ".join([row] * size) + tail) for size in _SIZES)

    def __call__(self, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows, their values as columns keep them (``stored``, ``money``); no two of them may have the
        same ``keys``.
        """
        start = 0
        for size, sql in self._texts:
            while len(rows) - start >= size:
                part = rows[start : start + size]
                self._database.execute_sql(sql, [value for row in part for value in row])
                start += size


class Lookup:
    """Finds the one row whose ``keys`` have given values: ``lookup(value, …)`` answers its columns, or
    None.
    """

    def __init__(self, session: Session, model: Any, *, columns: Sequence[str], keys: Sequence[str]) -> None:
        """Both name columns of the model."""
        self._session = session
        meta = model._meta  # noqa: SLF001 - as above
        self._decode = [meta.fields[name].python_value for name in columns]
        condition = " AND ".join(f"{name} = {session.database.param}" for name in keys)
        self._sql = f"SELECT {', '.join(columns)} FROM {meta.table_name} WHERE {condition}"

    def __call__(self, *values: object) -> tuple[Any, ...] | None:
        """The row's columns in core types."""
        row = self._session.database.row(self._sql, [stored(value) for value in values])
        if row is None:
            return None
        return tuple(decode(value) for decode, value in zip(self._decode, row, strict=True))
