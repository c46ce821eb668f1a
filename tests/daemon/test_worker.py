"""The worker: one item at a time, recorded, and the job boundary."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fundarb.clock import SystemClock
from fundarb.core.records import GLOBAL_SCOPE, BlockKind, CommandState
from fundarb.daemon import worker
from fundarb.daemon.breaker import LIMIT
from fundarb.daemon.crew import Crew
from fundarb.daemon.health import Stopped
from fundarb.daemon.queue import COMMANDS, Item, Priority
from fundarb.engine.answers import Answer
from fundarb.engine.handover import RECOVERY
from fundarb.engine.jobs import JobReport
from fundarb.errors import (
    IllegalTransition,
    InvariantBroken,
    Locked,
    OtherAccount,
    StateUnavailable,
    Unavailable,
)
from fundarb.store.blocks import Control
from tests.daemon.conftest import Doing, Shop, job


def crew_of(shop: Shop) -> Crew:
    """The working parts of a shop."""
    return Crew(shop.office, machine=SystemClock())


def run(crew: Crew, name: str, priority: Priority = Priority.OTHER) -> bool:
    """One item."""
    return crew.worker.run_job(Item(name, priority))


def handed(shop: Shop, name: str, arguments: str) -> int:
    """A command that somebody hands over now, by the machine's clock as in life."""
    return shop.store.commands.add(name, arguments, at=SystemClock().now())


def failing(error: Exception) -> object:
    """An action that raises."""

    def act() -> JobReport:
        raise error

    return act


def test_a_run_is_recorded_with_its_result(shop: Shop) -> None:
    """A finished job leaves a row with start, end, result and message, and an event."""
    crew = crew_of(shop)
    shop.jobs["digest"].action = lambda: JobReport(result="done", message="all summed up")
    assert run(crew, "digest")
    row = shop.store.jobs.last("digest")
    assert row is not None
    assert (row.result, row.message, row.finished_at is not None) == ("done", "all summed up", True)
    assert "job_finished" in shop.kinds()


def test_quiet_runs_are_recorded_without_events(shop: Shop) -> None:
    """A watch that found nothing is a row but no event; each of many runs is kept."""
    crew = crew_of(shop)
    for _ in range(5):
        assert run(crew, "watch")
    crew.worker.flush()
    count = shop.store.database.execute_sql("SELECT count(*) FROM job_runs WHERE name = 'watch'").fetchone()
    assert count[0] == 5
    assert "job_finished" not in shop.kinds()


@pytest.mark.parametrize("fails", [False, True], ids=["done", "failed"])
def test_old_runs_of_every_job_are_forgotten(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """Of a rare job beside a frequent one, and of one that only fails, no more runs stay than of any
    other.
    """
    monkeypatch.setattr(worker, "_KEEP_RUNS", 6)
    monkeypatch.setattr(worker, "_PRUNE_EVERY", 4)
    crew = crew_of(shop)
    shop.jobs["digest"].action = failing(Unavailable("gone")) if fails else JobReport  # type: ignore[assignment]
    for _ in range(30):
        for name in ("watch", "watch", "watch", "digest"):
            run(crew, name)
    crew.worker.flush()
    rows = shop.store.database.rows("SELECT name, count(*) FROM job_runs GROUP BY name", ())
    assert {name for name, _ in rows} >= {"watch", "digest"}
    assert all(count < 6 + 4 for _, count in rows), rows


def test_a_notable_quiet_run_is_an_event(shop: Shop) -> None:
    """A watch that acted is told of."""
    crew = crew_of(shop)
    shop.jobs["watch"].action = lambda: JobReport(message="BTC repaired", notable=True)
    run(crew, "watch")
    assert "BTC repaired" in shop.store.events.last(1, kind="job_finished")[0].payload


@pytest.mark.parametrize(
    "error", [Unavailable("no answer"), KeyError("a bug"), ValueError("another"), ZeroDivisionError()]
)
def test_a_failed_job_is_recorded_and_the_next_one_runs(shop: Shop, error: Exception) -> None:
    """Whatever a job raises, the failure is a row and an event, and the worker goes on."""
    crew = crew_of(shop)
    shop.jobs["digest"].action = failing(error)  # type: ignore[assignment]
    assert not run(crew, "digest")
    row = shop.store.jobs.last("digest")
    assert row is not None
    assert row.result == "failed"
    assert "job_failed" in shop.kinds()
    assert crew.worker.fatal is None
    assert run(crew, "watch")


def test_repeated_failures_trip_the_breaker_and_one_success_lifts_it(shop: Shop) -> None:
    """After a few failures in a row nothing is opened, with one alert; when the job works again it is
    lifted.
    """
    crew = crew_of(shop)
    shop.jobs["watch"].action = failing(Unavailable("gone"))  # type: ignore[assignment]
    for _ in range(LIMIT + 2):
        run(crew, "watch")
    block = shop.store.blocks.get(GLOBAL_SCOPE, BlockKind.BREAKER)
    assert block is not None
    assert shop.kinds().count("alert_raised") == 1
    shop.jobs["watch"].action = JobReport
    run(crew, "watch")
    assert shop.store.blocks.get(GLOBAL_SCOPE, BlockKind.BREAKER) is None


@pytest.mark.parametrize("name", ["backup", "digest", "history"])
def test_a_job_aside_forbids_nothing(shop: Shop, name: str) -> None:
    """A copy that keeps failing calls a person, once, and trading goes on; nor does its success lift what
    another job's failing forbids.
    """
    shop.jobs[name] = Doing(failing(Unavailable("the disk is full")))  # type: ignore[arg-type]
    shop.office = replace(shop.office, specs=(*shop.office.specs, job(name)))
    crew = crew_of(shop)
    for _ in range(LIMIT + 2):
        run(crew, name)
    assert shop.store.blocks.get(GLOBAL_SCOPE, BlockKind.BREAKER) is None
    assert shop.kinds().count("alert_raised") == 1
    shop.jobs["watch"].action = failing(Unavailable("gone"))  # type: ignore[assignment]
    for _ in range(LIMIT):
        run(crew, "watch")
    shop.jobs[name].action = JobReport
    run(crew, name)
    block = shop.store.blocks.get(GLOBAL_SCOPE, BlockKind.BREAKER)
    assert block is not None
    assert block.reason.startswith("watch: ")


def test_the_breaker_waits_for_every_job_that_tripped_it(shop: Shop) -> None:
    """Two jobs that keep failing: the breaker is lifted only when both work again."""
    crew = crew_of(shop)
    for name in ("watch", "reconcile"):
        shop.jobs[name].action = failing(Unavailable("gone"))  # type: ignore[assignment]
        for _ in range(LIMIT):
            run(crew, name)
    shop.jobs["watch"].action = JobReport
    run(crew, "watch")
    assert shop.store.blocks.get(GLOBAL_SCOPE, BlockKind.BREAKER) is not None
    shop.jobs["reconcile"].action = JobReport
    run(crew, "reconcile")
    assert shop.store.blocks.get(GLOBAL_SCOPE, BlockKind.BREAKER) is None


@pytest.mark.parametrize("error", [InvariantBroken("corrupt"), IllegalTransition("HEDGED on SENT twice")])
def test_a_broken_invariant_halts_and_ends(shop: Shop, error: Exception) -> None:
    """State in doubt: halt block, alert, no more work."""
    crew = crew_of(shop)
    shop.jobs["watch"].action = failing(error)  # type: ignore[assignment]
    assert not run(crew, "watch")
    assert crew.worker.fatal is error
    assert crew.queue.closed
    assert shop.store.blocks.control(shop.clock.now()) is Control.HALTED
    assert "alert_raised" in shop.kinds()


@pytest.mark.parametrize("error", [StateUnavailable("disk is full"), Locked("somebody else writes")])
def test_a_lost_database_or_lock_ends_without_a_halt(shop: Shop, error: Exception) -> None:
    """Nothing may be sent any more, but nothing is in doubt: the process ends, the next start goes on."""
    crew = crew_of(shop)
    shop.jobs["watch"].action = failing(error)  # type: ignore[assignment]
    run(crew, "watch")
    assert crew.worker.fatal is error
    assert crew.queue.closed
    assert shop.store.blocks.control(shop.clock.now()) is Control.RUNNING


def test_people_are_told_when_the_database_is_gone(shop: Shop) -> None:
    """When not even the failure can be recorded, the notifier gets the alert directly."""
    crew = crew_of(shop)
    for suffix in ("", "-wal", "-shm"):
        shop.store.path.with_name(shop.store.path.name + suffix).unlink()
    assert not run(crew, "digest")
    assert isinstance(crew.worker.fatal, StateUnavailable)
    assert [event.kind for event in shop.told.events] == ["alert_raised"]


def test_ending_is_no_failure(shop: Shop) -> None:
    """A job that was interrupted by the end of the process is not a failed job."""
    crew = crew_of(shop)
    shop.jobs["watch"].action = failing(Stopped("ending"))  # type: ignore[assignment]
    run(crew, "watch")
    assert "job_failed" not in shop.kinds()
    assert crew.worker.fatal is None


# ------------------------------------------------------------------------------------------------- commands


def test_commands_are_executed_one_a_turn_in_order(shop: Shop) -> None:
    """Each turn executes the oldest row, once, answers it, and asks for another turn while rows wait."""
    crew = crew_of(shop)
    first = handed(shop, "open", json.dumps({"base": "BTC", "notional": "100"}))
    second = handed(shop, "close", json.dumps({"name": "BTC"}))
    run(crew, COMMANDS)
    assert shop.store.commands.get(first).state is CommandState.DONE
    assert shop.store.commands.get(second).state is CommandState.WAITING
    assert crew.queue.waiting() == (COMMANDS,)
    run(crew, COMMANDS)
    assert [name for name, _ in shop.executed.calls] == ["open", "close"]
    assert shop.kinds().count("command_finished") == 2


def test_an_open_that_waited_too_long_is_not_executed(shop: Shop) -> None:
    """A daemon that could not work for minutes takes the close that waits and not the open before it."""
    crew = crew_of(shop)
    opening = handed(shop, "open", "{}")
    handed(shop, "close", "{}")
    shop.store.database.execute_sql("UPDATE commands SET created_at = created_at - 600000")
    run(crew, COMMANDS)
    assert [name for name, _ in shop.executed.calls] == ["close"]
    assert shop.store.commands.get(opening).exit_code == 4


def test_the_last_run_never_goes_backwards(shop: Shop) -> None:
    """Quiet runs that were only gathered are written before a command that may run the same job, and before
    a failure of it is.
    """
    crew = crew_of(shop)
    run(crew, "digest")
    for name in ("watch", "reconcile"):
        run(crew, name)  # the first gathering is written at once
    for name in ("watch", "reconcile"):
        run(crew, name)
    handed(shop, "open", "{}")

    def by_hand() -> Answer:
        number = shop.store.jobs.started("watch", shop.store.clock.now())
        shop.store.jobs.finished(number, "by hand", message="", at=shop.store.clock.now())
        return Answer()

    shop.executed.action = by_hand
    run(crew, COMMANDS)
    crew.worker.flush()
    last = shop.store.jobs.last("watch")
    assert last is not None
    assert last.result == "by hand"
    run(crew, "reconcile")
    shop.jobs["reconcile"].action = failing(Unavailable("gone"))  # type: ignore[assignment]
    run(crew, "reconcile")
    crew.worker.flush()
    last = shop.store.jobs.last("reconcile")
    assert last is not None
    assert last.result == "failed"


def test_a_refused_command_keeps_its_reasons(shop: Shop) -> None:
    """The row carries exit code, kind and reasons of a refusal back to whoever asked."""
    crew = crew_of(shop)
    shop.executed.action = lambda: Answer.wrong("refused", "too large")
    number = handed(shop, "open", "{}")
    run(crew, COMMANDS)
    row = shop.store.commands.get(number)
    assert (row.state, row.exit_code) == (CommandState.FAILED, 3)
    assert Answer.parse(row.exit_code or 0, row.result).message == "too large"


def test_another_account_ends_the_row_and_the_worker(shop: Shop) -> None:
    """A command that finds the venue to be another account is answered with exit 2, and nothing is executed
    after it.
    """
    crew = crew_of(shop)

    def elsewhere() -> Answer:
        raise OtherAccount("the venue answers as another account")

    shop.executed.action = elsewhere
    number = handed(shop, "open", "{}")
    assert not run(crew, COMMANDS)
    assert shop.store.commands.get(number).exit_code == 2
    assert isinstance(crew.worker.fatal, OtherAccount)
    assert crew.queue.closed


def test_a_bug_in_a_command_ends_the_row_not_the_worker(shop: Shop) -> None:
    """A command that hits a bug is answered with exit 1, and the next one is executed."""
    crew = crew_of(shop)

    def bug() -> Answer:
        raise KeyError("notional")

    shop.executed.action = bug
    number = handed(shop, "open", "{}")
    assert not run(crew, COMMANDS)
    row = shop.store.commands.get(number)
    assert (row.state, row.exit_code) == (CommandState.FAILED, 1)
    assert crew.worker.fatal is None


# ------------------------------------------------------------------------------------------------- the crew


def test_what_fails_after_a_command_is_no_failure_of_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A schedule that cannot be followed once a command was answered fails alone: the row keeps its answer,
    nothing halts, and the next command is executed.
    """

    def broken(crew: Crew, changed: bool = True) -> None:
        raise AttributeError("no such job")

    monkeypatch.setattr(Crew, "look", broken)
    crew = crew_of(shop)
    numbers = [handed(shop, "open", "{}") for _ in range(2)]
    for _ in numbers:
        assert not run(crew, COMMANDS)
    assert [shop.store.commands.get(number).state for number in numbers] == [CommandState.DONE] * 2
    assert crew.worker.fatal is None
    assert shop.store.blocks.control(shop.clock.now()) is Control.RUNNING


def test_a_start_ends_what_a_dead_writer_left(shop: Shop) -> None:
    """A row that was being executed is never executed again; its author gets "uncertain"."""
    number = handed(shop, "open", "{}")
    shop.store.commands.claim()
    crew = crew_of(shop)
    crew.begin()
    row = shop.store.commands.get(number)
    assert (row.state, row.exit_code) == (CommandState.FAILED, 5)
    assert crew.queue.waiting()[0] == RECOVERY


def test_a_wish_to_halt_that_died_with_its_writer_is_fulfilled(shop: Shop) -> None:
    """A halt row claimed by a writer that died before it acted halts the next one."""
    handed(shop, "halt", "{}")
    shop.store.commands.claim()
    crew_of(shop).begin()
    assert shop.store.blocks.control(shop.clock.now()) is Control.HALTED


def test_a_waiting_halt_works_before_its_turn(shop: Shop) -> None:
    """While the trading thread is busy a waiting halt row blocks opens at once, and is executed later all
    the same.
    """
    crew = crew_of(shop)
    handed(shop, "halt", "{}")
    crew.look_outside()
    assert shop.store.blocks.control(shop.clock.now()) is Control.HALTED
    assert crew.queue.waiting() == (COMMANDS,)


def test_the_halt_file_halts_and_its_removal_does_not_resume(shop: Shop) -> None:
    """A file HALT in the home folder is a halt block at the next look; removing it changes nothing."""
    crew = crew_of(shop)
    (shop.home / "HALT").touch()
    crew.look_outside()
    assert shop.store.blocks.control(shop.clock.now()) is Control.HALTED
    (shop.home / "HALT").unlink()
    crew.look_outside()
    assert shop.store.blocks.control(shop.clock.now()) is Control.HALTED
    assert shop.kinds().count("block_set") == 1


def test_a_job_that_fails_for_hours_is_not_an_event_each_time(shop: Shop) -> None:
    """A hundred failures in a row are a hundred rows, a handful of events and one alert."""
    crew = crew_of(shop)
    shop.jobs["watch"].action = failing(Unavailable("gone"))  # type: ignore[assignment]
    for _ in range(100):
        run(crew, "watch")
    kinds = shop.kinds()
    assert 3 <= kinds.count("job_failed") <= 10
    assert kinds.count("alert_raised") == 1
    count = shop.store.database.execute_sql(
        "SELECT count(*) FROM job_runs WHERE result = 'failed'"
    ).fetchone()
    assert count[0] == 100


def test_an_error_shows_until_the_job_works_again(shop: Shop) -> None:
    """Activity is ERROR after a failure and back to rest after the next success of that job."""
    crew = crew_of(shop)
    shop.jobs["watch"].action = failing(Unavailable("gone"))  # type: ignore[assignment]
    run(crew, "watch")
    shop.jobs["watch"].action = JobReport
    run(crew, "watch")
    told = [json.loads(e.payload)["activity"] for e in shop.store.events.last(9, kind="activity_changed")]
    assert told == ["ERROR", "IDLE"]
