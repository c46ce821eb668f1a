"""The first half of every walk: what was in flight is looked up, fills are booked, and what is naked is
hedged, from orders, executions and books alone.

Nothing here needs the transaction log, the funding history, the account's settings or its fees: a failing
read of the book-keeping never keeps a leg naked. Comparing books and venue is the other half (``reconcile``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fundarb.core.events import ActivityChanged, MismatchRepaired
from fundarb.core.position import Book
from fundarb.core.records import IntentRecord, PositionRecord
from fundarb.core.states import IntentState, IntentTrigger, PositionState
from fundarb.crash import Point
from fundarb.engine.collect import Collector
from fundarb.engine.desk import Desk
from fundarb.engine.hedge import Hedger
from fundarb.engine.lifecycle import rest, settle
from fundarb.engine.repair import Repair
from fundarb.engine.resolve import Resolver
from fundarb.engine.shut_out import met, passing_over
from fundarb.errors import Unavailable

AT_ONCE: Final = timedelta()
"""No patience: one look at each order in doubt, and nobody waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Safe:
    """What was done, and the newest ``event`` then. ``unread`` says why the account's executions could not be
    read; None: they were.
    """

    resolved: tuple[IntentRecord, ...] = ()
    repaired: tuple[Repair, ...] = ()
    unread: Unavailable | None = None
    event: int = 0


class Safety:
    """Makes every position as safe as it can be made now."""

    def __init__(self, desk: Desk, *, collector: Collector, resolver: Resolver, hedger: Hedger) -> None:
        """Share the collaborators with whoever trades."""
        self._desk = desk
        self._collector = collector
        self._resolver = resolver
        self._hedger = hedger
        self._stuck: dict[str, Book] = {}

    def make(self, *, patience: timedelta) -> Safe:
        """Everything that can be done at once, then what is still in doubt is waited for, and what follows
        from it is done: a position does not stay naked while another one's order is looked for.
        """
        self._stuck = {}
        waiting = self._in_flight()
        resolved = self._resolver.resolve_all(patience=AT_ONCE) if waiting else ()
        unread = self._book_fills()
        wait = bool(patience) and any(intent.state is IntentState.UNCERTAIN for intent in resolved)
        repaired = self.hedge(cover=not wait)
        if wait:
            later = {intent.link_id: intent for intent in self._resolver.resolve_all(patience=patience)}
            resolved = tuple(later.get(intent.link_id, intent) for intent in resolved)
            repaired += self.hedge()
        event = self._desk.store.events.newest_id()
        return Safe(resolved=resolved, repaired=repaired, unread=unread, event=event)

    def hedge(self, *, cover: bool = True) -> tuple[Repair, ...]:
        """Write down what each book is, and hedge or unwind what is naked; what that changed. What came to
        nothing in this walk is not tried again on the same book. ``cover``: beside an old doubt the other leg
        is reduced.
        """
        self._settle()
        return tuple(self._repair(cover=cover))

    def _in_flight(self) -> tuple[IntentRecord, ...]:
        """What was in flight is UNCERTAIN, whoever sent it."""
        store = self._desk.store
        waiting = store.intents.open()
        if waiting:
            store.events.record(ActivityChanged(activity="RECOVERING"))
        for intent in waiting:
            if intent.state is not IntentState.UNCERTAIN:
                with store.transaction(before=Point.RESOLVE_BEFORE_COMMIT, after=Point.RESOLVE_AFTER_COMMIT):
                    store.intents.advance(
                        intent.link_id, IntentTrigger.NO_ANSWER, message="in flight when its writer stopped"
                    )
        return waiting

    def _book_fills(self) -> Unavailable | None:
        """Book what both markets show; why they could not be read, if so."""
        try:
            self._collector.book_fills()
        except Unavailable as error:
            met(self._desk, error)
            return error
        return None

    def _settle(self) -> None:
        """Write down what each book is; one whose market cannot be read does not keep the others waiting."""
        for position in self._desk.store.positions.active():
            with passing_over(self._desk):
                settle(self._desk, position.position_id)
                rest(self._desk, position.position_id)

    def _repair(self, *, cover: bool) -> Iterable[Repair]:
        """A naked leg is hedged or unwound, always."""
        store = self._desk.store
        for held in store.positions.active():
            # a doubt of another one may have been waited for
            position = store.positions.get(held.position_id)
            if position.state is PositionState.UNCERTAIN and cover:
                with passing_over(self._desk):
                    self._hedger.repair(position.position_id)
            if position.state is not PositionState.EXPOSED or self._in_vain(position):
                continue
            with passing_over(self._desk):
                self._hedger.repair(position.position_id)
                rest(self._desk, position.position_id)
            after = store.positions.get(position.position_id)
            if after.state is PositionState.EXPOSED:
                self._stuck[after.position_id] = Book(after.spot_owned, after.contracts)
            else:
                store.events.record(
                    MismatchRepaired(mismatch="unhedged", symbol=position.base, action=after.state)
                )
                yield Repair(kind="unhedged", symbol=position.base, action=after.state, position=after)

    def _in_vain(self, position: PositionRecord) -> bool:
        """Whether this very book was worked on in this walk, and nothing helped."""
        return self._stuck.get(position.position_id) == Book(position.spot_owned, position.contracts)
