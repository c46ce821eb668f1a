"""The daemon's main loop in this process: signals, heartbeat, HALT, commands, jumps, a stuck worker, the
end.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.clock import Clock, SystemClock
from fundarb.core.events import AlertRaised
from fundarb.core.orders import Leg, Purpose, Side
from fundarb.core.records import CommandState, IntentRecord
from fundarb.core.states import IntentState
from fundarb.daemon import retry
from fundarb.daemon import service as module
from fundarb.daemon.health import WorkClock
from fundarb.daemon.queue import Priority
from fundarb.daemon.service import Service
from fundarb.daemon.signals import Signals
from fundarb.engine.handover import RECOVERY
from fundarb.engine.jobs import JobReport
from fundarb.engine.outcome import TradeResult
from fundarb.errors import InvariantBroken, StateUnavailable, Unavailable
from fundarb.store.blocks import Control
from tests.daemon.conftest import Shop, open_shop

D = Decimal
SECOND = timedelta(seconds=1)


class Watcher:
    """A thread that waits for something and then does something: signals, mostly."""

    def __init__(self, when: Callable[[], bool], then: Callable[[], None]) -> None:
        self._when = when
        self._then = then
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        clock = SystemClock()
        deadline = clock.monotonic() + 20 * SECOND
        try:
            while not self._when():
                if clock.monotonic() > deadline:
                    self.error = AssertionError("what the test waits for never came")
                    break
                clock.sleep(SECOND / 50)
        except Exception as error:  # noqa: BLE001 - the main thread must hear of it
            self.error = error
        self._then()


def end(number: int = signal.SIGTERM) -> None:
    """Send a signal to ourselves."""
    os.kill(os.getpid(), number)


def serve(shop: Shop, when: Callable[[], bool], *, clock: Clock | None = None) -> int:
    """Run a service until ``when`` holds, then end it with SIGTERM."""
    watcher = Watcher(when, end)
    service = Service(shop.office, clock=clock or SystemClock(), work_clock=shop.clock)
    ended = service.run()
    if watcher.error is not None:
        raise watcher.error
    return ended


def test_a_start_recovers_then_makes_up_for_what_was_missed(shop: Shop) -> None:
    """Recovery runs first; then watch and scan run once without waiting for their hour, a digest does not."""
    order: list[str] = []

    def noting(name: str) -> Callable[[], JobReport]:
        def act() -> JobReport:
            order.append(name)
            return JobReport()

        return act

    shop.recover.action = noting("recovery")
    for name, doing in shop.jobs.items():
        doing.action = noting(name)
    assert serve(shop, lambda: len(order) >= 3) == signal.SIGTERM
    assert order == ["recovery", "watch", "scan_and_open"]


def test_nothing_runs_until_recovery_succeeds(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A venue that does not answer at the start is asked again; no job runs before it did."""
    monkeypatch.setattr(retry, "FIRST", SECOND / 10)

    def act() -> JobReport:
        assert shop.jobs["watch"].runs == 0
        if shop.recover.runs < 3:
            raise Unavailable("the venue is away")
        return JobReport()

    shop.recover.action = act
    serve(shop, lambda: shop.jobs["watch"].runs == 1)
    assert shop.recover.runs == 3


def test_work_goes_on_while_a_later_recovery_waits(shop: Shop) -> None:
    """A machine that woke up recovers again; while the venue does not answer, what was recovered once is
    watched and obeyed between the tries.
    """
    service = Service(shop.office, clock=SystemClock(), work_clock=shop.clock)
    queue = service._crew.queue

    def act() -> JobReport:
        if shop.recover.runs == 1:
            return JobReport()
        queue.put("watch", Priority.WATCH)
        raise Unavailable("the network is not up yet")

    def woke() -> None:
        queue.put(RECOVERY, Priority.URGENT)
        Watcher(lambda: shop.jobs["watch"].runs == 2, end)

    shop.recover.action = act
    Watcher(lambda: shop.jobs["watch"].runs == 1, woke)
    service.run()
    assert shop.jobs["watch"].runs == 2
    assert shop.recover.runs == 2


def test_sigterm_ends_in_order(shop: Shop) -> None:
    """SIGTERM stops an idle daemon within a second or two; the desk is asked to stop, too."""
    clock = SystemClock()
    begin = clock.monotonic()
    assert serve(shop, lambda: shop.recover.runs == 1) == signal.SIGTERM
    assert clock.monotonic() - begin < 5 * SECOND
    assert shop.office.desk.stop.requested


def test_sigint_is_told_apart(shop: Shop) -> None:
    """Ctrl-C ends in order, too, and the caller learns which signal it was."""
    Watcher(lambda: shop.recover.runs == 1, lambda: end(signal.SIGINT))
    service = Service(shop.office, clock=SystemClock(), work_clock=shop.clock)
    assert service.run() == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_step_under_way_is_finished(shop: Shop) -> None:
    """A job that needs two more seconds when SIGTERM comes is finished and recorded."""
    begun = threading.Event()

    def act() -> JobReport:
        begun.set()
        shop.clock.sleep(2 * SECOND)
        return JobReport(result="finished", notable=True)

    shop.jobs["watch"].action = act
    serve(shop, begun.is_set)
    row = shop.store.jobs.last("watch")
    assert row is not None
    assert row.result == "finished"


def test_a_wait_that_is_too_long_is_given_up(shop: Shop) -> None:
    """A job that waits for an hour does not keep the daemon alive: it is interrupted at once."""
    begun = threading.Event()

    def act() -> JobReport:
        begun.set()
        shop.clock.sleep(timedelta(hours=1))
        return JobReport()

    shop.jobs["watch"].action = act
    clock = SystemClock()
    begin = clock.monotonic()
    serve(shop, begun.is_set)
    assert clock.monotonic() - begin < 10 * SECOND
    assert "job_failed" not in shop.kinds()


def test_what_is_in_flight_at_the_end_is_uncertain(shop: Shop) -> None:
    """An order whose answer was not waited for is written down as UNCERTAIN before the process ends."""
    trader = shop.world.writer.trader
    trader.open("BTC", shop.office.desk.rules.limits.max_clip)
    position = shop.store.positions.active()[0]
    intent = IntentRecord(
        link_id=f"fa-{_tag(shop)}-{position.plan_id}-s{shop.store.intents.next_seq(position.position_id):03}",
        position_id=position.position_id,
        leg=Leg.SPOT,
        seq=shop.store.intents.next_seq(position.position_id),
        purpose=Purpose.EXIT,
        category=Leg.SPOT.category,
        symbol=position.spot_symbol,
        side=Side.SELL,
        quantity=position.spot_owned,
        limit_price=position.decision_spot_mid,
        reduce_only=False,
        state=IntentState.SENDING,
        epoch=shop.office.lock.epoch,
        signed_at=shop.clock.now(),
        created_at=shop.clock.now(),
    )

    def act() -> JobReport:
        shop.store.intents.add(intent)
        return JobReport()

    shop.jobs["watch"].action = act
    serve(shop, lambda: shop.jobs["watch"].runs == 1)
    assert shop.store.intents.get(intent.link_id).state is IntentState.UNCERTAIN


def _tag(shop: Shop) -> str:
    identity = shop.store.identity.read()
    assert identity is not None
    return identity.tag


def test_the_heartbeat_beats(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the trading thread is busy with one step the writer's row is renewed all the same."""
    beats: list[timedelta] = []
    real = shop.office.lock.heartbeat

    def beat() -> None:
        beats.append(shop.clock.monotonic())
        real()

    monkeypatch.setattr(shop.office.lock, "heartbeat", beat)

    def act() -> JobReport:
        before = len(beats)
        for _ in range(200):  # as long as it takes on a busy machine, and no longer than it takes
            if len(beats) - before < 2:
                shop.clock.sleep(SECOND / 10)
        during.append(len(beats) - before)
        return JobReport()

    during: list[int] = []
    shop.jobs["watch"].action = act
    serve(shop, lambda: shop.jobs["scan_and_open"].runs == 1)
    assert during[0] >= 2


def test_the_halt_file_works_within_a_second(shop: Shop) -> None:
    """A HALT file halts within a second even while the trading thread is busy."""
    clock, begun, seen = SystemClock(), threading.Event(), []

    def act() -> JobReport:
        begun.set()
        placed = clock.monotonic()
        shop.office.halt_file.create()
        while shop.store.blocks.control(shop.clock.now()) is not Control.HALTED:
            clock.sleep(SECOND / 50)
        seen.append(clock.monotonic() - placed)
        return JobReport()

    shop.jobs["watch"].action = act
    serve(shop, lambda: bool(seen))
    assert seen[0] < SECOND


def test_a_command_row_is_taken_and_answered(shop: Shop) -> None:
    """A row inserted by another process is executed once and answered within a second or so."""
    numbers: list[int] = []

    def done() -> bool:
        if not shop.recover.runs:
            return False
        if not numbers:
            numbers.append(shop.store.commands.add("open", "{}", at=SystemClock().now()))
        return shop.store.commands.get(numbers[0]).state is CommandState.DONE

    serve(shop, done)
    assert [name for name, _ in shop.executed.calls] == ["open"]


class Jumping:
    """The machine's clock with a wall clock that a test can set."""

    def __init__(self) -> None:
        self.real = SystemClock()
        self.offset = timedelta()

    def now(self) -> datetime:
        """The wall clock."""
        return self.real.now() + self.offset

    def monotonic(self) -> timedelta:
        """What really passed."""
        return self.real.monotonic()

    def sleep(self, duration: timedelta) -> None:
        """Wait."""
        self.real.sleep(duration)


@pytest.mark.parametrize("hours", [1, -1, 9])
def test_a_clock_that_jumps_is_survived(tmp_path: Path, hours: int) -> None:
    """An hour either way, or a night asleep: an alert, recovery again, every job rings, and work goes on."""
    clock = Jumping()
    shop = open_shop(tmp_path, clock)

    def jumped() -> bool:
        if shop.jobs["watch"].runs and not clock.offset:
            clock.offset = timedelta(hours=hours)
        return shop.recover.runs == 2 and shop.jobs["watch"].runs >= 2 and shop.jobs["digest"].runs >= 1

    serve(shop, jumped, clock=clock)
    assert [e.payload for e in shop.store.events.last(9, kind="alert_raised") if "clock_jump" in e.payload]
    shop.world.close()


def test_a_deleted_database_ends_the_daemon(shop: Shop) -> None:
    """The database is deleted while the daemon runs: it ends with a named error instead of trading on, and
    people are told without it.
    """

    def gone() -> bool:
        if shop.recover.runs and shop.store.path.exists():
            shop.store.path.unlink()
        return False

    Watcher(lambda: gone() or not shop.store.path.exists(), lambda: None)
    service = Service(shop.office, clock=SystemClock(), work_clock=shop.clock)
    with pytest.raises(StateUnavailable, match="deleted or replaced"):
        service.run()
    (alert,) = shop.told.events
    assert isinstance(alert, AlertRaised)
    assert alert.code == "daemon_stops"
    assert "deleted or replaced" in alert.message


def test_an_end_from_the_main_thread_is_told_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sign of life cannot be written twice in a row: one alert, which names what is held."""
    assert isinstance(shop.world.writer.trader.open("BTC", D(1000)), TradeResult)

    def full() -> None:
        raise StateUnavailable("the disk is full")

    monkeypatch.setattr(shop.office.lock, "heartbeat", full)
    with pytest.raises(StateUnavailable, match="the disk is full"):
        Service(shop.office, clock=SystemClock(), work_clock=shop.clock).run()
    told = [json.loads(row.payload) for row in shop.store.events.last(99, kind="alert_raised")]
    messages = [alert["message"] for alert in told if alert["code"] == "daemon_stops"]
    assert messages == ["the daemon stops: the disk is full; what is held (BTC) is watched by nobody now"]


def test_a_broken_invariant_ends_the_daemon(shop: Shop) -> None:
    """A corrupt state found by a job halts and ends the process with that error."""

    def act() -> JobReport:
        raise InvariantBroken("two orders of one leg")

    shop.jobs["watch"].action = act
    service = Service(shop.office, clock=SystemClock(), work_clock=shop.clock)
    with pytest.raises(InvariantBroken, match="two orders"):
        service.run()
    assert shop.store.blocks.control(shop.clock.now()) is Control.HALTED


@pytest.mark.proof
def test_a_stuck_worker_is_told_of_and_stops_the_heartbeat(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that never looks at the clock is noticed: one alert, no sign of life until it moves again."""
    monkeypatch.setattr(module, "STUCK", SECOND / 2)
    stuck, release, clock = threading.Event(), threading.Event(), SystemClock()

    def act() -> JobReport:
        stuck.set()
        release.wait(15)
        return JobReport()

    shop.jobs["watch"].action = act

    def told() -> bool:
        if not stuck.is_set() or "alert_raised" not in shop.kinds():
            return False
        clock.sleep(1.5 * SECOND)
        before = shop.store.writer.read()
        clock.sleep(1.5 * SECOND)
        assert shop.store.writer.read() == before
        release.set()
        return True

    serve(shop, told)
    assert shop.kinds().count("alert_raised") == 1


def test_the_work_clock_is_claimed_by_the_trading_thread_only() -> None:
    """The main loop's own readings do not count as signs of life of the trading thread."""
    clock = WorkClock(SystemClock())
    clock.claim()
    threading.Thread(target=clock.now).start()
    SystemClock().sleep(SECOND / 20)
    assert clock.silence() >= SECOND / 25


def test_a_second_signal_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever signals twice does not want to wait: the process ends there and then, with 130."""
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    signals = Signals()
    signals.take(signal.SIGTERM, None)
    assert ended == []
    signals.take(signal.SIGINT, None)
    assert ended == [130]


def test_a_signal_that_came_while_it_started_ends_it_at_once(shop: Shop) -> None:
    """Asked to end before it was at work, a service begins nothing: no recovery, no job, no thread."""
    signals = Signals()
    with signals.caught():
        end()
        service = Service(shop.office, clock=SystemClock(), work_clock=shop.clock, signals=signals)
        assert service.run() == signal.SIGTERM
    assert shop.recover.runs == 0
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
