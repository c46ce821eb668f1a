"""Who may write, and how a command reaches whoever does: the table "Who may write" of the command line's
contract.

A command that finds the daemon at work becomes a row, and its caller waits for the row's result. A row that
nobody took in time is taken back: an order to trade never lies around until somebody starts hours later.
Never waits on a database transaction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from fundarb.clock import Clock
from fundarb.core.events import CommandAsked
from fundarb.core.records import CommandRecord, CommandState
from fundarb.engine.answers import Answer
from fundarb.engine.commands import Arguments
from fundarb.errors import Locked, OutcomeUncertain
from fundarb.store.database import Store
from fundarb.store.lock import WriterLock

HEARTBEAT_LIMIT = timedelta(seconds=10)
"""An older sign of life means that the daemon does not answer."""
DAEMON = "daemon"
_POLL = timedelta(milliseconds=50)
RECOVERY = "recovery"
"""The first job of every start: the whole walk of reconcile."""
CONTROLS = frozenset({"pause", "resume", "halt"})
"""Commands that only change blocks; these rows never expire."""


class Holder(StrEnum):
    """Who holds the writer's lock. A command has no heartbeat: only the system tells that it is stopped."""

    NOBODY = "nobody"
    DAEMON = "daemon"
    SILENT_DAEMON = "silent daemon"
    COMMAND = "command"
    STOPPED_COMMAND = "stopped command"


class Way(StrEnum):
    """What a command does about it: EXECUTE with the lock taken, hand over a ROW, WAIT for the lock, or
    REFUSE (exit 7).
    """

    EXECUTE = "execute"
    ROW = "row"
    WAIT = "wait"
    REFUSE = "refuse"


_TRADING: Mapping[Holder, Way] = {
    Holder.NOBODY: Way.EXECUTE,
    Holder.DAEMON: Way.ROW,
    Holder.SILENT_DAEMON: Way.REFUSE,
    Holder.COMMAND: Way.WAIT,
    Holder.STOPPED_COMMAND: Way.WAIT,
}
_CONTROL: Mapping[Holder, Way] = {
    Holder.NOBODY: Way.EXECUTE,
    Holder.DAEMON: Way.ROW,
    Holder.SILENT_DAEMON: Way.ROW,
    Holder.COMMAND: Way.ROW,
    Holder.STOPPED_COMMAND: Way.ROW,
}


def holder_of(store: Store, now: datetime) -> Holder:
    """Who holds the lock at this moment of the machine's clock."""
    found = store.place.holder()
    if found is None:
        return Holder.NOBODY
    if found.role != DAEMON:
        return Holder.STOPPED_COMMAND if found.stopped else Holder.COMMAND
    record = store.writer.read()
    if record is not None and record.role == DAEMON and record.alive(now, HEARTBEAT_LIMIT):
        return Holder.DAEMON
    return Holder.SILENT_DAEMON


def way_of(name: str, holder: Holder) -> Way:
    """What a command of this name does in face of a holder."""
    return (_CONTROL if name in CONTROLS else _TRADING)[holder]


@dataclass(frozen=True, slots=True)
class Handed:
    """A command that was handed over: its row's id, and the result if it was waited for."""

    id: int
    answer: Answer | None


class Handover:
    """Hands commands to the writer of one database."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """``store`` may be written (rows only); ``clock`` is the machine's."""
        self._store = store
        self._clock = clock

    def way(self, name: str) -> Way:
        """What a command does now; ``Locked`` where it is refused, naming process and age and how to end
        it.
        """
        way = way_of(name, holder_of(self._store, self._clock.now()))
        if way is Way.REFUSE:
            raise Locked(self.describe_holder())
        return way

    def listening(self) -> bool:
        """Whether a daemon is there that will take a row soon."""
        return holder_of(self._store, self._clock.now()) is Holder.DAEMON

    def describe_holder(self) -> str:
        """One sentence about who holds the lock, and what to do."""
        return WriterLock(self._store, clock=self._clock).describe_holder()

    def send(self, name: str, arguments: Arguments, *, wait: timedelta | None) -> Handed:
        """Insert the row and wait for its end; ``wait`` None: do not wait.

        ``Locked`` if nobody took it in time (it is withdrawn, nothing happens), ``OutcomeUncertain`` if it
        was taken and has not ended in time.
        """
        with self._store.transaction():
            number = self._store.commands.add(
                name, json.dumps(dict(arguments), ensure_ascii=False), at=self._clock.now()
            )
            self._store.events.record(CommandAsked(command_id=number, name=name))
        if wait is None:
            return Handed(number, None)
        deadline = self._clock.monotonic() + wait
        while True:
            record = self._store.commands.get(number)
            if record.state in {CommandState.DONE, CommandState.FAILED}:
                return Handed(number, Answer.parse(record.exit_code or 0, record.result))
            if self._clock.monotonic() >= deadline:
                return self._given_up(record, wait)
            self._clock.sleep(_POLL)

    def _given_up(self, record: CommandRecord, wait: timedelta) -> Handed:
        seconds = int(wait.total_seconds())
        if record.name in CONTROLS and record.state is CommandState.WAITING:
            return Handed(record.id, None)  # a wish to stop is not taken back; the next writer obeys it first
        if record.state is CommandState.WAITING and self._store.commands.withdraw(record.id):
            raise Locked(
                f"the writer did not take the command within {seconds} s, so it was taken back and "
                f"nothing was done; {self._trouble()}" + self.describe_holder()
            )
        raise OutcomeUncertain(
            f"command {record.id} ({record.name}) was taken by the daemon "
            f"and has not ended within {seconds} s; "
            "`fundarb events` tells how it goes on"
        )

    def _trouble(self) -> str:
        """Why a daemon takes no row: until its recovery has succeeded it only looks at what may be naked."""
        run = self._store.jobs.last(RECOVERY)
        if not self.listening() or run is None or run.result != "failed":
            return ""
        return f"its recovery does not come to its end ({run.message}), and is tried again all the time; "


def finish(store: Store, record: CommandRecord, *, answer: Answer) -> None:
    """Write a command's result into its row."""
    state = CommandState.FAILED if answer.failed else CommandState.DONE
    store.commands.finish(record.id, state, exit_code=answer.exit_code, result=answer.text())
