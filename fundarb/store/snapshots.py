"""The account as it stood at an instant, for curve and reports. Owns the table ``snapshots``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from fundarb.store.records import Records
from fundarb.store.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One moment. ``equity`` in quote, None where it could not be known (never zero for that); ``payload`` is
    JSON text.
    """

    id: int
    at: datetime
    kind: str
    equity: Decimal | None
    payload: str


class Snapshots:
    """The snapshots of one database."""

    def __init__(self, session: Session) -> None:
        """On one session."""
        self._session = session
        self._records = Records(session, session.tables.snapshots, kind=Snapshot)

    def add(self, at: datetime, kind: str, *, equity: Decimal | None = None, payload: str = "{}") -> int:
        """Keep one moment; its id."""
        with self._session.transaction():
            return self._records.insert({"at": at, "kind": kind, "equity": equity, "payload": payload})

    def between(
        self, kind: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[Snapshot, ...]:
        """The moments of one kind in ``[since, until)``, oldest first."""
        conditions = ["kind = ?"]
        values: list[object] = [kind]
        if since is not None:
            conditions.append("at >= ?")
            values.append(since)
        if until is not None:
            conditions.append("at < ?")
            values.append(until)
        return self._records.many(f"WHERE {' AND '.join(conditions)} ORDER BY at, id", *values)

    def thin(self, kind: str, before: datetime, *, each: timedelta) -> int:
        """Keep only the last moment of a kind in each stretch of time before an instant; how many went."""
        bucket = max(each // timedelta(milliseconds=1), 1)
        with self._session.transaction():
            return self._records.delete(
                "WHERE kind = ? AND at < ? AND id NOT IN "
                "(SELECT max(id) FROM snapshots WHERE kind = ? AND at < ? GROUP BY at / ?)",
                kind,
                before,
                kind,
                before,
                bucket,
            )

    def first(self, kind: str, since: datetime) -> Snapshot | None:
        """The oldest moment of one kind, of those at or after ``since``."""
        return self._records.one("WHERE kind = ? AND at >= ? ORDER BY at, id", kind, since)

    def last(self, kind: str, *, until: datetime | None = None) -> Snapshot | None:
        """The newest moment of one kind, of those before ``until``."""
        if until is None:
            return self._records.one("WHERE kind = ? ORDER BY at DESC, id DESC", kind)
        return self._records.one("WHERE kind = ? AND at < ? ORDER BY at DESC, id DESC", kind, until)
