"""One transaction: all or nothing, joined by inner blocks, told about only when durable."""

# ruff: noqa: PT012 - a block that fails after several statements is what is tested here

import threading
from collections.abc import Callable

import pytest

from fundarb.core.events import ActivityChanged, Event, RecordedEvent
from fundarb.core.orders import Leg
from fundarb.core.states import PositionTrigger
from fundarb.crash import Point
from fundarb.errors import IllegalTransition, InvariantBroken, StateUnavailable
from fundarb.store import transaction
from fundarb.store.database import Store
from tests.store.make import D, heard, intent, opened, position, process, server_in_proof


class Stop(Exception):
    """What the tests raise inside a block."""


def test_a_block_that_raises_leaves_nothing(store: Store) -> None:
    """What was written before the exception is gone, events included."""
    with pytest.raises(Stop), store.transaction():
        store.positions.add(position())
        store.events.record(ActivityChanged(activity="IDLE"))
        raise Stop
    assert store.positions.active() == ()
    assert store.events.after(0, 10) == ()


def test_an_inner_block_joins_and_fails_alone(store: Store) -> None:
    """If the outer block survives an inner one's exception, only the inner one's work is undone."""
    with store.transaction():
        store.positions.add(position())
        with pytest.raises(Stop), store.transaction():
            store.positions.add(position(plan="AAAAAAAAAA", base="ETH"))
            raise Stop
        store.meta.set("after", "yes")
    assert [item.base for item in store.positions.active()] == ["BTC"]
    assert store.meta.get("after") == "yes"


def test_the_outer_block_takes_the_inner_with_it(store: Store) -> None:
    """An inner block is not durable before the outer one is."""
    with pytest.raises(Stop), store.transaction():
        with store.transaction():
            store.meta.set("inner", "yes")
        raise Stop
    assert store.meta.get("inner") is None


def test_another_connection_sees_a_transaction_only_when_it_is_durable(store: Store, url: str) -> None:
    """Readers see the state before until the commit, and the whole of it after."""
    with opened(url, readonly=True) as reader:
        with store.transaction():
            store.meta.set("a", "1")
            assert reader.meta.get("a") is None
        assert reader.meta.get("a") == "1"


def test_listeners_are_told_after_the_commit_and_in_order(store: Store, url: str) -> None:
    """A listener finds what it is told about already durable, and is told in the order of the ids."""
    told: list[tuple[str, bool]] = []
    with opened(url, readonly=True) as reader:

        def listen(recorded: RecordedEvent, event: Event) -> None:
            durable = any(item.id == recorded.id for item in reader.events.after(0, 10))
            assert isinstance(event, ActivityChanged)
            told.append((event.activity, durable))

        end = store.events.subscribe(listen)
        with store.transaction():
            store.events.record(ActivityChanged(activity="SCANNING"))
            with store.transaction():
                store.events.record(ActivityChanged(activity="OPENING"))
            assert told == []
        assert told == [("SCANNING", True), ("OPENING", True)]
        end()
        store.events.record(ActivityChanged(activity="IDLE"))
    assert len(told) == 2


def test_what_was_undone_is_never_told(store: Store) -> None:
    """Neither a rolled back block nor an inner one that failed alone reaches a listener."""
    told: list[str] = []
    store.events.subscribe(lambda _, event: told.append(str(event.payload()["activity"])))
    with store.transaction():
        with pytest.raises(Stop), store.transaction():
            store.events.record(ActivityChanged(activity="NEVER"))
            raise Stop
        store.events.record(ActivityChanged(activity="KEPT"))
    with pytest.raises(Stop), store.transaction():
        store.events.record(ActivityChanged(activity="NEVER"))
        raise Stop
    assert told == ["KEPT"]


def test_every_callback_runs_even_if_one_raises(store: Store) -> None:
    """A callback that raises keeps no other from running, and the state stays durable."""
    ran: list[int] = []

    def bad() -> None:
        raise Stop

    with pytest.raises(Stop), store.transaction():
        store.meta.set("a", "1")
        for callback in (lambda: ran.append(1), bad, lambda: ran.append(2)):
            store.on_commit(callback)
    assert ran == [1, 2]
    assert store.meta.get("a") == "1"


def test_a_callback_may_write(store: Store) -> None:
    """What runs after the commit is outside of the transaction and may begin its own."""
    with store.transaction():
        store.on_commit(lambda: store.meta.set("later", "yes"))
    assert store.meta.get("later") == "yes"


def test_without_a_transaction_a_callback_runs_at_once(store: Store) -> None:
    """There is nothing to wait for."""
    ran: list[bool] = []
    store.on_commit(lambda: ran.append(True))
    assert ran == [True]


def test_an_illegal_transition_changes_nothing(store: Store) -> None:
    """State, times and events are as before."""
    before = store.positions.add(position())
    with pytest.raises(IllegalTransition):
        store.positions.advance(before.position_id, PositionTrigger.BALANCED)
    assert store.positions.get(before.position_id) == before
    assert store.events.after(0, 10) == ()


def test_a_reader_cannot_write(store: Store, url: str) -> None:
    """A store opened for reading refuses a transaction, and the engine refuses the statement."""
    assert store.readonly is False
    with opened(url, readonly=True) as reader:
        with pytest.raises(InvariantBroken, match="reading only"):
            reader.meta.set("a", "1")
        with pytest.raises(StateUnavailable, match=r"read-?only"):
            reader.database.execute_sql("DELETE FROM meta")


def test_several_reads_see_one_moment(store: Store, url: str) -> None:
    """Inside ``reading`` a concurrent commit stays invisible; a write inside it is refused."""
    with opened(url, readonly=True) as reader:
        with reader.reading():
            assert reader.meta.get("a") is None
            store.meta.set("a", "1")
            with reader.reading():
                assert reader.meta.get("a") is None
        assert reader.meta.get("a") == "1"
    with store.reading(), pytest.raises(InvariantBroken, match="inside a consistent read"):
        store.meta.set("b", "1")


def test_two_stores_in_one_process_are_strangers(anew: Callable[[], str]) -> None:
    """Rows of one database never appear in another, even inside one another's transactions."""
    with opened(anew()) as first, opened(anew()) as second:
        with first.transaction(), second.transaction():
            first.positions.add(position())
            second.positions.add(position(base="ETH"))
        assert [item.base for item in first.positions.active()] == ["BTC"]
        assert [item.base for item in second.positions.active()] == ["ETH"]


def test_threads_have_their_own_transactions(store: Store) -> None:
    """What one thread has not committed another does not see, and both may use one store."""
    seen: list[str | None] = []

    def in_thread(action: Callable[[], None]) -> None:
        thread = threading.Thread(target=action)
        thread.start()
        thread.join()

    with store.transaction():
        store.meta.set("a", "1")
        in_thread(lambda: seen.append(store.meta.get("a")))
    in_thread(lambda: store.meta.set("b", "2"))
    assert seen == [None]
    assert store.meta.get("b") == "2"


COUNT = """
sys.stdin.readline()
for _ in range(40):
    with store.transaction():
        number = int(store.meta.get("count") or 0)
        store.meta.set("count", str(number + 1))
print("done", flush=True)
"""


def test_two_processes_lose_no_update(store: Store, url: str) -> None:
    """Read, add, write: with an immediate transaction neither overwrites the other, and none fails."""
    store.meta.set("count", "0")
    with process(url, COUNT) as first, process(url, COUNT) as second:
        for child in (first, second):
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        assert (heard(first), heard(second)) == ("done", "done")
    assert store.meta.get("count") == "80"


KILLED = """
with store.transaction():
    store.meta.set("half", "written")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@server_in_proof
def test_a_killed_process_leaves_no_half_transaction(store: Store, url: str) -> None:
    """SIGKILL before the commit: nothing of it is there, and the next writer needs no clean-up."""
    with process(url, KILLED) as child:
        child.wait(timeout=20)
    assert store.meta.get("half") is None
    store.meta.set("next", "works")
    assert store.meta.get("next") == "works"


@server_in_proof
def test_a_reader_opens_after_a_kill(url: str) -> None:
    """The write-ahead log of a killed writer is read by the next reader without any writer's help."""
    with process(url, "store.meta.set('kept', 'yes')\nos.kill(os.getpid(), signal.SIGKILL)\n") as child:
        child.wait(timeout=20)
    with opened(url, readonly=True) as reader:
        assert reader.meta.get("kept") == "yes"


def test_everything_of_a_step_is_one_transaction(store: Store) -> None:
    """State, event, intent and quantities of one step come or go together."""
    store.positions.add(position())
    name = position().position_id
    with pytest.raises(InvariantBroken), store.transaction():
        store.positions.advance(name, PositionTrigger.SENT)
        store.intents.add(intent(1, Leg.PERP))
        store.positions.add_quantities(name, spot=D("0.1"), contracts=D("0.1"))
        store.intents.add(intent(2, Leg.PERP))  # the first is not terminal
    assert store.positions.get(name) == store.positions.active_for("BTC")
    assert store.positions.get(name).spot_owned == 0
    assert store.intents.open() == ()
    assert store.events.after(0, 10) == ()


def test_crash_points_lie_on_either_side_of_the_outermost_commit(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However deep they were named, points are reached once, around the commit; undone ones never."""
    passed: list[tuple[str, bool]] = []
    with opened(url, readonly=True) as reader:

        def note(point: Point) -> None:
            passed.append((point.value, reader.meta.get("a") is not None))

        monkeypatch.setattr(transaction, "reached", note)
        with store.transaction(before=Point.RESOLVE_BEFORE_COMMIT, after=Point.RESOLVE_AFTER_COMMIT):
            store.meta.set("a", "1")
            store.positions.add(position())
            for seq, leg in ((1, Leg.SPOT), (2, Leg.PERP)):
                store.intents.add(intent(seq, leg))
            with pytest.raises(IllegalTransition):
                store.positions.advance(position().position_id, PositionTrigger.BALANCED)
    before = ["resolve.before_commit", "position.before_commit", "intent.before_commit"]
    after = ["resolve.after_commit", "position.after_commit", "intent.after_commit"]
    assert passed == [(name, False) for name in before] + [(name, True) for name in after]


CRASH = """
from fundarb import crash
from fundarb.core.states import PositionTrigger
from tests.store.make import intent, position
store.positions.add(position())
crash.arm(sys.stdin.readline().strip())
with store.transaction():
    store.intents.add(intent())
    store.positions.advance(position().position_id, PositionTrigger.SENT)
print("survived", flush=True)
"""


@pytest.mark.parametrize(
    ("point", "durable"),
    [("intent.before_commit", False), ("state.before_commit", False), ("intent.after_commit", True)],
)
@server_in_proof
def test_a_kill_at_a_point_leaves_all_or_nothing(url: str, point: str, durable: bool) -> None:
    """Killed before the commit neither the order nor the step is there; after it both are."""
    with process(url, CRASH) as child:
        assert child.stdin is not None
        child.stdin.write(f"{point}\n")
        child.stdin.flush()
        assert heard(child) == ""
    with opened(url) as store:
        assert len(store.intents.open()) == durable
        (found,) = store.positions.active()
        assert found.state == ("OPENING" if durable else "PLANNED")
