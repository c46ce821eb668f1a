"""A person's hand on the bot: pause, resume, halt, flatten, and the file ``HALT`` that works without any
command.

Pausing and halting are blocks and nothing else: no opens; hedging, reducing and closing go on. After a halt
``resume`` asks for a clean reconcile first. Removing the file does not resume.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from fundarb.core.events import CommandFinished
from fundarb.core.exact_json import jsonable
from fundarb.core.reasons import Reason, Refused
from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind, CommandRecord
from fundarb.engine import documents
from fundarb.engine.answers import Answer
from fundarb.engine.commands import Arguments, refused
from fundarb.engine.halt_file import ASKED, HaltFile, set_halt, set_pause
from fundarb.engine.handover import CONTROLS, finish
from fundarb.engine.reconcile import ReconcileResult
from fundarb.errors import ConfigError, OtherAccount, OutcomeUncertain, Rejected, Unavailable
from fundarb.store.database import Store

_LIFETIME = timedelta(seconds=90)
"""Longer than anybody waits for a row by default; the author of an older one is gone."""
_TO_JUDGE = frozenset({BlockKind.FREEZE, BlockKind.COOL_DOWN, BlockKind.STALE_DATA})
"""The blocks of one coin, which a person may judge to be over whoever set them."""
_OF_A_DAEMON = frozenset({BlockKind.BREAKER, BlockKind.STALE_DATA, BlockKind.CLOCK, BlockKind.KEY})
"""Blocks that a daemon lifts when its jobs work again; it may be gone. Whether a key may trade a person knows
first.
"""

_PAUSED = Reason("paused", "nothing is opened from now on; `fundarb resume` allows opens again")


class CommandRunner(Protocol):
    """Whoever executes commands by name."""

    def execute(self, name: str, arguments: Arguments) -> Answer:
        """Run one command to its end."""


def obey_at_once(store: Store) -> None:
    """Let waiting wishes to pause or halt take effect before their rows are executed in turn: the trading
    thread may be busy.
    """
    with store.transaction():  # so that a row read here as waiting is not executed, and undone, meanwhile
        for record in store.commands.waiting():
            if record.name == "halt":
                set_halt(store, ASKED)
            elif record.name == "pause":
                set_pause(store, ASKED)


def end_leftovers(store: Store, now: datetime) -> int:
    """At the start of a writer: end what a dead predecessor had begun or nobody took in time; how many rows
    were ended. ``now`` is by the machine's clock.

    What was begun is never done again (reconcile says what came of it), except that a wish to pause or halt
    is fulfilled. A waiting wish to pause, resume or halt keeps waiting; a waiting order to trade whose
    author has gone ends as failed.
    """
    ended = 0
    for record in store.commands.running():
        if record.name == "halt":
            set_halt(store, ASKED)
        elif record.name == "pause":
            set_pause(store, ASKED)
        finish(
            store,
            record,
            answer=Answer.of_error(
                OutcomeUncertain("the writer died in the middle of it; reconcile says what is")
            ),
        )
        ended += 1
    for record in store.commands.waiting():
        if record.name not in CONTROLS and _stale(record, now):
            _expire(store, record, why="nobody took it in time")
            ended += 1
    return ended


def expire_opens(store: Store, now: datetime) -> None:
    """End the opens that no writer could take in time (``now`` by the machine's clock): the market that they
    were decided in is gone. What reduces is still wanted, however late.
    """
    for record in store.commands.waiting():
        if record.name == "open" and _stale(record, now):
            _expire(store, record, why="nobody could take it in time")


def _stale(record: CommandRecord, now: datetime) -> bool:
    """Whether a row is older than anybody waits, or of a clock that was wrong."""
    return abs(now - record.created_at) > _LIFETIME


def call_off_opens(store: Store, name: str, *, arguments: Arguments) -> tuple[Reason, ...]:
    """Before a command is executed by its author: an emergency calls off the opens of what it closes that
    still wait for a writer, and says so. (A daemon takes rows in turn: with it none that waits is older.)
    """
    if name != "flatten" and not (name == "close" and arguments.get("emergency", False)):
        return ()
    coin, called_off = _coin_of(store, str(arguments.get("name", ""))), []
    for record in store.commands.waiting():
        base = str(json.loads(record.arguments).get("base", "")).upper()
        if record.name == "open" and coin in {"", base}:
            _expire(store, record, why="an emergency came in between")
            text = f"command {record.id} (open {base}) still waited for a writer: it is not executed any more"
            called_off.append(Reason("called_off", text))
    return tuple(called_off)


def _coin_of(store: Store, name: str) -> str:
    """The coin of a position's id or of its own name; empty: every coin."""
    if not name.startswith("p-"):
        return name.upper()
    held = (item.base for item in store.positions.active() if item.position_id == name)
    return next(held, name)


def _expire(store: Store, record: CommandRecord, *, why: str) -> None:
    """An order to trade that nobody took in time is never executed, and says so."""
    answer = Answer.of_error(Unavailable(f"{why}; it was not executed: give it again"))
    with store.transaction():
        store.commands.expire(record.id, exit_code=answer.exit_code, result=answer.text())
        store.events.record(
            CommandFinished(command_id=record.id, name=record.name, exit_code=answer.exit_code)
        )


class Control:
    """The commands of a person, executed by the writer; what it does not know itself goes to the desk's
    executor.
    """

    def __init__(
        self,
        store: Store,
        *,
        executor: CommandRunner,
        reconcile: Callable[[], ReconcileResult],
        halt_file: HaltFile,
        more: Mapping[str, Callable[[Arguments], Answer]] | None = None,
    ) -> None:
        """``reconcile`` is the whole walk; only ``resume`` after a halt or a freeze needs it. ``more`` adds
        commands by name.
        """
        self._store = store
        self._executor = executor
        self._reconcile = reconcile
        self._halt_file = halt_file
        self._own: Mapping[str, Callable[[Arguments], Answer]] = {
            "pause": self._pause,
            "halt": self._halt,
            "resume": self._resume,
            "flatten": self._flatten,
            **(more or {}),
        }

    def execute(self, name: str, arguments: Arguments) -> Answer:
        """Run one command to its end; every expected failure becomes a result. Raised is a bug, and
        ``OtherAccount``: then nothing more may be done here.
        """
        own = self._own.get(name)
        if own is None:
            return self._executor.execute(name, arguments)
        try:
            return own(arguments)
        except OtherAccount:
            raise
        except (ConfigError, Unavailable, Rejected, OutcomeUncertain) as error:
            return Answer.of_error(error)

    def _pause(self, arguments: Arguments) -> Answer:
        """No opens from now on."""
        set_pause(self._store, _reason(arguments))
        return self._state()

    def _halt(self, arguments: Arguments) -> Answer:
        """No opens until a person has looked; positions are kept, hedged and may be reduced."""
        set_halt(self._store, _reason(arguments))
        return self._state()

    def _resume(self, arguments: Arguments) -> Answer:
        """Lift what a person set or must judge, and what a daemon left behind: everywhere, or with ``base``
        what stands against one coin; what forbids it still is found again at the next look.

        Refused while the HALT file is there, and while the reconcile that a halt or a freeze asks for is
        not clean.
        """
        base = str(arguments.get("base", "")).upper()
        if not base and self._halt_file.present():
            message = f"the file {self._halt_file.path} is still there: remove it, then resume"
            return refused(Refused((Reason("halt_file", message),)))
        scope, now = base or GLOBAL_SCOPE, self._store.clock.now()
        here = [block for block in self._store.blocks.active(now) if block.scope == scope]
        judged = _TO_JUDGE if base else _OF_A_DAEMON
        mine = [block for block in here if block.needs_person or block.kind in judged]
        if any(block.kind is not BlockKind.PAUSE for block in mine):
            result = self._reconcile()
            if result.unread is not None:
                raise result.unread
            if not result.clean:
                return _unclean(result)
        with self._store.transaction():
            for block in mine:
                self._store.blocks.clear(block.scope, block.kind)
        return self._state()

    def _flatten(self, arguments: Arguments) -> Answer:
        """Close one position, or pause and close all, at wider price caps and without waiting."""
        name = str(arguments.get("name", ""))
        if name:
            return self._executor.execute("close", {"name": name, "emergency": True})
        set_pause(self._store, "flatten: everything is closed and nothing opened")
        answer = self._executor.execute("close", {"all": True, "emergency": True, "paused": True})
        return replace(answer, warnings=(_PAUSED, *answer.warnings))

    def _state(self) -> Answer:
        now = self._store.clock.now()
        blocks = [block_document(block) for block in self._store.blocks.active(now)]
        data = {"control": self._store.blocks.control(now), "blocks": blocks}
        return Answer(data=jsonable(data))


def _reason(arguments: Arguments) -> str:
    return str(arguments.get("reason", "")) or ASKED


def _unclean(result: ReconcileResult) -> Answer:
    found = tuple(Reason(item.kind, f"{item.symbol}: {item.action}") for item in result.loud)
    message = "not resumed: books and venue differ; `fundarb reconcile` shows where"
    return Answer.wrong("mismatch", message, reasons=found, data=documents.reconcile(result))


def block_document(block: Block) -> dict[str, object]:
    """A block as ``status`` and the control commands show it."""
    return {
        "scope": block.scope,
        "kind": block.kind,
        "reason": block.reason,
        "since": block.since,
        "until": block.until,
        "needs_person": block.needs_person,
    }
