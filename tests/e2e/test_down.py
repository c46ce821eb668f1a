"""One endpoint is down while a leg is naked: it is hedged all the same, and closed when it is asked for."""

from __future__ import annotations

import pytest

from fundarb.core.states import PositionState
from tests.e2e.stage import D, Stage

BOOKKEEPING = ("/v5/account/transaction-log",)
"""Without these books and venue cannot be compared, and the walk says so (4)."""
ELSE = (
    "/v5/market/funding/history",
    "/v5/account/fee-rate",
    "/v5/account/user-setting-config",
    "/v5/account/info",
    "/v5/user/query-api",
    "/v5/market/instruments-info",
    "/v5/market/tickers",
    "/v5/order/history",
)


@pytest.mark.parametrize("path", [*BOOKKEEPING, *ELSE])
def test_a_naked_leg_is_hedged_and_closed_while_an_endpoint_is_down(stage: Stage, path: str) -> None:
    """The venue takes 40 % of the short while one endpoint answers 502: reconcile matches the legs, and an
    emergency closes what is there.
    """
    assert stage.open(notional="900").code == 0
    stage.advance("2h")
    stage.world("adl", symbol="BTCUSDT", fraction="0.4")
    fault = {"match": {"path": path, "times": 0}, "do": {"verb": "http", "status": 502, "body": "x"}}
    stage.ask("POST", "/sandbox/faults", fault)
    walk = stage.json("reconcile")
    assert walk.code == (4 if path in BOOKKEEPING else 0), walk.out
    assert [row["state"] for row in walk.data["repaired"]] == ["HEDGED"]
    assert abs(stage.coins() - stage.short()) < D("0.0001")
    closed = stage.json("close", "BTC", "--yes", "--emergency")
    assert closed.code == 0, closed.out
    assert stage.short() == 0
    stage.heal()
    assert stage.json("reconcile").code == 0
    with stage.store() as store:
        assert [item.state for item in store.positions.all()] == [PositionState.CLOSED]


def test_nothing_is_opened_on_books_that_were_not_compared(stage: Stage) -> None:
    """The transaction log is down: an open is not even tried, and the exit code is that of a failed read."""
    assert stage.open(notional="900").code == 0
    orders = len(stage.truth()["orders"])
    fault = {
        "match": {"path": BOOKKEEPING[0], "times": 0},
        "do": {"verb": "http", "status": 502, "body": "x"},
    }
    stage.ask("POST", "/sandbox/faults", fault)
    ran = stage.open("ETH", "200")
    assert ran.code == 4, ran.out
    assert len(stage.truth()["orders"]) == orders
    stage.heal()
    assert stage.open("ETH", "200").code == 0
