"""The bell: APScheduler rings, the queue gets names, nothing else happens on its thread."""

from __future__ import annotations

import threading
from datetime import timedelta

from fundarb.clock import SystemClock
from fundarb.config import JobSpec, Trigger
from fundarb.daemon.bell import Bell
from fundarb.daemon.queue import JobQueue, Priority
from fundarb.daemon.triggers import FundingSchedule
from fundarb.engine.held import NextSettlement

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def every(name: str, run: str, interval: timedelta, *, enabled: bool = True) -> JobSpec:
    """An interval job."""
    return JobSpec(name=name, run=run, trigger=Trigger.INTERVAL, every=interval, enabled=enabled)


def test_it_rings_and_the_queue_has_the_name() -> None:
    """An interval of a second rings again and again, under the job's name and its run's priority; a disabled
    job, due as often, never.
    """
    queue, clock = JobQueue(), SystemClock()
    specs = (every("look", "watch", SECOND), every("off", "digest", SECOND, enabled=False))
    bell = Bell(specs, queue=queue, schedule=FundingSchedule(), clock=clock)
    bell.start()
    try:
        for _ in range(2):
            item = queue.take(60 * SECOND)
            assert item is not None
            assert (item.name, item.priority) == ("look", Priority.WATCH)
        assert queue.waiting() in {(), ("look",)}
        assert set(bell.next_times()) == {"look"}
    finally:
        bell.stop()


def test_ringing_runs_nothing_on_its_own_thread() -> None:
    """After start there is one more thread, the scheduler's; no pool of workers."""
    before = set(threading.enumerate())
    bell = Bell(
        (every("look", "watch", HOUR),), queue=JobQueue(), schedule=FundingSchedule(), clock=SystemClock()
    )
    bell.start()
    try:
        assert len(set(threading.enumerate()) - before) == 1
    finally:
        bell.stop()


def test_a_bell_that_does_not_ring_is_armed_anew_in_vain() -> None:
    """A settlement that moves before the first ring, or after the last, is nobody's failure: the trading
    thread may be at work while the daemon starts or ends.
    """
    spec = JobSpec(name="leave", run="close_when_due", trigger=Trigger.BEFORE_FUNDING, offset=SECOND)
    bell = Bell((spec,), queue=JobQueue(), schedule=FundingSchedule(), clock=SystemClock())
    bell.rearm_funding()
    bell.start()
    bell.rearm_funding()
    bell.stop()
    bell.rearm_funding()
    assert bell.armed_at is not None


def test_rearm_follows_a_moved_settlement() -> None:
    """When the settlement of what is held moves nearer, the armed job moves with it; other jobs stay."""
    clock, schedule = SystemClock(), FundingSchedule()
    now = clock.now()
    schedule.update({"BTCUSDT": NextSettlement(now + 8 * HOUR, 8 * HOUR)}, now)
    specs = (
        JobSpec(name="collect", run="collect_funding", trigger=Trigger.AFTER_FUNDING, offset=90 * SECOND),
        every("look", "watch", HOUR),
    )
    bell = Bell(specs, queue=JobQueue(), schedule=schedule, clock=clock)
    bell.start()
    try:
        before = dict(bell.next_times())
        assert before["collect"] == now + 8 * HOUR + 90 * SECOND
        schedule.update({"BTCUSDT": NextSettlement(now + HOUR, HOUR)}, now)
        bell.rearm_funding()
        after = bell.next_times()
        assert after["collect"] == now + HOUR + 90 * SECOND
        assert after["look"] == before["look"]
    finally:
        bell.stop()


def test_rearm_all_counts_from_now_and_rings_once() -> None:
    """After a jump of the clock every interval counts from the new now, and each job rings once at once."""
    queue = JobQueue()
    bell = Bell(
        (every("look", "watch", HOUR), every("more", "digest", HOUR)),
        queue=queue,
        schedule=FundingSchedule(),
        clock=SystemClock(),
    )
    bell.start()
    try:
        bell.rearm_all()
        assert queue.waiting() == ("look", "more")
        due = bell.next_times()["look"]
        assert due is not None
        assert abs(due - SystemClock().now() - HOUR) < 5 * SECOND
    finally:
        bell.stop()
