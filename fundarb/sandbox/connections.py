"""Open connections: which there are (so that one can be cut), how long and how large a request may be before
it is complete, and the short way from a request to its answer; it must never look into either.

A request that dribbles in is ended with 408, a head without end with 431: neither holds anything but its own
socket. Who is refused in the middle of sending is read for a while, unheard: closed over bytes that nobody
has read a connection would be reset by the system, and the answer lost. A plain request of an undisturbed
sandbox is answered at once, in one piece, instead of through a task and a scope of ASGI: that is half of what
a request costs.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from fundarb.sandbox.desk import Raw, Reply
from fundarb.sandbox.wire import MAX_BODY, TOO_LARGE, Response

Transports = dict[tuple[str, int], asyncio.Transport]
PATIENCE_SECONDS = 10
"""How long a request may take from its first byte to its last (wall time)."""
MAX_HEAD = 64 * 1024
"""Bytes of a request line with its headers."""
MAX_ANNOUNCED = 64 * 1024 * 1024
"""Bytes of a body above which its announcement alone is refused (what a restore may send)."""
LINGER_SECONDS = 5.0
MOST_DRAINED = 256 * 1024 * 1024
"""How long, and how many bytes, a refused client may go on sending before it is cut off."""
_DIGITS = 18
_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
CLOCK = "/sandbox/clock"
_CLOCK = CLOCK.encode()
_Http: Any = AutoHTTPProtocol
_WebSocket: Any = WebSocketsSansIOProtocol


class Door(Protocol):
    """Who answers requests that take the short way."""

    def open(self) -> bool:
        """Whether nothing is about that needs the long way: no fault, no stream."""

    def answer(self, raw: Raw) -> Reply:
        """Everything that happens to one request."""


class Register:
    """All open connections."""

    def __init__(self) -> None:
        """None yet."""
        self.transports: Transports = {}
        self._halves: dict[Any, int] = {}

    def begun(self, protocol: Any) -> None:
        """A request has begun to arrive."""
        self._halves[protocol] = 0

    def complete(self, protocol: Any) -> None:
        """It is there, or its connection is gone."""
        self._halves.pop(protocol, None)

    def second(self) -> None:
        """A second has passed: end what takes too long."""
        for protocol, waited in list(self._halves.items()):
            self._halves[protocol] = waited + 1
            if waited >= PATIENCE_SECONDS:
                protocol.refuse(_said(408, "the request did not come to its end"))


def _said(status: int, message: str) -> Response:
    return Response(status, f'{{"error":"{message}","path":""}}'.encode())


def rendered(response: Response, *, close: bool) -> bytes:
    """Head and body as one piece."""
    parts = [
        _LINES.get(response.status) or f"HTTP/1.1 {response.status} -\r\n".encode(),
        b"content-type: ", response.content_type, b"\r\ncontent-length: %d\r\n" % len(response.body),
    ]  # fmt: skip
    for name, value in response.headers:
        parts += (name, b": ", value, b"\r\n")
    if close:
        parts.append(b"connection: close\r\n")
    return b"".join((*parts, b"\r\n", response.body))


class _Kept:
    """Enters a connection of one of uvicorn's protocols in the register."""

    register: Register
    client: Any

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)  # type: ignore[misc]
        if self.client is not None:
            self.register.transports[self.client] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.register.complete(self)
        if self.client is not None:
            self.register.transports.pop(self.client, None)
        super().connection_lost(exc)  # type: ignore[misc]


class KeptWebSocket(_Kept, _WebSocket):  # type: ignore[misc]
    """A WebSocket: it takes its connection over from HTTP.

    One that ends because of what the client sends is read to its end: closed over bytes that nobody has read
    it would be reset by the system, and the client, still sending, would never see the closing frame.
    """

    read_paused: bool
    _over = False
    """Whether nothing that still comes is looked at."""

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if not self._over:
            super().data_received(data)

    def handle_parser_exception(self) -> None:
        """What has come is no message, or too long a one: say so, and wait until the client is gone."""
        self._over = self.close_sent = True
        closing = self.conn.close_sent
        self.queue.put_nowait(
            {"type": "websocket.disconnect", "code": closing.code, "reason": closing.reason}
        )
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.write_eof()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(self.close_timeout, self.transport.close)


class _Plain(NamedTuple):
    """A request of the short way while its body comes."""

    method: str
    path: str
    query: bytes
    headers: dict[bytes, bytes]
    keep: bool


class WatchedHttp(_Kept, _Http):  # type: ignore[misc]
    """HTTP with its requests measured, and the short way for plain ones, where the parser says when a request
    begins (httptools does, h11 does not: then all take the long way).
    """

    door: Door
    _head = -1
    """Bytes of a head that is still coming; -1 while none is."""
    _plain: _Plain | None = None
    _body = b""
    _refusal: Response | None = None
    """What to say before the end, when all that came before is answered; nothing later is looked at."""
    _drained = 0

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._asked: list[tuple[_Plain, bytes]] = []

    def data_received(self, data: bytes) -> None:
        """Bytes have come; whole requests of the short way are answered when the parser is through, so that a
        defect is not taken for a bad request.
        """
        if self._deaf(len(data)):
            return
        super().data_received(data)
        if self._asked:
            asked, self._asked = self._asked, []
            for plain, body in asked:
                self._answer(plain, body)
        if self._head >= 0:
            self._head += len(data)
            if self._head > MAX_HEAD:
                self._refusal = self._refusal or _said(431, "the head is too large")
        if self._refusal is not None:
            self.refuse(self._refusal)

    def _deaf(self, size: int) -> bool:
        """Whether bytes that have come are not looked at any more: what follows a refusal is thrown away."""
        if self._refusal is None:
            return False
        self._drained += size
        if self._drained > MOST_DRAINED:
            self.transport.abort()
        return True

    def send_400_response(self, msg: str) -> None:
        """What has come is no request."""
        self._refusal = self._refusal or _said(400, msg)

    def refuse(self, response: Response) -> None:
        """Answer outside of any request, as soon as the whole ones before it are answered. One that will
        never be whole ends as if its client had left.
        """
        self._refusal = response
        self.register.complete(self)
        cycle = self.cycle
        waiting = [item for item in self.pipeline if item[0] is cycle]
        busy = bool(waiting) or (cycle is not None and not cycle.response_complete)
        if cycle is not None and cycle.more_body and not cycle.response_complete:
            for item in waiting:
                self.pipeline.remove(item)
            busy = bool(waiting)
            cycle.disconnected, cycle.waiting_for_100_continue = True, False
            cycle.message_event.set()
        if not busy:
            self._hang_up(response)

    def on_response_complete(self) -> None:
        """A request of the long way is answered, perhaps the last one before a refusal."""
        last = not self.pipeline
        super().on_response_complete()
        if last and self._refusal is not None:
            self._hang_up(self._refusal)

    def _hang_up(self, response: Response) -> None:
        """Say the last word, and wait until the client is gone."""
        if self.transport.is_closing():
            return
        self.transport.write(rendered(response, close=True))
        self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _answer(self, plain: _Plain, body: bytes) -> None:
        if self.transport.is_closing():
            return
        response, keep = TOO_LARGE, False
        if len(body) <= MAX_BODY:
            address = self.client[0] if self.client is not None else "127.0.0.1"
            raw = Raw(
                plain.method, plain.path, query=plain.query, headers=plain.headers, body=body, address=address
            )
            reply = self.door.answer(raw)
            if reply.lost:  # a fault was armed while the request was still arriving
                self.transport.abort()
                return
            response, keep = reply.response, plain.keep
        self.transport.write(rendered(response, close=not keep))
        if not keep:
            self.transport.close()

    # ------------------------------------------------------------------------------------------ the parser

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._refusal is not None:
            return
        self._head = 0
        self._body = b""
        self.register.begun(self)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is there: which way will it take?"""
        self._head = -1
        if self._too_much():
            return
        self._plain = self._short_way() if self.door.open() else None
        if self._plain is None:
            super().on_headers_complete()

    def _too_much(self) -> bool:
        """Whether this head is too large, or announces a body that nobody takes: then all is over."""
        if self._refusal is not None:
            return True
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        length = dict(self.headers).get(b"content-length", b"0")
        if size > MAX_HEAD:
            self._refusal = _said(431, "the head is too large")
        elif len(length) > _DIGITS or (length.isdigit() and int(length) > MAX_ANNOUNCED):
            self._refusal = TOO_LARGE
        return self._refusal is not None

    def _short_way(self) -> _Plain | None:
        """The request, if it is one of the exchange's or moves the clock, asks for nothing special, and none
        is before it.
        """
        path, _, query = self.url.partition(b"?")
        method, parser = self.parser.get_method(), self.parser
        moves = method == b"POST" and path == _CLOCK
        asks = method in {b"GET", b"POST"} and path.startswith(b"/v5/") and path.isascii()
        if not (moves or asks):
            return None
        special = self.expect_100_continue or parser.should_upgrade() or b"%" in path or b"#" in self.url
        if special or (self.cycle is not None and not self.cycle.response_complete):
            return None
        keep = parser.get_http_version() != "1.0" and parser.should_keep_alive()
        return _Plain(method.decode(), path.decode(), query, dict(self.headers), keep)

    def on_body(self, body: bytes) -> None:
        """A part of its body; what is too large anyway is not kept."""
        if self._refusal is not None:
            return
        if self._plain is None:
            super().on_body(body)
        elif len(self._body) <= MAX_BODY:
            self._body += body

    def on_message_complete(self) -> None:
        """It is all there."""
        self.register.complete(self)
        if self._refusal is not None:
            return
        if self._plain is None:
            super().on_message_complete()
        else:
            self._asked.append((self._plain, self._body))
            self._plain = None
