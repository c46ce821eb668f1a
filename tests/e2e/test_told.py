"""What a person is told when not all is well: a killed command, a lost database, a full disk, a dead key,
another account's books, a simulation whose venue is gone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from fundarb.clock import SystemClock
from fundarb.store.database import Store
from fundarb.store.lock import WriterLock
from tests.e2e.stage import LIVE, Stage

SECOND = timedelta(seconds=1)
FULL = SimpleNamespace(f_bavail=0, f_frsize=4096, f_flag=0)


def killed(stage: Stage, point: str, *words: str) -> None:
    """A command that a crash point kills with SIGKILL."""
    place = ("--venue", "sandbox", "--venue-url", stage.url, *LIVE)
    environ = {**os.environ, "FUNDARB_HOME": str(stage.home), "FUNDARB_CRASH": point}
    done = subprocess.run(
        [sys.executable, "-m", "fundarb", *place, *words],
        env=environ,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.fixture
def writer(stage: Stage) -> Iterator[WriterLock]:
    """Another process's lock on the database, as a daemon that shows life."""
    with Store.open(f"sqlite:///{stage.database}", clock=SystemClock()) as store:
        lock = WriterLock(store, clock=SystemClock())
        lock.acquire("daemon")
        yield lock
        if store.still_there():
            lock.release()


def test_an_order_in_flight_is_seen(stage: Stage) -> None:
    """After a SIGKILL between send and answer ``positions`` knows no drift and names the order, ``status`` is
    degraded, and both say what is next; after a reconcile nothing of it is left.
    """
    killed(stage, "wire.after_send:2", "open", "BTC", "--notional", "400", "--yes")
    status = stage.json("status")
    assert status.code == 6
    (reason,) = status.envelope["error"]["reasons"]
    assert reason["code"] == "position"
    assert all(word in reason["message"] for word in ("BTC", "OPENING for", "an order is in flight: fa-"))
    assert "run `fundarb reconcile`" in reason["message"]
    assert "run `fundarb reconcile`" in stage.run("status").out
    positions = stage.json("positions")
    (row,) = positions.data["positions"]
    assert (row["delta"], row["drift"]) == (None, None)
    assert len(row["in_flight"]) == 1
    assert "in_flight" in {warning["code"] for warning in positions.envelope["warnings"]}
    assert "fundarb reconcile" in stage.run("positions").err
    assert stage.json("reconcile").code == 0
    (row,) = stage.json("positions").data["positions"]
    assert row["drift"] is not None
    assert stage.run("status").code == 0


def test_positions_of_a_lost_database_are_told_as_such(stage: Stage) -> None:
    """Database, log and lock are deleted while something is held: a new database knows nothing of it, and
    ``reconcile`` says that another fundarb database opened it and how that one comes back.
    """
    stage.open()
    stage.advance("2h")
    for file in stage.database.parent.glob(f"{stage.database.name}*"):
        file.unlink()
    walk = stage.json("reconcile")
    assert [row["kind"] for row in walk.data["mismatches"]] == ["foreign_position"]
    (warning,) = walk.envelope["warnings"]
    assert warning["code"] == "another_database"
    assert "BTCUSDT" in warning["message"]
    assert "fundarb restore" in warning["message"]


def test_what_the_venue_holds_differently_is_said(stage: Stage) -> None:
    """The short was closed by hand: positions show the books, and say that the venue holds none of it."""
    stage.open()
    assert stage.run("positions").err == ""
    stage.world("manual_close", symbol="BTCUSDT")
    ran = stage.run("positions")
    assert "BTCUSDT: our books say -0.008, the venue 0" in ran.err


def test_a_new_database_beside_what_a_lost_one_opened(stage: Stage) -> None:
    """The database is gone, positions that it opened are not: a new one tells a person and opens nothing
    until he resumes; then it is his will, and not asked again.
    """
    assert stage.open().code == 0
    stage.advance("2h")
    for file in stage.database.parent.glob(f"{stage.database.name}*"):
        file.unlink()
    refused = stage.json("open", "BTC", "--notional", "100", "--yes")
    assert refused.code == 3
    assert "block_halt" in refused.codes
    assert stage.alerts().count("another_database") == 1
    (block,) = stage.json("status").data["blocks"]
    assert "fundarb restore" in block["reason"]
    assert stage.json("resume").code == 0
    stage.json("reconcile")
    assert stage.json("status").data["control"] == "RUNNING"


def test_a_resume_that_is_forbidden_shows_what_stays(stage: Stage) -> None:
    """A halt is not lifted while books and venue differ: exit 6, the differences once, and still halted."""
    stage.open()
    stage.world("manual_close", symbol="BTCUSDT")
    stage.run("halt")
    ran = stage.run("resume")
    assert ran.code == 6
    assert "perp_size" in ran.out
    assert ran.err == "Error: not resumed: books and venue differ; `fundarb reconcile` shows where\n"
    assert stage.json("resume").envelope["error"]["kind"] == "mismatch"
    assert stage.json("status").data["control"] == "HALTED"


@pytest.mark.parametrize(
    "words", [("reconcile",), ("jobs", "run", "watch"), ("resume", "BTC"), ("flatten", "--all", "--yes")]
)
def test_what_the_venue_took_is_said_by_whoever_books_it(stage: Stage, words: tuple[str, ...]) -> None:
    """A deleveraging is told by the command that meets it first, whichever it is, and once."""
    stage.open()
    stage.world("adl", symbol="BTCUSDT", fraction="0.5")
    ran = stage.run(*words)
    assert ran.code == 0
    assert "BTC: AdlTrade took 0.004 of 0.008 BTCUSDT" in " ".join((ran.out + ran.err).split())
    assert "AdlTrade" not in stage.run("reconcile").out


def test_a_walk_that_compared_nothing_says_so(stage: Stage) -> None:
    """The log cannot be read and a leg is gone: the difference, why nothing else was compared and what is
    next; no number of things that were looked at.
    """
    stage.open()
    stage.world("manual_close", symbol="BTCUSDT")
    log = {"path": "/v5/account/transaction-log", "times": 0}
    stage.fault("http", match=log, status=503, body="")
    ran = stage.run("reconcile")
    assert ran.code == 6
    assert "perp_size" in ran.out
    assert "checked" not in ran.out
    assert "books and venue could not be compared: HTTP 503" in ran.err
    assert "run `fundarb reconcile` again" in ran.err


def test_flattening_nothing_says_that_it_pauses(stage: Stage) -> None:
    """With nothing open ``flatten --all`` pauses, and says so."""
    ran = stage.run("flatten", "--all", "--yes")
    assert (ran.code, ran.out) == (0, "no open positions\n")
    assert "nothing is opened from now on; `fundarb resume`" in ran.err


def test_a_lost_database_is_named(stage: Stage, writer: WriterLock) -> None:
    """The file is deleted while its writer lives: no command takes that for a bot with nothing open."""
    stage.database.unlink()
    for words in (("positions",), ("status",), ("events",), ("jobs", "list"), ("report",), ("pause",)):
        ran = stage.json(*words)
        assert ran.code == 6, words
        message = ran.envelope["error"]["message"]
        assert str(stage.database) in message
        assert f"process {os.getpid()} (daemon)" in message
    assert not stage.database.exists()
    checks = {item["id"]: item for item in stage.json("doctor").data["checks"]}
    assert "is gone" in checks["database"]["message"]
    assert writer.epoch


def test_a_log_without_its_database_is_named(stage: Stage) -> None:
    """The writer died and the file was deleted, its log not: nobody begins anew over it by accident."""
    killed(stage, "legs.between", "open", "BTC", "--notional", "400", "--yes")
    stage.database.unlink()
    ran = stage.json("open", "BTC", "--notional", "400", "--yes")
    assert ran.code == 6
    assert f"{stage.database}-wal" in ran.envelope["error"]["message"]
    assert not stage.database.exists()


def test_a_full_disk_is_not_called_damage(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk without room SQLite cannot make its log and names some error: it is the disk that is named,
    nobody is told to move the file away, and the code is that of a broken state.
    """
    stage.open()
    Path(f"{stage.database}-wal").mkdir()
    monkeypatch.setattr(os, "statvfs", lambda _path: FULL)
    for words in (("status",), ("positions",), ("close", "BTC", "--yes")):
        ran = stage.json(*words)
        assert ran.code == 6, words
        message = ran.envelope["error"]["message"]
        assert "the disk is full" in message
        assert str(stage.database) in message
        assert "damaged" not in message


def test_a_dead_key_is_named_with_its_remedy(stage: Stage) -> None:
    """A key that has expired is said to be the key's fault, nobody is told to try again, and doctor finds it
    together with account mode and fees.
    """
    before = {item["id"]: item["level"] for item in stage.json("doctor").data["checks"]}
    wanted = ("configuration", "database", "clock", "reachability", "key", "account_mode", "fees")
    assert {before[name] for name in wanted} == {"ok"}
    stage.world("key", expire=True)
    ran = stage.run("open", "BTC", "--notional", "400", "--yes")
    assert ran.code == 4
    assert "this API key has expired: make a new one" in ran.err
    assert "Try again" not in ran.err
    doctor = stage.json("doctor")
    assert doctor.code == 6
    (failed,) = [item for item in doctor.data["checks"] if not item["ok"]]
    assert failed["id"] == "key"
    assert "BYBIT_API_KEY" in failed["remedy"]


def test_another_accounts_books_are_not_valued_with_this_one(stage: Stage) -> None:
    """Named with --db, the books of another place: positions refuse them, report and audit leave the venue
    out and say so.
    """
    stage.open()
    words = ("--db", f"sqlite:///{stage.database}")
    positions = stage.elsewhere("--json", *words, "positions")
    assert positions.code == 2
    assert "belongs to venue 'sandbox'" in positions.envelope["error"]["message"]
    report = stage.elsewhere("--json", *words, "report").envelope
    assert "belongs to venue 'sandbox'" in report["warnings"][0]["message"]
    assert report["data"]["rows"][0]["fees"] != "0"
    audit = stage.elsewhere("--json", *words, "audit").envelope
    assert [warning["code"] for warning in audit["warnings"]] == ["venue_not_asked"]


def test_the_books_of_a_venue_that_is_gone(stage: Stage) -> None:
    """The sandbox has ended and taken its time with it: reports are of the last moment known, not an error,
    and their time is the venue's.
    """
    stage.open()
    stage.stop()
    for kind in ("pnl", "funding", "trades", "equity", "ledger"):
        ran = stage.json("report", kind)
        assert ran.code == 0, ran.out
        assert ran.envelope["as_of"].startswith("2026-01-05T")
    assert stage.json("report").envelope["warnings"]
    assert stage.json("audit").code == 0
    stage.come_back()


@pytest.mark.proof
def test_the_line_after_a_simulation_works(stage: Stage) -> None:
    """What ``daemon --simulate`` offers at its end can be typed: its world is gone, its books are there; and
    its envelope names the place it lived in.
    """
    ran = stage.elsewhere("daemon", "--simulate", "20m", "--seed", "3")
    assert ran.code == 0, ran.err
    line = next(text for text in ran.err.splitlines() if "look at it with" in text)
    words = line.partition("fundarb ")[2].split()
    assert stage.elsewhere(*words).code == 0
    found = json.loads(stage.elsewhere("--json", "daemon", "--simulate", "10m").out)
    assert (found["venue"], found["mode"]) == ("sandbox", "live")
    assert found["as_of"] == found["data"]["until"]


def test_a_queued_command_is_seen(stage: Stage, writer: WriterLock) -> None:
    """A wish that waits for the writer stands in status and events until it is taken."""
    ran = stage.json("pause", "--no-wait")
    number = ran.data["command_id"]
    waiting = stage.json("status").data["commands"]
    assert [(item["id"], item["name"], item["state"]) for item in waiting] == [(number, "pause", "waiting")]
    asked = stage.json("events", "--kind", "command_asked").data["events"]
    assert [event["payload"]["command_id"] for event in asked] == [number]
    assert f"command {number} pause: waiting" in stage.run("status").out
    assert writer.still_ours()


@pytest.mark.parametrize("point", ["wire.after_send:2", "state.before_commit:2"])
def test_a_close_that_the_recovery_has_finished_says_so(stage: Stage, point: str) -> None:
    """Killed in the middle of a close: the same command again finds the position closed by its own recovery,
    exit 0, with the trades; once more there is nothing to close.
    """
    assert stage.json("open", "BTC", "--notional", "400", "--yes").code == 0
    killed(stage, point, "close", "BTC", "--yes")
    again = stage.json("close", "BTC", "--yes")
    assert again.code == 0
    assert again.envelope["data"]["state"] == "CLOSED"
    assert len(again.envelope["data"]["orders"]) == 4
    assert "closed_by_recovery" in {item["code"] for item in again.envelope["warnings"]}
    assert stage.json("close", "BTC", "--yes").code == 2


def test_a_refusal_speaks_of_its_own_orders(stage: Stage) -> None:
    """The recovery before a refused open gave back what a killed one left: "nothing was sent" is said of that
    open alone, and a refusal without that says it of everything.
    """
    killed(stage, "wire.after_send:1", "open", "BTC", "--notional", "400", "--yes")
    refused = stage.json("open", "BTC", "--notional", "9000000", "--yes")
    assert refused.code == 3
    message = refused.envelope["error"]["message"]
    assert message.startswith("refused, nothing was sent for it (the recovery before it sent 1 order): ")
    again = stage.json("open", "BTC", "--notional", "9000000", "--yes")
    assert again.envelope["error"]["message"].startswith("refused, nothing was sent: ")
