"""What a late read sees: positions and balances as they were so long ago, and whole accounts as they were at
the instant at which a fault was armed. It remembers; it answers nothing.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

from fundarb.venue.engine import Venue
from fundarb.venue.reads import Balances
from fundarb.venue.rows import Notice, Topic

_KEPT = 2_000
_LONGEST = timedelta(days=1)
"""No read lags more."""


class Past:
    """Positions and coins after every change of the last day."""

    def __init__(self, venue: Venue) -> None:
        """Begin with the present."""
        self._records: deque[tuple[datetime, Balances]] = deque([(venue.now, venue.balances())], maxlen=_KEPT)
        self._changed: datetime | None = None

    def heard(self, notice: Notice) -> None:
        """Something happened that changes what a read would see."""
        if notice.topic is not Topic.MARKET:
            self._changed = notice.at

    def keep(self, venue: Venue) -> None:
        """Remember the present if it differs from the last record."""
        if self._changed is None:
            return
        self._records.append((self._changed, venue.balances()))
        self._changed = None
        while len(self._records) > 1 and self._records[1][0] < venue.now - _LONGEST:
            self._records.popleft()

    def at(self, instant: datetime) -> Balances:
        """The newest record that is not younger than an instant, else the oldest."""
        found = self._records[0][1]
        for time, balances in self._records:
            if time > instant:
                break
            found = balances
        return found
