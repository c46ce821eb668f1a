"""What arrives over a socket and is no proper request: halves, floods, crowds, leavers. The server answers
with a 4xx or hangs up, holds nothing, and goes on for everybody else.
"""

import contextlib
import json
import resource
import select
import socket
from collections.abc import Iterator

import pytest

from fundarb.core.instants import to_ms
from fundarb.sandbox import connections
from tests.sandbox.harness import OverHttp, headers

CROWD = 2000
ORDER = b'{"category":"linear","symbol":"BTCUSDT","side":"Sell","orderType":"Market","qty":"0.01"}'


@contextlib.contextmanager
def connected(http: OverHttp, count: int = 1) -> Iterator[list[socket.socket]]:
    """Raw connections to a server."""
    port = int(http.url.rsplit(":", 1)[1])
    peers: list[socket.socket] = []
    try:
        for _ in range(count):
            peer = socket.create_connection(("127.0.0.1", port), timeout=10)
            peers.append(peer)  # one by one, so that all are closed whatever happens
        yield peers
    finally:
        for peer in peers:
            peer.close()


def asked(peer: socket.socket) -> bytes:
    """The answer to a plain question."""
    peer.sendall(b"GET /v5/market/time HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = b""
    while not answer.endswith(b"}"):
        part = peer.recv(65536)
        assert part
        answer += part
    return answer


def rest(peer: socket.socket) -> bytes:
    """Everything until the server hangs up."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := peer.recv(65536):
            found += part
    return found


def alive(http: OverHttp) -> bool:
    """Whether the server still answers others, and holds no half request's order."""
    return bool(http.get("market/time")["retCode"] == 0 and http.truth()["orders"] == [])


HALVES = [
    b"G",
    b"GET /v5/market/time",
    b"GET /v5/market/time HTTP/1.1\r\n",
    b"GET /v5/market/time HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    b"POST /v5/order/create HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{",
    b'POST /v5/order/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a":',
    b"POST /sandbox/world HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{",
]


def test_half_requests_end_with_408(http: OverHttp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever part of a request arrives, and however slowly it goes on: the connection ends after the
    patience, with 408, and meanwhile others are answered.
    """
    monkeypatch.setattr(connections, "PATIENCE_SECONDS", 1)
    with connected(http, len(HALVES)) as peers:
        for peer, half in zip(peers, HALVES, strict=True):
            peer.sendall(half)
        assert alive(http)
        for peer in peers:
            answer = rest(peer)
            assert answer.startswith(b"HTTP/1.1 408 "), answer
            assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]
    assert alive(http)


@pytest.mark.proof
def test_patience_is_only_for_the_request_itself(http: OverHttp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is merely kept alive is not ended by it, and serves the next request."""
    monkeypatch.setattr(connections, "PATIENCE_SECONDS", 0)
    with connected(http) as (peer,):
        for _ in range(2):
            assert asked(peer).startswith(b"HTTP/1.1 200")
            assert select.select([peer], [], [], 2.2)[0] == []


def test_a_head_without_end_is_431(http: OverHttp) -> None:
    """More than 64 KiB of headers are refused while they still come."""
    with connected(http) as (peer,):
        peer.sendall(b"GET /v5/market/time HTTP/1.1\r\n")
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for number in range(3000):
                peer.sendall(b"X-Header-%d: %s\r\n" % (number, b"x" * 50))
        assert b" 431 " in rest(peer)
    assert alive(http)


@pytest.mark.parametrize(
    "line",
    [
        b"get /v5/market/time HTTP/1.1",
        b"GET /v5/market/time HTTP/9.9",
        b"GET  HTTP/1.1",
        b"GET /v5/m\xc3\xa4rket HTTP/1.1",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"BREW /v5/market/time HTTP/1.1",
    ],
)
def test_what_is_no_request_line_is_400(http: OverHttp, line: bytes) -> None:
    """A wrong verb case, a wrong version, no path, raw bytes, TLS: 400 or the end of the connection."""
    with connected(http) as (peer,):
        peer.sendall(line + b"\r\nHost: x\r\n\r\n")
        answer = rest(peer)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400 "), answer
    assert alive(http)


def test_other_methods_are_404(http: OverHttp) -> None:
    """PUT, PATCH, DELETE, OPTIONS and HEAD have no route anywhere: 404, with 10017 where a body is sent."""
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"):
        response = http.session.request(method, f"{http.url}/v5/order/create", timeout=10)
        assert response.status_code == 404
        assert method == "HEAD" or response.json()["retCode"] == 10017
    assert alive(http)


def test_leaving_in_the_middle_asks_nothing(http: OverHttp) -> None:
    """A signed create whose last byte never comes is not logged as a request, let alone done, even where its
    half is JSON of its own.
    """
    signed = headers(ORDER.decode(), stamp=to_ms(http.house.clock.now()))
    head = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
    for cut in (len(ORDER), len(ORDER) - 1, 1):
        with connected(http) as (peer,):
            start = (
                f"POST /v5/order/create HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(ORDER) + 1}\r\n\r\n"
            )
            peer.sendall(start.encode() + ORDER[:cut])
    assert alive(http)
    assert {row["path"] for row in http.truth()["requests"]} == {"/v5/market/time"}


def test_bytes_after_a_request_are_the_next_one(http: OverHttp) -> None:
    """Pipelined requests are answered in their order; garbage behind a good one is 400 and ends the
    connection.
    """
    good = b"GET /v5/market/time HTTP/1.1\r\nHost: x\r\n\r\n"
    with connected(http) as (peer,):
        peer.sendall(good * 3 + b"garbage\r\n\r\n")
        answer = rest(peer)
    assert answer.count(b"HTTP/1.1 200") <= 3
    assert b"HTTP/1.1 400" in answer or answer.count(b"HTTP/1.1 200") == 3
    assert alive(http)


def test_two_thousand_connections(http: OverHttp) -> None:
    """Two thousand keep-alive connections stay open side by side, each is answered twice, and a newcomer
    too.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with connected(http, CROWD) as peers:
            for _ in range(2):
                assert all(asked(peer).startswith(b"HTTP/1.1 200") for peer in peers)
            assert alive(http)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert alive(http)
