"""Time, handed in: the only module of fundarb that reads a clock or waits.

Instants are aware UTC datetimes, durations are timedeltas; milliseconds exist only at the wire
(``core.instants``). Durations are measured with ``monotonic``, never by subtracting two wall-clock instants.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What the rest of the program may know about time."""

    def now(self) -> datetime:
        """The current instant, aware, UTC."""

    def monotonic(self) -> timedelta:
        """Time since an arbitrary origin; never goes backwards."""

    def sleep(self, duration: timedelta) -> None:
        """Wait; on a virtual clock this is what moves time. A negative duration is zero."""


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """The wall clock, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> timedelta:
        """The monotonic clock of the operating system."""
        return timedelta(seconds=time.monotonic())

    def sleep(self, duration: timedelta) -> None:
        """Block this thread."""
        seconds = duration.total_seconds()
        if seconds > 0:
            time.sleep(seconds)


class VirtualClock:
    """A clock that moves only when told to, or when somebody sleeps on it. Safe to share between threads."""

    def __init__(self, start: datetime) -> None:
        """Start at an aware instant."""
        if start.tzinfo is None:
            msg = "a virtual clock needs an aware start"
            raise ValueError(msg)
        self._lock = threading.Lock()
        self._start = start.astimezone(UTC)
        self._now = self._start

    def now(self) -> datetime:
        """The virtual instant."""
        with self._lock:
            return self._now

    def monotonic(self) -> timedelta:
        """Virtual time since the start."""
        with self._lock:
            return self._now - self._start

    def sleep(self, duration: timedelta) -> None:
        """Move time forward at once."""
        with self._lock:
            self._now += max(duration, timedelta())

    def advance_to(self, instant: datetime) -> None:
        """Move time forward to an instant; an instant in the past changes nothing."""
        with self._lock:
            self._now = max(self._now, instant)
