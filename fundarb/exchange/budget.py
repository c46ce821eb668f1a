"""Our own token buckets on the monotonic clock, below the venue's limits, with two lanes: hedges pre-empt
scans.

The shared bucket covers the IP limit; a part of it, and of the groups that both ask, is kept for the urgent
lane, and while somebody waits there the normal lane stands still. A 403 that is an IP limit closes everything
for ten minutes (Bybit V5 API). Waits go through the clock that was handed in. Never sends anything itself.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from enum import StrEnum

from fundarb.clock import Clock
from fundarb.exchange.ban import BanNote
from fundarb.exchange.strict import NoAnswer

BAN = timedelta(minutes=10)
"""How long every request stops after the venue said "access too frequent"."""

_IP_BURST, _IP_RATE = 300.0, 60.0
"""At most 300 + 5 × 60 = 600 requests in any five seconds: the venue's IP limit."""

_RESERVE = 100.0
"""Tokens of the shared bucket that only the urgent lane may take."""

_SHARED_GROUP = 10.0
"""Groups with at least this burst are asked by scans and hedges alike …"""

_GROUP_RESERVE = 0.4
"""… and keep this part of it for the urgent lane."""

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
        self.reserve = burst * _GROUP_RESERVE if burst >= _SHARED_GROUP else 0.0
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

    def __init__(self, clock: Clock, note: BanNote | None = None) -> None:
        """Start full, and open unless ``note`` knows of a ban."""
        self._clock = clock
        self._note = note
        self._lock = threading.Lock()
        now = clock.monotonic()
        self._shared = Bucket(_IP_RATE, _IP_BURST, now=now)
        # A rolling second sees at most burst + rate, so each gets half of the limit.
        self._groups = {name: Bucket(limit / 2, limit / 2, now=now) for name, limit in _GROUP_LIMITS.items()}
        self._urgent_waiting = 0
        self._banned_until: timedelta | None = None

    def take(self, lane: Lane, group: str = "", *, patience: timedelta | None = None) -> None:
        """Wait for a token of the shared bucket and of the group's; raises ``NoAnswer`` during a ban, and at
        once when no token can be there within ``patience``.
        """
        waiting = False
        until = None if patience is None else self._clock.monotonic() + patience
        try:
            while True:
                with self._lock:
                    wait = self._try(lane, group)
                    if wait == 0.0:
                        return
                    if lane is Lane.URGENT and not waiting:
                        self._urgent_waiting += 1
                        waiting = True
                pause = timedelta(seconds=max(wait, 0.001))
                if until is not None and self._clock.monotonic() + pause > until:
                    raise NoAnswer("the budget of requests is used up", sent=False, repeat=False)
                self._clock.sleep(pause)
        finally:
            if waiting:
                with self._lock:
                    self._urgent_waiting -= 1

    def _try(self, lane: Lane, group: str) -> float:
        now = self._clock.monotonic()
        left = self._ban_left(now)
        if left:
            banned = NoAnswer(
                f"no request is sent for another {left.total_seconds():.0f} s: the venue's IP limit was hit",
                sent=False,
                repeat=False,
                status=403,
            )
            banned.until = self._clock.now() + left
            raise banned
        normal = lane is Lane.NORMAL
        wait = self._shared.wait(now, above=_RESERVE if normal else 0.0)
        if normal and self._urgent_waiting:
            wait = max(wait, 0.02)
        bucket = self._groups.get(group)
        if bucket is not None:
            wait = max(wait, bucket.wait(now, above=bucket.reserve if normal else 0.0))
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
        """Stop every request for a while, those of other processes on this machine included."""
        with self._lock:
            self._banned_until = self._clock.monotonic() + duration
        if self._note is not None:
            self._note.write(self._clock.now() + duration)

    def _ban_left(self, now: timedelta) -> timedelta:
        """How long a ban still lasts, ours or a neighbour's."""
        own = timedelta() if self._banned_until is None else self._banned_until - now
        noted = timedelta() if self._note is None else self._note.left()
        return max(own, noted, timedelta())

    @property
    def banned_until(self) -> datetime | None:
        """When requests may go out again, by our clock; None when they may now."""
        with self._lock:
            left = self._ban_left(self._clock.monotonic())
        return self._clock.now() + left if left else None
