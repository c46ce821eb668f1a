"""Hostile clients: whatever is sent is answered or ends that connection with a code; the venue goes on
unharmed.
"""

import asyncio
import json
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from fundarb.clock import SystemClock
from fundarb.sandbox.periods import INTERVALS
from fundarb.sandbox.streams import app, hub, sockets
from fundarb.sandbox.streams.topics import Path
from tests.sandbox.harness import InProcess, OverHttp, over_http
from tests.sandbox.listener import LINEAR, PATIENCE, PRIVATE, SPOT, listening, websocket_url

FRAMES = 1500
SCRAPS: tuple[object, ...] = (
    None, True, 0, -1, 1e308, 10**400, "", "subscribe", "ping", "auth", "tickers.BTCUSDT",
    "orderbook.1.BTCUSDT",
    "orderbook.1000.BTCUSDT", "kline.M.BTCUSDT", "publicTrade.", "...", "order", "wallet", "\x00", "ü" * 50,
    "x" * 30_000, [], {}, [[]], {"op": "ping"}, ["tickers.BTCUSDT"] * 12, ["order", "wallet"],
    ["demo", 1e15, "00"], [None],
)  # fmt: skip


@pytest.fixture(scope="module")
def http() -> Iterator[OverHttp]:
    """One server that must survive the whole file."""
    with over_http() as client:
        yield client
        assert client.get("market/time")["retCode"] == 0


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "",
        "[]",
        "null",
        "{",
        '{"op": "ping"',
        "[" * 50_000,
        '{"op": 5}',
        '{"op": "nope"}',
        '{"args": ["order"]}',
        '{"op": "subscribe"}',
        '{"op": "subscribe", "args": "tickers.BTCUSDT"}',
        '{"op": "ping", "req_id": []}',
        '{"op": "subscribe", "args": [["tickers.BTCUSDT"]]}',
        '{"op": "ping", "req_id": "' + "x" * 200 + '"}',
        '{"op": "ping", "req_id": ' + "9" * 5000 + "}",
        '{"op": "subscribe", "args": [NaN]}',
    ],
)
def test_a_frame_that_is_no_request_is_told_so(http: OverHttp, text: str) -> None:
    """An answer without success, and the connection goes on."""
    with listening(http, LINEAR) as listener:
        listener.connection.send(text)
        answer = listener.next()
        assert answer["success"] is False
        assert answer["ret_msg"]
        assert listener.ask(op="ping")["success"]


def test_a_binary_frame_ends_the_connection(http: OverHttp) -> None:
    """Closed with 1003."""
    with listening(http, LINEAR, "tickers.BTCUSDT") as listener:
        listener.connection.send(b'{"op": "ping"}')
        assert listener.end() == 1003


def test_an_oversized_frame_ends_the_connection(http: OverHttp) -> None:
    """Closed with 1009, also when it comes in small fragments."""
    for frame in ("x" * 70_000, ["x" * 1000] * 70):
        with listening(http, LINEAR) as listener:
            with suppress(ConnectionClosed):
                listener.connection.send(frame)
            assert listener.end() == 1009


def test_who_still_sends_hears_why_it_ends(http: OverHttp) -> None:
    """A frame is refused by its announced length; whatever the client goes on sending is taken without a
    reset, so that the closing frame with 1009 is there when it looks.
    """
    port = int(http.url.rsplit(":", 1)[1])
    head = (
        "GET /v5/public/linear HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as peer:
        peer.sendall(head.encode())
        while not peer.recv(65536).endswith(b"\r\n\r\n"):
            pass
        peer.sendall(b"\x81\xff" + (70_000).to_bytes(8, "big") + b"mask")
        frame = peer.recv(4096)
        assert frame[:1] == b"\x88"
        assert int.from_bytes(frame[2:4], "big") == 1009
        for _ in range(20):
            peer.sendall(b"x" * 70_000)
        while peer.recv(4096):
            pass


def test_bytes_that_are_no_frames_end_the_connection(http: OverHttp) -> None:
    """After a good handshake the protocol is broken: closed, and others are not disturbed."""
    with listening(http, LINEAR) as other:
        for junk in (b"\xff" * 64, b"\x81\x05hello", b"\x8b\x80abcd", b"\x81\xfe"):
            with connect(websocket_url(http, LINEAR)) as connection:
                connection.socket.sendall(junk)
                with suppress(OSError):  # the server may have ended it by now
                    connection.socket.shutdown(socket.SHUT_WR)
                with pytest.raises(ConnectionClosed):
                    connection.recv(PATIENCE)
        assert other.ask(op="ping")["success"]


def test_thousands_of_mutated_frames(http: OverHttp) -> None:
    """Every frame gets exactly one answer that is JSON; afterwards the market still streams."""
    rng = random.Random(7)
    for path in (LINEAR, SPOT, PRIVATE):
        with listening(http, path) as listener:
            for _ in range(FRAMES // 3):
                frame = {
                    name: rng.choice(SCRAPS) for name in ("op", "args", "req_id", "x") if rng.random() < 0.8
                }
                listener.connection.send(json.dumps(frame))
                answer = listener.next()
                while "topic" in answer:
                    answer = listener.next()
                assert {"success", "op"} & answer.keys()
    http.do("clock", {"advance": "1m"})
    with listening(http, SPOT, "tickers.BTCUSDT") as listener:
        assert listener.next()["topic"] == "tickers.BTCUSDT"


@pytest.mark.proof
def test_thousands_of_subscriptions(http: OverHttp) -> None:
    """A connection may hold topics of 21 000 characters, not one more; all of them are pushed and all can be
    left.
    """
    kinds = ("tickers", "publicTrade", "orderbook.1", "orderbook.50", "orderbook.200", "orderbook.1000",
             *(f"kline.{interval}" for interval in INTERVALS))  # fmt: skip
    symbols = [row["symbol"] for row in http.rows("market/tickers", category="linear")]
    topics = [f"{kind}.{symbol}" for kind in kinds for symbol in symbols]
    assert len(topics) > 150
    with listening(http, LINEAR) as listener:
        listener.send({"op": "subscribe", "args": topics})
        heard = {message["topic"] for message in listener.heard() if "topic" in message}
        assert heard == {topic for topic in topics if not topic.startswith("publicTrade")}
        http.do("clock", {"advance": "6s"})
        assert len({message["topic"] for message in listener.heard()} & set(topics)) > len(topics) * 0.8
        assert listener.ask(op="unsubscribe", args=topics)["success"]
        for number in range(1200):
            listener.send({"op": "subscribe", "args": [f"tickers.{number}NOPE"]})
        assert sum(not message["success"] for message in listener.heard()) == 1200


def test_a_hundred_connections(http: OverHttp) -> None:
    """All are served; those that vanish without a word leave nothing behind."""
    with ExitStack() as stack:
        many = [stack.enter_context(listening(http, LINEAR, "tickers.BTCUSDT")) for _ in range(100)]
        http.do("clock", {"advance": "1s"})
        assert {len(listener.heard()) for listener in many} == {2}
        for listener in many[:50]:
            listener.connection.socket.close()
    with listening(http, LINEAR) as last:
        assert last.ask(op="ping")["success"]


def test_there_is_room_for_so_many(http: OverHttp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that is full refuses the next handshake."""
    monkeypatch.setattr(app, "MOST_SOCKETS", 1)
    with listening(http, SPOT):
        with pytest.raises(InvalidStatus, match="403"), connect(websocket_url(http, SPOT)):
            pass
        with listening(http, LINEAR) as other:
            assert other.ask(op="ping")["success"]


def test_a_client_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its queue is bounded: when it is full the connection is cut, and the queue is gone."""
    monkeypatch.setattr(sockets, "MOST_QUEUED", 100)
    cuts: list[bool] = []

    async def stuck(_message: object) -> None:
        await asyncio.Event().wait()

    async def run() -> None:
        slow = sockets.Socket(
            Path.LINEAR, "x", wall=SystemClock(), idle=timedelta(minutes=10), abort=cuts.append
        )
        writer = asyncio.create_task(slow.write(stuck))
        for number in range(100):
            slow.push(str(number))
        await asyncio.sleep(0)
        assert (slow.waiting, slow.gone, cuts) == (100, False, [])
        slow.push("one too many")
        slow.push("nothing is queued any more")
        assert (slow.waiting, slow.gone, cuts) == (0, True, [False])
        await asyncio.wait_for(slow.drained(), 1)
        writer.cancel()

    asyncio.run(run())


def test_the_clock_waits_for_a_stuck_client_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of the clock ends although somebody does not read; the next one does not wait for him at all."""
    monkeypatch.setattr(hub, "_PATIENCE_SECONDS", 0.05)

    async def run() -> None:
        wall = SystemClock()
        here = hub.Hub(InProcess().house, wall)
        stuck = sockets.Socket(
            Path.LINEAR, "x", wall=wall, idle=timedelta(minutes=10), abort=lambda _reset: None
        )
        here.sockets[stuck] = None
        stuck.push("never read")
        await here.drained()
        assert stuck.lagging
        monkeypatch.setattr(hub, "_PATIENCE_SECONDS", 3600)
        await asyncio.wait_for(here.drained(), 60)

    asyncio.run(run())
