"""How long this thread waits for a read, and whether its questions come before everybody else's.

Ordinarily a read has the deadline of the settings and may be repeated. Within ``urgent`` a whole read ends
after the patience given there, whatever it is made of: waiting for the budget, measuring the venue's clock,
repetitions, pages. Never shortens a write: a create that was given up early would only be looked up sooner.
Reads no answer, sends nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from fundarb.clock import Clock
from fundarb.exchange.strict import NoAnswer


class _Mine(threading.local):
    """What one thread is at: ``limit`` of each read, ``until`` of the read under way."""

    limit: timedelta | None = None
    until: timedelta | None = None


class Patience:
    """The patience of each thread; safe to share between them."""

    def __init__(self, clock: Clock) -> None:
        """``clock`` is the one that sockets wait by: the machine's own."""
        self._clock = clock
        self._mine = _Mine()

    @contextmanager
    def urgent(self, limit: timedelta) -> Iterator[None]:
        """Bound every read of this thread to ``limit``; within another such scope the shorter one counts."""
        if limit <= timedelta():
            raise ValueError("a patience must be positive")
        mine = self._mine
        outer = mine.limit
        mine.limit = limit if outer is None else min(limit, outer)
        try:
            yield
        finally:
            mine.limit = outer

    @property
    def limit(self) -> timedelta | None:
        """The bound of each of this thread's reads; None outside ``urgent``."""
        return self._mine.limit

    @contextmanager
    def one_read(self) -> Iterator[None]:
        """The read that begins here, with all that it asks on its way, has one deadline."""
        mine = self._mine
        if mine.limit is None or mine.until is not None:
            yield
            return
        mine.until = self._clock.monotonic() + mine.limit
        try:
            yield
        finally:
            mine.until = None

    def left(self) -> timedelta | None:
        """What is left to the read under way, None if only the settings bound it; ``NoAnswer`` if nothing
        is.
        """
        until = self._mine.until
        if until is None:
            return None
        left = until - self._clock.monotonic()
        if left <= timedelta():
            raise NoAnswer("no answer within the patience for an urgent read", repeat=False)
        return left
