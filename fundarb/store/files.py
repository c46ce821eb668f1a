"""The database file before SQLite may write to it: where it lies, whose it is, whether it is sound.

Everything wrong ends in a ``ConfigError`` that names the file and the remedy, and leaves the file as it was:
the look is through a read-only connection.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fundarb.errors import ConfigError, FundarbError, Problem, StateUnavailable
from fundarb.store.flock import held, holder, lock_path
from fundarb.store.process import how_to_end
from fundarb.store.sqlite import (
    APPLICATION_ID,
    BUSY_TIMEOUT,
    FAILURES,
    disk_full,
    file_uri,
    said,
    unavailable,
)

_MAGIC: Final = b"SQLite format 3\x00"
_SQLITE_PREFIX: Final = "sqlite:///"
_MOUNTS: Final = Path("/proc/mounts")
_NETWORK: Final = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "davfs",
        "fuse.ceph",
        "fuse.davfs2",
        "fuse.glusterfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "smb3",
        "smbfs",
    }
)
_NOT_DAMAGE: Final = {
    "locked": "end the process that holds a transaction on it, or wait for it",
    "unable to open": "this user must be able to write to the file's folder",
    "readonly": "this user must be able to write to the file and its folder",
    "disk I/O error": "look at the disk and the system log; the file is left as it is",
}
_REMEDY: Final = (
    "left as it is: move it, its -wal and its -shm aside, put the newest backup there, then reconcile"
)


def path_of(url: str) -> Path:
    """The file that a ``sqlite:///FILE`` URL names (three slashes: relative, four: absolute, ``~`` is the
    home folder).
    """
    if not url.startswith(_SQLITE_PREFIX):
        remedy = "use sqlite:///FILE (sqlite:////FILE for an absolute path) or postgresql://USER@HOST/NAME"
        raise ConfigError(
            Problem(
                "--db", f"{url.partition('://')[0]!r} is not a kind of database this release knows", remedy
            )
        )
    text = url.removeprefix(_SQLITE_PREFIX)
    if not text or text == ":memory:" or text.endswith("/"):
        raise ConfigError(Problem("--db", "the URL names no file", "use sqlite:///FILE"))
    return Path(text).expanduser().resolve()  # one file, one lock, whatever links lead to it


def url_of(path: Path) -> str:
    """The URL of a database file."""
    return f"{_SQLITE_PREFIX}{path.absolute()}"


def network_filesystem(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """The kind of network filesystem that a path lies on, else None; None as well where the system does not
    tell.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    resolved = path.resolve()
    best, kind = -1, ""
    for line in lines:
        words = line.split(" ")
        if len(words) < 3:  # device, mount point, type
            continue
        point = Path(words[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"))
        if resolved.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), words[2]
    return kind if kind in _NETWORK else None


def require_local(path: Path) -> None:
    """Refuse a place where file locks and fsync are not to be trusted."""
    kind = network_filesystem(path)
    if kind is not None:
        message = (
            f"{path} lies on a network filesystem ({kind}); locks and durable writes cannot be trusted there"
        )
        raise ConfigError(Problem("--db", message, "put the database on a local disk"))


def require_not_lost(path: Path) -> None:
    """``StateUnavailable`` if the file is gone while its log is there or a process is its writer: somebody
    has deleted or moved it, and a new one would hide what is held.
    """
    if path.exists() and path.stat().st_size:
        return
    log, lock = path.with_name(f"{path.name}-wal"), lock_path(path)
    if held(lock):
        who = holder(lock)
        traces = f"process {who.get('pid', 'unknown')} ({who.get('role', 'writer')}) is still its writer"
        pid = who.get("pid")
        remedy = f"end that process first: {how_to_end(pid) if isinstance(pid, int) else 'kill PID'}"
    elif log.exists() and log.stat().st_size:
        traces, remedy = f"its log {log} is still there", f"to begin anew, remove {log}"
    else:
        return
    raise StateUnavailable(
        f"the database {path} is gone, but {traces}: what is held now is not known here; "
        f"put the file or the newest backup back, then reconcile; {remedy}"
    )


def create_empty(path: Path) -> None:
    """An empty file only its owner can read, in a folder (made if missing) only its owner can enter."""
    make_folder(path)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise _unwritable(path, error) from error


def make_folder(path: Path) -> None:
    """The folder in which a database file is to lie; only its owner can enter it."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> FundarbError:
    if full := disk_full(path):
        return StateUnavailable(f"database {path} cannot be made: {full}")
    verb = "write to" if path.is_file() else "create"
    message = f"cannot {verb} {path}: {error.strerror}"
    return ConfigError(Problem("--db", message, "choose a folder this user may write to"))


def tighten(path: Path) -> None:
    """Take all rights on the file from everybody but its owner; an owner other than us keeps it as it is."""
    mode = path.stat().st_mode
    if mode & 0o077:
        try:
            path.chmod(mode & 0o700)
        except PermissionError:
            return


@dataclass(frozen=True, slots=True)
class Found:
    """What a database file says about itself. ``version`` is 0 for an empty one."""

    version: int
    empty: bool


def inspect(path: Path, *, thorough: bool) -> Found:
    """Look at an existing file without changing it; ``ConfigError`` if it is damaged or not ours.

    ``thorough`` reads every page (``quick_check``), else only the header.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except OSError as error:
        raise ConfigError(
            Problem("--db", f"cannot read {path}: {error.strerror}", "look at its permissions")
        ) from error
    if not head:
        return Found(0, empty=True)
    if head != _MAGIC:
        raise damaged(path, "it is not a database")
    try:
        with closing(sqlite3.connect(file_uri(path, "ro"), uri=True, timeout=BUSY_TIMEOUT)) as connection:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            application = int(connection.execute("PRAGMA application_id").fetchone()[0])
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if tables and application != APPLICATION_ID:
                raise ConfigError(Problem("--db", f"{path} belongs to another program", "name another file"))
            if thorough:
                _quick_check(path, connection)
    except FAILURES as error:
        if disk_full(path):
            raise StateUnavailable(f"database {path}: {disk_full(path)}") from error
        remedy = next((remedy for words, remedy in _NOT_DAMAGE.items() if words in said(error)), None)
        if remedy is not None:
            raise ConfigError(Problem("--db", f"cannot open {path}: {error}", remedy)) from error
        raise damaged(path, said(error)) from error
    return Found(version, empty=not tables)


def _quick_check(path: Path, connection: sqlite3.Connection) -> None:
    found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(5)")]
    if found != ["ok"]:
        raise damaged(path, faults(found))


def faults(found: Iterable[str]) -> str:
    """What SQLite's own check found, on one line; its heading, which says nothing, is left out."""
    lines = (line.strip() for text in found for line in text.splitlines())
    return "; ".join(line for line in lines if line and not line.startswith("***"))


def require_sound(path: Path) -> None:
    """Read every page and hold every index against its table (SQLite's ``integrity_check``);
    ``StateUnavailable`` names what is damaged.
    """
    try:
        with closing(sqlite3.connect(file_uri(path, "ro"), uri=True, timeout=BUSY_TIMEOUT)) as connection:
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(5)")]
    except FAILURES as error:
        if "malformed" in said(error):
            raise broken(path, said(error)) from error
        raise unavailable(error, path) from error
    if found != ["ok"]:
        raise broken(path, faults(found))


def broken(path: Path, what: str) -> StateUnavailable:
    """The error for a database in use that cannot be trusted any more."""
    return StateUnavailable(f"the database {path} is damaged: {what}; {_REMEDY}")


def damaged(path: Path, what: str) -> ConfigError:
    """The error for a file that cannot be trusted any more."""
    return ConfigError(Problem("--db", f"the database {path} is damaged: {what}", _REMEDY))


def require_version(path: Path, found: int, *, known: int, readonly: bool, where: str = "--db") -> None:
    """Refuse a newer schema, and to a reader any other than its own; ``where`` says what named the file."""
    if found > known:
        message = f"{path} has schema {found}, this program knows {known}: it belongs to a newer fundarb"
        raise ConfigError(Problem(where, message, "install that version, or name another file"))
    if readonly and found != known:
        message = f"{path} has schema {found}, this program reads {known}"
        raise ConfigError(
            Problem("--db", message, "start the daemon or any writing command of this version: it migrates")
        )
