"""A leg is naked and the venue's answers hang: no read may hold a hedge for longer than a second or so.

Times are by the machine's clock, over real HTTP; each answer would hang for ten seconds.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fundarb.clock import SystemClock
from tests.e2e.stage import CREATE, LOT, D, Ran, Stage

MACHINE = SystemClock()
HANGS = 10_000
FILLS, BOOK, WALLET, SIZES = (
    "/v5/execution/list",
    "/v5/market/orderbook",
    "/v5/account/wallet-balance",
    "/v5/position/list",
)
SOON = timedelta(seconds=5)
"""One patience of a second, the repetition, and a machine that is busy."""


def timed(stage: Stage, *words: str) -> tuple[Ran, timedelta]:
    """A command and how long it took."""
    began = MACHINE.monotonic()
    ran = stage.json(*words)
    return ran, MACHINE.monotonic() - began


def hang(stage: Stage, path: str, *, nth: int = 1, **match: Any) -> None:
    """One answer of a path hangs."""
    stage.fault("delay", ms=HANGS, match={"path": path, "nth": nth, **match})


def warm(stage: Stage) -> None:
    """What only the first command pays for is paid."""
    stage.json("scan", "--symbol", "BTC")
    assert stage.open("ETH").code == 0


@pytest.mark.parametrize("category", ["spot", "linear"])
def test_fills_that_hang_do_not_hold_the_other_leg(stage: Stage, category: str) -> None:
    """The first read of a leg's fills hangs: it is asked again after a second, and the position is hedged."""
    warm(stage)
    began = len(stage.truth()["requests"])
    assert stage.open("ETH", "400", "--add").code == 0
    rows = stage.truth()["requests"][began:]
    create = min(number for number, row in enumerate(rows) if row["path"] == CREATE)
    recovery = sum(row["path"] == FILLS for row in rows[:create]) // 2
    hang(stage, FILLS, nth=recovery + 1, category=category)
    ran, took = timed(stage, "open", "BTC", "--notional", "400", "--yes")
    assert ran.code == 0, ran.out
    assert took < SOON
    assert abs(stage.coins() - stage.short()) <= LOT
    stage.check()


@pytest.mark.parametrize("path", [BOOK, SIZES])
def test_a_correction_is_not_held_by_what_it_reads(stage: Stage, path: str) -> None:
    """The second leg fills nothing; what the corrections read hangs once: given back within seconds."""
    nothing: dict[str, Any] = {"fractions": ["0"] * 40, "match": {"category": "spot", "side": "Buy"}}
    began = len(stage.truth()["requests"])
    stage.fault("fill", **nothing)
    assert stage.open().code == 8
    rows = stage.truth()["requests"][began:]
    second = [number for number, row in enumerate(rows) if row["path"] == CREATE][1]
    until = sum(row["path"] == path for row in rows[:second])
    stage.heal()
    stage.advance("20m")
    stage.fault("fill", **nothing)
    hang(stage, path, nth=until + 1)
    ran, took = timed(stage, "open", "BTC", "--notional", "400", "--yes")
    assert ran.code == 8, ran.out
    assert took < SOON
    assert stage.short() == 0
    stage.heal()
    stage.check()


@pytest.mark.proof
def test_a_venue_that_is_merely_slow_is_understood(stage: Stage) -> None:
    """The first reads of fills take a second and a quarter: longer than the first patience, and hedged all
    the same.
    """
    stage.open("ETH")
    stage.fault("delay", ms=1250, match={"path": FILLS, "times": 8})
    ran = stage.open("BTC", "400")
    stage.heal()
    assert ran.code == 0, ran.out
    assert abs(D(ran.data["delta"])) <= LOT
    stage.check()
