"""Values as JSON knows them, exact: the one form in which answers, events and files are written.

Decimals are strings in plain notation, times ISO 8601 in UTC, durations seconds as strings, enums their
values. A float has no exact form and is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any

from fundarb.core.instants import iso
from fundarb.core.money import plain, seconds


def jsonable(value: Any) -> Any:
    """A value as JSON knows it, exact; raises ``TypeError`` for anything that has no exact form here."""
    if isinstance(value, Enum):
        return jsonable(value.value)
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, (Decimal, datetime, timedelta, PurePath)):
        return _scalar(value)
    if isinstance(value, Mapping):
        return {str(jsonable(key)): jsonable(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: jsonable(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Iterable):
        return [jsonable(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no exact JSON form")


def _scalar(value: Decimal | datetime | timedelta | PurePath) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, timedelta):
        return plain(seconds(value))
    return str(value)
