"""Refusals while the client still sends: it gets to read them, whole, and nobody is listened to for ever."""

import logging
import socket
from collections.abc import Callable
from datetime import timedelta

import pytest

from fundarb.clock import SystemClock
from fundarb.sandbox import connections
from tests.sandbox.harness import OverHttp
from tests.sandbox.test_wire import alive, connected

MEGABYTES = 6
"""More than the system's buffers hold: a server that does not read them resets the connection."""
FLOOD = b"x" * (1024 * 1024)
CHUNK = b"100000\r\n" + FLOOD + b"\r\n"
POST = b"POST /v5/order/create HTTP/1.1\r\nHost: localhost\r\n"
LENGTH = b"Content-Length: %d\r\n\r\n" % (MEGABYTES * len(FLOOD))


def whole(peer: socket.socket) -> bytes:
    """Everything until the server hangs up; an error if the connection is reset."""
    found = b""
    while part := peer.recv(65536):
        found += part
    return found


@pytest.mark.parametrize(
    ("begin", "part", "finish", "status"),
    [
        (b"GET /v5/market/time HTTP/1.1\r\nX-Long: ", FLOOD, b"\r\n\r\n", 431),
        (b"POST /sandbox/world HTTP/1.1\r\nX-Long: ", FLOOD, b"\r\n\r\n", 431),
        (POST + LENGTH, FLOOD, b"", 413),
        (POST + b"Content-Length: 99999999999\r\n\r\n", FLOOD, b"", 413),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n", CHUNK, b"0\r\n\r\n", 413),
        (b"POST /sandbox/world HTTP/1.1\r\nHost: evil.example\r\n" + LENGTH, FLOOD, b"", 403),
        (b"BREW /v5/market/time HTTP/1.1\r\n", FLOOD, b"", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", FLOOD, b"", 400),
    ],
)
@pytest.mark.parametrize("short", [True, False])
def test_who_sends_all_before_reading_still_reads_the_refusal(
    http: OverHttp, begin: bytes, part: bytes, finish: bytes, *, status: int, short: bool
) -> None:
    """Six megabytes after what is refused, on both ways through the server: no reset, the whole answer."""
    if not short:
        http.do("faults", {"match": {"path": "/v5/order/cancel"}, "do": {"verb": "delay", "ms": 1}})
    with connected(http) as (peer,):
        peer.sendall(begin)
        for _ in range(MEGABYTES):
            peer.sendall(part)
        peer.sendall(finish)
        head, _, body = whole(peer).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"content-length: %d" % len(body) in head
    assert alive(http)


def flood(peer: socket.socket) -> None:
    """Send 400 MB, or for as long as somebody listens."""
    for _ in range(400):
        peer.sendall(FLOOD)


def trickle(peer: socket.socket) -> None:
    """Send now and then, for twenty seconds."""
    for _ in range(400):
        peer.sendall(b"x")
        SystemClock().sleep(timedelta(milliseconds=50))


@pytest.mark.parametrize(
    ("bound", "value", "send"), [("MOST_DRAINED", 1 << 20, flood), ("LINGER_SECONDS", 0.2, trickle)]
)
def test_nobody_is_listened_to_for_ever(
    http: OverHttp,
    monkeypatch: pytest.MonkeyPatch,
    bound: str,
    value: float,
    send: Callable[[socket.socket], None],
) -> None:
    """Who does not stop after a refusal is cut off: after so many bytes, or so much time."""
    monkeypatch.setattr(connections, bound, value)
    with connected(http) as (peer,):
        peer.sendall(POST + b"Content-Length: 99999999999\r\n\r\n")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            send(peer)
    assert alive(http)


def test_what_came_before_a_refusal_is_answered_before_it(
    http: OverHttp, caplog: pytest.LogCaptureFixture
) -> None:
    """Good requests and a bad one in one piece: all answers, in order, on both ways; nothing goes wrong."""
    short = b"GET /v5/market/time HTTP/1.1\r\nHost: x\r\n\r\n"
    long = b"GET /sandbox/clock HTTP/1.1\r\nHost: localhost\r\n\r\n"
    ends = {b"400": b"BREW / HTTP/1.1\r\n\r\n", b"431": POST + b"X: " + FLOOD[:70_000],
            b"413": POST + b"Content-Length: 99999999999\r\n\r\n"}  # fmt: skip
    world = b"POST /sandbox/world HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    broken, awaited = world + b"\r\nzz\r\n", world + b"Expect: 100-continue\r\n\r\nzz\r\n"
    for good in ([short], [long], [short, short], [long, long, long], [short, long], []):
        for status, bad in (*ends.items(), (b"400", broken), (b"400", awaited)):
            with connected(http) as (peer,):
                peer.sendall(b"".join(good) + bad)
                answers = whole(peer).split(b"HTTP/1.1 ")
            assert [answer[:3] for answer in answers] == [b"", *[b"200"] * len(good), status]
    assert [row.getMessage() for row in caplog.records if row.levelno >= logging.ERROR] == []
