"""The only hand that writes into the ledger: a journal with its entries, the holdings and the running totals
after it.

Owns the tables ``ledger_journals``, ``ledger_entries``, ``ledger_holdings`` and ``ledger_totals``. Knows
nothing of why something is booked; always part of the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from fundarb.core.instants import to_ms
from fundarb.core.ledger import Booked, Entry
from fundarb.crash import Point, reached
from fundarb.store.ledger_sql import Insert, Lookup, money, stored
from fundarb.store.ledger_tables import LedgerTables
from fundarb.store.session import Session

_JOURNAL: Final = ("key", "fact", "at", "booked_at", "symbol", "position_id", "leg", "slippage")
_ENTRY: Final = ("journal_id", "account", "coin", "amount", "value", "position_id", "leg")
_TOTAL: Final = ("position_id", "account", "coin", "leg")


class LedgerPen:
    """Writes journals of one database."""

    def __init__(self, session: Session, tables: LedgerTables) -> None:
        """On one session."""
        self._session = session
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
        self._journal_of = Lookup(session, tables.journals, columns=("id",), keys=("key",))

    def posted(self, key: str) -> bool:
        """Whether a fact is booked."""
        return self._journal_of(key) is not None

    def write(self, booked: Booked) -> None:
        """One journal, under its fact's own key: a second one of that key breaks a constraint."""
        journal = booked.journal
        number = self._journals(
            [
                stored(journal.key),
                stored(journal.fact),
                to_ms(journal.at),
                to_ms(self._session.clock.now()),
                stored(journal.symbol),
                journal.position_id,
                stored(journal.leg),
                stored(journal.slippage),
            ]
        )
        reached(Point.LEDGER_BETWEEN_ENTRIES)
        if journal.entries:
            self._write_entries(number, journal.entries)
        if booked.holdings:
            values: list[str] = []
            for key, held in booked.holdings.items():
                values += (key.owner, stored(key.asset), money(held.quantity), money(held.cost))
            self._holdings(values)

    def _write_entries(self, number: int, entries: Iterable[Entry]) -> None:
        """The entries of a journal, and the running totals after them."""
        rows: list[Any] = []
        totals: list[Any] = []
        for entry in entries:
            coin, position, leg = stored(entry.coin), entry.position_id, stored(entry.leg)
            amount = money(entry.amount)
            value = amount if entry.value is entry.amount else money(entry.value)
            rows += (number, entry.account.value, coin, amount, value, position, leg)
            totals += (position or "", entry.account.value, coin, leg or "", amount, value)
        self._entries(rows)
        self._totals(totals)
