"""Processes that die or are ended anywhere (families B and G): a real SIGKILL or SIGTERM at a crash point of
a real process over real HTTP, and a disk that is full.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from fundarb.crash import Point
from fundarb.errors import StateUnavailable
from fundarb.store.sqlite import Sqlite
from tests.cli.test_daemon import Place, sandbox
from tests.cli.test_daemon_hands import JOBS, ask, creates, writing
from tests.e2e.deeds import ENTRY, EXIT, NAKED, Deed, finished, grid
from tests.e2e.stage import CREATE, LIVE, LOT, Stage

PATIENCE = 20
PROGRAM = """
import os, signal, sys
from fundarb import crash

number, point, hit = int(sys.argv.pop(1)), sys.argv.pop(1), int(sys.argv.pop(1))

def strike():
    crash.disarm()
    os.write(2, b"struck\\n")
    os.kill(os.getpid(), number)

crash.arm(point, hit, strike=strike)
from fundarb.cli.main import main
sys.exit(main())
"""
DEEDS = (ENTRY, EXIT)
DEATHS = {
    "b01": ("intent.after_commit", 1),
    "b02": ("wire.after_send", 1),
    "b03": ("answer.before_commit", 1),
    "b04": ("legs.between", 1),
    "b05": ("ledger.between_entries", 1),
}


def struck(
    stage: Stage, repo_root: Path, number: signal.Signals, *, point: str, hit: int, words: tuple[str, ...]
) -> tuple[int, str]:
    """A command line that gets a signal at a crash point; its exit code and what it said."""
    place = ("--json", "--venue", "sandbox", "--venue-url", stage.url, *LIVE)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(int(number)), point, str(hit), *place, *words],
        env={**os.environ, "FUNDARB_HOME": str(stage.home), "PYTHONPATH": str(repo_root)},
        cwd=stage.home,
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE,
    )
    return done.returncode, done.stdout or done.stderr


def killed(stage: Stage, repo_root: Path, deed: Deed, *, ident: str, hit: int, dead: str = "0ms") -> None:
    """A deed that dies, and stays so for a while; the next start, without any clean-up by hand, finds
    everything.
    """
    deed.prepare(stage)
    point, first = DEATHS[ident]
    code, said = struck(stage, repo_root, signal.SIGKILL, point=point, hit=first + hit - 1, words=deed.words)
    assert code == -signal.SIGKILL, said
    stage.advance(dead)
    ran = stage.json("reconcile")
    assert ran.code == 0, ran.out
    finished(stage, deed)


@pytest.mark.parametrize(("deed", "hit"), grid(17, DEEDS, (1, 2)))
def test_b01_killed_after_the_intent(stage: Stage, repo_root: Path, deed: Deed, hit: int) -> None:
    """B01: the intent is committed, nothing was sent: ABSENT after its lease, or an aborted plan."""
    killed(stage, repo_root, deed, ident="b01", hit=hit)


@pytest.mark.parametrize(("deed", "hit"), grid(17, DEEDS, (1, 2)))
def test_b02_killed_after_the_send(stage: Stage, repo_root: Path, deed: Deed, hit: int) -> None:
    """B02: sent, the answer never read: adopted by its link id."""
    killed(stage, repo_root, deed, ident="b02", hit=hit)


@pytest.mark.parametrize(("deed", "hit"), grid(17, DEEDS, (1, 2)))
def test_b03_killed_before_the_answer_is_written(stage: Stage, repo_root: Path, deed: Deed, hit: int) -> None:
    """B03: acknowledged, and not yet written down."""
    killed(stage, repo_root, deed, ident="b03", hit=hit)


@pytest.mark.parametrize(("deed", "hit"), grid(13, DEEDS, (1, 2)))
def test_b04_killed_between_the_legs(stage: Stage, repo_root: Path, deed: Deed, hit: int) -> None:
    """B04: one leg done, the other never sent: the next start makes it neutral."""
    killed(stage, repo_root, deed, ident="b04", hit=hit)


@pytest.mark.parametrize(
    ("deed", "dead", "told"),
    [
        (ENTRY, "4s", []),
        pytest.param(ENTRY, "10m", [NAKED], marks=pytest.mark.proof),
        pytest.param(ENTRY, "38s", [NAKED], marks=pytest.mark.proof),
        pytest.param(EXIT, "4s", [], marks=pytest.mark.proof),
        pytest.param(EXIT, "38s", [NAKED], marks=pytest.mark.proof),
    ],
)
def test_b04_dead_for_a_while(stage: Stage, repo_root: Path, deed: Deed, dead: str, told: list[str]) -> None:
    """B04: nobody is there for a while after it: a known shortfall that outlasted ``t_hedge`` is told."""
    killed(stage, repo_root, deed, ident="b04", hit=1, dead=dead)
    assert stage.alerts() == told


@pytest.mark.parametrize(("deed", "hit"), grid(17, DEEDS, (1, 2)))
def test_b05_killed_in_the_middle_of_the_ledger(stage: Stage, repo_root: Path, deed: Deed, hit: int) -> None:
    """B05: between a journal and its entries: nothing of it, and all of it at the next start."""
    killed(stage, repo_root, deed, ident="b05", hit=hit)


@pytest.mark.parametrize(
    "point", [pytest.param("unwind.before_first", marks=pytest.mark.proof), "unwind.between"]
)
def test_b06_killed_in_the_middle_of_an_unwind(stage: Stage, repo_root: Path, point: str) -> None:
    """B06: the second leg never fills, the first is being given back, and the process dies."""
    for category in ("spot", "linear"):
        stage.fault("fill", fractions=["0"], match={"times": 0, "category": category, "side": "Buy"})
    code, said = struck(stage, repo_root, signal.SIGKILL, point=point, hit=1, words=ENTRY.words)
    assert code == -signal.SIGKILL, said
    stage.heal()
    ran = stage.json("reconcile")
    assert ran.code == 0, ran.out
    stage.healed()


def test_b11_killed_while_holding_the_lock(stage: Stage, repo_root: Path) -> None:
    """B11: the lock's file stays behind; the next writer needs no clean-up and no waiting."""
    code, said = struck(
        stage, repo_root, signal.SIGKILL, point="lock.after_acquire", hit=1, words=ENTRY.words
    )
    assert code == -signal.SIGKILL, said
    code, said = struck(
        stage, repo_root, signal.SIGKILL, point="epoch.after_commit", hit=1, words=ENTRY.words
    )
    assert code == -signal.SIGKILL, said
    ran = stage.json(*ENTRY.words, "--lock-wait", "0s")
    assert ran.code == 0, ran.out
    stage.healed()


# ------------------------------------------------------------------------------------------------- G


class FullDisk:
    """From the n-th commit on there is no room."""

    def __init__(self, number: int) -> None:
        """Count down from ``number``."""
        self.left = number
        self._real = Sqlite.commit_immediate

    def commit(self, database: Sqlite) -> None:
        """A commit, or what becomes of one on a full disk."""
        self.left -= 1
        if self.left <= 0:
            database.rollback_immediate()
            raise StateUnavailable("the disk is full")
        self._real(database)


@pytest.mark.parametrize(("deed", "number"), grid(48, DEEDS, range(1, 40)))
def test_g01_a_disk_that_is_full(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, deed: Deed, number: int
) -> None:
    """G01: the n-th commit fails: no order without its row, it is said and no traceback, with code 5 and the
    position's name where a leg may be live or naked; once there is room again the next start finds all.
    """
    deed.prepare(stage)
    disk = FullDisk(number)

    def commit(database: Sqlite) -> None:
        disk.commit(database)

    with monkeypatch.context() as patch:
        patch.setattr(Sqlite, "commit_immediate", commit)
        ran = stage.json(*deed.words)
    if disk.left <= 0:
        naked = abs(stage.coins() - stage.short()) > LOT
        assert ran.code in ({5} if naked else {5, 6}), ran.out
        assert ran.envelope["error"]["message"]
        assert not naked or "(BTC) is " in ran.envelope["error"]["message"]
    links = {row["orderLinkId"] for row in stage.truth()["orders"]}
    if links:
        with stage.store() as store:
            assert all(store.intents.find(link) is not None for link in links)
    assert stage.json("reconcile").code == 0
    finished(stage, deed)


QUICK = frozenset({"wire.after_send", "legs.between"})
ON_THE_WAY = (
    *("position.after_commit", "intent.before_commit", "intent.after_commit", "wire.before_gate"),
    *(
        "wire.before_send",
        "wire.after_send",
        "answer.before_commit",
        "fill.before_commit",
        "fill.after_commit",
    ),
    *("ledger.between_entries", "legs.between", "state.after_commit", "rest.before_commit"),
    *("cursor.after_commit", "commit.before", "wire.before_write", "wire.after_write"),
)


@pytest.mark.parametrize(
    "point", [pytest.param(name, marks=() if name in QUICK else pytest.mark.proof) for name in ON_THE_WAY]
)
def test_g08_a_command_that_is_asked_to_end(stage: Stage, repo_root: Path, point: str) -> None:
    """G08: SIGTERM at a crash point: the step under way is finished, nothing is begun, out in time."""
    assert point in set(Point)
    code, said = struck(stage, repo_root, signal.SIGTERM, point=point, hit=1, words=ENTRY.words)
    assert code in {0, 130}, said
    finished(stage, ENTRY)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A sandbox on the real clock and an empty home for a daemon."""
    running = sandbox(seed=1)
    made = Place(running.url, tmp_path / "home")
    yield made
    made.end()
    running.stop()


@pytest.mark.xdist_group("daemon")
@pytest.mark.parametrize(
    "point",
    [
        pytest.param(name, marks=() if name == "wire.after_send" else pytest.mark.proof)
        for name in (
            "wire.after_send",
            "intent.after_commit",
            "legs.between",
            "commit.before",
            "cursor.after_commit",
        )
    ],
)
def test_g08_a_daemon_that_is_asked_to_end(place: Place, point: str) -> None:
    """G08: SIGTERM at a crash point of a daemon at work: out within twenty seconds, in order; books and venue
    agree afterwards.
    """
    words = [sys.executable, "-c", PROGRAM, str(int(signal.SIGTERM)), point, "1"]
    process = subprocess.Popen(
        [*words, *place.words[3:], "daemon"],
        env=place.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    place.running.append(process)
    assert process.stderr is not None
    begun = list(takewhile(lambda line: line != "struck\n", process.stderr))  # then it is asked to end
    code = process.wait(timeout=PATIENCE)
    assert code == 0, "".join([*begun, process.stderr.read()])
    found: dict[str, Any] = place.json("reconcile")
    assert found["error"] is None, json.dumps(found)
    assert found["data"]["clean"]
    assert place.json("audit")["data"]["clean"]


# ------------------------------------------------------------------------------------------------- H


@pytest.mark.xdist_group("daemon")
def test_h07_commands_with_lost_answers_beside_a_daemon(place: Place, tmp_path: Path) -> None:
    """H07: opens, an addition and a close while a daemon trades, each with one answer lost on either leg:
    queued, executed once by the daemon, adopted; the daemon lives on.
    """
    (tmp_path / "jobs.toml").write_text(JOBS, encoding="utf-8")
    process = place.daemon("--jobs", str(tmp_path / "jobs.toml"))
    place.until(partial(writing, process.pid))
    for number, words in enumerate(
        (
            ("open", "ETH", "--notional", "300", "--yes"),
            ("open", "ETH", "--notional", "200", "--add", "--yes"),
            ("open", "BTC", "--notional", "300", "--yes"),
            ("close", "ETH", "--yes"),
            ("close", "BTC", "--emergency", "--yes"),
        )
    ):
        match = {"path": CREATE, "nth": 1 + number % 2}
        lost = {"verb": "apply_then_lose", "how": ("close", "reset")[number % 2]}
        ask(place, "/sandbox/faults", {"match": match, "do": lost})
        ran = place.json(*words)
        assert ran["error"] is None, ran
    sent = creates(place)
    assert len(sent) == len(set(sent)) == 10
    assert place.json("reconcile")["data"]["clean"]
    assert place.json("audit")["data"]["clean"]
    assert place.json("status")["data"]["positions_open"] == 0
    assert process.poll() is None
