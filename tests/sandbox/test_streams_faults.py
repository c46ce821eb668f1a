"""Faults on streams: messages lost, late or doubled, connections cut, as often as a rule says and nowhere
else.
"""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from fundarb.clock import SystemClock
from tests.sandbox.harness import OverHttp, over_http
from tests.sandbox.listener import LINEAR, PRIVATE, Rebuilt, listening, rows


@pytest.fixture(scope="module")
def server() -> Iterator[OverHttp]:
    """One server for the whole file."""
    with over_http() as client:
        yield client


@pytest.fixture
def http(server: OverHttp) -> Iterator[OverHttp]:
    """Without any fault left over."""
    yield server
    server.control("faults", method="DELETE")


def arm(http: OverHttp, verb: str, path: str = LINEAR, **match: object) -> None:
    """A fault on a stream; ``do`` arguments by a trailing underscore."""
    more = {name.rstrip("_"): match.pop(name) for name in list(match) if name.endswith("_")}
    http.do("faults", {"match": {"path": f"/v5/{path}", **match}, "do": {"verb": verb, **more}})


def test_a_muted_delta_is_a_gap(http: OverHttp) -> None:
    """One delta never arrives: the numbers jump, and only a new subscription heals the book."""
    topic = "orderbook.50.BTCUSDT"
    with listening(http, LINEAR, topic, "tickers.BTCUSDT") as listener:
        book = Rebuilt()
        for message in listener.heard():
            book.apply(message) if message["topic"] == topic else None
        arm(http, "mute", topic=topic)
        http.do("clock", {"advance": "1s"})
        assert {message["topic"] for message in listener.heard()} == {"tickers.BTCUSDT"}
        http.do("clock", {"advance": "1s"})
        (delta,) = [message for message in listener.heard() if message["topic"] == topic]
        with pytest.raises(AssertionError):
            book.apply(delta)
        assert listener.ask(op="unsubscribe", args=[topic])["success"]
        listener.subscribe(topic)
        book.apply(listener.next())
        http.do("clock", {"advance": "1s"})
        for message in listener.heard():
            book.apply(message) if message["topic"] == topic else None


def test_a_muted_stream_is_connected_and_silent(http: OverHttp) -> None:
    """Without an end nothing arrives any more, pongs included; when the fault is removed the connection
    lives.
    """
    with listening(http, PRIVATE, "order") as listener:
        arm(http, "mute", PRIVATE, times=0)
        http.create()
        listener.send({"op": "ping"})
        with pytest.raises(TimeoutError):
            listener.connection.recv(0.1)
        http.control("faults", method="DELETE")
        http.create()
        assert [row["orderStatus"] for row in rows(listener.heard(), "order")] == ["New", "Filled"]


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_dropped_message_costs_the_connection(http: OverHttp, how: str) -> None:
    """The order is there, its message and its connection are not."""
    with listening(http, PRIVATE, "order", "wallet") as listener:
        arm(http, "drop_request", PRIVATE, topic="order", nth=2, how_=how)
        order_id = http.create().json()["result"]["orderId"]
        assert listener.until("order")["data"][0]["orderStatus"] == "New"
        assert listener.end() == 1006
        assert http.truth()["orders"][-1]["orderId"] == order_id
    with listening(http, PRIVATE, "order") as again:
        http.create()
        assert again.heard()


def test_a_client_can_be_kept_from_signing_on(http: OverHttp) -> None:
    """Answers are messages too: every connection ends at its first one until the fault is removed."""
    arm(http, "drop_request", PRIVATE, topic="auth", times=0)
    for _ in range(2):
        with listening(http, PRIVATE) as listener:
            listener.send({"op": "auth", "args": ["demo", 1, "x"]})
            assert listener.end() == 1006


def test_a_delayed_message_keeps_its_place(http: OverHttp) -> None:
    """It comes later by the wall clock, and what follows waits behind it."""
    with listening(http, PRIVATE, "execution") as listener:
        arm(http, "delay", PRIVATE, topic="execution", ms_=400)
        wall = SystemClock()
        began = wall.monotonic()
        ids = [http.create(qty=qty).json()["result"]["orderId"] for qty in ("0.01", "0.02")]
        assert [listener.next()["data"][0]["orderId"] for _ in range(2)] == ids
        assert wall.monotonic() - began >= timedelta(seconds=0.4)


def test_nobody_waits_for_a_delayed_message(http: OverHttp) -> None:
    """It is an hour late: orders are answered all the same, the virtual clock goes on, and the message is not
    there.
    """
    with listening(http, PRIVATE, "execution") as listener:
        arm(http, "delay", PRIVATE, topic="execution", ms_=3_600_000)
        before = http.house.clock.now()
        http.create()
        http.do("clock", {"advance": "1m"})
        assert http.house.clock.now() >= before + timedelta(minutes=1)
        with pytest.raises(TimeoutError):
            listener.connection.recv(0.1)


def test_a_doubled_message_comes_twice(http: OverHttp) -> None:
    """A client that counts executions must know them by their id."""
    with listening(http, PRIVATE, "execution") as listener:
        arm(http, "duplicate_rows", PRIVATE)
        http.create()
        first, second = rows(listener.heard(), "execution")
        assert first == second


def test_rules_mean_what_they_name(http: OverHttp) -> None:
    """Symbol, category, side and link id choose messages; a rule for requests counts none of them."""
    with listening(http, PRIVATE, "order") as listener:
        http.do(
            "faults",
            {
                "id": "requests",
                "match": {"path": "/v5/order/create", "nth": 9},
                "do": {"verb": "delay", "ms": 1},
            },
        )
        http.do("faults", {"id": "anything", "match": {"nth": 99}, "do": {"verb": "delay", "ms": 1}})
        arm(http, "mute", PRIVATE, symbol="ETHUSDT", times=0)
        arm(http, "mute", PRIVATE, link_id="quiet", times=0)
        arm(http, "mute", PRIVATE, category="spot", times=0)
        arm(http, "mute", PRIVATE, side="Buy", times=0)
        http.create(symbol="ETHUSDT", qty="1")
        http.create(orderLinkId="quiet")
        http.create(side="Buy")
        http.create(orderLinkId="loud")
        assert {row["orderLinkId"] for row in rows(listener.heard(), "order")} == {"loud"}
        seen = {row["id"]: row["seen"] for row in http.control("faults", method="GET").json()["faults"]}
        assert seen["requests"] == 4
        assert seen["anything"] == 4
