"""One writer per account: a file lock held for life, and an epoch that fences whatever an earlier writer left
behind.

The lock cannot fence the venue; that is why each intent carries its epoch and the wire gate asks
``still_ours`` immediately before a write. SIGKILL leaves nothing to clean up; a stopped process keeps its
lock.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from fundarb.clock import Clock
from fundarb.crash import Point, reached
from fundarb.errors import InvariantBroken, Locked
from fundarb.store.database import Store
from fundarb.store.flock import FileLock, held, holder, lock_path

POLL: Final = timedelta(milliseconds=100)
_GRACE: Final = timedelta(milliseconds=20)
_LEAST_TRIES: Final = 3  # somebody who only looks (``held``) has the lock for an instant


class WriterLock:
    """The writer's lock of one database; one object per holder."""

    def __init__(self, path: Path, store: Store, *, clock: Clock) -> None:
        """``path`` is the database file; the lock file stands beside it as ``NAME.lock``."""
        self._lock = FileLock(lock_path(path))
        self._store = store
        self._clock = clock
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """The epoch in which we write; ``InvariantBroken`` while we do not hold the lock."""
        if not self._epoch:
            raise InvariantBroken("this process is not the writer")
        return self._epoch

    def acquire(self, role: str, wait: timedelta = timedelta()) -> int:
        """Become the writer within ``wait`` of the clock; the new epoch. ``Locked`` names who has it, as
        what, since when.

        ``role`` is "daemon" or "command". ``StateUnavailable`` if the epoch cannot be written: then the lock
        is free again.
        """
        if self._epoch:
            return self._epoch
        deadline = self._clock.monotonic() + wait
        tries = 0
        while not self._lock.try_acquire():
            tries += 1
            left = deadline - self._clock.monotonic()
            if left <= timedelta() and tries >= _LEAST_TRIES:
                raise Locked(self.describe_holder())
            self._clock.sleep(min(POLL, left) if left > _GRACE else _GRACE)
        reached(Point.LOCK_AFTER_ACQUIRE)
        epoch = 0
        try:
            now = self._clock.now()
            self._lock.write({"pid": os.getpid(), "role": role, "since": now.isoformat()})
            epoch = self._store.writer.take_over(os.getpid(), role)
        finally:
            if not epoch:
                self._lock.release()
        reached(Point.EPOCH_AFTER_COMMIT)
        self._epoch = epoch
        return epoch

    def heartbeat(self) -> None:
        """Renew the sign of life; ``InvariantBroken`` if another writer has taken over."""
        self._store.writer.heartbeat(self.epoch, self._clock.now())

    def still_ours(self) -> bool:
        """Whether we hold the lock, its file is the one of that name, and no later epoch exists. Well below a
        millisecond.
        """
        return bool(self._epoch) and self._lock.ours() and self._store.writer.epoch() == self._epoch

    def release(self) -> None:
        """Give it back; nothing happens if it is not held. The lock is let go even if the row cannot be
        written.
        """
        epoch, self._epoch = self._epoch, 0
        try:
            if epoch:
                self._store.writer.released(epoch)
        finally:
            self._lock.release()

    def describe_holder(self) -> str:
        """One sentence about who holds the lock, and what to do."""
        found = holder(self._lock.path)
        pid, role = found.get("pid", "unknown"), found.get("role", "writer")
        record = self._store.writer.read()
        beat = ""
        if record is not None and record.pid == pid:
            beat = f", last sign of life {_age(self._clock.now() - record.heartbeat)} ago"
        since = f" for {_age(self._clock.now() - start)}" if (start := _instant(found.get("since"))) else ""
        return (
            f"another fundarb is the writer of {self._store.path}: process {pid} ({role}){since}{beat}; "
            f"wait for it, or end it with: kill {pid}"
        )


def writer_alive(path: Path) -> bool:
    """Whether some process holds the writer's lock of a database file."""
    return held(lock_path(path))


def _instant(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def _age(duration: timedelta) -> str:
    total = max(int(duration.total_seconds()), 0)
    hours, rest = divmod(total, 3600)
    minutes, seconds = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
