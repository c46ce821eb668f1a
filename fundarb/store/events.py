"""The audit trail: what happened, in order, with an id that only grows. Owns the table ``events``.

An event is part of the transaction that makes it true, and is told to subscribers only after that transaction
is durable; what was rolled back never happened and is never told.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from fundarb.core.events import Event, RecordedEvent, Severity
from fundarb.store.records import Records
from fundarb.store.session import Session

Listener = Callable[[RecordedEvent, Event], None]
# the very words of the partial index over what is notable
_AT_LEAST: Final = {
    Severity.INFO: "TRUE",
    Severity.WARNING: "severity IN ('warning', 'alert')",
    Severity.ALERT: "severity IN ('warning', 'alert') AND severity = 'alert'",
}


class Events:
    """Recorded events of one database."""

    def __init__(self, session: Session) -> None:
        """On one session."""
        self._session = session
        self._records = Records(session, session.tables.events, kind=RecordedEvent)
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Be told every event that this object records, after its commit, in order; the answer ends the
        subscription.

        A listener must return at once and should not raise: the state is already durable, the exception
        reaches whoever committed.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def record(self, event: Event) -> RecordedEvent:
        """Write an event, in the caller's transaction if there is one; its time is now."""
        payload = json.dumps(event.payload(), ensure_ascii=False, separators=(",", ":"))
        values: dict[str, Any] = {
            "at": self._session.now(),
            "kind": event.kind,
            "severity": event.severity,
            "payload": payload,
        }
        with self._session.transaction():
            recorded = RecordedEvent(id=self._records.insert(values), **values)
            self._session.on_commit(lambda: self._tell(recorded, event))
        return recorded

    def _tell(self, recorded: RecordedEvent, event: Event) -> None:
        for listener in tuple(self._listeners):
            listener(recorded, event)

    def after(
        self, number: int, limit: int, *, kind: str | None = None, since: datetime | None = None
    ) -> tuple[RecordedEvent, ...]:
        """Up to ``limit`` events with a higher id than ``number``, oldest first; of one kind, not before an
        instant.
        """
        conditions = ["id > ?"]
        values: list[object] = [number]
        if kind is not None:
            conditions.append("kind = ?")
            values.append(kind)
        if since is not None:
            conditions.append("at >= ?")
            values.append(since)
        return self._records.many(f"WHERE {' AND '.join(conditions)} ORDER BY id LIMIT ?", *values, limit)

    def last(
        self, count: int, *, severity: Severity = Severity.INFO, kind: str | None = None
    ) -> tuple[RecordedEvent, ...]:
        """The newest ``count`` events at least this severe, the oldest of them first; of one kind."""
        condition = _AT_LEAST[severity]
        values: list[object] = [] if kind is None else [kind]
        if kind is not None:
            condition += " AND kind = ?"
        return self._records.many(f"WHERE {condition} ORDER BY id DESC LIMIT ?", *values, count)[::-1]

    def newest_id(self) -> int:
        """The id of the newest event, zero without any."""
        return int(self._records.value("max(id)") or 0)
