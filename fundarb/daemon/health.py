"""Signs of life and of trouble: the trading thread's pulse, its interruptible clock, and jumps of the wall
clock.

Nothing here trades or writes; the service asks and acts.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

from fundarb.clock import Clock
from fundarb.errors import FundarbError

_PIECE = timedelta(milliseconds=100)
_NOISE = timedelta(seconds=3)
"""Smaller differences between the two clocks are the work of NTP, not a jump."""


class Stopped(FundarbError):
    """The process was asked to end and the time to finish the step is over. Whatever was in flight is
    uncertain now.
    """

    kind = "stopped"


class WorkClock:
    """The clock of the trading side: each reading is a pulse, and a wait ends early when the process must
    end.

    Only the thread that called ``claim`` leaves pulses and is interrupted; to every other thread it is the
    plain clock.
    """

    def __init__(self, inner: Clock) -> None:
        """Around a real clock."""
        self._inner = inner
        self._thread: int | None = None
        self._pulse = inner.monotonic()
        self._deadline: timedelta | None = None

    def claim(self) -> None:
        """The calling thread is the trading thread."""
        self._thread = threading.get_ident()
        self._pulse = self._inner.monotonic()

    def now(self) -> datetime:
        """The inner clock's instant."""
        self._beat()
        return self._inner.now()

    def monotonic(self) -> timedelta:
        """The inner clock's monotonic time."""
        self._beat()
        return self._inner.monotonic()

    def sleep(self, duration: timedelta) -> None:
        """Wait; ``Stopped`` if the process ends before the wait can be over."""
        if threading.get_ident() != self._thread:
            self._inner.sleep(duration)
            return
        end = self._inner.monotonic() + max(duration, timedelta())
        while True:
            self._beat()
            deadline = self._deadline
            if deadline is not None and end > deadline:
                raise Stopped("the process is ending: the wait was given up")
            left = end - self._inner.monotonic()
            if left <= timedelta():
                return
            self._inner.sleep(min(left, _PIECE))

    def stop_by(self, grace: timedelta) -> None:
        """From now on no wait goes beyond ``grace``."""
        self._deadline = self._inner.monotonic() + grace

    def silence(self) -> timedelta:
        """How long the trading thread has not looked at the clock: every step of its work does, and each
        wait in pieces.
        """
        return self._inner.monotonic() - self._pulse

    def _beat(self) -> None:
        if threading.get_ident() == self._thread:
            self._pulse = self._inner.monotonic()


@dataclass(frozen=True, slots=True)
class Jump:
    """The wall clock moved by ``by`` more than really passed; negative: it was set back."""

    by: timedelta

    def __str__(self) -> str:
        """For a person."""
        way = "forward" if self.by > timedelta() else "back"
        seconds = abs(self.by).total_seconds()
        return f"the clock jumped {way} by {seconds:.0f} s (a machine that slept, or a clock that was set)"


class JumpWatch:
    """Compares the wall clock with the monotonic one: a suspended machine and a clock that was set look
    alike.
    """

    def __init__(self, clock: Clock) -> None:
        """Begin now."""
        self._clock = clock
        self._wall, self._mono = clock.now(), clock.monotonic()

    def look(self) -> Jump | None:
        """A jump since the last look, or None."""
        wall, mono = self._clock.now(), self._clock.monotonic()
        by = (wall - self._wall) - (mono - self._mono)
        self._wall, self._mono = wall, mono
        return Jump(by) if abs(by) > _NOISE else None
