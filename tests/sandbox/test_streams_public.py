"""Public streams: what is rebuilt from snapshots and deltas is what REST shows, and nothing is told twice."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from fundarb.core.instants import to_ms
from tests.sandbox.harness import START, START_MS, Json, OverHttp, over_http
from tests.sandbox.listener import LINEAR, SPOT, Rebuilt, listening

STEPS = ("50ms", "1s", "7s", "3m", "2h", "1d")


@pytest.fixture(scope="module")
def http() -> Iterator[OverHttp]:
    """One server for the whole file: its clock only moves forward."""
    with over_http() as client:
        yield client


def book_of(http: OverHttp, category: str, symbol: str, depth: int) -> Json:
    """REST's book."""
    found: Json = http.get("market/orderbook", category=category, symbol=symbol, limit=depth)["result"]
    return found


@pytest.mark.parametrize(("category", "path"), [("spot", SPOT), ("linear", LINEAR)])
@pytest.mark.parametrize("depth", [1, 50, 200, 1000])
def test_a_rebuilt_book_is_rests_book(http: OverHttp, category: str, path: str, depth: int) -> None:
    """After every step of time and every own trade, snapshot and deltas without a gap give REST's levels;
    with a thousand levels REST's update number too.
    """
    topic = f"orderbook.{depth}.ETHUSDT"
    with listening(http, path, topic) as listener:
        book = Rebuilt()
        for step in STEPS[:4]:
            http.do("clock", {"advance": step})
            http.create(
                category=category, symbol="ETHUSDT", side="Sell" if category == "linear" else "Buy", qty="10"
            )
            for message in listener.heard():
                book.apply(message)
            shown = book_of(http, category, "ETHUSDT", depth)
            for message in listener.heard():
                book.apply(message)
            assert book.levels() == (shown["b"], shown["a"])
            assert depth < 1000 or (book.number == shown["u"] and message["data"]["seq"] == shown["seq"])


def test_a_book_of_one_level_repeats_itself_after_three_quiet_seconds(http: OverHttp) -> None:
    """Only snapshots; without a change the same one again, with the same number."""
    http.do("world", {"verb": "freeze", "symbol": "SOLUSDT", "on": True})
    with listening(http, LINEAR, "orderbook.1.SOLUSDT") as listener:
        first = listener.next()
        http.do("clock", {"advance": "2s"})
        assert listener.heard() == []
        http.do("clock", {"advance": "1s"})
        (again,) = listener.heard()
        assert (again["type"], again["data"]) == ("snapshot", {**first["data"], "seq": again["data"]["seq"]})
    http.do("world", {"verb": "freeze", "symbol": "SOLUSDT", "on": False})


def test_a_second_subscriber_starts_from_the_present(http: OverHttp) -> None:
    """The newcomer's snapshot continues the numbers of the one who was there, and both agree from then on."""
    topic = "orderbook.50.BTCUSDT"
    with listening(http, LINEAR, topic) as old, listening(http, LINEAR) as new:
        books = Rebuilt(), Rebuilt()
        http.do("clock", {"advance": "1m"})
        assert new.subscribe(topic)["success"]
        http.do("clock", {"advance": "1m"})
        for listener, book in zip((old, new), books, strict=True):
            for message in listener.heard():
                book.apply(message)
        assert books[0].levels() == books[1].levels()
        assert books[0].number == books[1].number


def test_a_reconnect_begins_with_a_snapshot_above(http: OverHttp) -> None:
    """Whoever subscribes again gets a whole book, numbered higher than anything told before."""
    numbers = []
    for _ in range(3):
        with listening(http, LINEAR, "orderbook.50.BTCUSDT") as listener:
            first = listener.next()
            assert (first["type"], len(first["data"]["b"])) == ("snapshot", 50)
            http.create()
            numbers += [first["data"]["u"], *(message["data"]["u"] for message in listener.heard())]
    assert numbers == sorted(set(numbers))


def test_a_restart_begins_every_book_with_one(http: OverHttp) -> None:
    """The connection stays; a new snapshot comes with u = 1, and the next change is 2."""
    with listening(http, LINEAR, "orderbook.50.BTCUSDT") as listener:
        assert listener.next()["data"]["u"] > 1
        http.do("world", {"verb": "restart"})
        (again,) = listener.heard()
        assert (again["type"], again["data"]["u"]) == ("snapshot", 1)
        http.do("clock", {"advance": "1m"})
        assert [message["data"]["u"] for message in listener.heard()] == [2]


def test_a_rebuilt_perp_ticker_is_rests_ticker(http: OverHttp) -> None:
    """Snapshot and deltas give REST's row through time, a funding settlement and changes of the world; deltas
    hold only what has changed.
    """
    with listening(http, LINEAR, "tickers.BTCUSDT") as listener:
        fields: Json = {}
        changes = [
            ("clock", {"advance": step}) for step in STEPS
        ] + [
            ("world", {"verb": "mark", "symbol": "BTCUSDT", "price": "12345"}),
            ("world", {"verb": "funding_rate", "symbol": "BTCUSDT", "rate": "-0.0012"}),
            ("world", {"verb": "ticker_patch", "category": "linear", "symbol": "BTCUSDT",
                       "fields": {"fundingCap": "?"}}),
            ("world", {"verb": "interval", "symbol": "BTCUSDT", "hours": 1}),
            ("world", {"verb": "jump", "symbol": "BTCUSDT", "factor": "0.9"}),
        ]  # fmt: skip
        for path, body in changes:
            http.do(path, body)
            for message in listener.heard():
                if message["type"] == "delta":
                    told = {name: value for name, value in message["data"].items() if name != "symbol"}
                    assert told
                    assert all(fields[name] != value for name, value in told.items())
                fields |= message["data"]
            (row,) = http.rows("market/tickers", category="linear", symbol="BTCUSDT")
            assert {name: fields[name] for name in row if row[name] not in {"", "0"}}.items() <= row.items()
            assert fields.items() <= {**row, "tickDirection": fields["tickDirection"]}.items()
        assert fields["tickDirection"].endswith("MinusTick")


def test_a_spot_ticker_is_a_snapshot_without_quotes(http: OverHttp) -> None:
    """Each message is whole and agrees with REST; bid and ask are not in it."""
    with listening(http, SPOT, "tickers.BTCUSDT") as listener:
        http.do("clock", {"advance": "1h"})
        messages = listener.heard()
        assert [message["type"] for message in messages] == ["snapshot"] * 2
        (row,) = http.rows("market/tickers", category="spot", symbol="BTCUSDT")
        assert messages[-1]["data"].items() <= row.items()
        assert not {"bid1Price", "ask1Price"} & messages[-1]["data"].keys()


def test_nothing_is_pushed_when_nothing_changes(http: OverHttp) -> None:
    """Requests at the same instant leave the streams silent."""
    topics = ("tickers.BTCUSDT", "orderbook.50.BTCUSDT", "kline.5.BTCUSDT", "publicTrade.BTCUSDT")
    with listening(http, LINEAR, *topics) as listener:
        assert len(listener.heard()) == 3
        http.get("market/time")
        http.do("world", {"verb": "skew", "ms": 0})
        assert listener.heard() == []


def test_a_topic_that_was_left_is_silent(http: OverHttp) -> None:
    """After unsubscribe nothing more comes, and the same topic can be subscribed to again."""
    with listening(http, LINEAR, "tickers.BTCUSDT", "tickers.ETHUSDT") as listener:
        listener.heard()
        assert listener.ask(op="unsubscribe", args=["tickers.BTCUSDT"])["success"]
        http.do("clock", {"advance": "1m"})
        assert {message["topic"] for message in listener.heard()} == {"tickers.ETHUSDT"}
        assert listener.subscribe("tickers.BTCUSDT")["success"]


@pytest.mark.parametrize(
    "interval", ["1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D", "W", "M"]
)
def test_bars_are_rests_bars(http: OverHttp, interval: str) -> None:
    """Every bar that ends is confirmed once, in order, as REST shows it; then the running one."""
    with listening(http, SPOT, f"kline.{interval}.BTCUSDT") as listener:
        (first,) = listener.heard()
        assert not first["data"][0]["confirm"]
        http.do("clock", {"advance": "11m"})
        bars = [message["data"][0] for message in listener.heard()]
        assert [bar["confirm"] for bar in bars] == [True] * (len(bars) - 1) + [False]
        if interval == "1":
            assert len(bars) == 12
        shown = http.rows(
            "market/kline", category="spot", symbol="BTCUSDT", interval=interval, limit=len(bars)
        )
        names = ("open", "high", "low", "close", "volume", "turnover")
        told = [[str(bar["start"]), *(bar[name] for name in names)] for bar in bars]
        assert told == shown[::-1]


_EVERY_MS = 5000
"""The market trades every five seconds."""


def test_trades_are_rests_trades(http: OverHttp) -> None:
    """The market's trades and our own, each once, oldest first, and none from before the subscription."""
    http.do("clock", {"advance": "1s"})
    since = to_ms(http.house.venue.now)
    with listening(http, LINEAR, "publicTrade.BTCUSDT") as listener:
        http.create(qty="1.5")
        for _ in range(3):
            http.do("clock", {"advance": "17s"})
            http.create()
        ours = {row["execId"] for row in http.truth()["executions"] if int(row["execTime"]) >= since}
        told = [row for message in listener.heard() for row in message["data"]]
    shown = http.rows("market/recent-trade", category="linear", symbol="BTCUSDT", limit=200)
    market = {row["execId"] for row in shown if int(row["time"]) > since} - ours
    assert len(ours) >= 4
    assert len(market) == to_ms(http.house.venue.now) // _EVERY_MS - since // _EVERY_MS
    assert {row["i"] for row in told} == market | ours
    assert len(told) == len(market | ours)
    assert [row["T"] for row in told] == sorted(row["T"] for row in told)


def test_inverse_and_option_streams_are_open_and_empty(http: OverHttp) -> None:
    """Their paths accept connections and know no symbol."""
    for path in ("public/inverse", "public/option"):
        with listening(http, path) as listener:
            assert not listener.subscribe("tickers.BTCUSDT")["success"]


def test_a_delisted_symbol_falls_silent() -> None:
    """Its ticker is pushed until delivery; then the topic is unknown."""
    with over_http() as http:
        at = START + timedelta(hours=2)
        http.do("world", {"verb": "delist", "symbol": "ETHUSDT", "at": f"{at:%Y-%m-%dT%H:%M:%SZ}"})
        with listening(http, LINEAR, "tickers.ETHUSDT") as listener:
            assert json.loads(listener.connection.recv())["data"]["deliveryTime"] == str(START_MS + 7_200_000)
            http.do("clock", {"advance": "3h"})
            listener.heard()
            http.do("clock", {"advance": "1h"})
            assert listener.heard() == []
        with listening(http, LINEAR) as listener:
            assert not listener.subscribe("tickers.ETHUSDT")["success"]
