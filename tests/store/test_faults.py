"""What happens to an open database: deleted, replaced, out of room, blocked. Nothing is believed that is not
durable.
"""

# ruff: noqa: PT012 - a block that fails after several statements is what is tested here

import shutil
import sqlite3
from pathlib import Path

import pytest

from fundarb.core.states import PositionTrigger
from fundarb.errors import StateUnavailable
from fundarb.store.database import Store
from fundarb.store.sqlite import Sqlite, unavailable
from tests.store.make import opened, position, process


@pytest.fixture
def backend() -> str:
    """Faults of a file and its disk; those of a server stand in test_server_faults."""
    return "sqlite"


def test_a_deleted_database_is_noticed_before_anything_is_believed(path: Path) -> None:
    """After the file is gone no transaction succeeds, so no order gets a row that nobody will find again."""
    with opened(path) as store:
        store.meta.set("a", "1")
        assert store.still_there()
        path.unlink()
        assert not store.still_there()
        with pytest.raises(StateUnavailable, match="deleted or replaced") as caught:
            store.positions.add(position())
        assert "backup" in str(caught.value)


def test_a_database_deleted_inside_a_transaction_is_noticed_at_its_end(path: Path) -> None:
    """The commit itself may succeed into a file without a name: it is reported as failed all the same."""
    told: list[bool] = []
    with opened(path) as store, pytest.raises(StateUnavailable, match="deleted"), store.transaction():
        store.meta.set("a", "1")
        store.on_commit(lambda: told.append(True))
        path.unlink()
    assert told == []


@pytest.mark.parametrize("victim", ["fundarb.db", "fundarb.db-wal"])
def test_a_replaced_file_is_noticed(path: Path, victim: str) -> None:
    """Another file under the same name, be it the database or its log, is not ours."""
    with opened(path) as store:
        store.meta.set("a", "1")
        target = path.with_name(victim)
        copy = target.with_name("copy")
        shutil.copy(target, copy)
        copy.rename(target)
        assert not store.still_there()
        with pytest.raises(StateUnavailable, match="replaced"):
            store.meta.set("a", "2")


@pytest.mark.parametrize("ours", [True, False])
def test_what_failed_is_said_and_not_the_rollback_after_it(path: Path, ours: bool) -> None:
    """The engine rolls back by itself where a disk fails; the library's own attempt at it then fails, too,
    and is not the news: whether a statement of ours or the library's commit met the disk.
    """
    with opened(path) as store:
        database = store.database
        assert isinstance(database, Sqlite)
        with pytest.raises(StateUnavailable, match="disk I/O error; look at the disk"), database.snapshot():
            database.execute_sql("ROLLBACK")
            error = sqlite3.OperationalError("disk I/O error")
            raise unavailable(error, path) if ours else error


def test_other_connections_coming_and_going_are_no_alarm(path: Path) -> None:
    """As long as this store is open its files keep their identity, whoever else opens and closes."""
    with opened(path) as store:
        for number in range(3):
            with opened(path) as other:
                other.meta.set("n", str(number))
            with opened(path, readonly=True) as reader:
                assert reader.meta.get("n") == str(number)
            assert store.still_there()
        store.meta.set("n", "last")


def limit_pages(store: Store) -> None:
    """Leave the file no room to grow."""
    count = store.database.execute_sql("PRAGMA page_count").fetchone()[0]
    store.database.execute_sql(f"PRAGMA max_page_count = {count}")


def fill(store: Store) -> None:
    """Write until there is no room."""
    for number in range(400):
        store.meta.set(f"fill {number}", "x" * 1000)


def test_a_full_disk_is_named_and_nothing_is_half_written(store: Store) -> None:
    """The failing transaction leaves nothing, its listeners hear nothing, and reading still works."""
    store.positions.add(position())
    told: list[int] = []
    store.events.subscribe(lambda recorded, _: told.append(recorded.id))
    limit_pages(store)
    with pytest.raises(StateUnavailable, match="disk is full; free some space"):
        fill(store)
    kept = store.events.newest_id()
    with pytest.raises(StateUnavailable), store.transaction():
        store.positions.advance(position().position_id, PositionTrigger.SENT)
        fill(store)
    assert store.positions.get(position().position_id).state == "PLANNED"
    assert store.events.newest_id() == kept
    assert told == []


def test_space_that_comes_back_is_used(store: Store) -> None:
    """After a full disk the same store goes on as soon as there is room."""
    limit_pages(store)
    with pytest.raises(StateUnavailable):
        fill(store)
    store.database.execute_sql("PRAGMA max_page_count = 1000000")
    store.meta.set("again", "yes")
    assert store.meta.get("again") == "yes"


def test_a_swallowed_failure_cannot_become_a_commit(store: Store) -> None:
    """Who catches the failure inside a transaction cannot make it durable, nor write on outside of it."""
    limit_pages(store)
    with pytest.raises(StateUnavailable), store.transaction():
        store.meta.set("before", "x")
        with pytest.raises(StateUnavailable):
            fill(store)
        store.database.execute_sql("ROLLBACK")  # as the engine itself does on some failures
        with pytest.raises(StateUnavailable, match="rolled back"):
            store.meta.set("after", "x")
    assert store.meta.get("before") is None
    assert store.meta.get("after") is None


def test_a_transaction_the_engine_gave_up_does_not_end_as_if_it_were_durable(store: Store) -> None:
    """A swallowed rollback of the engine is reported at the end of the block; its listeners hear nothing."""
    told: list[bool] = []
    with pytest.raises(StateUnavailable, match="rolled back by"), store.transaction():
        store.meta.set("a", "1")
        store.on_commit(lambda: told.append(True))
        store.database.execute_sql("ROLLBACK")
    assert told == []
    store.meta.set("b", "1")
    assert (store.meta.get("a"), store.meta.get("b")) == (None, "1")


LIMITED = """
import resource
from tests.store.make import intent, position
from fundarb.core.states import PositionTrigger
from fundarb.errors import StateUnavailable
store.positions.add(position())
wal = path.with_name(path.name + "-wal").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (wal + 6000, wal + 6000))
try:
    with store.transaction():
        store.intents.add(intent())
        store.meta.set("large", "x" * 100_000)
    print("committed", flush=True)
except StateUnavailable as error:
    print("refused", len(store.intents.open()), error, flush=True)
"""


def test_a_write_that_the_system_refuses_at_the_commit(path: Path) -> None:
    """When the operating system takes no more bytes the intent is not there, for us as for everybody else."""
    with process(path, LIMITED) as child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith(f"refused 0 database {path}: disk I/O error")
    with opened(path) as store:
        assert store.intents.open() == ()
        assert len(store.positions.active()) == 1


BUSY = """
with store.transaction():
    store.meta.set("busy", "1")
    print("in", flush=True)
    sys.stdin.readline()
"""


def test_a_transaction_that_never_ends_is_not_waited_for_forever(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second writer gives up after a while and says why."""
    with opened(path) as store:
        store.database.execute_sql("PRAGMA busy_timeout = 100")
        with process(path, BUSY) as child:
            assert child.stdout is not None
            assert child.stdout.readline().strip() == "in"
            with pytest.raises(StateUnavailable, match="locked; another process"):
                store.meta.set("mine", "1")


def test_a_closed_store_says_so(path: Path) -> None:
    """Nothing reopens behind the back of who closed it."""
    store = opened(path)
    store.close()
    with pytest.raises(StateUnavailable):
        store.meta.get("a")
