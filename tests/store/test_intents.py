"""An order is written once, before it is sent, and no second one of its leg beside it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import peewee
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fundarb.core.orders import Leg, Purpose, link_id
from fundarb.core.records import IntentRecord
from fundarb.core.states import INTENT, IntentState, IntentTrigger, PositionTrigger
from fundarb.errors import FundarbError, IllegalTransition, InvariantBroken
from fundarb.store.database import Store
from tests.store.make import (
    NOW,
    PLAN,
    D,
    heard,
    intent,
    opened,
    position,
    process,
    server_in_proof,
    sqlite_only,
)

NAME = f"p-{PLAN}"
I = IntentTrigger  # noqa: E741 - the tests read like the table
WAYS: dict[IntentState, tuple[IntentTrigger, ...]] = {
    IntentState.SENDING: (),
    IntentState.WORKING: (I.ACCEPTED,),
    IntentState.UNCERTAIN: (I.NO_ANSWER,),
    IntentState.REFUSED: (I.REFUSED,),
    IntentState.DONE: (I.ACCEPTED, I.FINISHED),
    IntentState.ABSENT: (I.NO_ANSWER, I.PROVED_ABSENT),
}
FINAL: dict[str, Any] = {"filled": D("0.01"), "average_price": D("59950.123")}


@pytest.fixture
def planned(store: Store) -> Store:
    """A store with one plan."""
    store.positions.add(position())
    return store


@pytest.mark.parametrize("state", list(IntentState))
@pytest.mark.parametrize("trigger", list(IntentTrigger))
def test_every_pair_moves_as_the_table_says_or_changes_nothing(
    planned: Store, state: IntentState, trigger: IntentTrigger
) -> None:
    """For each state and trigger the row follows the table, or the row stays as it was."""
    name = planned.intents.add(intent()).link_id
    for step in WAYS[state]:
        planned.intents.advance(name, step, **FINAL)
    before = planned.intents.get(name)
    assert before.state is state
    following = INTENT[state].get(trigger)
    if following is None:
        with pytest.raises(IllegalTransition):
            planned.intents.advance(name, trigger, order_id="other", filled=D(0))
        assert planned.intents.get(name) == before
    else:
        after = planned.intents.advance(name, trigger, **FINAL)
        assert after.state is following
        assert planned.intents.get(name) == after


def test_what_is_learnt_is_kept_and_the_rest_stays(planned: Store) -> None:
    """Each answer adds to what is known; what it does not mention is not touched."""
    name = planned.intents.add(intent()).link_id
    planned.intents.advance(name, I.ACCEPTED, order_id="o1")
    done = planned.intents.advance(name, I.FINISHED, code=0, message="OK", **FINAL)
    assert (done.order_id, done.filled, done.average_price, done.code, done.message) == (
        "o1",
        D("0.01"),
        D("59950.123"),
        0,
        "OK",
    )
    assert planned.intents.get(name) == done


@pytest.mark.parametrize("learnt", [{}, {"filled": D("0.01")}])
def test_an_order_is_not_done_without_its_figures(planned: Store, learnt: dict[str, Any]) -> None:
    """DONE needs what was filled, and with a fill its average price; else nothing changes."""
    name = planned.intents.add(intent()).link_id
    planned.intents.advance(name, I.ACCEPTED)
    with pytest.raises(InvariantBroken, match="DONE only with"):
        planned.intents.advance(name, I.FINISHED, **learnt)
    assert planned.intents.get(name).state is IntentState.WORKING
    assert planned.intents.advance(name, I.FINISHED, filled=D(0)).average_price is None


def test_a_note_adds_knowledge_without_a_step(planned: Store) -> None:
    """An order id found by a look-up is kept while the state stays; a terminal order keeps its figures."""
    name = planned.intents.add(intent()).link_id
    planned.intents.advance(name, I.NO_ANSWER)
    assert planned.intents.note(name, order_id="o7").state is IntentState.UNCERTAIN
    assert planned.intents.get(name).order_id == "o7"
    assert planned.intents.note(name).order_id == "o7"
    planned.intents.advance(name, I.PROVED_ABSENT)
    with pytest.raises(InvariantBroken, match="terminal"):
        planned.intents.note(name, order_id="o8")


def test_a_leg_has_one_order_in_flight(planned: Store) -> None:
    """The next order of a leg waits until the earlier is terminal; the other leg does not wait."""
    first = planned.intents.add(intent(1, Leg.PERP))
    with pytest.raises(InvariantBroken, match=f"{first.link_id} of the same leg is not terminal"):
        planned.intents.add(intent(2, Leg.PERP))
    planned.intents.add(intent(2, Leg.SPOT))
    for step in (I.NO_ANSWER, I.PROVED_ABSENT):
        assert len(planned.intents.open()) == 2
        planned.intents.advance(first.link_id, step)
    planned.intents.add(intent(3, Leg.PERP))
    assert [item.seq for item in planned.intents.open()] == [2, 3]


@pytest.mark.parametrize(
    "record",
    [
        intent(2),
        intent(state=IntentState.WORKING),
        intent(filled=D(1)),
        replace(intent(), leg=Leg.SPOT),
        replace(intent(), link_id=link_id("k3f9", PLAN, leg=Leg.PERP, seq=2)),
        replace(intent(), link_id=link_id("k3f9", "AAAAAAAAAA", leg=Leg.PERP, seq=1)),
        replace(intent(), link_id="by-hand"),
        intent(plan="AAAAAAAAAA"),
    ],
    ids=["gap", "working", "filled", "leg", "number", "plan", "foreign", "no plan"],
)
def test_an_order_that_does_not_fit_is_refused(planned: Store, record: IntentRecord) -> None:
    """Wrong number, wrong birth, a link id that says something else, an unknown plan: nothing is written."""
    with pytest.raises(InvariantBroken):
        planned.intents.add(record)
    assert planned.intents.of_position(NAME) == ()
    assert planned.intents.open() == ()


def test_a_final_plan_sends_nothing_more(planned: Store) -> None:
    """No order is written for a position that is closed or aborted."""
    planned.positions.advance(NAME, PositionTrigger.FLAT)
    with pytest.raises(InvariantBroken, match="not an active plan"):
        planned.intents.add(intent())


def test_the_table_itself_holds_the_rules(planned: Store) -> None:
    """Even without our checks the database refuses a link id twice, a number twice, two in flight, and an
    orphan.
    """
    kept = planned.intents.add(intent())
    columns = {name: getattr(kept, name) for name in IntentRecord.__dataclass_fields__}
    table = planned.tables.intents
    for changes in (
        {"seq": 2, "leg": Leg.SPOT},
        {"link_id": "x", "leg": Leg.SPOT},
        {"link_id": "x", "seq": 2},
        {"link_id": "x", "seq": 2, "position_id": "p-NOBODY", "leg": Leg.SPOT},
        {"link_id": "x", "seq": 0, "leg": Leg.SPOT},
    ):
        with pytest.raises(peewee.IntegrityError):
            planned.execute(table.insert(**{**columns, **changes}))
    assert planned.intents.of_position(NAME) == (kept,)


STEPS = st.lists(
    st.tuples(st.sampled_from(list(Leg)), st.sampled_from(["add", *IntentTrigger])), min_size=1, max_size=25
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(steps=STEPS)
def test_whatever_is_tried_the_invariants_hold(store: Store, steps: list[tuple[Leg, str]]) -> None:
    """Any mix of orders and answers leaves numbers without gaps and at most one order in flight per leg."""
    plan = f"{store.meta.get('runs') or '0':0>10}"
    store.meta.set("runs", str(int(plan) + 1))
    name = store.positions.add(position(plan=plan, base=plan)).position_id
    for leg, step in steps:
        newest = store.intents.last(name, leg)
        try:
            if step == "add":
                store.intents.add(intent(store.intents.next_seq(name), leg, plan=plan))
            elif newest is not None:
                store.intents.advance(newest.link_id, IntentTrigger(step), filled=D(0))
        except (InvariantBroken, IllegalTransition):
            pass
        orders = store.intents.of_position(name)
        assert [item.seq for item in orders] == list(range(1, len(orders) + 1))
        for each in Leg:
            of_leg = [item for item in orders if item.leg is each]
            assert all(item.state.terminal for item in of_leg[:-1])


RACE = """
from tests.store.make import intent
from fundarb.core.orders import Leg
from fundarb.errors import InvariantBroken
sys.stdin.readline()
won = 0
for seq in range(1, 11):
    try:
        store.intents.add(intent(seq, Leg.PERP if seq % 2 else Leg.SPOT))
        won += 1
    except InvariantBroken:
        pass
print(won, flush=True)
"""


@server_in_proof
def test_two_processes_never_write_the_same_order(planned: Store) -> None:
    """Of two processes that race for the same numbers each order is written by exactly one."""
    with process(planned.url, RACE) as first, process(planned.url, RACE) as second:
        for child in (first, second):
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        won = int(heard(first)) + int(heard(second))
    assert won == len(planned.intents.of_position(NAME)) == 2


def test_orders_that_hedge_or_reduce_are_not_counted(planned: Store) -> None:
    """Whatever is done to get out or together leaves the cap per minute to entries."""
    for number, purpose in enumerate((item for item in Purpose if not item.adds_exposure), start=1):
        planned.intents.add(intent(number, Leg.PERP, purpose=purpose))
        planned.intents.advance(intent(number, Leg.PERP).link_id, I.REFUSED)
    assert planned.intents.entries_since(NOW - timedelta(seconds=1)) == 0


def test_orders_are_counted_from_an_instant(planned: Store) -> None:
    """The cap per minute counts every order that was written to add exposure, whatever became of it."""
    planned.intents.add(intent(1, Leg.PERP))
    planned.intents.advance(intent(1, Leg.PERP).link_id, I.REFUSED)
    planned.intents.add(intent(2, Leg.PERP, created_at=NOW + timedelta(seconds=30), symbol="ETHUSDT"))
    assert planned.intents.entries_since(NOW - timedelta(seconds=1)) == 2
    assert planned.intents.entries_since(NOW + timedelta(seconds=1)) == 1
    assert planned.intents.entries_since(NOW + timedelta(seconds=31)) == 0
    assert len(planned.intents.between(NOW - timedelta(seconds=1), NOW + timedelta(seconds=1))) == 1


def test_the_newest_order_is_found(planned: Store) -> None:
    """The newest of the plan and the newest of a leg."""
    assert planned.intents.last(NAME) is None
    planned.intents.add(intent(1, Leg.PERP))
    spot = planned.intents.add(intent(2, Leg.SPOT))
    assert planned.intents.last(NAME) == spot
    assert planned.intents.last(NAME, Leg.PERP) == planned.intents.find(intent(1, Leg.PERP).link_id)


def test_an_unknown_order_is_a_lookup_error(store: Store) -> None:
    """``get`` raises, ``find`` answers None."""
    assert store.intents.find("fa-none-0000000000-s001") is None
    with pytest.raises(LookupError, match="fa-none"):
        store.intents.get("fa-none-0000000000-s001")


@sqlite_only
def test_a_start_with_a_long_past_is_quick(url: str) -> None:
    """With 10,000 past orders of 1,000 plans the reads of a start-up take less than a second, by SQLite's own
    plan (a server chooses by its statistics).
    """
    with opened(url) as store:
        with store.transaction():
            fill_past(store)
        watch = SystemWatch()
        assert store.intents.open() == ()
        assert store.positions.active() == ()
        assert store.intents.entries_since(NOW + timedelta(days=1)) == 0
        assert store.intents.next_seq("p-0000000999") == 11
        assert watch.elapsed() < timedelta(seconds=1)
        plan = store.database.execute_sql(
            "EXPLAIN QUERY PLAN SELECT * FROM intents WHERE state IN ('SENDING', 'WORKING', 'UNCERTAIN')"
        )
        assert "intents_open" in str(plan.fetchall())


class SystemWatch:
    """How long something really took."""

    def __init__(self) -> None:
        from fundarb.clock import SystemClock

        self.clock = SystemClock()
        self.start = self.clock.monotonic()

    def elapsed(self) -> timedelta:
        """Since the start."""
        return self.clock.monotonic() - self.start


def fill_past(store: Store) -> None:
    """A thousand closed plans of ten finished orders each, straight into the tables."""
    columns = list(IntentRecord.__dataclass_fields__)
    rows, plans = [], []
    for number in range(1000):
        plan = f"{number:010d}"
        record = position(plan=plan, base=f"C{number}")
        plans.append(
            {name: getattr(record, name) for name in record.__dataclass_fields__} | {"state": "CLOSED"}
        )
        for seq in range(1, 11):
            order = intent(seq, Leg.SPOT if seq % 2 else Leg.PERP, plan=plan)
            rows.append({name: getattr(order, name) for name in columns} | {"state": "DONE"})
    for model, records in ((store.tables.positions, plans), (store.tables.intents, rows)):
        names = list(records[0])
        encode = [model._meta.fields[name].db_value for name in names]
        marks = ", ".join("?" * len(names))
        connection: Any = store.database
        connection._mine().executemany(
            f"INSERT INTO {model._meta.table_name} ({', '.join(names)}) VALUES ({marks})",
            [[code(record[name]) for name, code in zip(names, encode, strict=True)] for record in records],
        )


def test_the_errors_are_ours(planned: Store) -> None:
    """Everything that the rules refuse is an error of this program, never the library's."""
    planned.intents.add(intent())
    with pytest.raises(FundarbError):
        planned.intents.add(intent())
