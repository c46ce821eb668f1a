"""The SQLite connection as fundarb wants it: durable, strict, exact, and honest about what failed.

WAL with ``synchronous=FULL``: a commit that returned is on the disk (WAL with NORMAL may lose the last
commits in a power cut, which for an intent log means a sent order without a row). Every failure of the engine
surfaces as ``StateUnavailable``; a broken constraint stays peewee's ``IntegrityError`` for the caller to
name.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import peewee

from fundarb.errors import StateUnavailable
from fundarb.store.fields import ExactSum, exact_add

APPLICATION_ID: Final = 0x66756E64
"""``fund`` in ASCII, in the header of each of our files."""

BUSY_TIMEOUT: Final = 5
"""Seconds (of the machine, inside SQLite) that a statement waits for another process's transaction."""

_PRAGMAS: Final = (
    ("synchronous", "FULL"),
    ("foreign_keys", "ON"),
    ("trusted_schema", "OFF"),
    ("cell_size_check", "ON"),
    ("temp_store", "MEMORY"),  # a full disk must not stop a sort
)
_WRITER_PRAGMAS: Final = (("journal_mode", "WAL"), ("journal_size_limit", 64 << 20))
# macOS: only F_FULLFSYNC reaches the platter
_DARWIN_PRAGMAS: Final = (("fullfsync", "ON"), ("checkpoint_fullfsync", "ON"))

_HINTS: Final = (
    ("disk is full", "free some space, then start again; the start finds out what the venue has"),
    ("disk I/O error", "look at the disk and the system log, then start again"),
    ("malformed", "put the newest backup in its place, then reconcile"),
    ("not a database", "put the newest backup in its place, then reconcile"),
    ("locked", "another process holds a transaction for too long; end it, then try again"),
    ("readonly", "make the file and its folder writable for this user"),
    ("unable to open", "look at the folder and its permissions"),
)

FAILURES: Final = (sqlite3.DatabaseError, sqlite3.InterfaceError, UnicodeDecodeError)
"""What the engine raises; the last in place of an error whose words quote a damaged schema."""
_LEAST_ROOM: Final = 64 << 10
"""Bytes: less than this and SQLite can make neither its log nor its index, whatever error it names."""


def disk_full(path: Path) -> str:
    """What to say if the disk of a file has no room left, else empty. A full disk shows as an I/O error and
    harms nothing that is there.
    """
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return ""
    room = found.f_bavail * found.f_frsize
    if room >= _LEAST_ROOM:
        return ""
    return (
        f"the disk is full ({room} bytes free in {path.parent}); what is there is unharmed: "
        "free some space, then start again; the start finds out what the venue has"
    )


def said(error: BaseException) -> str:
    """What the engine said, as far as it is text."""
    return error.object.decode("utf-8", "replace") if isinstance(error, UnicodeDecodeError) else str(error)


def unavailable(error: BaseException, path: Path) -> StateUnavailable:
    """The failure with the file's name and what to do about it."""
    text = said(error)
    if "disk" in text and (full := disk_full(path)):
        return StateUnavailable(f"database {path}: {full}")
    hint = next((remedy for words, remedy in _HINTS if words in text), "nothing was committed")
    return StateUnavailable(f"database {path}: {text}; {hint}")


_Identity = tuple[int, int] | None


def _identity_of(place: str) -> _Identity:
    try:
        found = os.stat(place)  # noqa: PTH116 - asked four times per order; a Path costs ten times as much
    except OSError:
        return None
    return (found.st_dev, found.st_ino)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn whatever the engine raises, except a broken constraint, into ``StateUnavailable``."""
    try:
        yield
    except peewee.IntegrityError:
        raise
    except (peewee.DatabaseError, peewee.InterfaceError, *FAILURES) as error:
        failure = _before_rollback(error)
        if isinstance(failure, StateUnavailable):
            raise failure from error
        raise unavailable(failure, path) from error


def _before_rollback(error: BaseException) -> BaseException:
    """What failed first, where the engine rolled back by itself and a library tried to do it again."""
    while error.__context__ is not None and "cannot rollback" in str(error):
        error = error.__context__
    return error


def file_uri(path: Path, mode: str) -> str:
    """The URI by which SQLite opens a file in a mode (``ro``, ``rw``), without ever creating it.

    A reader on a read-only medium cannot make the index of the log that it otherwise wants; without a log
    there is nothing to index, and the file is read as one that does not change.
    """
    still = "&immutable=1" if mode == "ro" and _on_read_only_medium(path) else ""
    return f"file:{quote(os.fsencode(path))}?mode={mode}{still}"


def _on_read_only_medium(path: Path) -> bool:
    """Whether nobody can write here and nothing waits in a log beside the file."""
    try:
        readonly = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False
    return readonly and not path.with_name(f"{path.name}-wal").exists()


class Sqlite(peewee.SqliteDatabase):
    """One database file. Each thread that uses it gets its own connection; ``close_all`` closes every one."""

    returning = ""  # the number of a new row is known without asking

    def __init__(self, path: Path, *, readonly: bool) -> None:
        """Nothing is opened yet. The file must exist."""
        self.path = path
        self.name = str(path)
        self.readonly = readonly
        self._places = (self.name, f"{path}-wal")
        self._identities: tuple[_Identity, ...] = ()
        self._opened: list[sqlite3.Connection] = []
        self._opened_lock = threading.Lock()
        pragmas = [*([] if readonly else _WRITER_PRAGMAS), *_PRAGMAS]
        if sys.platform == "darwin":
            pragmas += _DARWIN_PRAGMAS
        super().__init__(
            file_uri(path, "ro" if readonly else "rw"),
            pragmas=pragmas,
            timeout=BUSY_TIMEOUT,
            uri=True,
            check_same_thread=False,  # so that close_all may run on another thread than the one that opened
        )
        self.register_aggregate(ExactSum, "dsum", 1)
        self.register_function(exact_add, "dadd", 2)

    def _connect(self) -> sqlite3.Connection:  # peewee's hook for a new connection of this thread
        parent: Any = super()
        connection: sqlite3.Connection = parent._connect()  # noqa: SLF001 - the hook of our own base class
        with self._opened_lock:
            self._opened.append(connection)
        return connection

    def _mine(self) -> sqlite3.Connection:
        untyped: Any = self
        return untyped.connection()  # type: ignore[no-any-return]  # peewee publishes half its types

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        """Run one statement; failures are ours, and a transaction the engine gave up runs nothing more.

        Straight to the connection: peewee's own layers cost more than most of our statements.
        """
        if self.is_closed():
            self._open()
        connection = self._mine()
        if not connection.in_transaction and self.transaction_depth():
            raise StateUnavailable(f"database {self.path}: the transaction was rolled back by the engine")
        try:
            return connection.execute(sql, params or ())
        except sqlite3.IntegrityError as error:
            raise peewee.IntegrityError(*error.args) from error
        except FAILURES as error:
            raise unavailable(error, self.path) from error

    def rows(self, sql: str, params: Sequence[object]) -> list[Any]:
        """Every row of a query."""
        try:
            found: list[Any] = self.execute_sql(sql, params).fetchall()
        except FAILURES as error:
            raise unavailable(error, self.path) from error
        return found

    def row(self, sql: str, params: Sequence[object]) -> Any:
        """The first row of a query, or None."""
        try:
            return self.execute_sql(sql, params).fetchone()
        except FAILURES as error:
            raise unavailable(error, self.path) from error

    def stream(self, sql: str) -> Iterator[Any]:
        """The rows of a query one after the other, however many."""
        with translated(self.path):
            yield from self.execute_sql(sql)

    def insert(self, sql: str, params: Sequence[object]) -> int:
        """Insert rows; the number of the last of them, where the table numbers its rows."""
        return int(self.execute_sql(sql, params).lastrowid)

    def translated(self) -> AbstractContextManager[None]:
        """Turn what the engine raises inside into ``StateUnavailable``."""
        return translated(self.path)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Reads that see one and the same moment."""
        with translated(self.path), self.transaction():
            yield

    def watch(self) -> None:
        """Connect at once, so that a file that cannot be opened is known now, and remember which file it
        is.
        """
        file, log = self._places
        identity = _identity_of(file)
        self.execute_sql("SELECT count(*) FROM sqlite_master").fetchone()
        # as long as this first connection lives, SQLite never replaces the write-ahead log
        self._identities = (identity, _identity_of(log))

    def still_there(self) -> bool:
        """Whether the file, and its write-ahead log, are still the ones that were opened. Cheap: two ``stat``
        calls.
        """
        file, log = self._places
        return (_identity_of(file), _identity_of(log)) == self._identities

    def require_there(self) -> None:
        """Raise ``StateUnavailable`` if the file was deleted or replaced under us."""
        if not self.still_there():
            raise StateUnavailable(
                f"database {self.path} was deleted or replaced while in use: nothing is recorded "
                "any more; stop this process, put the file (or the newest backup) back, then reconcile"
            )

    def lose(self, why: str) -> None:
        """Nothing to do: transactions of two processes exclude each other in any case."""

    def fence(self, epoch: int) -> None:
        """Nothing to do: a file's lock is lost only with its holder, or with the file's folder."""

    def _open(self) -> None:
        """The connection of this thread; ``StateUnavailable`` once everything was closed."""
        if not self.autoconnect:
            raise StateUnavailable(f"database {self.path} was closed")
        untyped: Any = self
        with translated(self.path):
            untyped.connect()

    def alive_transaction(self) -> bool:
        """Whether the engine still has the transaction of this thread open."""
        return not self.is_closed() and self._mine().in_transaction

    def begin_immediate(self) -> None:
        """Take the write lock and begin; ``StateUnavailable`` if another process keeps it for too long."""
        self.execute_sql("BEGIN IMMEDIATE")
        untyped: Any = self
        untyped.push_transaction(self)  # peewee's own list of what is open; the entry itself is never used

    def commit_immediate(self) -> None:
        """Make it durable, or raise ``StateUnavailable`` with nothing left of it."""
        try:
            if not self.alive_transaction():
                raise StateUnavailable(f"database {self.path}: the transaction was rolled back by the engine")
            with translated(self.path):
                self._mine().execute("COMMIT")
        finally:
            self.rollback_immediate()

    def rollback_immediate(self) -> None:
        """End it; nothing remains of what was not committed."""
        untyped: Any = self
        untyped.pop_transaction()
        if self.alive_transaction():  # else it is committed, or the engine has rolled back by itself
            with translated(self.path):
                self._mine().execute("ROLLBACK")

    def close_all(self) -> None:
        """Close the connections of all threads; uncommitted work of theirs is lost."""
        with self._opened_lock:
            connections, self._opened = self._opened, []
            self.autoconnect = False
        for connection in connections:
            connection.close()
        self.dispose()
