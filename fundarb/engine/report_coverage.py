"""How much of what was due has been read from the venue: by position, and by source. Read once for a
report.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import copy
from datetime import datetime

from fundarb.core.instants import floor_hour
from fundarb.core.ledger import Account
from fundarb.core.pnl import Coverage
from fundarb.core.records import PositionRecord
from fundarb.core.states import IntentState
from fundarb.engine.collect import read_until
from fundarb.engine.holes import Hole, holes
from fundarb.engine.opening import SOURCES
from fundarb.engine.remembered import standing
from fundarb.store.database import Store
from fundarb.store.unvalued import Unvalued


class Coverages:
    """The coverage of what fell due between two instants (``since`` None: from the opening on)."""

    def __init__(self, store: Store, until: datetime, *, since: datetime | None = None) -> None:
        """Reads the cursors of all sources, which settlements are pending, and what reconcile left open."""
        self._until = until
        self._since = since
        self._cursors: Mapping[str, datetime | None] = {name: read_until(store, name) for name in SOURCES}
        self._opened = store.ledger.opened_at
        self._holes = holes(store)
        self._unvalued = store.ledger.unvalued.all()
        self._differences = standing(store)
        self._in_doubt = {
            intent.position_id for intent in store.intents.open() if intent.state is IntentState.UNCERTAIN
        }
        self._pending = tuple(
            (item.position_id, item.settled_at) for item in store.ledger.log.pending_settlements()
        )

    def within(self, since: datetime, until: datetime) -> Coverages:
        """The same of a part of the span; nothing is read again."""
        part = copy(self)
        part._since = since if self._since is None else max(since, self._since)  # noqa: SLF001 - a part of its own kind
        part._until = min(until, self._until)  # noqa: SLF001 - a part of its own kind
        return part

    def pending(self, position: PositionRecord) -> int:
        """How many settlements of a position the venue has not shown yet."""
        return sum(
            owner == position.position_id and (self._since is None or at >= self._since) and at <= self._until
            for owner, at in self._pending
        )

    def open_questions(self, position: PositionRecord) -> tuple[str, ...]:
        """What the books of an open position do not know yet: a leg that is not at the venue as it is here
        (closed by hand, say) until it is answered, an order whose fate is unknown.
        """
        if position.closed_at is not None:
            return ()
        legs = (f"perp_size:{position.perp_symbol}", f"spot_short:{position.base}")
        found = [f"books and venue differ ({name})" for name in legs if name in self._differences]
        if position.position_id in self._in_doubt:
            found.append("an order is in doubt")
        return tuple(found)

    def warnings(self, positions: Iterable[PositionRecord]) -> tuple[str, ...]:
        """What to say with the rows of these positions."""
        return tuple(
            f"{position.base}: {question}; its figures are not complete before that is settled, "
            "`fundarb reconcile` says how"
            for position in positions
            for question in self.open_questions(position)
        )

    def of(self, position: PositionRecord, *, read: Coverage | None = None) -> Coverage:
        """How much of what was due to a position is known, where so much of the venue's log was ``read``
        (None: look).
        """
        found = read or self.read(position)
        unsettled = self.pending(position) or self.open_questions(position)
        return Coverage.PARTIAL if found is Coverage.COMPLETE and unsettled else found

    def read(self, position: PositionRecord) -> Coverage:
        """How far the venue's log has been read for a position, whatever it showed."""
        return self._judged(position.created_at, position.closed_at)

    def of_account(self) -> Coverage:
        """How much of what falls due to the account itself (interest, what others do) has been read."""
        if self._opened is None:
            return Coverage.MISSING  # nothing is known of an account without books
        return self._judged(self._opened, None)

    def unvalued(self, positions: Iterable[PositionRecord], *, whole: bool) -> frozenset[Account]:
        """Of which accounts of these positions, and of the account itself (``whole``), something was booked
        in a coin whose worth nobody knew.
        """
        owners = {position.position_id for position in positions} | ({None} if whole else set())
        return frozenset(item.account for item in self._unpriced() if item.position_id in owners)

    def _unpriced(self) -> Iterator[Unvalued]:
        for item in self._unvalued:
            if item.since <= self._until and (self._since is None or item.until >= self._since):
                yield item

    def _judged(self, begun: datetime, ended: datetime | None) -> Coverage:
        """How far the log has been read; ``partial`` also beside a hole in it."""
        found = self._reached(begun, ended)
        return Coverage.PARTIAL if found is Coverage.COMPLETE and self._missed(begun, ended) else found

    def _missed(self, begun: datetime, ended: datetime | None) -> tuple[Hole, ...]:
        """The holes in the log of that time."""
        since = begun if self._since is None else max(begun, self._since)
        until = min(ended or self._until, self._until)
        return tuple(hole for hole in self._holes if hole.since <= until and hole.until >= since)

    def _reached(self, begun: datetime, ended: datetime | None) -> Coverage:
        """Funding and interest fall due on full hours only: until the first of them nothing can be
        missing.
        """
        if self._opened is not None and self._until < self._opened:
            return Coverage.MISSING  # nothing is known of the time before the books
        due = floor_hour(min(ended or self._until, self._until))
        since = begun if self._since is None else max(begun, self._since)
        if due <= begun or due < since:
            return Coverage.COMPLETE
        read = [cursor for cursor in self._cursors.values() if cursor is not None]
        if self._opened is None or len(read) < len(self._cursors):
            return Coverage.MISSING
        if min(read) >= due:
            return Coverage.COMPLETE
        return Coverage.MISSING if min(read) <= since else Coverage.PARTIAL

    def unread(self) -> tuple[str, ...]:
        """Until when the log has been read, where that is not far enough, and what is missing in between."""
        if self._opened is None:
            return ()
        lost = (*self._holed(self._opened), *self._guessed())
        if self._reached(self._opened, None) is Coverage.COMPLETE:
            return lost
        read = [cursor for cursor in self._cursors.values() if cursor is not None]
        if len(read) < len(self._cursors):
            return (*lost, "the venue's log has not been read yet: what it paid and took is not in here")
        when = f"{min(read):%Y-%m-%d %H:%M} UTC"
        return (
            *lost,
            f"the venue's log has been read until {when}: what it paid and took since is not in here",
        )

    def _holed(self, opened: datetime) -> Iterator[str]:
        for hole in self._missed(opened, None):
            between = f"between {hole.since:%Y-%m-%d %H:%M} and {hole.until:%Y-%m-%d %H:%M} UTC"
            yield f"a row of {hole.coin} is missing in the venue's log {between}: what it moved is not here"

    def _guessed(self) -> Iterator[str]:
        for item in self._unpriced():
            since = f"since {item.since:%Y-%m-%d %H:%M} UTC"
            yield f"{item.account.value} in {item.coin} {since}: what the coin was worth is not known"

    def of_sources(self) -> dict[str, Coverage]:
        """Until when each source has been read, against the last full hour."""
        due, before = floor_hour(self._until), self._opened is not None and self._until < self._opened
        return {name: _of(None if before else cursor, due) for name, cursor in self._cursors.items()}


def _of(cursor: datetime | None, due: datetime) -> Coverage:
    if cursor is None:
        return Coverage.MISSING
    return Coverage.COMPLETE if cursor >= due else Coverage.PARTIAL
