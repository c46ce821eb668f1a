"""The only hand that writes into the ledger: journals with their entries, the holdings and the running totals
after them.

Owns the tables ``ledger_journals``, ``ledger_entries``, ``ledger_holdings``, ``ledger_totals`` and
``ledger_days``. Knows nothing of why something is booked; always part of the caller's transaction.
"""

from __future__ import annotations

from typing import Any, Final

from fundarb.core.instants import to_ms
from fundarb.core.ledger import Booked, Entry, Holding, HoldingKey
from fundarb.crash import Point, reached
from fundarb.store.ledger_pad import Batches, Pad
from fundarb.store.ledger_sql import Insert, Lookup, money, stored
from fundarb.store.ledger_tables import LedgerTables
from fundarb.store.session import Session

_JOURNAL: Final = ("key", "fact", "at", "booked_at", "symbol", "position_id", "leg", "slippage")
_ENTRY: Final = ("journal_id", "account", "coin", "amount", "value", "position_id", "leg")
_TOTAL: Final = ("position_id", "account", "coin", "leg")
_DAY: Final = ("day", "ours", "account", "coin")
_LAST: Final = "SELECT max(id) FROM ledger_journals"
_NUMBERS: Final = "SELECT key, id FROM ledger_journals WHERE id > {}"


class LedgerPen:
    """Writes journals of one database."""

    def __init__(self, session: Session, tables: LedgerTables, *, batches: Batches) -> None:
        """On one session; what ``batches`` holds back is written by ``flush``."""
        self._session = session
        self._batches = batches
        self._journals = Insert(session, tables.journals, columns=_JOURNAL)
        self._entries = Insert(session, tables.entries, columns=_ENTRY)
        self._holdings = Insert(
            session, tables.holdings, columns=("owner", "asset", "quantity", "cost"), keys=("owner", "asset")
        )
        self._totals = Insert(
            session,
            tables.totals,
            columns=(*_TOTAL, "amount", "value"),
            keys=_TOTAL,
            added=("amount", "value"),
        )
        self._days = Insert(
            session,
            tables.days,
            columns=(*_DAY, "amount", "value"),
            keys=_DAY,
            added=("amount", "value"),
        )
        self._numbers = _NUMBERS.format(session.database.param)
        self._journal_of = Lookup(session, tables.journals, columns=("id",), keys=("key",))
        self._holding_of = Lookup(
            session, tables.holdings, columns=("quantity", "cost"), keys=("owner", "asset")
        )

    def posted(self, key: str) -> bool:
        """Whether a fact is booked, in the open batch or before it."""
        return self.held_back(key) or self._journal_of(key) is not None

    def held_back(self, key: str) -> bool:
        """Whether a fact is booked in the open batch and not yet in the database."""
        pad = self._batches.pad
        return pad is not None and key in pad.journals

    def holding(self, key: HoldingKey) -> Holding:
        """What an owner holds of an asset, after the open batch; empty if nothing was ever booked."""
        pad = self._batches.pad
        held = None if pad is None else pad.known.get(key)
        if held is None:
            row = self._holding_of(key.owner, key.asset)
            held = Holding() if row is None else Holding(*row)
            if pad is not None:
                pad.known[key] = held
        return held

    def write(self, booked: Booked) -> None:
        """One journal, under its fact's own key, now or with the rest of the batch; a second one of that key
        is refused.
        """
        journal = booked.journal
        head = (
            stored(journal.key),
            stored(journal.fact),
            to_ms(journal.at),
            to_ms(self._session.clock.now()),
            stored(journal.symbol),
            journal.position_id,
            stored(journal.leg),
            stored(journal.slippage),
        )
        pad = self._batches.pad
        if pad is not None:
            pad.put(booked, head)
            return
        pad = Pad(self._session.depth)
        pad.put(booked, head)
        self.flush(pad)

    def flush(self, pad: Pad) -> None:
        """Write what a pad holds: each table once, each running total once."""
        if not pad.journals:
            return
        last = self._session.database.row(_LAST, ())[0] or 0
        self._journals(list(pad.journals.values()))
        reached(Point.LEDGER_BETWEEN_ENTRIES)
        numbers = dict(self._session.database.rows(self._numbers, (last,)))
        self._entries([_entry(numbers[key], entry) for key, entry in pad.entries])
        self._holdings(
            [
                (key.owner, stored(key.asset), money(held.quantity), money(held.cost))
                for key, held in ((key, pad.known[key]) for key in pad.changed)
            ]
        )
        self._totals(
            [
                (position, str(account), stored(coin), stored(leg) or "", money(amount), money(value))
                for (position, account, coin, leg), (amount, value) in pad.totals.items()
            ]
        )
        self._days(
            [
                (day, int(ours), str(account), stored(coin), money(amount), money(value))
                for (day, ours, account, coin), (amount, value) in pad.days.items()
            ]
        )
        pad.written()


def _entry(number: int, entry: Entry) -> tuple[Any, ...]:
    amount = money(entry.amount)
    value = amount if entry.value is entry.amount else money(entry.value)
    coin, leg = stored(entry.coin), stored(entry.leg)
    return (number, str(entry.account), coin, amount, value, entry.position_id, leg)
