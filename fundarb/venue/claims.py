"""What open orders claim of an account before they fill: margin for what could grow, losses of prices worse
than the market, fees, and the haircut of cash that turns into coins.

Pure functions of orders and prices. A resting order has not cost anything yet, so whoever admits the next one
must reckon as if every earlier one were filled: at its own price, all of one side and none of the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from fundarb.core.money import ZERO
from fundarb.core.orders import Side
from fundarb.venue.rows import Order


class Claim(NamedTuple):
    """The claim of a contract's open orders, in its settle coin.

    ``size``: the largest size (base, unsigned) that position and orders of one side can reach. ``growth``: by
    how much value that is more than the position. ``loss``: what prices worse than the mark lose at once.
    ``traded``: the value on which fees to open are due.
    """

    size: Decimal
    growth: Decimal = ZERO
    loss: Decimal = ZERO
    traded: Decimal = ZERO


def claim(size: Decimal, mark: Decimal, *, orders: Iterable[Order]) -> Claim:
    """The claim of open orders on a position of a signed size. A side that only closes claims nothing."""
    total = Claim(abs(size))
    rows = [order for order in orders if not order.reduce_only]
    for side in Side:
        own = [(order.leaves, reckoned(order, mark)) for order in rows if order.side is side]
        quantity = sum((leaves for leaves, _ in own), ZERO)
        after = abs(size + quantity * side.sign)
        if not own or (size * side.sign < 0 and quantity <= abs(size)):
            continue
        worst = max(price for _, price in own)
        total = Claim(
            max(total.size, after),
            max(total.growth, (after - abs(size)) * max(worst, mark)),
            total.loss + sum((leaves * max((price - mark) * side.sign, ZERO) for leaves, price in own), ZERO),
            total.traded + sum((leaves * max(price, mark) for leaves, price in own), ZERO),
        )
    return total


def reckoned(order: Order, mark: Decimal) -> Decimal:
    """The price at which margin takes an order to fill: the worst level that a market order would reach as
    the book stood, else the limit.
    """
    return order.worst or order.price or mark
