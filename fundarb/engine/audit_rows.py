"""The invariant about what reports show beside the entries: each row that is kept (an execution, a row of
the venue's log, a settlement, a point of the equity curve) says what was booked of it, or what follows from
it.

Not judged is what nothing else tells: the slippage of a fill, as the mid of its decision is not kept, and
what contracts had gained when the books were opened.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Final

from fundarb.core.account import Transaction
from fundarb.core.ledger import Account, Journal
from fundarb.core.money import ZERO, cash, plain
from fundarb.core.orders import Execution, Leg
from fundarb.core.postings import quote_coin
from fundarb.core.records import PositionRecord
from fundarb.core.transactions import AGAIN, MATCHED_KINDS, SETTLEMENT, account_of
from fundarb.engine import equity_points
from fundarb.engine.audit_facts import Facts
from fundarb.engine.collect import read_until
from fundarb.engine.equity import book_value
from fundarb.engine.opening import SOURCES
from fundarb.store.database import Store

_PAGE: Final = 400
_AHEAD: Final = timedelta(hours=1)
"""Clocks may differ; nobody has read the log of a time that is further away."""


def executions_booked(store: Store, position: PositionRecord, *, rows: Sequence[Execution]) -> Iterator[str]:
    """Each execution of a position is in the ledger, with the coins, the money and the fee that it says."""
    journals = {journal.key: journal for journal in store.ledger.read.of_keys(row.key for row in rows)}
    for row in rows:
        name = f"execution {row.exec_id} of {row.link_id or 'the venue'}"
        if row.key not in journals:
            yield f"{name} is not in the ledger"
            continue
        journal = journals[row.key]
        leg = Leg.PERP if row.category is Leg.PERP.category else Leg.SPOT
        fee_coin = row.fee_coin or quote_coin(position, leg)
        fees = _amounts(journal, Account.FEES)
        if fees != _some({fee_coin: row.fee}):
            yield f"{name} has a fee of {plain(row.fee)} {fee_coin}, the ledger {_listed(fees)}"
        if journal.fact != row.raw_kind or journal.at != row.time:
            yield f"{name} is a {row.raw_kind} of {row.time}, in the ledger a {journal.fact} of {journal.at}"
        if leg is Leg.SPOT:
            sign = row.side.sign
            moved: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
            moved[position.base] += sign * row.quantity
            moved[quote_coin(position, leg)] -= sign * row.value
            moved[fee_coin] -= row.fee
            booked = _amounts(journal, Account.WALLET)
            if booked != _some(moved):
                yield f"{name} moved {_listed(_some(moved))}, in the ledger {_listed(booked)}"


def rows_booked(store: Store) -> Iterator[str]:
    """Each row of the venue's log that was booked by itself stands in the ledger as it is."""
    rows = store.ledger.log.booked()
    for start in range(0, len(rows), _PAGE):
        part = rows[start : start + _PAGE]
        keys = (key for row in part for key in (row.key, row.key + AGAIN))
        journals = {journal.key: journal for journal in store.ledger.read.of_keys(keys)}
        for row in part:
            journal = journals.get(row.key + AGAIN) or journals.get(row.key)
            if journal is None:
                yield f"the row {row.key} is not in the ledger"
            elif (journal.fact, journal.at) != (row.kind, row.time):
                yield f"{row.key} is booked as a {journal.fact} of {journal.at}"
            elif _by_account(journal, row.coin) not in _ways(row):
                yield f"{row.key} does not say what the ledger has of it"


def _ways(row: Transaction) -> Iterator[Mapping[Account, Decimal]]:
    """What a row moves on each account: booked as it is called, or as a stranger's trade."""
    mine = [(Account.FUNDING, row.funding), (Account.REALISED, row.cash_flow)]
    if row.kind != SETTLEMENT:
        mine = [(account_of(row.kind), row.cash_flow + row.funding)]
    yield _moved(row, mine)
    if row.kind in MATCHED_KINDS:
        yield _moved(row, [(Account.REALISED, row.cash_flow + row.funding)])


def _moved(row: Transaction, parts: Sequence[tuple[Account, Decimal]]) -> Mapping[Account, Decimal]:
    found: defaultdict[Account, Decimal] = defaultdict(lambda: ZERO, {Account.WALLET: row.change})
    for account, amount in parts:
        found[account] -= amount
    found[Account.FEES] += row.fee
    found[Account.SUSPENSE] -= row.change - (row.cash_flow + row.funding - row.fee)
    return {account: amount for account, amount in found.items() if amount}


def settlements_follow(store: Store) -> Iterator[str]:
    """What was to be expected of each settlement follows from its contracts, its mark and its rate."""
    for item in store.ledger.log.settlements():
        if item.mark is None or item.rate is None or item.expected is None:
            continue
        follows = cash(-item.contracts * item.mark * item.rate)
        if item.expected != follows:
            when = f"{item.symbol} at {item.settled_at:%Y-%m-%d %H:%M}"
            yield f"{item.position_id}: {plain(item.expected)} expected of {when}, {plain(follows)} follows"


def points_follow(store: Store, tolerance: Decimal) -> Iterator[str]:
    """Each point of the equity curve is what the books were worth then, what was unrealised, and what the
    venue held beyond both.
    """
    book, number = ZERO, 0
    for point in sorted(equity_points.points(store), key=lambda one: one.booked_until):
        if point.booked_until > number:
            since, number = number, point.booked_until
            book += book_value(store.ledger.read.sums(booked_after=since, booked_until=number))
        rest = point.equity - point.unrealised - point.gap - book
        if abs(rest) > tolerance:
            yield f"{plain(rest)} USDT of the equity of {point.at:%Y-%m-%d %H:%M} are not explained"


def marks_hold(facts: Facts) -> Iterator[str]:
    """The opening ends with its last journal; nothing has been read of a time to come."""
    store = facts.store
    last = store.ledger.read.last_id("opening:")
    if last and last != store.ledger.opening_id:
        yield f"the opening ends with journal {last}, it is noted to end with {store.ledger.opening_id}"
    if facts.truth is None or facts.truth.at is None:
        return  # our own clock may be wrong, or that of the books
    now = facts.truth.at
    for source in SOURCES:
        cursor = read_until(store, source)
        if cursor is not None and cursor > now + _AHEAD:
            yield f"{source} is noted as read until {cursor:%Y-%m-%d %H:%M}, which is to come"


def _by_account(journal: Journal, coin: str) -> Mapping[Account, Decimal]:
    found: defaultdict[Account, Decimal] = defaultdict(lambda: ZERO)
    for entry in journal.entries:
        if entry.coin == coin:
            found[entry.account] += entry.amount
    return {account: amount for account, amount in found.items() if amount}


def _amounts(journal: Journal, account: Account) -> dict[str, Decimal]:
    """What a journal moves on one account, by coin."""
    found: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
    for entry in journal.entries:
        if entry.account is account:
            found[entry.coin] += entry.amount
    return _some(found)


def _some(amounts: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {coin: amount for coin, amount in amounts.items() if amount}


def _listed(amounts: Mapping[str, Decimal]) -> str:
    return ", ".join(f"{plain(amount)} {coin}" for coin, amount in sorted(amounts.items())) or "none"
