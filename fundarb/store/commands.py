"""Commands handed to the writer through the database; each is executed at most once. Owns the table
``commands``.

A row is claimed in its own committed transaction before anything is done. Who finds a claimed row of a dead
writer must not do it again: it ends it as failed and lets reconcile say what is.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from fundarb.core.records import CommandRecord, CommandState
from fundarb.crash import Point
from fundarb.errors import InvariantBroken
from fundarb.store.records import Records
from fundarb.store.session import Session

# the literal words let SQLite use the partial index over unfinished rows
_OLDEST: Final = "WHERE state IN ('waiting', 'running') AND state = ? ORDER BY id"


class Commands:
    """The command rows of one database."""

    def __init__(self, session: Session) -> None:
        """On one session."""
        self._session = session
        self._records = Records(session, session.tables.commands, kind=CommandRecord)

    def add(self, name: str, arguments: str, *, at: datetime | None = None) -> int:
        """Hand over a command (its arguments as JSON text); its id. ``at`` is by the asker's clock, the
        machine's, which the store's may not be: whether somebody still waits is a matter of real time.
        """
        with self._session.transaction(before=Point.COMMAND_BEFORE_ADD, after=Point.COMMAND_AFTER_ADD):
            return self._records.insert(
                {
                    "name": name,
                    "arguments": arguments,
                    "state": CommandState.WAITING,
                    "created_at": self._session.now() if at is None else at,
                    "result": "",
                }
            )

    def claim(self) -> CommandRecord | None:
        """Take the oldest waiting command; it is RUNNING from now on, and nobody else gets it. None if none
        waits.
        """
        with self._session.transaction(after=Point.COMMAND_AFTER_CLAIM):
            found = self._records.one(_OLDEST, CommandState.WAITING)
            if found is None:
                return None
            return self._changed(found, {"state": CommandState.RUNNING})

    def finish(self, number: int, state: CommandState, *, exit_code: int, result: str) -> CommandRecord:
        """End a command that was claimed with its exit code and its result as JSON text. ``InvariantBroken``
        unless it is RUNNING.
        """
        if state not in {CommandState.DONE, CommandState.FAILED}:
            raise InvariantBroken(f"command {number} cannot end as {state}")
        with self._session.transaction(before=Point.COMMAND_BEFORE_RESULT):
            found = self.get(number)
            if found.state is not CommandState.RUNNING:
                raise InvariantBroken(f"command {number} is not running")
            changes = {
                "state": state,
                "finished_at": self._session.now(),
                "exit_code": exit_code,
                "result": result,
            }
            return self._changed(found, changes)

    def expire(self, number: int, *, exit_code: int, result: str) -> CommandRecord:
        """End a command that nobody claimed in time: FAILED with its exit code and result as JSON text.
        ``InvariantBroken`` unless it is WAITING.
        """
        with self._session.transaction(before=Point.COMMAND_BEFORE_RESULT):
            found = self.get(number)
            if found.state is not CommandState.WAITING:
                raise InvariantBroken(f"command {number} is not waiting")
            changes = {
                "state": CommandState.FAILED,
                "finished_at": self._session.now(),
                "exit_code": exit_code,
                "result": result,
            }
            return self._changed(found, changes)

    def withdraw(self, number: int) -> bool:
        """Take a command back that nobody has claimed yet; False if it is too late."""
        with self._session.transaction():
            if self.get(number).state is not CommandState.WAITING:
                return False
            return bool(self._records.delete("WHERE id = ?", number))

    def get(self, number: int) -> CommandRecord:
        """One command; ``LookupError`` if there is none of that id."""
        found = self._records.one("WHERE id = ?", number)
        if found is None:
            raise LookupError(f"no command {number}")
        return found

    def waiting(self) -> tuple[CommandRecord, ...]:
        """What nobody has claimed yet, oldest first."""
        return self._records.many(_OLDEST, CommandState.WAITING)

    def running(self) -> tuple[CommandRecord, ...]:
        """What was claimed and not finished; at the start of a writer: what its predecessor left in the
        middle.
        """
        return self._records.many(_OLDEST, CommandState.RUNNING)

    def _changed(self, old: CommandRecord, changes: dict[str, Any]) -> CommandRecord:
        self._records.update(changes, "WHERE id = ?", old.id)
        return replace(old, **changes)
