"""What several end points ask the same way: the category, a known symbol, a list result. A venue's
``Rejected`` passes through: the desk turns it into the wire's words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fundarb.core.market import Category, PerpInstrument, SpotInstrument
from fundarb.sandbox.house import Call, House
from fundarb.sandbox.paging import page
from fundarb.sandbox.wire import Answer, bad_parameter
from fundarb.venue.rows import Order

_T = TypeVar("_T")
Handler = Callable[[House, Call], Answer]
_OTHERS = ("inverse", "option")
_ALL = ("spot", "linear", *_OTHERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One path: its method, its function, who may call it and how often a second (linear, spot).

    ``group`` is the kind of right it needs (trade, setting, "" = any key), None marks a public end point.
    """

    method: str
    handler: Handler
    group: str | None = None
    limit: tuple[int, int] = (50, 50)
    apart: bool = True
    """Whether each market has a budget of its own; the account's end points know no markets."""
    batch: bool = False
    """Whether the limit counts each order of its ``request`` list."""

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


def settle_coin(item: SpotInstrument | PerpInstrument) -> str:
    """What a contract settles in; "" for a spot pair."""
    return item.settle_coin if isinstance(item, PerpInstrument) else ""


def find_order(house: House, call: Call, *, category: Category) -> Order | None:
    """The order that ``orderId`` or else ``orderLinkId`` names, an invented link id included."""
    order_id, link_id = call.parameters.text("orderId"), call.parameters.text("orderLinkId")
    if order_id:
        return house.venue.find_order(category, order_id=order_id)
    order = house.venue.find_order(category, link_id=link_id)
    if order is None and category is Category.SPOT and link_id.isascii() and link_id.isdigit():
        order = house.venue.find_order(category, order_id=str(int(link_id) - 1))
        return order if order is not None and not order.link_id else None
    return order


def order_meant(house: House, call: Call, *, category: Category) -> str:
    """The order id of a write that changes or cancels an order: one of both ids is required; what is not
    found is left to the venue to refuse in its own words.
    """
    order_id, link_id = call.parameters.text("orderId"), call.parameters.text("orderLinkId")
    if not order_id and not link_id:
        raise bad_parameter("params error: orderId or orderLinkId is required")
    order = find_order(house, call, category=category)
    return order.order_id if order is not None else order_id or link_id


def listed(call: Call, rows: list[Any], *, cursor: str = "", category: bool = True) -> Answer:
    """A list result."""
    result: dict[str, Any] = {"nextPageCursor": cursor}
    if category:
        result["category"] = call.parameters.text("category")
    result["list"] = rows
    return Answer(result)


def paged(
    call: Call,
    items: Sequence[_T],
    *,
    limit: int,
    name: Callable[[_T], str],
    place: Callable[[_T], int],
    row: Callable[[_T], Any],
) -> Answer:
    """One page of items that are newest first; ``place`` as ``page`` needs it."""
    part, cursor = page(items, cursor=call.parameters.cursor(), limit=limit, name=name, place=place)
    return listed(call, [row(item) for item in part], cursor=cursor)
