"""Orders and executions over the desk: acknowledgement, matching, look-ups, windows, pages, refusals."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest

from fundarb.markets.coins import catalogue
from fundarb.markets.synthetic import SyntheticMarket
from fundarb.sandbox.rows import average
from tests.sandbox.harness import OPTIONS, START, START_MS, InProcess, Json

DAY_MS = 86_400_000
BTC: Json = {"category": "linear", "symbol": "BTCUSDT"}


def limit_order(desk: InProcess, link: str, **more: object) -> Json:
    """A resting perp sell far above the market."""
    order = {"category": "linear", "symbol": "BTCUSDT", "side": "Sell", "orderType": "Limit", "qty": "0.01",
             "price": "95000", "timeInForce": "GTC", "orderLinkId": link, **more}  # fmt: skip
    return desk.post("order/create", **order)


def order_of(desk: InProcess, link: str, category: str = "linear", path: str = "order/realtime") -> Json:
    """The one order with a link id."""
    rows = desk.rows(path, category=category, orderLinkId=link)
    assert len(rows) == 1
    row: Json = rows[0]
    return row


def test_a_create_is_an_acknowledgement_only() -> None:
    """With a matching delay the order is New until the clock has passed it, and then it is filled."""
    desk = InProcess(replace(OPTIONS, match_delay=timedelta(milliseconds=50)))
    answer = desk.buy(orderLinkId="one")
    assert answer["retCode"] == 0
    assert answer["result"].keys() == {"orderId", "orderLinkId"}
    assert order_of(desk, "one", "spot")["orderStatus"] == "New"
    desk.desk.catch_up(START + timedelta(milliseconds=49))
    assert order_of(desk, "one", "spot")["orderStatus"] == "New"
    desk.desk.catch_up(START + timedelta(milliseconds=50))
    assert order_of(desk, "one", "spot")["orderStatus"] == "Filled"


def test_without_a_delay_the_next_request_sees_the_fill(desk: InProcess) -> None:
    """On a virtual clock the default is no delay: nobody has to move time to see an order matched."""
    desk.buy(orderLinkId="one")
    assert order_of(desk, "one", "spot")["orderStatus"] == "Filled"


def test_a_spot_buy_pays_its_fee_in_the_coin(desk: InProcess) -> None:
    """The execution names the coin and the wallet holds the quantity net of the fee."""
    desk.buy(qty="0.01", orderLinkId="one")
    rows = desk.rows("execution/list", category="spot", orderLinkId="one")
    fee = sum(Decimal(row["execFee"]) for row in rows)
    assert {row["feeCurrency"] for row in rows} == {"BTC"}
    assert fee == Decimal("0.00001")
    assert order_of(desk, "one", "spot")["cumFeeDetail"] == {"BTC": "0.00001"}
    wallet = desk.rows("account/wallet-balance", accountType="UNIFIED", coin="BTC")[0]["coin"][0]
    assert Decimal(wallet["walletBalance"]) == Decimal("0.01") - fee


def test_a_market_order_shows_its_protective_price(desk: InProcess) -> None:
    """A market order comes back as an IOC with a bound, filled at better."""
    desk.short(orderLinkId="one")
    row = order_of(desk, "one")
    assert (row["orderType"], row["timeInForce"], row["orderStatus"]) == ("Market", "IOC", "Filled")
    assert Decimal(row["price"]) < Decimal(row["avgPrice"])


def test_a_limit_order_rests_and_is_cancelled_by_link_id(desk: InProcess) -> None:
    """It is open, then cancelled without a fill, and the second cancel finds no such order."""
    limit_order(desk, "one")
    assert [
        row["orderLinkId"] for row in desk.rows("order/realtime", category="linear", settleCoin="USDT")
    ] == ["one"]
    assert desk.post("order/cancel", category="linear", symbol="BTCUSDT", orderLinkId="one")["retCode"] == 0
    row = order_of(desk, "one")
    assert (row["orderStatus"], row["cancelType"], row["avgPrice"]) == ("Cancelled", "CancelByUser", "")
    again = desk.post("order/cancel", category="linear", symbol="BTCUSDT", orderLinkId="one")
    assert again["retCode"] == 110001
    spot = desk.post("order/cancel", category="spot", symbol="BTCUSDT", orderLinkId="one")
    assert spot["retCode"] == 170213


def test_cancel_all(desk: InProcess) -> None:
    """Linear needs to be told which; all of them are acknowledged and none stays open."""
    for link in ("one", "two"):
        limit_order(desk, link)
    assert desk.post("order/cancel-all", category="linear")["retCode"] == 10001
    answer = desk.post("order/cancel-all", category="linear", settleCoin="USDT")
    assert {row["orderLinkId"] for row in answer["result"]["list"]} == {"one", "two"}
    assert answer["result"]["success"] == "1"
    assert desk.rows("order/realtime", category="linear", symbol="BTCUSDT") == []
    limit_order(desk, "three")
    assert desk.post("order/cancel-all", category="linear", baseCoin="ETH")["result"]["list"] == []
    assert len(desk.post("order/cancel-all", category="linear", baseCoin="BTC")["result"]["list"]) == 1


def test_a_link_id_is_used_once(desk: InProcess) -> None:
    """A second order with the same link id is 110072 on perps and 170141 in spot, also after the first is
    done.
    """
    assert desk.short(orderLinkId="one")["retCode"] == 0
    assert desk.short(orderLinkId="one")["retCode"] == 110072
    assert desk.buy(orderLinkId="one")["retCode"] == 0
    assert desk.buy(orderLinkId="one")["retCode"] == 170141
    assert len(desk.house.venue.all_orders()) == 2


def test_without_a_link_id_spot_invents_one(desk: InProcess) -> None:
    """As recorded: a spot order without a link id comes back with order id + 1, and is found by it."""
    ack = desk.buy()["result"]
    assert ack["orderLinkId"] == str(int(ack["orderId"]) + 1)
    assert order_of(desk, ack["orderLinkId"], "spot")["orderId"] == ack["orderId"]
    assert len(desk.rows("execution/list", category="spot", orderLinkId=ack["orderLinkId"])) == 1
    assert desk.rows("order/realtime", category="spot", orderLinkId="12345") == []


def test_realtime_knows_closed_orders_by_id_or_on_request(desk: InProcess) -> None:
    """Closed ones are hidden by default, shown by id and with openOnly=1, and gone after a restart of the
    venue.
    """
    desk.short(orderLinkId="one")
    assert desk.rows("order/realtime", category="linear", symbol="BTCUSDT") == []
    assert len(desk.rows("order/realtime", category="linear", symbol="BTCUSDT", openOnly=1)) == 1
    assert order_of(desk, "one")["orderStatus"] == "Filled"
    desk.house.venue.forget_recent()
    assert desk.rows("order/realtime", category="linear", orderLinkId="one") == []
    assert order_of(desk, "one", path="order/history")["orderStatus"] == "Filled"


def test_history_forgets_unfilled_orders_after_a_day(desk: InProcess) -> None:
    """A cancelled order without a fill leaves the history after 24 h, a filled one stays."""
    limit_order(desk, "gone")
    desk.post("order/cancel", category="linear", symbol="BTCUSDT", orderLinkId="gone")
    desk.short(orderLinkId="kept")
    desk.desk.catch_up(START + timedelta(hours=24))
    assert len(desk.rows("order/history", category="linear", orderLinkId="gone")) == 1
    desk.desk.catch_up(START + timedelta(hours=24, milliseconds=1))
    assert desk.rows("order/history", category="linear", orderLinkId="gone") == []
    assert len(desk.rows("order/history", category="linear", orderLinkId="kept")) == 1


def test_history_has_final_orders_of_a_window(desk: InProcess) -> None:
    """Open orders are not in it; status filters must be final; windows are at most seven days."""
    limit_order(desk, "open")
    desk.short(orderLinkId="done")
    assert [row["orderLinkId"] for row in desk.rows("order/history", category="linear")] == ["done"]
    assert desk.rows("order/history", category="linear", orderStatus="Cancelled") == []
    assert desk.get("order/history", category="linear", orderStatus="New")["retCode"] == 181017
    wide = desk.get("order/history", category="linear", startTime=START_MS, endTime=START_MS + 8 * DAY_MS)
    assert wide["retCode"] == 10001


def test_pages_hold_every_row_once(desk: InProcess) -> None:
    """Following the cursor gives every execution once, newest first; the page after the last is empty."""
    for number in range(7):
        desk.short(orderLinkId=f"o{number}", qty="0.001")
    desk.desk.catch_up()
    seen: list[str] = []
    cursor, pages = "", 0
    while True:
        result = desk.get("execution/list", category="linear", limit=3, cursor=cursor)["result"]
        if not result["list"]:
            assert result["nextPageCursor"] == ""
            break
        assert "%" in result["nextPageCursor"]
        seen += [row["orderLinkId"] for row in result["list"]]
        cursor, pages = result["nextPageCursor"], pages + 1
    assert seen == [f"o{number}" for number in reversed(range(7))]
    assert pages == 3


def test_orders_are_cancelled_while_they_are_paged(desk: InProcess) -> None:
    """A page goes on behind the one before although the order with which that ended is gone, and new orders
    neither repeat a row nor lose one: over all pages everything that was open all the time comes once.
    """
    for number in range(7):
        limit_order(desk, f"o{number}")
    seen: list[str] = []
    cursor = ""
    while True:
        result = desk.get("order/realtime", **BTC, limit=2, cursor=cursor)["result"]
        if not result["list"]:
            break
        links = [row["orderLinkId"] for row in result["list"]]
        seen, cursor = seen + links, result["nextPageCursor"]
        for link in links:
            assert desk.post("order/cancel", **BTC, orderLinkId=link)["retCode"] == 0
        limit_order(desk, f"new{len(seen)}")
        desk.desk.catch_up()
    assert seen == [f"o{number}" for number in reversed(range(7))]
    ended = desk.get("order/history", category="linear", limit=3)["result"]
    limit_order(desk, "late")
    desk.post("order/cancel", **BTC, orderLinkId="late")
    desk.desk.catch_up()
    rest = desk.rows("order/history", category="linear", limit=50, cursor=ended["nextPageCursor"])
    links = [row["orderLinkId"] for row in (*ended["list"], *rest)]
    assert sorted(links) == sorted(f"o{number}" for number in range(7))


def test_positions_are_closed_while_they_are_paged(desk: InProcess) -> None:
    """The page after a position that was closed meanwhile is the one it would have been."""
    for symbol, qty in (("BTCUSDT", "0.01"), ("ETHUSDT", "0.1"), ("SOLUSDT", "1"), ("TRXUSDT", "100")):
        desk.short(symbol, qty)
    first = desk.get("position/list", category="linear", settleCoin="USDT", limit=2)["result"]
    last = first["list"][-1]["symbol"]
    desk.world("manual_close", symbol=last)
    rest = desk.rows(
        "position/list", category="linear", settleCoin="USDT", limit=2, cursor=first["nextPageCursor"]
    )
    symbols = [row["symbol"] for row in (*first["list"], *rest)]
    assert sorted(symbols) == ["BTCUSDT", "ETHUSDT", "SOLUSDT", "TRXUSDT"]


def test_executions_and_log_are_paged_while_new_ones_come(desk: InProcess) -> None:
    """What happens between two pages comes before the first one: no row twice, none lost."""
    for number in range(5):
        desk.short(orderLinkId=f"o{number}", qty="0.001")
    desk.desk.catch_up()
    for path, params in (("execution/list", BTC), ("account/transaction-log", {"accountType": "UNIFIED"})):
        everything = desk.rows(path, **params, limit=50)
        first = desk.get(path, **params, limit=2)["result"]
        desk.short(qty="0.001")
        desk.wait(seconds=1)
        rest = desk.rows(path, **params, limit=50, cursor=first["nextPageCursor"])
        assert [*first["list"], *rest] == everything


@pytest.mark.parametrize("cursor", ["nonsense", "a:b,c:d", "x:1,", f"x:{'9' * 30}", "1", ",", "x:٣"])
def test_a_cursor_that_no_page_has_given(desk: InProcess, cursor: str) -> None:
    """10001, on every list."""
    desk.short()
    desk.desk.catch_up()
    for path in ("order/history", "execution/list", "account/transaction-log"):
        assert desk.get(path, category="linear", cursor=cursor)["retCode"] == 10001


@pytest.mark.parametrize(
    ("meant", "left"),
    [
        ({"symbol": "BTCUSDT", "baseCoin": "ETH", "settleCoin": "USDC"}, {"ETHUSDT", "SOLUSDT"}),
        ({"baseCoin": "ETH", "settleCoin": "USDT"}, {"BTCUSDT", "SOLUSDT"}),
        ({"baseCoin": "ETH", "settleCoin": "USDC"}, {"BTCUSDT", "SOLUSDT"}),
        ({"settleCoin": "USDT"}, set()),
        ({"settleCoin": "USDC"}, {"BTCUSDT", "ETHUSDT", "SOLUSDT"}),
        ({"settleCoin": "NOSUCH"}, {"BTCUSDT", "ETHUSDT", "SOLUSDT"}),
        ({"baseCoin": "NOSUCH", "settleCoin": "USDT"}, {"BTCUSDT", "ETHUSDT", "SOLUSDT"}),
    ],
)
def test_cancel_all_takes_what_is_meant(desk: InProcess, meant: Json, left: set[str]) -> None:
    """A symbol goes before a base coin, that before a settle coin; nothing else is cancelled."""
    for symbol, price, qty in (
        ("BTCUSDT", "95000", "0.01"),
        ("ETHUSDT", "3800", "0.1"),
        ("SOLUSDT", "230", "1"),
    ):
        assert limit_order(desk, symbol, symbol=symbol, price=price, qty=qty)["retCode"] == 0
    desk.desk.catch_up()
    assert desk.post("order/cancel-all", category="linear", **meant)["retCode"] == 0
    desk.desk.catch_up()
    rows = desk.rows("order/realtime", category="linear", settleCoin="USDT")
    assert {row["symbol"] for row in rows} == left


def test_a_cursor_may_come_back_encoded_or_not(desk: InProcess) -> None:
    """Clients send the cursor as they got it or encoded once more: both mean the same page."""
    for number in range(3):
        desk.short(orderLinkId=f"o{number}", qty="0.001")
    desk.desk.catch_up()
    cursor = desk.get("execution/list", category="linear", limit=1)["result"]["nextPageCursor"]
    raw = desk.reply("GET", "/v5/execution/list", query=f"category=linear&limit=1&cursor={cursor}")
    assert b'"orderLinkId":"o1"' in raw.response.body
    assert desk.rows("execution/list", category="linear", limit=1, cursor=cursor)[0]["orderLinkId"] == "o1"


def test_executions_filter_by_kind_symbol_and_window(desk: InProcess) -> None:
    """Funding rows are told from trades; a symbol or coin narrows; unknown kinds are refused."""
    desk.short()
    desk.short("ETHUSDT", "0.1")
    desk.desk.catch_up(START + timedelta(hours=8))
    assert len(desk.rows("execution/list", category="linear")) == 4
    assert len(desk.rows("execution/list", category="linear", execType="Funding")) == 2
    assert {row["symbol"] for row in desk.rows("execution/list", category="linear", symbol="ETHUSDT")} == {
        "ETHUSDT"
    }
    assert {row["symbol"] for row in desk.rows("execution/list", category="linear", baseCoin="ETH")} == {
        "ETHUSDT"
    }
    assert desk.rows("execution/list", category="linear", startTime=START_MS + 1, execType="Trade") == []
    assert desk.rows("execution/list", category="spot") == []
    assert desk.get("execution/list", category="linear", execType="Magic")["retCode"] == 10001


def test_reduce_only_cannot_open(desk: InProcess) -> None:
    """A reduce-only order without a position is 110017 and changes nothing."""
    assert desk.short(reduceOnly=True)["retCode"] == 110017
    assert desk.house.venue.all_orders() == ()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"category": "inverse"}, 10001),
        ({"symbol": "NOPEUSDT"}, 10001),
        ({"side": "Hold"}, 10001),
        ({"orderType": "Iceberg"}, 10001),
        ({"qty": ""}, 10001),
        ({"qty": "-1"}, 10001),
        ({"qty": "1e3"}, 10001),
        ({"qty": "NaN"}, 10001),
        ({"qty": 0.01}, 10001),
        ({"qty": "0"}, 10001),
        ({"orderType": "Limit", "price": "0"}, 10001),
        ({"orderType": "Limit"}, 10001),
        ({"positionIdx": 1}, 10001),
        ({"reduceOnly": "true"}, 10001),
        ({"orderLinkId": "x" * 37}, 10001),
        ({"orderLinkId": "with blank"}, 10001),
        ({"timeInForce": "RPI"}, 10001),
        ({"triggerPrice": "90000"}, 10001),
        ({"takeProfit": "1"}, 10001),
        ({"symbol": "MONUSDT"}, None),
        ({"qty": "0.0001"}, 10001),
        ({"qty": "1000000"}, 10001),
        ({"qty": "100"}, 110007),
        ({"category": "spot", "reduceOnly": True}, 10001),
    ],
)
def test_refused_orders_leave_no_trace(desk: InProcess, changes: Json, code: int | None) -> None:
    """Each bad order gets a code and no order exists; None: any of the venue's own codes will do."""
    answer = desk.short(**changes)
    assert answer["retCode"] == code if code is not None else answer["retCode"] not in {0, 10001}, answer
    assert desk.house.venue.all_orders() == ()


@pytest.mark.parametrize(
    "body", ["", "[]", "null", "{", '{"category":', "\xff", '{"category":"linear","qty":NaN}', "[" * 5000]
)
def test_garbage_bodies(desk: InProcess, body: str) -> None:
    """A correctly signed body that is no JSON object of parameters is 10001."""
    reply = desk.reply("POST", "/v5/order/create", body=body)
    assert reply.response.code == 10001
    assert desk.house.venue.all_orders() == ()


def test_the_average_of_a_coin_at_two_ten_millionths() -> None:
    """SATS has a tick of 1e-11: what an order, a position and a closing say of their average is that of the
    executions, to eight digits.
    """
    coins = tuple(coin for coin in catalogue() if coin.name in {"BTC", "SATS"})
    desk = InProcess(replace(OPTIONS, market=partial(SyntheticMarket, 1, coins=coins)))
    spot: Json = {"category": "spot", "symbol": "SATSUSDT", "marketUnit": "baseCoin"}
    linear: Json = {"category": "linear", "symbol": "10000SATSUSDT"}
    for order in (
        {**spot, "side": "Buy", "qty": "9000000000"},
        {**linear, "side": "Sell", "qty": "2000000"},
        {**linear, "side": "Buy", "qty": "2000000"},
    ):
        assert desk.post("order/create", orderType="Market", **order)["retCode"] == 0
        desk.wait(seconds=1)
    seen = 0
    for market in (spot, linear):
        where = {name: market[name] for name in ("category", "symbol")}
        for order in desk.rows("order/realtime", openOnly=1, **where):
            fills = [
                (Decimal(row["execPrice"]), Decimal(row["execQty"]))
                for row in desk.rows("execution/list", orderId=order["orderId"], limit=100, **where)
            ]
            assert len(fills) > 1
            total = sum((quantity for _, quantity in fills), Decimal(0))
            true = sum((price * quantity for price, quantity in fills), Decimal(0)) / total
            assert abs(Decimal(order["avgPrice"]) / true - 1) < Decimal("1e-7")
            seen += 1
    assert seen == 3
    closed = desk.rows("position/closed-pnl", category="linear")[0]
    for name in ("Entry", "Exit"):
        true = Decimal(closed[f"cum{name}Value"]) / Decimal(closed["closedSize"])
        assert abs(Decimal(closed[f"avg{name}Price"]) / true - 1) < Decimal("1e-7")


@pytest.mark.parametrize(
    ("price", "shown"),
    [
        ("97000.123456789012", "97000.123456789"), ("50000", "50000"), ("0.1234567890123", "0.123456789"),
        ("0.001916986911111", "0.0019169869"), ("1.91831973254E-7", "0.00000019183197"),
        ("1.23456789E-12", "0.0000000000012345679"),
    ],
)  # fmt: skip
def test_an_average_has_ten_places_and_eight_digits(price: str, shown: str) -> None:
    """Places for what is dear, digits for what costs next to nothing."""
    assert average(Decimal(price)) == shown


@pytest.mark.parametrize("money", ["20", "1000.123456"])
def test_what_a_purchase_by_value_could_not_spend_is_told(desk: InProcess, money: str) -> None:
    """It ends as PartiallyFilledCanceled; value and what is left of it are the money given."""
    desk.post("order/create", category="spot", symbol="ETHUSDT", side="Buy", orderType="Market", qty=money,
              orderLinkId="by-value")  # fmt: skip
    (row,) = desk.rows("order/realtime", category="spot", orderLinkId="by-value")
    assert (row["orderStatus"], row["marketUnit"]) == ("PartiallyFilledCanceled", "quoteCoin")
    assert 0 < Decimal(row["leavesValue"]) < Decimal("0.1")
    assert Decimal(row["cumExecValue"]) + Decimal(row["leavesValue"]) == Decimal(money)
    assert row["leavesQty"] == "0"
