"""Plain JSON values of typed dataclass trees and back, exact for Decimals and instants; knows nothing of
any particular type.

Decoding is driven by the annotations, so that a snapshot that does not fit raises ``ValueError`` instead of
loading half.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any, TypeVar

from fundarb.core.money import dec

T = TypeVar("T")
_MICROSECOND = timedelta(microseconds=1)


def encode(value: object) -> Any:
    """Nested dicts, lists, strings, integers, booleans and None; ``TypeError`` for anything that has no
    exact form.
    """
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, timedelta):
        return value // _MICROSECOND
    return _container(value)


def _container(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: encode(getattr(value, name)) for name in _names(type(value))}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    message = f"cannot be written exactly: {type(value).__name__}"
    raise TypeError(message)


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def decode(kind: type[T], value: object) -> T:
    """A value of ``kind`` from what ``encode`` made of one; ``ValueError`` if it does not fit."""
    wanted: Any = kind
    try:
        result: T = _decoder(wanted)(value)
    except ValueError as error:
        raise ValueError(f"{kind.__name__}: {error}") from error
    return result


Decoder = Callable[[Any], Any]


@cache
def _decoder(kind: Any) -> Decoder:
    """How to read one type; made once, because a state has tens of thousands of values."""
    origin = typing.get_origin(kind)
    if origin in {types.UnionType, typing.Union}:
        return _optional(next(item for item in typing.get_args(kind) if item is not type(None)))
    if origin in {list, tuple}:
        return _sequence(origin, typing.get_args(kind)[0])
    if origin is dict:
        return _mapping(typing.get_args(kind)[1])
    if dataclasses.is_dataclass(kind):
        return _record(kind)
    return _scalar(kind)


def _optional(kind: Any) -> Decoder:
    inner = _decoder(kind)
    return lambda value: None if value is None else inner(value)


def _sequence(container: Any, kind: Any) -> Decoder:
    inner = _decoder(kind)
    return lambda value: container(inner(item) for item in _checked(list, value))


def _mapping(kind: Any) -> Decoder:
    inner = _decoder(kind)
    return lambda value: {key: inner(item) for key, item in _checked(dict, value).items()}


def _record(kind: Any) -> Decoder:
    hints = typing.get_type_hints(kind)
    decoders = {name: _decoder(hints[name]) for name in _names(kind)}

    def read(value: Any) -> Any:
        given = _checked(dict, value)
        name = ""
        try:
            fields = {}
            for name, item in given.items():
                fields[name] = decoders[name](item)
            return kind(**fields)
        except KeyError:
            raise ValueError(f"{kind.__name__} has no {name}") from None
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        except TypeError as error:
            raise ValueError(f"{kind.__name__}: {error}") from error

    return read


def _scalar(kind: Any) -> Decoder:
    if kind is Decimal:
        return lambda value: dec(_checked(str, value))
    if kind is datetime:
        return _instant
    if kind is timedelta:
        return lambda value: _checked(int, value) * _MICROSECOND
    if issubclass(kind, Enum):
        named: Decoder = kind
        return named
    return lambda value: _checked(kind, value)


def _instant(value: Any) -> datetime:
    moment = datetime.fromisoformat(_checked(str, value))
    if moment.tzinfo is None:
        raise ValueError(f"{value} has no time zone")
    return moment


def _checked(kind: type[T], value: Any) -> T:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{kind.__name__} expected, not {type(value).__name__}")
    return value
