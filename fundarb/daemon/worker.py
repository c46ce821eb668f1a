"""The one trading thread's work: takes a name from the queue, runs what it means, records how it ended.

``Worker.run_job`` is the job boundary, one of the two places of the program that catch everything: a job that
fails is an event and counts for the breaker; a broken invariant, an illegal transition or a lost database or
lock ends the process. Nothing else runs jobs, so nothing here needs a lock.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from fundarb.clock import Clock
from fundarb.core.events import AlertRaised, CommandFinished, Event, JobFailed, JobFinished
from fundarb.core.records import CommandRecord
from fundarb.daemon.breaker import Breaker
from fundarb.daemon.health import Stopped
from fundarb.daemon.queue import COMMANDS, Item, JobQueue, Priority
from fundarb.engine.activity import Activity, at_rest, now_busy_with
from fundarb.engine.answers import Answer
from fundarb.engine.control import CommandRunner, expire_opens
from fundarb.engine.halt_file import set_halt
from fundarb.engine.handover import finish
from fundarb.engine.jobs import JobReport
from fundarb.engine.ports import Notifier
from fundarb.errors import (
    ConfigError,
    FundarbError,
    IllegalTransition,
    InvariantBroken,
    Locked,
    StateUnavailable,
)
from fundarb.store.database import Store

_FATAL = (StateUnavailable, IllegalTransition, InvariantBroken, Locked, ConfigError)
_KEEP_RUNS = 2000
_PRUNE_EVERY = 500
_GATHER = timedelta(seconds=10)
"""A commit costs more than a quiet job: their records are gathered for so long, by the real clock."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a name in the queue means: what to run, whether a run that changed nothing goes without an event,
    and whether trading depends on it: then nothing is opened while it keeps failing.
    """

    run: Callable[[], JobReport]
    quiet: bool = False
    needed: bool = True


@dataclass(frozen=True, slots=True)
class _Run:
    """A run that ended."""

    name: str
    started: datetime
    finished: datetime
    result: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkDesk:
    """What the worker touches. ``after`` is called after each item (to re-arm the bell); ``machine`` is the
    real clock, by which records of quiet runs are gathered.
    """

    store: Store
    clock: Clock
    machine: Clock
    queue: JobQueue
    commands: CommandRunner
    notifier: Notifier
    after: Callable[[bool], None]


class Worker:
    """Runs jobs and commands, one at a time."""

    def __init__(self, desk: WorkDesk, tasks: Mapping[str, Task]) -> None:
        """``tasks`` by job name."""
        self._desk = desk
        self._tasks = tasks
        spared = {name for name, task in tasks.items() if not task.needed}
        self._breaker = Breaker(desk.store, spared=spared)
        self._command: CommandRecord | None = None
        self._runs: Counter[str] = Counter()
        self._quiet: defaultdict[str, list[_Run]] = defaultdict(list)
        self._flushed = desk.machine.monotonic() - _GATHER
        self.error: Exception | None = None
        """Why the last item failed; None if it did not."""
        self.fatal: Exception | None = None
        self.current = ""

    def run_job(self, item: Item) -> bool:
        """Run one item to its end; False if it failed. Nothing escapes: what must end the process is kept in
        ``fatal``.
        """
        self.current, self.error = item.name, None
        try:
            self._run(item)
        except Exception as error:  # noqa: BLE001 - the job boundary
            self._failed(item, error)
            return False
        finally:
            self.current = ""
            self._command = None
        return True

    def _run(self, item: Item) -> None:
        if item.name == COMMANDS:
            self._run_command()
            self._desk.after(True)
        else:
            self._desk.after(self._run_task(item.name))

    def _run_task(self, name: str) -> bool:
        """One job; its run is recorded with what it said. False for a quiet job that did nothing."""
        store, clock = self._desk.store, self._desk.clock
        task = self._tasks[name]
        started = clock.now()
        number = None if task.quiet else store.jobs.started(name, started)
        report = task.run()
        run = _Run(name, started, clock.now(), report.result, report.message)
        if number is None and not report.notable:
            self._quiet[name].append(run)
            if self._desk.machine.monotonic() - self._flushed >= _GATHER:
                self.flush()
        else:
            with store.transaction():
                self.flush()
                self._keep(run, number)
                store.events.record(JobFinished(job=name, result=report.result, message=report.message))
        if self._breaker.succeeded(name):
            at_rest(store)
        return number is not None or report.notable

    def flush(self) -> None:
        """Write the records of quiet runs that were gathered; a crash may lose those of the last seconds."""
        if any(self._quiet.values()):
            with self._desk.store.transaction():
                for runs in self._quiet.values():
                    for run in runs[-_KEEP_RUNS:]:
                        self._keep(run, None)
        self._quiet.clear()
        self._flushed = self._desk.machine.monotonic()

    def _keep(self, run: _Run, number: int | None) -> None:
        """The record of a run; ``number`` is that of its beginning if one was written."""
        jobs = self._desk.store.jobs
        number = jobs.started(run.name, run.started) if number is None else number
        jobs.finished(number, run.result, message=run.message, at=run.finished)
        self._forget(run.name)

    def _forget(self, name: str) -> None:
        """Remove old runs of a job, each job by its own count, so that a rare one, or one that only fails, is
        not left out.
        """
        if self._runs[name] % _PRUNE_EVERY == 0:
            self._desk.store.jobs.prune(name, _KEEP_RUNS)
        self._runs[name] += 1

    def _run_command(self) -> None:
        """The oldest waiting row, exactly once; further rows wait their turn behind what is more urgent."""
        store = self._desk.store
        self.flush()  # a command may run a job, whose record comes after those of earlier runs
        expire_opens(store, self._desk.machine.now())
        record = self._command = store.commands.claim()
        if record is None:
            return
        answer = self._desk.commands.execute(record.name, json.loads(record.arguments))
        self._end_command(record, answer)
        self._command = None  # whatever fails from here on is no failure of this command
        if store.commands.waiting():
            self._desk.queue.put(COMMANDS, Priority.COMMAND)

    def _end_command(self, record: CommandRecord, answer: Answer) -> None:
        store = self._desk.store
        with store.transaction():
            finish(store, record, answer=answer)
            store.events.record(
                CommandFinished(command_id=record.id, name=record.name, exit_code=answer.exit_code)
            )

    def _failed(self, item: Item, error: Exception) -> None:
        """Record the failure; decide whether the process may go on."""
        self.error = error
        if isinstance(error, Stopped):
            return
        try:
            if self._command is not None:
                self._end_command(self._command, Answer.of_error(error))
                if self._desk.store.commands.waiting():
                    self._desk.queue.put(COMMANDS, Priority.COMMAND)
            self._record_failure(item.name, error)
        except FundarbError as worse:
            self.give_up(worse if not isinstance(error, _FATAL) else error)
            return
        if isinstance(error, _FATAL):
            self.give_up(error)

    def _record_failure(self, name: str, error: Exception) -> None:
        store, now = self._desk.store, self._desk.clock.now()
        kind = error.kind if isinstance(error, FundarbError) else type(error).__name__
        with store.transaction():
            self.flush()
            run = store.jobs.last(name)
            open_run = run is not None and run.finished_at is None
            number = run.id if run is not None and open_run else store.jobs.started(name, now)
            store.jobs.finished(number, "failed", message=f"{kind}: {error}", at=now)
            self._forget(name)
            if self._breaker.is_news(name):
                store.events.record(JobFailed(job=name, error=kind, message=str(error)))
        if name != COMMANDS or not isinstance(error, FundarbError):
            self._breaker.failed(name, error)
            now_busy_with(store, Activity.ERROR)

    def give_up(self, error: Exception) -> None:
        """This process must end: halt if the state itself is in doubt, call a person, stop taking work."""
        self.fatal = error
        message = f"the daemon stops: {error}{self._unwatched()}"
        alert: Event = AlertRaised(code="daemon_stops", subject=type(error).__name__, message=message)
        try:
            if isinstance(error, (IllegalTransition, InvariantBroken)):
                set_halt(self._desk.store, f"{type(error).__name__}: {error}")
            self._desk.store.events.record(alert)
        except FundarbError:
            self._desk.notifier.tell(alert)  # the database is what is lost: people are told without it
        finally:
            self._desk.queue.close()

    def _unwatched(self) -> str:
        """What is left alone when this process ends, in words; empty if nothing."""
        try:
            held = sorted({position.base for position in self._desk.store.positions.active()})
        except FundarbError:
            return "; whatever is held is watched by nobody now"
        return f"; what is held ({', '.join(held)}) is watched by nobody now" if held else ""
