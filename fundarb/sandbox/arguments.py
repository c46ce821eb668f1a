"""Strict reading of the control API's JSON: every misfit is named with its place, nothing is guessed,
nothing is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from fundarb.core.money import dec
from fundarb.sandbox.bounds import FIRST, LAST, MOST, in_calendar, sane
from fundarb.sandbox.timekeeping import instant

_T = TypeVar("_T")
_MOST_LEVELS = 1000
_OUT_OF_BOUNDS = f"must be zero or of a size between {1 / MOST} and {MOST}"


class ControlError(Exception):
    """A wrong verb or argument: answered with 400 ``{"error", "path"}``; the state is unchanged."""

    def __init__(self, message: str, path: str, *, status: int = 400) -> None:
        """Say what is wrong and where."""
        self.message = message
        self.path = path
        self.status = status
        super().__init__(f"{path}: {message}")


class Arguments:
    """One JSON object being read; ``done`` refuses keys that nobody asked for."""

    def __init__(self, value: Any, path: str = "") -> None:
        """Wrap it; anything but an object is refused."""
        if not isinstance(value, dict):
            raise ControlError("must be a JSON object", path)
        self._value: dict[str, Any] = value
        self._path = path
        self._read: set[str] = set()

    def place(self, name: str) -> str:
        """The path of a key, for messages."""
        return f"{self._path}.{name}" if self._path else name

    def has(self, name: str) -> bool:
        """Whether a key is there and not null."""
        self._read.add(name)
        return self._value.get(name) is not None

    def fail(self, name: str, message: str) -> ControlError:
        """The error of one key."""
        return ControlError(message, self.place(name))

    def _get(self, name: str, kind: type[_T], *, what: str) -> _T:
        self._read.add(name)
        if name not in self._value:
            raise self.fail(name, "is missing")
        value = self._value[name]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.fail(name, f"must be {what}")
        return value

    def text(self, name: str, default: str | None = None) -> str:
        """A string; required without a default."""
        if default is not None and not self.has(name):
            return default
        return self._get(name, str, what="a string")

    def word(self, name: str, allowed: tuple[str, ...], *, default: str | None = None) -> str:
        """One of the allowed words."""
        value = self.text(name, default)
        if value not in allowed:
            raise self.fail(name, f"must be one of {', '.join(allowed)}")
        return value

    def whole(self, name: str, default: int | None = None, *, low: int = 0, high: int = 10**12) -> int:
        """A whole number."""
        if default is not None and not self.has(name):
            return default
        value = self._get(name, int, what="a whole number")
        if not low <= value <= high:
            raise self.fail(name, f"must be between {low} and {high}")
        return value

    def flag(self, name: str, *, default: bool | None = None) -> bool:
        """True or false."""
        if default is not None and not self.has(name):
            return default
        return self._get(name, bool, what="true or false")

    def number(self, name: str) -> Decimal:
        """A number as a string; a whole JSON number will do, a JSON fraction will not (it is not exact)."""
        self._read.add(name)
        if name not in self._value:
            raise self.fail(name, "is missing")
        value = self._value[name]
        try:
            found = dec(value)
        except ValueError:
            raise self.fail(name, 'must be a number as a string, like "0.0001"') from None
        if not sane(found):
            raise self.fail(name, _OUT_OF_BOUNDS)
        return found

    def number_or_none(self, name: str) -> Decimal | None:
        """A number as a string, None where it is absent or null."""
        return self.number(name) if self.has(name) else None

    def nullable(self, name: str) -> Decimal | None:
        """A number as a string or null; it must be there."""
        if not self.has(name) and name not in self._value:
            raise self.fail(name, "is missing")
        return self.number_or_none(name)

    def some_of(self, *names: str) -> None:
        """Refuse an object that has none of these."""
        if not any(self.has(name) for name in names):
            raise self.fail(names[0], f"one of {', '.join(names)} must be given")

    def instant(self, name: str) -> datetime:
        """An ISO 8601 instant with its zone, of this century."""
        found = self.parsed(name, instant)
        if not in_calendar(found):
            raise self.fail(name, f"is not between {FIRST:%Y} and {LAST:%Y}")
        return found

    def parsed(self, name: str, parse: Callable[[str], _T]) -> _T:
        """A string that a function reads; its ``ValueError`` becomes the message."""
        try:
            return parse(self.text(name))
        except ValueError as error:
            raise self.fail(name, str(error)) from None

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self._get(name, list, what="a list of strings")
        if not all(isinstance(item, str) for item in value):
            raise self.fail(name, "must be a list of strings")
        return tuple(value)

    def numbers(self, name: str) -> tuple[Decimal, ...]:
        """A non-empty list of numbers as strings."""
        texts = self.texts(name)
        if not texts:
            raise self.fail(name, "must not be empty")
        try:
            return tuple(dec(item) for item in texts)
        except ValueError:
            raise self.fail(name, "must be a list of numbers as strings") from None

    def levels(self, name: str) -> tuple[tuple[Decimal, Decimal], ...]:
        """A list of [price, quantity] pairs, both strings."""
        value = self._get(name, list, what="a list of [price, quantity]")
        if len(value) > _MOST_LEVELS:
            raise self.fail(name, f"{_MOST_LEVELS} levels at most")
        found = []
        for item in value:
            if not (isinstance(item, list) and len(item) == 2):
                raise self.fail(name, "must be a list of [price, quantity]")
            try:
                found.append((dec(item[0]), dec(item[1])))
            except ValueError:
                raise self.fail(name, "prices and quantities must be strings") from None
            if not all(map(sane, found[-1])):
                raise self.fail(name, _OUT_OF_BOUNDS)
        return tuple(found)

    def fields(self, name: str) -> Mapping[str, str]:
        """An object whose values are strings."""
        value = self._get(name, dict, what="an object of strings")
        if not all(isinstance(item, str) for item in value.values()):
            raise self.fail(name, "must be an object of strings")
        return dict(value)

    def nested(self, name: str) -> Arguments:
        """An object inside; an absent one is empty."""
        self._read.add(name)
        return Arguments(self._value.get(name, {}), self.place(name))

    def raw(self, name: str) -> Any:
        """A value as it is."""
        self._read.add(name)
        return self._value.get(name)

    def done(self) -> None:
        """Refuse what was not read."""
        for name in self._value:
            if name not in self._read:
                raise self.fail(name, "is not known here")
