"""A venue that bans, whose clock is wrong, that takes contracts or coins at the worst moment, or says nothing
(families D, F and H), on every way.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from fundarb.core.records import BlockKind
from fundarb.sandbox.options import ClockKind, SandboxOptions
from tests.e2e.deeds import DEEDS, EMERGENCY, ENTRY, EXIT, NTH, PART, Deed, due, finished, grid
from tests.e2e.stage import CREATE, LOT, Stage

LISTS = {
    "positions": "/v5/position/list",
    "balance": "/v5/account/wallet-balance",
    "executions": "/v5/execution/list",
    "one order": "/v5/order/realtime",
}
LATER = "2026-01-06T00:00:00Z"


def asked(stage: Stage) -> int:
    """How many requests of the protocol the venue has seen."""
    return sum(row["path"].startswith("/v5/") for row in stage.truth()["requests"])


# -------------------------------------------------------------------------------------------------- D


@pytest.mark.parametrize("fraction", ["0.02", "0.4", "1"])
def test_d01_adl_of_any_size(stage: Stage, fraction: str) -> None:
    """D01: a sliver, a part, or the whole short: the coins follow, one alert, frozen; nothing the second
    time.
    """
    ENTRY.prepare(stage)
    assert ENTRY.do(stage).code == 0
    stage.world("adl", symbol="BTCUSDT", fraction=fraction)
    ran = stage.json("reconcile")
    assert ran.code == 0, ran.out
    assert abs(stage.coins() - stage.short()) <= 2 * LOT
    with stage.store() as store:
        assert store.blocks.get("BTC", BlockKind.FREEZE) is not None
    stage.healed("adl")


@pytest.mark.parametrize("deed", [EXIT, EMERGENCY], ids=str)
def test_d01_adl_before_a_close(stage: Stage, deed: Deed) -> None:
    """D01: deleveraged and nobody looked: a close sells all coins and buys back what is left, no more."""
    deed.prepare(stage)
    stage.world("adl", symbol="BTCUSDT", fraction="0.4")
    assert deed.do(stage).code == 0
    assert stage.short() == 0
    assert stage.coins() < LOT
    stage.healed("adl")


@pytest.mark.parametrize("fraction", ["0.1", "0.5"])
def test_d05_coins_of_any_size(stage: Stage, fraction: str) -> None:
    """D05: the venue sells coins to repay: its act, the perp follows, one alert."""
    ENTRY.prepare(stage)
    assert ENTRY.do(stage).code == 0
    stage.world("auto_repay", coin="BTC", fraction=fraction)
    assert stage.json("reconcile").code == 0
    assert abs(stage.coins() - stage.short()) <= max(LOT * 2, stage.short() / 50)
    stage.healed("coins_taken")


def test_d07_a_delisting_is_left_in_time(stage: Stage) -> None:
    """D07: announced for tomorrow: opens are refused, a close works, later starts work with the market
    gone.
    """
    ENTRY.prepare(stage)
    assert ENTRY.do(stage).code == 0
    stage.world("delist", symbol="BTCUSDT", at=LATER)
    assert stage.open("BTC", "400", "--add").code == 3
    assert EXIT.do(stage).code == 0
    assert stage.short() == 0
    stage.ask("POST", "/sandbox/clock", {"to": "2026-01-06T01:00:00Z"})
    assert stage.json("positions").code == 0
    assert stage.open("ETH", "200").code == 0
    stage.healed()  # a command refuses by what it sees; the watch of a daemon tells


# -------------------------------------------------------------------------------------------------- F


def test_f01_a_ban_is_kept_for_ten_minutes(stage: Stage) -> None:
    """F01: 403 access too frequent: no request of any command for ten minutes, exit 4 that says so; then a
    reconcile.
    """
    ENTRY.prepare(stage)
    assert ENTRY.do(stage).code == 0
    stage.fault("ban", match={"path": "/v5/position/list"}, seconds=600)
    assert stage.json("reconcile").code == 4
    seen = asked(stage)
    for words in (("reconcile",), ENTRY.words, EXIT.words, ("positions",), ("scan", "--symbol", "BTC")):
        ran = stage.json(*words)
        assert ran.code == 4, (words, ran.out)
    stage.advance("5m")
    assert stage.json("reconcile").code == 4
    assert asked(stage) == seen
    stage.advance("6m")
    assert stage.json("reconcile").code == 0
    stage.healed("ban")


@pytest.mark.parametrize(("deed", "nth"), grid(25, DEEDS, NTH))
def test_f01_a_ban_in_the_middle(stage: Stage, deed: Deed, nth: int) -> None:
    """F01: banned on any leg of any clip: silent for ten minutes, told if a leg is naked; when the ban is
    over the hedge is the first thing done.
    """
    deed.prepare(stage)
    stage.fault("ban", seconds=600, match={"nth": nth})
    ran = deed.do(stage)
    assert ran.code in {4, 5, 8}, ran.out
    assert "ban" in stage.alerts()
    stage.heal()
    stage.advance("11m")
    assert stage.json("reconcile").code == 0
    if deed.flat and stage.short():
        assert deed.do(stage).code == 0
    told = stage.alerts()
    assert sorted(told) == ["ban", "uncertain_order"]
    stage.healed(*told)
    assert abs(stage.coins() - stage.short()) <= 2 * LOT


@pytest.mark.parametrize("ms", [1500, -7000, 60_000])
@pytest.mark.parametrize("deed", [ENTRY, EXIT], ids=str)
def test_f03_a_clock_that_is_wrong(stage: Stage, deed: Deed, ms: int) -> None:
    """F03: the venue's clock is off before a command: nothing is opened and nothing sent for it; a close is
    signed by the measured time and goes through. The lease stays two seconds.
    """
    deed.prepare(stage)
    before = len(stage.truth()["orders"])
    stage.world("skew", ms=ms)
    ran = deed.do(stage)
    assert ran.code == (3 if deed is ENTRY else 0), ran.out
    if deed is ENTRY:
        assert "clock_offset" in ran.codes
        assert len(stage.truth()["orders"]) == before
        stage.world("skew", ms=0)
        assert deed.do(stage).code == 0
    stage.world("skew", ms=0)
    finished(stage, deed)


class RealStage(Stage):
    """The same on the machine's own clock."""

    def _options(self, port: int) -> SandboxOptions:
        return replace(super()._options(port), clock=ClockKind.REAL, start=None)


@pytest.mark.parametrize("ms", [300, 1500, -7000, 45_000])
def test_f03_on_the_real_clock(tmp_path: Path, ms: int) -> None:
    """F03 on the machine's clock: within the tolerated half second a position is opened, beyond it nothing
    is sent; a close goes through however wrong the clock is.
    """
    stage = RealStage(tmp_path / "home")
    stage.world("skew", ms=ms)
    ran = stage.open()
    assert ran.code == (0 if ms == 300 else 3), ran.out
    if ms != 300:
        assert "clock_offset" in ran.codes
        assert not stage.truth()["orders"]
        stage.world("skew", ms=0)
        assert stage.open().code == 0
        stage.world("skew", ms=ms)
    assert stage.close("BTC").code == 0
    assert stage.short() == 0
    assert stage.coins() < LOT
    stage.world("skew", ms=0)
    stage.healed()
    stage.stop()


def test_f03_a_clock_by_which_all_books_stand_still(tmp_path: Path) -> None:
    """F03 by so much that books seem older than any may be: an emergency closes all the same."""
    stage = RealStage(tmp_path / "home")
    assert stage.open().code == 0
    stage.world("skew", ms=90_000)
    assert stage.close("BTC", "--emergency").code == 0
    assert stage.short() == 0
    assert stage.coins() < LOT
    stage.world("skew", ms=0)
    stage.healed()
    stage.stop()


@pytest.mark.parametrize("ms", [1500, -7000])
@pytest.mark.parametrize("deed", [ENTRY, EXIT], ids=str)
def test_f03_a_clock_that_jumps_in_the_middle(stage: Stage, deed: Deed, ms: int) -> None:
    """F03: the clock jumps between the legs: a refusal by 10002 is definite, the clock is measured again, and
    the other leg follows; nothing is naked for long, nothing in doubt, so nobody is told anything.
    """
    deed.prepare(stage)
    stage.fault("delay", ms=300)
    creates = sum(row["path"] == CREATE for row in stage.truth()["requests"])

    def jump() -> None:
        while sum(row["path"] == CREATE for row in stage.truth()["requests"]) == creates:
            pass
        stage.world("skew", ms=ms)

    thread = threading.Thread(target=jump)
    thread.start()
    ran = deed.do(stage)
    thread.join()
    assert ran.code == 0, ran.out
    assert due(stage) == []
    stage.world("skew", ms=0)
    stage.advance("1m")
    assert stage.json("reconcile").code == 0
    finished(stage, deed)


@pytest.mark.parametrize(("deed", "name", "kind"), grid(21, DEEDS, LISTS, ("html", "empty", "null")))
def test_f11_garbage_in_the_middle_of_a_deed(stage: Stage, deed: Deed, name: str, kind: str) -> None:
    """F11: a list is garbage from the first order on: nothing is decided from it, both legs are equal once it
    is healed. An order whose fills nobody shows is in doubt: exit 5, told once; nothing else is told.
    """
    deed.prepare(stage)
    stage.fault("delay", ms=1, match={"nth": 1})
    stage.fault("body", kind=kind, match={"path": LISTS[name], "nth": 3, "times": 0})
    ran = deed.do(stage)
    doubted = name == "executions" and deed in {EXIT, EMERGENCY, PART}
    assert ran.code in ({5} if doubted else {0, 4}), ran.out
    told = ["uncertain_order"] if doubted else []
    assert stage.alerts() == told
    stage.heal()
    stage.advance("1m")
    assert stage.json("reconcile").code == 0
    if deed.flat and stage.short():
        assert deed.do(stage).code == 0
    stage.healed(*told)
    assert abs(stage.coins() - stage.short()) <= 2 * LOT


@pytest.mark.parametrize(
    ("name", "verb", "code", "told"),
    [
        ("positions", "loop_cursor", 0, []),
        ("positions", "drop_rows", 3, ["perp_size"]),
        ("executions", "loop_cursor", 0, []),
        ("executions", "drop_rows", 5, ["uncertain_order"]),
    ],
)
def test_f12_pages_while_a_deed_runs(stage: Stage, name: str, verb: str, code: int, told: list[str]) -> None:
    """F12: a cursor that loops, a row missing, while a position is closed: complete, or refused, or in doubt,
    and then told once; never more sold than there is.
    """
    EXIT.prepare(stage)
    stage.fault(verb, match={"path": LISTS[name], "times": 0})
    ran = EXIT.do(stage)
    assert ran.code == code, ran.out
    assert stage.alerts() == told
    stage.heal()
    stage.json("reconcile")
    if stage.short():
        assert EXIT.do(stage).code == 0
    stage.healed(*told)
    assert stage.coins() < LOT


# -------------------------------------------------------------------------------------------------- H


@pytest.mark.parametrize("side", ["Buy", "Sell"])
def test_h05_a_stranger_in_our_symbol(stage: Stage, side: str) -> None:
    """H05: a stranger holds contracts before we come, or adds while we hold: ours is what our link ids
    did.
    """
    stage.world("manual_order", category="linear", symbol="BTCUSDT", side=side, qty="0.005")
    ran = stage.open()
    assert ran.code == 3, ran.out
    assert [row for row in stage.truth()["orders"] if row["orderLinkId"].startswith("fa-")] == []
    assert stage.json("reconcile").code == 0
    assert stage.truth()["positions"][0]["size"] == "0.005"
