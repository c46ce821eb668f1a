"""Positions move along their table and nowhere else; one active plan per coin."""

from datetime import timedelta

import pytest

from fundarb.core.instants import from_ms, to_ms
from fundarb.core.records import Goal
from fundarb.core.states import POSITION, PositionState, PositionTrigger
from fundarb.errors import IllegalTransition, InvariantBroken
from fundarb.store.database import Store
from tests.store.make import NOW, PLAN, D, clock, opened, position, sqlite_only

NAME = f"p-{PLAN}"
T = PositionTrigger
WAYS: dict[PositionState, tuple[PositionTrigger, ...]] = {
    PositionState.PLANNED: (),
    PositionState.OPENING: (T.SENT,),
    PositionState.HEDGED: (T.SENT, T.BALANCED),
    PositionState.CHANGING: (T.SENT, T.BALANCED, T.SENT),
    PositionState.EXPOSED: (T.SENT, T.UNBALANCED),
    PositionState.REPAIRING: (T.SENT, T.UNBALANCED, T.SENT),
    PositionState.UNCERTAIN: (T.SENT, T.NO_ANSWER),
    PositionState.CLOSED: (T.SENT, T.BALANCED, T.FLAT),
    PositionState.ABORTED: (T.FLAT,),
}


@pytest.mark.parametrize("state", list(PositionState))
@pytest.mark.parametrize("trigger", list(PositionTrigger))
def test_every_pair_moves_as_the_table_says_or_changes_nothing(
    store: Store, state: PositionState, trigger: PositionTrigger
) -> None:
    """For each state and trigger the row follows the table, or row and audit trail stay as they were."""
    store.positions.add(position())
    for step in WAYS[state]:
        store.positions.advance(NAME, step)
    before, trail = store.positions.get(NAME), store.events.newest_id()
    assert before.state is state
    following = POSITION[state].get(trigger)
    if following is None:
        with pytest.raises(IllegalTransition):
            store.positions.advance(NAME, trigger)
        assert store.positions.get(NAME) == before
        assert store.events.newest_id() == trail
    else:
        after = store.positions.advance(NAME, trigger)
        assert after.state is following
        assert store.positions.get(NAME) == after
        assert store.events.newest_id() == trail + 1


def test_each_step_leaves_an_event(store: Store) -> None:
    """The audit trail says from where to where, and why."""
    store.positions.add(position())
    store.positions.advance(NAME, T.SENT)
    (event,) = store.events.after(0, 10)
    assert event.kind == "position_changed"
    assert '"old":"PLANNED","new":"OPENING","trigger":"SENT"' in event.payload


def test_a_coin_has_one_active_plan(store: Store) -> None:
    """A second plan of a coin is refused while the first lives, and welcome once it is final."""
    store.positions.add(position())
    with pytest.raises(InvariantBroken, match="BTC has an active plan"):
        store.positions.add(position(plan="AAAAAAAAAA"))
    store.positions.advance(NAME, T.FLAT)
    second = store.positions.add(position(plan="AAAAAAAAAA"))
    assert store.positions.active() == (second,)
    assert store.positions.active_for("BTC") == second
    assert store.positions.active_for("ETH") is None


def test_an_id_is_used_once(store: Store) -> None:
    """The same plan id cannot be written twice, not even for another coin."""
    store.positions.add(position())
    with pytest.raises(InvariantBroken, match="id exists"):
        store.positions.add(position(base="ETH"))


@pytest.mark.parametrize(
    "record",
    [position(state=PositionState.HEDGED), position(spot_owned=D(1)), position(contracts=D(1))],
    ids=["hedged", "with coins", "with contracts"],
)
def test_a_plan_is_born_planned_and_empty(store: Store, record: object) -> None:
    """Nothing that already is something can be slipped in as a new plan."""
    with pytest.raises(InvariantBroken, match="born"):
        store.positions.add(record)  # type: ignore[arg-type]  # parametrised
    assert store.positions.all() == ()


def test_opening_and_closing_are_dated_once(store: Store) -> None:
    """``opened_at`` is the first time that something is held, ``closed_at`` the end."""
    moving = store.clock
    store.positions.add(position())
    store.positions.advance(NAME, T.SENT)
    assert store.positions.get(NAME).opened_at is None
    moving.sleep(timedelta(seconds=1))
    store.positions.advance(NAME, T.UNBALANCED)
    moving.sleep(timedelta(seconds=1))
    store.positions.advance(NAME, T.BALANCED)
    moving.sleep(timedelta(seconds=1))
    closed = store.positions.advance(NAME, T.FLAT)
    start = from_ms(to_ms(NOW))
    assert closed.opened_at == start + timedelta(seconds=1)
    assert closed.closed_at == start + timedelta(seconds=3)


def test_quantities_add_up_exactly(store: Store) -> None:
    """What executions delivered is added without rounding, in either direction."""
    store.positions.add(position())
    for _ in range(3):
        store.positions.add_quantities(NAME, spot=D("0.1"), contracts=D("0.000000000000000001"))
    found = store.positions.add_quantities(NAME, spot=D("-0.05"), contracts=D(0))
    assert (found.spot_owned, found.contracts) == (D("0.25"), D("0.000000000000000003"))
    assert store.positions.get(NAME) == found


@pytest.mark.parametrize(("spot", "contracts"), [(D("-0.1"), D(0)), (D(0), D("-0.1"))])
def test_a_book_never_turns_around(store: Store, spot: object, contracts: object) -> None:
    """Coins that we do not own and a perp leg that is long are impossible, and nothing is written."""
    store.positions.add(position())
    with pytest.raises(InvariantBroken, match="book"):
        store.positions.add_quantities(NAME, spot=spot, contracts=contracts)  # type: ignore[arg-type]
    assert store.positions.get(NAME).spot_owned == 0
    assert store.positions.get(NAME).contracts == 0


def test_a_finished_plan_holds_nothing_any_more(store: Store) -> None:
    """What comes after the end is not added to it."""
    store.positions.add(position())
    store.positions.advance(NAME, T.FLAT)
    with pytest.raises(InvariantBroken, match="ABORTED"):
        store.positions.add_quantities(NAME, spot=D(0), contracts=D("0.1"))
    assert store.positions.get(NAME).contracts == 0


def test_the_plan_may_change_until_it_is_final(store: Store) -> None:
    """Goal, target and note can be changed while the position lives, and not after."""
    store.positions.add(position())
    changed = store.positions.update(NAME, goal=Goal.CLOSE, target_contracts=D(0), note="by hand")
    assert store.positions.get(NAME) == changed
    assert (changed.goal, changed.target_contracts, changed.note) == (Goal.CLOSE, D(0), "by hand")
    assert store.positions.update(NAME) == changed
    store.positions.advance(NAME, T.FLAT)
    with pytest.raises(InvariantBroken, match="ABORTED"):
        store.positions.update(NAME, note="too late")


def test_an_unknown_position_is_a_lookup_error(store: Store) -> None:
    """Whoever asks for what is not there is told so."""
    missing = "p-NOTTHERE00"
    with pytest.raises(LookupError, match=missing):
        store.positions.get(missing)
    with pytest.raises(LookupError, match=missing):
        store.positions.advance(missing, T.SENT)
    with pytest.raises(LookupError, match=missing):
        store.positions.update(missing, note="x")
    with pytest.raises(LookupError, match=missing):
        store.positions.add_quantities(missing, spot=D(1), contracts=D(1))


def test_all_can_be_asked_for_a_period(store: Store) -> None:
    """A period shows what lived in it: created before its end, not closed before its start."""
    store.positions.add(position())
    store.clock.sleep(timedelta(hours=1))
    store.positions.advance(NAME, T.FLAT)
    later = store.clock.now()
    second = store.positions.add(position(plan="AAAAAAAAAA", created_at=later))
    assert len(store.positions.all()) == 2
    assert store.positions.all(since=later + timedelta(minutes=1)) == (second,)
    assert [item.position_id for item in store.positions.all(until=later)] == [NAME]


@sqlite_only
def test_active_positions_are_found_by_their_index(store: Store) -> None:
    """Neither the active plans nor that of one coin need a look at every position that ever was (a server
    chooses by its statistics).
    """
    for condition, used in (
        ("state NOT IN ('CLOSED', 'ABORTED')", "positions_active"),
        ("state NOT IN ('CLOSED', 'ABORTED') AND base = 'BTC'", "positions_active"),
    ):
        plan = store.database.execute_sql(f"EXPLAIN QUERY PLAN SELECT * FROM positions WHERE {condition}")
        assert used in str(plan.fetchall())


def test_a_second_process_sees_the_same(store: Store) -> None:
    """Another store of the same file reads what the first wrote."""
    kept = store.positions.add(position())
    with opened(store.url, clock=clock()) as other:
        assert other.positions.get(NAME) == kept
