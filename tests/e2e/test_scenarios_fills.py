"""Orders that trade in part, at other fees, in other steps, under other names (family C), on every way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fundarb.core.records import BlockKind
from fundarb.sandbox.options import SandboxOptions
from tests.e2e.deeds import ADDITION, DEEDS, EMERGENCY, ENTRY, EXIT, NTH, PART, Deed, due, finished, grid
from tests.e2e.stage import LOT, Market, Ran, Stage, toy_market
from tests.venue.toy import coin, perp, spot

D = Decimal
SECOND_LEG = {ENTRY: "spot", ADDITION: "spot", EXIT: "linear", EMERGENCY: "linear", PART: "linear"}
PARTS = ("0.37", "0.01", "0.999")
EXECUTIONS, LOG = "/v5/execution/list", "/v5/account/transaction-log"


def orders(ran: Ran) -> list[dict[str, Any]]:
    """The orders of a deed."""
    found: list[dict[str, Any]] = ran.data["orders"]
    return found


@pytest.mark.parametrize(("deed", "part", "nth"), grid(29, DEEDS, PARTS, NTH))
def test_c01_a_leg_fills_a_part(stage: Stage, deed: Deed, part: str, nth: int) -> None:
    """C01: a part of any leg of any clip: the other leg follows what was executed."""
    deed.prepare(stage)
    stage.fault("fill", fractions=[part], match={"nth": nth})
    ran = deed.do(stage)
    assert ran.code in {0, 8}, ran.out
    finished(stage, deed)


@pytest.mark.parametrize(("deed", "category"), grid(13, DEEDS, ("spot", "linear")))
def test_c02_a_leg_fills_three_times_a_part(stage: Stage, deed: Deed, category: str) -> None:
    """C02: 60 % three times: topped up to one lot, bounded, then trimmed."""
    deed.prepare(stage)
    held = len(stage.truth()["orders"])
    stage.fault("fill", fractions=["0.6", "0.6", "0.6"], match={"category": category})
    ran = deed.do(stage)
    assert ran.code in {0, 8}, ran.out
    assert sum(order["purpose"] == "top_up" for order in orders(ran)) <= 3
    assert len(stage.truth()["orders"]) - held <= 12
    finished(stage, deed)


@pytest.mark.parametrize("deed", DEEDS, ids=str)
def test_c03_the_other_leg_never_fills(stage: Stage, deed: Deed) -> None:
    """C03: given back or bought back within ``t_hedge``; an entry cools the coin down; no loop: the next look
    sends nothing for what is hedged.
    """
    deed.prepare(stage)
    held, before = len(stage.truth()["orders"]), stage.truth()["now"]
    side = {"side": "Buy"}
    stage.fault("fill", fractions=["0"], match={"category": SECOND_LEG[deed], "times": 0, **side})
    ran = deed.do(stage)
    assert ran.code == 8, ran.out
    assert stage.truth()["now"] - before < 12_000
    assert len(stage.truth()["orders"]) - held <= 20
    assert due(stage) == []  # a leg that was given back in time is told by an event, not by an alert
    stage.heal()
    assert stage.json("reconcile").code == 0
    if deed in {ENTRY, ADDITION}:
        with stage.store() as store:
            assert store.blocks.get("BTC", BlockKind.COOL_DOWN) is not None
        assert "block_cool_down" in stage.open("BTC", "100", *deed.words[5:]).codes
    elif deed.flat and stage.short():
        assert deed.do(stage).code == 0
    stage.healed()
    assert abs(stage.coins() - stage.short()) <= 2 * LOT


FEES = {
    "a tenth of a percent": {"taker": "0.001"},
    "the dearest": {"taker": "0.0018"},
    "none": {"taker": "0"},
    "in another coin": {"mnt": True},
}


@pytest.mark.parametrize("fees", FEES.values(), ids=FEES)
def test_c04_fees_of_every_kind(stage: Stage, fees: dict[str, Any]) -> None:
    """C04: hedged to one lot whatever the coin and rate of the fee, also when it changes while the position
    is held; a sale never exceeds what is free.
    """
    stage.world("transfer", coin="MNT", amount="500")
    stage.world("fees", category="spot", **fees)
    ADDITION.prepare(stage)
    for deed in (ADDITION, PART):
        ran = deed.do(stage)
        assert ran.code == 0, ran.out
        assert abs(stage.coins() - stage.short()) <= LOT
        stage.world("fees", category="spot", taker="0.0005", mnt=False)
    assert EXIT.do(stage).code == 0
    stage.healed()
    spot_orders = [row for row in stage.truth()["orders"] if row["category"] == "spot"]
    sold = sum(D(row["cumExecQty"]) for row in spot_orders if row["side"] == "Sell")
    bought = sum(D(row["cumExecQty"]) for row in spot_orders if row["side"] == "Buy")
    assert bought * D("0.998") <= sold <= bought
    assert stage.coins() < LOT


STEPS = {
    "1 against 0.01": ("1", "0.01", "1"),
    "100 against 0.1": ("100", "0.1", "0.01"),
    "0.001 against a millionth": ("0.001", "0.000001", "100"),
    "the spot steps are the coarser ones": ("1", "5000", "0.1"),
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_c07_steps_of_every_size(stage: Stage, steps: tuple[str, str, str]) -> None:
    """C07: in, more, half out and out again: hedged to one lot each time, the rest is dust of less than
    one lot, and the next entry uses it.
    """
    contracts, coins, factor = steps
    stage.world("jump", symbol="1000PEPEUSDT", factor=factor)
    least = {"qtyStep": contracts, "minOrderQty": contracts}
    stage.world("filters", category="linear", symbol="1000PEPEUSDT", fields=least)
    stage.world("filters", category="spot", symbol="PEPEUSDT", fields={"basePrecision": coins})
    lot = max(D(contracts) * 1000, D(coins))
    ENTRY.prepare(stage)
    for words in (
        ("open", "PEPE", "--notional", "900", "--yes"),
        ("open", "PEPE", "--notional", "400", "--add", "--yes"),
        ("close", "PEPE", "--fraction", "50%", "--yes"),
        ("close", "PEPE", "--yes"),
        ("open", "PEPE", "--notional", "500", "--yes"),
        ("close", "PEPE", "--yes"),
    ):
        ran = stage.json(*words)
        assert ran.code == 0, ran.out
        short = stage.short("1000PEPEUSDT")
        assert short % D(contracts) == 0
        assert abs(stage.coins("PEPE") - 1000 * short) < lot + D(coins), words
    with stage.store() as store:
        assert store.ledger.dust("PEPE").quantity == stage.coins("PEPE") < lot
    stage.healed(lot=lot)


@pytest.mark.parametrize("deed", DEEDS, ids=str)
def test_c09_rows_twice_reordered_and_split(stage: Stage, deed: Deed) -> None:
    """C09: on every way: every list of executions and log rows twice, reordered, in small pages: one effect
    each.
    """
    for path in (EXECUTIONS, LOG):
        for verb in ("duplicate_rows", "reorder"):
            stage.fault(verb, match={"path": path, "times": 0})
    deed.prepare(stage)
    stage.fault("fill", fractions=["0.4", "1", "0.7"])
    ran = deed.do(stage)
    assert ran.code in {0, 8}, ran.out
    assert stage.json("reconcile").code == 0
    with stage.store() as store:
        rows = [
            row for held in store.positions.all() for row in store.executions.of_position(held.position_id)
        ]
        known = {row["execId"] for row in stage.truth()["executions"]}
        assert sorted(row.exec_id for row in rows) == sorted(known)
    finished(stage, deed)


# --------------------------------------------------------------------------------------------- names


def odd_market(start: datetime) -> Market:
    """Names that need thought: a number behind, a number before, a number that lies, one ticker of two
    assets.
    """
    feed = toy_market(start)
    cheap: dict[str, Any] = {
        "tick_size": D("0.00000001"),
        "max_limit_qty": D(10**9),
        "max_market_qty": D(10**8),
    }
    feed.listed = (
        *feed.listed,
        spot("SHIBUSDT", qty_step=D(1), **cheap),
        perp("SHIB1000USDT", base_coin="SHIB1000", qty_step=D(10), min_qty=D(10), **cheap),
        spot("BEAMUSDT", **cheap),
        perp("BEAMUSDT", **cheap),
        spot("CATUSDT", **cheap),
        perp("10000CATUSDT", base_coin="10000CAT", **cheap),
    )
    feed.prices |= {"SHIBUSDT": D("0.00001"), "SHIB1000USDT": D("0.01"), "BEAMUSDT": D("0.02")}
    feed.prices |= {"CATUSDT": D("0.00002"), "10000CATUSDT": D("0.02")}
    feed.coin_rules |= {name: coin(name, "0.5") for name in ("SHIB", "BEAM", "CAT")}
    return feed


class OddStage(Stage):
    """A stage that shows the odd market."""

    def _options(self, port: int) -> SandboxOptions:
        return replace(super()._options(port), market=odd_market)


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[OddStage]:
    """A sandbox with odd names."""
    made = OddStage(tmp_path / "home")
    yield made
    made.stop()


@pytest.mark.parametrize(("base", "symbol"), [("PEPE", "1000PEPEUSDT"), ("SHIB", "SHIB1000USDT")])
def test_c11_a_multiplied_contract(odd: OddStage, base: str, symbol: str) -> None:
    """C11: a thousand coins a contract, whether the number stands before or behind: hedged coin by coin."""
    ran = odd.open(base, "700")
    assert ran.code == 0, ran.out
    assert D(ran.data["plan"]["multiplier"]) == 1000
    assert abs(odd.coins(base) - 1000 * odd.short(symbol)) <= 10_000
    assert odd.close(base).code == 0
    odd.healed(lot=D(10_000))


@pytest.mark.parametrize("base", ["BEAM", "CAT"])
def test_c11_names_that_lie(odd: OddStage, base: str) -> None:
    """C11: the same ticker at a quite different price, or a number that the prices contradict: refused."""
    if base == "BEAM":
        odd.world("mark", symbol="BEAMUSDT", price="0.5")
    ran = odd.open(base, "200")
    assert ran.code == 3, ran.out
    assert odd.truth()["orders"] == []
    odd.healed()
