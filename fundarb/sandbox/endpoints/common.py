"""What several end points ask the same way: the category, a known symbol, a list result. A venue's
``Rejected`` passes through: the desk turns it into the wire's words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fundarb.core.market import Category
from fundarb.sandbox.house import Call, House
from fundarb.sandbox.paging import page
from fundarb.sandbox.wire import Answer, bad_parameter

_T = TypeVar("_T")
Handler = Callable[[House, Call], Answer]
_OTHERS = ("inverse", "option")
_ALL = ("spot", "linear", *_OTHERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One path: its method, its function, who may call it and how often a second (linear, spot).

    ``group`` is the permission it needs ("" = any key), None marks a public end point.
    """

    method: str
    handler: Handler
    group: str | None = None
    limit: tuple[int, int] = (50, 50)

    @property
    def private(self) -> bool:
        """Whether it needs a signature."""
        return self.group is not None


def category_of(call: Call) -> Category | None:
    """Spot or linear; None for the categories in which this venue lists nothing (inverse, option)."""
    word = call.parameters.choice("category", _ALL)
    return None if word in _OTHERS else Category(word)


def traded_category(call: Call) -> Category:
    """Spot or linear; a refusal for the others."""
    category = category_of(call)
    if category is None:
        raise bad_parameter("Not supported symbols")
    return category


def known_symbol(house: House, category: Category, *, call: Call) -> str:
    """The required symbol; the venue refuses one that is not listed."""
    symbol = call.parameters.required("symbol")
    house.venue.listing(category, symbol)
    return symbol


def listed(call: Call, rows: list[Any], *, cursor: str = "", category: bool = True) -> Answer:
    """A list result."""
    result: dict[str, Any] = {"nextPageCursor": cursor}
    if category:
        result["category"] = call.parameters.text("category")
    result["list"] = rows
    return Answer(result)


def paged(
    call: Call, items: Sequence[_T], *, limit: int, name: Callable[[_T], str], row: Callable[[_T], Any]
) -> Answer:
    """One page of items that are newest first."""
    part, cursor = page(items, cursor=call.parameters.cursor(), limit=limit, name=name)
    return listed(call, [row(item) for item in part], cursor=cursor)
