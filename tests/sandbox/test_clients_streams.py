"""Streams through clients nobody here wrote, on the real clock: ccxt.pro and pybit's WebSocket, with orders
being placed meanwhile.
"""

import asyncio
import queue
import signal
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import ccxt
import pytest
from pybit import unified_trading

from fundarb.clock import SystemClock
from fundarb.sandbox.options import ClockKind
from tests.conftest import ROOT
from tests.sandbox.harness import OverHttp, over_http
from tests.sandbox.listener import hub_of

PERP, PAIR = "BTC/USDT:USDT", "BTC/USDT"
PATIENCE = 30
WALL = SystemClock()


@pytest.fixture(scope="module")
def server() -> Iterator[OverHttp]:
    """One sandbox on the wall clock for both clients."""
    with over_http(
        clock=ClockKind.REAL, start=None, limits=False, balances={"USDT": Decimal(100_000)}
    ) as client:
        yield client


# ------------------------------------------------------------------------------------------------ ccxt.pro


def guide(server: OverHttp, first_line: str) -> dict[str, Any]:
    """What a piece of code of docs/sandbox.md makes, run as it stands there but for the port."""
    text = (ROOT / "docs" / "sandbox.md").read_text(encoding="utf-8")
    code = next(part for part in text.split("```python\n") if part.startswith(first_line)).partition("```")[0]
    made: dict[str, Any] = {}
    exec(code.replace("127.0.0.1:8899", server.url.removeprefix("http://")), made)  # noqa: S102 - our own guide
    return made


def listened_to(server: OverHttp, topic: str) -> bool:
    """Whether a private topic has a subscriber."""
    return any(topic in socket.topics for socket in list(hub_of(server).sockets))


def with_pro(server: OverHttp, work: Callable[[Any], Awaitable[None]]) -> None:
    """Run something with a client that has loaded its markets, and close it."""

    async def run() -> None:
        client = guide(server, "import ccxt.pro")["exchange"]
        client.enableRateLimit = False
        try:
            await client.load_markets()
            async with asyncio.timeout(PATIENCE):
                await work(client)
        finally:
            await client.close()

    asyncio.run(run())


async def subscribed(server: OverHttp, *topics: str) -> None:
    """Returns when somebody listens to these private topics: what happens before that is not told."""
    while not all(listened_to(server, topic) for topic in topics):  # noqa: ASYNC110 - another thread's state
        await asyncio.sleep(0.01)


async def heard(watch: Callable[[], Awaitable[list[Any]]], wanted: Callable[[Any], bool]) -> Any:
    """The first item of a watched list that is wanted."""
    while True:
        for item in await watch():
            if wanted(item):
                return item


def test_ccxt_pro_watches_the_market(server: OverHttp) -> None:
    """Tickers of both markets, books, bars and trades arrive, move, and make sense."""

    async def work(client: Any) -> None:
        tickers = await client.watch_tickers([PERP, "ETH/USDT:USDT"])
        perp = await client.watch_ticker(PERP)
        assert perp["bid"] < perp["ask"]
        assert float(perp["info"]["fundingIntervalHour"]) == 8
        assert set(tickers) <= {PERP, "ETH/USDT:USDT"}
        assert (await client.watch_ticker(PAIR))["last"] > 0
        for symbol, depth in ((PERP, 50), (PAIR, 200), ("SOL/USDT:USDT", 1), ("ETH/USDT", 1000)):
            book = await client.watch_order_book(symbol, depth)
            assert book["bids"][0][0] < book["asks"][0][0]
            assert len(book["bids"]) == depth
        for _ in range(5):
            book = await client.watch_order_book("ETH/USDT:USDT")
            assert book["bids"][0][0] < book["asks"][0][0]
        (bar, *_) = await client.watch_ohlcv(PAIR, "1m")
        assert bar[3] <= bar[4] <= bar[2]
        watched = asyncio.create_task(client.watch_trades(PERP))
        while not watched.done():
            await client.create_order(PERP, "market", "sell", 0.001)
            await asyncio.sleep(0.05)
        assert (await watched)[0]["price"] > 0

    with_pro(server, work)


def test_ccxt_pro_watches_the_account(server: OverHttp) -> None:
    """Orders, trades, positions and balance of both legs arrive as they happen, told as REST tells them. What
    falls between two calls of watch_positions or watch_balance stays in the cache: hence many orders.
    """

    async def work(client: Any) -> None:
        async def bought() -> Any:
            while (balance := await client.watch_balance()).get("BTC", {}).get("total", 0) == 0:
                pass
            return balance

        await client.watch_positions()
        watched = asyncio.gather(
            heard(client.watch_orders, lambda item: item["symbol"] == PAIR and item["status"] == "closed"),
            heard(client.watch_my_trades, lambda item: item["symbol"] == PERP),
            heard(lambda: client.watch_positions([PERP]), lambda item: (item["contracts"] or 0) >= 0.01),
            bought(),
        )
        await subscribed(server, "order", "execution", "position", "wallet")
        spots, perps = [], []
        while not watched.done():
            spots.append((await client.create_order(PAIR, "market", "buy", 0.01))["id"])
            perps.append((await client.create_order(PERP, "market", "sell", 0.01))["id"])
            await asyncio.sleep(0.1)
        order, trade, position, balance = await watched
        assert order["id"] in spots
        assert order["filled"] == 0.01
        assert trade["order"] in perps
        assert (trade["side"], trade["fee"]["currency"]) == ("sell", "USDT")
        assert (position["side"], position["entryPrice"] > 0) == ("short", True)
        assert balance["USDT"]["total"] < 100_000
        assert balance["BTC"]["total"] >= 0.00999
        told = {item["id"]: item for item in await client.fetch_my_trades(PERP)}[trade["id"]]
        names = ("id", "order", "price", "amount", "cost", "side", "timestamp")
        assert {name: trade[name] for name in names} == {name: told[name] for name in names}

    with_pro(server, work)


def test_ccxt_pro_follows_an_order_to_its_cancel(server: OverHttp) -> None:
    """A resting order is told open and then canceled."""

    async def work(client: Any) -> None:
        opened = asyncio.create_task(heard(client.watch_orders, lambda item: item["status"] == "open"))
        await subscribed(server, "order")
        price = (await client.fetch_ticker(PERP))["ask"] * 1.03
        order = await client.create_order(PERP, "limit", "sell", 0.01, client.price_to_precision(PERP, price))
        assert (await opened)["id"] == order["id"]
        ended = asyncio.create_task(heard(client.watch_orders, lambda item: item["status"] == "canceled"))
        await client.cancel_order(order["id"], PERP)
        assert (await ended)["id"] == order["id"]

    with_pro(server, work)


def test_ccxt_pro_stops_watching(server: OverHttp) -> None:
    """un_watch calls are acknowledged; watching again works."""

    async def work(client: Any) -> None:
        await client.watch_ticker(PERP)
        await client.un_watch_ticker(PERP)
        await client.watch_order_book(PERP, 50)
        await client.un_watch_order_book(PERP, {"limit": 50})
        assert (await client.watch_ticker(PERP))["last"] > 0

    with_pro(server, work)


def test_ccxt_pro_with_a_wrong_secret(server: OverHttp) -> None:
    """A refused signature reaches the caller as an error instead of silence."""

    async def work(client: Any) -> None:
        client.options["enableUnifiedAccount"], client.options["enableUnifiedMargin"] = True, False
        client.secret = "wrong"
        with pytest.raises(ccxt.ExchangeError, match="error sign"):
            await client.watch_orders()

    with_pro(server, work)


# ------------------------------------------------------------------------------------------------ pybit


_LONGEST = 60


@pytest.fixture
def pybit_streams(server: OverHttp, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """WebSockets of pybit, with its two addresses overridden as the guide tells it."""
    for name in ("PUBLIC_WSS", "PRIVATE_WSS"):
        monkeypatch.setattr(unified_trading, name, "")
    opened = [guide(server, "from pybit import unified_trading")["stream"]]

    def connect(channel: str) -> Any:
        if channel != "private":
            opened.append(unified_trading.WebSocket(channel_type=channel, testnet=False))
        return opened[-1]

    previous = signal.signal(signal.SIGALRM, _too_long)  # pybit waits for a connection without an end
    signal.alarm(_LONGEST)
    yield connect
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)
    for client in opened:
        client.exit()


def _too_long(*_: object) -> None:
    raise TimeoutError(f"the client did not get on within {_LONGEST} s")


def test_pybit_streams_the_market(server: OverHttp, pybit_streams: Callable[[str], Any]) -> None:
    """Tickers, books, bars and trades of both markets reach the callbacks."""
    for channel in ("linear", "spot"):
        client = pybit_streams(channel)
        heard: dict[str, queue.Queue[Any]] = {
            name: queue.Queue() for name in ("ticker", "book", "bar", "trade")
        }
        client.ticker_stream(symbol=["BTCUSDT", "ETHUSDT"], callback=heard["ticker"].put)
        client.orderbook_stream(depth=50, symbol="BTCUSDT", callback=heard["book"].put)
        client.kline_stream(interval=1, symbol="BTCUSDT", callback=heard["bar"].put)
        client.trade_stream(symbol="BTCUSDT", callback=heard["trade"].put)
        while heard["trade"].empty():
            server.create(category=channel, side="Buy", qty="0.001", marketUnit="baseCoin")
            for _ in range(3):
                book = heard["book"].get(timeout=PATIENCE)["data"]
                assert len(book["b"]) == len(book["a"]) == 50
        assert float(heard["ticker"].get(timeout=PATIENCE)["data"]["lastPrice"]) > 0
        assert heard["bar"].get(timeout=PATIENCE)["data"][0]["interval"] == "1"
        assert heard["trade"].get(timeout=PATIENCE)["data"][0]["s"] == "BTCUSDT"


def test_pybit_streams_the_account(server: OverHttp, pybit_streams: Callable[[str], Any]) -> None:
    """Order, execution, position and wallet of an order placed meanwhile reach the callbacks."""
    client = pybit_streams("private")
    heard: dict[str, queue.Queue[Any]] = {
        name: queue.Queue() for name in ("order", "execution", "position", "wallet")
    }
    client.order_stream(callback=heard["order"].put)
    client.execution_stream(callback=heard["execution"].put)
    client.position_stream(callback=heard["position"].put)
    client.wallet_stream(callback=heard["wallet"].put)
    for _ in range(PATIENCE * 100):
        if all(listened_to(server, topic) for topic in heard):
            break
        WALL.sleep(timedelta(seconds=0.01))
    assert client.auth
    rest = unified_trading.HTTP(api_key="demo", api_secret="demo")
    rest.endpoint = server.url
    placed = rest.place_order(category="linear", symbol="ETHUSDT", side="Buy", orderType="Market", qty="0.1")
    order_id = placed["result"]["orderId"]
    statuses = [heard["order"].get(timeout=PATIENCE)["data"][0] for _ in range(2)]
    assert [(row["orderId"], row["orderStatus"]) for row in statuses] == [
        (order_id, "New"),
        (order_id, "Filled"),
    ]
    assert heard["execution"].get(timeout=PATIENCE)["data"][0]["orderId"] == order_id
    assert heard["position"].get(timeout=PATIENCE)["data"][0]["symbol"] == "ETHUSDT"
    assert heard["wallet"].get(timeout=PATIENCE)["data"][0]["accountType"] == "UNIFIED"
    rest.client.close()
