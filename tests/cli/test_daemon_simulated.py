"""A simulation as the process that it is: lived through twice, commanded from beside, ended by a signal."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from fundarb.app.worlds import START
from fundarb.clock import SystemClock
from tests.cli.test_daemon import LONGEST_END, PROGRAM, SECOND, Place, sandbox, terminated
from tests.cli.test_daemon_hands import creates, writing

pytestmark = pytest.mark.xdist_group("daemon")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A sandbox on a virtual clock and an empty home."""
    running = sandbox(seed=1, virtual=True, start=START)
    made = Place(running.url, tmp_path / "home")
    yield made
    made.end()
    running.stop()


@pytest.mark.proof
def test_a_second_simulation_draws_other_ids(place: Place) -> None:
    """Simulated, closed and simulated again, on one database and with one seed: no position and no order has
    the id of an earlier one, the books are clean, and what is told of the second time is its own.
    """
    first = place.json("daemon", "--simulate", "5m")
    assert first["data"]["positions_open"] >= 1
    assert place.run("flatten", "--all", "--yes").exit_code == 0
    assert place.json("resume")["data"]["control"] == "RUNNING"
    second = place.json("daemon", "--simulate", "5m")
    assert second["error"] is None, second
    assert second["data"]["positions"] > first["data"]["positions"]
    sent = creates(place)
    assert len(sent) == len(set(sent))
    assert place.json("audit")["data"]["clean"]
    report = place.json("report", "pnl", "--since", second["data"]["from"])["data"]
    for name in ("equity_start", "equity_end"):
        assert second["data"][name] == report["tie_out"][name]
    assert second["data"]["net"] == report["total"]["net"]
    assert second["data"]["equity_start"] != first["data"]["equity_start"]


@pytest.mark.proof
def test_commands_beside_a_simulation(place: Place) -> None:
    """A simulation is a writer like a daemon: it lives by the machine's clock, a command given beside it is
    executed once, a second daemon is refused, and SIGTERM ends it in order.
    """
    shy = ("--config", str(_no_opens(place)))
    process = place.start(*place.words[len(PROGRAM) :], *shy, "daemon", "--simulate", "90d")
    status = place.until(partial(writing, process.pid))
    assert float(status["writer"]["heartbeat_age"]) < 10
    assert status["writer"]["holder"] == "daemon"
    opened = place.json("open", "LTC", "--notional", "200", "--yes")
    assert opened["error"] is None, opened
    assert opened["data"]["state"] == "HEDGED"
    sent = creates(place)
    assert len(sent) == len(set(sent)) == len(opened["data"]["orders"])
    assert place.json("pause")["data"]["control"] == "PAUSED"
    second = place.run("daemon", "--simulate", "1h")
    assert second.exit_code == 7
    assert re.search(r"last sign of life \d s ago", second.stderr), second.stderr
    code, messages = terminated(process)
    assert code == 0, messages
    assert "ended by SIGTERM" in messages
    after = place.json("status")["data"]
    assert after["writer"] is None
    assert place.json("audit")["data"]["clean"]


def _no_opens(place: Place) -> Path:
    """Settings under which the strategy opens nothing by itself."""
    file = place.home.parent / "shy.toml"
    file.write_text('[strategy]\nmin_net_apr = "900%"\n', encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), pytest.param(signal.SIGINT, 130, marks=pytest.mark.proof)]
)
def test_a_simulation_in_a_world_of_its_own_ends_in_order(tmp_path: Path, number: int, code: int) -> None:
    """The step under way is finished, what was lived through is told, and the world ends with it."""
    alone = Place("", tmp_path / "home")
    process = alone.start("--json", "daemon", "--simulate", "90d")
    clock = SystemClock()
    deadline = clock.monotonic() + 20 * SECOND
    while not list(alone.home.glob("simulations/*/*.sqlite3")) and clock.monotonic() < deadline:
        clock.sleep(SECOND / 20)
    clock.sleep(SECOND)
    try:
        process.send_signal(number)
        answer, _ = process.communicate(timeout=LONGEST_END)
        assert process.returncode == code
        data = json.loads(answer)["data"]
        assert data["ended"] == signal.Signals(number).name
        assert data["until"] < "2026-03-01"
    finally:
        alone.end()
