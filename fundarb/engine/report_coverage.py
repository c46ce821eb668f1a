"""How much of what was due has been read from the venue: by position, and by source. Read once for a
report.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from fundarb.core.instants import floor_hour
from fundarb.core.pnl import Coverage
from fundarb.core.records import PositionRecord
from fundarb.engine.collect import SOURCES, read_until
from fundarb.store.database import Store


class Coverages:
    """The coverage of everything until one instant."""

    def __init__(self, store: Store, until: datetime) -> None:
        """Reads the cursors of all sources, and which settlements are pending."""
        self._until = until
        self._cursors: Mapping[str, datetime | None] = {name: read_until(store, name) for name in SOURCES}
        self._opened = store.ledger.opened_at is not None
        self._known: dict[str, Coverage] = {}
        self._pending: dict[str, int] = {}
        for item in store.ledger.log.pending_settlements():
            self._pending[item.position_id] = self._pending.get(item.position_id, 0) + 1

    def pending(self, position: PositionRecord) -> int:
        """How many settlements of a position the venue has not shown yet."""
        return self._pending.get(position.position_id, 0)

    def of(self, position: PositionRecord) -> Coverage:
        """How much of what was due to a position has been read from the venue's log."""
        found = self._known.get(position.position_id)
        if found is None:
            found = self._known[position.position_id] = self._judged(position)
        return found

    def _judged(self, position: PositionRecord) -> Coverage:
        """Funding falls due on full hours only: until the first of them nothing can be missing."""
        due = floor_hour(min(position.closed_at or self._until, self._until))
        since = position.created_at
        if due <= since:
            return Coverage.COMPLETE
        cursors = self._cursors.values()
        if not self._opened or any(cursor is None or cursor <= since for cursor in cursors):
            return Coverage.MISSING
        read = all(cursor is not None and cursor >= due for cursor in cursors)
        return Coverage.COMPLETE if read and not self.pending(position) else Coverage.PARTIAL

    def of_sources(self) -> dict[str, Coverage]:
        """Until when each source has been read, against the last full hour."""
        due = floor_hour(self._until)
        return {name: _of(cursor, due) for name, cursor in self._cursors.items()}


def _of(cursor: datetime | None, due: datetime) -> Coverage:
    if cursor is None:
        return Coverage.MISSING
    return Coverage.COMPLETE if cursor >= due else Coverage.PARTIAL
