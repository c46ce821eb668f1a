"""The whole program with its state on a PostgreSQL server: a life with a death in it, a lock that is lost, a
command that meets another writer, copies, paper, and what doctor says.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from fundarb import crash
from fundarb.clock import SystemClock
from fundarb.crash import Point
from fundarb.store.database import Store
from fundarb.store.lock import WriterLock
from tests.e2e.stage import CREATE, LIVE, Ran, Stage
from tests.postgres import Cluster

END_ALL = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
STEPS = (
    Point.LOCK_AFTER_ACQUIRE,
    Point.EPOCH_AFTER_COMMIT,
    Point.POSITION_BEFORE_COMMIT,
    Point.INTENT_BEFORE_COMMIT,
    Point.INTENT_AFTER_COMMIT,
    Point.WIRE_BEFORE_SEND,
    Point.WIRE_AFTER_SEND,
    Point.ANSWER_BEFORE_COMMIT,
    Point.FILL_BEFORE_COMMIT,
    Point.FILL_AFTER_COMMIT,
    Point.LEDGER_BETWEEN_ENTRIES,
    Point.LEGS_BETWEEN,
    Point.STATE_AFTER_COMMIT,
)
MAY_BE_LIVE = {
    Point.WIRE_BEFORE_SEND,
    Point.WIRE_AFTER_SEND,
    Point.ANSWER_BEFORE_COMMIT,
    Point.FILL_BEFORE_COMMIT,
    Point.FILL_AFTER_COMMIT,
    Point.LEGS_BETWEEN,
}


class ServerStage(Stage):
    """A user whose FUNDARB_DB names a server."""

    db = ""

    def elsewhere(self, *words: str, environ: dict[str, str] | None = None) -> Ran:
        """As on any stage, with that database unless the words name another one."""
        return super().elsewhere(*words, environ={"FUNDARB_DB": self.db, **(environ or {})})

    def store(self) -> Store:
        """The database, for reading."""
        return Store.open(self.db, clock=SystemClock(), readonly=True)

    def started(self, *words: str, **environ: str) -> subprocess.Popen[bytes]:
        """A command line in a process of its own."""
        place = ("--venue", "sandbox", "--venue-url", self.url, *LIVE)
        return subprocess.Popen(
            [sys.executable, "-m", "fundarb", *place, *words],
            env={**os.environ, "FUNDARB_HOME": str(self.home), "FUNDARB_DB": self.db, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


@pytest.fixture
def stage(tmp_path: Path, server_url: str) -> Iterator[ServerStage]:
    """A sandbox, and a database on a server."""
    made = ServerStage(tmp_path / "home")
    made.db = server_url
    yield made
    made.stop()


def end_lock(cluster: Cluster) -> None:
    """End the connection that holds the writer's lock."""
    found = cluster.ask(
        "postgres",
        "SELECT pg_terminate_backend(l.pid, 5000) FROM pg_locks AS l "
        "WHERE l.locktype = 'advisory' AND l.granted AND l.objid = 1",
    )
    assert found == [(True,)]


def creates(stage: Stage) -> int:
    """How many orders the venue was asked for."""
    return sum(row["path"] == CREATE for row in stage.truth()["requests"])


def writer(stage: Stage) -> int | None:
    """Which process writes, by what ``status`` says."""
    found = stage.json("status").data["writer"]
    return None if found is None else int(found["pid"])


def test_a_life_with_a_death_in_it(stage: ServerStage) -> None:
    """Open, SIGKILL between send and answer, status, reconcile, close, audit and report: as with a file."""
    child = stage.started("open", "BTC", "--notional", "400", "--yes", FUNDARB_CRASH="wire.after_send:2")
    assert child.wait(60) == -signal.SIGKILL, child.communicate()
    child.communicate()
    assert stage.json("status").code == 6
    assert stage.json("reconcile").code == 0
    assert stage.json("status").code == 0
    (row,) = stage.json("positions").data["positions"]
    assert (row["base"], row["state"]) == ("BTC", "HEDGED")
    assert stage.open("ETH").code == 0
    assert stage.close("BTC").code == 0
    assert stage.close("ETH").code == 0
    stage.check()
    audited = stage.json("audit")
    assert audited.code == 0, audited.out
    report = stage.json("report")
    assert report.code == 0
    assert report.data["total"]["net"].startswith("-")
    by_day = stage.json("report", "pnl", "--by", "day")
    assert by_day.data["total"]["fees_by_coin"] == report.data["total"]["fees_by_coin"]
    assert by_day.data["total"]["net"] == report.data["total"]["net"]
    assert not stage.database.exists()
    assert not list(stage.home.glob("*.db*"))


def test_a_lock_that_is_lost_before_the_wire_sends_nothing(
    stage: ServerStage,
    cluster: Cluster,
) -> None:
    """The order is written, the lock's connection is ended, the gate refuses: exit 6, nothing at the venue;
    the next start finds out and all is well.
    """
    crash.arm(Point.WIRE_BEFORE_GATE, strike=lambda: end_lock(cluster))
    try:
        ran = stage.open()
    finally:
        crash.disarm()
    assert ran.code == 6, ran.out
    assert ran.envelope["error"]["kind"] == "state_unavailable"
    assert "writer's lock is lost" in ran.envelope["error"]["message"]
    assert creates(stage) == 0
    stage.check()
    assert stage.open().code == 0
    stage.healed()


@pytest.mark.proof
def test_a_server_that_goes_away_after_the_send(
    stage: ServerStage,
    cluster: Cluster,
) -> None:
    """The answer cannot be booked, nor anything be read: exit 5 with the order's name; once the server is
    back the order is found and hedged.
    """
    crash.arm(Point.WIRE_AFTER_SEND, strike=lambda: cluster.stop("immediate"))
    try:
        ran = stage.open()
        assert ran.code == 5, ran.out
        assert "001) cannot be read" in ran.envelope["error"]["message"]
        assert stage.json("status").code == 6
        assert stage.json("reconcile").code == 6
    finally:
        crash.disarm()
        with suppress(AssertionError):  # it may never have been stopped
            cluster.start()
    stage.json("reconcile")
    stage.healed()


@pytest.mark.proof
def test_another_writer_is_named(stage: ServerStage) -> None:
    """Who trades while a daemon shows no life is refused (7), with its process; a halt is left for it."""
    assert stage.open().code == 0
    with Store.open(stage.db, clock=SystemClock()) as store:
        lock = WriterLock(store, clock=store.clock)
        lock.acquire("command")
        ran = stage.open("ETH", "400", "--lock-wait", "0s")
        assert ran.code == 7
        assert f"process {os.getpid()} (command)" in ran.envelope["error"]["message"]
        assert writer(stage) == os.getpid()
        assert stage.json("pause", "--no-wait").code == 0
        lock.release()
    assert stage.json("reconcile").code == 0
    assert stage.json("status").data["control"] == "PAUSED"


def test_copies_on_the_command_line(stage: ServerStage, tmp_path: Path) -> None:
    """A backup is a file; a restore fills the server anew, keeps the former tables, and halts."""
    assert stage.open().code == 0
    made = stage.json("backup", str(tmp_path / "copy.db"))
    assert made.code == 0, made.out
    assert stage.close().code == 0
    done = stage.json("restore", str(tmp_path / "copy.db"), "--yes")
    assert done.code == 0, done.out
    assert done.data["former"].startswith("fundarb_before_restore_")
    assert done.data["database"] == stage.db
    assert stage.json("status").data["control"] == "HALTED"
    assert stage.json("reconcile").code in {0, 6}


@pytest.mark.proof
def test_the_paper_account_stays_on_this_machine(stage: ServerStage) -> None:
    """Its file is in the home folder, one for each server's database."""
    ran = stage.run("--json", "--mode", "paper", "open", "BTC", "--notional", "400", "--yes", live=False)
    assert ran.code == 0, ran.out
    (file,) = stage.home.glob("*.postgres-*.paper.json")
    assert file.stat().st_size


def checks(ran: Ran) -> dict[str, Any]:
    """Doctor's findings by their ids."""
    return {item["id"]: item for item in ran.data["checks"]}


def test_doctor_looks_at_the_server(
    stage: ServerStage,
    cluster: Cluster,
) -> None:
    """Which server it is, before and after anything was made; a wrong address fails with its remedy."""
    stage.db = cluster.address(cluster.database())
    assert "none yet" in checks(stage.json("doctor"))["database"]["message"]
    assert stage.open().code == 0
    found = checks(stage.json("doctor"))
    assert "disk" not in found
    assert found["database"]["level"] == "ok"
    assert "PostgreSQL 16" in found["database"]["message"]
    wrong = checks(stage.json("--db", cluster.address("nowhere"), "doctor"))
    assert wrong["database"]["level"] == "fail"
    assert "createdb" in wrong["database"]["remedy"]


def test_a_password_is_seen_nowhere(
    stage: ServerStage,
    cluster: Cluster,
) -> None:
    """Never on the command line; from the environment it works, and no output, row or file carries it."""
    address = cluster.address("t1").replace("postgres@", "postgres:pa55phrase@")
    refused = stage.run("--db", address, "status")
    assert refused.code == 2
    assert "pa55phrase" not in refused.out + refused.err
    place = {"FUNDARB_DB": stage.db.replace("postgres@", "postgres:pa55phrase@")}
    for words in (
        ("open", "BTC", "--notional", "400", "--yes"),
        ("config", "show"),
        ("status",),
        ("doctor",),
    ):
        ran = stage.elsewhere(
            "--venue", "sandbox", "--venue-url", stage.url, *LIVE, "-vv", *words, environ=place
        )
        assert ran.code == 0, ran.err
        assert "pa55phrase" not in ran.out + ran.err
    audited = stage.elsewhere(
        "--venue", "sandbox", "--venue-url", stage.url, *LIVE, "--json", "audit", environ=place
    )
    assert audited.code == 0, audited.out
    assert next(item for item in audited.data["checks"] if item["id"] == "14")["ok"]
    with stage.store() as store:
        assert list(store.place.search([b"pa55phrase"])) == []
    assert not [
        path for path in stage.home.rglob("*") if path.is_file() and b"pa55phrase" in path.read_bytes()
    ]


@pytest.mark.proof
@pytest.mark.parametrize("point", STEPS)
def test_every_connection_is_cut_at_a_step(stage: ServerStage, cluster: Cluster, point: Point) -> None:
    """Wherever the server ends all our connections, the command ends (6; 5 from the first order on, which may
    be live) and the next start finds out what the venue has: nothing is sent twice, nothing is lost.
    """
    cut: list[bool] = []
    name = stage.db.rpartition("/")[2]

    def strike() -> None:
        if not cut:
            cut.append(True)
            cluster.ask(name, END_ALL)

    crash.arm(point, strike=strike)
    try:
        ran = stage.open()
    finally:
        crash.disarm()
    assert cut == [True]
    assert ran.code == (5 if point in MAY_BE_LIVE else 6), ran.out
    stage.json("reconcile")
    stage.healed()
