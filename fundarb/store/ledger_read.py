"""Reading the ledger: journals, holdings, and exact sums. Changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import peewee

from fundarb.core.ledger import Account, Entry, Holding, HoldingKey, Journal
from fundarb.core.money import ZERO
from fundarb.core.orders import Leg
from fundarb.store.fields import dsum
from fundarb.store.ledger_sql import Lookup
from fundarb.store.ledger_tables import LedgerTables
from fundarb.store.session import Session

_RESULT_ACCOUNTS: Final = (
    Account.REALISED,
    Account.FEES,
    Account.FUNDING,
    Account.INTEREST,
    Account.EXTERNAL,
    Account.LOAN,
    Account.DUST,
    Account.SUSPENSE,
)
_PAGE: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum:
    """What one account gathered in one coin for one position and leg: amount and its value in quote,
    debit +.
    """

    position_id: str | None
    account: Account
    coin: str
    leg: Leg | None
    amount: Decimal
    value: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """The result of one journal on one account, for reports by time: value in quote, debit +."""

    journal_id: int
    at: datetime
    symbol: str
    position_id: str | None
    account: Account
    coin: str
    amount: Decimal
    value: Decimal


class LedgerReader:
    """Queries over the ledger of one database."""

    def __init__(self, session: Session, tables: LedgerTables) -> None:
        """On one session."""
        self._session = session
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
        rows = self._session.rows(self._tables.holdings.select())
        found = {
            HoldingKey(row["owner"], row["asset"]): Holding(row["quantity"], row["cost"]) for row in rows
        }
        return {key: holding for key, holding in found.items() if holding != Holding()}

    def last_id(self) -> int:
        """The id of the newest journal, zero without any: ids grow in the order of booking."""
        table = self._tables.journals
        return int(self._session.scalar(table.select(peewee.fn.MAX(table.id))) or 0)

    def count(self) -> int:
        """How many entries there are."""
        table = self._tables.entries
        return int(self._session.scalar(table.select(peewee.fn.COUNT(table.id))))

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
        self, *, since: datetime | None = None, until: datetime | None = None, position_id: str | None = None
    ) -> Iterator[Journal]:
        """The journals of facts in ``[since, until)``, in the order of booking, read page by page."""
        table, conditions = self._tables.journals, []
        if since is not None:
            conditions.append(table.at >= since)
        if until is not None:
            conditions.append(table.at < until)
        if position_id is not None:
            conditions.append(table.position_id == position_id)
        return self._read(*conditions)

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

    def balances(self) -> dict[tuple[Account, str], Decimal]:
        """The trial balance: the sum of all amounts by account and coin; zero balances left out."""
        table = self._tables.entries
        query = table.select(table.account, table.coin, dsum(table.amount).alias("total")).group_by(
            table.account, table.coin
        )
        return {
            (row["account"], row["coin"]): row["total"] for row in self._session.rows(query) if row["total"]
        }

    def wallet(self) -> dict[str, Decimal]:
        """What the venue's wallet should hold of each coin."""
        return {
            coin: total for (account, coin), total in self.balances().items() if account is Account.WALLET
        }

    def sums(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        booked_after: int | None = None,
        booked_until: int | None = None,
    ) -> tuple[Sum, ...]:
        """Exact sums by position, account, coin and leg over the accounts that make a result (not wallet, not
        cost).

        ``since``/``until`` cut by the time of the fact, ``booked_after``/``booked_until`` by journal id.
        """
        entries, journals = self._tables.entries, self._tables.journals
        groups = (entries.position_id, entries.account, entries.coin, entries.leg)
        query = entries.select(
            *groups, dsum(entries.amount).alias("amount"), dsum(entries.value).alias("value")
        )
        conditions: list[Any] = [entries.account.in_(_RESULT_ACCOUNTS)]
        if since is not None or until is not None:
            query = query.join(journals, on=(journals.id == entries.journal_id))
            conditions += [journals.at >= since] if since is not None else []
            conditions += [journals.at < until] if until is not None else []
        conditions += [entries.journal_id > booked_after] if booked_after is not None else []
        conditions += [entries.journal_id <= booked_until] if booked_until is not None else []
        return tuple(Sum(**row) for row in self._session.rows(query.where(*conditions).group_by(*groups)))

    def movements(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[Movement, ...]:
        """Every entry on an account that makes a result, with the time of its fact, oldest first."""
        entries, journals = self._tables.entries, self._tables.journals
        query = (
            entries.select(
                entries.journal_id,
                journals.at,
                journals.symbol,
                entries.position_id,
                entries.account,
                entries.coin,
                entries.amount,
                entries.value,
            )
            .join(journals, on=(journals.id == entries.journal_id))
            .where(entries.account.in_(_RESULT_ACCOUNTS))
        )
        query = query.where(journals.at >= since) if since is not None else query
        query = query.where(journals.at < until) if until is not None else query
        return tuple(Movement(**row) for row in self._session.rows(query.order_by(journals.at, entries.id)))

    def slippage(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> Mapping[str, Decimal]:
        """Slippage in quote by position, + = cost, over the fills that a decision stood behind."""
        table = self._tables.journals
        query = table.select(table.position_id, dsum(table.slippage).alias("total")).where(
            table.slippage.is_null(False)
        )
        query = query.where(table.at >= since) if since is not None else query
        query = query.where(table.at < until) if until is not None else query
        return {
            row["position_id"]: row["total"] for row in self._session.rows(query.group_by(table.position_id))
        }

    def slippage_by_time(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[tuple[datetime, Decimal], ...]:
        """Slippage in quote of every fill that a decision stood behind, with its time, oldest first."""
        table = self._tables.journals
        query = table.select(table.at, table.slippage).where(table.slippage.is_null(False))
        query = query.where(table.at >= since) if since is not None else query
        query = query.where(table.at < until) if until is not None else query
        return tuple((row["at"], row["slippage"]) for row in self._session.rows(query.order_by(table.at)))

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
