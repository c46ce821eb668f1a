"""The daemon on a virtual clock: only the bell and the clock are replaced.

The same triggers are asked for their next fire time, the clock is moved there, the same names go into the
same queue and the same worker empties it. Moves of the clock that nobody would notice are merged into one:
the venue is only told the time when somebody is about to ask it something.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fundarb.clock import Clock
from fundarb.config import JobSpec, Trigger
from fundarb.config.kinds import spoken
from fundarb.core.instants import iso
from fundarb.daemon.crew import Crew
from fundarb.daemon.queue import COMMANDS, Item, JobQueue, Priority, priority_of
from fundarb.daemon.triggers import FundingSchedule, next_time, trigger_of
from fundarb.engine.handover import RECOVERY
from fundarb.engine.office import Office
from fundarb.errors import ConfigError, FundarbError, Problem, Unavailable
from fundarb.store.lock import WriterLock

_FUNDING = frozenset({Trigger.BEFORE_FUNDING, Trigger.AFTER_FUNDING})
_IDLE_WHEN_FLAT = frozenset({"watch", "close_when_due"})
"""Runs that ask the venue nothing while nothing is held."""
_HEARTBEAT = timedelta(seconds=1)
_LOOK_OUTSIDE = timedelta(milliseconds=200)
_RECOVERIES = 12


def within(until: datetime | None, *, start: datetime, duration: timedelta) -> None:
    """``ConfigError`` if the stretch to be lived through ends behind ``until``, where the venue's recording
    ends: what comes after it, nobody knows. None: its time does not end.
    """
    if until is None or start + duration <= until:
        return
    left = until - start
    longest = f"--simulate {spoken(left)} at most from there" if left else "nothing is left from there"
    problem = f"{spoken(duration)} from {iso(start)} ends behind the recording, which ends at {iso(until)}"
    raise ConfigError(
        Problem("--simulate", problem, f"{longest}; or begin at {iso(until - duration)} at the latest")
    )


class MergedClock:
    """A virtual clock whose moves are postponed until they matter: ``flush`` or ``sleep`` really make
    them.
    """

    def __init__(self, inner: Clock) -> None:
        """At the inner clock's time."""
        self._inner = inner
        self._start = inner.now()
        self._ahead = self._start

    def now(self) -> datetime:
        """The instant moved to, made or not."""
        return max(self._ahead, self._inner.now())

    def monotonic(self) -> timedelta:
        """Virtual time since this clock was made."""
        return self.now() - self._start

    def sleep(self, duration: timedelta) -> None:
        """Move at once: somebody waits for the venue."""
        if duration > timedelta():
            self._inner.sleep(self.now() + duration - self._inner.now())

    def move_to(self, instant: datetime) -> None:
        """Move without telling the venue yet."""
        self._ahead = max(self._ahead, instant)

    def flush(self) -> None:
        """Make the postponed move."""
        behind = self._ahead - self._inner.now()
        if behind > timedelta():
            self._inner.sleep(behind)


@dataclass(slots=True)
class _Alarm:
    """One job and when it is due."""

    spec: JobSpec
    trigger: Any
    due: datetime | None


class VirtualBell:
    """Asks the triggers and rings by itself; never ahead of its clock."""

    def __init__(
        self, specs: Sequence[JobSpec], *, queue: JobQueue, schedule: FundingSchedule, now: datetime
    ) -> None:
        """Every enabled job is armed from ``now``."""
        self._queue = queue
        self._alarms = [
            _Alarm(spec, trigger := trigger_of(spec, schedule, start=now), next_time(trigger, None, now=now))
            for spec in specs
            if spec.enabled
        ]

    def next(self) -> datetime | None:
        """When something is due."""
        return min((alarm.due for alarm in self._alarms if alarm.due is not None), default=None)

    def ring(self, now: datetime) -> tuple[JobSpec, ...]:
        """Put what is due into the queue, once each however often it was missed; what was rung."""
        rung = []
        for alarm in self._alarms:
            if alarm.due is None or alarm.due > now:
                continue
            while alarm.due is not None and alarm.due <= now:
                alarm.due = next_time(alarm.trigger, alarm.due, now=now)
            self._queue.put(alarm.spec.name, priority_of(alarm.spec.run))
            rung.append(alarm.spec)
        return tuple(rung)

    def rearm_funding(self, now: datetime) -> None:
        """Settlements moved: what follows them is due anew, unless it is due already."""
        for alarm in self._alarms:
            if alarm.spec.trigger in _FUNDING and (alarm.due is None or alarm.due > now):
                alarm.due = next_time(alarm.trigger, None, now=now)


@contextmanager
def _beating(lock: WriterLock) -> Iterator[None]:
    """Signs of life once a second of real time, however long a step takes; from a thread of its own, which
    does nothing else. What goes wrong there, whoever trades finds out for itself.
    """
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(_HEARTBEAT.total_seconds()):
            with suppress(FundarbError):
                lock.heartbeat()

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class Simulation:
    """Runs an office over a stretch of virtual time, in the calling thread."""

    def __init__(self, office: Office, *, clock: MergedClock, machine: Clock) -> None:
        """``clock`` is the clock the office was built with; ``machine`` the real one, by which commands
        from outside are looked for.
        """
        self._office = office
        self._clock = clock
        self._machine = machine
        self._crew = Crew(office, machine=machine, moved=self._rearm)
        self._bell: VirtualBell | None = None
        self._outside_at = machine.monotonic()

    def run(
        self, duration: timedelta, *, progress: Callable[[timedelta, timedelta], None] = lambda _a, _b: None
    ) -> None:
        """Live through ``duration``, or until the desk is asked to stop: then the step under way is finished.
        ``progress`` is told (done, whole). Raises what made it impossible to go on.
        """
        with _beating(self._office.lock):
            self._live(duration, progress)

    def _live(self, duration: timedelta, progress: Callable[[timedelta, timedelta], None]) -> None:
        start = self._clock.now()
        end = start + duration
        orderly = False
        try:
            self._crew.begin()
            self._recover()
            self._crew.catch_up()
            self._bell = VirtualBell(
                self._office.specs, queue=self._crew.queue, schedule=self._crew.schedule, now=start
            )
            self._drain()
            while (due := self._bell.next()) is not None and due <= end and not self._stopped:
                self._clock.move_to(due)
                self._look_outside()
                self._flush_for(self._bell.ring(self._clock.now()))
                self._drain()
                progress(self._clock.now() - start, duration)
            if not self._stopped:
                self._clock.move_to(end)
            self._clock.flush()
            orderly = True
        finally:
            self._end(orderly=orderly)

    @property
    def _stopped(self) -> bool:
        return self._office.desk.stop.requested

    def _end(self, *, orderly: bool) -> None:
        self._crew.queue.close()
        try:
            self._crew.end()
        except FundarbError:
            if orderly:
                raise

    def _recover(self) -> None:
        """The walk that every start begins with, before anything else; a venue that does not answer is asked
        again for a while, any other failure is the end.
        """
        worker, walk = self._crew.worker, Item(RECOVERY, Priority.URGENT)
        self._crew.queue.take()  # the same walk: nothing is more urgent
        for _ in range(_RECOVERIES):
            if worker.run_job(walk) or self._stopped:
                return
            self._raise_fatal()
            if worker.error is not None and not isinstance(worker.error, Unavailable):
                raise worker.error
            self._clock.sleep(timedelta(seconds=5))
        why = f"the venue does not answer, so nothing can be simulated against it: {worker.error}"
        raise Unavailable(why) from worker.error

    def _drain(self) -> None:
        """Everything that waits, the most urgent first."""
        while not self._stopped and (item := self._crew.queue.take()) is not None:
            self._crew.worker.run_job(item)
            self._raise_fatal()

    def _raise_fatal(self) -> None:
        if self._crew.worker.fatal is not None:
            raise self._crew.worker.fatal

    def _flush_for(self, rung: Iterable[JobSpec]) -> None:
        """Tell the venue the time if one of these is going to ask it something."""
        asking = (
            any(spec.run not in _IDLE_WHEN_FLAT for spec in rung) or COMMANDS in self._crew.queue.waiting()
        )
        if asking or self._crew.holding:
            self._clock.flush()

    def _look_outside(self) -> None:
        """What comes from outside comes in real time, and is looked at as often as the daemon does."""
        now = self._machine.monotonic()
        if now - self._outside_at >= _LOOK_OUTSIDE:
            self._outside_at = now
            self._crew.look_outside()

    def _rearm(self) -> None:
        if self._bell is not None:
            self._bell.rearm_funding(self._clock.now())
