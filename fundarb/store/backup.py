"""Verified copies of a database. A copy counts only after it was opened again and every page of it was
checked.

Copying the file of a running database with ``cp`` gives no backup; SQLite's own backup does, without stopping
the writer. A copy takes its name in one step, so that a half-written one never carries it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Final

from fundarb.clock import Clock
from fundarb.errors import ConfigError, Problem, StateUnavailable
from fundarb.store.files import broken, faults
from fundarb.store.ports import Place
from fundarb.store.session import Session
from fundarb.store.sqlite import (
    APPLICATION_ID,
    BUSY_TIMEOUT,
    FAILURES,
    disk_full,
    file_uri,
    said,
    translated,
)

KEEP: Final = 14
COPY_MARK: Final = "copy.name"


def backup(session: Session, target: Path) -> Path:
    """Copy an open database to ``target`` (a file, or a folder in which a name with the time is chosen); the
    file.

    ``ConfigError`` if the target exists or its disk does not take it, ``StateUnavailable`` if the database
    cannot be read or is damaged.
    """
    if target.is_dir():
        target = stamped(target / session.place.label, "backup", at=session.clock.now())
    return made(session.place, target, clock=session.clock)


def made(place: Place, target: Path, *, clock: Clock) -> Path:
    """Copy the database of a place to a file that does not exist, fsync, verify."""
    return _verified(
        target, lambda partial: place.copy_to(partial, name=title(target), clock=clock), source=place.file
    )


def stamped(path: Path, word: str, *, at: datetime) -> Path:
    """``NAME.word.20261122T090000.123Z`` beside a file."""
    text = at.strftime("%Y%m%dT%H%M%S.") + f"{at.microsecond // 1000:03d}Z"
    return path.with_name(f"{path.name}.{word}.{text}")


def copy_verified(source: Path, target: Path) -> Path:
    """Copy a database file to another one that does not exist, fsync, verify."""
    return _verified(target, lambda partial: copy(source, partial, name=title(target)), source=source)


def _verified(target: Path, fill: Callable[[Path], None], *, source: Path | None) -> Path:
    """Fill, fsync, verify, rename, fsync the folder. What goes wrong is told of the ``source`` or of the
    copy's place, whichever it is of: the two may lie on different disks.
    """
    if target.exists():
        raise ConfigError(Problem(str(target), "the file exists already", "name another one"))
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise _no_place(target, str(error.strerror)) from error
    try:
        with translated(source or target):
            fill(partial)
        sync(partial)
        if what := _damage(partial):
            if source is not None and (cause := _damage(source)):
                raise broken(source, cause)
            raise _no_place(target, f"the copy came out damaged: {what}")
        verify(partial)
        partial.rename(target)
        sync(target.parent)
    except OSError as error:
        raise _no_place(target, str(error.strerror)) from error
    except StateUnavailable as error:
        if why := _fault_of_the_copy(error, partial, source=source):
            raise _no_place(target, why) from error
        raise
    finally:
        partial.unlink(missing_ok=True)
    return target


def _no_place(target: Path, why: str) -> ConfigError:
    return ConfigError(
        Problem(str(target), f"cannot write there: {why}", "make room there, or choose another folder")
    )


def _fault_of_the_copy(error: StateUnavailable, partial: Path, *, source: Path | None) -> str:
    """What the engine said about the copy's own disk; empty where it is the source that fails."""
    cause = error.__cause__
    if not isinstance(cause, FAILURES) or (source is not None and _damage(source)):
        return ""
    return "no space is left" if "disk is full" in str(error) or disk_full(partial) else said(cause)


def title(path: Path) -> str:
    """The name of a file as a text that a database takes: bytes that are no text by their numbers."""
    return path.name.encode(errors="backslashreplace").decode()


def copy(source: Path, target: Path, *, name: str) -> None:
    """Fill an empty file with what is committed in another one, and note the name it will have."""
    with (
        closing(sqlite3.connect(file_uri(source, "ro"), uri=True, timeout=BUSY_TIMEOUT)) as old,
        closing(sqlite3.connect(file_uri(target, "rw"), uri=True)) as new,
    ):
        old.backup(new)
        new.execute("PRAGMA journal_mode = DELETE").fetchone()  # one file, no write-ahead log beside it
        with new:  # whoever opens it as a database must know that it is a copy: see store.restore
            new.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (COPY_MARK, name))


def verify(path: Path) -> int:
    """Check every page and every reference of a copy; its schema version. ``ConfigError`` if it cannot be
    read or trusted.
    """
    try:
        path.open("rb").close()
    except OSError as error:
        message = f"the backup cannot be read: {error.strerror}"
        raise ConfigError(Problem(str(path), message, "look at its permissions")) from error
    if what := _damage(path):
        raise _damaged(path, what)
    try:
        with closing(sqlite3.connect(file_uri(path, "ro"), uri=True)) as connection:
            application = int(connection.execute("PRAGMA application_id").fetchone()[0])
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    except FAILURES as error:
        raise _damaged(path, said(error)) from error
    if application != APPLICATION_ID:
        raise ConfigError(Problem(str(path), "is not a fundarb database", "name another file"))
    return version


def _damaged(path: Path, what: str) -> ConfigError:
    return ConfigError(Problem(str(path), f"the backup is damaged: {what}", "name another one"))


def _damage(path: Path) -> str:
    """What is wrong with the pages and the references of a file, empty if nothing is."""
    try:
        with closing(sqlite3.connect(file_uri(path, "ro"), uri=True)) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(5)")]
            loose = connection.execute("PRAGMA foreign_key_check").fetchone()
    except FAILURES as error:
        return said(error)
    if found != ["ok"]:
        return faults(found)
    return "" if loose is None else f"a row of {loose[0]} refers to nothing"


def rotate(folder: Path, name: str, *, keep: int = KEEP) -> tuple[Path, ...]:
    """Delete all but the newest ``keep`` backups of the database file ``name`` in a folder; which were
    deleted.

    Only names that ``backup`` chose itself are touched.
    """
    copies = sorted(folder.glob(f"{name}.backup.*Z"))
    old = copies[: max(len(copies) - keep, 0)]
    for path in old:
        path.unlink()
    return tuple(old)


def newest(folder: Path, name: str) -> Path | None:
    """The newest backup of the database file ``name`` in a folder."""
    copies = sorted(folder.glob(f"{name}.backup.*Z"))
    return copies[-1] if copies else None


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk; ``OSError`` names it."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(file)
