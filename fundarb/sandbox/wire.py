"""The outer form of Bybit V5 answers and requests: envelopes, refusals, parameters; it must never know a
venue rule.

Facts: retCode envelope, numbers as strings, "" for "not applicable", HTTP 200 for nearly every refusal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote

from fundarb.core.instants import from_ms

MAX_BODY = 256 * 1024
"""Bytes of a request body above which the connection is answered with 413."""

_FORBIDDEN = (
    b"<html><head><title>403 Forbidden</title></head>"
    b"<body><center><h1>403 Forbidden</h1></center>access too frequent</body></html>"
)
_MAX_MS = 4_102_444_800_000  # the year 2100


class WireError(Exception):
    """A refusal in Bybit's words: ``code`` is the retCode, ``status`` the HTTP status (200 for nearly all
    of them).
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        status: int = 200,
        result: Mapping[str, Any] | None = None,
        ext: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep what the envelope will carry; ``ext`` is its ``retExtInfo``."""
        self.code = code
        self.message = message
        self.status = status
        self.result = result or {}
        self.ext = ext or {}
        super().__init__(f"{code} {message}")


def bad_parameter(message: str) -> WireError:
    """A 10001, the code of every parameter that does not fit."""
    return WireError(10001, message)


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back over the socket. ``code`` is the retCode for the request log, None where the body has
    none.
    """

    status: int
    body: bytes
    code: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    content_type: bytes = b"application/json; charset=utf-8"


TOO_LARGE = Response(413, b'{"error":"body is too large","path":""}')


@dataclass(frozen=True, slots=True)
class Answer:
    """A handler's result. ``text`` is the JSON of the result where a handler has built it itself (hot
    paths). ``ext`` is ``retExtInfo``: an object nearly everywhere, the *string* ``"{}"`` at two end points.
    """

    result: Mapping[str, Any] | None = None
    text: str | None = None
    message: str = "OK"
    ext: Mapping[str, Any] | str = field(default_factory=dict)


_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True)


def compact(value: Any) -> str:
    """JSON without blanks, as the exchange sends it."""
    return _ENCODER.encode(value)


def envelope(code: int, message: str, *, result: str, now_ms: int, ext: str = "{}") -> bytes:
    """The V5 envelope around a result that is JSON text already."""
    return (
        f'{{"retCode":{code},"retMsg":{compact(message)},"result":{result},"retExtInfo":{ext},"time":{now_ms}}}'
    ).encode()


def answered(answer: Answer, now_ms: int) -> Response:
    """A success."""
    text = answer.text if answer.text is not None else compact(answer.result or {})
    ext = compact(answer.ext) if answer.ext else "{}"
    return Response(200, envelope(0, answer.message, result=text, now_ms=now_ms, ext=ext), 0)


def refused(error: WireError, now_ms: int) -> Response:
    """A refusal."""
    result, ext = compact(error.result), compact(error.ext)
    body = envelope(error.code, error.message, result=result, now_ms=now_ms, ext=ext)
    return Response(error.status, body, error.code)


def forbidden() -> Response:
    """The HTML page that stands for an IP limit or a GET with a body: no JSON, no retCode."""
    return Response(403, _FORBIDDEN, None, content_type=b"text/html")


class Parameters:
    """The parameters of one request, from the query of a GET or the JSON object of a POST; every misfit is
    a 10001.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        """Wrap decoded values."""
        self._values = values

    @classmethod
    def of_query(cls, query: bytes) -> Parameters:
        """Decode a query string; of a repeated name the last one counts."""
        try:
            pairs = parse_qsl(
                query.decode("ascii"), keep_blank_values=True, strict_parsing=False, errors="strict"
            )
            return cls(dict(pairs))
        except (UnicodeDecodeError, ValueError) as error:
            raise bad_parameter("params error: query cannot be decoded") from error

    @classmethod
    def of_body(cls, body: bytes) -> Parameters:
        """Decode a JSON body; an empty one has no parameters."""
        if not body.strip():
            return cls({})
        try:
            values = decoded(body)
        except (ValueError, RecursionError) as error:
            raise bad_parameter("params error: body is not valid JSON") from error
        if not isinstance(values, dict):
            raise bad_parameter("params error: body must be a JSON object")
        return cls(values)

    def has(self, name: str) -> bool:
        """Whether it was sent with something in it."""
        return self._values.get(name) not in (None, "")

    def peek(self, name: str) -> str | None:
        """A string as it was sent, unchecked; None where there is none. For logs and fault rules only."""
        value = self._values.get(name)
        return value if isinstance(value, str) else None

    def said(self, name: str) -> tuple[str, ...]:
        """Every string sent under a name, unchecked: the request's own, and those of the orders of a
        batch.
        """
        inner = self._values.get("request")
        batch = inner if isinstance(inner, list) else []
        values = [self._values.get(name), *(item.get(name) for item in batch if isinstance(item, dict))]
        return tuple(value for value in values if isinstance(value, str) and value)

    def text(self, name: str, default: str = "") -> str:
        """A string, ``default`` where absent. Numbers are refused: the exchange takes amounts as strings
        only.
        """
        value = self._values.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise bad_parameter(f"params error: {name} must be a string")
        if len(value) > 2048:
            raise bad_parameter(f"params error: {name} is too long")
        return value

    def required(self, name: str) -> str:
        """A non-empty string."""
        value = self.text(name)
        if not value:
            raise bad_parameter(f"params error: {name} is required")
        return value

    def choice(self, name: str, allowed: tuple[str, ...], *, default: str | None = None) -> str:
        """One of the allowed words; required without a default."""
        value = self.text(name) or default
        if value is None:
            raise bad_parameter(f"params error: {name} is required")
        if value not in allowed:
            raise bad_parameter(f"params error: {name} invalid")
        return value

    def integer(self, name: str, default: int, *, low: int, high: int) -> int:
        """A whole number, as text or as a JSON number."""
        value = self._values.get(name)
        if value in (None, ""):
            return default
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise bad_parameter(f"params error: {name} must be an integer")
        if isinstance(value, str) and not (
            value.removeprefix("-").isascii() and value.removeprefix("-").isdigit()
        ):
            raise bad_parameter(f"params error: {name} must be an integer")
        if isinstance(value, str) and len(value) > 20:
            raise bad_parameter(f"params error: {name} out of range")
        number = int(value)
        if not low <= number <= high:
            raise bad_parameter(f"params error: {name} out of range, {low} to {high}")
        return number

    def limit(self, default: int, maximum: int) -> int:
        """A page size: 1 to ``maximum``."""
        return self.integer("limit", default, low=1, high=maximum)

    def flag(self, name: str) -> bool:
        """A JSON boolean; absent is False."""
        value = self._values.get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise bad_parameter(f"params error: {name} must be a boolean")
        return value

    def instant(self, name: str) -> datetime | None:
        """Milliseconds since the epoch; None where absent."""
        if not self.has(name):
            return None
        return from_ms(self.integer(name, 0, low=0, high=_MAX_MS))

    def without(self, name: str) -> Parameters:
        """The same parameters but for one."""
        return Parameters({key: value for key, value in self._values.items() if key != name})

    def batch(self, most: int) -> tuple[Parameters, ...]:
        """The orders of a batch request, each with the category of the whole; one to ``most`` of them."""
        items = self._values.get("request")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise bad_parameter("params error: request must be a list of objects")
        if not 1 <= len(items) <= most:
            raise bad_parameter(f"params error: a batch holds 1 to {most} orders")
        category = {"category": self._values.get("category")}
        return tuple(Parameters({**item, **category}) for item in items)

    @property
    def size(self) -> int:
        """How many orders a request holds: one, unless it is a batch."""
        items = self._values.get("request")
        return max(1, len(items)) if isinstance(items, list) else 1

    def cursor(self) -> str:
        """The page cursor, decoded once more: the exchange hands cursors out URL-encoded, clients send both
        forms.
        """
        return unquote(self.text("cursor"))

    def window(self, *, now: datetime, default: timedelta, most: timedelta) -> tuple[datetime, datetime]:
        """``startTime``/``endTime`` by the rule of the history endpoints.

        Neither: the last ``default``. Start alone: ``default`` from there. End alone: ``default`` up to
        there. Both: at most ``most`` apart. Bounds are inclusive.
        """
        start, end = self.instant("startTime"), self.instant("endTime")
        if start is not None and end is not None:
            if end < start:
                raise bad_parameter("params error: endTime must not be before startTime")
            if end - start > most:
                raise bad_parameter(
                    f"The time range between startTime and endTime cannot exceed {most.days} days"
                )
            return start, end
        if start is not None:
            return start, start + default
        if end is not None:
            return end - default, end
        return now - default, now


def decoded(body: bytes) -> Any:
    """JSON whose every string can be written down again: UTF-8, no half of a surrogate pair, no NaN;
    ``ValueError`` (or ``RecursionError``) otherwise.
    """
    value = json.loads(body.decode(), parse_constant=_no_constant)
    if b"\\u" in body:  # the only way in for half a pair: raw bytes were decoded strictly
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _no_constant(name: str) -> Any:
    msg = f"{name} is not JSON"
    raise ValueError(msg)
