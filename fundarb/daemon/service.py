"""The daemon on the real clock: signals, heartbeat, HALT file, command rows, clock jumps, and the trading
thread's watchdog.

The main loop here never trades and never waits for the venue; the trading thread does nothing else. Ending is
crash-only: a step is given a few seconds to finish, what is still in flight is written down as uncertain, and
the next start resolves it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

from fundarb.clock import Clock
from fundarb.core.events import AlertRaised
from fundarb.daemon.bell import Bell
from fundarb.daemon.crew import Crew
from fundarb.daemon.health import JumpWatch, Stopped, WorkClock
from fundarb.daemon.queue import Item, Priority
from fundarb.daemon.retry import Retry
from fundarb.daemon.signals import Signals
from fundarb.engine.handover import RECOVERY
from fundarb.engine.office import Office
from fundarb.errors import FundarbError, StateUnavailable

TICK = timedelta(milliseconds=200)
HEARTBEAT = timedelta(seconds=1)
GRACE = timedelta(seconds=8)
"""How long a step may go on after SIGTERM; a read may take ten more seconds, and the whole must stay below
twenty.
"""
HARD_LIMIT = timedelta(seconds=18)
STUCK = timedelta(seconds=90)
"""Longer than any step of a job goes without looking at the clock."""
_TAKE = timedelta(seconds=1)


class Service:
    """Runs an office until it is asked to end or something fatal happens."""

    def __init__(
        self, office: Office, *, clock: Clock, work_clock: WorkClock, signals: Signals | None = None
    ) -> None:
        """``work_clock`` is the clock the office was built with, around ``clock``; ``signals`` may have
        caught one already.
        """
        self._office = office
        self._clock = clock
        self._work_clock = work_clock
        self._crew = Crew(office, machine=clock, moved=self._rearm)
        self._bell = Bell(office.specs, queue=self._crew.queue, schedule=self._crew.schedule, clock=clock)
        self._signals = signals if signals is not None else Signals()
        self._recovered = threading.Event()
        self._ringing = False
        self._beat_at = clock.monotonic() - HEARTBEAT
        self._beats_missed = 0
        self._stuck = False
        self._retry = Retry(work_clock)

    def run(self, started: Callable[[], None] = lambda: None) -> int:
        """Work until the end; the signal that asked for it. ``started`` is called once the first words are
        written.

        Raises what made it impossible to go on (``StateUnavailable``, ``InvariantBroken`` …). The lock must
        be held.
        """
        with self._signals.caught():
            if not self._signals.first:
                self._told(started)
        if self._crew.worker.fatal is not None:
            raise self._crew.worker.fatal
        return self._signals.first

    def _told(self, started: Callable[[], None]) -> None:
        """Serve; people are told of an end that came from here and not from the trading thread."""
        try:
            self._serve(started)
        except FundarbError as error:
            if self._crew.worker.fatal is None:
                self._crew.worker.give_up(error)
            raise

    def _serve(self, started: Callable[[], None]) -> None:
        thread = threading.Thread(target=self._trade, name="trading", daemon=True)
        jumps = JumpWatch(self._clock)
        try:
            self._crew.begin()
            started()
            thread.start()
            while not self._signals.first and thread.is_alive():
                self._tick(jumps)
                self._clock.sleep(TICK)
        finally:
            self._end(thread)

    # --------------------------------------------------------------------------------- the main loop

    def _tick(self, jumps: JumpWatch) -> None:
        """One look at everything that is not trading."""
        self._heartbeat()
        self._crew.look_outside()
        if self._recovered.is_set() and not self._ringing:
            self._ringing = True
            self._bell.start()
            self._crew.publish(self._bell.armed_at)
        jump = jumps.look()
        if jump is not None and self._ringing:
            store = self._office.desk.store
            store.events.record(AlertRaised(code="clock_jump", subject="clock", message=str(jump)))
            self._bell.rearm_all()
            self._crew.publish(self._bell.armed_at)
            self._crew.queue.put(RECOVERY, Priority.URGENT)
        self._watch_worker()

    def _heartbeat(self) -> None:
        """A sign of life, as long as the trading thread gives one; a second failure in a row is the end."""
        now = self._clock.monotonic()
        if now - self._beat_at < HEARTBEAT or self._stuck:
            return
        try:
            self._office.lock.heartbeat()
        except StateUnavailable:
            self._beats_missed += 1
            if self._beats_missed > 1 or not self._office.desk.store.still_there():
                raise
            return
        self._beat_at, self._beats_missed = now, 0

    def _watch_worker(self) -> None:
        """A trading thread that does not move is told of once, and the heartbeat stops until it does."""
        silent = self._work_clock.silence()
        stuck = bool(self._crew.worker.current) and silent > STUCK
        if stuck and not self._stuck:
            message = f"{self._crew.worker.current} has not moved for {silent.total_seconds():.0f} s"
            alert = AlertRaised(code="stuck", subject=self._crew.worker.current, message=message)
            self._office.desk.store.events.record(alert)
        self._stuck = stuck

    def _rearm(self) -> None:
        self._bell.rearm_funding()

    # ------------------------------------------------------------------------------ the trading thread

    def _trade(self) -> None:
        """Recovery first, however often it takes; then whatever waits, the most urgent first."""
        self._work_clock.claim()
        crew, clock = self._crew, self._work_clock
        try:
            while not crew.queue.closed:
                if self._retry.due():
                    crew.queue.put(RECOVERY, Priority.URGENT)
                item = crew.queue.take(_TAKE)
                if item is None:
                    clock.now()  # a pulse: waiting for work is not being stuck
                elif item.name == RECOVERY or self._recovered.is_set():
                    self._work(item)
                else:
                    clock.sleep(TICK)
                    crew.queue.put(item.name, item.priority)
        except Stopped:
            return

    def _work(self, item: Item) -> None:
        done = self._crew.worker.run_job(item)
        if item.name != RECOVERY or self._crew.worker.fatal is not None:
            return
        if not done:
            self._retry.failed(self._crew.worker.error)
            return
        self._retry.succeeded()
        if not self._recovered.is_set():
            self._crew.catch_up()
            self._recovered.set()

    # ------------------------------------------------------------------------------------------ the end

    def _end(self, thread: threading.Thread) -> None:
        """Stop ringing, let the step finish or time out, write the last words."""
        self._bell.stop()
        self._office.desk.stop.requested = True
        self._crew.queue.close()
        self._work_clock.stop_by(GRACE)
        deadline = self._clock.monotonic() + HARD_LIMIT
        while thread.is_alive() and self._clock.monotonic() < deadline:
            self._clock.sleep(TICK / 4)
        try:
            self._crew.end()
        except FundarbError:
            if self._crew.worker.fatal is None and self._signals.first:
                raise
