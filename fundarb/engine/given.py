"""What the last clip of an exit has given of one leg and not of the other, as our own orders tell it.

A clip whose second leg nobody takes is taken back, by the walk that began it or by whoever finds it
unfinished after a death. What somebody else took of a leg is another matter: that is never restored. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from decimal import Decimal

from fundarb.core.money import ONE, ZERO
from fundarb.core.orders import Leg, Purpose, Side
from fundarb.core.position import Book
from fundarb.core.records import IntentRecord, PositionRecord
from fundarb.core.refusals import NOT_THERE, Cure, cure, judged
from fundarb.core.states import IntentState


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


def denied(orders: Iterable[IntentRecord], leg: Leg) -> bool:
    """Whether the venue said of a leg, when it was last to be reduced, that there is nothing of it."""
    last = _last(orders, leg)
    if last is None or not _reduces(last):
        return False
    return last.state is IntentState.REFUSED and last.code in NOT_THERE


def denied_in_spite(position: PositionRecord, orders: Collection[IntentRecord], *, since: datetime) -> bool:
    """Whether the larger leg was denied to a correction ``since`` an instant: that goes by what the lists
    show, so they were of the moment before.
    """
    delta = Book(position.spot_owned, position.contracts).delta(position.multiplier)
    leg = Leg.SPOT if delta > ZERO else Leg.PERP
    last = _last(orders, leg)
    if last is None or last.purpose is Purpose.EXIT or last.created_at < since:
        return False
    return denied(orders, leg)


def _last(orders: Iterable[IntentRecord], leg: Leg) -> IntentRecord | None:
    """The newest order of a leg that says something of what there is."""
    telling = (order for order in orders if order.leg is leg and not _says_nothing(order))
    return max(telling, key=lambda order: order.seq, default=None)


def _says_nothing(order: IntentRecord) -> bool:
    """Whether the venue has not looked at what an order was to trade: it never had it, or turned it away for
    a moment or for the key.
    """
    if order.state is not IntentState.REFUSED:
        return order.state is IntentState.ABSENT
    return not judged(order.code) or cure(order.code) is Cure.WAIT


def stubborn(orders: Iterable[IntentRecord]) -> Leg | None:
    """The leg that nobody took when the last clip of an exit was taken back: it goes first until somebody
    takes it, so that no clip is sold and bought back again and again. None if there is no such leg.
    """
    rows = sorted(orders, key=lambda order: order.seq)
    last = max((place for place, order in enumerate(rows) if order.filled), default=None)
    if last is None or rows[last].purpose is not Purpose.TOP_UP or _reduces(rows[last]):
        return None
    leg = rows[last].leg.other
    asked = [order for order in rows[:last] if order.leg is leg]
    refused = asked and _reduces(asked[-1]) and not asked[-1].filled
    return leg if refused and asked[-1].seq > _last_entry(rows) else None


def _last_entry(rows: Iterable[IntentRecord]) -> int:
    """The number of the last order that was to open or to add; −1 if there is none."""
    return max((order.seq for order in rows if order.purpose is Purpose.ENTER), default=-1)


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
    coins = order.filled * (ONE if order.leg is Leg.SPOT else multiplier)
    return coins if _reduces(order) else -coins


def _reduces(order: IntentRecord) -> bool:
    """Whether an order makes its leg smaller."""
    return order.side is (Side.SELL if order.leg is Leg.SPOT else Side.BUY)
