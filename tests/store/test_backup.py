"""A backup is a whole, verified database or nothing; a restore throws nothing away and halts."""

import os
import sqlite3
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from fundarb.core.records import BlockKind
from fundarb.errors import ConfigError, Locked, StateUnavailable
from fundarb.store import backup as module
from fundarb.store import file_place
from fundarb.store import restore as putting
from fundarb.store.backup import backup, copy_verified, newest, rotate, verify
from fundarb.store.blocks import Control
from fundarb.store.database import Store
from fundarb.store.files import url_of
from fundarb.store.flock import FileLock, lock_path
from fundarb.store.migrate import migrate
from fundarb.store.migrations import MIGRATIONS, SCHEMA_VERSION
from fundarb.store.restore import adopt_copy, restore
from tests.store.make import clock, intent, opened, position


@pytest.fixture
def backend() -> str:
    """Copies of files; those of a server's database stand in test_server_backup."""
    return "sqlite"


def test_a_backup_holds_everything_that_was_committed(store: Store, tmp_path: Path) -> None:
    """What was durable is in the copy, what was not is not; the copy is one private file."""
    store.positions.add(position())
    with store.transaction():
        store.intents.add(intent())
        copy = backup(store, tmp_path / "copies.db")
    assert copy == tmp_path / "copies.db"
    assert copy.stat().st_mode & 0o777 == 0o600
    assert verify(copy) == SCHEMA_VERSION
    assert not list(tmp_path.glob("copies.db-*"))
    with opened(copy, readonly=True) as reader:
        assert len(reader.positions.active()) == 1
        assert reader.intents.open() == ()


def test_a_backup_into_a_folder_is_named_by_the_time(store: Store, tmp_path: Path) -> None:
    """The name carries the file and the instant, and the newest is found."""
    first = backup(store, tmp_path)
    assert first.name == "fundarb.db.backup.20261122T090000.123Z"
    store.clock.sleep(timedelta(hours=1))
    second = backup(store, tmp_path)
    assert newest(tmp_path, "fundarb.db") == second
    assert newest(tmp_path, "other.db") is None


def test_a_backup_never_overwrites(store: Store, tmp_path: Path) -> None:
    """A file that exists is left alone."""
    (tmp_path / "x").write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        backup(store, tmp_path / "x")
    assert (tmp_path / "x").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_named(store: Store, tmp_path: Path) -> None:
    """A file in the way of the folder gives a clear refusal."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write there"):
        backup(store, tmp_path / "file" / "copy.db")


def test_a_copy_that_does_not_verify_is_not_kept(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damage on the way to the disk leaves no file that looks like a backup."""
    real = module.copy

    def damaging(source: Path, target: Path, *, name: str) -> None:
        real(source, target, name=name)
        with target.open("r+b") as file:
            file.seek(4096 * 3)
            file.write(b"\xff" * 4096)

    monkeypatch.setattr(file_place, "copy", damaging)
    with pytest.raises(ConfigError, match="damaged"):
        backup(store, tmp_path / "copy.db")
    assert list(tmp_path.glob("copy.db*")) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [("database or disk is full", "no space is left"), ("disk I/O error", "disk I/O error")],
)
def test_a_copy_that_its_disk_does_not_take_is_not_blamed_on_the_database(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, told: str
) -> None:
    """A full stick is the stick's: it is named, nobody is sent to the database or told to start again, and
    nothing is left on it.
    """

    def failing(source: Path, target: Path, *, name: str) -> None:
        raise sqlite3.OperationalError(words)

    monkeypatch.setattr(file_place, "copy", failing)
    with pytest.raises(ConfigError) as caught:
        backup(store, tmp_path / "copy.db")
    wanted = f"{tmp_path / 'copy.db'}: cannot write there: {told}; make room there, or choose another folder"
    assert str(caught.value) == wanted
    assert list(tmp_path.glob("copy.db*")) == []


def test_a_full_disk_of_the_database_is_the_database_s(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be read is said of the source, though the words are the same."""

    def failing(source: Path, target: Path, *, name: str) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(file_place, "copy", failing)
    monkeypatch.setattr(module, "_damage", lambda path: "unreadable" if path == store.path else "")
    with pytest.raises(StateUnavailable, match=f"database {store.path}: disk I/O error"):
        backup(store, tmp_path / "copy.db")


def test_backups_go_on_while_the_writer_writes(store: Store, tmp_path: Path) -> None:
    """Copies taken during writes are each a consistent state."""
    ready, stop = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            with store.transaction():
                store.meta.set("a", str(number))
                store.meta.set("b", str(number))
            ready.set()

    thread = threading.Thread(target=write)
    thread.start()
    ready.wait(10)
    try:
        copies = [copy_verified(store.path, tmp_path / f"copy{number}.db") for number in range(5)]
    finally:
        stop.set()
        thread.join()
    for copy in copies:
        with opened(copy, readonly=True) as reader:
            assert reader.meta.get("a") == reader.meta.get("b") is not None


def test_names_that_are_no_text_are_taken(path: Path) -> None:
    """A file's name is bytes to the system: databases and copies may have any."""
    odd = path.with_name(os.fsdecode(b"\xff.db"))
    copy = lived(odd)
    restore(copy, url_of(odd), clock=clock(), tag="bbbb")
    with opened(odd) as store:
        (block,) = store.blocks.active(clock().now())
        assert block.reason.startswith("restored from \\udcff.db.backup.")


def test_rotation_keeps_the_newest_and_touches_nothing_else(store: Store, tmp_path: Path) -> None:
    """Only names that a backup chose itself are ever deleted."""
    kept = [
        tmp_path / "fundarb.db",
        tmp_path / "fundarb.db.schema-1.20200101T000000.000Z",
        tmp_path / "notes",
    ]
    for path in kept:
        path.touch()
    copies = []
    for _ in range(4):
        copies.append(backup(store, tmp_path))
        store.clock.sleep(timedelta(days=1))
    assert rotate(tmp_path, "fundarb.db", keep=2) == tuple(copies[:2])
    assert rotate(tmp_path, "fundarb.db", keep=2) == ()
    assert sorted(tmp_path.iterdir()) == sorted([*kept, *copies[2:], store.path.parent])


def test_what_is_no_backup_does_not_verify(tmp_path: Path) -> None:
    """A text, and another program's database, are refused."""
    text = tmp_path / "text"
    text.write_text("hello " * 1000)
    with pytest.raises(ConfigError, match="damaged"):
        verify(text)
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE x (id INTEGER)")
    with pytest.raises(ConfigError, match="not a fundarb database"):
        verify(other)
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        verify(tmp_path / "none.db")


def test_a_reference_to_nothing_does_not_verify(store: Store, tmp_path: Path) -> None:
    """A copy whose rows refer to missing rows is damaged, though every page of it is sound."""
    store.positions.add(position())
    store.intents.add(intent())
    copy = backup(store, tmp_path / "copy.db")
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("DELETE FROM positions")
        connection.commit()
    with pytest.raises(ConfigError, match="intents refers to nothing"):
        verify(copy)


def lived(path: Path) -> Path:
    """A database with an account, backed up, and some life after that; the backup."""
    with opened(path) as store:
        store.identity.create(venue="bybit", mode="paper", instance="default", uid="", tag="aaaa")
        store.positions.add(position())
        copy = backup(store, path.parent)
        store.intents.add(intent())
    return copy


def test_a_restore_halts_and_draws_a_new_tag(path: Path) -> None:
    """The state is the backup's, the old tag stays ours, opens wait for a person, the former file is kept."""
    copy = lived(path)
    later = clock()
    later.sleep(timedelta(hours=2))
    former = Path(restore(copy, url_of(path), clock=later, tag="bbbb"))
    with opened(path, clock=later) as store:
        identity = store.identity.require()
        assert (identity.tag, identity.old_tags) == ("bbbb", ("aaaa",))
        assert store.intents.open() == ()
        assert store.blocks.control(later.now()) is Control.HALTED
        (block,) = store.blocks.active(later.now())
        assert block.kind is BlockKind.HALT
        assert "reconcile" in block.reason
    names = {item.name for item in path.parent.iterdir()}
    assert names == {path.name, copy.name, former.name, lock_path(path).name}
    with opened(former, readonly=True) as before:
        assert len(before.intents.open()) == 1


def test_a_damaged_database_can_be_replaced(path: Path) -> None:
    """What cannot be opened any more is moved aside, log and all, and the backup takes its place."""
    copy = lived(path)
    path.write_bytes(b"nonsense" * 1000)
    path.with_name(path.name + "-wal").write_bytes(b"stale")
    former = Path(restore(copy, url_of(path), clock=clock(), tag="bbbb"))
    assert former.read_bytes().startswith(b"nonsense")
    assert Path(f"{former}-wal").read_bytes() == b"stale"
    with opened(path) as store:
        assert len(store.positions.active()) == 1


def test_a_restore_to_an_empty_place(path: Path, tmp_path: Path) -> None:
    """There is nothing to move aside on a new machine."""
    copy = lived(path)
    target = tmp_path / "new machine" / "fundarb.db"
    assert restore(copy, url_of(target), clock=clock(), tag="bbbb") == ""
    with opened(target) as store:
        assert store.identity.require().tag == "bbbb"


def test_nothing_is_restored_under_a_writer(path: Path) -> None:
    """While the lock is held the database stays."""
    copy = lived(path)
    lock = FileLock(lock_path(path))
    assert lock.try_acquire()
    with pytest.raises(Locked, match="then restore"):
        restore(copy, url_of(path), clock=clock(), tag="bbbb")
    lock.release()
    with opened(path) as store:
        assert store.identity.require().tag == "aaaa"


def test_a_bad_backup_is_refused_before_anything_moves(path: Path) -> None:
    """Missing, damaged or newer: the database in place is untouched."""
    copy = lived(path)
    before = path.read_bytes()
    damaged = path.with_name("damaged.db")
    damaged.write_bytes(copy.read_bytes()[:9000])
    newer = path.with_name("newer.db")
    newer.write_bytes(copy.read_bytes())
    with closing(sqlite3.connect(newer)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    for source, words in ((path.with_name("none"), "no such backup"), (damaged, "damaged"), (newer, "newer")):
        with pytest.raises(ConfigError, match=words) as caught:
            restore(source, url_of(path), clock=clock(), tag="bbbb")
        assert "--db" not in str(caught.value)  # it is the backup that is wrong
        assert "-wal" not in str(caught.value)
    assert path.read_bytes() == before


def test_a_restore_that_fails_leaves_nothing_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No half-made copy beside the database, however it failed, and the database as it was."""
    copy = lived(path)
    before = {item.name for item in path.parent.iterdir()}

    def full(store: Store, tag: str) -> bool:
        raise StateUnavailable("database or disk is full")

    monkeypatch.setattr(putting, "adopt_copy", full)
    with pytest.raises(StateUnavailable):
        restore(copy, url_of(path), clock=clock(), tag="bbbb")
    assert {item.name for item in path.parent.iterdir()} == before | {lock_path(path).name}


def test_a_place_that_cannot_be_made_is_named(path: Path) -> None:
    """A file where the folder should be: a usage error, as for any command that makes a database."""
    copy = lived(path)
    with pytest.raises(ConfigError, match=r"cannot create .*choose a folder"):
        restore(copy, url_of(copy / "deeper" / "fundarb.db"), clock=clock(), tag="bbbb")


OWNER = ("bybit", "paper", "default")


@pytest.mark.parametrize(
    ("owner", "uid", "words"),
    [
        (("bybit", "live", "default"), "", "of mode 'paper', not of 'live'"),
        (("bybit-testnet", "paper", "default"), "", "of venue 'bybit', not of 'bybit-testnet'"),
        (("bybit", "paper", "second"), "", "of instance 'default', not of 'second'"),
        (OWNER, "7", "of uid '', not of '7'"),
    ],
)
def test_a_backup_of_somebody_else_is_refused(
    path: Path, tmp_path: Path, owner: tuple[str, str, str], uid: str, words: str
) -> None:
    """A copy of another venue, mode, instance or account: nothing is moved, nothing is left lying about."""
    copy = lived(path)
    target = tmp_path / "good" / "fundarb.db"
    with opened(target) as store:
        venue, mode, instance = owner
        store.identity.create(venue=venue, mode=mode, instance=instance, uid=uid, tag="cccc")
    with pytest.raises(ConfigError, match=words):
        restore(copy, url_of(target), clock=clock(), tag="bbbb", owner=owner)
    assert not [item.name for item in target.parent.iterdir() if "restor" in item.name]
    with opened(target, readonly=True) as store:
        assert store.identity.require().tag == "cccc"


def test_a_backup_of_nobody_or_of_the_same_account_is_taken(path: Path) -> None:
    """What was traded by the same account, also where the database in place cannot be read any more."""
    copy = lived(path)
    assert restore(copy, url_of(path), clock=clock(), tag="bbbb", owner=OWNER)
    path.write_bytes(b"nonsense" * 1000)
    later = clock()
    later.sleep(timedelta(hours=2))
    assert restore(copy, url_of(path), clock=later, tag="cccc", owner=OWNER)
    with opened(path) as store:
        assert store.identity.require().tag == "cccc"


def test_an_older_backup_is_migrated_on_the_way(path: Path) -> None:
    """A backup of an earlier schema is brought up to date before it takes the place."""
    path.parent.mkdir()
    old = path.with_name("old.db")
    old.touch()
    migrate(old, clock=clock(), migrations=MIGRATIONS[:1])
    restore(old, url_of(path), clock=clock(), tag="bbbb")
    with opened(path) as store:
        assert store.positions.active() == ()
        assert store.blocks.control(clock().now()) is Control.HALTED
    assert not list(path.parent.glob("*restoring*"))  # the backup itself is copy enough


def test_a_backup_put_in_place_by_hand_is_recognised(path: Path) -> None:
    """The next writer's start draws a new tag and halts, once; a database that is no copy is left alone."""
    copy = lived(path)
    with opened(path) as store:
        assert adopt_copy(store, "bbbb") is False
        assert store.identity.require().tag == "aaaa"
    path.unlink()
    copy.rename(path)
    with opened(path) as store:
        assert adopt_copy(store, "bbbb") is True
        assert adopt_copy(store, "cccc") is False
        assert store.identity.require().tag == "bbbb"
        assert store.blocks.control(clock().now()) is Control.HALTED


def torn(store: Store) -> Path:
    """The database file with one page that is no page."""
    path = Path(store.place.name)
    store.positions.add(position())
    store.close()
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 4096)
    return path


def test_a_damaged_database_is_named_by_its_backup(store: Store, tmp_path: Path) -> None:
    """The damage is of the database, not of the copy being made: its name is said, and no copy is left."""
    path, place = torn(store), store.place
    with pytest.raises(StateUnavailable) as caught:
        module.made(place, tmp_path / "copy.db", clock=clock())
    assert str(path) in str(caught.value)
    assert "partial" not in str(caught.value)
    assert list(tmp_path.glob("copy.db*")) == []


def test_what_is_damaged_is_said(store: Store) -> None:
    """A check of everything names the damage on one line, not SQLite's heading; a sound file passes."""
    store.place.require_sound()
    path = torn(store)
    with pytest.raises(StateUnavailable, match=f"{path}.*") as caught:
        store.place.require_sound()
    assert "\n" not in str(caught.value)
    assert "***" not in str(caught.value)
