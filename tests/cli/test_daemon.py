"""The daemon as a process: started, commanded, killed, outlived by its books."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fundarb.app import unattended
from fundarb.app.sandboxes import SandboxPlan, sandbox_options
from fundarb.app.worlds import START
from fundarb.cli.daemon import tell_events
from fundarb.cli.main import cli
from fundarb.cli.session import Session
from fundarb.clock import SystemClock
from fundarb.core.events import ActivityChanged, AlertRaised
from fundarb.core.instants import iso
from fundarb.sandbox.server import Running, start_in_thread
from fundarb.store.database import Store
from tests.markets.recording import START as RECORDED
from tests.markets.recording import record

pytestmark = pytest.mark.xdist_group("daemon")

SECOND = timedelta(seconds=1)
LONGEST_END = 20
"""Seconds from the signal to the end of a process, at most."""
PROGRAM = [sys.executable, "-c", "import sys; from fundarb.cli.main import main; sys.exit(main())"]


@dataclass
class Place:
    """A sandbox, a home folder, and the command line that leads there."""

    url: str
    home: Path
    mode: tuple[str, ...] = ("--mode", "live", "--live")
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def words(self) -> list[str]:
        """Program and global options."""
        return [*PROGRAM, "--venue", "sandbox", "--venue-url", self.url, *self.mode]

    @property
    def environ(self) -> dict[str, str]:
        """An environment with this home."""
        return {**os.environ, "FUNDARB_HOME": str(self.home)}

    def run(self, *words: str) -> Result:
        """One command to its end, in this process."""
        session = Session(environ=self.environ, clock=SystemClock())
        return CliRunner().invoke(cli, [*self.words[len(PROGRAM) :], *words], obj=session)

    def json(self, *words: str) -> dict[str, Any]:
        """The envelope of a command."""
        found: dict[str, Any] = json.loads(self.run(*words, "--json").stdout)
        return found

    def daemon(self, *words: str) -> subprocess.Popen[str]:
        """A daemon that has just been started."""
        return self.start(*self.words[len(PROGRAM) :], *words, "daemon")

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A process of any words."""
        process = subprocess.Popen(
            [*PROGRAM, *words],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first status for which something holds."""
        clock = SystemClock()
        deadline = clock.monotonic() + 30 * SECOND
        while clock.monotonic() < deadline:
            data = self.json("status").get("data")
            if data is not None and holds(data):
                return dict(data)
            clock.sleep(SECOND / 5)
        raise AssertionError("what the test waits for never came")

    def end(self) -> None:
        """No process stays."""
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.communicate()


def scanned(data: dict[str, Any]) -> bool:
    """The first scan is over."""
    return any(job["name"] == "scan-and-open" and job["result"] in {"ok", "nothing"} for job in data["jobs"])


def at_work(process: subprocess.Popen[str], data: dict[str, Any]) -> bool:
    """This process is the writer, not a predecessor, and its first round is over."""
    mine = data["writer"] is not None and data["writer"]["pid"] == process.pid
    return bool(mine) and scanned(data)


def sandbox(**changes: Any) -> Running:
    """A sandbox in this process."""
    return start_in_thread(sandbox_options(SandboxPlan(port=0, **changes)))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A sandbox on the real clock and an empty home."""
    running = sandbox(seed=1)
    made = Place(running.url, tmp_path / "home")
    yield made
    made.end()
    running.stop()


def terminated(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[int, str]:
    """Ask for the end; exit code and messages."""
    process.send_signal(number)
    _, messages = process.communicate(timeout=LONGEST_END)
    return process.returncode, messages


def test_a_daemon_trades_obeys_and_ends(place: Place) -> None:
    """From the first decision over commands of every kind to an orderly end: the whole day of a daemon."""
    process = place.daemon()
    status = place.until(scanned)
    assert status["control"] == "RUNNING"
    assert status["writer"]["pid"] == process.pid
    assert status["positions_open"] >= 1

    second = place.run("daemon")
    assert second.exit_code == 7
    assert str(process.pid) in second.stderr

    assert place.run("pause", "--reason", "lunch").exit_code == 0
    refused = place.json("open", "LTC", "--notional", "200", "--yes")
    assert refused["error"]["kind"] == "refused"
    assert "block_pause" in {reason["code"] for reason in refused["error"]["reasons"]}
    assert place.json("resume")["data"]["control"] == "RUNNING"

    queued = place.json("jobs", "run", "snapshot", "--no-wait")["data"]
    assert isinstance(queued["command_id"], int)
    assert place.json("jobs", "run", "snapshot")["data"]["name"] == "snapshot"
    assert place.run("jobs", "run", "nonsense").exit_code == 2

    assert place.run("halt").exit_code == 0
    assert place.json("status")["data"]["control"] == "HALTED"
    assert place.run("status").exit_code == 6
    assert place.run("resume").exit_code == 0

    (place.home / "HALT").touch()
    place.until(lambda data: data["control"] == "HALTED")
    assert place.run("resume").exit_code == 3
    (place.home / "HALT").unlink()
    assert place.run("resume").exit_code == 0

    code, messages = terminated(process)
    assert code == 0
    assert "no channel in [notify] urls" in messages
    assert place.json("status")["data"]["writer"] is None
    kinds = [event["kind"] for event in place.json("events", "-n", "500")["data"]["events"]]
    assert kinds.count("writer_stopped") >= 1
    assert place.json("audit")["data"]["clean"]


@pytest.mark.parametrize(("quiet", "verbose", "lines"), [(True, 0, 1), (False, 0, 1), (False, 1, 2)])
def test_an_alert_is_told_where_the_daemon_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *, quiet: bool, verbose: int, lines: int
) -> None:
    """Whoever has named no channel sees alerts on stderr, also with ``-q``; everything else with ``-v``."""
    session = Session(environ=os.environ, clock=SystemClock())
    session.options.quiet, session.options.verbose = quiet, verbose
    with Store.open(f"sqlite:///{tmp_path}/x.db", clock=SystemClock()) as store:
        tell_events(session, store, alerts=True)
        store.events.record(ActivityChanged(activity="SCANNING"))
        store.events.record(AlertRaised(code="unhedged", subject="p-1", message="a leg is naked"))
    told = capsys.readouterr().err.splitlines()
    assert len(told) == lines
    assert "a leg is naked" in told[-1]


@pytest.mark.proof
def test_killed_then_robbed_of_its_database(place: Place) -> None:
    """SIGKILL leaves nothing to clean up: the next daemon recovers, and books and venue agree. When the
    database is deleted under it, it stops, names the file and says what to do.
    """
    first = place.daemon()
    place.until(scanned)
    first.kill()
    first.communicate()
    second = place.daemon()
    place.until(partial(at_work, second))
    assert place.json("reconcile")["data"]["clean"]
    assert place.json("audit")["data"]["clean"]
    next(place.home.glob("*.db")).unlink()
    _, messages = second.communicate(timeout=20)
    assert second.returncode not in {0, None}
    assert "deleted or replaced" in messages


@pytest.mark.proof
def test_another_world_behind_the_same_address_is_refused(tmp_path: Path) -> None:
    """The sandbox is stopped and started again with another world under a daemon that holds nothing and runs
    the default jobs: an ``open`` given to it is refused, the daemon ends, starts are refused (all exit 2),
    and no order is in the new world.
    """
    first = sandbox(seed=1)
    place = Place(first.url, tmp_path / "home")
    settings = tmp_path / "shy.toml"
    settings.write_text('[strategy]\nmin_net_apr = "900%"\n')
    process = place.daemon("--config", str(settings))
    try:
        place.until(scanned)
        booked = place.json("report", "ledger")["data"]["rows"]
        port = int(first.url.rpartition(":")[2])
        first.stop()
        second = start_in_thread(sandbox_options(SandboxPlan(port=port, seed=2)))
        try:
            opened = place.json("open", "LTC", "--notional", "100", "--yes")
            assert "belongs to account" in opened["error"]["message"]
            _, messages = process.communicate(timeout=LONGEST_END)
            assert process.returncode == 2, messages
            assert "belongs to account" in messages
            assert second.house is not None
            assert not second.house.venue.all_orders()
            assert place.json("report", "ledger")["data"]["rows"] == booked
            again = place.run("daemon")
            assert again.exit_code == 2
            assert "belongs to" in again.stderr
        finally:
            second.stop()
    finally:
        place.end()


def test_mistakes_in_jobs_toml_are_all_listed(place: Place, tmp_path: Path) -> None:
    """Unknown runs, triggers, keys and durations: exit 2 with every one, by number and name of the job."""
    file = tmp_path / "jobs.toml"
    file.write_text(
        '[[job]]\nname = "a"\nrun = "scan_and_opn"\ntrigger = "cron"\nminute = "99"\n'
        '[[job]]\nname = "b"\nrun = "watch"\ntrigger = "sometimes"\n'
        '[[job]]\nname = "c"\nrun = "reconcile"\ntrigger = "interval"\nevery = "60"\n'
        "args = { repaire = true }\n"
        '[[job]]\nname = "a"\nrun = "digest"\ntrigger = "interval"\nevery = "1h"\ncolour = "red"\n'
    )
    found = place.run("--jobs", str(file), "daemon")
    assert found.exit_code == 2
    for word in ("scan_and_opn", "99", "sometimes", "every", "repaire", "colour", "job 4"):
        assert word in found.stderr, word


@pytest.mark.proof
def test_paper_trades_on_live_quotes_and_catches_up(place: Place) -> None:
    """A paper daemon opens on the venue's quotes without a signed request, and goes on after a pause."""
    paper = Place(place.url, place.home, mode=("--mode", "paper"))
    for _ in range(2):
        process = paper.daemon()
        assert paper.until(partial(at_work, process))["positions_open"] >= 1
        code, messages = terminated(process, signal.SIGINT)
        assert code == 130, messages
    assert paper.json("audit")["data"]["clean"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_daemon_that_is_stopped_while_it_starts_ends_in_order(
    place: Place, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    """A signal before there is anything to end is kept and obeyed: nothing is traded, the lock is free."""
    made = unattended.office

    def signalled(*given: Any, **named: Any) -> Any:
        os.kill(os.getpid(), number)
        return made(*given, **named)

    monkeypatch.setattr(unattended, "office", signalled)
    found = place.run("--json", "daemon")
    assert found.exit_code == code, found.output
    assert json.loads(found.stdout)["data"] == {"ended": signal.Signals(number).name, "positions_open": 0}
    monkeypatch.undo()
    assert place.json("status")["data"]["writer"] is None


@pytest.mark.proof
def test_sigterm_before_the_service_runs(place: Place) -> None:
    """A process that has only just made its database is stopped: 0, not death by the signal."""
    process = place.daemon()
    clock = SystemClock()
    deadline = clock.monotonic() + 20 * SECOND
    while not list(place.home.glob("**/*.db")) and clock.monotonic() < deadline:
        clock.sleep(SECOND / 200)
    code, messages = terminated(process)
    assert code == 0, messages


@pytest.mark.proof
def test_ctrl_c_is_answered_with_one_sentence(place: Place) -> None:
    """Exit 130, how it ended and what stays open; nothing of an error."""
    process = place.daemon()
    place.until(partial(at_work, process))
    code, messages = terminated(process, signal.SIGINT)
    assert code == 130
    assert messages.splitlines()[-1].startswith("ended by SIGINT; ")
    assert "Error" not in messages


def test_events_are_followed(place: Place) -> None:
    """``events -f --json`` prints an envelope per batch until Ctrl-C, exit 130."""
    place.run("pause")
    process = subprocess.Popen(
        [*place.words, "--json", "events", "-f"],
        env=place.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    place.running.append(process)
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    assert [event["kind"] for event in first["data"]["events"]] == ["block_set"]
    place.run("halt")
    second = json.loads(process.stdout.readline())
    assert second["data"]["events"][0]["id"] > first["data"]["events"][-1]["id"]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130


# --------------------------------------------------------------------------------------------- simulation


@pytest.mark.proof
def test_a_simulation_against_a_sandbox_that_runs(tmp_path: Path) -> None:
    """``--simulate`` on a virtual-clock sandbox lives through the time, trades, and its audit is clean."""
    running = sandbox(seed=1, virtual=True, start=START)
    place = Place(running.url, tmp_path / "home")
    try:
        found = place.json("daemon", "--simulate", "1h")
        assert found["data"]["from"] == "2026-01-01T00:00:00Z"
        assert found["data"]["until"].startswith("2026-01-01T01:0")
        assert found["data"]["positions_open"] >= 1
        assert place.json("audit")["data"]["clean"]
        assert place.run("daemon").exit_code == 2
    finally:
        running.stop()


def anywhere(home: Path, *words: str, **environ: str) -> Result:
    """A command without a venue, in this process."""
    session = Session(environ={**os.environ, "FUNDARB_HOME": str(home), **environ}, clock=SystemClock())
    return CliRunner().invoke(cli, ["--json", *words], obj=session)


def test_a_simulation_makes_its_own_world(tmp_path: Path) -> None:
    """Without a sandbox a world is started for the purpose; the user's own database is not touched."""
    home = tmp_path / "home"
    found = anywhere(home, "daemon", "--simulate", "15m", "--seed", "3")
    assert found.exit_code == 0, found.stderr
    assert json.loads(found.stdout)["data"]["db"].startswith(f"sqlite:///{home}/simulations/")
    assert [path.name for path in home.iterdir()] == ["simulations"]


def test_a_real_clock_cannot_be_simulated(place: Place) -> None:
    """A sandbox on the real clock refuses ``--simulate`` with what to do."""
    found = place.run("daemon", "--simulate", "1h")
    assert found.exit_code == 2
    assert "--clock virtual" in found.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--simulate", "soon"),
        ("--simulate", "0s"),
        ("--replay", "x"),
        ("--simulate", "1h", "--start", "yesterday"),
    ],
)
def test_a_wrong_wish_is_refused(place: Place, words: tuple[str, ...]) -> None:
    """Durations, times and options that do not go together: exit 2 before anything starts."""
    assert place.run("daemon", *words).exit_code == 2


def test_a_replay_is_not_lived_beyond_its_end(tmp_path: Path) -> None:
    """An hour is recorded: two hours of it are refused before anything is traded, one hour is lived whole."""
    folder = tmp_path / "recording"
    folder.mkdir()
    words = ("--replay", str(record(folder)), "--start", iso(RECORDED))
    refused = anywhere(tmp_path / "home", "daemon", "--simulate", "2h", *words)
    assert refused.exit_code == 2
    message = json.loads(refused.stdout)["error"]["message"]
    assert "ends at 2025-05-01T01:00:00Z" in message
    assert "--simulate 1h at most" in message
    lived = anywhere(tmp_path / "home", "daemon", "--simulate", "1h", *words)
    assert lived.exit_code == 0, lived.stderr
    assert json.loads(lived.stdout)["data"]["until"] == "2025-05-01T01:00:00Z"


def test_a_replay_of_real_prices_is_lived_through(tmp_path: Path, shared_dir: Path) -> None:
    """Bybit's own BTC, ETH and SOL at five minutes: an hour around a settlement passes, positions are opened
    under a low gate, and each is paid what the rate that Bybit settled makes of it.
    """
    pytest.importorskip("pyarrow")
    found = anywhere(
        tmp_path / "home",
        "daemon",
        "--simulate",
        "1h",
        "--replay",
        str(shared_dir / "data" / "bybit"),
        "--start",
        "2025-07-15T07:20:00Z",
        FUNDARB_STRATEGY_MIN_NET_APR="0%",
        FUNDARB_STRATEGY_HORIZON="90d",
    )
    data = json.loads(found.stdout)["data"]
    assert data["from"] == "2025-07-15T07:20:00Z"
    assert data["positions_open"] >= 1
    place = ("--venue", "sandbox", "--mode", "live", "--live", "--db", data["db"])
    paid = json.loads(anywhere(tmp_path / "home", *place, "report", "funding").stdout)["data"]["rows"]
    assert len(paid) == data["positions_open"]
    for row in paid:
        assert row["time"] == "2025-07-15T08:00:00Z"
        assert Decimal(row["received"]) == Decimal(row["expected"]) > 0
        exact = -Decimal(row["contracts"]) * Decimal(row["mark"]) * Decimal(row["rate"])
        assert abs(Decimal(row["received"]) - exact) <= Decimal("1e-8")


# --------------------------------------------------------------------------------------------------- demo


def demo(home: Path, seed: int) -> dict[str, Any]:
    """A demo of one day."""
    found = anywhere(home, "demo", "--days", "1", "--seed", str(seed))
    assert found.exit_code == 0, found.stderr + found.stdout[-500:]
    envelope = json.loads(found.stdout)
    assert (envelope["venue"], envelope["mode"]) == ("sandbox", "live")
    data: dict[str, Any] = envelope["data"]
    assert envelope["as_of"] == data["equity"]["rows"][-1]["time"]
    assert data["audit"]["clean"]
    assert data["pnl"]["tie_out"]["unexplained"] == "0"
    return data


@pytest.mark.parametrize("seed", [2, pytest.param(3, marks=pytest.mark.proof)])
def test_the_demo_ties_out(tmp_path: Path, seed: int) -> None:
    """For several seeds: the promised keys, a clean audit, a P&L that ties out, all of it read, and no file
    left.
    """
    found = demo(tmp_path, seed)
    assert set(found) >= {"seed", "days", "positions", "pnl", "funding", "equity"}
    assert (found["seed"], found["days"]) == (seed, 1)
    assert {row["coverage"] for row in found["pnl"]["rows"]} == {"complete"}
    assert not list(tmp_path.iterdir()), "the demo left files behind"


@pytest.mark.proof
def test_the_demo_decides_the_same_for_a_seed(tmp_path: Path) -> None:
    """Two runs over HTTP with one seed choose the same coins and sizes and receive the same funding."""
    runs = [demo(tmp_path, 1) for _ in range(2)]
    keys = ("position_id", "base", "spot_quantity", "perp_quantity", "funding_received")
    chosen = [[[item[key] for key in keys] for item in run["positions"]] for run in runs]
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) >= 1
