"""What the last clip of an exit has given of one leg and not of the other, as our own orders tell it.

A clip whose second leg nobody takes is taken back, by the walk that began it or by whoever finds it
unfinished after a death. What somebody else took of a leg is another matter: that is never restored. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from fundarb.core.money import ONE, ZERO
from fundarb.core.orders import Leg, Purpose, Side
from fundarb.core.position import Book
from fundarb.core.records import IntentRecord, PositionRecord


def given_by_a_clip(position: PositionRecord, orders: Iterable[IntentRecord], *, unit: Decimal) -> bool:
    """Whether what is naked of a position is, to within ``unit`` coins, no more than its last exit clip left
    open: what its first leg gave, less what the other leg and later corrections did. A correction of the
    first leg itself followed somebody else's act, and is no clip's.
    """
    left, delta = ZERO, Book(position.spot_owned, position.contracts).delta(position.multiplier)
    smaller = Leg.PERP if delta > ZERO else Leg.SPOT
    filled = sorted((order for order in orders if order.filled), key=lambda order: order.seq)
    first = _first_of_the_last_clip(filled)
    if first is None or first.leg is not smaller:
        return False
    for order in filled:
        part = _reduced(order, position.multiplier)
        if order is first or (order.seq > first.seq and order.leg is smaller and part < ZERO):
            left += part
        elif order.seq > first.seq and order.leg is not smaller:
            left -= part
    return left > ZERO and abs(delta) <= left + unit


def _first_of_the_last_clip(filled: Iterable[IntentRecord]) -> IntentRecord | None:
    """The order that began the last clip of an exit. The very next order of the other leg is its second one:
    nothing is sent between the two.
    """
    first, second = None, False
    for order in filled:
        if order.purpose is not Purpose.EXIT:
            continue
        second = (
            first is not None and not second and order.leg is not first.leg and order.seq == first.seq + 1
        )
        first = first if second else order
    return first


def _reduced(order: IntentRecord, multiplier: Decimal) -> Decimal:
    """Coins by which an order has made its leg smaller; negative: larger."""
    spot = order.leg is Leg.SPOT
    away = order.side is (Side.SELL if spot else Side.BUY)
    coins = order.filled * (ONE if spot else multiplier)
    return coins if away else -coins
