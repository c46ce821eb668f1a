"""The protocol of the streams: handshakes, answers in each path's own shape, refusals that change nothing."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from fundarb.clock import VirtualClock
from fundarb.core.instants import to_ms
from fundarb.sandbox.desk import Desk
from fundarb.sandbox.options import ClockKind
from fundarb.sandbox.streams.app import Streams, _active_time
from fundarb.sandbox.streams.sockets import Socket
from fundarb.sandbox.streams.topics import Path
from tests.sandbox.harness import START, InProcess, OverHttp, over_http
from tests.sandbox.listener import LINEAR, PRIVATE, SPOT, listening, websocket_url

FAR = 10**15 - 1


@pytest.fixture(scope="module")
def calm() -> Iterator[OverHttp]:
    """One server for all tests that leave the world as it is."""
    with over_http() as client:
        yield client


def test_unknown_paths_are_not_found(calm: OverHttp) -> None:
    """A stream that this venue does not have refuses the handshake with 404."""
    for path in ("trade", "public/misc/status", "public", "nothing"):
        with pytest.raises(InvalidStatus) as caught:
            connect(websocket_url(calm, path))
        assert caught.value.response.status_code == 404


def test_a_banned_address_gets_no_stream(http: OverHttp) -> None:
    """While an address is banned its handshakes are answered with 403."""
    http.do("faults", {"do": {"verb": "ban", "seconds": 600}})
    http.request("GET", "market/time")
    with pytest.raises(InvalidStatus) as caught:
        connect(websocket_url(http, LINEAR))
    assert caught.value.response.status_code == 403


def test_pong_differs_by_path(calm: OverHttp) -> None:
    """Public pongs are a success called ping, private and option ones an op called pong with the time."""
    for path in (SPOT, LINEAR, "public/inverse"):
        with listening(calm, path) as public:
            answer = public.ask(op="ping", req_id="7")
            assert (answer["success"], answer["ret_msg"], answer["op"], answer["req_id"]) == (
                True,
                "pong",
                "ping",
                "7",
            )
    with listening(calm, PRIVATE) as private:
        answer = private.ask(op="ping", req_id="7")
        assert answer.keys() == {"req_id", "op", "args", "conn_id"}
        assert (answer["op"], answer["req_id"], answer["args"]) == (
            "pong",
            "7",
            [str(to_ms(calm.house.venue.now))],
        )
    with listening(calm, "public/option") as option:
        assert option.ask(op="ping").keys() == {"op", "args"}


def test_acknowledgements_differ_by_path(calm: OverHttp) -> None:
    """Spot says "subscribe", futures nothing; a number as req_id comes back as text."""
    with listening(calm, SPOT) as spot:
        assert spot.ask(op="subscribe", args=["tickers.BTCUSDT"], req_id=3)["ret_msg"] == "subscribe"
    with listening(calm, LINEAR) as linear:
        answer = linear.ask(op="subscribe", args=["tickers.BTCUSDT"], req_id=3)
        assert (answer["ret_msg"], answer["req_id"], answer["op"]) == ("", "3", "subscribe")
        assert linear.ask(op="unsubscribe", args=["tickers.BTCUSDT"])["success"]


@pytest.mark.parametrize(
    ("path", "topics", "message"),
    [
        (LINEAR, ["tickers.NOPEUSDT"], "error:handler not found,topic:tickers.NOPEUSDT"),
        (LINEAR, ["orderbook.500.BTCUSDT"], "error:handler not found,topic:orderbook.500.BTCUSDT"),
        (LINEAR, ["kline.2.BTCUSDT"], "error:handler not found,topic:kline.2.BTCUSDT"),
        (LINEAR, ["tickers.btcusdt"], "error:handler not found,topic:tickers.btcusdt"),
        (LINEAR, ["order"], "error:handler not found,topic:order"),
        (LINEAR, ["orderbook.BTCUSDT"], "error:handler not found,topic:orderbook.BTCUSDT"),
        (SPOT, ["tickers.NOPEUSDT"], "Invalid symbol :[tickers.NOPEUSDT]"),
        (SPOT, ["liquidation.BTCUSDT"], "error:handler not found,topic:liquidation.BTCUSDT"),
        (SPOT, [f"orderbook.{depth}.BTCUSDT" for depth in range(11)], "args size >10"),
        (LINEAR, ["tickers.BTCUSDT", "tickers.BTCUSDT"], "error:already subscribed,topic:tickers.BTCUSDT"),
        (LINEAR, ["x" * 21_001], "args length >21000"),
        (LINEAR, [], "error:args must be a list of topics"),
        (LINEAR, [5], "error:args must be a list of topics"),
        ("public/inverse", ["tickers.BTCUSD"], "error:handler not found,topic:tickers.BTCUSD"),
        (PRIVATE, ["order"], "Request not authorized"),
    ],
)
def test_a_bad_topic_refuses_the_whole_request(
    calm: OverHttp, path: str, topics: list[object], message: str
) -> None:
    """The refusal names the first bad topic; good ones beside it are not subscribed."""
    with listening(calm, path) as listener:
        good = ["kline.1.BTCUSDT"] if path in {LINEAR, SPOT} and topics and len(topics) < 5 else []
        answer = listener.ask(op="subscribe", args=[*good, *topics], req_id="1")
        assert (answer["success"], answer["ret_msg"], answer["op"]) == (False, message, "subscribe")
        calm.do("clock", {"advance": "2m"})
        assert listener.heard() == []


def test_options_are_told_topic_by_topic(calm: OverHttp) -> None:
    """Nothing is listed there, so every topic has failed."""
    with listening(calm, "public/option") as option:
        answer = option.subscribe("tickers.BTC-6JAN23-17500-C")
        assert answer["data"] == {"failTopics": ["tickers.BTC-6JAN23-17500-C"], "successTopics": []}
        assert answer["type"] == "COMMAND_RESP"


def test_private_topics_of_two_kinds_do_not_mix(calm: OverHttp) -> None:
    """All categories or one category: not both in one request; unknown ones are refused by name."""
    with listening(calm, PRIVATE) as private:
        assert private.sign_on()["success"]
        assert not private.subscribe("order", "position.linear")["success"]
        assert private.subscribe("dcp.future")["ret_msg"] == "error:handler not found,topic:dcp.future"
        assert private.subscribe("wallet.linear")["success"] is False
        assert private.subscribe("order.linear", "order.spot", "execution.fast.linear", "position.linear")[
            "success"
        ]
        assert private.subscribe("order", "wallet", "greeks")["success"]


def test_auth_refuses_strangers(calm: OverHttp) -> None:
    """Unknown key, wrong secret, an expiry in the past, nonsense: no success, and nothing can be subscribed
    to.
    """
    with listening(calm, PRIVATE) as private:
        answers = [
            private.sign_on(key="nobody"),
            private.sign_on(secret="wrong"),
            private.sign_on(ahead_ms=-1),
            private.ask(op="auth", args=["demo", "soon", "x"]),
            private.ask(op="auth", args=["demo", FAR, "ü"]),
            private.ask(op="auth", args=["demo"]),
            private.ask(op="auth", args=[True, {}, None]),
            private.ask(op="auth"),
        ]
        assert [answer["success"] for answer in answers] == [False] * 8
        assert [answer["op"] for answer in answers] == ["auth"] * 8
        assert [answer["ret_msg"].split()[0] for answer in answers[:3]] == ["API", "error", "Params"]
        assert private.subscribe("order")["ret_msg"] == "Request not authorized"
        assert private.sign_on()["success"]
        assert private.subscribe("order")["success"]
    with listening(calm, LINEAR) as public:
        assert public.sign_on()["ret_msg"] == "error:invalid op"


def test_auth_knows_what_happened_to_the_key(http: OverHttp) -> None:
    """An expired key, and one bound to another address, are strangers too."""
    http.do("world", {"verb": "key", "ip": ["10.0.0.1"]})
    with listening(http, PRIVATE) as private:
        assert private.sign_on()["ret_msg"].startswith("Unmatched IP")
        http.do("world", {"verb": "key", "expire": True, "ip": ["127.0.0.1"]})
        assert private.sign_on()["ret_msg"] == "Your api key has expired."


def test_a_silent_connection_is_ended() -> None:
    """Nothing in and nothing out for ten minutes of wall time, or as long as the client has asked for:
    closed.
    """
    wall = VirtualClock(START)
    streams = Streams(Desk(InProcess().house), {}, wall=wall)
    cut: list[bool] = []
    patient = Socket(Path.PRIVATE, "a", wall=wall, idle=_active_time(Path.PRIVATE, b""), abort=cut.append)
    hasty = Socket(
        Path.PRIVATE, "b", wall=wall, idle=_active_time(Path.PRIVATE, b"max_active_time=1m"), abort=cut.append
    )
    streams.hub.sockets.update({patient: None, hasty: None})
    wall.sleep(timedelta(seconds=61))
    streams.hub.sweep()
    assert list(streams.hub.sockets) == [patient]
    wall.sleep(timedelta(minutes=9))
    patient.touch()
    wall.sleep(timedelta(minutes=9))
    streams.hub.sweep()
    assert list(streams.hub.sockets) == [patient]
    wall.sleep(timedelta(minutes=2))
    streams.hub.sweep()
    assert not streams.hub.sockets


@pytest.mark.parametrize(
    ("path", "query", "seconds"),
    [
        (Path.PRIVATE, b"max_active_time=45s", 45),
        (Path.PRIVATE, b"max_active_time=2m", 120),
        (Path.PRIVATE, b"max_active_time=5s", 30),
        (Path.PRIVATE, b"max_active_time=900s", 600),
        (Path.PRIVATE, b"max_active_time=soon", 600),
        (Path.LINEAR, b"max_active_time=45s", 600),
    ],
)
def test_the_time_a_client_may_be_silent(path: Path, query: bytes, seconds: int) -> None:
    """Thirty seconds to ten minutes, on the private path only."""
    assert _active_time(path, query) == timedelta(seconds=seconds)


def test_too_many_new_connections_are_refused() -> None:
    """Five hundred in five minutes are allowed, where limits hold."""
    with over_http(clock=ClockKind.REAL, start=None, limits=True) as http:
        streams = Streams(Desk(http.house), {}, wall=VirtualClock(START))
        statuses = [
            streams._refusal("/v5/public/spot", f"{address}") for address in ("a", "b") for _ in range(501)
        ]
        assert statuses == ([0] * 500 + [403]) * 2
