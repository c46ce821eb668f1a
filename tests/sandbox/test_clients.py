"""Clients nobody here wrote: ccxt's unified and implicit calls, and pybit, over real HTTP on the real
clock.
"""

from collections.abc import Iterator
from typing import Any

import ccxt
import pytest
from pybit.unified_trading import HTTP

from fundarb.sandbox.options import ClockKind
from tests.sandbox.harness import OverHttp, over_http


@pytest.fixture
def exchange(real: OverHttp) -> Iterator[Any]:
    """Ccxt's Bybit class pointed at the sandbox, otherwise as anybody would use it."""
    client = ccxt.bybit({"apiKey": "demo", "secret": "demo", "enableRateLimit": False})
    client.urls["api"] = dict.fromkeys(("spot", "futures", "v2", "public", "private"), real.url)
    client.has["fetchCurrencies"] = False
    yield client
    client.session.close()


def test_ccxt_loads_the_whole_market(exchange: Any) -> None:
    """load_markets asks all categories; spot, perp, multiplier and USDC-free symbols are there."""
    markets = exchange.load_markets()
    assert markets.keys() >= {"BTC/USDT", "BTC/USDT:USDT", "1000PEPE/USDT:USDT", "PEPE/USDT"}
    assert markets["BTC/USDT:USDT"]["precision"]["amount"] == 0.001
    assert exchange.fetch_status()["status"] == "ok"


def test_ccxt_reads_prices(exchange: Any) -> None:
    """Tickers, funding rates and their history, books and bars parse into finite numbers."""
    exchange.load_markets()
    tickers = exchange.fetch_tickers()
    assert tickers["BTC/USDT:USDT"]["bid"] < tickers["BTC/USDT:USDT"]["ask"]
    assert exchange.fetch_tickers(params={"type": "spot"})["BTC/USDT"]["last"] > 0
    assert exchange.fetch_funding_rates()["BTC/USDT:USDT"]["interval"] == "8h"
    assert len(exchange.fetch_funding_rate_history("BTC/USDT:USDT", limit=10)) == 10
    book = exchange.fetch_order_book("BTC/USDT", limit=20)
    assert len(book["bids"]) == 20
    bars = exchange.fetch_ohlcv("BTC/USDT:USDT", "1h", limit=5)
    assert len(bars) == 5
    tiers = exchange.fetch_market_leverage_tiers("BTC/USDT:USDT")
    assert tiers[0]["maxLeverage"] == 100


def test_ccxt_trades_both_legs(exchange: Any) -> None:
    """Spot buy and perp short through unified calls; trades, orders, positions, balance and ledger tell the
    same.
    """
    exchange.load_markets()
    exchange.set_leverage(2, "BTC/USDT:USDT")
    spot = exchange.create_order("BTC/USDT", "market", "buy", 0.01, params={"orderLinkId": "spot-1"})
    perp = exchange.create_order("BTC/USDT:USDT", "market", "sell", 0.01, params={"orderLinkId": "perp-1"})
    assert spot["id"]
    assert perp["clientOrderId"] == "perp-1"
    found = exchange.fetch_order(perp["id"], "BTC/USDT:USDT", params={"acknowledged": True})
    for _ in range(50):
        if found["status"] == "closed":
            break
        found = exchange.fetch_order(perp["id"], "BTC/USDT:USDT", params={"acknowledged": True})
    assert (found["filled"], found["status"]) == (0.01, "closed")
    trade = exchange.fetch_my_trades("BTC/USDT")[0]
    assert (trade["fee"]["currency"], trade["amount"]) == ("BTC", 0.01)
    position = exchange.fetch_positions()[0]
    assert (position["side"], position["contracts"]) == ("short", 0.01)
    assert exchange.fetch_balance()["BTC"]["total"] == pytest.approx(0.00999)
    assert {row["currency"] for row in exchange.fetch_ledger()} == {"BTC", "USDT"}
    assert exchange.fetch_trading_fee("BTC/USDT:USDT")["taker"] == 0.00055


def test_ccxt_rests_and_cancels(exchange: Any) -> None:
    """A limit order is open until cancelled; refusals come as ccxt's own classes."""
    exchange.load_markets()
    price = exchange.fetch_ticker("BTC/USDT:USDT")["bid"] * 1.03
    order = exchange.create_order(
        "BTC/USDT:USDT", "limit", "sell", 0.01, exchange.price_to_precision("BTC/USDT:USDT", price)
    )
    assert [item["id"] for item in exchange.fetch_open_orders("BTC/USDT:USDT")] == [order["id"]]
    exchange.cancel_order(order["id"], "BTC/USDT:USDT")
    for _ in range(50):
        if not exchange.fetch_open_orders("BTC/USDT:USDT"):
            break
    assert exchange.fetch_open_orders("BTC/USDT:USDT") == []
    with pytest.raises(ccxt.OrderNotFound):
        exchange.cancel_order("no-such-order", "BTC/USDT:USDT")
    with pytest.raises(ccxt.InsufficientFunds):
        exchange.create_order("BTC/USDT", "market", "buy", 50)
    with pytest.raises(ccxt.InvalidOrder):
        exchange.create_order("BTC/USDT:USDT", "market", "sell", 0.01, params={"reduceOnly": True})


def test_ccxt_with_a_wrong_secret(exchange: Any) -> None:
    """Ccxt understands the refusals: bad secret and unknown key are authentication errors."""
    exchange.secret = "wrong"
    with pytest.raises(ccxt.AuthenticationError):
        exchange.privateGetV5AccountInfo()
    exchange.apiKey = "nobody"
    with pytest.raises(ccxt.AuthenticationError):
        exchange.privateGetV5AccountInfo()


def test_pybit_trades(real: OverHttp) -> None:
    """pybit, which signs with the wall clock, reads the market and trades."""
    session = HTTP(api_key="demo", api_secret="demo")
    session.endpoint = real.url
    assert (
        session.get_tickers(category="linear", symbol="BTCUSDT")["result"]["list"][0]["symbol"] == "BTCUSDT"
    )
    placed = session.place_order(
        category="linear", symbol="BTCUSDT", side="Sell", orderType="Market", qty="0.01"
    )
    assert placed["retCode"] == 0
    assert session.get_wallet_balance(accountType="UNIFIED")["retCode"] == 0
    assert (
        session.get_positions(category="linear", symbol="BTCUSDT")["result"]["list"][0]["symbol"] == "BTCUSDT"
    )
    session.client.close()


def test_a_lost_answer_through_ccxt() -> None:
    """To ccxt a reset after the order was applied is a network error; the order is found by its link id."""
    with over_http(clock=ClockKind.REAL, start=None, limits=False) as real:
        client = ccxt.bybit({"apiKey": "demo", "secret": "demo", "enableRateLimit": False})
        client.urls["api"] = dict.fromkeys(("public", "private"), real.url)
        real.do(
            "faults",
            {"match": {"path": "/v5/order/create"}, "do": {"verb": "apply_then_lose", "how": "reset"}},
        )
        order = {
            "category": "linear",
            "symbol": "BTCUSDT",
            "side": "Sell",
            "orderType": "Market",
            "qty": "0.01",
            "orderLinkId": "lost",
        }
        with pytest.raises(ccxt.NetworkError):
            client.privatePostV5OrderCreate(order)
        found = client.privateGetV5OrderRealtime({"category": "linear", "orderLinkId": "lost"})
        assert len(found["result"]["list"]) == 1
        client.session.close()
