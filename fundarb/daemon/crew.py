"""What daemon and simulation share: one queue, one worker with its tasks, the schedule of held settlements,
and what is looked at between two items.

Whoever drives it decides when something is rung and how time passes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from fundarb.clock import Clock
from fundarb.core.states import IntentState, IntentTrigger
from fundarb.daemon.queue import COMMANDS, JobQueue, Priority, priority_of
from fundarb.daemon.triggers import FundingSchedule
from fundarb.daemon.worker import Task, WorkDesk, Worker
from fundarb.engine import timetable
from fundarb.engine.activity import Activity, now_busy_with
from fundarb.engine.control import end_leftovers, obey_at_once
from fundarb.engine.handover import RECOVERY
from fundarb.engine.held import held_settlements, publish
from fundarb.engine.office import Office
from fundarb.engine.timetable import Timetable

_QUIET = frozenset({"watch", "reconcile", "collect_funding", "snapshot"})
"""Runs that happen too often to be an event each time."""
_ASIDE = frozenset({"digest", "backup", "history"})
"""Runs on which no trade depends; they come seldom, and what forbids opens until they work again would do so
for days.
"""
_LOOK_EVERY = timedelta(seconds=30)
_AT_START = ("watch", "collect_funding", "close_when_due", "scan_and_open", "snapshot")
"""Runs that a start makes up for; a digest or a backup waits for its hour."""


class Crew:
    """The working parts of one driver."""

    def __init__(self, office: Office, *, machine: Clock, moved: Callable[[], None] = lambda: None) -> None:
        """``moved`` is called when a settlement of what is held was added, moved or dropped; ``machine`` is
        the real clock.
        """
        self.office = office
        self._machine = machine
        self.queue = JobQueue()
        self.schedule = FundingSchedule()
        self._moved = moved
        self.holding = bool(office.desk.store.positions.active())
        self._looked = office.desk.clock.monotonic()
        desk = office.desk
        tasks = {
            spec.name: Task(
                partial(office.jobs.run, spec.run, spec.args),
                quiet=spec.run in _QUIET,
                needed=spec.run not in _ASIDE,
            )
            for spec in office.specs
        }
        tasks[RECOVERY] = Task(office.recover)
        self.worker = Worker(
            WorkDesk(
                store=desk.store,
                clock=desk.clock,
                machine=machine,
                queue=self.queue,
                commands=office.commands,
                notifier=office.notifier,
                after=self.look,
            ),
            tasks,
        )

    def begin(self) -> None:
        """The first steps of a writer: what its predecessor left, what people want, and then recovery."""
        store = self.office.desk.store
        now_busy_with(store, Activity.INITIALIZING)
        self.publish(self.office.desk.clock.now())
        end_leftovers(store, self._machine.now())
        self.look_outside()
        self.queue.put(RECOVERY, Priority.URGENT)

    def publish(self, armed_at: datetime | None) -> None:
        """Let readers see the schedule that is gone by; intervals are counted from ``armed_at``."""
        timetable.publish(self.office.desk.store, Timetable(self.office.specs, armed_at))

    def catch_up(self) -> None:
        """After recovery: let everything wait that may have been missed."""
        for spec in self.office.specs:
            if spec.enabled and spec.run in _AT_START:
                self.queue.put(spec.name, priority_of(spec.run))

    def look(self, changed: bool = True) -> None:  # noqa: FBT001, FBT002 - a callback's one argument
        """After each item: has a settlement of what is held moved? After quiet ones not each time."""
        desk = self.office.desk
        now = desk.clock.monotonic()
        if not changed and now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        self.holding = bool(desk.store.positions.active())
        coming = held_settlements(desk)
        if self.schedule.update(coming, desk.clock.now()):
            publish(desk.store, coming)
            self._moved()

    def look_outside(self) -> None:
        """The HALT file and the command rows; cheap enough to be done several times a second."""
        store = self.office.desk.store
        self.office.halt_file.obey(store)
        if store.commands.waiting():
            obey_at_once(store)
            self.queue.put(COMMANDS, Priority.COMMAND)

    def end(self) -> None:
        """The last step of a writer: what is still in flight is uncertain from now on."""
        store = self.office.desk.store
        with store.transaction():
            self.worker.flush()
            for intent in store.intents.open():
                if intent.state is not IntentState.UNCERTAIN:
                    store.intents.advance(
                        intent.link_id, IntentTrigger.NO_ANSWER, message="in flight when the process ended"
                    )
