"""The ASGI side: sockets in, sockets out. ``/v5`` goes straight to the desk, ``/sandbox`` to the control
API, WebSockets to the streams; no answer leaves before the streams know what its request has caused.

A lost answer is lost for real: the connection hangs until the client gives up, is reset (RST) or closed
without a byte.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any

from fundarb.sandbox.connections import CLOCK, Transports
from fundarb.sandbox.control import Control
from fundarb.sandbox.desk import Desk, Raw, Reply
from fundarb.sandbox.options import LOOPBACK
from fundarb.sandbox.streams.app import Streams
from fundarb.sandbox.wire import MAX_BODY, TOO_LARGE, Response

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_ABRUPT = struct.pack("ii", 1, 0)
STRANGER = Response(
    403, b'{"error":"the control API is not for web pages: no Origin, a loopback Host","path":""}'
)


class SandboxApp:
    """The application that uvicorn runs. ``transports`` are the open connections by the client's address."""

    def __init__(self, desk: Desk, transports: Transports) -> None:
        self._desk = desk
        self._transports = transports
        self._streams = Streams(desk, transports)
        self._control = Control(desk, stride=self._streams.stride, passing=self._streams.passing)
        self._routes = self._control.app()

    def open(self) -> bool:
        """Whether a request may take the short way: nothing is armed against it and no socket hears of it."""
        return not self._desk.house.faults.armed() and not self._streams.hub.sockets

    def answer(self, raw: Raw) -> Reply:
        """One request that came the short way."""
        if raw.path == CLOCK:
            return Reply(STRANGER if foreign(raw.headers) else self._control.moved(raw.body))
        return self._desk.handle(raw)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or one WebSocket from its handshake to its end."""
        if scope["type"] == "websocket":
            await self._streams.serve(scope, receive, send)
            return
        if scope["type"] != "http" or scope["path"].startswith("/sandbox/"):
            if scope["type"] == "http" and foreign(dict(scope["headers"])):
                with suppress(ConnectionError):
                    await _read(receive)
                    await _send(send, STRANGER, close=True)
                return
            await self._routes(scope, receive, self._streams.settled(send))
            return
        try:
            body = await _read(receive)
        except ConnectionError:
            return  # the client left in the middle: nothing was asked
        if body is None:
            await _send(send, TOO_LARGE, close=True)
            return
        client = scope["client"] or ("127.0.0.1", 0)
        reply = self._desk.handle(
            Raw(
                scope["method"],
                scope["path"],
                query=scope["query_string"],
                headers=dict(scope["headers"]),
                body=body,
                address=client[0],
            )
        )
        await self._streams.settle()
        if reply.delay_ms:
            await asyncio.sleep(reply.delay_ms / 1000)
        if reply.lost:
            await self._lose(reply, client, receive=receive)
        else:
            await _send(send, reply.response)

    async def _lose(self, reply: Reply, client: tuple[str, int], *, receive: Receive) -> None:
        """End a request without an answer; returns when the connection is gone."""
        transport = self._transports.get((client[0], client[1]))
        if transport is not None and reply.lost != "hang":
            sock = transport.get_extra_info("socket")
            if reply.lost == "reset" and sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABRUPT)
            transport.abort()
        while (await receive())["type"] != "http.disconnect":
            pass


def foreign(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request comes from a web page: it names its origin, or calls this machine by another name."""
    host = headers.get(b"host", b"localhost").decode("latin-1").strip().lower()
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return b"origin" in headers or name not in LOOPBACK


async def _read(receive: Receive) -> bytes | None:
    """The body; None if it is too large, which is said when all of it has come: who sends does not read.
    ``ConnectionError`` if the client leaves before its end.
    """
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionAbortedError
        if len(body) <= MAX_BODY:
            body += message.get("body", b"")
        if not message.get("more_body"):
            return body if len(body) <= MAX_BODY else None


async def _send(send: Send, response: Response, *, close: bool = False) -> None:
    headers = [
        (b"content-type", response.content_type),
        (b"content-length", str(len(response.body)).encode()),
        *response.headers,
    ]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
