"""Two daemons, and a person's commands beside one: H01 and H07, with real processes on a real clock."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_daemon import Place, sandbox

JOBS = """
[[job]]
name = "reconcile"
run = "reconcile"
trigger = "interval"
every = "1h"
[[job]]
name = "watch"
run = "watch"
trigger = "interval"
every = "1h"
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A sandbox, an empty home, and a daemon whose jobs leave the account alone."""
    running = sandbox(seed=1)
    made = Place(running.url, tmp_path / "home")
    (tmp_path / "jobs.toml").write_text(JOBS, encoding="utf-8")
    yield made
    made.end()
    running.stop()


def ask(place: Place, path: str, body: object = None) -> Any:
    """One question to the control API."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(place.url + path, data, {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own sandbox
        return json.loads(answer.read())


def writing(pid: int, data: dict[str, Any]) -> bool:
    """Whether this process is the writer and listens."""
    return data["writer"] is not None and bool(data["writer"]["pid"] == pid)


def creates(place: Place) -> list[str]:
    """The link ids of every create the venue saw."""
    rows = ask(place, "/sandbox/truth")["requests"]
    return [row["link_id"] for row in rows if row["path"] == "/v5/order/create"]


@pytest.mark.proof
def test_h01_h07_commands_beside_a_daemon(place: Place, tmp_path: Path) -> None:
    """H01: a second daemon ends with 7 and names the first, which goes on. H07: an ``open`` is queued and
    executed once; a ``resolve`` answers through the same row.
    """
    first = place.daemon("--jobs", str(tmp_path / "jobs.toml"))
    place.until(partial(writing, first.pid))
    second = place.run("daemon")
    assert second.exit_code == 7
    assert str(first.pid) in second.stderr
    assert first.poll() is None

    opened = place.json("open", "ETH", "--notional", "300", "--yes")
    assert opened["error"] is None, opened
    assert opened["data"]["state"] == "HEDGED"
    sent = creates(place)
    assert len(sent) == len(set(sent)) == len(opened["data"]["orders"])

    ask(place, "/sandbox/world", {"verb": "manual_close", "symbol": "ETHUSDT"})
    asked = place.json("reconcile")
    assert [row["id"] for row in asked["data"]["mismatches"]] == ["perp_size:ETHUSDT"]
    answered = place.json("resolve", "perp_size:ETHUSDT", "--unwind")
    assert answered["error"] is None, answered
    assert answered["data"]["settled"]
    assert answered["data"]["repaired"][-1]["state"] == "CLOSED"
    wrong = place.run("resolve", "perp_size:ETHUSDT", "--unwind")
    assert wrong.exit_code == 2
    assert place.json("reconcile")["data"]["clean"]
    assert place.json("audit")["data"]["clean"]
    assert first.poll() is None
