"""What a position tied up, and for how long: its notional over time, integrated from its executions.

The notional at an instant is what the short was sold for at its average entry, as far as it is still open
(where only coins are held: what they were bought for). A partial close lowers it from then on and changes
nothing of the time before.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from fundarb.core.ledger import Holding
from fundarb.core.money import ZERO, years
from fundarb.core.orders import Leg
from fundarb.core.pnl import Capital
from fundarb.core.records import PositionRecord
from fundarb.store.database import Store
from fundarb.store.ledger_sums import Traded

SHORTEST: Final = timedelta(days=1)
"""What lasted less is not annualised."""
TOO_SHORT: Final = "open for less than a day: not annualised"
NOTHING_HELD: Final = "nothing was held"
NOT_KNOWN: Final = "the result is not known yet"
NO_CAPITAL: Final = "nothing was tied up"
_NOTHING: Final = timedelta()
_NONE: Final = Holding()


class Step(NamedTuple):
    """From ``at`` on the notional is this, in quote."""

    at: datetime
    notional: Decimal


def steps(fills: Iterable[Traded]) -> tuple[Step, ...]:
    """How the notional of one position went, from its fills in the order of time."""
    perp, spot = _NONE, _NONE
    found: list[Step] = []
    for fill in fills:
        sign = fill.side.sign
        if fill.leg is Leg.PERP:
            perp, _ = perp.move(sign * fill.quantity, sign * fill.value)
        else:
            spot, _ = spot.move(sign * fill.quantity, sign * fill.value)
        notional = abs(perp.cost) or max(spot.cost, ZERO)
        if found and found[-1].at == fill.time:
            found.pop()
        found.append(Step(fill.time, notional))
    return tuple(found)


@dataclass(slots=True)
class Stretch:
    """The times that positions were open, each from when to when, and ``Σ notional · years`` and
    ``Σ capital · years`` over it.
    """

    held: list[tuple[datetime, datetime]] = field(default_factory=list)
    notional_years: Decimal = ZERO
    capital_years: Decimal = ZERO

    def absorb(self, other: Stretch) -> None:
        """Take over another one's time and capital."""
        self.notional_years += other.notional_years
        self.capital_years += other.capital_years
        self.held += other.held

    @property
    def length(self) -> timedelta:
        """How long anything was held: what overlaps counts once, a pause between two not at all."""
        total, covered = _NOTHING, None
        for begin, end in sorted(self.held):
            begun = begin if covered is None else max(begin, covered)
            total += max(end - begun, _NOTHING)
            covered = end if covered is None else max(end, covered)
        return total

    @property
    def notional(self) -> Decimal | None:
        """The mean notional over its length, None where that is nothing."""
        length = self.length
        return self.notional_years / years(length) if length > _NOTHING else None

    def no_yield(self) -> str | None:
        """Why a result of this time has no yearly rate; None: it has one."""
        if not self.held:
            return NOTHING_HELD
        if self.length < SHORTEST:
            return TOO_SHORT
        return NO_CAPITAL if self.capital_years <= ZERO else None

    def on_notional(self, result: Decimal) -> Decimal:
        """A result over the notional and the time that it took, simple, a fraction."""
        return result / self.notional_years

    def on_capital(self, result: Decimal) -> Decimal:
        """A result over the capital and the time that it took, simple, a fraction."""
        return result / self.capital_years


class Capitals:
    """The notional over time of every position; ``buffer`` is the fraction of notional kept free as
    margin.
    """

    def __init__(self, store: Store, positions: Mapping[str, PositionRecord], *, buffer: Decimal) -> None:
        """Reads all fills of these positions at once."""
        self._buffer = buffer
        fills: dict[str, list[Traded]] = {}
        for fill in store.ledger.read.traded(positions):
            fills.setdefault(fill.position_id, []).append(fill)
        self._steps = {name: steps(made) for name, made in fills.items()}

    def over(
        self, position: PositionRecord, *, since: datetime | None = None, until: datetime
    ) -> Stretch | None:
        """The time that a position was open within ``[since, until]``; None if it was not."""
        first = position.opened_at
        if first is None:
            return None
        first = max(first, since) if since is not None else first
        last = min(position.closed_at or until, until)
        if last < first:
            return None
        bound = _integral(self._steps.get(position.position_id, ()), first, until=last)
        factor = Capital(Decimal(1), position.leverage, self._buffer).amount
        return Stretch([(first, last)], bound, bound * factor)


def _integral(made: Sequence[Step], since: datetime, *, until: datetime) -> Decimal:
    """Σ notional · years between two instants."""
    total = ZERO
    first = max(bisect_right(made, since, key=_at) - 1, 0)
    for number in range(first, len(made)):
        step = made[number]
        if step.at >= until:
            break
        begin = max(step.at, since)
        end = min(made[number + 1].at, until) if number + 1 < len(made) else until
        if step.notional and end > begin:
            total += step.notional * years(end - begin)
    return total


def _at(step: Step) -> datetime:
    return step.at
