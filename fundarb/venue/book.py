"""Arithmetic of order book levels: take, skip, scale. Pure functions, no state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from fundarb.core.market import Level
from fundarb.core.money import ZERO, ceil_to, floor_to

Levels = tuple[Level, ...]


class Take(NamedTuple):
    """What an order takes from one level."""

    price: Decimal
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Want:
    """What an incoming order wants at most: base ``quantity``, or quote ``value`` rounded down to ``step``
    of base.

    ``limit`` is the worst acceptable price.
    """

    buying: bool
    limit: Decimal
    step: Decimal
    quantity: Decimal | None = None
    value: Decimal | None = None


def take(levels: Levels, want: Want) -> list[Take]:
    """Walk the opposite side from its best level to the limit; base quantities, in multiples of the step."""
    takes: list[Take] = []
    quantity, value = want.quantity, want.value
    for level in levels:
        if (level.price > want.limit) if want.buying else (level.price < want.limit):
            break
        part = level.quantity if quantity is None else min(level.quantity, quantity)
        if value is not None:
            part = min(part, value / level.price)
        part = floor_to(part, want.step)
        if part <= ZERO:
            if value is not None:
                break
            continue
        takes.append(Take(level.price, part))
        if quantity is not None:
            quantity -= part
            if quantity <= ZERO:
                break
        if value is not None:
            value -= part * level.price
    return takes


def settled(levels: Levels, takes: list[Take], *, want: Want, depth: int) -> bool:
    """Whether a walk over the first ``depth`` levels would not go on over more of them."""
    if len(levels) < depth:
        return True
    last = levels[-1].price
    if (last > want.limit) if want.buying else (last < want.limit):
        return True
    if want.quantity is not None:
        return sum((item.quantity for item in takes), ZERO) >= want.quantity
    spent = sum((item.quantity * item.price for item in takes), ZERO)
    return want.value is not None and want.value - spent < want.step * last


def skip(levels: Levels, quantity: Decimal) -> Levels:
    """The side without its first ``quantity`` of base."""
    if quantity <= ZERO:
        return levels
    left = quantity
    for at, level in enumerate(levels):
        if level.quantity > left:
            return (Level(level.price, level.quantity - left), *levels[at + 1 :])
        left -= level.quantity
    return ()


def scaled(levels: Iterable[Level], factor: Decimal, *, tick: Decimal, up: bool) -> Levels:
    """Every price × factor, rounded away from the middle to the tick (up for asks), equal prices joined."""
    result: list[Level] = []
    for level in levels:
        price = ceil_to(level.price * factor, tick) if up else max(floor_to(level.price * factor, tick), tick)
        if result and result[-1].price == price:
            result[-1] = Level(price, result[-1].quantity + level.quantity)
        else:
            result.append(Level(price, level.quantity))
    return tuple(result)
