"""What the collaborators ask of a database, whichever engine it is: statements, the one writing transaction,
a consistent look, and the exclusion of a second writer.

``sqlite`` and ``postgres`` satisfy these structurally; nothing above them may ask which of the two it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from fundarb.clock import Clock


class Database(Protocol):
    """An open database; each thread that uses it has a connection of its own. Every failure of the engine is
    a ``StateUnavailable``, except a broken constraint: that stays peewee's ``IntegrityError``.

    Statements mark their values by ``?`` or by ``param``. Money goes in and comes out as plain text.
    """

    name: str
    """How a person knows the database: a file's path, or an address without a password."""
    param: str
    returning: str
    """What an INSERT into a table with growing numbers ends with, so that ``insert`` can tell the number."""

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        """Run one statement; the cursor."""

    def rows(self, sql: str, params: Sequence[object]) -> list[Any]:
        """Every row of a query."""

    def row(self, sql: str, params: Sequence[object]) -> Any:
        """The first row of a query, or None."""

    def stream(self, sql: str) -> Iterator[Any]:
        """The rows of a query one after the other, however many; inside a ``snapshot``."""

    def insert(self, sql: str, params: Sequence[object]) -> int:
        """Insert rows; the number of the last of them, where the table numbers its rows."""

    def translated(self) -> AbstractContextManager[None]:
        """Turn what the engine raises inside into the exceptions of this protocol."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Reads that see one and the same moment."""

    def in_transaction(self) -> bool:
        """Whether this thread has a transaction or a consistent look open."""

    def alive_transaction(self) -> bool:
        """Whether the engine still has the transaction of this thread open."""

    def begin_immediate(self) -> None:
        """Begin, alone among all writers of this database from the first statement on."""

    def commit_immediate(self) -> None:
        """Make it durable, or raise ``StateUnavailable``: then nothing of it may be acted upon."""

    def rollback_immediate(self) -> None:
        """End it; nothing remains of what was not committed."""

    def still_there(self) -> bool:
        """Whether what was opened is still the database of that name. Cheap."""

    def require_there(self) -> None:
        """``StateUnavailable`` unless it is."""

    def lose(self, why: str) -> None:
        """The writer's lock is gone: write nothing more, where the engine itself would let us."""

    def fence(self, epoch: int) -> None:
        """From now on write only while this is the newest epoch; 0: whatever the epoch."""

    def close_all(self) -> None:
        """Close the connections of all threads; uncommitted work of theirs is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds the writer's lock, as far as can be told: "" and None for what cannot."""

    pid: int | None = None
    role: str = ""
    since: datetime | None = None
    host: str = ""
    """The machine, where it is not this one."""
    end: str = ""
    """The command that ends it."""
    stopped: bool = False
    """Whether it is stopped (SIGSTOP, Ctrl-Z), as far as this machine tells."""


class Exclusion(Protocol):
    """The writer's lock of one database: whoever has it excludes everybody else until it lets go or dies."""

    def try_acquire(self) -> bool:
        """Take it if nobody has it. True if it is (now, or already) ours."""

    def write(self, holder: Mapping[str, str | int]) -> None:
        """Say for people who holds it (``pid``, ``role``, ``since``)."""

    def ours(self) -> bool:
        """Whether we hold it for certain. Well below a millisecond."""

    def release(self) -> None:
        """Let go; nothing happens if it is not held."""


class Place(Protocol):
    """A database before it is open."""

    name: str
    url: str
    """By which it can be opened again; never with a password in it."""
    label: str
    """What the names of its backups begin with."""

    @property
    def file(self) -> Path | None:
        """The database's file, None where a server keeps it."""

    def exists(self) -> bool:
        """Whether it has been made; ``StateUnavailable`` if that cannot be told, or if it was and is gone."""

    def look(self) -> int:
        """The version of its schema, 0 for none; ``ConfigError`` with everything that is wrong with it."""

    def require_sound(self) -> None:
        """Read everything as the engine itself checks it; ``StateUnavailable`` names the damage."""

    def about(self) -> str:
        """What a person may want to know about the engine; empty for a file."""

    def prepare(self, *, clock: Clock, readonly: bool) -> None:
        """Leave it sound and of this program's schema, or raise ``ConfigError``; a writer makes what is
        missing.
        """

    def connect(self, *, readonly: bool) -> Database:
        """Open it."""

    def lock(self) -> Exclusion:
        """The writer's lock, not taken."""

    def holder(self) -> Holder | None:
        """Who has the writer's lock; None if nobody."""

    def copy_to(self, target: Path, *, name: str, clock: Clock) -> None:
        """Fill an empty file with everything that is committed, as of one moment; ``name`` is what the copy
        will be called.
        """

    def put(self, fresh: Path, at: datetime) -> str:
        """Put a database file in the place of what is here; where the former is kept, "" without one."""

    def search(self, needles: Iterable[bytes]) -> Iterable[str]:
        """Where any of these bytes stands in what is stored, in words."""
