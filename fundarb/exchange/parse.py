"""Reading single fields of raw answers, strictly: ``""`` is "not applicable" and never zero, NaN is never a
number.

Every reader raises ``ParseError`` with the field's name; whoever reads a whole answer turns that into
``BadAnswer``, or, for the rows of a bulk ticker answer, into "unreadable" with the reason. Unknown keys are
ignored everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from fundarb.core.instants import from_ms
from fundarb.core.money import ZERO, dec
from fundarb.exchange.strict import Answer

T = TypeVar("T")
Row = Mapping[str, Any]

LARGEST = Decimal("1e18")
"""No price, quantity or amount of a real market reaches this."""

SMALLEST = Decimal("1e-18")

_EARLIEST = 1_262_304_000_000  # 2010
_LATEST = 7_258_118_400_000  # 2200


class ParseError(ValueError):
    """A field is missing, malformed or absurd; the message names it."""


def text(row: Row, key: str, *, empty: bool = False) -> str:
    """A text; an empty one only where ``empty``."""
    value = row.get(key)
    if not isinstance(value, str):
        raise ParseError(f"{key} is {_shown(value)}")
    if not value and not empty:
        raise ParseError(f"{key} is empty")
    return value


def optional_text(row: Row, key: str) -> str:
    """A text, "" where it is missing or null."""
    return "" if row.get(key) is None else text(row, key, empty=True)


def flag(row: Row, key: str) -> bool:
    """A boolean, or a venue's way of writing one; False where it is missing, null or empty."""
    value = row.get(key)
    if isinstance(value, bool):
        return value
    if value is None or value in _NO:
        return False
    if value in _YES:
        return True
    raise ParseError(f"{key} is {_shown(value)}")


_NO = ("", "0", 0, "false", "OFF")  # tuples: a list or an object in their place must not raise TypeError
_YES = ("1", 1, "true", "ON")


def number(row: Row, key: str) -> Decimal:
    """A finite number of sane size."""
    value = row.get(key)
    try:
        result = dec(value)  # type: ignore[arg-type]  # it refuses every other type itself
    except ValueError as error:
        raise ParseError(f"{key} is {_shown(value)}") from error
    if not -LARGEST < result < LARGEST:
        raise ParseError(f"{key} is absurd: {_shown(value)}")
    return result


def optional_number(row: Row, key: str) -> Decimal | None:
    """A number, or None where the venue says "", null or nothing."""
    value = row.get(key)
    return None if value is None or value == "" else number(row, key)


def positive(row: Row, key: str) -> Decimal:
    """A number above zero."""
    result = number(row, key)
    if result < SMALLEST:
        raise ParseError(f"{key} is not positive: {_shown(row.get(key))}")
    return result


def not_negative(row: Row, key: str) -> Decimal:
    """Zero or more."""
    result = number(row, key)
    if result < 0:
        raise ParseError(f"{key} is negative: {_shown(row.get(key))}")
    return result


def optional_price(row: Row, key: str) -> Decimal | None:
    """A price, None for "", null, nothing or the venue's "0" (no price: a market order, a flat position)."""
    result = optional_number(row, key)
    if result is None or result == 0:
        return None
    if result < 0:
        raise ParseError(f"{key} is negative: {_shown(row.get(key))}")
    return result


def amount(row: Row, key: str) -> Decimal:
    """An amount that is added to others; where it does not apply ("", null, nothing) it contributes
    nothing.
    """
    value = row.get(key)
    return ZERO if value is None or value in _NOTHING else number(row, key)


_NOTHING = ("", "0")


def integer(row: Row, key: str, *, missing: int | None = None) -> int:
    """An integer, or text that is one."""
    value = row.get(key)
    if value is None and missing is not None:
        return missing
    return _whole(row, key, value=number(row, key))


def _whole(row: Row, key: str, *, value: Decimal) -> int:
    whole = int(value)
    if whole != value:
        raise ParseError(f"{key} is not whole: {_shown(row.get(key))}")
    return whole


def instant(row: Row, key: str) -> datetime:
    """An instant in milliseconds; seconds or cut digits are refused, not read as 1975."""
    result = optional_instant(row, key)
    if result is None:
        raise ParseError(f"{key} is {_shown(row.get(key))}")
    return result


def optional_instant(row: Row, key: str) -> datetime | None:
    """An instant in milliseconds; None for "", "0", null or nothing."""
    value = optional_number(row, key)
    if value is None or value == 0:
        return None
    milliseconds = _whole(row, key, value=value)
    if not _EARLIEST < milliseconds < _LATEST:
        raise ParseError(f"{key} is no time in milliseconds: {_shown(row.get(key))}")
    return from_ms(milliseconds)


def minutes(row: Row, key: str) -> timedelta:
    """A duration given in minutes; zero where it is missing (dated futures pay no funding)."""
    value = integer(row, key, missing=0)
    if not 0 <= value <= 7 * 24 * 60:
        raise ParseError(f"{key} is absurd: {value} minutes")
    return timedelta(minutes=value)


def child(row: Row, key: str) -> Row:
    """An object inside; an empty one where it is missing."""
    value = row.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ParseError(f"{key} is {_shown(value)}")
    return value


def rows(answer: Answer, key: str = "list") -> list[Row]:
    """The list of a list endpoint; a missing one is an error, never "nothing there"."""
    value = answer.result.get(key)
    if not isinstance(value, list):
        raise ParseError(f"the answer has no list ({key} is {_shown(value)})")
    for row in value:
        if not isinstance(row, dict):
            raise ParseError(f"a row of the list is {_shown(row)}")
    return value


def each(answer: Answer, parse: Callable[[Row], T]) -> list[T]:
    """Every row of a list endpoint, parsed; one bad row makes the whole answer bad."""
    return [parse(row) for row in rows(answer)]


def _shown(value: Any) -> str:
    """A value for a message: short, on one line."""
    if value is None:
        return "missing or null"
    if value == "":
        return "empty"
    shown = repr(value)
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"


_SHOWN = 40
