"""A database in a file: SQLite's side of everything that is asked of a database before it is open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

from fundarb.clock import Clock
from fundarb.errors import ConfigError, Problem
from fundarb.store import files
from fundarb.store.backup import copy, stamped, sync
from fundarb.store.flock import FileLock, held, holder, lock_path
from fundarb.store.migrate import migrate
from fundarb.store.migrations import SCHEMA_VERSION
from fundarb.store.ports import Holder
from fundarb.store.process import how_to_end, stopped
from fundarb.store.sqlite import Sqlite

_PART: Final = 1 << 20
_SIDE_FILES: Final = ("-wal", "-shm")


class FilePlace:
    """The place of one database file."""

    def __init__(self, path: Path) -> None:
        """Nothing is looked at yet."""
        self.path = path
        self.name = str(path)
        self.url = files.url_of(path)
        self.label = path.name

    @property
    def file(self) -> Path:
        """The file itself."""
        return self.path

    def exists(self) -> bool:
        """Whether it has been made; ``StateUnavailable`` if it was and is gone."""
        files.require_not_lost(self.path)
        return self.path.exists() and self.path.stat().st_size > 0

    def look(self) -> int:
        """The version of its schema; every page of it is checked."""
        return files.inspect(self.path, thorough=True).version

    def require_sound(self) -> None:
        """``StateUnavailable`` naming the damage, unless SQLite's own check of everything finds none."""
        files.require_sound(self.path)

    def about(self) -> str:
        """Nothing that its name does not say."""
        return ""

    def prepare(self, *, clock: Clock, readonly: bool) -> None:
        """Leave it sound and of this program's schema; a writer makes the file if it is missing and migrates
        an older schema (after a backup).

        ``ConfigError``: no such file (reader), another or a newer schema, a damaged file, a file of another
        program, a network filesystem, no permission. ``Locked``: an older schema while another process is the
        writer.
        """
        path = self.path
        files.require_local(path)
        files.require_not_lost(path)
        if readonly:
            if not path.exists():
                remedy = "it is made by the first command that writes, or name the right one with --db"
                raise ConfigError(Problem("--db", f"there is no database {path}", remedy))
            found = files.inspect(path, thorough=False)
            files.require_version(path, found.version, known=SCHEMA_VERSION, readonly=True)
            return
        files.create_empty(path)
        files.tighten(path)
        found = files.inspect(path, thorough=True)
        files.require_version(path, found.version, known=SCHEMA_VERSION, readonly=False)
        if found.version != SCHEMA_VERSION:
            migrate(path, clock=clock)

    def connect(self, *, readonly: bool) -> Sqlite:
        """Open it."""
        database = Sqlite(self.path, readonly=readonly)
        database.watch()
        return database

    def lock(self) -> FileLock:
        """The writer's lock, a file beside it."""
        return FileLock(lock_path(self.path))

    def holder(self) -> Holder | None:
        """Who has the writer's lock, by what it wrote there; None if nobody."""
        lock = lock_path(self.path)
        if not held(lock):
            return None
        found = holder(lock)
        pid = found.get("pid")
        told = Holder(role=str(found.get("role", "")), since=_instant(found.get("since")))
        if not isinstance(pid, int):
            return told
        return replace(told, pid=pid, end=how_to_end(pid), stopped=stopped(pid))

    def copy_to(self, target: Path, *, name: str, clock: Clock) -> None:  # noqa: ARG002 - the port's
        """Fill an empty file with everything that is committed, also while a writer is at work."""
        copy(self.path, target, name=name)

    def put(self, fresh: Path, at: datetime) -> str:
        """Put a file from the same folder in this one's place; where the former was moved."""
        former = _set_aside(self.path, at)
        lock_path(fresh).unlink(missing_ok=True)
        fresh.rename(self.path)
        sync(self.path.parent)
        return former

    def search(self, needles: Iterable[bytes]) -> Iterator[str]:
        """The files of the database, its log among them, that contain any of these bytes."""
        wanted = tuple(needles)
        longest = max(map(len, wanted), default=0)
        for file in (self.path, self.path.with_name(f"{self.path.name}-wal")):
            if file.is_file() and _contains(file, wanted, longest=longest):
                yield file.name


def _contains(path: Path, needles: Iterable[bytes], *, longest: int) -> bool:
    with path.open("rb") as file:
        tail = b""
        while part := file.read(_PART):
            if any(needle in tail + part for needle in needles):
                return True
            tail = part[-longest:]
    return False


def _set_aside(path: Path, at: datetime) -> str:
    aside = stamped(path, "before-restore", at=at)
    for suffix in _SIDE_FILES:  # a write-ahead log belongs to its file, and would be applied to the wrong one
        beside = Path(f"{path}{suffix}")
        if beside.exists():
            beside.rename(f"{aside}{suffix}")
    if not path.exists():
        return ""
    path.rename(aside)
    return str(aside)


def _instant(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None
