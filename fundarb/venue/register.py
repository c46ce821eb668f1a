"""Every order of the venue, findable by id, by link id and by being open; retention rules of the look-ups
live with the caller.

Only matching changes an order; this module keeps the indexes right and hands out copies to subscribers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from fundarb.core.market import Category
from fundarb.core.money import ZERO
from fundarb.core.orders import OrderStatus
from fundarb.venue.rows import Order
from fundarb.venue.state import State

_CANCELLED_KEPT = timedelta(hours=24)
_UNFILLED = frozenset({OrderStatus.CANCELLED, OrderStatus.REJECTED, OrderStatus.DEACTIVATED})


class Register:
    """Orders by id, with the indexes that a snapshot does not need to carry."""

    def __init__(self, state: State, keep_closed: int) -> None:
        """Rebuild the indexes from the state."""
        self._state = state
        self.orders = state.orders
        self._by_link: dict[tuple[Category, str], str] = {}
        self._open: dict[str, Order] = {}
        self._recent: dict[Category, deque[str]] = {kind: deque(maxlen=keep_closed) for kind in Category}
        self._closed: dict[Category, list[Order]] = {kind: [] for kind in Category}
        for order in self.orders.values():
            if not order.status.final:
                self._index(order)
        for order in sorted(self.orders.values(), key=lambda item: item.sequence):
            if order.status.final:
                if order.sequence > state.forgotten:
                    self._recent[order.category].append(order.order_id)
                self._index(order)

    def _index(self, order: Order) -> None:
        if order.link_id:
            self._by_link[order.category, order.link_id] = order.order_id
        if order.status.final:
            self._closed[order.category].append(order)
        else:
            self._open[order.order_id] = order

    def add(self, order: Order) -> None:
        """Take a new open order in."""
        self.orders[order.order_id] = order
        self._index(order)

    def remove(self, order: Order) -> None:
        """Undo ``add`` of an order that nobody was told of."""
        self.orders.pop(order.order_id, None)
        self._open.pop(order.order_id, None)
        self._by_link.pop((order.category, order.link_id), None)

    def prune(self, before: datetime) -> None:
        """Forget orders that closed before an instant (and that their link ids were ever used)."""
        for closed in self._closed.values():
            gone = [order for order in closed if order.updated < before]
            if not gone:
                continue
            for order in gone:
                del self.orders[order.order_id]
                self._by_link.pop((order.category, order.link_id), None)
            closed[:] = [order for order in closed if order.updated >= before]
        for kind, recent in self._recent.items():
            kept = [order_id for order_id in recent if order_id in self.orders]
            self._recent[kind] = deque(kept, maxlen=recent.maxlen)

    def close(self, order: Order) -> None:
        """An order has become final."""
        if self._open.pop(order.order_id, None) is not None:
            self._recent[order.category].append(order.order_id)
            self._closed[order.category].append(order)

    @property
    def any_open(self) -> bool:
        """Whether there is an open order at all."""
        return bool(self._open)

    def link_used(self, category: Category, link_id: str) -> bool:
        """Whether a link id was ever used in a market."""
        return (category, link_id) in self._by_link

    def find(self, category: Category, order_id: str = "", *, link_id: str = "") -> Order | None:
        """Any order; the order id wins over the link id."""
        key = order_id or self._by_link.get((category, link_id), "")
        found = self.orders.get(key)
        return found if found is not None and found.category is category else None

    def every_open(self) -> Iterable[Order]:
        """All open orders, oldest first; to be read at once, not kept."""
        return self._open.values()

    def open(self, category: Category | None = None, symbol: str | None = None) -> list[Order]:
        """Open orders, oldest first."""
        return [
            order
            for order in self._open.values()
            if (category is None or order.category is category) and (symbol is None or order.symbol == symbol)
        ]

    def recent_closed(self, category: Category) -> tuple[Order, ...]:
        """The latest closed ones, newest first."""
        return tuple(self.orders[order_id] for order_id in reversed(self._recent[category]))

    def forget_recent(self) -> None:
        """What a restart of the venue does to the closed orders of order/realtime."""
        self._state.forgotten = self._state.count()
        for recent in self._recent.values():
            recent.clear()

    def history(self, category: Category, since: datetime, *, until: datetime) -> tuple[Order, ...]:
        """Closed orders created in [since, until], newest first, as far as the venue remembers (Bybit V5
        API).
        """
        oldest = self._state.now - _CANCELLED_KEPT
        return tuple(
            order
            for order in reversed(self._closed[category])
            if since <= order.created <= until and not self.forgotten(order, oldest)
        )

    @staticmethod
    def forgotten(order: Order, oldest: datetime) -> bool:
        """Whether the history no longer shows a fully cancelled or rejected order that ended before
        ``oldest``.
        """
        return order.filled == ZERO and order.status in _UNFILLED and order.updated < oldest


def copy_of(order: Order) -> Order:
    """A copy that later events do not change."""
    return replace(order, fees=dict(order.fees))
