"""The last look at a position whose walk had an order in doubt: half a minute is time enough for others to
close or take what the walk believes to hold.

What the venue did by itself is booked and the other leg follows; what a hand did is a reason against calling
the walk done, and is left to the next reconcile, which asks a person. Only reads, books and hedges; nothing
that was wanted is tried again.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Final

from fundarb.core.position import Book
from fundarb.core.reasons import Reason
from fundarb.core.records import PositionRecord
from fundarb.core.states import PositionState
from fundarb.engine.alerts import was_told
from fundarb.engine.desk import Desk
from fundarb.engine.hedge import Hedger
from fundarb.engine.legs import Legs, Progress
from fundarb.engine.lifecycle import settle
from fundarb.engine.shut_out import unread
from fundarb.errors import Unavailable

_LOOK_BACK: Final = 100
"""Ends of doubts among which those of one walk are looked for."""
_MOMENT: Final = timedelta(seconds=1)
"""A position list may be that much behind the order that has just traded."""


class SecondLook:
    """Compares both legs with the venue once more."""

    def __init__(self, desk: Desk, *, legs: Legs, hedger: Hedger) -> None:
        """Share the collaborators with whoever trades."""
        self._desk = desk
        self._legs = legs
        self._hedger = hedger

    def look(self, position_id: str, progress: Progress, *, first: int) -> None:
        """Add to a walk's reasons what the venue does not hold any more; ``first`` is the number of its first
        order. A walk without a doubt is left as it is.
        """
        if not self._doubted(position_id, first):
            return
        try:
            progress.reasons += self._look(settle(self._desk, position_id))
        except Unavailable as error:
            progress.reasons.append(unread(self._desk, error))
        after = self._desk.store.positions.get(position_id)
        progress.uncertain = progress.uncertain or after.state is PositionState.UNCERTAIN

    def _doubted(self, position_id: str, first: int) -> bool:
        """Whether an order of this walk was in doubt and became certain."""
        orders = self._desk.store.intents.of_position(position_id)
        mine = {order.link_id for order in orders if order.seq >= first}
        ended = self._desk.store.events.last(_LOOK_BACK, kind="intent_resolved")
        return any(json.loads(event.payload)["link_id"] in mine for event in ended)

    def _look(self, position: PositionRecord) -> tuple[Reason, ...]:
        """Book what the venue's rows tell, reduce the other leg to match, and say what came of it; nothing if
        all is there, or if the first picture was only late. What the hedger has given up is left to it.
        """
        before = Book(position.spot_owned, position.contracts)
        if position.state is PositionState.HEDGED:
            if not self._legs.notes(position):
                return ()
            self._desk.clock.sleep(_MOMENT)
            self._legs.catch_up()
            position = settle(self._desk, position.position_id)
        if position.state is PositionState.EXPOSED and not self._given_up(position):
            position = self._hedger.repair(position.position_id)
        strange = () if position.state is not PositionState.HEDGED else self._legs.notes(position)
        if strange or before == Book(position.spot_owned, position.contracts):
            return strange
        text = (
            f"{position.base}: a leg was taken while an order was in doubt; the position is {position.state}"
        )
        return (Reason("taken_meanwhile", text),)

    def _given_up(self, position: PositionRecord) -> bool:
        """Whether a person has been called to it."""
        return was_told(self._desk.store, "unhedged", subject=position.position_id)
