"""The sandbox's two clocks: the machine's, or a virtual one that only ``POST /sandbox/clock`` (and a
restore) moves.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from fundarb.clock import Clock, SystemClock, VirtualClock
from fundarb.sandbox.options import ClockKind

_DURATION = re.compile(r"(?:(?P<d>\d+(?:\.\d+)?)d)?(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m(?!s))?"
                       r"(?:(?P<s>\d+(?:\.\d+)?)s)?(?:(?P<ms>\d+(?:\.\d+)?)ms)?", re.ASCII)  # fmt: skip
_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
LONGEST_STEP = timedelta(days=100)
"""How far a virtual clock moves in one request: what a server can do while somebody waits."""


class _Onward(SystemClock):
    """The machine's clock, but nobody sets it back: a venue's time goes on whatever happens here."""

    def __init__(self) -> None:
        """As late as the machine's."""
        self._zero = super().now() - self.monotonic()

    def now(self) -> datetime:
        """The wall clock, or where it would be had it not been set back."""
        wall = super().now()
        since = self.monotonic()  # read last: a pause in between must not count twice
        self._zero = max(self._zero, wall - since)
        return self._zero + since


class Timekeeper:
    """What time it is at the venue."""

    def __init__(self, kind: ClockKind, start: datetime | None) -> None:
        """A virtual clock without a start begins at midnight UTC of today."""
        self.kind = kind
        self._clock: Clock = _Onward()
        if kind is ClockKind.VIRTUAL:
            today = self._clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
            self._clock = VirtualClock(start or today)

    @property
    def virtual(self) -> bool:
        """Whether time moves only when told to."""
        return isinstance(self._clock, VirtualClock)

    def now(self) -> datetime:
        """Venue time."""
        return self._clock.now()

    def monotonic(self) -> timedelta:
        """Venue time that a restore or a wall clock's jump does not disturb; for rate limits."""
        return self._clock.monotonic()

    def move_to(self, instant: datetime) -> None:
        """Move a virtual clock forward."""
        if isinstance(self._clock, VirtualClock):
            self._clock.advance_to(instant)

    def restart_at(self, instant: datetime) -> None:
        """Set a virtual clock, also back (a restored snapshot)."""
        if isinstance(self._clock, VirtualClock):
            self._clock = VirtualClock(instant)


def duration(text: str) -> timedelta:
    """``"8h"``, ``"1500ms"``, ``"1d12h"``, ``"90s"``: 100 days at most; ``ValueError`` otherwise."""
    match = _DURATION.fullmatch(text.strip())
    if not text.strip() or match is None:
        msg = f'{text!r} is not a duration like "8h", "90s", "1500ms"'
        raise ValueError(msg)
    msg = f"{text[:40]!r} is longer than {LONGEST_STEP.days} days"
    try:
        parts = (_UNITS[unit] * float(number) for unit, number in match.groupdict().items() if number)
        total = sum(parts, timedelta())
    except OverflowError:
        raise ValueError(msg) from None
    if total > LONGEST_STEP:
        raise ValueError(msg)
    return total


def instant(text: str) -> datetime:
    """An ISO 8601 instant with its offset or Z; ``ValueError`` otherwise."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        msg = f"{text!r} has no time zone; end it with Z"
        raise ValueError(msg)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        msg = f"{text!r} is beyond the calendar"
        raise ValueError(msg) from None
