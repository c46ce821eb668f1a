"""What may leave and what counts as an answer: the wire gate's port and the strict reading of a response.

A 2xx answer counts only as a JSON object with an integer-like ``retCode`` and, for 0, an object ``result``;
anything else is no answer, because a maintenance page must never be read as "no positions" (Bybit V5 API).
This module never talks to the network and never decides whether a request is repeated: it only says whether
that would be of use.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn, Protocol

from fundarb.core.instants import from_ms
from fundarb.core.orders import OrderRequest
from fundarb.errors import BadAnswer, Unavailable

MAX_BODY = 16 * 1024 * 1024
"""Bytes of a decoded body; the whole market's tickers are well below one million."""

_SAID = 200
_EARLIEST_MS = 1_262_304_000_000  # 2010: before any exchange answer
_LATEST_MS = 7_258_118_400_000  # 2200
_REPEATABLE_CODES = frozenset(
    {429, 10000, 10002, 10006, 10016, 10018, 10019, 10429, 170001, 170005, 170007, 170032, 170222}
)
_GEO_WORDS = ("cloudfront", "country", "region", "jurisdiction", "restricted location", "block access")
_LIMIT_WORDS = ("too frequent", "too many", "rate limit", "ratelimit", "ip limit")


class WireGate(Protocol):
    """Asked immediately before the socket write of a create; the last word on whether it leaves."""

    def admit(self, request: OrderRequest, signed_at: datetime) -> None:
        """Return to let it go; raise ``NotSent`` to hold it back."""


class NoAnswer(Unavailable):
    """No usable answer came.

    ``sent`` is False only when it is certain that no byte of the request was written. ``status`` is the HTTP
    status, if one came, ``code`` the retCode of a 403 that carried one. ``banned`` says that the address hit
    the venue's IP limit. ``repeat`` says whether a *read* may be tried again.
    """

    def __init__(
        self,
        message: str,
        *,
        sent: bool = True,
        repeat: bool = True,
        banned: bool = False,
        status: int | None = None,
        code: int | None = None,
    ) -> None:
        """Keep what the caller needs to classify it."""
        super().__init__(message, code=code)
        self.forbidden = status == 403
        self.sent = sent
        self.repeat = repeat
        self.banned = banned
        self.status = status


class VenueRefused(Unavailable):
    """The venue answered a read with an error code."""

    def __init__(self, message: str, *, code: int) -> None:
        """Keep the code; ``repeat`` says whether trying again can help."""
        super().__init__(message, code=code)
        self.repeat = code in _REPEATABLE_CODES


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that passed the strict check. ``time`` is the venue's clock in the envelope, if it was
    there.

    ``result`` is an object whenever ``code`` is 0, else empty.
    """

    code: int
    message: str
    result: Mapping[str, Any]
    time: datetime | None


def read_answer(status: int, body: bytes) -> Answer:
    """The answer in a response; raises ``NoAnswer`` or ``BadAnswer`` when it is none.

    A 4xx with a retCode of its own is an answer too: the venue's refusals are known by number.
    """
    if 200 <= status < 300:
        return _envelope(body)
    _raise_for_status(status, body)
    try:
        answer = _envelope(body)
    except BadAnswer as error:
        raise NoAnswer(f"HTTP {status}: {error}", repeat=False, status=status) from error
    if answer.code == 0:
        raise NoAnswer(f"HTTP {status} with a retCode of success", repeat=False, status=status)
    return answer


def _raise_for_status(status: int, body: bytes) -> None:
    """Raise for every status that is no answer whatever the body says; return for plain 4xx."""
    if status == 403:
        _forbidden(body)
    if 300 <= status < 400:
        raise NoAnswer(f"HTTP {status}: redirected; redirects are not followed", repeat=False, status=status)
    if status in {408, 429}:
        raise NoAnswer(f"HTTP {status}: the venue is overloaded", status=status)
    if status >= 500 or status < 200:
        raise NoAnswer(f"HTTP {status}: {describe(body)}", status=status)


def _forbidden(body: bytes) -> NoReturn:
    """403 is an IP limit or a geo block: only the body tells (Bybit V5 API). An unexplained one counts as
    the limit.
    """
    text = body[:4096].decode("utf-8", "replace").lower()
    code = _code_of(body)
    limited = any(word in text for word in _LIMIT_WORDS)
    if not limited and any(word in text for word in _GEO_WORDS):
        raise NoAnswer(
            "HTTP 403: the venue blocks this country or network (geo block); waiting does not help:"
            " use the regional host of your account ([venue] hostname) or another location",
            repeat=False,
            status=403,
            code=code,
        )
    cause = "access too frequent" if limited else "no reason given, taken for the IP limit"
    raise NoAnswer(
        f"HTTP 403: {cause}; every request stops for ten minutes",
        repeat=False,
        banned=True,
        status=403,
        code=code,
    )


def _code_of(body: bytes) -> int | None:
    """The error code of a body that has one; an edge's page has none."""
    try:
        return _envelope(body).code or None
    except BadAnswer:
        return None


def _envelope(body: bytes) -> Answer:
    document = decode(body)
    if not isinstance(document, dict):
        raise BadAnswer(f"the answer is {_kind(document)}, not an object")
    code = _integer(document.get("retCode"))
    if code is None:
        raise BadAnswer("the answer has no integer retCode")
    result = document.get("result")
    if code == 0 and not isinstance(result, dict):
        raise BadAnswer(f"retCode 0 with {_kind(result)} for a result")
    said = document.get("retMsg")
    return Answer(
        code=code,
        message=clean(said) if isinstance(said, str) else "",
        result=result if code == 0 and isinstance(result, dict) else {},
        time=_time(document.get("time")),
    )


def decode(body: bytes) -> Any:
    """JSON with exact numbers: fractions become ``Decimal``, NaN and infinities are refused
    (``BadAnswer``).
    """
    if not body.strip():
        raise BadAnswer("the answer is empty")
    try:
        return json.loads(body.decode("utf-8"), parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError, InvalidOperation) as error:
        raise BadAnswer(describe(body)) from error


def _no_constant(word: str) -> NoReturn:
    raise ValueError(word)


def describe(body: bytes) -> str:
    """What a body that is no JSON seems to be, for people; never the body itself."""
    start = body[:200].lstrip().lower()
    if not start:
        return "the answer is empty"
    if start.startswith(b"<"):
        return "an HTML page instead of JSON (maintenance, or something between here and the venue)"
    return "the answer is not JSON, or was cut"


def _kind(value: Any) -> str:
    return {type(None): "null", list: "a list", str: "a text", bool: "true or false"}.get(
        type(value), "a number"
    )


def _integer(value: Any) -> int | None:
    """An integer, or text that is one; booleans and fractions are not."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if (
        isinstance(value, str)
        and value.isascii()
        and value.removeprefix("-").isdigit()
        and len(value) < _TEXT_DIGITS
    ):
        return int(value)
    return None


_TEXT_DIGITS = 20


def _time(value: Any) -> datetime | None:
    """The envelope's time; a value that cannot be milliseconds of this century (seconds, cut digits) is
    None.
    """
    milliseconds = _integer(value)
    if milliseconds is None or not _EARLIEST_MS < milliseconds < _LATEST_MS:
        return None
    return from_ms(milliseconds)


def clean(text: str) -> str:
    """A venue's words, fit for a terminal and a log: one line, no control characters, bounded."""
    return "".join(sign if sign.isprintable() else " " for sign in text[:_SAID]).strip()
