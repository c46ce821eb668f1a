"""Whose account the answers are of: behind the same address and key another venue may stand (a simulated one
that was started again), and nothing of it may be booked or decided upon.

The venue is asked after its answer, never before: an answer counts only if the account was confirmed since
the connection that carried it was opened. Asked again at least once a minute of the machine's time. A venue
that does not say is not taken for another one, but it is not ``sure`` either. Sends no order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from fundarb.clock import Clock
from fundarb.errors import OtherAccount, Problem, Unavailable
from fundarb.exchange.origin import Complaint

_EVERY = timedelta(minutes=1)
_LONGEST = timedelta(minutes=2)
"""A confirmation that is older says nothing."""
_AGAIN = timedelta(seconds=10)
"""A venue that did not say whose account this is, is not asked again at each answer."""


class Traffic(Protocol):
    """How often a connection was opened, and how often one that rested was found dead."""

    opened: int
    lost: int


@dataclass(frozen=True, slots=True)
class _Heard:
    """What the venue said, and what had happened to the connections until then."""

    uid: str
    opened: int
    lost: int
    at: timedelta


class Owner:
    """The account that a database belongs to, held against what the venue says."""

    def __init__(self, traffic: Callable[[], Traffic], machine: Clock) -> None:
        """Nobody's yet: every answer counts."""
        self._traffic = traffic
        self._machine = machine
        self._uid = ""
        self._complaint: Complaint = _other_account
        self._heard: _Heard | None = None
        self._asked: timedelta | None = None

    def belong(self, uid: str, complaint: Complaint | None = None) -> None:
        """From now on answers must be of this account; ``complaint`` words what to tell if they are not."""
        self._uid = uid
        self._complaint = complaint or _other_account

    def heard(self, uid: str) -> None:
        """The venue says whose account the key is of."""
        traffic = self._traffic()
        self._heard = _Heard(uid, traffic.opened, traffic.lost, self._machine.monotonic())

    def look(self, ask: Callable[[], object]) -> None:
        """After an answer: unless the account was confirmed on this connection lately, ``ask`` (which leads
        to ``heard``). ``OtherAccount`` if the venue names another; one that does not say is asked again
        later.
        """
        if not self._uid or self._confirmed() or self._just_asked():
            return
        try:
            ask()
        except Unavailable:
            self._asked = self._machine.monotonic()
            return
        self._asked = None
        if self._heard is not None and self._heard.uid != self._uid:
            raise OtherAccount(self._complaint(self._uid, self._heard.uid))

    def sure(self) -> bool:
        """Whether an order that adds exposure may leave: the account is confirmed, and no connection was lost
        since. Asks nobody.
        """
        if not self._uid:
            return True
        heard = self._heard
        if heard is None or heard.uid != self._uid or heard.lost != self._traffic().lost:
            return False
        return self._machine.monotonic() - heard.at < _LONGEST

    def _confirmed(self) -> bool:
        heard = self._heard
        if heard is None or heard.uid != self._uid or heard.opened != self._traffic().opened:
            return False
        return self._machine.monotonic() - heard.at < _EVERY

    def _just_asked(self) -> bool:
        return self._asked is not None and self._machine.monotonic() - self._asked < _AGAIN


def _other_account(expected: str, found: str) -> Problem:
    remedy = "bring the right venue back, or name that account's own database with --db"
    said = f"the database belongs to account {expected}, but the venue answers as {found}"
    return Problem("--db", said, remedy)
