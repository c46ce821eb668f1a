"""Migration 1: identity, positions, intents, executions, blocks, commands, events, jobs, snapshots, meta,
writer.

Frozen once released: a later change is a new migration.
"""

from __future__ import annotations

from fundarb.store.schema import Schema

_STATEMENTS = (
    "CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) {strict}",
    """
    CREATE TABLE identity (
        id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
        venue TEXT NOT NULL, mode TEXT NOT NULL, instance TEXT NOT NULL, uid TEXT NOT NULL,
        tag TEXT NOT NULL, old_tags TEXT NOT NULL, created_at {instant} NOT NULL
    ) {strict}
    """,
    """
    CREATE TABLE writer (
        id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
        pid INTEGER NOT NULL, epoch INTEGER NOT NULL, role TEXT NOT NULL,
        since {instant} NOT NULL, heartbeat {instant} NOT NULL, released {flag} NOT NULL
    ) {strict}
    """,
    """
    CREATE TABLE positions (
        position_id TEXT NOT NULL PRIMARY KEY,
        base TEXT NOT NULL, spot_symbol TEXT NOT NULL, perp_symbol TEXT NOT NULL, multiplier {money} NOT NULL,
        state TEXT NOT NULL, goal TEXT NOT NULL, notional {money} NOT NULL, target_contracts {money} NOT NULL,
        spot_owned {money} NOT NULL, contracts {money} NOT NULL, leverage {money} NOT NULL,
        decision_spot_mid {money} NOT NULL, decision_perp_mid {money} NOT NULL,
        created_at {instant} NOT NULL, opened_at {instant}, closed_at {instant}, note TEXT NOT NULL
    ) {strict}
    """,
    # one active plan per coin, whatever the program above believes
    "CREATE UNIQUE INDEX positions_active ON positions (base) WHERE state NOT IN ('CLOSED', 'ABORTED')",
    "CREATE INDEX positions_created ON positions (created_at)",
    """
    CREATE TABLE intents (
        link_id TEXT NOT NULL PRIMARY KEY,
        position_id TEXT NOT NULL REFERENCES positions (position_id),
        leg TEXT NOT NULL, seq INTEGER NOT NULL CHECK (seq >= 1), purpose TEXT NOT NULL,
        category TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL,
        quantity {money} NOT NULL, limit_price {money} NOT NULL, reduce_only {flag} NOT NULL,
        state TEXT NOT NULL, epoch INTEGER NOT NULL,
        signed_at {instant} NOT NULL, created_at {instant} NOT NULL,
        order_id TEXT NOT NULL, filled {money} NOT NULL, average_price {money},
        code INTEGER, message TEXT NOT NULL,
        UNIQUE (position_id, seq)
    ) {strict}
    """,
    # at most one order in flight per leg of a plan
    """
    CREATE UNIQUE INDEX intents_open ON intents (position_id, leg)
    WHERE state IN ('SENDING', 'WORKING', 'UNCERTAIN')
    """,
    "CREATE INDEX intents_created ON intents (created_at)",
    """
    CREATE TABLE executions (
        key TEXT NOT NULL PRIMARY KEY,
        exec_id TEXT NOT NULL, order_id TEXT NOT NULL, link_id TEXT NOT NULL,
        category TEXT NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL,
        price {money} NOT NULL, quantity {money} NOT NULL, value {money} NOT NULL,
        fee {money} NOT NULL, fee_coin TEXT NOT NULL, kind TEXT NOT NULL, raw_kind TEXT NOT NULL,
        time {instant} NOT NULL, maker {flag} NOT NULL,
        position_id TEXT REFERENCES positions (position_id), leg TEXT
    ) {strict}
    """,
    "CREATE INDEX executions_link ON executions (link_id)",
    "CREATE INDEX executions_position ON executions (position_id)",
    "CREATE INDEX executions_time ON executions (time)",
    """
    CREATE TABLE blocks (
        scope TEXT NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL,
        since {instant} NOT NULL, until {instant}, needs_person {flag} NOT NULL,
        PRIMARY KEY (scope, kind)
    ) {strict}
    """,
    """
    CREATE TABLE commands (
        id {growing_id}, name TEXT NOT NULL, arguments TEXT NOT NULL, state TEXT NOT NULL,
        created_at {instant} NOT NULL, finished_at {instant}, exit_code INTEGER, result TEXT NOT NULL
    ) {strict}
    """,
    "CREATE INDEX commands_unfinished ON commands (id) WHERE state IN ('waiting', 'running')",
    """
    CREATE TABLE events (
        id {growing_id}, at {instant} NOT NULL, kind TEXT NOT NULL, severity TEXT NOT NULL,
        payload TEXT NOT NULL
    ) {strict}
    """,
    "CREATE INDEX events_kind ON events (kind, id)",
    "CREATE INDEX events_notable ON events (id) WHERE severity IN ('warning', 'alert')",
    """
    CREATE TABLE job_runs (
        id {growing_id}, name TEXT NOT NULL, started_at {instant} NOT NULL, finished_at {instant},
        result TEXT NOT NULL, message TEXT NOT NULL
    ) {strict}
    """,
    "CREATE INDEX job_runs_name ON job_runs (name, id)",
    """
    CREATE TABLE snapshots (
        id {growing_id}, at {instant} NOT NULL, kind TEXT NOT NULL, equity {money}, payload TEXT NOT NULL
    ) {strict}
    """,
    "CREATE INDEX snapshots_time ON snapshots (kind, at)",
)


def apply(schema: Schema) -> None:
    """Create every table and index."""
    schema.run(*_STATEMENTS)
