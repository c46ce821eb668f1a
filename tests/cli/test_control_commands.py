"""``pause``, ``halt``, ``status``, ``jobs``, ``events``, ``audit`` and ``notify`` where no daemon runs and
no venue is asked.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from fundarb.app import unattended
from fundarb.app.unattended import job_specs
from fundarb.clock import SystemClock
from fundarb.config import JobSpec, Trigger
from fundarb.core.instants import from_ms, iso, to_ms
from fundarb.engine.audit import Audit, AuditCheck
from fundarb.engine.halt_file import HaltFile
from fundarb.engine.timetable import Timetable, publish, published
from fundarb.errors import StateUnavailable
from fundarb.store.database import Store
from fundarb.store.files import url_of
from fundarb.store.lock import WriterLock
from tests.cli.conftest import Shell


@pytest.fixture
def shell() -> Shell:
    """A shell on the machine's clock."""
    return Shell(SystemClock())


def home_of(shell: Shell) -> Path:
    """The home folder of the last run."""
    assert shell.last is not None
    return shell.last.settings.home


def database(shell: Shell) -> Store:
    """The database of the last run."""
    assert shell.last is not None
    return Store.open(shell.last.settings.db_url, clock=SystemClock())


def test_before_anything_ran(shell: Shell) -> None:
    """Without a database the bot is off and healthy, the jobs have never run, and there are no events."""
    status = shell.json("status")
    assert status["error"] is None
    assert (status["data"]["control"], status["data"]["activity"]) == ("RUNNING", "OFF")
    assert {job["result"] for job in shell.json("jobs", "list")["data"]["jobs"]} == {"never"}
    assert shell.json("events")["data"]["events"] == []
    jobs = shell.json("jobs", "list")["data"]["jobs"]
    assert all((job["next"] is not None) == job["enabled"] for job in jobs)
    audit = shell.json("audit")
    assert (audit["error"], audit["data"]["clean"]) == (None, True)
    assert "nothing has been traded" in audit["warnings"][0]["message"]
    assert not home_of(shell).exists()


def test_pause_works_without_a_venue(shell: Shell) -> None:
    """A pause needs neither venue nor daemon; status shows it and stays healthy."""
    assert "PAUSED" in shell("pause", "--reason", "holidays").stdout
    status = shell("status")
    assert status.exit_code == 0
    assert "holidays" in status.stdout
    data = shell.json("status")["data"]
    assert [(block["kind"], block["reason"]) for block in data["blocks"]] == [("pause", "holidays")]


def test_halt_degrades(shell: Shell) -> None:
    """A halt shows as HALTED with exit 6 and its reason."""
    assert shell("halt", "--reason", "something is odd").exit_code == 0
    status = shell("status")
    assert status.exit_code == 6
    assert "HALTED" in status.stdout
    assert shell.json("status")["error"]["kind"] == "degraded"


def test_the_file_halts_before_anybody_has_looked(shell: Shell) -> None:
    """The file HALT stands for itself: HALTED, degraded, and a block that names it, with and without a
    database; a halt that is already written down is shown once.
    """
    shell("status")
    home_of(shell).mkdir(parents=True)
    file = home_of(shell) / "HALT"
    file.touch()
    for asked_first in (False, True):
        if asked_first:
            shell("pause")
        found = shell.json("status")
        assert found["error"]["kind"] == "degraded"
        assert found["data"]["control"] == "HALTED"
        (block,) = [item for item in found["data"]["blocks"] if item["kind"] == "halt"]
        assert str(file) in block["reason"]
    shell("halt", "--reason", "something is odd")
    blocks = shell.json("status")["data"]["blocks"]
    assert [item["reason"] for item in blocks if item["kind"] == "halt"] == ["something is odd"]


def test_events_in_words_and_by_kind(shell: Shell) -> None:
    """The audit trail on lines, by kind and since a time."""
    shell("pause", "--reason", "holidays")
    shell("halt")
    assert "reason=holidays" in shell("events").stdout
    found = shell.json("events", "--kind", "block_set", "--since", "2020-01-01")["data"]["events"]
    assert [event["payload"]["block"] for event in found] == ["pause", "halt"]
    assert shell.json("events", "--kind", "leg_filled")["data"]["events"] == []
    assert len(shell.json("events", "-n", "1")["data"]["events"]) == 1


def test_jobs_are_listed_with_their_next_time(shell: Shell) -> None:
    """Once there is a database each enabled job has its next time, and in words it is a table."""
    shell("pause")
    jobs = {job["name"]: job for job in shell.json("jobs", "list")["data"]["jobs"]}
    assert all((job["next"] is not None) == job["enabled"] for job in jobs.values())
    assert "collect-funding" in shell("jobs", "list").stdout


def test_the_audit_of_books_alone(shell: Shell) -> None:
    """When the venue cannot be reached the books are audited alone, with a warning that says so."""
    words = ("--venue", "sandbox", "--venue-url", "http://127.0.0.1:9", "--mode", "live", "--live")
    shell(*words, "status")
    with database(shell):
        pass
    found = shell.json(*words, "audit")
    assert found["data"]["clean"]
    assert [warning["code"] for warning in found["warnings"]] == ["venue_not_asked"]
    assert "ok" in shell(*words, "audit").stdout


@pytest.mark.parametrize(
    ("broken", "words"), [(1, "1 of 3 invariants does not"), (2, "2 of 3 invariants do not")]
)
def test_the_verb_agrees_with_its_number(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, broken: int, words: str
) -> None:
    """One does not hold, two do not; exit 6 either way."""
    checks = tuple(
        AuditCheck(id=str(number), ok=number >= broken, details="looked at") for number in range(3)
    )
    made = Audit(checks=checks, not_judged={})
    monkeypatch.setattr(unattended, "run_audit", lambda _app: (made, ""))
    result = shell("audit")
    assert result.exit_code == 6
    assert f"{words} hold" in result.stderr


def test_a_halt_against_a_silent_daemon_leaves_the_file(shell: Shell) -> None:
    """A daemon that holds the lock but shows no life: the row waits, and the file HALT stands for itself."""
    shell("pause")
    with database(shell) as store:
        lock = WriterLock(store, clock=SystemClock())
        lock.acquire("daemon")
        late = store.clock.now() - timedelta(minutes=5)
        store.writer.heartbeat(lock.epoch, late)
        result = shell("halt")
        assert result.exit_code == 0
        assert (home_of(shell) / "HALT").exists()
        assert shell("close", "BTC", "--yes").exit_code == 7
        assert shell("status").exit_code == 6
        lock.release()


def test_who_follows_events_is_told_that_they_begin_anew(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that is taken away, or replaced by a younger one, ends ``events -f`` with exit 6: nothing
    would ever be shown again.
    """
    place = ("--db", url_of(tmp_path / "a.db"))
    assert shell(*place, "pause").exit_code == 0
    clock = shell.clock

    def meanwhile(_: timedelta) -> None:
        for file in tmp_path.glob("a.db*"):
            file.unlink()

    monkeypatch.setattr(clock, "sleep", meanwhile)
    followed = shell(*place, "events", "-f")
    assert followed.exit_code == 6
    assert "begin anew" in followed.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("flatten",),
        ("flatten", "BTC", "--all"),
        ("flatten", "--all"),
        ("jobs", "run", "nonsense"),
        ("events", "--since", "yesterday"),
        ("events", "--kind", "nonsense"),
        ("daemon", "--seed", "3"),
        ("daemon", "--start", "2026-01-01"),
        ("scan", "--every", "30s"),
        ("pause", "--wait", "soon"),
    ],
)
def test_misuse_is_exit_2(shell: Shell, words: tuple[str, ...]) -> None:
    """Missing or contradicting arguments, questions without a terminal, unknown jobs, bad times: exit 2."""
    assert shell(*words).exit_code == 2


def test_no_channel_to_test(shell: Shell) -> None:
    """Without configured channels there is nothing to test, and it says how to name one."""
    result = shell("notify", "test")
    assert result.exit_code == 0
    assert "[notify] urls" in result.stdout


def test_a_channel_that_fails_is_named_not_shown(shell: Shell, tmp_path: Path) -> None:
    """A channel that does not take the message: exit 6 with the variable's name, its URL nowhere."""
    file = tmp_path / "fundarb.toml"
    file.write_text('[notify]\nurls = ["MY_HOOK"]\n')
    url = "json://127.0.0.1:9/token-abcdefghijkl"
    result = shell("--json", "--config", str(file), "notify", "test", MY_HOOK=url)
    assert result.exit_code == 6
    assert json.loads(result.stdout)["data"]["channels"] == [{"name": "MY_HOOK", "ok": False}]
    assert "abcdefghijkl" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    "when", ["2020-01-01", "2020-01-01T15:00", "2020-01-01 15:00:00", "2020-01-01T15:00:00+02:00"]
)
def test_times_are_understood(shell: Shell, when: str) -> None:
    """A date, minutes, seconds and a zone; what is none is answered with examples, not with patterns."""
    shell("pause")
    assert shell.json("events", "--since", when)["data"]["events"]
    wrong = shell("events", "--since", "yesterday").stderr
    assert "2026-11-22T15:00" in wrong
    assert "%" not in wrong


def test_an_unknown_kind_of_event_lists_those_there_are(shell: Shell) -> None:
    """Each kind once, those of the jobs included."""
    message = shell.json("events", "--kind", "fill")["error"]["message"]
    kinds = message.partition("one of ")[2].split(", ")
    assert {"leg_filled", "day_closed", "command_asked"} <= set(kinds)
    assert len(kinds) == len(set(kinds))


def test_events_fit_the_screen(shell: Shell) -> None:
    """On 80 columns long lines go on below; on a pipe each event stays one line."""
    shell("pause", "--reason", "holidays " * 20)
    narrow = shell("events", COLUMNS="80").stdout.splitlines()
    assert max(len(text) for text in narrow) <= 80
    assert len(narrow) > len(shell("events").stdout.splitlines())


def test_the_file_is_named_and_its_removal_leaves_no_false_word(shell: Shell) -> None:
    """The block of the file HALT says who asked and how to end it; it is as true once the file is gone."""
    shell("pause")
    (home_of(shell) / "HALT").touch()
    with database(shell) as store:
        HaltFile(home_of(shell)).obey(store)
    (home_of(shell) / "HALT").unlink()
    (block,) = [item for item in shell.json("status")["data"]["blocks"] if item["kind"] == "halt"]
    assert "is there" not in block["reason"]
    assert "HALT" in block["reason"]


def test_a_daemons_own_schedule_is_shown(shell: Shell) -> None:
    """While a daemon holds the lock its schedule is listed, whatever jobs.toml lies here; afterwards that of
    the file.
    """
    shell("pause")
    start = SystemClock().now()
    spec = JobSpec(name="look", run="watch", trigger=Trigger.INTERVAL, every=timedelta(hours=1))
    with database(shell) as store:
        publish(store, Timetable((spec,), start))
        lock = WriterLock(store, clock=SystemClock())
        lock.acquire("daemon")
        (job,) = shell.json("jobs", "list")["data"]["jobs"]
        assert job["name"] == "look"
        assert job["next"] == iso(from_ms(to_ms(start + timedelta(hours=1))))
        assert [item["name"] for item in shell.json("status")["data"]["jobs"]] == ["look"]
        assert "command_id" in shell.json("jobs", "run", "look", "--no-wait")["data"]
        assert "one of look" in shell("jobs", "run", "watch").stderr
        lock.release()
    assert len(shell.json("jobs", "list")["data"]["jobs"]) > 1


def test_a_schedule_survives_being_written_down(shell: Shell) -> None:
    """Every job of the built-in list, with a funding offset and arguments, is read back as it was."""
    shell("pause")
    assert shell.last is not None
    specs = job_specs(shell.last.settings)
    with database(shell) as store:
        publish(store, Timetable(specs))
        assert published(store) == Timetable(specs)


def test_a_halt_whose_row_nobody_takes_names_the_file(shell: Shell) -> None:
    """Beside a silent daemon: the row's number, and that the file HALT was made, which needs nobody."""
    shell("pause")
    with database(shell) as store:
        lock = WriterLock(store, clock=SystemClock())
        lock.acquire("daemon")
        store.writer.heartbeat(lock.epoch, store.clock.now() - timedelta(minutes=5))
        said = shell("halt").stdout
        assert "queued as command" in said
        assert f"made the file {home_of(shell) / 'HALT'}" in said.replace("\n", " ")
        assert shell.json("halt")["data"]["halt_file"] == str(home_of(shell) / "HALT")
        lock.release()


def test_a_halt_on_a_full_disk_leaves_the_file(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database takes no row any more: exit 6, and the file HALT stands for the wish."""
    shell("pause")

    def full(*_given: object, **_named: object) -> None:
        raise StateUnavailable("the disk is full; nothing was sent")

    monkeypatch.setattr("fundarb.app.unattended.set_halt", full)
    found = shell("halt")
    assert found.exit_code == 6
    assert (home_of(shell) / "HALT").exists()
    assert "HALT was made instead" in found.stderr


def test_a_stopped_daemon_is_ended_by_what_it_still_sees(shell: Shell) -> None:
    """A process that was stopped keeps its lock and no plain ``kill`` ends it: the remedy names what does."""
    shell("pause")
    assert shell.last is not None
    script = (
        "import os, signal, sys\n"
        "from fundarb.clock import SystemClock\n"
        "from fundarb.store.database import Store\n"
        "from fundarb.store.lock import WriterLock\n"
        "clock = SystemClock()\n"
        "store = Store.open(sys.argv[1], clock=clock)\n"
        "WriterLock(store, clock=clock).acquire('daemon')\n"
        "print('held', flush=True)\n"
        "signal.pause()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, shell.last.settings.db_url], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        assert shell("daemon").stderr.rstrip().endswith(f"kill {child.pid}")
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED)
        said = shell("daemon").stderr
        assert f"kill -9 {child.pid}" in said
        assert f"kill -CONT {child.pid}" in said
    finally:
        child.kill()
        child.communicate()


def test_a_damaged_page_is_named_by_every_look(shell: Shell) -> None:
    """A page that nothing on the way happens to read: audit and backup refuse with 6 and name the database
    and what is wrong with it.
    """
    shell("status")
    with database(shell) as store:
        path = Path(store.place.name)
    with path.open("r+b") as file:
        file.seek(4096 * (path.stat().st_size // 4096 // 2))
        file.write(b"\xff" * 4096)
    for words in (("audit",), ("backup", "copy.db")):
        failed = shell(*words)
        assert failed.exit_code == 6, failed.output
        said = " ".join(failed.output.split())
        assert "is damaged: " in said
        assert "partial" not in said
        assert path.name in said
