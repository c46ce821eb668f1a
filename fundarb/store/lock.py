"""One writer per account: a lock held for life (of a file, or of a session of the server), and an epoch that
fences whatever an earlier writer left behind.

The lock cannot fence the venue; that is why each intent carries its epoch and the wire gate asks
``still_ours`` immediately before a write. SIGKILL leaves nothing to clean up; a stopped process keeps its
lock.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Final

from fundarb.clock import Clock
from fundarb.crash import Point, reached
from fundarb.errors import InvariantBroken, Locked
from fundarb.store.database import Store
from fundarb.store.ports import Holder

POLL: Final = timedelta(milliseconds=100)
_GRACE: Final = timedelta(milliseconds=20)
_LEAST_TRIES: Final = 3  # somebody who only looks (``held``) has the lock for an instant


class WriterLock:
    """The writer's lock of one database; one object per holder."""

    def __init__(self, store: Store, *, clock: Clock) -> None:
        """Of an open database; the lock is not taken. ``clock`` is the machine's, also where trading goes by
        a virtual one: whether a process lives is a matter of real time.
        """
        self._lock = store.place.lock()
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
                self._lock.release()
                raise Locked(self.describe_holder())
            self._clock.sleep(min(POLL, left) if left > _GRACE else _GRACE)
        reached(Point.LOCK_AFTER_ACQUIRE)
        epoch = 0
        try:
            now = self._clock.now()
            self._lock.write({"pid": os.getpid(), "role": role, "since": now.isoformat()})
            epoch = self._store.writer.take_over(os.getpid(), role, at=now)
        finally:
            if not epoch:
                self._lock.release()
        reached(Point.EPOCH_AFTER_COMMIT)
        self._epoch = epoch
        self._store.database.fence(epoch)
        return epoch

    def heartbeat(self) -> None:
        """Renew the sign of life; ``InvariantBroken`` if another writer has taken over, ``StateUnavailable``
        if the server's lock is lost.
        """
        self._hold()
        self._store.writer.heartbeat(self.epoch, self._clock.now())

    def still_ours(self) -> bool:
        """Whether we hold the lock for certain and no later epoch exists. Well below a millisecond."""
        return self._hold() and self._store.writer.epoch() == self._epoch

    def _hold(self) -> bool:
        """Whether the lock itself is ours; if it was and is not, nothing is written any more on a server."""
        if not self._epoch:
            return False
        if self._lock.ours():
            return True
        self._store.database.lose("the writer's lock is lost: nothing is sent any more; start again")
        return False

    def release(self) -> None:
        """Give it back; nothing happens if it is not held. The lock is let go even if the row cannot be
        written.
        """
        epoch, self._epoch = self._epoch, 0
        try:
            if epoch:
                self._store.database.fence(0)
                self._store.writer.released(epoch)
        finally:
            self._lock.release()

    def describe_holder(self) -> str:
        """One sentence about who holds the lock, and what to do."""
        found = self._store.place.holder() or Holder()
        pid, role = found.pid or "unknown", found.role or "writer"
        record = self._store.writer.read()
        now, since, beat = self._clock.now(), found.since, ""
        if record is not None and record.pid == pid:
            since = record.since
            beat = f", last sign of life {_age(now - record.heartbeat)} ago"
        who = f"process {pid} ({role})" + (f" on {found.host}" if found.host else "")
        age = f" for {_age(now - since)}" if since is not None else ""
        return (
            f"another fundarb is the writer of {self._store.name}: {who}{age}{beat}; "
            f"wait for it, or end it with: {found.end or f'kill {pid}'}"
        )


def _age(duration: timedelta) -> str:
    total = max(int(duration.total_seconds()), 0)
    hours, rest = divmod(total, 3600)
    minutes, seconds = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
