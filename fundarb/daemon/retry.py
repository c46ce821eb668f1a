"""When a recovery that failed is tried again. Nobody sleeps for it: a daemon that has recovered once goes on
watching and hedging in between.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from fundarb.clock import Clock
from fundarb.errors import Unavailable

FIRST: Final = timedelta(seconds=5)
LONGEST: Final = timedelta(seconds=15)
"""As often as a watch: what is naked is seen as soon once the venue is back; a ban lets no request out."""


class Retry:
    """One thing that must succeed: later each time, and not beyond the end of a ban that is known."""

    def __init__(self, clock: Clock) -> None:
        """Nothing has failed."""
        self._clock = clock
        self._pause = FIRST
        self._at: timedelta | None = None

    def failed(self, error: BaseException | None) -> None:
        """It failed with this."""
        pause, self._pause = self._pause, min(self._pause * 2, LONGEST)
        if isinstance(error, Unavailable) and error.until is not None:
            left = error.until - self._clock.now()
            pause = min(pause, left) if left > timedelta() else pause
        self._at = self._clock.monotonic() + pause

    def succeeded(self) -> None:
        """It is done; what fails next is another matter."""
        self._pause, self._at = FIRST, None

    def due(self) -> bool:
        """Whether to try again now; True once for each failure."""
        if self._at is None or self._clock.monotonic() < self._at:
            return False
        self._at = None
        return True
