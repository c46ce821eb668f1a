"""Values come back from the database exactly as they went in, and nothing inexact gets in."""

import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import peewee
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fundarb.core.instants import from_ms, to_ms
from fundarb.core.states import PositionState
from fundarb.errors import StateUnavailable
from fundarb.store.database import Store
from fundarb.store.fields import DecimalText, ExactSum, Flag, Instant, Word, dsum
from tests.store.make import D, intent, opened, position, sqlite_only

AMOUNTS = st.decimals(allow_nan=False, allow_infinity=False, places=18, min_value=-(10**30), max_value=10**30)
INSTANTS = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001 - as above
    timezones=st.just(UTC),
)


@given(AMOUNTS)
def test_an_amount_survives_as_text(amount: Decimal) -> None:
    """Whatever its size and places, an amount comes back equal, from text without an exponent."""
    field = DecimalText()
    stored = field.db_value(amount)
    assert stored is not None
    assert "E" not in stored.upper()
    assert field.python_value(stored) == amount


@given(AMOUNTS, st.integers(0, 6))
def test_equal_amounts_have_one_text(amount: Decimal, zeros: int) -> None:
    """Trailing zeros do not make another text, so that ``==`` in SQL is exact."""
    field = DecimalText()
    longer = amount.quantize(Decimal((0, (1,), -18 - zeros)))
    assert field.db_value(longer) == field.db_value(amount)


@pytest.mark.parametrize("value", [1.5, True, "1.5", Decimal("NaN"), Decimal("Infinity"), b"1"])
def test_an_inexact_amount_is_refused(value: Any) -> None:
    """Floats, flags, texts, bytes and what is no finite number never reach a money column."""
    field = DecimalText()
    field.name = "amount"
    with pytest.raises((TypeError, ValueError)):
        field.db_value(value)


@given(INSTANTS)
def test_an_instant_is_cut_to_milliseconds(instant: datetime) -> None:
    """An instant comes back in UTC, less than a millisecond earlier than it went in, and never later."""
    field = Instant()
    back = field.python_value(field.db_value(instant))
    assert back is not None
    assert back.tzinfo is UTC
    assert timedelta() <= instant - back < timedelta(milliseconds=1)


def test_an_instant_of_another_zone_is_the_same_instant() -> None:
    """A zone is only a way to write an instant."""
    east = timezone(timedelta(hours=5))
    assert Instant().db_value(datetime(2026, 1, 1, 5, tzinfo=east)) == to_ms(datetime(2026, 1, 1, tzinfo=UTC))


def test_a_naive_instant_is_refused() -> None:
    """A time without its zone is nobody's time."""
    field = Instant()
    field.name = "at"
    with pytest.raises(ValueError, match="time zone"):
        field.db_value(datetime(2026, 1, 1))  # noqa: DTZ001 - the fault


def test_an_unknown_word_is_refused_both_ways() -> None:
    """A state the program does not know is neither stored nor read."""
    field = Word(PositionState)
    with pytest.raises(ValueError, match="SOLD"):
        field.db_value("SOLD")
    with pytest.raises(ValueError, match="SOLD"):
        field.python_value("SOLD")


def test_nothing_stays_nothing() -> None:
    """NULL is None in every kind of column, never zero, false or the epoch."""
    for field in (DecimalText(), Instant(), Flag(), Word(PositionState)):
        assert field.db_value(None) is None
        assert field.python_value(None) is None


@given(st.lists(AMOUNTS, max_size=30), st.randoms(use_true_random=False))
def test_the_sum_is_exact_in_any_order(amounts: list[Decimal], random: Any) -> None:
    """``dsum`` equals the exact sum, whatever the order of the rows."""
    shuffled = list(amounts)
    random.shuffle(shuffled)
    total = ExactSum()
    for amount in shuffled:
        total.step(DecimalText().db_value(amount))
    total.step(None)
    whole = sum((int(amount.scaleb(18)) for amount in amounts), 0)
    assert Decimal(total.finalize()).scaleb(18) == whole


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(amounts=st.lists(AMOUNTS, min_size=1, max_size=20))
def test_the_sum_is_exact_in_the_database(url: str, amounts: list[Decimal]) -> None:
    """``dsum`` over a column gives a Decimal that no binary fraction has touched, and zero over nothing."""
    with opened(url) as store:
        table = store.tables.snapshots
        with store.transaction():
            store.execute(table.delete())
            for amount in amounts:
                store.snapshots.add(store.clock.now(), "x", equity=amount)
        found = store.scalar(table.select(dsum(table.equity)))
        assert found == sum(amounts, Decimal(0))
        assert store.scalar(table.select(dsum(table.equity)).where(table.kind == "none")) == 0


def test_a_sum_that_would_round_fails_loudly() -> None:
    """Rather than lose a digit the sum raises."""
    total = ExactSum()
    total.step("1" + "0" * 300)
    total.step("0." + "0" * 300 + "1")
    with pytest.raises(ArithmeticError):
        total.finalize()


@sqlite_only
def test_a_broken_sum_is_reported_as_such(store: Store) -> None:
    """A text that is no number in a money column stops the query (a server's NUMERIC takes none)."""
    store.snapshots.add(store.clock.now(), "x", equity=D(1))
    store.database.execute_sql("UPDATE snapshots SET equity = 'many'")
    with pytest.raises(StateUnavailable, match="aggregate"):
        store.scalar(store.tables.snapshots.select(dsum(store.tables.snapshots.equity)))


@pytest.mark.parametrize(
    "use",
    [
        lambda column: column < 1,
        lambda column: column >= 1,
        lambda column: 1 - column,
        lambda column: column + column,
        lambda column: -column,
        lambda column: column.desc(),
        lambda column: column.asc(),
        lambda column: column.between(1, 2),
    ],
)
def test_money_is_not_reckoned_with_in_sql(store: Store, use: Any) -> None:
    """A query that compares, orders or adds money columns cannot even be built."""
    with pytest.raises(TypeError, match="money"):
        use(store.tables.positions.notional)


@sqlite_only
def test_strict_tables_refuse_what_is_not_text(store: Store) -> None:
    """Even plain SQL cannot put a binary number into a money column as such (SQLite's STRICT tables)."""
    store.positions.add(position())
    store.database.execute_sql("UPDATE positions SET notional = 1.1")  # STRICT TEXT keeps it as text
    kept = store.database.execute_sql("SELECT typeof(notional) FROM positions").fetchone()[0]
    assert kept == "text"
    with pytest.raises(peewee.IntegrityError, match="cannot store"):
        store.database.execute_sql("UPDATE positions SET created_at = 'today'")


PRICES = st.decimals(allow_nan=False, allow_infinity=False, places=12, min_value=0, max_value=10**15)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(quantity=PRICES, price=PRICES, signed=INSTANTS, reduce=st.booleans(), note=st.text(max_size=20))
def test_records_come_back_equal(
    store: Store, quantity: Decimal, price: Decimal, signed: datetime, reduce: bool, note: str
) -> None:
    """A position and an intent are read as they were written, times cut to milliseconds."""
    number = int(store.meta.get("runs") or 0)
    store.meta.set("runs", str(number + 1))
    plan = f"{number:010d}"
    safe = note.replace("\x00", "").encode("utf-8", "ignore").decode()
    record = position(plan=plan, base=plan, notional=quantity, note=safe, created_at=signed)
    kept = store.positions.add(record)
    assert store.positions.get(kept.position_id) == kept
    assert (kept.notional, kept.note, kept.created_at) == (quantity, safe, from_ms(to_ms(signed)))
    order = store.intents.add(
        intent(plan=plan, quantity=quantity, limit_price=price, signed_at=signed, reduce_only=reduce)
    )
    assert store.intents.get(order.link_id) == order
    assert (order.quantity, order.limit_price, order.reduce_only) == (quantity, price, reduce)


@sqlite_only
def test_the_connection_is_durable_and_strict(store: Store) -> None:
    """WAL with FULL synchronisation, foreign keys, patience with other processes, our mark in the header."""
    asked = {
        name: store.database.execute_sql(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "application_id")
    }
    assert asked == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 5000,
        "application_id": 0x66756E64,
    }


@sqlite_only
def test_every_table_is_strict(store: Store) -> None:
    """No table takes a value of another type than its column's, which only SQLite has to be told."""
    loose = [
        row[1]
        for row in store.database.execute_sql("PRAGMA table_list").fetchall()
        if row[2] == "table" and not row[1].startswith("sqlite_") and not row[5]
    ]
    assert loose == []


def test_sqlite_is_new_enough() -> None:
    """STRICT tables need SQLite 3.37."""
    assert sqlite3.sqlite_version_info >= (3, 37)
