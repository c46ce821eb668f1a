"""The control API over real HTTP: clock, world, truth, snapshot, and wrong questions."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest

from fundarb.core.instants import to_ms
from tests.sandbox.harness import START, START_MS, Json, OverHttp, over_http

HOUR_MS = 3_600_000


def test_the_clock_moves_only_when_told(http: OverHttp) -> None:
    """Advance and to move time, the answer tells the new instant, everything due has happened by then."""
    http.create(orderLinkId="one")
    told = http.control("clock", method="GET").json()
    assert told == {"now": START_MS, "clock": "virtual", "uid": http.truth()["uid"]}
    assert http.do("clock", {"advance": "8h"}) == {"now": START_MS + 8 * HOUR_MS}
    assert http.do("clock", {"advance": "1500ms"})["now"] == START_MS + 8 * HOUR_MS + 1500
    assert http.do("clock", {"to": "2025-01-08T00:00:00Z"})["now"] == START_MS + 48 * HOUR_MS
    kinds = [row["execType"] for row in http.truth()["executions"]]
    assert kinds == ["Trade"] + ["Funding"] * 6
    assert http.get("market/time")["time"] == START_MS + 48 * HOUR_MS


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "advance"),
        ({"advance": "8h", "to": "2025-01-08T00:00:00Z"}, "advance"),
        ({"advance": "eight hours"}, "advance"),
        ({"advance": ""}, "advance"),
        ({"advance": 8}, "advance"),
        ({"advance": "99999999h"}, "advance"),
        ({"to": "2025-01-08T00:00:00"}, "to"),
        ({"to": "tomorrow"}, "to"),
        ({"to": "2024-01-01T00:00:00Z"}, "to"),
        ({"advance": "1h", "fast": True}, "fast"),
    ],
)
def test_wrong_clock_orders(untouched: OverHttp, body: Json, path: str) -> None:
    """Each is 400 with its place, and time stands where it stood."""
    response = untouched.control("clock", body)
    assert (response.status_code, response.json()["path"]) == (400, path)
    assert untouched.get("market/time")["time"] == START_MS


def test_a_real_clock_cannot_be_moved(real: OverHttp) -> None:
    """On the wall clock /sandbox/clock tells the time and answers 409 to a move."""
    assert real.control("clock", method="GET").json()["clock"] == "real"
    assert real.control("clock", {"advance": "8h"}).status_code == 409


def test_world_prices(http: OverHttp) -> None:
    """Mark fixes the mark, jump moves spot and perp alike, freeze stops them, all of it in the tickers at
    once.
    """

    def ticker(category: str) -> dict[str, str]:
        row: dict[str, str] = http.rows("market/tickers", category=category, symbol="ETHUSDT")[0]
        return row

    before = {category: Decimal(ticker(category)["bid1Price"]) for category in ("spot", "linear")}
    http.do("world", {"verb": "jump", "symbol": "ETHUSDT", "factor": "1.35"})
    for category, price in before.items():
        assert abs(Decimal(ticker(category)["bid1Price"]) / price - Decimal("1.35")) < Decimal("0.001")
    assert http.do("world", {"verb": "mark", "symbol": "ETHUSDT", "price": "5000"}) == {"now": START_MS}
    assert ticker("linear")["markPrice"] == "5000"
    http.do("world", {"verb": "mark", "symbol": "ETHUSDT", "price": None})
    http.do("world", {"verb": "freeze", "symbol": "ETHUSDT", "on": True})
    frozen = ticker("spot")["bid1Price"]
    http.do("clock", {"advance": "1h"})
    assert ticker("spot")["bid1Price"] == frozen
    http.do("world", {"verb": "freeze", "symbol": "ETHUSDT", "on": False})
    assert ticker("spot")["bid1Price"] != frozen


def test_world_books(http: OverHttp) -> None:
    """A crossed or empty book can be put in place and released again."""
    http.do(
        "world",
        {"verb": "book", "category": "linear", "symbol": "BTCUSDT", "bids": [["90000", "1"]], "asks": []},
    )
    book = http.get("market/orderbook", category="linear", symbol="BTCUSDT")["result"]
    assert (book["b"], book["a"]) == ([["90000", "1"]], [])
    row = http.rows("market/tickers", category="linear", symbol="BTCUSDT")[0]
    assert (row["bid1Price"], row["ask1Price"]) == ("90000", "")
    http.do("world", {"verb": "book", "category": "linear", "symbol": "BTCUSDT"})
    assert len(http.get("market/orderbook", category="linear", symbol="BTCUSDT")["result"]["a"]) == 25


def test_world_funding(http: OverHttp) -> None:
    """A fixed rate is what the ticker predicts and what is settled; settle books it now; interval changes
    the schedule.
    """
    http.create()
    http.do("world", {"verb": "funding_rate", "symbol": "BTCUSDT", "rate": "-0.0005"})
    http.do("world", {"verb": "interval", "symbol": "BTCUSDT", "hours": 4})
    row = http.rows("market/tickers", category="linear", symbol="BTCUSDT")[0]
    assert (Decimal(row["fundingRate"]), row["fundingIntervalHour"]) == (Decimal("-0.0005"), "4")
    http.do("world", {"verb": "settle", "symbol": "BTCUSDT"})
    http.do("clock", {"advance": "4h"})
    rates = [row["feeRate"] for row in http.truth()["executions"] if row["execType"] == "Funding"]
    assert [Decimal(rate) for rate in rates] == [Decimal("-0.0005")] * 2


def test_world_manual_trades(http: OverHttp) -> None:
    """Somebody else closes the perp and buys spot: executions without our link id."""
    http.create(orderLinkId="mine")
    http.do("clock", {"advance": "1s"})
    http.do("world", {"verb": "manual_close", "symbol": "BTCUSDT"})
    http.do(
        "world", {"verb": "manual_order", "category": "spot", "symbol": "ETHUSDT", "side": "Buy", "qty": "1"}
    )
    truth = http.truth()
    assert truth["positions"] == []
    assert [row["orderLinkId"] for row in truth["executions"] if row["category"] == "linear"] == ["mine", ""]
    assert {row["coin"] for row in truth["wallets"]} >= {"USDT", "ETH"}


def test_world_adl_and_transfer(http: OverHttp) -> None:
    """ADL takes a fraction of the short with an execution of its own kind; a transfer moves the wallet."""
    http.create(qty="0.1")
    http.do("clock", {"advance": "1s"})
    http.do("world", {"verb": "adl", "symbol": "BTCUSDT", "fraction": "0.4"})
    http.do("world", {"verb": "transfer", "coin": "USDT", "amount": "500"})
    truth = http.truth()
    assert truth["positions"][0]["size"] == "0.06"
    assert truth["executions"][-1]["execType"] == "AdlTrade"
    assert truth["transaction_log"][-1]["type"] == "TRANSFER_IN"


def test_world_margin_verbs(http: OverHttp) -> None:
    """Collateral, borrowing, forced repayment, the dollar and a liquidation each leave their mark in the
    truth.
    """
    http.do(
        "world",
        {"verb": "manual_order", "category": "spot", "symbol": "BTCUSDT", "side": "Buy", "qty": "0.5"},
    )
    http.do("world", {"verb": "collateral", "coin": "BTC", "on": False})
    info = http.rows("account/collateral-info", currency="BTC")[0]
    assert info["marginCollateral"] is False
    http.do("world", {"verb": "borrow", "coin": "ETH", "amount": "2"})
    http.do("world", {"verb": "auto_repay", "coin": "BTC", "fraction": "0.1"})
    http.do("world", {"verb": "usd", "price": "0.97"})
    coins = {row["coin"]: row for row in http.truth()["wallets"]}
    assert coins["ETH"]["spotBorrow"] == "2"
    assert Decimal(coins["BTC"]["walletBalance"]) < Decimal("0.46")
    dollar = Decimal(coins["USDT"]["usdValue"]) / Decimal(coins["USDT"]["equity"])
    assert dollar.quantize(Decimal("0.000001")) == Decimal("0.97")
    http.create(qty="0.1")
    http.do("clock", {"advance": "1s"})
    http.do("world", {"verb": "liquidate", "symbol": "BTCUSDT"})
    truth = http.truth()
    assert truth["positions"] == []
    assert truth["executions"][-1]["execType"] == "BustTrade"
    http.do(
        "world",
        {"verb": "ticker_patch", "category": "linear", "symbol": "BTCUSDT", "fields": {"lastPrice": "0"}},
    )
    assert http.rows("market/tickers", category="linear", symbol="BTCUSDT")[0]["lastPrice"] == "0"


def test_world_platform_verbs(http: OverHttp) -> None:
    """Skew shifts what the venue says its time is, maintenance and key verbs reach every end point."""
    http.do("world", {"verb": "skew", "ms": 1500})
    assert http.get("market/time")["time"] == START_MS + 1500
    http.do("world", {"verb": "skew", "ms": -7000})
    assert http.get("account/info")["retCode"] == 10002
    http.do("world", {"verb": "skew", "ms": 0})
    http.do("world", {"verb": "key", "permissions": {"Spot": ["SpotTrade"]}})
    assert http.create().json()["retCode"] == 10005
    http.do("world", {"verb": "key", "expire": True})
    assert http.get("account/info")["retCode"] == 33004
    begin, end = START + timedelta(hours=1), START + timedelta(hours=2)
    http.do("world", {"verb": "maintenance", "begin": begin.isoformat(), "end": end.isoformat()})
    http.do("clock", {"advance": "1h"})
    assert http.get("market/tickers", category="spot")["retCode"] == 10016


def test_world_instruments(http: OverHttp) -> None:
    """delist, halt, filters and fees show where a client looks for them."""
    at = START + timedelta(days=2)
    http.do("world", {"verb": "delist", "symbol": "SOLUSDT", "at": at.isoformat()})
    item = http.rows("market/instruments-info", category="linear", symbol="SOLUSDT")[0]
    assert item["deliveryTime"] == str(to_ms(at))
    assert "SOLUSDT" in http.rows("announcements/index", locale="en-US", type="delistings")[0]["title"]
    http.do("world", {"verb": "halt", "category": "linear", "symbol": "BTCUSDT", "on": True})
    assert http.create().json()["retCode"] != 0
    http.do(
        "world", {"verb": "filters", "category": "linear", "symbol": "ETHUSDT", "fields": {"qtyStep": "0.5"}}
    )
    item = http.rows("market/instruments-info", category="linear", symbol="ETHUSDT")[0]
    assert item["lotSizeFilter"]["qtyStep"] == "0.5"
    http.do("world", {"verb": "fees", "category": "spot", "taker": "0.0018"})
    assert http.rows("account/fee-rate", category="spot", symbol="BTCUSDT")[0]["takerFeeRate"] == "0.0018"
    http.do("clock", {"advance": "3d"})
    assert http.rows("market/instruments-info", category="linear", symbol="SOLUSDT") == []


def test_restart_wipes_what_realtime_remembers(http: OverHttp) -> None:
    """After a restart of the venue a closed order is in the history only."""
    http.create(orderLinkId="one")
    http.do("world", {"verb": "restart"})
    assert http.rows("order/realtime", category="linear", orderLinkId="one") == []
    assert len(http.rows("order/history", category="linear", orderLinkId="one")) == 1


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"verb": "explode"}, "verb"),
        ({}, "verb"),
        ({"verb": "mark", "symbol": "NOPEUSDT", "price": "1"}, "symbol"),
        ({"verb": "mark", "symbol": "BTCUSDT", "price": 1.5}, "price"),
        ({"verb": "mark", "symbol": "BTCUSDT", "price": "NaN"}, "price"),
        ({"verb": "mark", "symbol": "BTCUSDT", "price": "-1"}, "price"),
        ({"verb": "jump", "symbol": "BTCUSDT"}, "factor"),
        ({"verb": "interval", "symbol": "BTCUSDT", "hours": 5}, "hours"),
        ({"verb": "interval", "symbol": "BTCUSDT", "hours": "4.5"}, "hours"),
        ({"verb": "funding_rate", "symbol": "BTCUSDT", "rate": "2"}, "rate"),
        ({"verb": "manual_close", "symbol": "BTCUSDT"}, "symbol"),
        ({"verb": "manual_order", "category": "spot", "symbol": "BTCUSDT", "side": "Buy", "qty": "0"}, "qty"),
        (
            {"verb": "manual_order", "category": "spot", "symbol": "BTCUSDT", "side": "Buy", "qty": "100000"},
            "verb",
        ),
        ({"verb": "freeze", "symbol": "BTCUSDT", "on": "yes"}, "on"),
        ({"verb": "book", "category": "linear", "symbol": "BTCUSDT", "bids": [["1"]]}, "bids"),
        ({"verb": "settle", "symbol": "BTCUSDT", "twice": True}, "twice"),
        ({"verb": "transfer", "coin": "USDT", "amount": "-1000000"}, "amount"),
        ({"verb": "key", "permissions": ["Spot"]}, "permissions"),
        ({"verb": "key", "permissions": {"Spot": ["Order"]}}, "permissions.Spot"),
        ({"verb": "maintenance", "begin": "2025-01-07T00:00:00Z", "end": "2025-01-06T00:00:00Z"}, "end"),
        ({"verb": "skew", "ms": "1"}, "ms"),
    ],
)
def test_wrong_world_orders_change_nothing(untouched: OverHttp, body: Json, path: str) -> None:
    """Each is 400 with error and path, and the truth is what it was."""
    before = untouched.truth()
    response = untouched.control("world", body)
    assert response.status_code == 400, response.text
    assert response.json()["path"] == path
    assert response.json()["error"]
    after = untouched.truth()
    assert before == after


def test_control_bodies_that_are_no_json(untouched: OverHttp) -> None:
    """Not JSON, not an object, an unknown path, a wrong method: 4xx, never a crash."""
    url = f"{untouched.url}/sandbox/world"
    assert untouched.session.post(url, data=b"{", timeout=10).status_code == 400
    assert untouched.session.post(url, data=b"[1]", timeout=10).status_code == 400
    assert untouched.session.post(url, data=b"\xff\xfe", timeout=10).status_code == 400
    assert untouched.session.get(url, timeout=10).status_code == 405
    assert untouched.session.get(f"{untouched.url}/sandbox/nothing", timeout=10).status_code == 404
    assert untouched.session.get(f"{untouched.url}/elsewhere", timeout=10).status_code == 404


def test_truth_has_everything(http: OverHttp) -> None:
    """Orders with all their fields, executions, positions, wallets, the log, and every request with its
    outcome.
    """
    http.create(orderLinkId="one")
    http.session.get(f"{http.url}/v5/market/time", timeout=10)
    truth = http.truth()
    assert truth.keys() == {
        "now",
        "uid",
        "orders",
        "executions",
        "positions",
        "wallets",
        "transaction_log",
        "requests",
    }
    order = truth["orders"][0]
    assert order.keys() >= {
        "orderId",
        "orderLinkId",
        "category",
        "symbol",
        "side",
        "qty",
        "cumExecQty",
        "avgPrice",
        "status",
        "created",
    }
    assert (order["orderLinkId"], order["status"], order["created"]) == ("one", "Filled", START_MS)
    signed, public = truth["requests"]
    assert signed == {
        "time": START_MS,
        "method": "POST",
        "path": "/v5/order/create",
        "link_id": "one",
        "timestamp": START_MS,
        "outcome": "0",
    }
    assert (public["path"], public["timestamp"]) == ("/v5/market/time", None)


def test_faults_over_http(http: OverHttp) -> None:
    """Armed with 201 and an id, listed, removed one by one or all with 204."""
    first = http.control(
        "faults", {"match": {"path": "/v5/market/time"}, "do": {"verb": "http", "status": 503}}
    )
    assert (first.status_code, first.json()) == (201, {"id": "f1"})
    assert http.control("faults", {"id": "mine", "do": {"verb": "delay", "ms": 5}}).json() == {"id": "mine"}
    assert http.session.get(f"{http.url}/v5/market/time", timeout=10).status_code == 503
    listed = http.control("faults", method="GET").json()["faults"]
    assert [(row["id"], row["fired"]) for row in listed] == [("f1", 1), ("mine", 1)]
    assert http.control("faults/f1", method="DELETE").status_code == 204
    assert http.control("faults/f1", method="DELETE").status_code == 404
    assert http.control("faults", method="DELETE").status_code == 204
    assert http.control("faults", method="GET").json() == {"faults": []}


def test_snapshot_and_restore(http: OverHttp) -> None:
    """A restored world has the same truth, time included, and goes on exactly as the first one did."""
    http.create(orderLinkId="one", qty="0.1")
    http.do("clock", {"advance": "3h"})
    http.do("world", {"verb": "skew", "ms": 5})
    saved = http.do("snapshot", {})
    facts = ("now", "uid", "orders", "executions", "positions", "wallets", "transaction_log")
    there = http.truth()
    http.do("clock", {"advance": "10h"})
    later = http.truth()
    http.create(orderLinkId="two")
    http.do("restore", saved)
    again = http.truth()
    assert {name: again[name] for name in facts} == {name: there[name] for name in facts}
    assert http.get("market/time")["time"] == START_MS + 3 * HOUR_MS + 5
    http.do("clock", {"advance": "10h"})
    repeated = http.truth()
    assert {name: repeated[name] for name in facts} == {name: later[name] for name in facts}


@pytest.mark.parametrize(
    "change",
    [{"schema": "other"}, {"seed": 99}, {"venue": None}, {"venue": {"version": 999}}, {"start": "now"}],
)
def test_bad_snapshots_are_refused(http: OverHttp, change: Json) -> None:
    """A foreign, broken or newer snapshot is 400 and the world stays as it is."""
    http.create(orderLinkId="one")
    before = http.truth()
    saved = http.do("snapshot", {})["snapshot"]
    response = http.control("restore", {"snapshot": {**saved, **change}})
    assert (response.status_code, response.json()["path"]) == (400, "snapshot")
    assert http.control("restore", {}).status_code == 400
    assert http.truth()["orders"] == before["orders"]


def test_a_world_is_named_by_its_uid() -> None:
    """The same seed, start and run give the same uid; another run, seed or start another one."""

    def uid(**changes: object) -> str:
        with over_http(**changes) as client:
            found: str = client.truth()["uid"]
            return found

    base = uid()
    assert uid() == base
    assert (
        len({base, uid(run="other"), uid(seed=2), uid(start=START + timedelta(hours=1)), uid(run=None)}) == 5
    )


def test_two_runs_of_the_same_world_are_equal() -> None:
    """Same seed, same calls: the same truth to the last byte."""

    def run() -> str:
        with over_http() as client:
            for number in range(3):
                client.create(orderLinkId=f"o{number}")
                client.do("clock", {"advance": "5h"})
            return json.dumps(client.truth(), sort_keys=True)

    assert run() == run()
