"""What the daemon costs: from start to its first decision, memory, how fast HALT works, and a simulated day
of the default jobs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.table import Row
from fundarb.app.sandboxes import SandboxPlan, sandbox_options
from fundarb.clock import SystemClock
from fundarb.errors import FundarbError
from fundarb.sandbox.server import start_process
from fundarb.store.blocks import Control
from fundarb.store.database import Store

PROGRAM = [sys.executable, "-c", "import sys; from fundarb.cli.main import main; sys.exit(main())"]
PATIENCE = 60.0


def run() -> Sequence[Row]:
    """The figures."""
    return [*real_time(), simulated_day()]


def real_time() -> list[Row]:
    """A daemon on the real clock, against a sandbox of its own."""
    running = start_process(sandbox_options(SandboxPlan(port=0, seed=1)))
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        database = home / "bench.sqlite3"
        begin = time.perf_counter()
        process = subprocess.Popen(
            [
                *PROGRAM,
                *("--venue", "sandbox", "--venue-url", running.url, "--mode", "live", "--live"),
                *("--db", f"sqlite:///{database}", "daemon"),
            ],
            env={**os.environ, "FUNDARB_HOME": folder},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            decided = until(lambda: has_decided(database)) - begin
            until(lambda: scanned(database))
            memory = peak_memory(process.pid)
            placed = time.perf_counter()
            (home / "HALT").touch()
            halted = until(lambda: is_halted(database)) - placed
            asked = time.perf_counter()
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)
            ended = time.perf_counter() - asked
        finally:
            process.kill()
            process.wait()
            running.stop()
    return [
        Row(
            name="daemon start to first decision",
            figure=decided,
            unit="s",
            target=3,
            note="a cold process to the first decision event",
        ),
        Row(name="daemon memory", figure=memory, unit="MB", target=220, note="peak, after its first round"),
        Row(name="HALT file to halt block", figure=halted, unit="s", target=1),
        Row(name="SIGTERM to end", figure=ended, unit="s", target=20),
    ]


def simulated_day() -> Row:
    """A day of the default jobs.toml: watch every 15 s, reconcile every minute, over HTTP."""
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        found = subprocess.run(
            [*PROGRAM, "--json", "daemon", "--simulate", "1d"],
            env={**os.environ, "FUNDARB_HOME": folder},
            capture_output=True,
            text=True,
            check=True,
        )
        took = time.perf_counter() - begin
    data = json.loads(found.stdout)["data"]
    return Row(
        name="simulated day of the default jobs",
        figure=took,
        unit="s",
        target=45,
        note=f"{data['positions_open']} positions held",
    )


def until(holds: Callable[[], bool]) -> float:
    """The time at which something holds."""
    deadline = time.perf_counter() + PATIENCE
    while time.perf_counter() < deadline:
        if holds():
            return time.perf_counter()
        time.sleep(0.01)
    raise RuntimeError("what the benchmark waits for never came")


def opened(database: Path) -> Store:
    """The daemon's database, for reading."""
    return Store.open(f"sqlite:///{database}", clock=SystemClock(), readonly=True)


def has_decided(database: Path) -> bool:
    """Whether there is a decision."""
    return _asks(database, lambda store: bool(store.events.last(1, kind="decision_made")))


def scanned(database: Path) -> bool:
    """Whether the first scan is over."""
    return _asks(
        database,
        lambda store: (run := store.jobs.last("scan-and-open")) is not None and run.finished_at is not None,
    )


def is_halted(database: Path) -> bool:
    """Whether the halt block is set."""
    return _asks(database, lambda store: store.blocks.control(SystemClock().now()) is Control.HALTED)


def _asks(database: Path, question: Callable[[Store], bool]) -> bool:
    if not database.exists():
        return False
    try:
        with opened(database) as store:
            return question(store)
    except FundarbError:  # the daemon is still making it
        return False


def peak_memory(pid: int) -> float:
    """The largest resident size of a process so far, in megabytes; zero where the system does not tell."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0.0
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    return int(lines["VmHWM"].split()[0]) / 1024
