"""An order in doubt: it is looked up for as long as a leg may be uncertain; if it is still unknown then, the
other leg is reduced to what the venue really holds.

Before the lease of the order has ended nothing new is sent for the coin. After it only reductions are, sized
from the venue's position and wallet and never from what we believe; and never on the leg whose own order is
in doubt. The doubt itself stays until evidence ends it; the way it is taken then is down: what was given back
because of a doubt is not bought again, or a venue that is slow would be traded to and fro for ever.
"""

from __future__ import annotations

from decimal import Decimal

from fundarb.core import correcting
from fundarb.core.money import ZERO
from fundarb.core.orders import Leg, Purpose
from fundarb.core.position import Book
from fundarb.core.records import IntentRecord, PositionRecord
from fundarb.core.states import IntentState
from fundarb.engine.compare import Choice
from fundarb.engine.corrections import Corrector
from fundarb.engine.desk import ONE_READ, Desk
from fundarb.engine.lifecycle import settle
from fundarb.engine.orders import Placed
from fundarb.engine.repair import Repairer
from fundarb.engine.resolve import Resolver
from fundarb.engine.shut_out import passing_over
from fundarb.engine.unwinds import count_unwind


class Doubts:
    """Waits doubts out, and covers what is naked meanwhile."""

    def __init__(self, desk: Desk, *, corrector: Corrector, resolver: Resolver) -> None:
        """Work on one desk."""
        self._desk = desk
        self._corrector = corrector
        self._resolver = resolver
        self._repairer = Repairer(desk)

    def resolved(self, intent: IntentRecord) -> IntentRecord:
        """What became of an order, within ``t_recover`` and one read. Still UNCERTAIN: the alert is raised
        and the other leg is covered, as far as it can be.
        """
        rules = self._desk.rules
        with self._desk.exchange.urgent(ONE_READ * rules.patience):
            found = self._resolver.resolve(intent, patience=rules.t_recover + ONE_READ * rules.patience)
        if found.state is IntentState.UNCERTAIN:
            self._cover(settle(self._desk, intent.position_id))
        return self._desk.store.intents.get(intent.link_id)

    def cover(self, position: PositionRecord) -> PositionRecord:
        """Reduce the leg that is not in doubt to what the venue holds of the other one, once the doubt is as
        old as one may become; the position as it is then. Doing it again changes nothing.
        """
        limit = self._desk.rules.t_recover
        if all(self._resolver.age(intent) >= limit for intent in self._open(position)):
            return self._cover(position)
        return position

    def _cover(self, position: PositionRecord) -> PositionRecord:
        doubts = self._open(position)
        with passing_over(self._desk):
            if doubts and all(self._resolver.lease_over(intent) for intent in doubts):
                self._resolver.catch_up()
                self._reduce(position.position_id)
        return settle(self._desk, position.position_id)

    def _open(self, position: PositionRecord) -> tuple[IntentRecord, ...]:
        rows = self._desk.store.intents.of_position(position.position_id)
        return tuple(intent for intent in rows if not intent.state.terminal)

    def _reduce(self, position_id: str) -> None:
        """Ever wider caps until nothing is naked, or nothing helps; what was sent is an unwind."""
        desk, sent = self._desk, False
        for cap in (*desk.rules.unwind_caps, self._corrector.band(desk.store.positions.get(position_id))):
            placed = self._reduce_once(desk.store.positions.get(position_id), cap=cap)
            sent = sent or placed is not None
            if placed is None or placed.uncertain:
                break
        if sent:
            position = desk.store.positions.get(position_id)
            count_unwind(desk, position, reason="an order of the other leg is in doubt")

    def _reduce_once(self, position: PositionRecord, *, cap: Decimal) -> Placed | None:
        """One reduction at a price cap, the way down written first; None if none is needed or would help."""
        sight, doubts = self._corrector.look(position), self._open(position)
        order = correcting.trim(sight.frame, self._really(position, doubts))
        if order is None or order.leg in {intent.leg for intent in doubts}:
            return None
        if position.goal.growing:
            position = self._repairer.aim(position.position_id, Choice.UNWIND, contracts=position.contracts)
        placed = self._corrector.send(position, order, sight=sight, purpose=Purpose.UNWIND, cap=cap)
        settle(self._desk, position.position_id)
        return placed

    def _really(self, position: PositionRecord, doubts: tuple[IntentRecord, ...]) -> Book:
        """Our book with what the venue shows of the orders in doubt: what moved in the account and nothing
        else explains, as far as such an order can have moved it. ``Unavailable`` if it cannot be read.
        """
        spot, contracts = position.spot_owned, position.contracts
        for intent in doubts:
            with self._desk.hurried():
                moved = self._resolver.unexplained(intent)
            done = min(max(moved * intent.side.sign, ZERO), intent.quantity - intent.filled)
            change: Decimal = done * intent.side.sign
            if intent.leg is Leg.SPOT:
                spot += change
            else:
                contracts -= change
        return Book(max(spot, ZERO), max(contracts, ZERO))
