"""The writer's lock of a PostgreSQL database: lost with its connection, noticed at once, never held twice."""

import os
import signal
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from fundarb.clock import SystemClock
from fundarb.errors import InvariantBroken, Locked, StateUnavailable
from fundarb.store import advisory
from fundarb.store.database import Store
from fundarb.store.lock import WriterLock
from fundarb.store.server import Server
from tests.postgres import Cluster
from tests.store.make import heard, opened, position, process

HOLD = """
from fundarb.errors import FundarbError
lock = WriterLock(store, clock=clock)
print(lock.acquire("daemon"), flush=True)
for line in sys.stdin:
    try:
        print(eval(line), flush=True)
    except FundarbError as error:
        print(f"{error.kind} {error}", flush=True)
"""


@pytest.fixture
def store(server_url: str) -> Iterator[Store]:
    """A database on the machine's own clock."""
    with opened(server_url, clock=SystemClock()) as made:
        yield made


@pytest.fixture
def lock(store: Store) -> Iterator[WriterLock]:
    """A lock that is held."""
    held = WriterLock(store, clock=store.clock)
    held.acquire("daemon")
    yield held
    held._lock.release()


def end_session(cluster: Cluster, label: str) -> None:
    """What an administrator does: end the connections of a kind."""
    done = cluster.ask(
        "postgres",
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE '{label}'",
    )
    assert done == [(True,)]


def test_the_holder_is_named_by_the_server(store: Store, lock: WriterLock, server_url: str) -> None:
    """Process, role and age come from the server's own list of locks, and the lock ends with its holder."""
    holder = store.place.holder()
    assert holder is not None
    assert (holder.pid, holder.role, holder.host) == (os.getpid(), "daemon", "")
    assert holder.since is not None
    assert timedelta() <= store.clock.now() - holder.since < timedelta(minutes=1)
    lock.release()
    assert store.place.holder() is None


def test_a_holder_on_another_machine_is_said_to_be_there(
    store: Store, lock: WriterLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told to kill a process of this machine in place of one of another."""
    monkeypatch.setattr(advisory, "this_host", lambda: "elsewhere")
    with pytest.raises(Locked, match=rf"process {os.getpid()} \(daemon\) on \S+ for .* \(on \S+\)"):
        WriterLock(store, clock=store.clock).acquire("command")


def test_a_holder_whose_label_cannot_be_read_is_ended_through_the_server(
    store: Store, lock: WriterLock
) -> None:
    """A session without our label (a role that may not see it) is named by the server's own number."""
    connection = lock._lock._connection  # type: ignore[attr-defined]
    connection.execute("SET application_name = 'x'")
    with pytest.raises(Locked, match=r"process unknown \(writer\).*pg_terminate_backend\(\d+\)"):
        WriterLock(store, clock=store.clock).acquire("command")


def test_a_lost_lock_ends_the_writer(cluster: Cluster, store: Store, lock: WriterLock) -> None:
    """The connection is ended: the lock is not ours any more, and nothing more is recorded or beaten."""
    assert lock.still_ours()
    end_session(cluster, "fundarb daemon%")
    assert not lock.still_ours()
    assert not store.still_there()
    with pytest.raises(StateUnavailable, match="writer's lock is lost"):
        store.meta.set("a", "1")
    with pytest.raises(StateUnavailable, match="writer's lock is lost"):
        lock.heartbeat()
    assert not lock.still_ours()


def test_a_heartbeat_notices_by_itself(cluster: Cluster, store: Store, lock: WriterLock) -> None:
    """A daemon that sends nothing learns of the loss with its next sign of life."""
    lock.heartbeat()
    end_session(cluster, "fundarb daemon%")
    with pytest.raises(StateUnavailable, match="writer's lock is lost"):
        lock.heartbeat()


def test_after_a_loss_another_takes_over_in_a_new_epoch(
    cluster: Cluster, store: Store, lock: WriterLock, server_url: str
) -> None:
    """The server gives the lock to the next one; the old writer is fenced even before it notices."""
    end_session(cluster, "fundarb daemon%")
    with opened(server_url, clock=SystemClock()) as other:
        second = WriterLock(other, clock=other.clock)
        assert second.acquire("command") == 2
        with pytest.raises(InvariantBroken, match="epoch 1 is over"):
            store.positions.add(position())  # the old writer has not asked for its lock
        other.meta.set("mine", "yes")
        assert not lock.still_ours()
        assert second.still_ours()
        assert other.positions.active() == ()
        second.release()


def test_two_processes_are_never_writers_at_once(cluster: Cluster, store: Store, server_url: str) -> None:
    """A process whose lock connection was ended never again says that it is the writer, and writes
    nothing.
    """
    with process(server_url, HOLD) as child:
        assert heard(child) == "1"

        def ask(line: str) -> str:
            assert child.stdin is not None
            child.stdin.write(f"{line}\n")
            child.stdin.flush()
            return heard(child)

        with pytest.raises(Locked, match=f"process {child.pid} "):
            WriterLock(store, clock=store.clock).acquire("command")
        assert ask("lock.still_ours()") == "True"
        end_session(cluster, f"fundarb daemon {child.pid}@%")
        mine = WriterLock(store, clock=store.clock)
        assert mine.acquire("command") == 2
        assert ask("store.meta.set('theirs', 'x')").startswith("invariant_broken epoch 1 is over")
        assert ask("lock.still_ours()") == "False"
        assert ask("store.meta.set('theirs', 'x')").startswith("state_unavailable")
        assert mine.still_ours()
        assert store.meta.get("theirs") is None
        mine.release()


def test_a_stopped_holder_keeps_its_lock_and_is_fenced_if_it_was_ended(
    cluster: Cluster, store: Store, server_url: str
) -> None:
    """SIGSTOP is not death; who ends the stopped one's connection takes over, and it finds out on waking."""
    with process(server_url, HOLD) as child:
        assert heard(child) == "1"
        child.send_signal(signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        with pytest.raises(Locked):
            WriterLock(store, clock=store.clock).acquire("command")
        end_session(cluster, f"fundarb daemon {child.pid}@%")
        mine = WriterLock(store, clock=store.clock)
        mine.acquire("command")
        child.send_signal(signal.SIGCONT)
        assert child.stdin is not None
        child.stdin.write("lock.still_ours()\n")
        child.stdin.flush()
        assert heard(child) == "False"
        mine.release()


def test_a_silent_server_is_not_waited_for(
    cluster: Cluster, store: Store, lock: WriterLock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is frozen keeps its sockets open: the lock counts as lost after its patience."""
    connection = lock._lock._connection  # type: ignore[attr-defined]
    monkeypatch.setattr(connection, "patience", 1)
    start = store.clock.monotonic()
    cluster.freeze()
    try:
        assert not lock.still_ours()
    finally:
        cluster.thaw()
    assert store.clock.monotonic() - start < timedelta(seconds=20)
    assert not lock.still_ours()


def test_another_session_behind_the_same_connection_is_noticed(store: Store, lock: WriterLock) -> None:
    """A pooler that hands out another session for each transaction cannot keep a lock."""
    held = lock._lock
    held._session += 1  # type: ignore[attr-defined]
    assert not lock.still_ours()


def test_a_forked_child_does_not_hold_the_lock(store: Store, lock: WriterLock) -> None:
    """The child's copy of the connection is its parent's; its end leaves the parent the writer."""
    child = os.fork()
    if child == 0:
        held = lock._lock
        os._exit(7 if held.ours() else 0)
    assert os.waitpid(child, 0)[1] == 0
    assert lock.still_ours()


def test_asking_for_the_lock_is_quick(lock: WriterLock) -> None:
    """The wire gate asks before each order: well below a millisecond, where the machine is not busy."""
    clock = SystemClock()
    spans = []
    for _ in range(200):
        start = clock.monotonic()
        assert lock.still_ours()
        spans.append(clock.monotonic() - start)
    assert min(spans) < timedelta(milliseconds=1)


def test_threads_may_ask_at_once(lock: WriterLock) -> None:
    """The trading thread's gate and the main loop's heartbeat share the lock's connection."""
    answers: list[bool] = []

    def ask() -> None:
        answers.extend(lock.still_ours() for _ in range(50))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 150


def test_a_lock_that_was_never_taken_is_nobodys(server_url: str) -> None:
    """Nothing is asked of the server for it."""
    lock = advisory.AdvisoryLock(Server(server_url))
    assert not lock.ours()
    lock.write({"pid": 1, "role": "x", "since": ""})
    lock.release()
