"""Pages of a list that is newest first, with Bybit's kind of cursor: URL-encoded, naming the first and the
last row of the page.

As at the exchange a page that holds rows has a cursor even when nothing comes after it; the page after the
last one is empty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import quote

from fundarb.sandbox.wire import bad_parameter

_T = TypeVar("_T")


def page(
    rows: Sequence[_T], *, cursor: str, limit: int, name: Callable[[_T], str]
) -> tuple[Sequence[_T], str]:
    """The rows after a cursor, at most ``limit``, and the cursor of the next page. ``name`` must be unique
    and stable.
    """
    first = 0
    if cursor:
        last = cursor.rsplit(",", maxsplit=1)[-1]
        first = next((number + 1 for number, row in enumerate(rows) if name(row) == last), -1)
        if first < 0:
            raise bad_parameter("params error: cursor invalid")
    part = rows[first : first + limit]
    return part, quote(f"{name(part[0])},{name(part[-1])}", safe="") if part else ""
