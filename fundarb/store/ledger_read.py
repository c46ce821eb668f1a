"""Reading the ledger: journals, holdings, and proofs that nobody else wrote into it. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from functools import reduce
from operator import or_
from typing import Any, Final

import peewee

from fundarb.core.ledger import Account, Entry, Holding, HoldingKey, Journal
from fundarb.core.money import ZERO
from fundarb.store.fields import dsum
from fundarb.store.ledger_anew import Anew, booked_anew
from fundarb.store.ledger_hash import digest
from fundarb.store.ledger_sql import Lookup
from fundarb.store.ledger_sums import LedgerSums
from fundarb.store.ledger_tables import LedgerTables
from fundarb.store.session import Session

_PAGE: Final = 400


class LedgerReader(LedgerSums):
    """Queries over the ledger of one database."""

    def __init__(self, session: Session, tables: LedgerTables) -> None:
        """On one session."""
        super().__init__(session)
        self._tables = tables
        self._holding = Lookup(
            session, tables.holdings, columns=("quantity", "cost"), keys=("owner", "asset")
        )

    def holding(self, key: HoldingKey) -> Holding:
        """What an owner holds of an asset; empty if nothing was ever booked."""
        row = self._holding(key.owner, key.asset)
        return Holding() if row is None else Holding(*row)

    def holdings(self) -> dict[HoldingKey, Holding]:
        """Every holding that is not empty."""
        sql = (
            "SELECT owner, asset, quantity, cost FROM ledger_holdings "
            "WHERE NOT (quantity = '0' AND cost = '0')"
        )
        return {
            HoldingKey(owner, asset): Holding(Decimal(quantity), Decimal(cost))
            for owner, asset, quantity, cost in self._session.database.rows(sql, ())
        }

    def last_id(self, prefix: str = "") -> int:
        """The id of the newest journal (of those whose key starts so), zero without any: ids grow in the
        order of booking.
        """
        if not prefix:
            return int(self._session.database.row("SELECT max(id) FROM ledger_journals", ())[0] or 0)
        table = self._tables.journals
        newest = table.select(peewee.fn.MAX(table.id)).where(table.key.startswith(prefix))
        return int(self._session.scalar(newest) or 0)

    def count(self) -> int:
        """How many entries there are."""
        return int(self._session.database.row("SELECT count(*) FROM ledger_entries", ())[0])

    def wallet_change(self, key: str, coin: str) -> Decimal:
        """What the booked fact of a key did to the wallet of one coin; zero if it is not booked."""
        sql = (
            "SELECT entry.amount FROM ledger_journals AS journal "
            "JOIN ledger_entries AS entry ON entry.journal_id = journal.id "
            "WHERE journal.key = ? AND entry.account = ? AND entry.coin = ?"
        )
        rows = self._session.database.rows(sql, [key, Account.WALLET.value, coin])
        return sum((Decimal(amount) for (amount,) in rows), ZERO)

    def count_keys(self, prefix: str) -> int:
        """How many journals have a key that starts so."""
        table = self._tables.journals
        return int(
            self._session.scalar(table.select(peewee.fn.COUNT(table.id)).where(table.key.startswith(prefix)))
        )

    def journal(self, key: str) -> Journal | None:
        """One journal by its fact's key."""
        return next(self._read(self._tables.journals.key == key), None)

    def journals(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        position_id: str | None = None,
        starts: Iterable[str] = (),
    ) -> Iterator[Journal]:
        """The journals of facts in ``[since, until)``, in the order of booking, read page by page; with
        ``starts`` only those whose key starts with one of them.
        """
        table, conditions = self._tables.journals, []
        if since is not None:
            conditions.append(table.at >= since)
        if until is not None:
            conditions.append(table.at < until)
        if position_id is not None:
            conditions.append(table.position_id == position_id)
        if beginnings := [table.key.startswith(start) for start in starts]:
            conditions.append(reduce(or_, beginnings))
        return self._read(*conditions)

    def of_keys(self, keys: Iterable[str]) -> Iterator[Journal]:
        """The journals of facts by their keys, as far as they are booked; only these are read."""
        wanted = list(keys)
        for start in range(0, len(wanted), _PAGE):
            yield from self._read(self._tables.journals.key.in_(wanted[start : start + _PAGE]))

    def anew(self) -> tuple[Anew, ...]:
        """The entries of facts that were booked more than once, because their owner changed."""
        return booked_anew(self._session)

    def _read(self, *conditions: Any) -> Iterator[Journal]:
        journals, entries = self._tables.journals, self._tables.entries
        last = 0
        while True:
            query = (
                journals.select().where(journals.id > last, *conditions).order_by(journals.id).limit(_PAGE)
            )
            heads = self._session.rows(query)
            if not heads:
                return
            last = heads[-1]["id"]
            by_journal: dict[int, list[Entry]] = {}
            inside = entries.journal_id.in_([head["id"] for head in heads])
            for row in self._session.rows(entries.select().where(inside).order_by(entries.id)):
                by_journal.setdefault(row["journal_id"], []).append(_entry(row))
            for head in heads:
                yield _journal(head, by_journal.get(head["id"], []))
            if len(heads) < _PAGE:
                return

    def digest(self) -> str:
        """The ledger hash: equal for the same facts, in whatever order they were booked."""
        return digest(self._session)

    def unbalanced(self) -> tuple[str, ...]:
        """Keys of journals that do not sum to zero per coin or in value: none, unless the file was tampered
        with.
        """
        entries, journals = self._tables.entries, self._tables.journals
        columns = (
            entries.journal_id,
            entries.coin,
            dsum(entries.amount).alias("amount"),
            dsum(entries.value).alias("value"),
        )
        wrong: dict[int, Decimal] = {}
        values: dict[int, Decimal] = {}
        for row in self._session.rows(entries.select(*columns).group_by(entries.journal_id, entries.coin)):
            number = row["journal_id"]
            values[number] = values.get(number, ZERO) + row["value"]
            if row["amount"]:
                wrong[number] = row["amount"]
        numbers = sorted(set(wrong) | {number for number, value in values.items() if value})
        if not numbers:
            return ()
        query = journals.select(journals.key).where(journals.id.in_(numbers)).order_by(journals.id)
        return tuple(row["key"] for row in self._session.rows(query))


def _entry(row: Mapping[str, Any]) -> Entry:
    return Entry(
        account=row["account"],
        coin=row["coin"],
        amount=row["amount"],
        value=row["value"],
        position_id=row["position_id"],
        leg=row["leg"],
    )


def _journal(row: Mapping[str, Any], entries: list[Entry]) -> Journal:
    return Journal(
        key=row["key"],
        fact=row["fact"],
        at=row["at"],
        symbol=row["symbol"],
        entries=tuple(entries),
        position_id=row["position_id"],
        leg=row["leg"],
        slippage=row["slippage"],
    )
