"""A position's book replayed from its executions: how much was naked at once, and for how long.

Pure over what it is handed. Naked is counted in quote at the price of the execution that made it so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from fundarb.core.market import Category
from fundarb.core.money import ZERO
from fundarb.core.orders import Execution, Leg, parse_link_id
from fundarb.core.records import PositionRecord
from fundarb.engine.booking import quantities

_DUST = Decimal(10)
"""Quote value below which an imbalance counts as one lot: no venue lets less than about this be traded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookRules:
    """What a book is judged by: ratios as fractions, amounts in quote; ``per_posting`` is the rounding that
    one posting may leave.
    """

    drift_limit: Decimal
    largest_naked: Decimal
    longest_naked: timedelta
    per_posting: Decimal = Decimal("1e-8")

    def neutral(self, position: PositionRecord) -> bool:
        """Whether a position is within the drift limit or one lot."""
        short = position.contracts * position.multiplier
        delta = abs(position.spot_owned - short)
        if delta <= self.drift_limit * max(position.spot_owned, short):
            return True
        return delta * position.decision_spot_mid <= _DUST


@dataclass(frozen=True, slots=True)
class Walk:
    """The worst moments of a book: quote value naked at once, and the longest time above one lot."""

    naked: Decimal
    longest: timedelta


def walk(position: PositionRecord, executions: Iterable[Execution], *, rules: BookRules) -> Walk:
    """Replay a position's executions in the order of their times, those of one moment in the order of the
    orders.
    """
    owned = short = naked = ZERO
    longest, since = timedelta(), None
    for row in sorted(executions, key=_moment):
        if not row.kind.trades:
            continue
        leg = Leg.PERP if row.category is Category.LINEAR else Leg.SPOT
        coins, contracts = quantities(row, position, leg=leg)
        owned, short = owned + coins, short + contracts
        price = row.price if leg is Leg.SPOT else row.price / position.multiplier
        delta = abs(owned - short * position.multiplier)
        size = max(owned, short * position.multiplier)
        naked = max(naked, delta * price)
        open_side = delta > rules.drift_limit * size and delta * price > _DUST
        longest, since = _lasted(open_side=open_side, at=row.time, longest=longest, since=since)
    return Walk(naked, longest)


def _lasted(
    *, open_side: bool, at: datetime, longest: timedelta, since: datetime | None
) -> tuple[timedelta, datetime | None]:
    """The longest naked stretch so far, and when the running one began."""
    if open_side:
        return longest, since or at
    return (longest if since is None else max(longest, at - since)), None


def _moment(row: Execution) -> tuple[datetime, int, str]:
    parts = parse_link_id(row.link_id)
    return row.time, parts.seq if parts is not None else 0, row.exec_id
