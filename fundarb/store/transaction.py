"""The one transaction: immediate, re-entrant, all or nothing; what was recorded in it is told only after it
is durable.

The outermost block is immediate: the database's one write lock is taken at once, so that what is read inside
is what is written upon. A block inside another joins it, and fails alone (a savepoint): if the outer block
survives the exception, nothing of the inner one remains, its callbacks included. Never hold one across a
network call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

from fundarb.crash import Point, reached
from fundarb.errors import InvariantBroken
from fundarb.store.ports import Database

_UNNAMED_BEFORE: Final = (Point.COMMIT_BEFORE,)
_UNNAMED_AFTER: Final = (Point.COMMIT_AFTER,)


class _Frame:
    """One open block of one thread."""

    __slots__ = ("after", "before", "callbacks")

    def __init__(self, before: Point | None, after: Point | None) -> None:
        self.before = [before] if before else []
        self.after = [after] if after else []
        self.callbacks: list[Callable[[], None]] = []

    def inherit(self, inner: _Frame) -> None:
        """Take over what a block inside this one left for the commit."""
        self.before += [point for point in inner.before if point not in self.before]
        self.after += [point for point in inner.after if point not in self.after]
        self.callbacks += inner.callbacks


class Transactions:
    """The open blocks of each thread on one database."""

    def __init__(self, database: Database) -> None:
        """None is open yet."""
        self.database = database
        self._local = threading.local()

    @property
    def frames(self) -> list[_Frame]:
        """The open blocks of this thread, outermost first."""
        try:
            return self._local.frames  # type: ignore[no-any-return]
        except AttributeError:
            self._local.frames = []
            return self._local.frames  # type: ignore[no-any-return]

    def on_commit(self, callback: Callable[[], None]) -> None:
        """Call after the outermost commit of this thread; at once if none is open; never if it is rolled
        back.
        """
        if self.frames:
            self.frames[-1].callbacks.append(callback)
        else:
            callback()


class Transaction:
    """One block; a context manager that may be entered once."""

    def __init__(self, owner: Transactions, *, before: Point | None, after: Point | None) -> None:
        """``before`` and ``after`` are the crash points on either side of the commit that makes this block
        durable.
        """
        self._owner = owner
        self._points = (before, after)

    def __enter__(self) -> Self:
        """Begin, or join the block around."""
        owner = self._owner
        database, depth = owner.database, len(owner.frames)
        if depth:
            database.execute_sql(f"SAVEPOINT inner_{depth}")
        elif database.in_transaction():
            raise InvariantBroken("a transaction cannot begin inside a consistent read")
        else:
            database.require_there()
            database.begin_immediate()
        owner.frames.append(_Frame(*self._points))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit, or undo if an exception passes through."""
        owner = self._owner
        frame = owner.frames.pop()
        database, depth = owner.database, len(owner.frames)
        if depth == 0:
            if kind is None:
                self._commit(frame)
            else:
                database.rollback_immediate()
        elif kind is None:
            database.execute_sql(f"RELEASE SAVEPOINT inner_{depth}")
            owner.frames[-1].inherit(frame)
        elif database.alive_transaction():  # else the engine has rolled back everything by itself
            database.execute_sql(f"ROLLBACK TO SAVEPOINT inner_{depth}")
            database.execute_sql(f"RELEASE SAVEPOINT inner_{depth}")

    def _commit(self, frame: _Frame) -> None:
        for point in frame.before or _UNNAMED_BEFORE:
            reached(point)
        self._owner.database.commit_immediate()
        # a row in a file that nobody can find again is not durable: nothing may be sent on its strength
        self._owner.database.require_there()
        for point in frame.after or _UNNAMED_AFTER:
            reached(point)
        with ExitStack() as stack:  # every callback runs, in order, whatever one of them raises
            for callback in reversed(frame.callbacks):
                stack.callback(callback)


def alone(database: Database) -> Transaction:
    """One transaction on a database that has no session: while it is made ready, copied or filled."""
    return Transaction(Transactions(database), before=None, after=None)
