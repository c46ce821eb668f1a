"""Pause, resume, halt, flatten; who may write; rows and their authors; the state of the bot."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.cli.failure import exit_of
from fundarb.clock import SystemClock
from fundarb.config import JobSpec, Trigger
from fundarb.core.events import JobFailed, WriterStarted, WriterStopped
from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind, CommandState
from fundarb.engine import handover as module
from fundarb.engine.answers import EXIT_CODES, KEY_TROUBLE, Answer
from fundarb.engine.control import end_leftovers, expire_opens
from fundarb.engine.halt_file import HaltFile, set_halt, set_pause
from fundarb.engine.handover import Handover, Holder, Way, finish, holder_of, way_of
from fundarb.engine.jobs import JobReport
from fundarb.engine.status import Status, job_statuses, status
from fundarb.engine.unfinished import lasting
from fundarb.errors import (
    BadAnswer,
    ConfigError,
    FundarbError,
    InvariantBroken,
    Locked,
    NotSent,
    OutcomeUncertain,
    Rejected,
    Unavailable,
)
from fundarb.exchange.inprocess import Loss
from fundarb.store.blocks import Control
from fundarb.store.database import Store
from fundarb.store.files import url_of
from fundarb.store.lock import WriterLock
from tests.daemon.living import SECOND, Living, make_living

D = Decimal


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Living]:
    """An office with a schedule of one job."""
    spec = JobSpec(name="look", run="watch", trigger=Trigger.INTERVAL, every=timedelta(hours=1))
    made = make_living(tmp_path, specs=(spec,))
    yield made
    made.close()


def control(living: Living) -> Control:
    """What the bot may do."""
    return living.store.blocks.control(living.store.clock.now())


def order(living: Living, what: str, **arguments: str | bool) -> Answer:
    """Execute a command as the writer."""
    living.clock.flush()
    return living.office.commands.execute(what, arguments)


# ------------------------------------------------------------------------------------------------ commands


def test_pause_and_resume(living: Living) -> None:
    """A pause is a block with its reason; resume lifts it without asking the venue."""
    assert order(living, "pause", reason="holidays").data["control"] == "PAUSED"
    living.exchange.wallet = None  # type: ignore[assignment,method-assign]
    answer = order(living, "resume")
    assert (answer.exit_code, answer.data["control"]) == (0, "RUNNING")


def test_a_halt_is_resumed_after_a_clean_reconcile(living: Living) -> None:
    """After a halt resume walks through books and venue; both agree, so opens are allowed again."""
    assert order(living, "halt").data["control"] == "HALTED"
    assert order(living, "resume").data["control"] == "RUNNING"


def test_a_halt_stays_while_books_and_venue_differ(living: Living) -> None:
    """A difference keeps the halt: exit 6, with what differs."""
    living.run("scan_and_open")
    order(living, "halt")
    living.venue.world.manual_close("BTCUSDT")
    living.clock.sleep(60 * SECOND)
    answer = order(living, "resume")
    assert (answer.exit_code, answer.kind) == (6, "mismatch")
    assert control(living) is Control.HALTED


def test_a_halt_stays_while_the_venue_is_away(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an answer there is no clean reconcile: exit 4, and the halt stays."""
    order(living, "halt")

    def gone() -> None:
        raise Unavailable("the venue is away")

    monkeypatch.setattr(living.exchange, "wallet", gone)
    assert order(living, "resume").exit_code == 4
    assert control(living) is Control.HALTED


def test_a_halt_stays_while_the_file_is_there(living: Living, tmp_path: Path) -> None:
    """The HALT file must be removed first: exit 3, naming it."""
    file = HaltFile(tmp_path)
    file.create()
    assert file.obey(living.store)
    answer = order(living, "resume")
    assert answer.exit_code == 3
    assert "HALT" in answer.message
    file.path.unlink()
    assert order(living, "resume").exit_code == 0


def test_resume_of_one_coin_lifts_only_its_freeze(living: Living) -> None:
    """``resume BTC`` judges and lifts that coin's freeze; a pause of the whole stays."""
    now = living.store.clock.now()
    set_pause(living.store, "holidays")
    for base in ("BTC", "ETH"):
        living.store.blocks.set(
            Block(scope=base, kind=BlockKind.FREEZE, reason="unwinds", since=now, needs_person=True)
        )
    order(living, "resume", base="btc")
    scopes = {block.scope for block in living.store.blocks.active(now)}
    assert scopes == {GLOBAL_SCOPE, "ETH"}


def test_resume_keeps_what_is_no_persons_to_lift(living: Living) -> None:
    """A loss of the day cools down until its time is over."""
    now = living.store.clock.now()
    living.store.blocks.set(Block(scope="*", kind=BlockKind.COOL_DOWN, reason="x", since=now))
    order(living, "resume")
    assert living.store.blocks.get("*", BlockKind.COOL_DOWN) is not None


@pytest.mark.parametrize("kind", [BlockKind.BREAKER, BlockKind.STALE_DATA, BlockKind.CLOCK])
def test_resume_lifts_what_a_daemon_left(
    living: Living, monkeypatch: pytest.MonkeyPatch, kind: BlockKind
) -> None:
    """Jobs that kept failing forbid opens until they work again, but the daemon may be gone: a person who
    resumes is heard once books and venue agree, and not while the venue is away.
    """
    now = living.store.clock.now()
    living.store.blocks.set(Block(scope=GLOBAL_SCOPE, kind=kind, reason="x", since=now))
    real = living.exchange.wallet

    def gone() -> None:
        raise Unavailable("the venue is away")

    monkeypatch.setattr(living.exchange, "wallet", gone)
    assert order(living, "resume").exit_code == 4
    assert living.store.blocks.get(GLOBAL_SCOPE, kind) is not None
    monkeypatch.setattr(living.exchange, "wallet", real)
    assert order(living, "resume").exit_code == 0
    assert living.store.blocks.get(GLOBAL_SCOPE, kind) is None


def test_flatten_pauses_and_closes_all(living: Living) -> None:
    """``flatten --all`` forbids opens first, then closes everything."""
    living.run("scan_and_open")
    answer = order(living, "flatten", name="")
    assert answer.exit_code == 0, answer
    assert not living.store.positions.active()
    assert control(living) is Control.PAUSED


def test_flatten_of_one_position_pauses_nothing(living: Living) -> None:
    """``flatten BTC`` closes that one and leaves the bot running."""
    living.run("scan_and_open")
    assert order(living, "flatten", name="BTC").exit_code == 0
    assert control(living) is Control.RUNNING


def test_a_job_is_run_by_name_and_recorded(living: Living) -> None:
    """``jobs run`` runs the job of that name once, records the run, and answers with its report."""
    answer = order(living, "jobs_run", name="look")
    assert answer.data == {"name": "look", "result": "idle", "message": "nothing is held"}
    row = living.store.jobs.last("look")
    assert row is not None
    assert row.result == "idle"


def test_an_unknown_job_names_those_there_are(living: Living) -> None:
    """A job that is not in jobs.toml: exit 2 with the names."""
    answer = order(living, "jobs_run", name="lok")
    assert answer.exit_code == 2
    assert "look" in answer.message


def test_a_failing_job_is_recorded_as_failed(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job run by hand that cannot be done: exit 4, and its row says so."""
    living.run("scan_and_open")

    def gone() -> None:
        raise Unavailable("the venue is away")

    monkeypatch.setattr(living.exchange, "wallet", gone)
    assert order(living, "jobs_run", name="look").exit_code == 4
    row = living.store.jobs.last("look")
    assert row is not None
    assert row.result == "failed"


@dataclass(frozen=True)
class Ends:
    """A job that ends with this word."""

    result: str

    def run(self, arguments: Mapping[str, object]) -> JobReport:
        """Once."""
        del arguments
        return JobReport(result=self.result, message="BTC not opened", notable=True)


@pytest.mark.parametrize(
    ("result", "code", "kind"),
    [("ok", 0, ""), ("nothing", 0, ""), ("incomplete", 8, "incomplete"), ("mismatch", 6, "mismatch")],
)
def test_a_job_that_fell_short_says_so_to_scripts(
    living: Living, monkeypatch: pytest.MonkeyPatch, result: str, code: int, kind: str
) -> None:
    """``jobs run``: the exit code is that of a command that came to the same, its report beside it; the run
    itself has not failed.
    """
    monkeypatch.setitem(living.office.jobs.kinds, "watch", Ends(result))
    answer = order(living, "jobs_run", name="look")
    assert (answer.exit_code, answer.kind) == (code, kind)
    assert answer.data == {"name": "look", "result": result, "message": "BTC not opened"}
    row = living.store.jobs.last("look")
    assert row is not None
    assert row.result == result


def test_a_job_that_leaves_an_order_in_doubt_says_so(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 5, not 8: what was sent is not all known."""
    living.exchange.lose(Loss.ANSWER)
    monkeypatch.setattr(living.writer.resolver, "resolve", lambda intent, **_: intent)
    for read in ("order_realtime", "executions_of"):
        monkeypatch.setattr(living.exchange, read, away)
    living.office.jobs.run("scan_and_open", {})
    assert living.store.intents.open()
    monkeypatch.setitem(living.office.jobs.kinds, "watch", Ends("incomplete"))
    answer = order(living, "jobs_run", name="look")
    assert (answer.exit_code, answer.kind) == (5, "outcome_uncertain")


def away(*_: object, **__: object) -> None:
    """The venue does not answer."""
    raise Unavailable("the venue is away")


def test_exit_codes_are_those_of_the_command_line() -> None:
    """A command answered through its row has the exit code that it would have had in its own process."""
    kinds: list[type[FundarbError]] = [
        ConfigError,
        Unavailable,
        BadAnswer,
        Rejected,
        NotSent,
        OutcomeUncertain,
        Locked,
        InvariantBroken,
    ]
    for kind in kinds:
        assert EXIT_CODES[kind.kind] == exit_of(kind("x")) == Answer.of_error(kind("x")).exit_code
    assert Answer.of_error(ValueError("x")).exit_code == exit_of(ValueError("x")) == 1


# ------------------------------------------------------------------------------------------- who may write


@pytest.mark.parametrize(
    ("holder", "trading", "controls"),
    [
        (Holder.NOBODY, Way.EXECUTE, Way.EXECUTE),
        (Holder.DAEMON, Way.ROW, Way.ROW),
        (Holder.SILENT_DAEMON, Way.REFUSE, Way.ROW),
        (Holder.COMMAND, Way.WAIT, Way.ROW),
        (Holder.STOPPED_COMMAND, Way.WAIT, Way.ROW),
    ],
)
def test_the_table_who_may_write(holder: Holder, trading: Way, controls: Way) -> None:
    """Each cell of the table: commands that trade, and those that only pause, resume or halt."""
    for name in ("open", "close", "flatten", "reconcile", "jobs_run", "resolve"):
        assert way_of(name, holder) is trading
    for name in ("pause", "resume", "halt"):
        assert way_of(name, holder) is controls


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A database on the machine's clock."""
    with Store.open(url_of(tmp_path / "x.sqlite3"), clock=SystemClock()) as opened:
        yield opened


def held(store: Store, role: str) -> WriterLock:
    """The lock, held as this role."""
    lock = WriterLock(store, clock=SystemClock())
    lock.acquire(role)
    return lock


def test_who_holds_the_lock_is_seen_from_outside(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody, a daemon, a daemon that went silent, a command, one that is stopped: told apart by lock, role,
    heartbeat and, of a command, which has none, by what the system says of its process.
    """
    now = SystemClock().now
    assert holder_of(store, now()) is Holder.NOBODY
    lock = held(store, "daemon")
    assert holder_of(store, now()) is Holder.DAEMON
    assert holder_of(store, now() + timedelta(seconds=11)) is Holder.SILENT_DAEMON
    lock.release()
    lock = held(store, "command")
    assert holder_of(store, now()) is Holder.COMMAND
    monkeypatch.setattr("fundarb.store.file_place.stopped", {os.getpid(): True}.__getitem__)
    assert holder_of(store, now()) is Holder.STOPPED_COMMAND
    lock.release()
    assert holder_of(store, now()) is Holder.NOBODY


def test_a_row_is_answered(store: Store) -> None:
    """The author of a row waits for its end and gets exit code, data and reasons."""
    lock = held(store, "daemon")

    def writer() -> None:
        with Store.open(store.url, clock=SystemClock()) as other:
            while (record := other.commands.claim()) is None:
                SystemClock().sleep(SECOND / 100)
            finish(other, record, answer=Answer.wrong("refused", "too large", data={"x": D("1.50")}))

    thread = threading.Thread(target=writer)
    thread.start()
    handed = Handover(store, SystemClock()).send("open", {"base": "BTC"}, wait=10 * SECOND)
    thread.join()
    lock.release()
    assert handed.answer is not None
    assert (handed.answer.exit_code, handed.answer.data) == (3, {"x": "1.5"})


def test_no_wait_gives_the_number(store: Store) -> None:
    """Without waiting the author gets the row's number."""
    handed = Handover(store, SystemClock()).send("open", {}, wait=None)
    assert handed.answer is None
    assert store.commands.get(handed.id).state is CommandState.WAITING


def test_a_row_nobody_takes_is_taken_back(store: Store) -> None:
    """An order to trade that no writer takes in time is withdrawn, so that it is never executed later: exit
    7.
    """
    with pytest.raises(Locked, match="taken back"):
        Handover(store, SystemClock()).send("open", {}, wait=SECOND / 5)
    assert store.commands.waiting() == ()


def test_a_daemon_that_cannot_recover_says_why_it_takes_nothing(store: Store) -> None:
    """Its last try failed: whoever waits in vain is told what the daemon waits for itself."""
    lock, now = held(store, "daemon"), store.clock.now()
    number = store.jobs.started("recovery", now)
    store.jobs.finished(number, "failed", message="unavailable: the venue answers 502", at=now)
    with pytest.raises(Locked, match=r"its recovery does not come to its end .*502"):
        Handover(store, SystemClock()).send("close", {}, wait=SECOND / 5)
    lock.release()


def test_a_wish_to_halt_is_not_taken_back(store: Store) -> None:
    """A halt that nobody took yet keeps waiting for the next writer."""
    handed = Handover(store, SystemClock()).send("halt", {}, wait=SECOND / 5)
    assert handed.answer is None
    assert [record.name for record in store.commands.waiting()] == ["halt"]


def test_a_row_that_was_taken_and_does_not_end_is_uncertain(store: Store) -> None:
    """Taken but not ended in time: something may be live, exit 5."""
    claimed: list[object] = []

    class Claiming(SystemClock):
        def sleep(self, duration: timedelta) -> None:
            if not claimed:
                claimed.append(store.commands.claim())
            super().sleep(duration)

    with pytest.raises(OutcomeUncertain, match="taken by the daemon"):
        Handover(store, Claiming()).send("open", {}, wait=SECOND / 5)


def test_a_silent_daemon_is_named(store: Store) -> None:
    """A trading command in face of a daemon that shows no life is refused with its pid and how to end it."""
    lock = held(store, "daemon")

    class Later(SystemClock):
        def now(self) -> object:  # type: ignore[override]
            return super().now() + timedelta(minutes=1)

    with pytest.raises(Locked, match=r"kill \d+"):
        Handover(store, Later()).way("open")  # type: ignore[arg-type]
    lock.release()


def test_leftovers_of_a_dead_writer(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a start: what was begun ends uncertain, an old order to trade ends as failed and says so, a fresh
    one and a wish to pause stay.
    """
    begun = store.commands.add("open", "{}")
    store.commands.claim()
    old = store.commands.add("close", "{}")
    wish = store.commands.add("pause", "{}")
    store.database.execute_sql("UPDATE commands SET created_at = created_at - 600000")
    fresh = store.commands.add("open", "{}")
    assert end_leftovers(store, store.clock.now()) == 2
    assert store.commands.get(begun).exit_code == 5
    assert [record.id for record in store.commands.waiting()] == [wish, fresh]
    assert store.commands.get(old).exit_code == 4
    told = [json.loads(event.payload) for event in store.events.after(0, 99, kind="command_finished")]
    assert [item["command_id"] for item in told] == [old]
    assert {"pause", "resume", "halt"} == module.CONTROLS


@pytest.mark.parametrize("ahead", [False, True], ids=["old", "of a clock that was ahead"])
def test_an_open_that_nobody_could_take_in_time_is_over(store: Store, ahead: bool) -> None:
    """While a writer lives but cannot work: an open of another time is not executed any more, whichever way
    the clocks differ; a close is still wanted.
    """
    late, leave = (store.commands.add(name, "{}") for name in ("open", "close"))
    shift = "+" if ahead else "-"
    store.database.execute_sql(f"UPDATE commands SET created_at = created_at {shift} 600000")
    fresh = store.commands.add("open", "{}")
    expire_opens(store, store.clock.now())
    assert [record.id for record in store.commands.waiting()] == [leave, fresh]
    assert store.commands.get(late).exit_code == 4
    assert end_leftovers(store, store.clock.now()) == 1
    assert [record.id for record in store.commands.waiting()] == [fresh]


# -------------------------------------------------------------------------------------------------- status


def found(living: Living) -> Status:
    """The status."""
    jobs = job_statuses(living.store, living.office.specs, upcoming={})
    store, file = living.store, living.office.halt_file
    return status(store, jobs, machine=store.clock.now(), halt_file=file)


def test_a_healthy_bot(living: Living) -> None:
    """Nothing wrong: no reasons, control RUNNING, every source read."""
    living.run("reconcile")
    made = found(living)
    assert made.degraded == ()
    assert made.control is Control.RUNNING
    assert {item.state for item in made.sources} == {"fresh"}
    assert made.jobs[0].result == "never"


def test_an_old_source_is_called_so_and_harms_nobody_who_is_off(living: Living) -> None:
    """Without a daemon nobody reads: the books are old, and that is no sickness."""
    living.run("reconcile")
    living.clock.sleep(timedelta(hours=25))
    made = found(living)
    assert made.degraded == ()
    assert {item.state for item in made.sources} == {"stale"}


def test_a_daemon_that_died_over_positions_is_told(living: Living) -> None:
    """It ended without a last word: degraded as long as something is held, whatever commands came after it;
    one that ended in order, or over nothing, is not.
    """
    living.store.events.record(WriterStarted(pid=7, epoch=77, role="daemon"))
    assert "daemon_died" not in {reason.code for reason in found(living).degraded}
    living.run("scan_and_open")
    living.office.lock.release()
    living.store.events.record(WriterStarted(pid=8, epoch=78, role="command"))
    living.store.events.record(WriterStopped(epoch=78, reason="done"))
    (told,) = (reason for reason in found(living).degraded if reason.code == "daemon_died")
    assert "process 7" in told.message
    living.store.events.record(WriterStopped(epoch=77, reason="done"))
    assert "daemon_died" not in {reason.code for reason in found(living).degraded}


def test_a_stopped_command_ends_nothing(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is stopped between two legs is seen at once: degraded, with the way out of it, and the
    position that it left in the middle of something is named; one that is at work has two minutes.
    """
    living.run("scan_and_open")
    (held,) = living.store.positions.active()
    living.store.database.execute_sql("UPDATE positions SET state = 'OPENING'")
    assert found(living).degraded == ()
    monkeypatch.setattr("fundarb.store.file_place.stopped", lambda pid: pid == os.getpid())
    made = found(living)
    assert [reason.code for reason in made.degraded] == ["stopped_command", "position"]
    assert f"kill -CONT {os.getpid()}" in made.degraded[0].message
    assert held.position_id in made.degraded[1].message
    assert "end the stopped command" in made.degraded[1].message


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda made: set_halt(made.store, "x"), "block_halt"),
        (
            lambda made: made.store.jobs.finished(
                made.store.jobs.started("look", made.store.clock.now()),
                "failed",
                message="gone",
                at=made.store.clock.now(),
            ),
            "job_failed",
        ),
    ],
)
def test_what_is_wrong_is_a_reason(living: Living, damage: Callable[[Living], None], code: str) -> None:
    """A halt or a failed job degrades the bot, with a reason each."""
    damage(living)
    made = found(living)
    assert [reason.code for reason in made.degraded] == [code]


def test_a_pause_is_no_sickness(living: Living) -> None:
    """A pause is a person's wish: shown, but healthy."""
    set_pause(living.store, "holidays")
    made = found(living)
    assert (made.control, made.degraded) == (Control.PAUSED, ())


def test_the_last_errors_are_shown(living: Living) -> None:
    """Warnings and alerts of the last day, newest last."""
    living.store.events.record(JobFailed(job="look", error="unavailable", message="gone"))
    made = found(living)
    assert [(item.kind, item.message) for item in made.last_errors] == [("job_failed", "gone")]


def test_a_persons_wish_is_no_error(living: Living) -> None:
    """A pause and a halt, long lifted, are not listed as what went wrong."""
    order(living, "pause", reason="holidays")
    order(living, "halt")
    order(living, "resume")
    made = found(living)
    assert (made.last_errors, made.degraded) == ((), ())


def test_flatten_with_nothing_open_says_that_it_pauses(living: Living) -> None:
    """Nothing to close: the pause is all it did, and it says so."""
    answer = order(living, "flatten")
    assert (answer.exit_code, answer.data) == (0, {"closed": []})
    assert [item.code for item in answer.warnings] == ["paused"]


@pytest.mark.parametrize("code", sorted(KEY_TROUBLE))
def test_a_key_that_does_not_work_is_said_with_its_remedy(code: int) -> None:
    """The venue's words stay, and stand behind what is to be done."""
    answer = Answer.of_error(Unavailable(f"the venue answered {code}", code=code))
    assert (answer.kind, answer.exit_code) == ("unavailable", 4)
    assert answer.message == f"{KEY_TROUBLE[code]} (the venue answered {code})"
    assert [reason.code for reason in answer.reasons] == [f"venue_{code}"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0 s"), (119, "119 s"), (120, "2 min"), (7500, "2 h 05 min"), (200_000, "2 days")],
)
def test_a_stretch_of_time_in_words(seconds: int, words: str) -> None:
    """As exact as a person needs it."""
    assert lasting(timedelta(seconds=seconds)) == words


def test_an_answer_survives_its_row() -> None:
    """What an answer holds is what is read back: numbers exact, times with their zone."""
    answer = Answer(data={"a": "1.5", "b": [1, None, True]}, exit_code=0)
    assert Answer.parse(0, answer.text()) == answer
    wrong = replace(Answer.wrong("refused", "no"), exit_code=3)
    assert json.loads(wrong.text())["reasons"] == [{"code": "refused", "message": "no"}]
    assert Answer.parse(3, wrong.text()) == wrong
