"""Signs of life, interruptible waits, and clocks that jump."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pytest

from fundarb.clock import SystemClock, VirtualClock
from fundarb.daemon.health import JumpWatch, Stopped, WorkClock

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


class TwoClocks:
    """A wall clock that can be set apart from the monotonic one."""

    def __init__(self) -> None:
        self.real = VirtualClock(SystemClock().now())
        self.offset = timedelta()

    def now(self) -> datetime:
        """The wall clock."""
        return self.real.now() + self.offset

    def monotonic(self) -> timedelta:
        """What really passed."""
        return self.real.monotonic()

    def sleep(self, duration: timedelta) -> None:
        """Both move."""
        self.real.sleep(duration)


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 9 * HOUR])
def test_a_jump_of_the_wall_clock_is_seen_once(jump: timedelta) -> None:
    """A clock that is set, or a machine that slept, is noticed at the next look with its size, and only
    then.
    """
    clock = TwoClocks()
    watch = JumpWatch(clock)
    clock.sleep(60 * SECOND)
    assert watch.look() is None
    clock.offset += jump
    found = watch.look()
    assert found is not None
    assert found.by == jump
    assert ("forward" if jump > timedelta() else "back") in str(found)
    clock.sleep(60 * SECOND)
    assert watch.look() is None


def test_a_slewed_clock_is_no_jump() -> None:
    """NTP's small corrections pass unnoticed."""
    clock = TwoClocks()
    watch = JumpWatch(clock)
    clock.offset += timedelta(milliseconds=900)
    assert watch.look() is None


def test_only_the_trading_thread_leaves_a_pulse() -> None:
    """Readings by other threads do not hide that the trading thread stands still."""
    inner = VirtualClock(SystemClock().now())
    clock = WorkClock(inner)
    thread = threading.Thread(target=clock.claim)
    thread.start()
    thread.join()
    inner.sleep(90 * SECOND)
    clock.now()
    clock.monotonic()
    assert clock.silence() >= 90 * SECOND
    clock.claim()
    clock.now()
    assert clock.silence() == timedelta()


def test_a_wait_is_a_pulse() -> None:
    """A long wait of the trading thread is not mistaken for standing still."""
    inner = VirtualClock(SystemClock().now())
    clock = WorkClock(inner)
    clock.claim()
    clock.sleep(300 * SECOND)
    assert clock.silence() <= SECOND
    assert inner.monotonic() >= 300 * SECOND


def test_a_wait_beyond_the_grace_is_given_up_at_once() -> None:
    """Once the process must end, a wait that cannot be over in time raises, a short one is kept."""
    inner = VirtualClock(SystemClock().now())
    clock = WorkClock(inner)
    clock.claim()
    clock.stop_by(8 * SECOND)
    clock.sleep(SECOND)
    before = inner.monotonic()
    with pytest.raises(Stopped):
        clock.sleep(HOUR)
    assert inner.monotonic() == before


def test_a_wait_under_way_ends_when_the_process_must() -> None:
    """A wait that began before the end was asked for is cut short."""
    clock = WorkClock(SystemClock())
    caught: list[BaseException] = []
    waiting = threading.Event()

    def wait() -> None:
        clock.claim()
        waiting.set()
        try:
            clock.sleep(HOUR)
        except Stopped as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    waiting.wait(5)
    clock.stop_by(timedelta())
    thread.join(5)
    assert len(caught) == 1


def test_other_threads_wait_undisturbed() -> None:
    """A thread that does not trade is never interrupted."""
    inner = VirtualClock(SystemClock().now())
    clock = WorkClock(inner)
    thread = threading.Thread(target=clock.claim)
    thread.start()
    thread.join()
    clock.stop_by(timedelta())
    clock.sleep(SECOND)
    assert inner.monotonic() == SECOND
