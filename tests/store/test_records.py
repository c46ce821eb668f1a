"""Rows that are read often are recognised, and never taken for what they were before."""

from decimal import Decimal

import pytest

from fundarb.core.records import PositionRecord
from fundarb.errors import InvariantBroken
from fundarb.store import records
from fundarb.store.database import Store
from tests.store.make import PLAN, position

NAME = f"p-{PLAN}"


def test_an_unchanged_row_gives_the_same_record(store: Store) -> None:
    """Nothing is made anew while the row is the same; after any change the new row is what is read."""
    store.positions.add(position())
    (first,) = store.positions.active()
    assert store.positions.active()[0] is first
    changed = store.positions.add_quantities(NAME, spot=Decimal("0.1"), contracts=Decimal("0.1"))
    assert store.positions.active() == (changed,)
    assert changed.spot_owned == first.spot_owned + Decimal("0.1")


def test_a_change_that_was_undone_is_not_remembered(store: Store) -> None:
    """After a rollback the record of before is read again."""
    store.positions.add(position())
    before = store.positions.get(NAME)

    def fails() -> None:
        with store.transaction():
            store.positions.update(NAME, note="undone")
            assert store.positions.get(NAME).note == "undone"
            store.positions.add(position())

    with pytest.raises(InvariantBroken):
        fails()
    assert store.positions.get(NAME) == before


def test_only_so_much_is_remembered(store: Store) -> None:
    """However many different rows are read, the memory stays bounded, and each is read as it stands."""
    store.positions.add(position())
    table = records.Records(
        store.positions._session,
        store.positions._session.tables.positions,
        kind=PositionRecord,
        often=True,
    )
    for number in range(records._KNOWN + 10):
        store.positions.update(NAME, note=str(number))
        found = table.one("WHERE position_id = ?", NAME)
        assert found is not None
        assert found.note == str(number)
        assert len(table._known) <= records._KNOWN
