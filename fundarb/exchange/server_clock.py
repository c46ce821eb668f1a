"""The venue's clock, estimated: an anchor measured with half the round trip, carried on by the monotonic
clock.

Because the anchor is carried by the monotonic clock, a jump of the wall clock neither moves a signature's
timestamp nor goes unnoticed: it shows at once in ``offset``. Timestamps are biased to the past, for the venue
refuses anything more than a second ahead (Bybit V5 API). Never widens a lease.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from fundarb.clock import Clock
from fundarb.core.instants import from_ms, to_ms
from fundarb.errors import Unavailable

MAX_AGE = timedelta(minutes=5)
"""How old the anchor of a read may be; reads renew it, so that writes find a fresh one."""
CARRIED = timedelta(hours=1)
"""How long an undisturbed anchor serves a write: a clock drifts by less than a fifth of a second an hour, and
a hedge must not wait for a measurement.
"""
_TRY_AGAIN = timedelta(seconds=30)
_DIVERGENCE = timedelta(milliseconds=250)
_SLOW = timedelta(milliseconds=400)
_SAMPLES = 3
_MARGIN = timedelta(milliseconds=25)


@dataclass(frozen=True, slots=True)
class Anchor:
    """A measurement: the venue's time at a monotonic instant, our wall clock then, and the round trip it
    took.
    """

    server: datetime
    monotonic: timedelta
    local: datetime
    round_trip: timedelta


class ServerClock:
    """What the venue's clock says now, and by how much ours differs."""

    def __init__(self, clock: Clock, read: Callable[[], datetime]) -> None:
        """``read`` asks the venue for its time, one request."""
        self._clock = clock
        self._read = read
        self._lock = threading.Lock()
        self._anchor: Anchor | None = None
        self._seen: timedelta | None = None
        self._stale = False
        self._not_before = timedelta()

    def measure(self) -> datetime:
        """Ask the venue (again while the answers are slow, at most three times) and keep the fastest
        answer.
        """
        return self._at(self._measured())

    def stamp(self, *, write: bool = False) -> datetime:
        """A timestamp to sign with now, in whole milliseconds: the estimate less half the round trip and a
        margin.

        A ``write`` measures only if there is no anchor, or one that was disturbed or is an hour old.
        """
        anchor = self._current(CARRIED if write else MAX_AGE)
        return from_ms(to_ms(self._at(anchor) - anchor.round_trip / 2 - _MARGIN))

    def invalidate(self) -> None:
        """The venue refused a timestamp: measure before the next one."""
        with self._lock:
            self._stale = True

    def observe(self, server: datetime, started: timedelta) -> None:
        """Learn roughly from the time in an answer whose request began at ``started``; for display only."""
        trip = self._clock.monotonic() - started
        with self._lock:
            self._seen = server + trip / 2 - self._clock.now()

    @property
    def offset(self) -> timedelta | None:
        """Venue's clock less ours (positive: ours is behind); None before anything was heard from it."""
        with self._lock:
            anchor, seen = self._anchor, self._seen
        return self._at(anchor) - self._clock.now() if anchor is not None else seen

    @property
    def round_trip(self) -> timedelta | None:
        """The round trip of the last measurement."""
        with self._lock:
            return self._anchor.round_trip if self._anchor is not None else None

    def _measured(self) -> Anchor:
        best = self._sample()
        for _ in range(_SAMPLES - 1):
            if best.round_trip <= _SLOW:
                break
            best = min(best, self._sample(), key=lambda anchor: anchor.round_trip)
        with self._lock:
            self._anchor, self._stale = best, False
        return best

    def _sample(self) -> Anchor:
        before = self._clock.monotonic()
        server = self._read()
        after = self._clock.monotonic()
        return Anchor(
            server + (after - before) / 2, after, local=self._clock.now(), round_trip=after - before
        )

    def _current(self, max_age: timedelta) -> Anchor:
        with self._lock:
            anchor, stale, not_before = self._anchor, self._stale, self._not_before
        if anchor is None or stale or self._diverged(anchor):
            return self._measured()
        now = self._clock.monotonic()
        if now - anchor.monotonic <= max_age or now < not_before:
            return anchor
        try:
            return self._measured()
        except Unavailable:  # old but undisturbed: better than none, and not asked again at once
            with self._lock:
                self._not_before = self._clock.monotonic() + _TRY_AGAIN
            return anchor

    def _diverged(self, anchor: Anchor) -> bool:
        """Whether wall clock and monotonic clock moved apart since: a jump, or the machine slept."""
        moved = self._clock.monotonic() - anchor.monotonic
        return abs(self._clock.now() - anchor.local - moved) > _DIVERGENCE

    def _at(self, anchor: Anchor) -> datetime:
        return anchor.server + (self._clock.monotonic() - anchor.monotonic)
