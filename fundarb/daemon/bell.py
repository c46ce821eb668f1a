"""The bell: APScheduler rings, and ringing means putting a name into the queue; nothing is ever done on its
thread.

Missed rings are made up for once, however late (``misfire_grace_time=None``, ``coalesce=True``). Whoever
notices that a settlement moved, or that the wall clock jumped, re-arms the bell.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from fundarb.clock import Clock
from fundarb.config import JobSpec, Trigger
from fundarb.daemon.queue import JobQueue, priority_of
from fundarb.daemon.triggers import FundingSchedule, next_time, trigger_of

_FUNDING = frozenset({Trigger.BEFORE_FUNDING, Trigger.AFTER_FUNDING})


class Bell:
    """Rings on the wall clock, from a thread of its own."""

    def __init__(
        self, specs: Sequence[JobSpec], *, queue: JobQueue, schedule: FundingSchedule, clock: Clock
    ) -> None:
        """Nothing rings before ``start``."""
        self._specs = tuple(spec for spec in specs if spec.enabled)
        self._queue = queue
        self._schedule = schedule
        self._clock = clock
        self._arming = threading.Lock()
        """The trading thread arms it anew while the main one may be starting or stopping it."""
        self.armed_at: datetime | None = None
        """Where intervals are counted from."""
        logging.getLogger("apscheduler").setLevel(logging.WARNING)  # it tells of each job it adds
        self._scheduler: Any = BackgroundScheduler(
            timezone=UTC,
            executors={"default": DebugExecutor()},  # a ring takes microseconds: no pool is needed
            job_defaults={"misfire_grace_time": None, "coalesce": True},
            daemon=True,
        )

    def start(self) -> None:
        """Arm every job and begin."""
        with self._arming:
            now = self.armed_at = self._clock.now()
            for spec in self._specs:
                self._scheduler.add_job(
                    self._ring,
                    trigger_of(spec, self._schedule, start=now),
                    args=(spec,),
                    id=spec.name,
                    name=spec.name,
                )
            self._scheduler.start()

    def stop(self) -> None:
        """Stop ringing."""
        with self._arming:
            if self._scheduler.running:
                self._scheduler.shutdown(wait=False)

    def rearm_funding(self) -> None:
        """Settlements moved: arm the jobs that follow them anew. One that is due this very moment still
        rings. Nothing where nothing rings yet, or any more.
        """
        with self._arming:
            if not self._scheduler.running:
                return
            now = self._clock.now()
            for spec in self._specs:
                if spec.trigger in _FUNDING:
                    job = self._scheduler.get_job(spec.name)
                    due = next_time(job.trigger, None, now=now)
                    if job.next_run_time is not None and job.next_run_time > now and due is not None:
                        job.modify(next_run_time=due)

    def rearm_all(self) -> None:
        """The wall clock jumped: count everything from now; each job rings once at once, as nobody knows
        what was missed.
        """
        now = self.armed_at = self._clock.now()
        for spec in self._specs:
            self._scheduler.reschedule_job(spec.name, trigger=trigger_of(spec, self._schedule, start=now))
            self._ring(spec)

    def next_times(self) -> Mapping[str, datetime | None]:
        """When each job rings next."""
        return {spec.name: self._scheduler.get_job(spec.name).next_run_time for spec in self._specs}

    def _ring(self, spec: JobSpec) -> None:
        self._queue.put(spec.name, priority_of(spec.run))
