"""Repairs that come to nothing wait before they are tried again: the same orders would only be refused again,
or the venue still does not answer.

Each of them sends several orders, of a budget that all positions share. Decides no order and sends none.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from fundarb.core.position import Book
from fundarb.core.records import PositionRecord
from fundarb.core.states import PositionState
from fundarb.engine.desk import Desk
from fundarb.engine.shut_out import met
from fundarb.errors import Unavailable

_HOUR = timedelta(hours=1)
_NOT_MENDED = frozenset({PositionState.EXPOSED, PositionState.UNCERTAIN})
_FREE = 3
"""Repairs in a row that may fail without a rest."""
_RESTS = (timedelta(seconds=30), timedelta(minutes=1))
_LONGEST_REST = _RESTS[-1]
"""A repair sends about ten orders at most, of the five a second that our budget has: ten naked positions that
all rest so long take a third of it, and none is naked much longer than it must be.
"""


@dataclass(frozen=True, slots=True)
class _Failed:
    """Repairs of one book in a row that the venue refused, and when (monotonic) the next one may be;
    ``away``: the last one did not reach it.
    """

    book: Book
    times: int
    again: timedelta
    away: bool


class Rests:
    """Which positions wait, of one desk."""

    def __init__(self, desk: Desk) -> None:
        """None of them yet."""
        self._desk = desk
        self._failed: dict[str, _Failed] = {}
        self._trying = ""

    def trying(self, position: PositionRecord) -> bool:
        """Whether one order of this position is to show that the venue can be reached again."""
        return self._trying == position.position_id

    def forget(self, position_id: str) -> None:
        """Its repairs count no more."""
        self._failed.pop(position_id, None)

    def rests(self, position: PositionRecord) -> bool:
        """Whether a repair would come to nothing as several did a short time ago. Another book makes other
        orders. A person's close asks for none of this.
        """
        failed, self._trying = self._failed.get(position.position_id), ""
        if failed is None or self._desk.clock.monotonic() >= failed.again:
            return False
        if failed.book != Book(position.spot_owned, position.contracts):
            return False
        if failed.away and self._answers():
            self._trying = position.position_id
            return False
        return True

    def _answers(self) -> bool:
        """Whether the venue answers a signed question."""
        try:
            with self._desk.hurried(self._desk.rules.t_hedge):
                self._desk.exchange.wallet()
        except Unavailable as error:
            met(self._desk, error)
            return False
        return True

    def remember(self, position: PositionRecord, *, away: bool) -> None:
        """Count repairs that the venue refused, or of which nobody knows what became of them; from the fourth
        on each waits twice as long as before. One that did not reach it counts for nothing: the next is due
        as soon as it answers.
        """
        if position.state not in _NOT_MENDED:
            self.forget(position.position_id)
            return
        before, now = self._failed.get(position.position_id), self._desk.clock.monotonic()
        book = Book(position.spot_owned, position.contracts)
        if before is not None and (now - before.again > _HOUR or before.book != book):
            before = None  # the doubt of then ended well, or it is another book's turn
        times = 0 if away else 1 if before is None else before.times + 1
        rest = timedelta() if times <= _FREE else _RESTS[min(times - _FREE, len(_RESTS)) - 1]
        again = now + (_LONGEST_REST if away else rest)
        if away and before is not None and self.trying(position):
            again = before.again
        self._failed[position.position_id] = _Failed(book, times, again, away)
