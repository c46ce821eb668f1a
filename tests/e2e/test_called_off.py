"""An open that still waits for a writer when a person closes in an emergency: it is never executed."""

from __future__ import annotations

import json

import pytest

from fundarb.clock import SystemClock
from fundarb.core.records import CommandState
from fundarb.store.database import Store
from fundarb.store.files import url_of
from tests.e2e.stage import Stage

EMERGENCIES = {
    "close": ("close", "--all", "--emergency", "--yes"),
    "flatten": ("flatten", "--all", "--yes"),
    "close one": ("close", "BTC", "--emergency", "--yes"),
    "flatten one": ("flatten", "BTC", "--yes"),
}


def waiting_open(stage: Stage, base: str) -> int:
    """An open that was handed to a daemon which died before it took it; the number of its row."""
    arguments = json.dumps({"base": base, "notional": "400", "add": base == "BTC"})
    with Store.open(url_of(stage.database), clock=SystemClock()) as store:
        return store.commands.add("open", arguments, at=SystemClock().now())


def state(stage: Stage, number: int) -> CommandState:
    """What became of a row."""
    with stage.store() as store:
        return store.commands.get(number).state


@pytest.mark.parametrize("name", EMERGENCIES)
def test_an_emergency_calls_off_the_opens_that_wait(stage: Stage, name: str) -> None:
    """H07: the emergency ends the open of a coin that it closes as not executed, and says so; the open of
    another coin goes on waiting where only one is closed.
    """
    assert stage.open().code == 0
    same, other = waiting_open(stage, "BTC"), waiting_open(stage, "ETH")
    ran = stage.json(*EMERGENCIES[name])
    assert ran.code == 0, ran.out
    assert "called_off" in {warning["code"] for warning in ran.envelope["warnings"]}
    assert state(stage, same) is CommandState.FAILED
    assert state(stage, other) is (CommandState.WAITING if "one" in name else CommandState.FAILED)
    with stage.store() as store:
        row = store.commands.get(same)
        told = [json.loads(event.payload) for event in store.events.after(0, 999, kind="command_finished")]
    assert row.exit_code == 4
    assert "not executed" in row.result
    assert same in {item["command_id"] for item in told}


@pytest.mark.parametrize(
    ("words", "told"),
    [(("close", "BTC", "--yes"), ["set_aside"]), (("reconcile",), [])],
    ids=["close", "reconcile"],
)
def test_what_is_no_emergency_calls_nothing_off(
    stage: Stage, words: tuple[str, ...], told: list[str]
) -> None:
    """A plain close speaks of the opens of jobs alone."""
    assert stage.open().code == 0
    number = waiting_open(stage, "BTC")
    ran = stage.json(*words)
    assert ran.code == 0, ran.out
    assert [item["code"] for item in ran.envelope["warnings"]] == told
    assert state(stage, number) is CommandState.WAITING
