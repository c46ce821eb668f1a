"""A venue that goes away and comes back, and a process that is interrupted: exit codes, what the book is, and
that nothing is lost.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stage import CREATE, LIVE, LOT, Stage

WAIT = 20


def until(condition: Callable[[], object]) -> None:
    """Look again until it holds."""
    deadline = time.monotonic() + WAIT  # noqa: TID251 - another process is waited for
    while not condition():
        assert time.monotonic() < deadline, "it never happened"  # noqa: TID251 - as above
        time.sleep(0.01)  # noqa: TID251 - as above


def creates(stage: Stage) -> int:
    """How many creates the venue has seen."""
    return sum(row["path"] == CREATE for row in stage.running.house.log.rows())  # type: ignore[union-attr]


def test_a_venue_that_is_away(stage: Stage) -> None:
    """Nothing can be read: exit 4 for each command, nothing changed; a dry run and a report without a
    database included.
    """
    assert stage.open().code == 0
    stage.stop()
    for words in (
        ("open", "ETH", "--notional", "400", "--yes"),
        ("open", "ETH", "--notional", "400", "--dry-run"),
        ("close", "BTC", "--yes"),
        ("reconcile",),
        ("positions",),
    ):
        ran = stage.json(*words)
        assert ran.code == 4, (words, ran.out)
        assert ran.envelope["error"]["kind"] == "unavailable"
    stage.come_back()
    stage.check()


@pytest.mark.parametrize("closing", [False, True], ids=["open", "close"])
def test_a_venue_that_dies_between_the_legs(stage: Stage, closing: bool) -> None:
    """The second create never gets an answer, and the venue is gone: exit 5, the order is named and
    `reconcile` too; while it is away exit 4 names what is unfinished; once it is back everything is found and
    hedged.
    """
    if closing:
        assert stage.open().code == 0
    stage.fault("drop_request", how="hang", match={"nth": 2})
    before = creates(stage)

    def die() -> None:
        until(lambda: creates(stage) >= before + 2)
        stage.stop()

    killer = threading.Thread(target=die)
    killer.start()
    ran = stage.close() if closing else stage.open()
    killer.join()
    assert ran.code == 5, ran.out
    assert ran.envelope["error"]["kind"] == "outcome_uncertain"
    assert "reconcile" in ran.envelope["error"]["message"]
    assert ran.data, ran.out
    assert ran.data["state"] in {"UNCERTAIN", "CHANGING", "OPENING", "REPAIRING"}
    away = stage.json("reconcile")
    assert away.code == 4
    assert "unfinished from before" in away.envelope["error"]["message"]
    stage.come_back()
    stage.json("reconcile")
    stage.check()
    assert abs(stage.coins() - stage.short()) <= 2 * LOT


def test_a_venue_that_is_gone_before_the_second_leg(stage: Stage) -> None:
    """The connection is refused right after the first fill: exit 5 or 8 says what the book is; later it is
    hedged or given back.
    """
    stage.fault("delay", ms=400)

    def die() -> None:
        until(lambda: creates(stage) >= 1)
        stage.stop()

    killer = threading.Thread(target=die)
    killer.start()
    ran = stage.open()
    killer.join()
    assert ran.code in {5, 8}, ran.out
    assert ran.envelope["error"]["message"]
    stage.come_back()
    stage.json("reconcile")
    stage.check()


# ------------------------------------------------------------------------------------------ processes


PROGRAM = "import sys; from fundarb.cli.main import main; sys.exit(main())"
Spawn = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def spawn(stage: Stage, repo_root: Path) -> Iterator[Spawn]:
    """Start command lines in processes of their own; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        place = ("--json", "--venue", "sandbox", "--venue-url", stage.url, *LIVE)
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *place, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "FUNDARB_HOME": str(stage.home), "PYTHONPATH": str(repo_root)},
            cwd=stage.home,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    """Exit code, envelope, stderr."""
    out, err = process.communicate(timeout=WAIT)
    return process.returncode, json.loads(out), err


def test_the_first_interrupt_finishes_the_clip(stage: Stage, spawn: Spawn) -> None:
    """Ctrl-C between the legs of the first of two clips: the second leg is done, no further clip is begun,
    exit 130 with the book.
    """
    stage.fault("delay", ms=800)
    process = spawn("open", "BTC", "--notional", "900", "--yes")
    until(lambda: creates(stage) == 1)
    process.send_signal(signal.SIGINT)
    code, envelope, err = ended(process)
    assert code == 130, envelope
    assert envelope["error"]["kind"] == "interrupted"
    assert envelope["data"]["state"] == "HEDGED"
    assert "finishing the step" in err
    assert creates(stage) == 2
    assert abs(stage.coins() - stage.short()) <= LOT
    stage.check()


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.proof)])
def test_the_second_interrupt_ends_at_once(stage: Stage, spawn: Spawn, number: signal.Signals) -> None:
    """Twice Ctrl-C (or one SIGKILL) while the second leg's answer is awaited: the process is gone at once,
    says what may be live where it still can, and the next start finds and hedges everything.
    """
    stage.fault("apply_then_lose", how="hang", match={"nth": 2})
    process = spawn("open", "BTC", "--notional", "400", "--yes")
    until(lambda: creates(stage) == 2)
    process.send_signal(number)
    if number is signal.SIGINT:
        assert process.stderr is not None
        assert "once more" in process.stderr.readline()
        process.send_signal(number)
        code, envelope, _ = ended(process)
        assert code == 130
        assert envelope["error"]["kind"] == "interrupted"
        message = envelope["error"]["message"]
        assert all(word in message for word in ("(BTC) is OPENING", "002 (", "in flight", "reconcile"))
    else:
        process.communicate(timeout=WAIT)
    ran = stage.json("reconcile")
    assert ran.code == 0, ran.out
    assert [order["state"] for order in ran.data["resolved"]] == ["DONE"]
    stage.check()


def test_two_commands_at_once(stage: Stage, spawn: Spawn) -> None:
    """Two opens of two coins at the same moment: one waits for the other, both succeed, nothing is mixed
    up.
    """
    both = [
        spawn("open", base, "--notional", "400", "--yes", "--lock-wait", "20s") for base in ("BTC", "ETH")
    ]
    for process in both:
        code, envelope, _ = ended(process)
        assert code == 0, envelope
    held = {item["base"] for item in stage.json("positions").data["positions"]}
    assert held == {"BTC", "ETH"}
    stage.check()
