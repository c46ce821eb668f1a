"""The ASGI side: sockets in, sockets out. ``/v5`` goes straight to the desk, ``/sandbox`` to the control
API.

A lost answer is lost for real: the connection hangs until the client gives up, is reset (RST) or closed
without a byte.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fundarb.sandbox.control import Control
from fundarb.sandbox.desk import Desk, Raw, Reply
from fundarb.sandbox.wire import MAX_BODY, Response

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Transports = dict[tuple[str, int], asyncio.Transport]
_TOO_LARGE = Response(413, b'{"error":"body is too large","path":""}')
_ABRUPT = struct.pack("ii", 1, 0)


class SandboxApp:
    """The application that uvicorn runs. ``transports`` are the open connections by the client's address."""

    def __init__(self, desk: Desk, transports: Transports) -> None:
        self._desk = desk
        self._control = Control(desk).app()
        self._transports = transports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or scope["path"].startswith("/sandbox/"):
            await self._control(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:
            await _send(send, _TOO_LARGE, close=True)
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


async def _read(receive: Receive) -> bytes | None:
    """The body; None if it is too large."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            return None
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
