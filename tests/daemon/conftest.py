"""An office without a venue: a real database, lock, queue and worker around jobs that the test writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from fundarb.clock import Clock, SystemClock
from fundarb.config import JobSpec, Trigger
from fundarb.core.events import Event
from fundarb.daemon.health import WorkClock
from fundarb.engine.answers import Answer
from fundarb.engine.commands import Arguments
from fundarb.engine.control import Control
from fundarb.engine.desk import Desk
from fundarb.engine.halt_file import HaltFile
from fundarb.engine.jobs import JobReport, Jobs
from fundarb.engine.office import Office
from fundarb.engine.reconcile import ReconcileResult
from fundarb.errors import StateUnavailable
from fundarb.store.database import Store
from fundarb.store.lock import WriterLock
from tests.engine.world import World, make_world

Action = Callable[[], JobReport]


@dataclass
class Doing:
    """A job that does what the test says; counts its runs."""

    action: Action = JobReport
    runs: int = 0

    def run(self, arguments: Mapping[str, object]) -> JobReport:
        """Once."""
        self.runs += 1
        return self.action()


@dataclass
class Told:
    """A notifier that keeps what it is told."""

    events: list[Event] = field(default_factory=list)

    def tell(self, event: Event) -> None:
        """Keep it."""
        self.events.append(event)


@dataclass
class Executed:
    """An executor of commands that notes them."""

    calls: list[tuple[str, Arguments]] = field(default_factory=list)
    action: Callable[[], Answer] = Answer

    def execute(self, name: str, arguments: Arguments) -> Answer:
        """Note it and answer."""
        self.calls.append((name, arguments))
        return self.action()


@dataclass
class Shop:
    """Everything a test of the drivers needs."""

    office: Office
    jobs: dict[str, Doing]
    told: Told
    executed: Executed
    clock: WorkClock
    home: Path
    world: World
    recover: Doing

    @property
    def store(self) -> Store:
        """The database."""
        return self.office.desk.store

    def kinds(self) -> list[str]:
        """The kinds of all events so far."""
        return [event.kind for event in self.store.events.after(0, 10_000)]


RUNS = ("watch", "reconcile", "scan_and_open", "digest")


def job(run: str) -> JobSpec:
    """A job that the test rings by hand: its cron day never comes."""
    return JobSpec(
        name=run.replace("_", "-"), run=run, trigger=Trigger.CRON, cron={"day": "31", "month": "2"}
    )


def open_shop(folder: Path, machine: Clock) -> Shop:
    """An office around test jobs; no venue is asked unless a test does."""
    world = make_world(folder / "fundarb.sqlite3")
    writer = world.writer
    clock = WorkClock(machine)
    desk: Desk = replace(writer.desk, clock=clock)
    jobs = {run: Doing() for run in RUNS}
    told, executed, recover = Told(), Executed(), Doing()
    halt_file = HaltFile(folder)
    control = Control(desk.store, executor=executed, reconcile=ReconcileResult, halt_file=halt_file)
    office = Office(
        desk=desk,
        lock=writer.lock,
        jobs=Jobs(jobs),
        commands=control,
        recover=lambda: recover.run({}),
        specs=tuple(job(run) for run in RUNS),
        halt_file=halt_file,
        notifier=told,
    )
    return Shop(office, jobs, told, executed, clock, folder, world, recover)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A shop on the machine's clock."""
    made = open_shop(tmp_path, SystemClock())
    yield made
    with suppress(StateUnavailable):  # a test may have taken the database away
        made.world.close()


def lock_of(shop: Shop) -> WriterLock:
    """The writer's lock of a shop."""
    return shop.office.lock
