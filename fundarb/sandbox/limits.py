"""Request limits as the exchange has them: per account, end point and second; per address and five seconds;
and bans.

Counting is by the venue's own monotonic time. A limit that is hit says when it ends; a ban answers 403
without any JSON.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import timedelta

_SECOND = timedelta(seconds=1)
_IP_WINDOW = timedelta(seconds=5)
_IP_LIMIT = 600
_IP_BAN = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a limit: for the ``X-Bapi-Limit`` headers. ``wait`` is zero unless the limit is hit;
    ``granted`` says how many orders of a request it lets through.
    """

    limit: int
    left: int
    wait: timedelta
    granted: int = 1

    @property
    def exceeded(self) -> bool:
        """Whether this very request is one too many."""
        return self.wait > timedelta()


class Limits:
    """All counters of one sandbox."""

    def __init__(self, *, enforced: bool) -> None:
        """With ``enforced`` off everything is allowed, but headers and bans still work."""
        self.enforced = enforced
        self._by_endpoint: dict[str, deque[timedelta]] = {}
        self._by_address: dict[str, deque[timedelta]] = {}
        self._banned_until: dict[str, timedelta] = {}

    def ban(self, until: timedelta, address: str = "*") -> None:
        """Answer everything from an address (``*``: any) with 403 until then."""
        self._banned_until[address] = max(until, self._banned_until.get(address, timedelta()))

    def banned(self, now: timedelta, address: str) -> bool:
        """Whether an address is shut out; counts the request towards the address's own limit."""
        if any(now < self._banned_until.get(name, now) for name in (address, "*")):
            return True
        if not self.enforced:
            return False
        times = self._by_address.setdefault(address, deque())
        _forget(times, now - _IP_WINDOW)
        if len(times) >= _IP_LIMIT:
            self.ban(now + _IP_BAN, address)
            return True
        times.append(now)
        return False

    def forget(self) -> None:
        """Begin anew: nothing counted, nobody shut out."""
        self._by_endpoint.clear()
        self._by_address.clear()
        self._banned_until.clear()

    def take(self, name: str, limit: int, *, now: timedelta, count: int = 1) -> Allowance:
        """Count one request of an end point, or each order of a batch: what is over the limit is not
        granted, and without a single one granted the request is refused.
        """
        times = self._by_endpoint.setdefault(name, deque())
        _forget(times, now - _SECOND)
        granted = min(count, limit - len(times)) if self.enforced else count
        if granted <= 0:
            return Allowance(limit, 0, times[0] + _SECOND - now, 0)
        times.extend([now] * granted)
        while len(times) > limit:
            times.popleft()
        return Allowance(limit, limit - len(times), timedelta(), granted)


def _forget(times: deque[timedelta], before: timedelta) -> None:
    while times and times[0] <= before:
        times.popleft()
