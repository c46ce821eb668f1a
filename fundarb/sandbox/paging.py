"""Pages of a list that is newest first, with Bybit's kind of cursor: URL-encoded, naming the first and the
last row of the page.

As at the exchange a page that holds rows has a cursor even when nothing comes after it; the page after the
last one is empty. A cursor also tells the place of its row, so that a list may change between two pages: what
is gone (an order that was cancelled) is missed by nobody, what is new comes before the first page.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar
from urllib.parse import quote

from fundarb.sandbox.wire import bad_parameter

_T = TypeVar("_T")
_MOST_DIGITS = 20


def page(
    rows: Sequence[_T], *, cursor: str, limit: int, name: Callable[[_T], str], place: Callable[[_T], int]
) -> tuple[Sequence[_T], str]:
    """The rows after a cursor, at most ``limit``, and the cursor of the next page.

    ``place`` falls from row to row and is a row's own for good, whatever else the list holds; ``name`` is for
    readers.
    """
    first = bisect_right(rows, -_place_of(cursor), key=lambda row: -place(row)) if cursor else 0
    part = rows[first : first + limit]
    ends = [f"{name(row)}:{place(row)}" for row in (part[0], part[-1])] if part else []
    return part, quote(",".join(ends), safe="")


def _place_of(cursor: str) -> int:
    """The place of the last row of the page before; 10001 for what no page ever ended with."""
    _, colon, digits = cursor.rpartition(",")[2].rpartition(":")
    number = digits.removeprefix("-")
    if not colon or not (number.isascii() and number.isdigit() and len(number) <= _MOST_DIGITS):
        raise bad_parameter("params error: cursor invalid")
    return int(digits)


def number_of(row: _T, everything: Sequence[_T], *, when: Callable[[_T], datetime]) -> int:
    """The number of a row among everything there ever was, in the order of ``when``: nothing moves it."""
    first = bisect_left(everything, when(row), key=when)
    return next(number for number in range(first, len(everything)) if everything[number] is row)
