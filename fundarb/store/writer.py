"""The writer's row: who writes now, and the epoch that grows at each take-over. Owns the table ``writer``.

The row informs and fences; what excludes a second writer is the file lock (``store.lock``).
"""

from __future__ import annotations

from datetime import datetime

from fundarb.core.records import WriterRecord
from fundarb.errors import InvariantBroken
from fundarb.store.records import Records
from fundarb.store.session import Session


class Writer:
    """The writer's row of one database."""

    def __init__(self, session: Session) -> None:
        """On one session."""
        self._session = session
        self._records = Records(session, session.tables.writer, kind=WriterRecord)

    def read(self) -> WriterRecord | None:
        """Who took the lock last and has not given it back in order (it may have died: ask ``lock.held``)."""
        return self._records.one("WHERE released = 0")

    def epoch(self) -> int:
        """The newest epoch, zero before the first writer."""
        return int(self._records.value("epoch") or 0)

    def take_over(self, pid: int, role: str, *, at: datetime) -> int:
        """Begin a new epoch ``at`` an instant of the machine's clock, as all signs of life; call it only with
        the lock in hand.
        """
        with self._session.transaction():
            record = WriterRecord(pid=pid, epoch=self.epoch() + 1, role=role, since=at, heartbeat=at)
            self._records.delete("WHERE id = 1")
            self._records.add(record, id=1, released=False)
            return record.epoch

    def heartbeat(self, epoch: int, at: datetime) -> None:
        """Show that the writer of an epoch lives; ``InvariantBroken`` if another has taken over."""
        with self._session.transaction():
            if not self._records.update({"heartbeat": at}, "WHERE epoch = ?", epoch):
                raise InvariantBroken(f"epoch {epoch} is over: another writer has taken {self._session.name}")

    def released(self, epoch: int) -> None:
        """The writer of an epoch ended in order; nothing happens if another has taken over."""
        with self._session.transaction():
            self._records.update({"released": True}, "WHERE epoch = ?", epoch)
