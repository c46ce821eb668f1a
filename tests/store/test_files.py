"""Whatever lies at the place of the database is opened rightly, or refused, named and untouched."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from fundarb.errors import ConfigError, StateUnavailable
from fundarb.store import files
from fundarb.store.backup import verify
from fundarb.store.database import Store, exists
from fundarb.store.files import require_sound
from fundarb.store.migrations import SCHEMA_VERSION
from fundarb.store.sqlite import file_uri
from tests.store.make import clock, made, opened


def refused(path: Path, *, readonly: bool = False) -> str:
    """Why a file cannot be opened; it must not have changed by the attempt."""
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(ConfigError) as caught:
        opened(path, readonly=readonly)
    assert (path.read_bytes() if path.is_file() else None) == before
    return str(caught.value)


def test_files_are_private(path: Path) -> None:
    """Folder 0700, database and its companions 0600, whatever the umask."""
    old = os.umask(0)
    try:
        with opened(path) as store:
            store.meta.set("a", "1")
            modes = {item.name: item.stat().st_mode & 0o777 for item in path.parent.iterdir()}
    finally:
        os.umask(old)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert set(modes) >= {"fundarb.db", "fundarb.db-wal", "fundarb.db-shm"}
    assert set(modes.values()) == {0o600}


def test_a_file_that_others_may_read_is_tightened(path: Path) -> None:
    """An older file with wider rights gets its own back at the next writing start."""
    made(path).chmod(0o644)
    opened(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_reader_makes_no_file(path: Path) -> None:
    """Reading what does not exist is refused and creates nothing."""
    assert "there is no database" in refused(path, readonly=True)
    assert not path.parent.exists()


def test_exists(path: Path) -> None:
    """An empty file is no database yet."""
    assert not exists(files.url_of(path))
    path.parent.mkdir()
    path.touch()
    assert not exists(files.url_of(path))
    opened(path).close()
    assert exists(files.url_of(path))


def test_an_empty_file_becomes_a_database(path: Path) -> None:
    """A file of no bytes (a creation that was interrupted) is simply made."""
    path.parent.mkdir()
    path.touch()
    with opened(path) as store:
        assert store.positions.active() == ()


def test_what_is_no_database_is_refused(path: Path) -> None:
    """A text file is left as it is."""
    path.parent.mkdir()
    path.write_text("dear diary, " * 100)
    for readonly in (True, False):
        text = refused(path, readonly=readonly)
        assert str(path) in text
        assert "backup" in text


def test_another_programs_database_is_refused(path: Path) -> None:
    """A SQLite file without our mark is not migrated into one of ours."""
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE cookies (id INTEGER)")
    assert "belongs to another program" in refused(path)


@pytest.mark.parametrize("page", [1, 5, 20, 60])
def test_a_damaged_page_is_found_at_the_start(path: Path, page: int) -> None:
    """Bytes overwritten in the middle of the file: named, with the way out, and untouched."""
    made(path)
    with path.open("r+b") as file:
        file.seek(page * 4096)
        file.write(b"\xff" * 4096)
    text = refused(path)
    assert f"the database {path} is damaged" in text
    assert "put the newest backup there" in text
    assert "reconcile" in text


@pytest.mark.parametrize("left", [50, 4096, 10_000])
def test_a_cut_file_is_found_at_the_start(path: Path, left: int) -> None:
    """A file that lost its end is damaged."""
    made(path)
    with path.open("r+b") as file:
        file.truncate(left)
    assert "damaged" in refused(path)


def test_a_damaged_schema_is_found_whatever_its_bytes_say(path: Path) -> None:
    """A byte of a table's definition that no text can have: damage that is named, to readers and writers, and
    by the check of every page.
    """
    made(path)
    content = path.read_bytes()
    place = content.index(b"CREATE TABLE executions")
    place = content.index(b"NOT NULL", place) + len(b"NOT NULL")
    path.write_bytes(content[:place] + b"\xf0" + content[place + 1 :])
    for readonly in (True, False):
        text = refused(path, readonly=readonly)
        assert "is damaged: malformed database schema (executions)" in text
        assert "put the newest backup there" in text
    with pytest.raises(StateUnavailable, match="damaged: malformed database schema"):
        require_sound(path)
    with pytest.raises(ConfigError, match="damaged: malformed database schema"):
        verify(path)


def test_damage_found_while_reading_stops_the_reader(path: Path) -> None:
    """A reader does not check every page, but never answers with less than it was asked for."""
    made(path)
    size = path.stat().st_size
    with path.open("r+b") as file:
        for page in range(60, size // 4096):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    with opened(path, readonly=True) as reader, pytest.raises(StateUnavailable, match="malformed") as caught:
        reader.rows(reader.tables.meta.select())
    assert "backup" in str(caught.value)


def test_a_newer_schema_is_refused(path: Path) -> None:
    """Neither a writer nor a reader touches what a newer program made."""
    made(path)
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    for readonly in (True, False):
        assert "newer fundarb" in refused(path, readonly=readonly)


def test_a_reader_refuses_an_older_schema(path: Path) -> None:
    """A reader cannot migrate and says who does."""
    made(path)
    with closing(sqlite3.connect(path)) as older:
        older.execute(f"PRAGMA user_version = {SCHEMA_VERSION - 1}")
    assert "migrates" in refused(path, readonly=True)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://bot:secret@db/fundarb", "not a kind of database"),
        ("fundarb.db", "not a kind of database"),
        ("sqlite:///", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///folder/", "names no file"),
    ],
)
def test_a_url_that_names_no_file_is_refused(url: str, words: str) -> None:
    """The URL's kind is named, a password in it never."""
    with pytest.raises(ConfigError, match=words) as caught:
        Store.open(url, clock=clock())
    assert "secret" not in str(caught.value)


def test_urls_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three slashes are relative, four absolute, a tilde is the home folder; both directions agree."""
    tmp_path = tmp_path.resolve()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert files.path_of("sqlite:///a b/x.db") == tmp_path / "a b" / "x.db"
    assert files.path_of("sqlite:////srv/x.db") == Path("/srv/x.db")
    assert files.path_of("sqlite:///~/x.db") == tmp_path / "home" / "x.db"
    assert files.path_of(files.url_of(tmp_path / "y.db")) == tmp_path / "y.db"


def test_odd_file_names_work(tmp_path: Path) -> None:
    """A question mark, a hash, a percent sign, blanks, letters beyond ASCII in a path are only characters."""
    path = tmp_path / "50% über #1?mode=memory" / "my fund.db"
    made(path)
    with opened(path, readonly=True) as reader:
        assert len(reader.positions.active()) == 1
    assert path.is_file()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file in the way of a folder is a configuration error with the path in it."""
    (tmp_path / "file").write_text("in the way")
    text = refused(tmp_path / "file" / "x.db")
    assert f"cannot create {tmp_path / 'file' / 'x.db'}" in text


MOUNTS = """/dev/sda1 / ext4 rw 0 0
server:/export /mnt/net nfs4 rw 0 0
/dev/sdb1 /mnt/net/local ext4 rw 0 0
//pc/share /mnt/my\\040share cifs rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/x.db", None),
        ("/mnt/net/x.db", "nfs4"),
        ("/mnt/network/x.db", None),
        ("/mnt/net/local/x.db", None),
        ("/mnt/my share/deep/x.db", "cifs"),
    ],
)
def test_network_filesystems_are_recognised(tmp_path: Path, path: str, kind: str | None) -> None:
    """The innermost mount decides; blanks in its name are understood."""
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    assert files.network_filesystem(Path(path), mounts) == kind


def test_a_network_filesystem_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is created there."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/x {tmp_path.resolve()} nfs rw 0 0\n")
    monkeypatch.setattr(files.network_filesystem, "__defaults__", (mounts,))
    assert "network filesystem (nfs)" in refused(tmp_path / "state" / "x.db")
    assert not (tmp_path / "state").exists()


def test_without_a_mount_table_nothing_is_refused(tmp_path: Path) -> None:
    """Where the system does not tell, the user is believed."""
    assert files.network_filesystem(tmp_path, tmp_path / "none") is None


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    """A folder of that name is refused to readers and writers."""
    (tmp_path / "x.db").mkdir()
    assert "cannot create" in refused(tmp_path / "x.db")
    assert "cannot read" in refused(tmp_path / "x.db", readonly=True)


def test_a_database_that_another_program_keeps_to_itself(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is locked as a whole is not damaged: the message says what to end."""
    made(path)
    monkeypatch.setattr(files, "BUSY_TIMEOUT", 0)
    with closing(sqlite3.connect(path, isolation_level=None)) as greedy:
        greedy.execute("PRAGMA locking_mode = EXCLUSIVE")
        greedy.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ConfigError, match="locked; end the process"):
            opened(path)


def test_a_file_of_somebody_else_is_used_as_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rights that we may not change are left alone."""
    made(path).chmod(0o644)

    def forbidden(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "chmod", forbidden)
    opened(path).close()
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_read_only_medium_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can write, a file without a log is read as one that does not change; with a log beside it
    nothing is assumed.
    """
    path = tmp_path / "a.db"
    path.touch()
    assert "immutable" not in file_uri(path, "ro")
    real = os.statvfs(path)

    def readonly(_path: Path) -> SimpleNamespace:
        return SimpleNamespace(f_flag=real.f_flag | os.ST_RDONLY)

    monkeypatch.setattr("fundarb.store.sqlite.os.statvfs", readonly)
    assert file_uri(path, "ro").endswith("?mode=ro&immutable=1")
    assert "immutable" not in file_uri(path, "rw")
    (tmp_path / "a.db-wal").touch()
    assert "immutable" not in file_uri(path, "ro")


def test_the_heading_of_a_check_is_no_damage() -> None:
    """What SQLite puts above its findings is left out, what it found is on one line."""
    found = [
        "*** in database main ***\nTree 5 page 5: btreeInitPage() returns error code 11",
        "row 1 missing",
    ]
    assert files.faults(found) == "Tree 5 page 5: btreeInitPage() returns error code 11; row 1 missing"
