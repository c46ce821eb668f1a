"""The last look at a position whose walk has sent orders: meanwhile others may have closed or taken what the
walk believes to hold.

What the venue did by itself is booked and the other leg follows; what a hand did is a reason against calling
the walk done, and is left to the next reconcile, which asks a person. Only reads, books and hedges; nothing
that was wanted is tried again.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fundarb.core.position import Book
from fundarb.core.reasons import Reason
from fundarb.core.records import PositionRecord
from fundarb.core.states import PositionState
from fundarb.engine.alerts import was_told
from fundarb.engine.desk import Desk
from fundarb.engine.forced import FORCED
from fundarb.engine.hedge import Hedger
from fundarb.engine.legs import Legs, Progress
from fundarb.engine.lifecycle import settle
from fundarb.engine.repair import COINS_TAKEN, Repairer
from fundarb.engine.shut_out import met, unread
from fundarb.errors import Unavailable

_LOOK_BACK: Final = 100
"""Ends of doubts among which those of one walk are looked for."""
_MOMENT: Final = timedelta(seconds=1)
"""A position list may be that much behind the order that has just traded."""
_MANY: Final = 1000
"""Alerts of one walk are fewer."""
_OF_THE_VENUE: Final = frozenset({*FORCED.values(), COINS_TAKEN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Began:
    """Where a walk began: the number of its ``first`` order, and the id of the newest ``event`` before it;
    ``flat``: it was to end with nothing held.
    """

    first: int
    event: int
    flat: bool = False


class SecondLook:
    """Compares both legs with the venue once more."""

    def __init__(self, desk: Desk, *, legs: Legs, hedger: Hedger) -> None:
        """Share the collaborators with whoever trades."""
        self._desk = desk
        self._legs = legs
        self._hedger = hedger
        self._repairer = Repairer(desk)

    def look(self, position_id: str, progress: Progress, *, began: Began) -> None:
        """Add to a walk's reasons what the venue has taken since it began, or does not hold any more. A walk
        that sent nothing and met nothing, or ended with nothing as it was to, is left as it is.
        """
        store = self._desk.store
        position = store.positions.get(position_id)
        idle = store.intents.next_seq(position_id) == began.first
        if idle and not self._taken(position, since=began.event):
            return
        if began.flat and position.state.final:
            return
        try:
            progress.reasons += self._look(settle(self._desk, position_id), began=began)
        except Unavailable as error:
            progress.reasons.append(unread(self._desk, error))
        after = store.positions.get(position_id)
        progress.uncertain = progress.uncertain or after.state is PositionState.UNCERTAIN

    def _doubted(self, position: PositionRecord, first: int) -> bool:
        """Whether an order of this walk was in doubt and became certain."""
        orders = self._desk.store.intents.of_position(position.position_id)
        mine = {order.link_id for order in orders if order.seq >= first}
        ended = self._desk.store.events.last(_LOOK_BACK, kind="intent_resolved")
        return any(json.loads(event.payload)["link_id"] in mine for event in ended)

    def _look(self, position: PositionRecord, *, began: Began) -> tuple[Reason, ...]:
        """Book what the venue's rows tell, reduce the other leg to match, and say what came of it; nothing if
        all is there, or if the first picture was only late. What the hedger has given up is left to it, and
        what the venue holds less is named.

        Without a doubt half a minute long only what rows tell counts: lists may lag behind our own fills.
        """
        before, doubted = Book(position.spot_owned, position.contracts), self._doubted(position, began.first)
        differs = position.state is PositionState.HEDGED and self._differs(position, doubted=doubted)
        if differs:
            self._desk.clock.sleep(_MOMENT)
            self._legs.catch_up()
            position = settle(self._desk, position.position_id)
        if position.state is PositionState.EXPOSED and not self._given_up(position):
            position, differs = self._hedger.repair(position.position_id), True
        strange: tuple[Reason, ...] = ()
        if position.state is PositionState.EXPOSED or (differs and position.state is PositionState.HEDGED):
            strange = self._legs.notes(position)
        if strange and (doubted or position.position_id in self._repairer.explain_now()):
            return strange
        same = before == Book(position.spot_owned, position.contracts)
        if same and not self._taken(position, since=began.event):
            return ()
        text = f"{position.base}: a leg was taken meanwhile; the position is {position.state}"
        return (Reason("taken_meanwhile", text),)

    def _differs(self, position: PositionRecord, *, doubted: bool) -> bool:
        """Whether the venue holds less than our books say. A walk of which all is known does not wait for a
        venue that is slow to answer, nor fail with one that does not.
        """
        try:
            with nullcontext() if doubted else self._desk.hurried():
                return bool(self._legs.notes(position))
        except Unavailable as error:
            if doubted:
                raise
            met(self._desk, error)
            return False

    def _taken(self, position: PositionRecord, *, since: int) -> bool:
        """Whether the venue has taken something of it since an event."""
        rows = self._desk.store.events.after(since, _MANY, kind="alert_raised")
        told = [json.loads(row.payload) for row in rows]
        mine = position.position_id
        return any(one["code"] in _OF_THE_VENUE and mine in one["subject"] for one in told)

    def _given_up(self, position: PositionRecord) -> bool:
        """Whether a person has been called to it."""
        return was_told(self._desk.store, "unhedged", subject=position.position_id)
