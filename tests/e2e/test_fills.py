"""Orders that trade in part, not at all, or into a market that moves (families C, D and E)."""

from __future__ import annotations

import pytest

from fundarb.core.states import PositionState
from tests.e2e.stage import LOT, D, Ran, Stage

BOTH = ["spot", "linear"]


def balanced(stage: Stage) -> bool:
    return abs(stage.coins() - stage.short()) <= LOT


def blocks(stage: Stage) -> set[str]:
    with stage.store() as store:
        return {
            f"{block.scope}:{block.kind}"
            for block in store.blocks.active(store.clock.now().replace(year=2026))
        }


def test_c01_the_first_leg_fills_a_part(stage: Stage) -> None:
    """C01: 37 % of the first leg: the second is sized to what was executed, the rest is tried again."""
    stage.fault("fill", fractions=["0.37"])
    ran = stage.open(notional="900")
    assert ran.code == 0, ran.out
    assert D(ran.data["perp"]["contracts"]) == D("0.018")
    first, second = ran.data["orders"][:2]
    assert first["leg"] != second["leg"]
    assert abs(D(second["quantity"]) - D(first["filled"])) <= LOT
    assert balanced(stage)
    stage.check()


@pytest.mark.parametrize("category", BOTH)
def test_c02_the_second_leg_fills_three_times_a_part(stage: Stage, category: str) -> None:
    """C02: 60 % three times: topped up to one lot within bounds, then trimmed; never more than that."""
    stage.fault("fill", fractions=["0.6", "0.6", "0.6"], match={"category": category})
    ran = stage.open(notional="900")
    assert ran.code in {0, 8}, ran.out
    assert ran.data["state"] == "HEDGED"
    assert balanced(stage)
    assert sum(order["purpose"] == "top_up" for order in ran.data["orders"]) <= 3
    stage.check()


def test_c03_the_second_leg_never_fills(stage: Stage) -> None:
    """C03: given back within t_hedge, exit 8, the coin cools down, and a new open is refused with that
    reason.
    """
    stage.fault("fill", fractions=["0"] * 40, match={"category": "spot", "side": "Buy"})
    before = stage.truth()["now"]
    ran = stage.open()
    assert ran.code == 8, ran.out
    assert ran.data["state"] == "CLOSED"
    assert {"unwound", "order_not_filled"} <= ran.codes
    assert stage.truth()["now"] - before < 10_000
    assert stage.short() == 0
    stage.heal()
    again = stage.open()
    assert again.code == 3
    assert "block_cool_down" in again.codes
    stage.check()


def test_a_market_that_takes_nothing(stage: Stage) -> None:
    """Nothing of the first leg fills: aborted, nothing held, exit 8 says which order."""
    stage.fault("fill", fractions=["0"])
    ran = stage.open()
    assert ran.code == 8
    assert ran.data["state"] == "ABORTED"
    assert ran.codes == {"order_not_filled"}
    stage.check()


def test_a12_an_order_that_matching_rejects(stage: Stage) -> None:
    """A12: accepted, then rejected by matching: zero fill, the other leg is never sent."""
    stage.fault("reject_async")
    ran = stage.open()
    assert ran.code == 8
    assert ran.data["state"] == "ABORTED"
    assert len(stage.truth()["orders"]) == 1
    stage.check()


def test_a_close_that_fills_in_part(stage: Stage) -> None:
    """The same in the other direction: a close goes on until nothing is held."""
    stage.open(notional="900")
    stage.fault("fill", fractions=["0.4", "0.7"])
    ran = stage.close()
    assert ran.code == 0, ran.out
    assert ran.data["state"] == "CLOSED"
    assert stage.short() == 0
    stage.check()


@pytest.mark.parametrize("verb", ["apply_then_lose", "drop_request"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_close_whose_message_is_lost(stage: Stage, verb: str, nth: int) -> None:
    """A lost request or answer on either leg of a close: flat in the end, nothing sold twice."""
    stage.open()
    stage.fault(verb, how="reset", match={"nth": nth})
    ran = stage.close()
    if ran.code != 0:
        assert ran.code == 8, ran.out
        ran = stage.close()
    assert ran.data["state"] == "CLOSED"
    assert stage.short() == 0
    stage.check()


def test_e08_an_entry_waits_for_a_settlement(stage: Stage) -> None:
    """E08: ten seconds before a settlement the entry waits until it is past, and no funding is booked for
    it.
    """
    stage.ask("POST", "/sandbox/clock", {"to": "2026-01-05T07:59:50Z"})
    ran = stage.open()
    assert ran.code == 0, ran.out
    assert "settlement_window" in {item["code"] for item in ran.envelope["warnings"]}
    created = min(row["created"] for row in stage.truth()["orders"])
    settlement = stage.truth()["now"] // 28_800_000 * 28_800_000
    assert created >= settlement + 15_000
    stage.check()
    assert stage.json("report", "funding").data["rows"] == []


def test_a_close_at_the_instant_of_a_settlement(stage: Stage) -> None:
    """While the contract settles its orders are 110063: the close waits that second out and ends flat."""
    stage.open()
    stage.ask("POST", "/sandbox/clock", {"to": "2026-01-05T08:00:00Z"})
    ran = stage.close()
    assert ran.code == 0, ran.out
    assert ran.data["state"] == "CLOSED"
    assert "110063" in {row["outcome"] for row in stage.truth()["requests"]}
    stage.check()


def test_a_settlement_in_the_middle_of_an_entry(stage: Stage) -> None:
    """A settlement that nobody announced, between the legs: hedged, and what the venue booked is in our
    books.
    """
    stage.open()
    stage.world("settle", symbol="BTCUSDT")
    added = stage.open("BTC", "400", "--add")
    assert added.code == 0, added.out
    stage.check()
    funding = stage.json("report", "funding").data["rows"]
    assert len(funding) == 1
    assert D(funding[0]["received"]) > 0
    pnl = stage.json("report", "pnl").data
    assert pnl["tie_out"]["unexplained"] == "0"


def test_e02_an_interval_that_changes(stage: Stage) -> None:
    """E02: from eight hours to one while the position is held: positions follow the ticker at once."""
    stage.open()
    before = stage.json("positions").data["positions"][0]["next_funding_time"]
    stage.world("interval", symbol="BTCUSDT", hours=1)
    after = stage.json("positions").data["positions"][0]["next_funding_time"]
    assert (before, after) == ("2026-01-05T08:00:00Z", "2026-01-05T01:00:00Z")
    stage.advance("2h")
    stage.check()
    assert len(stage.json("report", "funding").data["rows"]) == 2


@pytest.mark.parametrize("factor", ["1.3", "0.7"])
def test_a_jump_of_all_prices(stage: Stage, factor: str) -> None:
    """All prices of the coin jump: the position stays hedged, its P&L ties out, a close works."""
    stage.open()
    stage.world("jump", symbol="BTCUSDT", factor=factor)
    stage.check()
    ran = stage.close()
    assert ran.code == 0, ran.out
    stage.check()
    assert stage.json("report", "pnl").data["tie_out"]["unexplained"] == "0"


def test_e05_a_mark_that_leaves_the_market(stage: Stage) -> None:
    """E05: a perp mark 4 % from its spot: nothing is opened; with 10 % a held position can still be
    closed.
    """
    stage.open()
    stage.world("mark", symbol="BTCUSDT", price="55000")
    stage.world("mark", symbol="ETHUSDT", price="2600")
    refused = stage.open("ETH")
    assert refused.code == 3
    assert refused.codes == {"basis_implausible"}
    closed = stage.close()
    assert closed.code in {0, 8}, closed.out
    assert stage.short() == 0


BOOKS = {
    "crossed": {"bids": [["50100", "1"]], "asks": [["49900", "1"]]},
    "no bids": {"bids": [], "asks": [["50005", "1"]]},
    "no asks": {"bids": [["49995", "1"]], "asks": []},
}


@pytest.mark.parametrize("category", BOTH)
@pytest.mark.parametrize("book", BOOKS.values(), ids=BOOKS)
def test_e06_a_book_that_says_nothing(stage: Stage, book: dict[str, list[list[str]]], category: str) -> None:
    """E06: crossed or empty on one leg: nothing is sent, exit 3 or 4, and every reason is there."""
    stage.world("book", category=category, symbol="BTCUSDT", **book)
    ran: Ran = stage.open()
    assert ran.code in {3, 4}, ran.out
    assert ran.codes
    assert stage.truth()["orders"] == []
    stage.check()


def test_h03_a_perp_that_was_closed_by_hand(stage: Stage) -> None:
    """H03: reconcile says so with exit 6, the coin is frozen, one alert in three looks; nothing is traded for
    it, and the coin may not be added to. A half cannot be closed then, the whole can.
    """
    stage.open()
    coins, orders = stage.coins(), len(stage.truth()["orders"])
    stage.world("manual_close", symbol="BTCUSDT")
    for _ in range(3):
        ran = stage.json("reconcile")
        assert ran.code == 6, ran.out
        assert ran.envelope["error"]["kind"] == "mismatch"
        assert ran.codes == {"perp_size"}
        assert not ran.data["clean"]
    assert stage.alerts() == ["perp_size"]
    assert stage.coins() == coins
    assert len(stage.truth()["orders"]) == orders + 1
    with stage.store() as store:
        assert store.positions.active()[0].state is PositionState.HEDGED
        assert [block.scope for block in store.blocks.active(store.clock.now())] == ["BTC"]
    added = stage.open("BTC", "400", "--add")
    assert added.code == 3
    assert {"block_freeze", "foreign_position"} <= added.codes
    refused = stage.close("BTC", "--fraction", "50%")
    assert refused.code == 3
    assert refused.codes == {"perp_size"}
    assert len(stage.truth()["orders"]) == orders + 1
    whole = stage.close()
    assert whole.code == 0, whole.out
    assert whole.data["state"] == "CLOSED"
    stage.check()


def test_an_emergency_close_sells_what_is_really_there(stage: Stage) -> None:
    """With the perp gone by hand, ``--emergency`` sells the coins and sends nothing for contracts that nobody
    has; the books take over what the stranger did, and nothing is left to ask.
    """
    stage.open()
    stage.world("manual_close", symbol="BTCUSDT")
    ran = stage.close("BTC", "--emergency")
    assert ran.code == 0, ran.out
    assert ran.data["state"] == "CLOSED"
    assert stage.coins() < D("0.0002")
    requests = len(stage.truth()["requests"])
    assert stage.json("reconcile").code == 0
    later = stage.truth()["requests"][requests:]
    assert not [row for row in later if row["path"] == "/v5/order/create"]
    stage.check()


def test_e03_quotes_that_stand_still(stage: Stage) -> None:
    """E03: frozen for ten minutes: no open, exit 3, nothing is sent; a close is not held back; once they move
    again the coin opens.
    """
    assert stage.open("ETH").code == 0
    for symbol in ("BTCUSDT", "ETHUSDT"):
        stage.world("freeze", symbol=symbol, on=True)
    stage.advance("10m")
    sent = len(stage.truth()["orders"])
    ran = stage.open()
    assert ran.code == 3, ran.out
    assert "frozen_quotes" in ran.codes
    assert len(stage.truth()["orders"]) == sent
    assert stage.close("ETH").code == 0
    stage.world("freeze", symbol="BTCUSDT", on=False)
    stage.advance("2m")
    assert stage.open().code == 0
    stage.check()


def test_a_contract_is_no_coin(stage: Stage) -> None:
    """``open 1000PEPE``: a usage error that names PEPE; PEPE opens and closes."""
    ran = stage.open("1000PEPE", "700")
    assert ran.code == 2
    assert "write PEPE" in ran.envelope["error"]["message"]
    assert stage.open("PEPE", "700").code == 0
    assert stage.close("1000PEPE").code == 2
    assert stage.close("PEPE").code == 0


def test_d04_collateral_that_is_switched_off(stage: Stage) -> None:
    """D04: the coin stops counting: the position stays hedged, and a look at the account changes nothing."""
    stage.open(notional="900")
    stage.world("collateral", coin="BTC", on=False)
    stage.advance("1m")
    assert stage.json("positions").code == 0
    stage.check()


def test_a_part_that_would_leave_a_crumb(stage: Stage) -> None:
    """``--fraction``: a part that is no order, or leaves a rest that is none, is refused with its reason."""
    stage.open(notional="400")
    assert stage.close("BTC", "--fraction", "5%").codes == {"fraction_too_small"}
    stage.world("filters", category="spot", symbol="BTCUSDT", fields={"minOrderAmt": "60"})
    stage.advance("2h")
    assert "rest_too_small" in stage.close("BTC", "--fraction", "87.5%").codes
    assert stage.close().code == 0
    stage.check()
