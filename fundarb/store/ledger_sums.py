"""Exact sums over the ledger: the running totals as they stand, or the entries of a span. Changes nothing.

What is asked for without a span is answered from ``ledger_totals`` and costs the same whatever the history.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from itertools import chain
from typing import Any, Final, NamedTuple

from fundarb.core.instants import from_ms, to_ms
from fundarb.core.ledger import Account
from fundarb.core.market import Category
from fundarb.core.money import ZERO
from fundarb.core.orders import ExecKind, Leg, Side
from fundarb.store.fields import Unreadable, readable
from fundarb.store.ledger_days import DAY_MS, RESULTS, LedgerDays, gather

_TOTALS: Final = "SELECT position_id, account, coin, leg, amount, value FROM ledger_totals AS entry"
_ACCOUNTS: Final = {account.value: account for account in Account}
_LEGS: Final = {leg.value: leg for leg in Leg}
_SIDES: Final = {side.value: side for side in Side}
_LAST: Final = 2**63 - 1
_TRADED: Final = (
    "SELECT position_id, leg, side, quantity, value, time FROM executions "
    "WHERE position_id IS NOT NULL AND kind != ? ORDER BY time, key"
)
_BESIDE: Final = (
    "SELECT side, quantity, kind FROM executions WHERE position_id IS NULL AND category = ? AND symbol = ? "
    "AND time <= ? AND time >= (SELECT min(time) FROM executions WHERE position_id = ? AND category = ?)"
)


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


class Traded(NamedTuple):
    """One fill of ours, as far as it says how large a position was."""

    position_id: str
    leg: Leg
    side: Side
    quantity: Decimal
    value: Decimal
    time: datetime


class Realised(NamedTuple):
    """What one entry realised for a position (None: for none) in quote, a gain −; of which journal."""

    journal_id: int
    at: datetime
    position_id: str | None
    value: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxEntry:
    """An entry that a tax return may ask for, with its fact."""

    at: datetime
    key: str
    fact: str
    symbol: str
    account: Account
    coin: str
    amount: Decimal
    value: Decimal
    position_id: str | None
    leg: Leg | None


class LedgerSums(LedgerDays):
    """Sums over the ledger of one database."""

    def totals(self) -> tuple[Sum, ...]:
        """What the entries of every account add up to, wallets and costs too; from the running totals."""
        return tuple(_sum(row) for row in self._session.database.rows(_TOTALS, ()))

    def balances(self) -> dict[tuple[Account, str], Decimal]:
        """The trial balance: the sum of all amounts by account and coin; zero balances left out."""
        found: dict[tuple[Account, str], Decimal] = {}
        for item in self.totals():
            key = (item.account, item.coin)
            found[key] = found.get(key, ZERO) + item.amount
        return {key: amount for key, amount in found.items() if amount}

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
        booked_after: int = 0,
        booked_until: int | None = None,
    ) -> tuple[Sum, ...]:
        """Exact sums by position, account, coin and leg over the accounts that make a result (not wallet, not
        cost).

        ``since``/``until`` cut by the time of the fact, ``booked_after``/``booked_until`` by journal id.
        """
        if since is None and until is None and not booked_after and booked_until is None:
            found = self._session.database.rows(f"{_TOTALS} WHERE {RESULTS}", ())
            return tuple(_sum(row) for row in found)
        conditions, values = _booked(booked_after, booked_until)
        timed, times = _timed(since, until)
        join = "JOIN ledger_journals AS journal ON journal.id = entry.journal_id" if timed else ""
        key = "entry.position_id, entry.account, entry.coin, entry.leg"
        sql = (
            f"SELECT {key}, dsum(entry.amount), dsum(entry.value) FROM ledger_entries AS entry {join} "
            f"WHERE {' AND '.join([RESULTS, *conditions, *timed])} GROUP BY {key}"
        )
        return tuple(_sum(row) for row in self._session.database.rows(sql, [*values, *times]))

    def of_span(
        self, *, since: datetime | None = None, until: datetime | None = None, booked_after: int = 0
    ) -> tuple[Sum, ...]:
        """The same of ``[since, until)``, without what comes to nothing: where more lies inside than outside,
        the running totals less what lies outside.
        """
        if since is not None and until is not None and until <= since:
            return ()
        outside = ([] if since is None else [(None, since)]) + ([] if until is None else [(until, None)])
        all_of_it = self._journals()
        if 2 * sum(self._journals(*part) for part in outside) > all_of_it:
            found = self.sums(since=since, until=until, booked_after=booked_after)
            return tuple(item for item in found if item.amount or item.value)
        left = {_key(item): (item.amount, item.value) for item in self.sums()}
        parts = [self.sums(since=one, until=other, booked_after=booked_after) for one, other in outside]
        parts += [self.sums(booked_until=booked_after)] if booked_after else []
        for item in chain.from_iterable(parts):
            amount, value = item.amount.copy_negate(), item.value.copy_negate()
            gather(left, _key(item), amount=amount, value=value)
        return tuple(
            Sum(position_id=name, account=account, coin=coin, leg=leg, amount=amount, value=value)
            for (name, account, coin, leg), (amount, value) in left.items()
            if amount or value
        )

    def _journals(self, since: datetime | None = None, until: datetime | None = None) -> int:
        """How many journals there are of a span."""
        timed, times = _timed(since, until)
        where = f"WHERE {' AND '.join(timed)}" if timed else ""
        sql = f"SELECT count(*) FROM ledger_journals AS journal {where}"
        return int(self._session.database.row(sql, times)[0])

    def slippage(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> Mapping[str, Decimal]:
        """Slippage in quote by position, + = cost, over the fills that a decision stood behind."""
        return dict(self._slippage("journal.position_id", since, until=until))

    def slippage_by_day(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[tuple[datetime, Decimal], ...]:
        """Slippage in quote by the day (UTC) of the fill, over the fills that a decision stood behind."""
        found = self._slippage(f"journal.at / {DAY_MS}", since, until=until)
        return tuple((from_ms(day * DAY_MS), total) for day, total in found)

    def _slippage(
        self, key: str, since: datetime | None, *, until: datetime | None
    ) -> Iterator[tuple[Any, Decimal]]:
        timed, times = _timed(since, until)
        sql = (
            f"SELECT {key}, dsum(journal.slippage) FROM ledger_journals AS journal "
            f"WHERE {' AND '.join(['journal.slippage IS NOT NULL', *timed])} GROUP BY {key} ORDER BY 1"
        )
        for name, total in self._session.database.rows(sql, times):
            yield name, Decimal(total)

    def external_after(self, number: int) -> tuple[tuple[int, Decimal], ...]:
        """Deposits (+) and withdrawals (−) in quote, each with its journal's id, of those after one, in the
        order of booking.
        """
        sql = "SELECT journal_id, value FROM ledger_entries WHERE account = ? AND journal_id > ? ORDER BY id"
        rows = self._session.database.rows(sql, [Account.EXTERNAL.value, number])
        return tuple((journal, -Decimal(value)) for journal, value in rows)

    def traded_after(self, number: int, *, until: datetime | None = None) -> dict[str, datetime]:
        """The positions of which something was traded or let go by journals after one, before ``until``, and
        when first.
        """
        timed, times = _timed(None, until)
        owner = "COALESCE(journal.position_id, '')"  # else the index of positions is read, from its beginning
        sql = (
            f"SELECT {owner}, min(journal.at) FROM ledger_journals AS journal "
            f"WHERE journal.id > ? AND {owner} != '' "
            "AND journal.key NOT BETWEEN 'tx:' AND 'tx;' AND journal.key NOT BETWEEN 'dust:' AND 'dust;' "
            f"{''.join(f'AND {text} ' for text in timed)}GROUP BY {owner}"
        )
        rows = self._session.database.rows(sql, [number, *times])
        return {position: from_ms(at) for position, at in rows}

    def realised(self, owners: Collection[str | None], *, booked_after: int = 0) -> Iterator[Realised]:
        """What was realised for these positions (None: for none), entry by entry, by journals after one."""
        sql = (
            "SELECT journal.id, journal.at, entry.position_id, entry.value FROM ledger_entries AS entry "
            "JOIN ledger_journals AS journal ON journal.id = entry.journal_id "
            "WHERE entry.account = ? AND entry.journal_id > ?"
        )
        rows = self._session.database.rows(sql, [Account.REALISED.value, booked_after])
        with readable("an entry of the ledger"):
            for number, at, position_id, value in rows:
                if position_id in owners:
                    yield Realised(number, from_ms(at), position_id, Decimal(value))

    def traded(self, position_ids: Collection[str]) -> Iterator[Traded]:
        """The fills of these positions, oldest first."""
        rows = self._session.database.rows(_TRADED, [ExecKind.FUNDING.value])
        with readable("an execution"):
            for position, leg, side, quantity, value, at in rows:
                if position in position_ids:
                    yield Traded(
                        position,
                        _LEGS[leg],
                        _SIDES[side],
                        Decimal(quantity),
                        Decimal(value),
                        from_ms(at),
                    )

    def strangers_beside(
        self, position_id: str, symbol: str, *, until: datetime | None = None
    ) -> Decimal | None:
        """What strangers bought (+) less what they sold of a contract since our position first traded it, up
        to and at an instant; None if they never did.
        """
        linear, end = Category.LINEAR.value, _LAST if until is None else to_ms(until)
        rows = self._session.database.rows(_BESIDE, [linear, symbol, end, position_id, linear])
        with readable("an execution"):
            moved = [
                _SIDES[side].sign * Decimal(quantity)
                for side, quantity, kind in rows
                if ExecKind(kind).trades
            ]
        return sum(moved, ZERO) if moved else None

    def tax_entries(self, *, until: datetime | None = None) -> tuple[TaxEntry, ...]:
        """Every entry but those that only move costs about, in the order of time; an exchange of coins of
        which the log has several rows stands together.
        """
        timed, times = _timed(None, until)
        sql = (
            "SELECT journal.at, journal.key, journal.fact, journal.symbol, entry.account, entry.coin, "
            "entry.amount, entry.value, entry.position_id, entry.leg FROM ledger_entries AS entry "
            "JOIN ledger_journals AS journal ON journal.id = entry.journal_id "
            f"WHERE {' AND '.join(['entry.account != ?', *timed])} ORDER BY journal.at, journal.key, entry.id"
        )
        rows = self._session.database.rows(sql, [Account.POSITION_COST.value, *times])
        with readable("an entry of the ledger"):
            return tuple(
                TaxEntry(
                    at=from_ms(at),
                    key=key,
                    fact=fact,
                    symbol=symbol,
                    account=Account(account),
                    coin=coin,
                    amount=Decimal(amount),
                    value=Decimal(value),
                    position_id=position,
                    leg=Leg(leg) if leg else None,
                )
                for at, key, fact, symbol, account, coin, amount, value, position, leg in rows
                if amount != "0"
            )

    def drifted(self) -> tuple[str, ...]:
        """Where the running totals are not what the entries add up to, in words: nowhere, unless the file was
        tampered with.
        """
        key = "entry.position_id, entry.account, entry.coin, entry.leg"
        sql = (
            f"SELECT {key}, dsum(entry.amount), dsum(entry.value) FROM ledger_entries AS entry GROUP BY {key}"
        )
        found = {_key(item): item for item in (_sum(row) for row in self._session.database.rows(sql, ()))}
        kept = {_key(item): item for item in self.totals()}
        wrong = [
            f"{account} {coin}" + (f" of {position}" if position else "")
            for position, account, coin, _ in sorted({*found, *kept}, key=str)
            if found.get((position, account, coin, _)) != kept.get((position, account, coin, _))
        ]
        return (*wrong, *self.drifted_days())


def _key(item: Sum) -> tuple[str | None, Account, str, Leg | None]:
    return item.position_id, item.account, item.coin, item.leg


def _sum(row: Sequence[str]) -> Sum:
    """From position, account, coin, leg, amount and value, as the database has them."""
    position_id, account, coin, leg, amount, value = row
    try:
        return Sum(
            position_id=position_id or None,
            account=_ACCOUNTS[account],
            coin=coin,
            leg=_LEGS[leg] if leg else None,
            amount=Decimal(amount),
            value=Decimal(value),
        )
    except (KeyError, ValueError, InvalidOperation) as error:
        raise Unreadable(" ".join(map(str, row)), "a sum of the ledger") from error


def _booked(after: int, until: int | None) -> tuple[list[str], list[object]]:
    """Conditions on the order of booking, and their values."""
    conditions: list[str] = []
    values: list[object] = []
    if after:
        conditions.append("entry.journal_id > ?")
        values.append(after)
    if until is not None:
        conditions.append("entry.journal_id <= ?")
        values.append(until)
    return conditions, values


def _timed(since: datetime | None, until: datetime | None) -> tuple[list[str], list[object]]:
    """Conditions on the time of the fact, and their values."""
    wanted = (("journal.at >= ?", since), ("journal.at < ?", until))
    given = [(text, to_ms(instant)) for text, instant in wanted if instant is not None]
    return [text for text, _ in given], [value for _, value in given]
