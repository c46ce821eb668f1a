"""The columns of every table: exact decimals, instants in milliseconds, flags, words of an enum; and the
exact sum of decimals.

SQLite's STRICT tables take TEXT and INTEGER only, so each field names its storage itself. Money is TEXT in
SQLite: SQL's own SUM, ORDER BY, < and + would treat it as binary fractions or as letters, hence a money
column refuses to be compared, ordered or reckoned with in SQL. Only ``==`` (text in its one plain notation)
and ``dsum`` are exact.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import partial, reduce
from operator import is_not
from typing import Any, Final, NoReturn

import peewee

from fundarb.core.instants import from_ms, to_ms
from fundarb.core.money import dec, plain
from fundarb.errors import StateUnavailable

EXACT = decimal.Context(
    prec=400,
    traps=[decimal.Inexact, decimal.InvalidOperation, decimal.Overflow, decimal.FloatOperation],
)
"""Wide enough for every amount there is; should a sum not fit, it raises rather than rounds."""


class Unreadable(StateUnavailable, ValueError):
    """A column holds what nobody stored there: the file was damaged, or written by another hand."""

    def __init__(self, value: object, belongs: str) -> None:
        """Says what stands there, and what belongs there."""
        super().__init__(
            f"the database is damaged: {str(value)[:40]!r} stands where {belongs} belongs; put the newest "
            "backup in its place, then reconcile"
        )


@contextmanager
def readable(what: str) -> Iterator[None]:
    """A block that makes sense of stored texts; ``Unreadable`` where one makes none."""
    try:
        yield
    except (KeyError, ValueError, decimal.InvalidOperation) as error:
        raise Unreadable(error, what) from error


def _forbidden(self: Any, *_: object, **__: object) -> NoReturn:
    raise TypeError(f"{self.name}: money is not compared or reckoned with in SQL; read it, or use dsum()")


class DecimalText(peewee.Field):
    """An exact Decimal, stored as plain text without exponent or trailing zeros. Takes Decimal and int,
    nothing else.
    """

    field_type = "TEXT"

    def db_value(self, value: object) -> str | None:
        """Plain notation; ``ValueError`` for no exact finite number, ``TypeError`` for text."""
        if value is None:
            return None
        if isinstance(value, str):
            raise TypeError(f"{self.name}: text is not an amount; parse it first: {value!r}")
        return plain(dec(value))  # type: ignore[arg-type]  # dec() refuses every other type itself

    def python_value(self, value: str | Decimal | None) -> Decimal | None:
        """The number exactly as it was stored; ``Unreadable`` for anything that is none."""
        if value is None:
            return None
        try:
            number = Decimal(value)
        except decimal.InvalidOperation as error:
            raise Unreadable(value, "an amount") from error
        if not number.is_finite():  # the rest was checked when it was stored
            raise Unreadable(value, "an amount")
        return number

    __lt__ = __le__ = __gt__ = __ge__ = _forbidden
    __add__ = __sub__ = __mul__ = __truediv__ = _forbidden
    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = _forbidden
    __pos__ = __neg__ = asc = desc = between = _forbidden

    def __hash__(self) -> int:
        """As every peewee field."""
        return hash(f"{self.model.__name__}.{self.name}")


class Instant(peewee.Field):
    """An aware UTC datetime, stored as INTEGER milliseconds since 1970; microseconds are cut off."""

    field_type = "BIGINT"

    def db_value(self, value: datetime | None) -> int | None:
        """Milliseconds; ``ValueError`` for a naive datetime."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{self.name}: an instant without a time zone")
        return to_ms(value)

    def python_value(self, value: int | None) -> datetime | None:
        """The UTC instant."""
        return None if value is None else from_ms(value)


class Flag(peewee.Field):
    """True or False, stored as 1 or 0."""

    field_type = "INTEGER"

    def db_value(self, value: object) -> int | None:
        """1 or 0."""
        return None if value is None else int(bool(value))

    def python_value(self, value: int | None) -> bool | None:
        """The truth."""
        return None if value is None else bool(value)


class Word(peewee.Field):
    """A member of one ``StrEnum``, stored as its text."""

    field_type = "TEXT"

    def __init__(self, words: type[StrEnum], **options: Any) -> None:
        """Remember which words there are."""
        self.words = words
        self._members = {word.value: word for word in words}
        super().__init__(**options)

    def db_value(self, value: object) -> str | None:
        """The text; ``ValueError`` for a word the enum does not have."""
        return None if value is None else self.words(str(value)).value

    def python_value(self, value: str | None) -> StrEnum | None:
        """The member; ``Unreadable`` for a text that was never stored."""
        if value is None:
            return None
        found = self._members.get(value)
        if found is None:
            raise Unreadable(value, f"a word for {self.words.__name__}")
        return found


class Text(peewee.TextField):
    """Any text. Half a surrogate pair (a venue's cut answer) cannot be stored and becomes a question mark."""

    def db_value(self, value: object) -> str | None:
        """The text, always encodable."""
        return None if value is None else str(value).encode("utf-8", "replace").decode("utf-8")


Integer = peewee.IntegerField


_ADD: Final = EXACT.add
_GIVEN: Final = partial(is_not, None)


class ExactSum:
    """The SQL aggregate ``dsum``: adds decimal texts without ever rounding; NULL is skipped.

    The texts of a group are kept until it ends, so that no Python of ours runs for each row: that would take
    most of a report's time. SQLite has one group in hand at a time.
    """

    def __init__(self) -> None:
        """Start at zero; ``step`` takes the value of one row."""
        self._values: list[Any] = []
        self.step = self._values.append

    def finalize(self) -> str:
        """The sum in plain notation."""
        return plain(reduce(_ADD, map(Decimal, filter(_GIVEN, self._values)), Decimal(0)))


def exact_add(one: str, other: str) -> str:
    """The SQL function ``dadd``: the sum of two decimal texts, never rounded, in plain notation."""
    return plain(EXACT.add(Decimal(one), Decimal(other)))


def dsum(column: Any) -> Any:
    """The exact sum of a money column, as a query expression that yields a Decimal (zero for no rows)."""
    return peewee.fn.dsum(column).python_value(_sum)


def _sum(total: str | Decimal | None) -> Decimal:
    return Decimal(0) if total is None else dec(total)  # SQLite finishes no sum that never began
