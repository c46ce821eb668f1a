"""While an order in doubt is waited for, or a walk goes from clip to clip: what the venue takes from other
positions is booked and hedged.

There is one trading thread, and a doubt may hold it for half a minute, a walk for longer. Between two
look-ups, or two clips, whoever has no order under way is looked at; nothing is sent for a position that has
one. Within a doubt it waits for no other: that one is left to the walk that follows.
"""

from __future__ import annotations

from fundarb.core.states import PositionState
from fundarb.engine.collect import Collector
from fundarb.engine.desk import Desk
from fundarb.engine.hedge import Hedger
from fundarb.engine.lifecycle import settle
from fundarb.engine.shut_out import passing_over


class Meanwhile:
    """Looks after the positions that no order in doubt belongs to."""

    def __init__(self, desk: Desk, *, collector: Collector, hedger: Hedger) -> None:
        """Share the collaborators with whoever trades."""
        self._desk = desk
        self._collector = collector
        self._hedger = hedger

    def look(self, besides: str) -> None:
        """Once around, ``besides`` the position that walks; what cannot be read is read the next time."""
        with passing_over(self._desk):
            if self._others(besides):
                self._collector.book_fills()
        for position_id in self._others(besides):
            with passing_over(self._desk):
                if settle(self._desk, position_id).state is PositionState.EXPOSED:
                    self._hedger.repair(position_id)

    def _others(self, besides: str) -> tuple[str, ...]:
        """The positions without an order under way."""
        store = self._desk.store
        busy = {besides, *(intent.position_id for intent in store.intents.open())}
        held = (position.position_id for position in store.positions.active())
        return tuple(position_id for position_id in held if position_id not in busy)
