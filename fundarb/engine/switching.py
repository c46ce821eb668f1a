"""When everything that may be held is held: whether another coin is worth the place of the one that is
expected to earn least.

The decision is ``core.exits.worth_switching``; here are its facts, and the leaving. It is in no hurry: what
is expected changes with the settlements, so it is looked at three times a day, and nobody is asked for
anything unless a position is old enough to be left.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from fundarb.core.events import DecisionMade
from fundarb.core.exits import worth_switching
from fundarb.core.forecast import forecast, print_weight
from fundarb.core.money import BP
from fundarb.core.opportunity import Opportunity
from fundarb.core.records import PositionRecord
from fundarb.core.states import PositionState
from fundarb.core.yields import settlements
from fundarb.engine.exit_cost import exit_cost
from fundarb.engine.jobs import JobParts
from fundarb.engine.told import NOT_CLOSED, left, shortfall

_EVERY = timedelta(hours=8)


@dataclass(frozen=True, slots=True)
class Weakest:
    """A held position and the funding that it is ``expected`` to bring over the horizon, a fraction of
    notional.
    """

    position: PositionRecord
    expected: Decimal


class Switching:
    """Finds the place that another coin could take, and makes it free."""

    def __init__(self, parts: JobParts) -> None:
        """``parts.rules`` give horizon, minimum hold and the gain that a switch takes."""
        self._parts = parts
        self._looked: datetime | None = None

    def due(self) -> bool:
        """Whether it is time to look, and something could be left."""
        now = self._parts.desk.clock.now()
        return (self._looked is None or now - self._looked >= _EVERY) and bool(self._old_enough())

    def _old_enough(self) -> tuple[PositionRecord, ...]:
        """What is held at rest for longer than the minimum hold."""
        desk, rules = self._parts.desk, self._parts.rules
        now = desk.clock.now()
        return tuple(
            item
            for item in desk.store.positions.active()
            if item.state is PositionState.HEDGED
            and now - (item.opened_at or item.created_at) >= rules.min_hold
        )

    def weakest(self) -> Weakest | None:
        """The one that is expected to earn least; None where nothing may be left. ``Unavailable`` if the
        market cannot be read.
        """
        held = self._old_enough()
        if not held:
            return None
        desk, horizon = self._parts.desk, self._parts.rules.horizon
        self._looked = desk.clock.now()
        quotes = desk.market.refresh().perp
        running = {
            symbol: quotes[symbol].funding
            for symbol in (item.perp_symbol for item in held)
            if symbol in quotes
        }
        self._parts.shelf.refresh({symbol: rate for symbol, rate in running.items() if rate is not None})
        found = []
        for position in held:
            rate = running.get(position.perp_symbol)
            if rate is not None:
                history = self._parts.shelf.of(position.perp_symbol)
                mean = forecast(rate, history, weight=print_weight(horizon)).mean
                count = settlements(rate, now=desk.clock.now(), horizon=horizon)
                found.append(Weakest(position, mean * count))
        return min(found, key=lambda item: item.expected, default=None)

    def worth(self, item: Opportunity, weakest: Weakest) -> bool:
        """Whether a coin is worth that place now: by what it brings net of its costs, and not at a basis at
        which leaving is dear. ``Unavailable`` without books.
        """
        if item.result is None or not worth_switching(
            weakest.expected, item.result.net, gain=self._parts.rules.switch_gain
        ):
            return False
        cost = exit_cost(self._parts.desk, weakest.position)
        return cost is None or not cost.bad

    def leave(self, weakest: Weakest, item: Opportunity) -> tuple[bool, str]:
        """Close the position for that coin: whether it is closed, and in words what it is."""
        desk, position = self._parts.desk, weakest.position
        offered = item.result.net if item.result is not None else Decimal(0)
        reason = (
            f"{weakest.expected / BP:.1f} bp of funding expected over the horizon, "
            f"{item.base} offers {offered / BP:.1f} bp net of its costs"
        )
        desk.store.events.record(DecisionMade(base=position.base, decision="switch", reason=reason))
        missing = shortfall(self._parts.trader.close(position.position_id))
        done = f"closed for {item.base}"
        return not missing, left(desk.store, position, missing=missing, code=NOT_CLOSED, done=done)
