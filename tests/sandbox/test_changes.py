"""Orders beyond create and cancel: amend, batches, pre-check, and what closing has earned."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.sandbox.harness import OPTIONS, InProcess, Json

BTC: Json = {"category": "linear", "symbol": "BTCUSDT"}


def resting(desk: InProcess, *, price: str = "90000", **more: object) -> Json:
    """A perp buy far below the market."""
    order = {**BTC, "side": "Buy", "orderType": "Limit", "qty": "0.1", "price": price, "orderLinkId": "one"}
    return desk.post("order/create", **{**order, **more})


def one(desk: InProcess, link_id: str = "one", category: str = "linear") -> Json:
    """The order with a link id, after whatever is due now."""
    desk.desk.catch_up()
    found: Json = desk.rows("order/realtime", category=category, orderLinkId=link_id)[0]
    return found


# ------------------------------------------------------------------------------------------------ amend


def test_an_amend_is_an_acknowledgement_and_then_a_change(desk: InProcess) -> None:
    """Quantity and price change together or alone, by either id; the ids come back."""
    made = resting(desk)["result"]
    answer = desk.post("order/amend", **BTC, orderId=made["orderId"], qty="0.2", price="90001")
    assert (answer["retCode"], answer["result"]) == (0, made)
    assert [one(desk)[name] for name in ("qty", "price", "leavesQty", "orderStatus")] == [
        "0.2", "90001", "0.2", "New"]  # fmt: skip
    assert desk.post("order/amend", **BTC, orderLinkId="one", price="90002")["retCode"] == 0
    assert [one(desk)[name] for name in ("qty", "price")] == ["0.2", "90002"]


def test_an_amended_price_may_trade_at_once(desk: InProcess) -> None:
    """A limit that is moved through the market fills like a new order, and only once."""
    resting(desk)
    desk.post("order/amend", **BTC, orderLinkId="one", price="97000")
    row = one(desk)
    assert (row["orderStatus"], row["cumExecQty"]) == ("Filled", "0.1")
    assert desk.rows("position/list", **BTC)[0]["size"] == "0.1"


def test_a_partly_filled_order_keeps_its_fills(desk: InProcess) -> None:
    """After a part has filled only the rest can be changed: below what is filled is 10001, above is the new
    total.

    What is left of a spot sell needs no more coins than are left.
    """
    spot = {"category": "spot", "symbol": "ETHUSDT"}
    desk.buy("ETHUSDT", "10")
    desk.desk.catch_up()
    bid = Decimal(desk.rows("market/tickers", **spot)[0]["bid1Price"])
    owned = "9.99"
    desk.world("book", **spot, bids=[[str(bid), "4"]], asks=[[str(bid + 1), "4"]])
    desk.post(
        "order/create", **spot, side="Sell", orderType="Limit", qty=owned, price=str(bid), orderLinkId="one"
    )
    assert one(desk, category="spot")["cumExecQty"] == "4"
    assert desk.post("order/amend", **spot, orderLinkId="one", qty="3.9")["retCode"] == 10001
    assert desk.post("order/amend", **spot, orderLinkId="one", price=str(bid + 10))["retCode"] == 0
    row = one(desk, category="spot")
    assert (row["qty"], row["leavesQty"], row["price"]) == (owned, "5.99", str(bid + 10))
    wallet = desk.rows("account/wallet-balance", accountType="UNIFIED")[0]["coin"]
    assert [coin["locked"] for coin in wallet if coin["coin"] == "ETH"] == ["5.99"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 10001),
        ({"qty": "0.1"}, 10001),
        ({"price": "90000", "qty": "0.1"}, 10001),
        ({"qty": "0"}, 10001),
        ({"qty": "-1"}, 10001),
        ({"qty": 0.2}, 10001),
        ({"qty": "0.10005"}, 10001),
        ({"price": "90000.05"}, 10001),
        ({"price": "0"}, 10001),
        ({"qty": "100000"}, 10001),
        ({"qty": "90"}, 110007),
        ({"qty": "0.2", "triggerPrice": "1"}, 10001),
        ({"qty": "0.2", "symbol": "ETHUSDT"}, 110001),
        ({"qty": "0.2", "symbol": "NOPEUSDT"}, 10001),
        ({"qty": "0.2", "category": "spot"}, 170213),
        ({"qty": "0.2", "orderLinkId": "nobody"}, 110001),
        ({"qty": "0.2", "orderLinkId": ""}, 10001),
    ],
)
def test_wrong_amends_change_nothing(desk: InProcess, changes: Json, code: int) -> None:
    """Each has its own code and the order stands as it was."""
    resting(desk)
    before = one(desk)
    assert desk.post("order/amend", **{**BTC, "orderLinkId": "one", **changes})["retCode"] == code
    assert one(desk) == before


def test_a_closed_order_cannot_be_amended(desk: InProcess) -> None:
    """A cancelled and a filled order are gone for an amend."""
    resting(desk)
    desk.post("order/cancel", **BTC, orderLinkId="one")
    desk.short(orderLinkId="two")
    desk.desk.catch_up()
    for link in ("one", "two"):
        assert desk.post("order/amend", **BTC, orderLinkId=link, qty="0.3")["retCode"] == 110001


def test_an_amend_that_loses_its_race_leaves_the_order_alone() -> None:
    """With a matching delay the order can be gone when the amend arrives: it was acknowledged all the
    same.
    """
    desk = InProcess(replace(OPTIONS, match_delay=timedelta(milliseconds=50)))
    resting(desk)
    desk.wait(milliseconds=50)
    assert desk.post("order/cancel", **BTC, orderLinkId="one")["retCode"] == 0
    assert desk.post("order/amend", **BTC, orderLinkId="one", qty="0.3")["retCode"] == 0
    desk.wait(milliseconds=50)
    row = one(desk)
    assert (row["orderStatus"], row["qty"]) == ("Cancelled", "0.1")


# ------------------------------------------------------------------------------------------------ batches


def batch(desk: InProcess, *orders: Json, category: str = "linear") -> Json:
    """A create-batch of orders that are small perp buys unless said otherwise."""
    usual = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": "90000"}
    return desk.post(
        "order/create-batch", category=category, request=[{**usual, **order} for order in orders]
    )


def test_each_order_of_a_batch_has_its_own_result(desk: InProcess) -> None:
    """The whole is 0 whatever became of them; a refused one has an empty order id and its code in
    retExtInfo.
    """
    answer = batch(
        desk, {"orderLinkId": "a"}, {"orderLinkId": "a"}, {"qty": "0"}, {"symbol": "NO"}, {"side": 1}
    )
    rows, outcomes = answer["result"]["list"], answer["retExtInfo"]["list"]
    assert (answer["retCode"], len(rows), len(outcomes)) == (0, 5, 5)
    assert [item["code"] for item in outcomes] == [0, 110072, 10001, 10001, 10001]
    assert [bool(row["orderId"]) for row in rows] == [True, False, False, False, False]
    assert rows[0].keys() == {"category", "symbol", "orderId", "orderLinkId", "createAt"}
    assert [order.link_id for order in desk.house.venue.all_orders()] == ["a"]


@pytest.mark.parametrize(("category", "most"), [("linear", 20), ("spot", 10)])
def test_a_batch_has_a_largest_size(desk: InProcess, category: str, most: int) -> None:
    """Twenty perp orders or ten spot orders; one more, none, or no list of objects is 10001 for the whole."""
    price = {"price": "92500", "qty": "0.001"}
    answer = batch(
        desk, *[{**price, "orderLinkId": f"n{number}"} for number in range(most)], category=category
    )
    assert [item["code"] for item in answer["retExtInfo"]["list"]] == [0] * most
    assert batch(desk, *[{}] * (most + 1), category=category)["retCode"] == 10001
    wrongs: tuple[object, ...] = ([], {}, "x", [1], None)
    for wrong in wrongs:
        assert desk.post("order/create-batch", category=category, request=wrong)["retCode"] == 10001
    assert len(desk.house.venue.all_orders()) == most


def test_a_batch_over_the_limit_passes_in_part() -> None:
    """Each order counts: of twelve the first ten pass, two fail one by one; then the limit is used up. Single
    creates have a budget of their own.
    """
    desk = InProcess(replace(OPTIONS, limits=True))
    answer = batch(desk, *[{"orderLinkId": f"n{number}"} for number in range(12)])
    assert [item["code"] for item in answer["retExtInfo"]["list"]] == [0] * 10 + [10006] * 2
    assert answer["retCode"] == 0
    assert batch(desk, {})["retCode"] == 10006
    assert desk.short()["retCode"] == 0
    assert len(desk.house.venue.all_orders()) == 11


def test_faults_see_into_a_batch(desk: InProcess) -> None:
    """A fault that names a link id, symbol or side hits the batch that holds such an order, and the log names
    the link ids of all its orders.
    """
    desk.fault({"verb": "ret_code", "code": 10016}, link_id="b")
    assert batch(desk, {"orderLinkId": "a"})["retCode"] == 0
    assert batch(desk, {"orderLinkId": "c"}, {"orderLinkId": "b"})["retCode"] == 10016
    assert batch(desk, {"orderLinkId": "c"}, {"orderLinkId": "b"})["retCode"] == 0
    assert [row["link_id"] for row in desk.house.log.rows()] == ["a", "c,b", "c,b"]


# ------------------------------------------------------------------------------------------------ pre-check


def test_a_pre_check_tells_the_margin_and_leaves_no_trace(desk: InProcess) -> None:
    """Rates before and after in units of 1e-4; afterwards there is no order and nothing is reserved."""
    before = desk.house.venue.snapshot()
    order = {**BTC, "side": "Sell", "orderType": "Market", "qty": "1", "orderLinkId": "x"}
    answer = desk.post("order/pre-check", **order)
    found = answer["result"]
    assert (answer["retCode"], found["preImrE4"], found["preMmrE4"], found["orderLinkId"]) == (0, 0, 0, "x")
    price = Decimal(desk.rows("market/tickers", **BTC)[0]["markPrice"])
    assert found["postImrE4"] == pytest.approx(price / 10 / 100_000 * 10_000, rel=Decimal("0.02"))
    assert 0 < found["postMmrE4"] < found["postImrE4"]
    assert desk.house.venue.snapshot() == before
    assert desk.post("order/create", **order)["retCode"] == 0


def test_a_pre_check_refuses_as_a_create_would(desk: InProcess) -> None:
    """Without margin it is 110007 with the rates after in retExtInfo; filters have their codes; spot is
    10001.
    """
    order = {**BTC, "side": "Sell", "orderType": "Market"}
    answer = desk.post("order/pre-check", **order, qty="20")
    assert (answer["retCode"], answer["result"]) == (110007, {})
    assert answer["retExtInfo"]["postImrE4"] > 10_000
    assert desk.post("order/pre-check", **order, qty="0.00001")["retCode"] == 10001
    assert desk.post("order/pre-check", **{**order, "category": "spot"}, qty="1")["retCode"] == 10001
    assert desk.house.venue.all_orders() == ()


# ------------------------------------------------------------------------------------------------ closed P&L


def closed(desk: InProcess, **params: object) -> list[Json]:
    """What closing has earned, newest first."""
    desk.desk.catch_up()
    return desk.rows("position/closed-pnl", **{"category": "linear", **params})


def test_closed_pnl_is_what_the_fills_say(desk: InProcess) -> None:
    """One row per closing order with the closing side; profit is exit less entry less both fees, funding is
    not in it; over a whole holding it is what the log booked.
    """
    desk.short(qty="0.3")
    desk.desk.catch_up()
    assert closed(desk) == []
    desk.wait(hours=9)
    for link, qty in (("a", "0.1"), ("b", "0.2")):
        desk.short(side="Buy", qty=qty, reduceOnly=True, orderLinkId=link)
    newer, older = closed(desk)
    assert [row["closedSize"] for row in (older, newer)] == ["0.1", "0.2"]
    assert {row["side"] for row in (older, newer)} == {"Buy"}
    for row in (older, newer):
        gain = Decimal(row["cumEntryValue"]) - Decimal(row["cumExitValue"])
        assert Decimal(row["closedPnl"]) == gain - Decimal(row["openFee"]) - Decimal(row["closeFee"])
        assert Decimal(row["avgEntryPrice"]) * Decimal(row["closedSize"]) == pytest.approx(
            Decimal(row["cumEntryValue"])
        )
    log = desk.house.venue.all_transactions()
    booked = sum(row.change for row in log if row.kind == "TRADE")
    assert sum(Decimal(row["closedPnl"]) for row in (older, newer)) == booked


def test_closed_pnl_of_a_turned_position_and_of_forced_ends(desk: InProcess) -> None:
    """An order that turns a short into a long closes only the short; ADL closes too, with its own kind."""
    desk.short(qty="0.1")
    desk.short(side="Buy", qty="0.3")
    row = closed(desk)[0]
    assert (row["qty"], row["closedSize"], row["side"]) == ("0.3", "0.1", "Buy")
    desk.world("adl", symbol="BTCUSDT", fraction="0.5")
    row = closed(desk)[0]
    assert (row["closedSize"], row["side"], row["execType"]) == ("0.1", "Sell", "AdlTrade")


def test_closed_pnl_is_asked_by_symbol_and_category(desk: InProcess) -> None:
    """Another symbol's row is left out, an unknown symbol and spot are 10001, inverse is empty."""
    desk.short(qty="0.1")
    desk.short(side="Buy", qty="0.1", reduceOnly=True)
    assert (len(closed(desk, symbol="BTCUSDT")), closed(desk, symbol="ETHUSDT")) == (1, [])
    assert desk.get("position/closed-pnl", category="linear", symbol="NO")["retCode"] == 10001
    assert desk.get("position/closed-pnl", category="spot")["retCode"] == 10001
    assert closed(desk, category="inverse") == []
