"""When each job ran and how it ended. Owns the table ``job_runs``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fundarb.store.records import Records
from fundarb.store.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """One run of one job; ``finished_at`` None while it runs, or if the process died in it. ``result`` is one
    word.
    """

    id: int
    name: str
    started_at: datetime
    finished_at: datetime | None
    result: str
    message: str


class Jobs:
    """The job runs of one database."""

    def __init__(self, session: Session) -> None:
        """On one session."""
        self._session = session
        self._records = Records(session, session.tables.job_runs, kind=JobRun)

    def started(self, name: str, at: datetime) -> int:
        """A run begins; its id."""
        with self._session.transaction():
            return self._records.insert({"name": name, "started_at": at, "result": "", "message": ""})

    def finished(self, number: int, result: str, *, message: str, at: datetime) -> None:
        """A run ended."""
        with self._session.transaction():
            changes = {"finished_at": at, "result": result, "message": message}
            self._records.update(changes, "WHERE id = ?", number)

    def last(self, name: str) -> JobRun | None:
        """The newest run of a job."""
        return self._records.one("WHERE name = ? ORDER BY id DESC", name)

    def prune(self, name: str, keep: int) -> int:
        """Forget all but the newest ``keep`` runs of a job; how many were forgotten."""
        with self._session.transaction():
            newest = "WHERE name = ? ORDER BY id DESC LIMIT 1 OFFSET ?"
            oldest_gone = self._records.value("id", newest, name, keep)
            if oldest_gone is None:
                return 0
            return self._records.delete("WHERE name = ? AND id <= ?", name, oldest_gone)
