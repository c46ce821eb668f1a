"""Migration 2: the ledger: journals, entries, holdings, the transaction log as received, settlements.

Frozen once released: a later change is a new migration.
"""

from __future__ import annotations

from fundarb.store.schema import Schema

_ENTRIES = (
    """
    CREATE TABLE ledger_journals (
        id {growing_id}, key TEXT NOT NULL UNIQUE, fact TEXT NOT NULL,
        at {instant} NOT NULL, booked_at {instant} NOT NULL, symbol TEXT NOT NULL,
        position_id TEXT REFERENCES positions (position_id), leg TEXT, slippage {money}
    ) {strict}
    """,
    "CREATE INDEX ledger_journals_time ON ledger_journals (at)",
    "CREATE INDEX ledger_journals_position ON ledger_journals (position_id)",
    """
    CREATE TABLE ledger_entries (
        id {growing_id}, journal_id INTEGER NOT NULL REFERENCES ledger_journals (id),
        account TEXT NOT NULL, coin TEXT NOT NULL, amount {money} NOT NULL, value {money} NOT NULL,
        position_id TEXT REFERENCES positions (position_id), leg TEXT
    ) {strict}
    """,
    "CREATE INDEX ledger_entries_journal ON ledger_entries (journal_id)",
)

_REST = (
    """
    CREATE TABLE ledger_holdings (
        owner TEXT NOT NULL, asset TEXT NOT NULL, quantity {money} NOT NULL, cost {money} NOT NULL,
        PRIMARY KEY (owner, asset)
    ) {strict}
    """,
    """
    CREATE TABLE ledger_transactions (
        key TEXT NOT NULL PRIMARY KEY, id TEXT NOT NULL, kind TEXT NOT NULL, coin TEXT NOT NULL,
        category TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT, time {instant} NOT NULL,
        quantity {money} NOT NULL, size {money} NOT NULL, price {money},
        funding {money} NOT NULL, fee {money} NOT NULL, cash_flow {money} NOT NULL,
        change {money} NOT NULL, balance {money} NOT NULL, fee_rate {money},
        trade_id TEXT NOT NULL, order_id TEXT NOT NULL, link_id TEXT NOT NULL, state TEXT NOT NULL
    ) {strict}
    """,
    "CREATE INDEX ledger_transactions_time ON ledger_transactions (coin, time)",
    "CREATE INDEX ledger_transactions_trade ON ledger_transactions (trade_id)",
    "CREATE INDEX ledger_transactions_waiting ON ledger_transactions (time) WHERE state = 'waiting'",
    """
    CREATE TABLE ledger_settlements (
        position_id TEXT NOT NULL REFERENCES positions (position_id), symbol TEXT NOT NULL,
        settled_at {instant} NOT NULL, contracts {money} NOT NULL, rate {money}, mark {money},
        expected {money}, received {money}, source_id TEXT NOT NULL,
        PRIMARY KEY (position_id, settled_at)
    ) {strict}
    """,
    "CREATE INDEX ledger_settlements_time ON ledger_settlements (settled_at)",
    "CREATE INDEX ledger_settlements_pending ON ledger_settlements (settled_at) WHERE received IS NULL",
)


def apply(schema: Schema) -> None:
    """Create every table, index and trigger of the ledger."""
    schema.run(*_ENTRIES)
    schema.forbid_changes("ledger_entries")  # a ledger is corrected by a new entry, never by another hand
    schema.run(*_REST)
