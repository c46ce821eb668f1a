"""The tables as peewee models, made anew for each database: two stores live in one process and know nothing
of each other.

A model only names the columns of a table that a migration creates; keys, checks and indexes stand in the
migration. A test holds the two together. A room of its own inside the store (the ledger) makes its models the
same way, from ``base_model``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import peewee

from fundarb.core.events import Severity
from fundarb.core.market import Category
from fundarb.core.orders import ExecKind, Leg, Purpose, Side
from fundarb.core.records import BlockKind, CommandState, Goal
from fundarb.core.states import IntentState, PositionState
from fundarb.store.fields import DecimalText, Flag, Instant, Integer, Text, Word


def base_model(database: Any) -> Any:
    """The class from which the models of one database derive."""

    class Base(peewee.Model):
        class Meta:
            legacy_table_names = False

    Base._meta.database = database  # noqa: SLF001 - peewee's documented place for it
    return Base


@dataclass(frozen=True, slots=True)
class Tables:
    """Every model of one database (the ledger's aside)."""

    meta: Any
    identity: Any
    writer: Any
    positions: Any
    intents: Any
    executions: Any
    blocks: Any
    commands: Any
    events: Any
    job_runs: Any
    snapshots: Any


def make_tables(database: Any) -> Tables:
    """The models of one database."""
    base = base_model(database)
    return Tables(
        meta=_meta(base),
        identity=_identity(base),
        writer=_writer(base),
        positions=_positions(base),
        intents=_intents(base),
        executions=_executions(base),
        blocks=_blocks(base),
        commands=_commands(base),
        events=_events(base),
        job_runs=_job_runs(base),
        snapshots=_snapshots(base),
    )


def _meta(base: Any) -> Any:
    class Meta_(base):  # noqa: N801 - `Meta` is peewee's own word inside a model
        key = Text(primary_key=True)
        value = Text()

        class Meta:
            table_name = "meta"

    return Meta_


def _identity(base: Any) -> Any:
    class Identity(base):
        id = Integer(primary_key=True)
        venue = Text()
        mode = Text()
        instance = Text()
        uid = Text()
        tag = Text()
        old_tags = Text()
        created_at = Instant()

    return Identity


def _writer(base: Any) -> Any:
    class Writer(base):
        id = Integer(primary_key=True)
        pid = Integer()
        epoch = Integer()
        role = Text()
        since = Instant()
        heartbeat = Instant()
        released = Flag()

    return Writer


def _positions(base: Any) -> Any:
    class Positions(base):
        position_id = Text(primary_key=True)
        base = Text()
        spot_symbol = Text()
        perp_symbol = Text()
        multiplier = DecimalText()
        state = Word(PositionState)
        goal = Word(Goal)
        notional = DecimalText()
        target_contracts = DecimalText()
        spot_owned = DecimalText()
        contracts = DecimalText()
        leverage = DecimalText()
        decision_spot_mid = DecimalText()
        decision_perp_mid = DecimalText()
        created_at = Instant()
        opened_at = Instant(null=True)
        closed_at = Instant(null=True)
        note = Text()

    return Positions


def _intents(base: Any) -> Any:
    class Intents(base):
        link_id = Text(primary_key=True)
        position_id = Text()
        leg = Word(Leg)
        seq = Integer()
        purpose = Word(Purpose)
        category = Word(Category)
        symbol = Text()
        side = Word(Side)
        quantity = DecimalText()
        limit_price = DecimalText()
        reduce_only = Flag()
        state = Word(IntentState)
        epoch = Integer()
        signed_at = Instant()
        created_at = Instant()
        order_id = Text()
        filled = DecimalText()
        average_price = DecimalText(null=True)
        code = Integer(null=True)
        message = Text()

    return Intents


def _executions(base: Any) -> Any:
    class Executions(base):
        key = Text(primary_key=True)
        exec_id = Text()
        order_id = Text()
        link_id = Text()
        category = Word(Category)
        symbol = Text()
        side = Word(Side)
        price = DecimalText()
        quantity = DecimalText()
        value = DecimalText()
        fee = DecimalText()
        fee_coin = Text()
        kind = Word(ExecKind)
        raw_kind = Text()
        time = Instant()
        maker = Flag()
        position_id = Text(null=True)
        leg = Word(Leg, null=True)

    return Executions


def _blocks(base: Any) -> Any:
    class Blocks(base):
        scope = Text()
        kind = Word(BlockKind)
        reason = Text()
        since = Instant()
        until = Instant(null=True)
        needs_person = Flag()

        class Meta:
            primary_key = peewee.CompositeKey("scope", "kind")

    return Blocks


def _commands(base: Any) -> Any:
    class Commands(base):
        id = peewee.AutoField()
        name = Text()
        arguments = Text()
        state = Word(CommandState)
        created_at = Instant()
        finished_at = Instant(null=True)
        exit_code = Integer(null=True)
        result = Text()

    return Commands


def _events(base: Any) -> Any:
    class Events(base):
        id = peewee.AutoField()
        at = Instant()
        kind = Text()
        severity = Word(Severity)
        payload = Text()

    return Events


def _job_runs(base: Any) -> Any:
    class JobRuns(base):
        id = peewee.AutoField()
        name = Text()
        started_at = Instant()
        finished_at = Instant(null=True)
        result = Text()
        message = Text()

    return JobRuns


def _snapshots(base: Any) -> Any:
    class Snapshots(base):
        id = peewee.AutoField()
        at = Instant()
        kind = Text()
        equity = DecimalText(null=True)
        payload = Text()

    return Snapshots
