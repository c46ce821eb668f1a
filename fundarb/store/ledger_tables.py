"""The ledger's tables as peewee models, made anew for each database; keys, indexes and triggers stand in
migrations 2 to 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import peewee

from fundarb.core.ledger import Account
from fundarb.core.orders import Leg, Side
from fundarb.store.fields import DecimalText, Flag, Instant, Integer, Text, Word
from fundarb.store.tables import base_model


class RowState(StrEnum):
    """What became of a row of the transaction log.

    OPENING: it happened before the books were opened, its effect is in the opening balance. POSTED: booked by
    itself. MATCHED: it repeats an execution of ours. FOREIGN: a trade of somebody else. WAITING: a trade
    whose execution is not known yet.
    """

    OPENING = "opening"
    POSTED = "posted"
    MATCHED = "matched"
    FOREIGN = "foreign"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class LedgerTables:
    """The models of one database."""

    journals: Any
    entries: Any
    holdings: Any
    totals: Any
    days: Any
    transactions: Any
    settlements: Any


def make_ledger_tables(database: Any) -> LedgerTables:
    """The models of one database."""
    base = base_model(database)
    return LedgerTables(
        journals=_journals(base),
        entries=_entries(base),
        holdings=_holdings(base),
        totals=_totals(base),
        days=_days(base),
        transactions=_transactions(base),
        settlements=_settlements(base),
    )


def _journals(base: Any) -> Any:
    class LedgerJournals(base):
        id = peewee.AutoField()
        key = Text()
        fact = Text()
        at = Instant()
        booked_at = Instant()
        symbol = Text()
        position_id = Text(null=True)
        leg = Word(Leg, null=True)
        slippage = DecimalText(null=True)

    return LedgerJournals


def _entries(base: Any) -> Any:
    class LedgerEntries(base):
        id = peewee.AutoField()
        journal_id = Integer()
        account = Word(Account)
        coin = Text()
        amount = DecimalText()
        value = DecimalText()
        position_id = Text(null=True)
        leg = Word(Leg, null=True)

    return LedgerEntries


def _holdings(base: Any) -> Any:
    class LedgerHoldings(base):
        owner = Text()
        asset = Text()
        quantity = DecimalText()
        cost = DecimalText()

        class Meta:
            primary_key = peewee.CompositeKey("owner", "asset")

    return LedgerHoldings


def _totals(base: Any) -> Any:
    """What the entries of one key add up to; "" where an entry names no position or leg."""

    class LedgerTotals(base):
        position_id = Text()
        account = Word(Account)
        coin = Text()
        leg = Text()
        amount = DecimalText()
        value = DecimalText()

        class Meta:
            primary_key = peewee.CompositeKey("position_id", "account", "coin", "leg")

    return LedgerTotals


def _days(base: Any) -> Any:
    """What the entries of the results' accounts add up to by the day of their fact, the number of days since
    1970.
    """

    class LedgerDays(base):
        day = Integer()
        ours = Flag()
        account = Word(Account)
        coin = Text()
        amount = DecimalText()
        value = DecimalText()

        class Meta:
            primary_key = peewee.CompositeKey("day", "ours", "account", "coin")

    return LedgerDays


def _transactions(base: Any) -> Any:
    class LedgerTransactions(base):
        key = Text(primary_key=True)
        id = Text()
        kind = Text()
        coin = Text()
        category = Text()
        symbol = Text()
        side = Word(Side, null=True)
        time = Instant()
        quantity = DecimalText()
        size = DecimalText()
        price = DecimalText(null=True)
        funding = DecimalText()
        fee = DecimalText()
        cash_flow = DecimalText()
        change = DecimalText()
        balance = DecimalText()
        fee_rate = DecimalText(null=True)
        trade_id = Text()
        order_id = Text()
        link_id = Text()
        state = Word(RowState)

    return LedgerTransactions


def _settlements(base: Any) -> Any:
    class LedgerSettlements(base):
        position_id = Text()
        symbol = Text()
        settled_at = Instant()
        contracts = DecimalText()
        rate = DecimalText(null=True)
        mark = DecimalText(null=True)
        expected = DecimalText(null=True)
        received = DecimalText(null=True)
        source_id = Text()

        class Meta:
            primary_key = peewee.CompositeKey("position_id", "settled_at")

    return LedgerSettlements
