"""One writer per account, with real processes: killed, stopped, patient, and told who is in the way."""

import fcntl
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from fundarb.clock import SystemClock
from fundarb.errors import InvariantBroken, Locked, StateUnavailable
from fundarb.store.database import Store
from fundarb.store.flock import FileLock, held, holder, lock_path
from fundarb.store.lock import WriterLock
from tests.store.make import clock, heard, opened, process, server_in_proof, sqlite_only

SECOND = timedelta(seconds=1)
HOLD = """
lock = WriterLock(store, clock=clock)
print(lock.acquire("daemon", timedelta()), flush=True)
sys.stdin.readline()
lock.release()
print("released", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A database on the machine's own clock."""
    with opened(url, clock=SystemClock()) as made:
        yield made


def lock_of(store: Store) -> WriterLock:
    """A lock that nobody holds yet."""
    return WriterLock(store, clock=store.clock)


def say(child: "subprocess.Popen[str]") -> None:
    """Let a process go on."""
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()


def test_the_epoch_grows_with_each_writer(store: Store) -> None:
    """Every take-over is a new epoch, and the row names the writer until it ends."""
    assert store.writer.read() is None
    assert store.writer.epoch() == 0
    for epoch in (1, 2, 3):
        lock = lock_of(store)
        assert lock.acquire("command") == epoch
        assert lock.acquire("command") == lock.epoch == epoch
        record = store.writer.read()
        assert record is not None
        assert (record.pid, record.epoch, record.role) == (os.getpid(), epoch, "command")
        assert lock.still_ours()
        lock.release()
        assert not lock.still_ours()
        assert store.writer.read() is None
    assert store.writer.epoch() == 3


def test_a_second_writer_is_told_who_the_first_is(store: Store, url: str) -> None:
    """Process id, role and age of the holder stand in the message, and how to end it."""
    with process(url, HOLD) as child:
        assert heard(child) == "1"
        with pytest.raises(Locked) as caught:
            lock_of(store).acquire("command")
        assert re.search(
            rf"process {child.pid} \(daemon\) for \d+ s, last sign of life \d+ s ago", str(caught.value)
        )
        assert f"kill {child.pid}" in str(caught.value)
        assert store.place.holder() is not None


def test_a_second_writer_in_the_same_process_is_refused_too(store: Store) -> None:
    """The lock excludes objects, not only processes."""
    first, second = lock_of(store), lock_of(store)
    first.acquire("command")
    with pytest.raises(Locked):
        second.acquire("command")
    with pytest.raises(InvariantBroken, match="not the writer"):
        second.heartbeat()
    first.release()
    assert second.acquire("command") == 2
    second.release()


@server_in_proof
def test_waiting_ends_when_the_holder_lets_go(store: Store, url: str) -> None:
    """Within the time to wait the lock is taken as soon as it is free."""
    with process(url, HOLD) as child:
        assert heard(child) == "1"
        say(child)
        lock = lock_of(store)
        assert lock.acquire("command", 10 * SECOND) == 2
        lock.release()


def test_waiting_is_on_the_clock_and_ends(url: str) -> None:
    """On a virtual clock the whole wait passes at once, and not a moment more than asked."""
    virtual = clock()
    with opened(url, clock=virtual) as store:
        first, second = lock_of(store), lock_of(store)
        first.acquire("daemon")
        start = virtual.now()
        with pytest.raises(Locked):
            second.acquire("command", timedelta(minutes=5))
        assert timedelta(minutes=5) <= virtual.now() - start < timedelta(minutes=5, seconds=1)
        first.release()


def test_a_killed_holder_leaves_nothing_to_clean_up(store: Store, url: str) -> None:
    """After SIGKILL the next writer takes over at once, in a new epoch."""
    with process(url, HOLD) as child:
        assert heard(child) == "1"
        child.kill()
        child.wait()
        record = store.writer.read()
        assert record is not None
        assert record.pid == child.pid
        lock = lock_of(store)
        assert lock.acquire("command", 10 * SECOND) == 2  # a server notices the death a moment later
        holder = store.place.holder()
        assert holder is not None
        assert holder.pid == os.getpid()
        lock.release()
        assert store.place.holder() is None


@server_in_proof
def test_a_stopped_holder_keeps_its_lock(store: Store, url: str) -> None:
    """SIGSTOP is not death: nobody takes over from a process that may wake up."""
    with process(url, HOLD) as child:
        assert heard(child) == "1"
        child.send_signal(signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        try:
            with pytest.raises(Locked, match=str(child.pid)):
                lock_of(store).acquire("command", timedelta(milliseconds=300))
        finally:
            child.send_signal(signal.SIGCONT)
        say(child)
        assert heard(child) == "released"


RACE = """
sys.stdin.readline()
lock = WriterLock(store, clock=clock)
print(*[epoch for _ in range(10) for epoch in [lock.acquire("command", timedelta(seconds=20))]
        if lock.still_ours() and lock.release() is None], flush=True)
"""


@server_in_proof
def test_processes_that_race_never_share_an_epoch(store: Store, url: str) -> None:
    """Twenty turns of two processes are twenty epochs."""
    with process(url, RACE) as first, process(url, RACE) as second:
        for child in (first, second):
            say(child)
        epochs = [int(word) for child in (first, second) for word in heard(child).split()]
    assert sorted(epochs) == list(range(1, 21))
    assert store.writer.epoch() == 20


def test_the_heartbeat_moves_and_is_fenced(url: str) -> None:
    """A sign of life is dated by the clock; after a take-over the old writer's sign is refused."""
    virtual = clock()
    with opened(url, clock=virtual) as store:
        lock = lock_of(store)
        epoch = lock.acquire("daemon")
        virtual.sleep(5 * SECOND)
        lock.heartbeat()
        record = store.writer.read()
        assert record is not None
        assert record.alive(virtual.now(), SECOND)
        assert record.heartbeat - record.since == 5 * SECOND
        store.writer.take_over(1, "command", at=store.clock.now())
        assert not lock.still_ours()
        with pytest.raises(InvariantBroken, match=f"epoch {epoch} is over"):
            lock.heartbeat()
        lock.release()
        assert store.writer.read() is not None


@sqlite_only
def test_a_deleted_lock_file_ends_ownership(store: Store) -> None:
    """Who deletes the file lets a second writer in: the first must notice before it sends anything."""
    lock = lock_of(store)
    lock.acquire("daemon")
    lock_path(store.path).unlink()
    assert not lock.still_ours()
    other = lock_of(store)
    other.acquire("command")
    lock_path(store.path).touch()
    assert other.still_ours()
    lock.release()
    other.release()


def test_a_failed_take_over_frees_the_lock(store: Store) -> None:
    """If the epoch cannot be written nobody is left holding the lock."""
    reader = opened(store.url, readonly=True)
    with pytest.raises(InvariantBroken):
        WriterLock(reader, clock=store.clock).acquire("command")
    reader.close()
    assert store.place.holder() is None


@sqlite_only
def test_release_lets_go_even_if_the_database_is_gone(store: Store) -> None:
    """The file lock is freed whatever happens to the row of a file that is gone."""
    lock = lock_of(store)
    lock.acquire("daemon")
    store.close()
    store.path.unlink()
    with pytest.raises(StateUnavailable):
        lock.release()
    assert store.place.holder() is None


def test_the_lock_file_is_private_and_says_who_holds_it(tmp_path: Path) -> None:
    """Only its owner may read it; nonsense inside it is no obstacle."""
    lock = FileLock(tmp_path / "x.lock")
    assert not held(lock.path)
    assert holder(lock.path) == {}
    assert lock.try_acquire()
    assert lock.try_acquire()
    lock.write({"pid": 5})
    assert holder(lock.path) == {"pid": 5}
    assert lock.path.stat().st_mode & 0o777 == 0o600
    assert held(lock.path)
    lock.path.write_text("nonsense")
    assert holder(lock.path) == {}
    lock.path.write_text("[1]")
    assert holder(lock.path) == {}
    lock.release()
    lock.release()
    assert not held(lock.path)


@sqlite_only
def test_a_holder_that_left_no_name_can_be_described(store: Store) -> None:
    """A lock file without readable text still gives a message."""
    stranger = FileLock(lock_path(store.path))
    assert stranger.try_acquire()
    with pytest.raises(Locked, match=r"process unknown \(writer\)"):
        lock_of(store).acquire("command")
    stranger.release()


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(seconds=3), "3 s"),
        (timedelta(seconds=150), "2 min 30 s"),
        (timedelta(hours=5), "5 h 0 min"),
    ],
)
def test_ages_are_said_in_words(url: str, age: timedelta, text: str) -> None:
    """Seconds, minutes, hours: as a person would say it."""
    virtual = clock()
    with opened(url, clock=virtual) as store:
        lock = lock_of(store)
        lock.acquire("daemon")
        virtual.sleep(age)
        assert f"for {text}, last sign of life {text} ago" in lock.describe_holder()
        lock.release()


@sqlite_only
def test_a_link_to_the_database_leads_to_the_same_lock(store: Store, tmp_path: Path) -> None:
    """Whatever name a second process uses for the file, it meets the first one's lock."""
    link = tmp_path / "link.db"
    link.symlink_to(store.path)
    lock = lock_of(store)
    lock.acquire("daemon")
    with opened(link) as other, pytest.raises(Locked):
        lock_of(other).acquire("command")
    lock.release()


def test_a_lock_file_deleted_in_the_moment_of_locking_excludes_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever locked a file that has lost its name has locked nothing, and tries again."""
    lock = FileLock(tmp_path / "x.lock")
    real = fcntl.flock

    def deleting(file: int, how: int) -> None:
        real(file, how)
        lock.path.unlink()

    monkeypatch.setattr(fcntl, "flock", deleting)
    assert not lock.try_acquire()
    lock.write({"pid": 1})
    assert not lock.ours()
    monkeypatch.setattr(fcntl, "flock", real)
    assert lock.try_acquire()
    assert lock.ours()
    lock.release()
