"""Scenarios in which the venue's answers mislead: late, twice, out of order, in part, as HTML, or about an
order of somebody else (families A, C, E, F).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fundarb.core.records import BlockKind
from fundarb.core.states import IntentState, PositionState
from tests.e2e.stage import CREATE, LOT, Ran, Stage

D = Decimal
LOG = "/v5/account/transaction-log"
EXECUTIONS = "/v5/execution/list"
ORDER_READS = ("/v5/order/realtime", "/v5/order/history", EXECUTIONS)
LISTS = {
    "positions": "/v5/position/list",
    "balance": "/v5/account/wallet-balance",
    "orders": "/v5/order/realtime",
    "executions": EXECUTIONS,
    "log": LOG,
}


def forever(stage: Stage, verb: str, path: str, **arguments: Any) -> None:
    """A fault on every request of a path until it is healed."""
    stage.fault(verb, match={"path": path, "times": 0}, **arguments)


def away(stage: Stage) -> None:
    """No single order can be looked up; lists of everything still answer."""
    for path in ORDER_READS:
        stage.fault("http", status=503, match={"path": path, "symbol": "BTCUSDT", "times": 0})


def states(ran: Ran) -> list[str]:
    return [order["state"] for order in ran.data["orders"]]


def funding(stage: Stage) -> list[dict[str, Any]]:
    """The settlements as ``report funding`` shows them."""
    rows: list[dict[str, Any]] = stage.json("report", "funding").data["rows"]
    return rows


# ------------------------------------------------------------------------------------ A: uncertain orders


@pytest.mark.parametrize("nth", [1, 2])
def test_a04_reads_lag_behind_a_lost_answer(stage: Stage, nth: int) -> None:
    """A04: created, the answer lost, and every order read lags 20 s: never ABSENT, adopted once the reads
    have caught up; one fill of each leg.
    """
    for path in ORDER_READS:
        forever(stage, "lag_reads", path, ms=20_000)
    stage.fault("apply_then_lose", how="close", match={"nth": nth})
    ran = stage.open()
    assert "ABSENT" not in states(ran)
    stage.heal()
    stage.check()
    assert sum(1 for amount in stage.filled().values() if amount) == 2
    assert abs(stage.coins() - stage.short()) <= LOT
    assert stage.json("audit").code == 0


def test_a11_a_taken_link_id_without_an_order_halts(stage: Stage) -> None:
    """A11: "duplicate link id" on a first send, and no order under it anywhere: everything is halted, for
    somebody else may use our ids, and the order stays in doubt until a person says what is.
    """
    stage.fault("ret_code", code=110072, applied=False)
    before = stage.truth()["now"]
    ran = stage.open()
    assert ran.code != 0, ran.out
    assert ran.code == 5, ran.out
    assert states(ran) == ["UNCERTAIN"]
    assert stage.truth()["now"] - before >= 32_000
    assert stage.alerts() == ["link_id_taken"]
    with stage.store() as store:
        assert store.blocks.get("*", BlockKind.HALT) is not None
        [link] = [intent.link_id for intent in store.intents.open()]
    assert stage.open("ETH", "200").code == 3
    assert stage.json("resolve", f"uncertain_order:{link}", "--ignore").code == 0
    stage.check()
    assert stage.json("resume").code == 0
    assert stage.open("ETH", "200").code == 0


def test_an_outage_of_days_is_decided_by_what_was_traded(stage: Stage) -> None:
    """Two days without the venue: a fill that nobody saw is adopted although the lists are long gone."""
    stage.fault("apply_then_lose", how="close")
    away(stage)
    ran = stage.open()
    assert ran.code == 5, ran.out
    assert "reconcile" in ran.out
    stage.advance("49h")
    stage.heal()
    found = stage.json("reconcile")
    assert found.code == 0, found.out
    assert [row["state"] for row in found.data["resolved"]] == ["DONE"]
    stage.check()
    assert stage.json("audit").code == 0


# ------------------------------------------------------------------------------------------ C, E: facts


def test_c09_fills_twice_and_in_another_order(stage: Stage) -> None:
    """C09: fills duplicated, reordered and split over pages: one effect each in the ledger."""
    stage.fault("fill", fractions=["0.4", "1"])
    for path in (EXECUTIONS, LOG):
        forever(stage, "duplicate_rows", path)
        forever(stage, "reorder", path)
    ran = stage.open()
    assert ran.code == 0, ran.out
    stage.check()
    with stage.store() as store:
        known = {row["execId"] for row in stage.truth()["executions"]}
        held = store.positions.active()[0]
        rows = store.executions.of_position(held.position_id)
        assert sorted(row.exec_id for row in rows) == sorted(known)
    stage.heal()
    stage.check()
    assert stage.json("audit").code == 0


def test_e09_funding_that_comes_late(stage: Stage) -> None:
    """E09: the settlement's rows are missing for two hours: pending meanwhile, never zero; booked once when
    they come, and twice in the answer is once in the books.
    """
    stage.open()
    stage.fault("lag_reads", ms=7_200_000, match={"path": LOG, "times": 0})
    forever(stage, "lag_reads", EXECUTIONS, ms=7_200_000)
    stage.advance("8h30m")
    stage.json("reconcile")
    (pending,) = funding(stage)
    assert pending["received"] is None
    stage.heal()
    forever(stage, "duplicate_rows", LOG)
    for _ in range(2):
        assert stage.json("reconcile").code == 0
        (booked,) = funding(stage)
        assert D(booked["received"]) > 0
    stage.heal()
    stage.check()
    assert stage.json("audit").code == 0


def test_e09_a_row_that_is_dropped_is_found_later(stage: Stage) -> None:
    """E09: one row of the log is left out: a difference that is told, never a wrong booking; once it shows,
    the books tie again.
    """
    stage.open()
    stage.advance("8h30m")
    stage.fault("drop_rows", n=1, match={"path": LOG, "times": 0})
    first = stage.json("reconcile")
    assert first.code in {0, 6}
    stage.heal()
    assert stage.json("reconcile").code == 0
    stage.check()
    assert stage.json("audit").code == 0


# ------------------------------------------------------------------------------------------ F: garbage


@pytest.mark.parametrize("kind", ["html", "empty", "no_result"])
@pytest.mark.parametrize("name", LISTS)
def test_f11_garbage_instead_of_a_list(stage: Stage, name: str, kind: str) -> None:
    """F11: HTML (or nothing) where a list should be: the walk is abandoned with exit 4; nothing is decided,
    booked, sent or frozen from it, and the next one is clean.
    """
    stage.open()
    with stage.store() as store:
        rows, held = store.ledger.count(), store.positions.active()
    orders = len(stage.truth()["orders"])
    forever(stage, "body", LISTS[name], kind=kind)
    ran = stage.json("reconcile")
    assert ran.code == 4, ran.out
    with stage.store() as store:
        assert store.ledger.count() == rows
        assert store.positions.active() == held
        assert store.blocks.active(store.clock.now()) == ()
    assert len(stage.truth()["orders"]) == orders
    stage.heal()
    stage.check()


@pytest.mark.parametrize("name", ["positions", "orders", "executions", "log"])
def test_f12_a_cursor_that_loops(stage: Stage, name: str) -> None:
    """F12: a cursor that leads back to its own page: complete, or refused with exit 4; never for ever, never
    a part.
    """
    stage.open()
    before = len(stage.truth()["requests"])
    forever(stage, "loop_cursor", LISTS[name])
    ran = stage.json("reconcile")
    assert ran.code in {0, 4}, ran.out
    assert len(stage.truth()["requests"]) - before < 120
    with stage.store() as store:
        assert store.positions.active()[0].state is PositionState.HEDGED
    stage.heal()
    stage.check()


def test_f12_a_missing_page_of_positions(stage: Stage) -> None:
    """F12: a position is missing in the list though it is held: told as a difference, and no coin is sold
    for it, whatever the policy says.
    """
    (stage.home / "fundarb.toml").write_text('[reconcile]\nmanual_close = "unwind"\n', encoding="utf-8")
    stage.open()
    coins, orders = stage.coins(), len(stage.truth()["orders"])
    forever(stage, "drop_rows", LISTS["positions"], n=1)
    ran = stage.json("reconcile", "--repair")
    assert ran.code == 6, ran.out
    assert [row["kind"] for row in ran.data["mismatches"]] == ["perp_size"]
    assert ran.data["mismatches"][0]["answers"] == ["ignore"]
    assert (stage.coins(), len(stage.truth()["orders"])) == (coins, orders)
    stage.heal()
    stage.check()


def test_a_wallet_without_our_coins_sells_nothing(stage: Stage) -> None:
    """The wallet's answer leaves the coin out: no row explains it, so nothing is repaired."""
    stage.open()
    short, orders = stage.short(), len(stage.truth()["orders"])
    forever(stage, "drop_rows", LISTS["balance"], n=1)
    ran = stage.json("reconcile", "--repair")
    assert ran.code in {4, 6}, ran.out
    assert (stage.short(), len(stage.truth()["orders"])) == (short, orders)
    stage.heal()
    stage.check()


def test_an_order_in_doubt_may_be_called_absent_by_a_person(stage: Stage) -> None:
    """``resolve uncertain_order:… --ignore``: refused while the lease runs or the venue shows the order,
    taken as proof otherwise.
    """
    stage.fault("drop_request", how="close")
    away(stage)
    ran = stage.open()
    assert ran.code == 5, ran.out
    link = next(row["link_id"] for row in ran.data["orders"] if row["state"] == "UNCERTAIN")
    stage.heal()
    answered = stage.json("resolve", f"uncertain_order:{link}", "--ignore")
    assert answered.code in {0, 2}, answered.out  # by then the walk itself may have proved it
    with stage.store() as store:
        assert store.intents.get(link).state is IntentState.ABSENT
    stage.check()
    assert [row for row in stage.truth()["requests"] if row["path"] == CREATE and row["link_id"] == link]
