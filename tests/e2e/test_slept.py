"""A process that slept with an order in its hand (SIGSTOP, a suspended laptop): it sends nothing that the
venue could still admit.

On the real clock: three seconds are longer than the lease of two.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fundarb.core.states import IntentState
from fundarb.sandbox.options import ClockKind, SandboxOptions
from tests.e2e.stage import CREATE, LIVE, LOT, Stage

WAIT = 30
SLEEP = 3
PROGRAM = """
import os, signal, sys
from fundarb.exchange import wire
from fundarb.store import transaction

name, left = sys.argv.pop(1), [int(sys.argv.pop(1))]

def sleepy(real):
    def reached(point):
        real(point)
        if point == name:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGSTOP)
    return reached

wire.reached, transaction.reached = sleepy(wire.reached), sleepy(transaction.reached)
from fundarb.cli.main import main
sys.exit(main())
"""


class RealStage(Stage):
    """A stage on which time passes by itself."""

    def _options(self, port: int) -> SandboxOptions:
        return replace(super()._options(port), clock=ClockKind.REAL, start=None)


@pytest.fixture
def awake(tmp_path: Path) -> Iterator[RealStage]:
    """A sandbox on the real clock."""
    made = RealStage(tmp_path / "home")
    yield made
    made.stop()


def slept(stage: Stage, repo_root: Path, point: str, *, hit: int) -> tuple[int, str]:
    """Open, but sleep at a point in the middle of it; exit code and envelope."""
    place = ("--json", "--venue", "sandbox", "--venue-url", stage.url, *LIVE)
    words = (point, str(hit), *place, "open", "BTC", "--notional", "400", "--yes")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "FUNDARB_HOME": str(stage.home), "PYTHONPATH": str(repo_root)},
        cwd=stage.home,
    )
    try:
        stopped(process.pid)
        time.sleep(SLEEP)  # noqa: TID251 - another process sleeps
        process.send_signal(signal.SIGCONT)
        out, _ = process.communicate(timeout=WAIT)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    return process.returncode, out


def stopped(pid: int) -> None:
    """Wait until a process has stopped itself."""
    deadline = time.monotonic() + WAIT  # noqa: TID251 - another process is waited for
    while os.waitpid(pid, os.WNOHANG | os.WUNTRACED) == (0, 0):
        assert time.monotonic() < deadline, "it never came to the point"  # noqa: TID251 - as above
        time.sleep(0.01)  # noqa: TID251 - as above


@pytest.mark.parametrize(
    ("point", "hit"),
    [
        ("wire.before_send", 2),
        pytest.param("intent.after_commit", 1, marks=pytest.mark.proof),
        pytest.param("wire.before_gate", 2, marks=pytest.mark.proof),
        pytest.param("wire.before_send", 1, marks=pytest.mark.proof),
    ],
)
def test_what_was_slept_over_never_becomes_an_order(
    awake: RealStage, repo_root: Path, point: str, hit: int
) -> None:
    """Before the gate nothing is sent at all; asleep between the gate's word and the write, the lease has run
    out and the venue refuses. A leg that was naked meanwhile is hedged by a new order.
    """
    _, out = slept(awake, repo_root, point, hit=hit)
    assert json.loads(out)["data"] is None or "state" in json.loads(out)["data"]
    truth = awake.truth()
    with awake.store() as store:
        (position,) = store.positions.all()
        orders = store.intents.of_position(position.position_id)
    late = orders[hit - 1]
    assert late.state is IntentState.REFUSED, late
    assert late.link_id not in {row["orderLinkId"] for row in truth["orders"]}
    sent = [row for row in truth["requests"] if row["path"] == CREATE and row["link_id"] == late.link_id]
    assert len(sent) == (point == "wire.before_send")
    assert late.code == (10002 if sent else None)
    awake.check()
    assert abs(awake.coins() - awake.short()) <= LOT
