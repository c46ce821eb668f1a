"""Private streams: every event once and in order, each showing the account of its own instant."""

from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal

import pytest

from fundarb.sandbox.options import ClockKind
from tests.sandbox.harness import Json, OverHttp, over_http
from tests.sandbox.listener import LINEAR, PRIVATE, SPOT, listening, rows

EVERYTHING = ("order", "execution", "execution.fast", "position", "wallet")


@pytest.fixture(scope="module")
def http() -> Iterator[OverHttp]:
    """One server for the tests that only trade: its clock only moves forward."""
    with over_http() as client:
        yield client


def both_legs(http: OverHttp, qty: str = "0.2") -> None:
    """Spot bought and perp sold."""
    spot = {"category": "spot", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": qty,
            "marketUnit": "baseCoin"}  # fmt: skip
    assert http.request("POST", "order/create", spot).json()["retCode"] == 0
    assert http.create(qty=qty).json()["retCode"] == 0


def test_every_execution_arrives_once_in_order() -> None:
    """Fills of both legs, foreign hands, ADL, and days of funding in one step: the stream's executions are
    the truth's.
    """
    with over_http() as http, listening(http, PRIVATE, *EVERYTHING) as listener:
        both_legs(http)
        http.do(
            "world",
            {"verb": "manual_order", "category": "linear", "symbol": "ETHUSDT", "side": "Buy", "qty": "1"},
        )
        http.do("clock", {"advance": "3d1m"})
        http.do("world", {"verb": "adl", "symbol": "BTCUSDT", "fraction": "0.5"})
        http.do("world", {"verb": "settle", "symbol": "BTCUSDT"})
        http.do("world", {"verb": "manual_close", "symbol": "ETHUSDT"})
        messages = listener.heard()
        truth = http.truth()["executions"]
        told = rows(messages, "execution")
        assert [row["execId"] for row in told] == [row["execId"] for row in truth]
        assert {row["execType"] for row in told} == {"Trade", "Funding", "AdlTrade"}
        for row, found in zip(truth, told, strict=True):
            assert {
                name: value for name, value in row.items() if name != "marketUnit"
            }.items() <= found.items()
        assert [row["execId"] for row in rows(messages, "execution.fast")] == [
            row["execId"] for row in truth if row["execType"] == "Trade"
        ]
        times = [message["creationTime"] for message in messages]
        assert times == sorted(times)
        gains = sum(Decimal(row["execPnl"]) for row in told)
        log = http.truth()["transaction_log"]
        closing = {row["execId"] for row in told if Decimal(row["closedSize"] or 0)}
        assert gains == sum(Decimal(row["cashFlow"]) for row in log if row["tradeId"] in closing)


def test_an_order_is_told_from_new_to_its_end(http: OverHttp) -> None:
    """New with its position and wallet, then the fill, then Filled; a cancelled one ends Cancelled."""
    with listening(http, PRIVATE, *EVERYTHING) as listener:
        http.create(orderLinkId="goes")
        told = [(message["topic"], message["data"][0].get("orderStatus", "")) for message in listener.heard()]
        assert told == [
            ("order", "New"),
            ("position", ""),
            ("wallet", ""),
            ("execution", ""),
            ("execution.fast", ""),
            ("order", "Filled"),
            ("position", ""),
            ("wallet", ""),
        ]
        price = http.rows("market/tickers", category="linear", symbol="BTCUSDT")[0]["ask1Price"]
        http.create(orderType="Limit", price=str(int(float(price) * 1.03)), orderLinkId="stays")
        http.request(
            "POST", "order/cancel", {"category": "linear", "symbol": "BTCUSDT", "orderLinkId": "stays"}
        )
        statuses = [row["orderStatus"] for row in rows(listener.heard(), "order")]
        assert statuses == ["New", "Cancelled"]


def test_a_changed_order_is_told_once_with_its_position() -> None:
    """An amendment pushes the order, the position and the wallet, once, whether it has filled in part or
    not.
    """
    with over_http() as http:
        point = http.rows("market/tickers", category="linear", symbol="BTCUSDT")[0]
        book = {"bids": [[point["bid1Price"], "0.004"]], "asks": [[point["ask1Price"], "5"]]}
        http.do("world", {"verb": "book", "category": "linear", "symbol": "BTCUSDT", **book})
        for name, price, status in (("a", "ask1Price", "New"), ("b", "bid1Price", "PartiallyFilled")):
            http.create(orderType="Limit", price=point[price], orderLinkId=name, qty="0.02")
            with listening(http, PRIVATE, *EVERYTHING) as listener:
                change = {"category": "linear", "symbol": "BTCUSDT", "orderLinkId": name, "qty": "0.015"}
                assert http.request("POST", "order/amend", change).json()["retCode"] == 0
                told = [(message["topic"], message["data"][0]) for message in listener.heard()]
            assert [topic for topic, _ in told] == ["order", "position", "wallet"]
            assert (told[0][1]["orderStatus"], told[0][1]["qty"]) == (status, "0.015")


def test_an_order_that_closes_tells_what_it_earned(http: OverHttp) -> None:
    """The closedPnl of an order's last message is REST's closed P&L; zero for an order that only opens."""
    with listening(http, PRIVATE, "order") as listener:
        http.create(symbol="SOLUSDT", qty="5")
        http.do("clock", {"advance": "2h"})
        http.create(symbol="SOLUSDT", qty="5", side="Buy", reduceOnly=True)
        http.do("clock", {"advance": "1s"})
        opened, closed = [row for row in rows(listener.heard(), "order") if row["orderStatus"] == "Filled"]
        (shown,) = http.rows("position/closed-pnl", category="linear", symbol="SOLUSDT")
        assert opened["closedPnl"] == "0"
        assert closed["closedPnl"] == shown["closedPnl"] != "0"


def test_position_and_wallet_are_rests(http: OverHttp) -> None:
    """The last message of each equals REST at its instant; a position's average price is its entryPrice."""
    with listening(http, PRIVATE, "position", "wallet") as listener:
        both_legs(http)
        messages = listener.heard()
        told = rows(messages, "position")[-1]
        (shown,) = http.rows("position/list", category="linear", symbol="BTCUSDT")
        assert told.items() <= {**shown, "entryPrice": shown["avgPrice"], "category": "linear"}.items()
        assert told["entryPrice"] == shown["avgPrice"]
        assert rows(messages, "wallet")[-1] == http.rows("account/wallet-balance", accountType="UNIFIED")[0]


def test_a_locked_coin_shows_in_the_wallet_at_once(http: OverHttp) -> None:
    """A resting spot order pushes a wallet whose locked amount is REST's; its cancel takes it off."""
    with listening(http, PRIVATE, "wallet") as listener:
        order = {"category": "spot", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01",
                 "price": "91000", "orderLinkId": "lock"}  # fmt: skip
        assert http.request("POST", "order/create", order).json()["retCode"] == 0
        assert usdt(rows(listener.heard(), "wallet")[-1])["locked"] == "910"
        http.request("POST", "order/cancel-all", {"category": "spot"})
        assert usdt(rows(listener.heard(), "wallet")[-1])["locked"] == "0"


def usdt(wallet: Json) -> Json:
    """The row of one coin."""
    found: Json = next(coin for coin in wallet["coin"] if coin["coin"] == "USDT")
    return found


def test_a_coin_that_is_gone_is_shown_once_as_zero() -> None:
    """A client that keeps coins by name must hear that one has left."""
    balances = {"USDT": Decimal(1000), "SOL": Decimal(1)}
    with over_http(balances=balances) as http, listening(http, PRIVATE, "wallet") as listener:
        http.do("world", {"verb": "transfer", "coin": "USDT", "amount": "1"})
        http.do("world", {"verb": "transfer", "coin": "SOL", "amount": "-1"})
        told = [
            {coin["coin"]: coin["walletBalance"] for coin in row["coin"]}
            for row in rows(listener.heard(), "wallet")
        ]
        assert [row.get("SOL") for row in told] == ["1", "0"]
        http.do("world", {"verb": "transfer", "coin": "USDT", "amount": "1"})
        (last,) = rows(listener.heard(), "wallet")
        assert [coin["coin"] for coin in last["coin"]] == ["USDT"]


def test_topics_of_one_category_hear_only_that(http: OverHttp) -> None:
    """A spot topic hears nothing of perps and the other way round; messages carry the topic asked for."""
    with listening(
        http, PRIVATE, "order.spot", "execution.linear", "execution.fast.spot", "position.linear"
    ) as listener:
        both_legs(http)
        messages = listener.heard()
        assert {message["topic"] for message in messages} == {
            "order.spot", "execution.linear", "execution.fast.spot", "position.linear"}  # fmt: skip
        for message in messages:
            assert {row["category"] for row in message["data"]} == {message["topic"].rpartition(".")[2]}


def test_each_wallet_shows_its_own_instant() -> None:
    """In a step over several settlements each message has the balance after its own, as the log has it."""
    with over_http() as http, listening(http, PRIVATE, "wallet") as listener:
        http.create(qty="0.5")
        listener.heard()
        http.do("clock", {"advance": "2d"})
        told = [usdt(row)["walletBalance"] for row in rows(listener.heard(), "wallet")]
        log = [row["cashBalance"] for row in http.truth()["transaction_log"] if row["type"] == "SETTLEMENT"]
        assert len(log) == 6
        assert told == log


def test_a_second_connection_hears_the_same(http: OverHttp) -> None:
    """Two private connections get the same messages; one that has left gets none."""
    with listening(http, PRIVATE, "order") as first, listening(http, PRIVATE, "order") as second:
        both_legs(http)
        assert first.heard() == second.heard()
        second.ask(op="unsubscribe", args=["order"])
        both_legs(http)
        assert first.heard()
        assert second.heard() == []


def test_a_restart_ends_private_connections() -> None:
    """They are closed with 1012 and must sign on again; restoring a snapshot ends all of them."""
    with over_http() as http:
        saved = http.do("snapshot", {})
        with (
            listening(http, PRIVATE, "order") as private,
            listening(http, "public/spot", "tickers.BTCUSDT") as public,
        ):
            http.do("world", {"verb": "restart"})
            assert private.end() == 1012
            assert public.ask(op="ping")["success"]
            http.do("restore", saved)
            assert public.end() == 1012
        with listening(http, PRIVATE, "order") as again:
            http.create()
            assert again.heard()


@pytest.mark.parametrize("real", [False, True])
def test_who_connects_after_a_restart_stays(real: bool) -> None:
    """A restart or a restore is the end of those who were there, not of the first one after it."""
    changes: Json = {"clock": ClockKind.REAL, "start": None, "limits": False} if real else {}
    with over_http(**changes) as http:
        for deed, body in (("restore", http.do("snapshot", {})), ("world", RESTART)):
            http.do(deed, body)
            for path, topic in ((PRIVATE, "order"), ("public/spot", "tickers.BTCUSDT")):
                with listening(http, path, topic) as listener:
                    http.do("world", {"verb": "jump", "symbol": "BTCUSDT", "factor": "1.01"})
                    http.create()
                    assert listener.until(topic)["data"]
                    assert listener.ask(op="ping")


def test_on_the_real_clock_a_fill_is_pushed_without_another_request() -> None:
    """Matching happens when it is due, not when somebody asks; the answer comes first."""
    with (
        over_http(clock=ClockKind.REAL, start=None, limits=False) as real,
        listening(real, PRIVATE, "execution", "order") as listener,
    ):
        order_id = real.create().json()["result"]["orderId"]
        assert listener.until("execution")["data"][0]["orderId"] == order_id


RESTART = {"verb": "restart"}
HAPPENINGS: tuple[Json, ...] = (
    {"verb": "mark", "symbol": "BTCUSDT", "price": "93000"},
    {"verb": "mark", "symbol": "BTCUSDT", "price": None},
    {"verb": "jump", "symbol": "ETHUSDT", "factor": "1.1"},
    {
        "verb": "book",
        "category": "linear",
        "symbol": "SOLUSDT",
        "bids": [],
        "asks": [["200", "5"], ["200", "6"]],
    },
    {"verb": "book", "category": "spot", "symbol": "SOLUSDT", "bids": [["300", "1"]], "asks": [["200", "1"]]},
    {"verb": "freeze", "symbol": "ETHUSDT", "on": True},
    {
        "verb": "ticker_patch",
        "category": "linear",
        "symbol": "BTCUSDT",
        "fields": {"markPrice": "NaN", "symbol": "?"},
    },
    {"verb": "ticker_patch", "category": "spot", "symbol": "BTCUSDT", "fields": {"lastPrice": ""}},
    {"verb": "funding_rate", "symbol": "BTCUSDT", "rate": "0.003"},
    {"verb": "interval", "symbol": "BTCUSDT", "hours": 1},
    {"verb": "settle", "symbol": "BTCUSDT"},
    {"verb": "halt", "category": "linear", "symbol": "ETHUSDT", "on": True},
    {
        "verb": "filters",
        "category": "linear",
        "symbol": "ETHUSDT",
        "fields": {"qtyStep": "0.5", "tickSize": "5"},
    },
    {"verb": "fees", "category": "spot", "taker": "0.002", "mnt": True},
    {"verb": "borrow", "coin": "SOL", "amount": "3"},
    {"verb": "collateral", "coin": "BTC", "on": False},
    {"verb": "usd", "price": "0.9"},
    {"verb": "transfer", "coin": "ETH", "amount": "2"},
    {"verb": "auto_repay", "coin": "ETH", "fraction": "0.5"},
    {"verb": "adl", "symbol": "BTCUSDT", "fraction": "0.3"},
    {"verb": "manual_order", "category": "spot", "symbol": "BTCUSDT", "side": "Sell", "qty": "0.01"},
    {"verb": "delist", "symbol": "BTCUSDT", "at": "2025-01-06T01:00:00Z"},
    {"verb": "liquidate", "symbol": "ETHUSDT"},
    {"verb": "skew", "ms": 700},
    {"verb": "maintenance", "begin": "2025-01-06T00:00:00Z", "end": "2025-01-07T00:00:00Z"},
)


def test_everything_that_can_happen_is_told() -> None:
    """All verbs of the world, a delivery and a liquidation with every topic watched: connections live,
    all executions are told, and the wallet told last is the true one.
    """
    kinds = ("tickers", "orderbook.1", "orderbook.200", "kline.5", "publicTrade")
    symbols = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    with over_http(balances={"USDT": Decimal(20_000), "BTC": Decimal(1)}) as http, ExitStack() as stack:
        private = stack.enter_context(listening(http, PRIVATE, *EVERYTHING))
        public = [stack.enter_context(listening(http, path)) for path in (LINEAR, SPOT)]
        for listener in public:
            for kind in kinds:
                assert listener.subscribe(*(f"{kind}.{symbol}" for symbol in symbols))["success"]
        both_legs(http)
        assert http.create(symbol="ETHUSDT", qty="3", side="Buy").json()["retCode"] == 0
        for happening in HAPPENINGS:
            http.do("world", happening)
            http.do("clock", {"advance": "3s"})
        http.do("clock", {"advance": "2h"})
        for listener in public:
            assert len(listener.heard()) > 50
        messages = private.heard()
        truth = http.truth()
        executions = rows(messages, "execution")
        assert [row["execId"] for row in executions] == [row["execId"] for row in truth["executions"]]
        kinds_told = {row["execType"] for row in executions}
        assert kinds_told == {"Trade", "Funding", "AdlTrade", "BustTrade", "Delivery"}
        told = {coin["coin"]: coin["walletBalance"] for coin in rows(messages, "wallet")[-1]["coin"]}
        assert told == {coin["coin"]: coin["walletBalance"] for coin in truth["wallets"]}
