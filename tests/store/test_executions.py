"""Each execution row of the venue is kept once, under its key, and belongs to one position at most."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fundarb.core.instants import from_ms, to_ms
from fundarb.core.orders import ExecKind, Leg, Side
from fundarb.core.shares import shared_out
from fundarb.errors import InvariantBroken
from fundarb.store.database import Store
from tests.store.make import NOW, PLAN, execution, position

START = from_ms(to_ms(NOW))
HOUR = timedelta(hours=1)


def test_an_execution_is_kept_once(store: Store) -> None:
    """A duplicate changes nothing, whatever else it claims; the row comes back as it came in."""
    store.positions.add(position())
    fill = execution()
    assert store.executions.add(fill, position_id=f"p-{PLAN}", leg=Leg.SPOT) is True
    assert store.executions.add(replace(fill, price=Decimal(1))) is False
    kept = replace(fill, time=from_ms(to_ms(fill.time)))
    assert store.executions.of_position(f"p-{PLAN}") == store.executions.of_link(fill.link_id) == (kept,)
    assert store.executions.owner(fill.key) == (f"p-{PLAN}", Leg.SPOT)
    with pytest.raises(LookupError):
        store.executions.owner("exec:spot:BTCUSDT:none")


def test_the_same_id_on_another_market_is_another_execution(store: Store) -> None:
    """The key holds category and symbol, since the id alone repeats."""
    assert store.executions.add(execution())
    assert store.executions.add(execution(symbol="ETHUSDT"))
    assert len(store.executions.between(START, START + HOUR)) == 2


def test_executions_of_a_period_are_ordered(store: Store) -> None:
    """Oldest first, from the beginning of the period to before its end."""
    for number in (3, 1, 2):
        store.executions.add(execution(number, side=Side.SELL, kind=ExecKind.ADL, maker=True))
    found = store.executions.between(START + timedelta(seconds=1), START + timedelta(seconds=3))
    assert [item.exec_id for item in found] == ["e1", "e2"]
    assert all(item.maker and item.kind is ExecKind.ADL for item in found)


def test_a_strangers_execution_is_divided(store: Store) -> None:
    """A part stays under the row's key, the rest becomes a row of its own, and both are the whole; what is
    somebody's already, unknown, or not the sum, is not touched.
    """
    store.positions.add(position())
    whole = execution()
    part, rest = shared_out(whole, whole.quantity / 4)
    assert rest is not None
    with pytest.raises(InvariantBroken, match="cannot be divided"):
        store.executions.divide(part, rest)
    store.executions.add(whole)
    with pytest.raises(InvariantBroken, match="cannot be divided"):
        store.executions.divide(part, part)
    store.executions.divide(part, rest)
    found = store.executions.between(START, START + HOUR)
    assert [(row.key, row.quantity) for row in found] == [(row.key, row.quantity) for row in (part, rest)]
    for name in ("quantity", "value", "fee"):
        assert sum(getattr(row, name) for row in found) == getattr(whole, name)
    store.executions.attribute(part.key, position_id=f"p-{PLAN}", leg=Leg.SPOT)
    less, more = shared_out(part, part.quantity / 2)
    assert more is not None
    with pytest.raises(InvariantBroken, match="cannot be divided"):
        store.executions.divide(less, more)


def test_a_strangers_execution_can_be_given_to_its_owner_once(store: Store) -> None:
    """A row that was nobody's gets its position; one that is somebody's keeps it."""
    store.positions.add(position())
    fill = execution()
    store.executions.add(fill)
    store.executions.attribute(fill.key, position_id=f"p-{PLAN}", leg=Leg.SPOT)
    assert store.executions.owner(fill.key) == (f"p-{PLAN}", Leg.SPOT)
    with pytest.raises(InvariantBroken, match="somebody's already"):
        store.executions.attribute(fill.key, position_id=f"p-{PLAN}", leg=Leg.PERP)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(numbers=st.lists(st.integers(1, 40), max_size=60))
def test_duplicated_and_shuffled_rows_are_kept_once(store: Store, numbers: list[int]) -> None:
    """However often and in whatever order rows arrive, each is there once, and ``known`` says which."""
    store.database.execute_sql("DELETE FROM executions")
    added = [number for number in numbers if store.executions.add(execution(number))]
    assert sorted(added) == sorted(set(numbers))
    keys = {number: execution(number).key for number in range(1, 41)}
    assert store.executions.known(keys.values()) == {keys[number] for number in numbers}


def test_many_keys_are_looked_up_in_pieces(store: Store) -> None:
    """More keys than one statement can bind are no problem."""
    store.executions.add(execution(1999))
    assert store.executions.known([execution(number).key for number in range(2000)]) == {execution(1999).key}
