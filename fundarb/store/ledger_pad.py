"""What a batch of postings holds back: journals and log rows that are ready to be written, and the holdings
after them.

A batch writes each table once instead of once for every fact, and adds up what many entries do to a running
total before it touches that total. Nothing here reaches the database: what is never written leaves no trace.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from fundarb.core.instants import to_ms
from fundarb.core.ledger import Account, Booked, Entry, Holding, HoldingKey
from fundarb.core.orders import Leg
from fundarb.errors import InvariantBroken
from fundarb.store.ledger_days import DAY_MS, RESULT_ACCOUNTS, DayKey, gather
from fundarb.store.session import Session

TotalKey = tuple[str, Account, str, Leg | None]
"""Position ("" for none), account, coin and leg."""


class Pad:
    """Facts of one transaction that are not written yet, with everything that follows from them."""

    def __init__(self, depth: int) -> None:
        """``depth`` is how many blocks of the transaction are open where its facts are posted."""
        self.depth = depth
        self.failed = False
        """Whether a posting failed half way: then nothing of the batch may become durable."""
        self.known: dict[HoldingKey, Holding] = {}
        """Holdings as they are by now, read or changed: nobody else changes them during a transaction."""
        self.rows: dict[str, Sequence[Any]] = {}
        """Rows of the transaction log by key, as the columns keep them, the state last."""
        self.unseen: set[str] = set()
        """Keys of log rows that the database is known not to have: nobody else writes one meanwhile."""
        self.journals: dict[str, Sequence[Any]] = {}
        self.entries: list[tuple[str, Entry]] = []
        self.totals: dict[TotalKey, tuple[Decimal, Decimal]] = {}
        self.days: dict[DayKey, tuple[Decimal, Decimal]] = {}
        self.changed: set[HoldingKey] = set()

    def put(self, booked: Booked, head: Sequence[Any]) -> None:
        """Hold a journal back; ``head`` is its own row as the columns keep it."""
        key = booked.journal.key
        if key in self.journals:
            raise InvariantBroken(f"journal {key} was booked twice")
        self.journals[key] = head
        day = to_ms(booked.journal.at) // DAY_MS
        for entry in booked.journal.entries:
            account, coin, owner = entry.account, entry.coin, entry.position_id
            amount, value = entry.amount, entry.value
            self.entries.append((key, entry))
            gather(self.totals, (owner or "", account, coin, entry.leg), amount=amount, value=value)
            if account in RESULT_ACCOUNTS:
                gather(self.days, DayKey(day, owner is not None, account, coin), amount=amount, value=value)
        for owned, after in booked.holdings.items():
            self.known[owned] = after
            self.changed.add(owned)

    def written(self) -> None:
        """The journals are in the database."""
        for held in (self.journals, self.entries, self.totals, self.days, self.changed):
            held.clear()


class _Open(threading.local):
    """The batch of this thread: another thread neither sees it nor writes it."""

    pad: Pad | None = None


class Batches:
    """The batch that is open on one database, if any."""

    def __init__(self, session: Session) -> None:
        """On one session."""
        self._session = session
        self._open = _Open()

    @property
    def pad(self) -> Pad | None:
        """What the open batch of this thread holds back; None without one."""
        return self._open.pad

    @contextmanager
    def batch(self) -> Iterator[Pad]:
        """A block of postings in one transaction; whoever opens it writes what its pad holds, at its end."""
        if self._open.pad is not None:
            raise InvariantBroken("a batch of postings inside another")
        with self._session.transaction():
            self._open.pad = Pad(self._session.depth)
            try:
                yield self._open.pad
            finally:
                self._open.pad = None

    @contextmanager
    def posting(self) -> Iterator[None]:
        """One fact, wholly or not at all: a transaction of its own, or its part of the open batch.

        A block inside a batch might be undone alone, and would leave on the pad what it undid; so nothing is
        posted there.
        """
        pad = self._open.pad
        if pad is None:
            with self._session.transaction():
                yield
            return
        self.require_level(pad)
        done = False
        try:
            yield
            done = True
        finally:
            pad.failed = pad.failed or not done

    def require_level(self, pad: Pad) -> None:
        """Raise ``InvariantBroken`` inside a block of the batch's transaction, or after a posting that
        failed.
        """
        if pad.failed:
            raise InvariantBroken("a posting of this batch failed half way: none of it can be kept")
        if self._session.depth != pad.depth:
            raise InvariantBroken("the ledger is neither written nor read in a block inside a batch")
