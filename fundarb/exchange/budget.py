"""Our own token buckets on the monotonic clock, below the venue's limits, with two lanes: hedges pre-empt
scans.

The shared bucket covers the IP limit; a part of it is kept for the urgent lane, and while somebody waits
there the normal lane stands still. A 403 that is an IP limit closes everything for ten minutes (Bybit V5
API). Waits go through the clock that was handed in. Never sends anything itself.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from enum import StrEnum

from fundarb.clock import Clock
from fundarb.exchange.strict import NoAnswer

BAN = timedelta(minutes=10)
"""How long every request stops after the venue said "access too frequent"."""

_IP_BURST, _IP_RATE = 300.0, 60.0
"""At most 300 + 5 × 60 = 600 requests in any five seconds: the venue's IP limit."""

_RESERVE = 100.0
"""Tokens of the shared bucket that only the urgent lane may take."""

_GROUP_LIMITS = {
    "create": 10.0,
    "cancel": 10.0,
    "order-realtime": 50.0,
    "order-history": 50.0,
    "execution": 50.0,
    "position": 50.0,
    "account": 50.0,
    "transaction-log": 25.0,
    "fee-rate": 5.0,
    "query-api": 10.0,
    "set-leverage": 10.0,
    "switch-mode": 10.0,
}
"""Requests per second and account that the venue allows (Bybit V5 API, the lower of both markets)."""


class Lane(StrEnum):
    """Who is asking: hedges, closes and look-ups, or everything that can wait."""

    URGENT = "urgent"
    NORMAL = "normal"


class Bucket:
    """A token bucket: at most ``burst`` at once, ``rate`` more per second. Not safe to share without a
    lock.
    """

    def __init__(self, rate: float, burst: float, *, now: timedelta) -> None:
        """Start full."""
        self._rate, self._burst = rate, burst
        self._tokens, self._at = burst, now

    def wait(self, now: timedelta, *, above: float = 0.0) -> float:
        """Seconds until one token more than ``above`` is there; 0 when it is."""
        elapsed = (now - self._at).total_seconds()
        self._tokens, self._at = min(self._burst, self._tokens + max(elapsed, 0.0) * self._rate), now
        missing = above + 1.0 - self._tokens
        return max(missing, 0.0) / self._rate

    def take(self) -> None:
        """Remove one token."""
        self._tokens -= 1.0

    def drain(self) -> None:
        """Remove all: the venue said that we were too fast."""
        self._tokens = min(self._tokens, 0.0)


class Budget:
    """All buckets of one address and account; safe to share between threads."""

    def __init__(self, clock: Clock) -> None:
        """Start full and open."""
        self._clock = clock
        self._lock = threading.Lock()
        now = clock.monotonic()
        self._shared = Bucket(_IP_RATE, _IP_BURST, now=now)
        # A rolling second sees at most burst + rate, so each gets half of the limit.
        self._groups = {name: Bucket(limit / 2, limit / 2, now=now) for name, limit in _GROUP_LIMITS.items()}
        self._urgent_waiting = 0
        self._banned_until: timedelta | None = None

    def take(self, lane: Lane, group: str = "") -> None:
        """Wait for a token of the shared bucket and of the group's; raises ``NoAnswer`` during a ban."""
        waiting = False
        try:
            while True:
                with self._lock:
                    wait = self._try(lane, group)
                    if wait == 0.0:
                        return
                    if lane is Lane.URGENT and not waiting:
                        self._urgent_waiting += 1
                        waiting = True
                self._clock.sleep(timedelta(seconds=max(wait, 0.001)))
        finally:
            if waiting:
                with self._lock:
                    self._urgent_waiting -= 1

    def _try(self, lane: Lane, group: str) -> float:
        now = self._clock.monotonic()
        if self._banned_until is not None and now < self._banned_until:
            left = self._banned_until - now
            raise NoAnswer(
                f"no request is sent for another {left.total_seconds():.0f} s: the venue's IP limit was hit",
                sent=False,
                repeat=False,
                status=403,
            )
        normal = lane is Lane.NORMAL
        wait = self._shared.wait(now, above=_RESERVE if normal else 0.0)
        if normal and self._urgent_waiting:
            wait = max(wait, 0.02)
        bucket = self._groups.get(group)
        if bucket is not None:
            wait = max(wait, bucket.wait(now))
        if wait == 0.0:
            self._shared.take()
            if bucket is not None:
                bucket.take()
        return wait

    def drain(self, group: str) -> None:
        """Empty a group after the venue's 10006, so that the next call waits."""
        with self._lock:
            if group in self._groups:
                self._groups[group].drain()

    def ban(self, duration: timedelta = BAN) -> None:
        """Stop every request for a while."""
        with self._lock:
            self._banned_until = self._clock.monotonic() + duration

    @property
    def banned_until(self) -> datetime | None:
        """When requests may go out again, by our clock; None when they may now."""
        with self._lock:
            if self._banned_until is None:
                return None
            left = self._banned_until - self._clock.monotonic()
        return self._clock.now() + left if left > timedelta() else None
