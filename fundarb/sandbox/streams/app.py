"""The ASGI side of the streams: handshakes, one reader and one writer a socket, and the task that keeps time.

On the real clock that task brings the venue to the present when something is due and pushes what has changed,
at the exchange's rates. On a virtual clock nothing moves by itself: ``settle`` pushes after every request
that has been answered, before its answer leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket as sockets
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import timedelta
from secrets import token_hex
from typing import Any
from urllib.parse import parse_qs

from fundarb.clock import Clock, SystemClock
from fundarb.sandbox.desk import Desk
from fundarb.sandbox.streams.clerk import Clerk
from fundarb.sandbox.streams.hub import Hub
from fundarb.sandbox.streams.sockets import Socket
from fundarb.sandbox.streams.topics import Path

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Address = tuple[str, int]

MOST_SOCKETS = 1000
"""Connections on one path."""

_MOST_OPENED = 500
_OPENED_WITHIN = timedelta(minutes=5)
_IDLE = timedelta(minutes=10)
_SHORTEST_IDLE = timedelta(seconds=30)
_SWEEP = timedelta(seconds=5)
_RESTING = timedelta(milliseconds=100)
_SOON = timedelta(milliseconds=1)
_UNSUPPORTED = 1003
_BROKEN = 1011
_ABRUPT = struct.pack("ii", 1, 0)
_ACTIVE_TIME = re.compile(r"(\d{1,4})([sm])", re.ASCII)


class Streams:
    """All streams of one sandbox. ``transports`` are the open connections by the client's address."""

    def __init__(
        self, desk: Desk, transports: Mapping[Address, asyncio.Transport], *, wall: Clock | None = None
    ) -> None:
        self._desk = desk
        self._house = desk.house
        self._transports = transports
        self._wall = wall or SystemClock()
        self.hub = Hub(desk.house, self._wall)
        self._clerk = Clerk(desk.house, self.hub)
        self._wake = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._opened: dict[str, deque[timedelta]] = {}
        self._count = 0

    # ------------------------------------------------------------------------------------------ one socket

    async def serve(self, scope: Message, receive: Receive, send: Send) -> None:
        """One connection, from its handshake to its end."""
        await receive()
        client: Address = tuple(scope["client"] or ("127.0.0.1", 0))
        status = self._refusal(scope["path"], client[0])
        if status:
            await send({"type": "websocket.http.response.start", "status": status, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b""})
            return
        await send({"type": "websocket.accept"})
        self.hub.look_around()  # a restart of before its time is not this socket's end
        socket = self._socket(Path(scope["path"]), client, query=scope["query_string"])
        self.hub.sockets[socket] = None
        self._keep()
        writer = asyncio.create_task(_writing(socket, send))
        try:
            await self._read(socket, receive, address=client[0])
        finally:
            socket.gone = True
            self.hub.drop(socket)
            writer.cancel()

    async def _read(self, socket: Socket, receive: Receive, *, address: str) -> None:
        while True:
            message = await receive()
            if message["type"] != "websocket.receive":
                return
            socket.touch()
            if message.get("text") is None:
                socket.close(_UNSUPPORTED, "text frames only")
                continue
            self._desk.catch_up()
            self._clerk.handle(socket, message["text"], address=address)
            self._wake.set()

    def _refusal(self, path: str, address: str) -> int:
        """The HTTP status that refuses a handshake; 0 if it is welcome."""
        if path not in set(Path):
            return 404
        now = self._wall.monotonic()
        opened = self._opened.setdefault(address, deque(maxlen=_MOST_OPENED))
        often = len(opened) == _MOST_OPENED and now - opened[0] < _OPENED_WITHIN
        crowded = sum(socket.path == path for socket in self.hub.sockets) >= MOST_SOCKETS
        limits = self._house.limits
        if crowded or (often and limits.enforced) or limits.banned(self._house.clock.monotonic(), address):
            return 403
        opened.append(now)
        return 0

    def _socket(self, path: Path, client: Address, *, query: bytes) -> Socket:
        def abort(reset: bool) -> None:  # noqa: FBT001 - the one thing a socket can ask for
            transport = self._transports.get(client)
            if transport is None:
                return
            sock = transport.get_extra_info("socket")
            if reset and sock is not None:
                sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _ABRUPT)
            transport.abort()

        self._count += 1
        conn_id = f"{token_hex(10)}-{self._count:x}"
        return Socket(path, conn_id, wall=self._wall, idle=_active_time(path, query), abort=abort)

    # ------------------------------------------------------------------------------------------ time

    async def settle(self) -> None:
        """After a request: what it has caused is on its way to the sockets. On a virtual clock this returns
        when they have it, and with private subscribers an order is matched at once instead of by the next
        request.
        """
        if not self.hub.sockets:
            return
        if not self._house.clock.virtual:
            self._wake.set()
            return
        if self.hub.private:
            self._desk.catch_up()
        await self.hub.show()
        await self.hub.drained()

    def stride(self) -> timedelta | None:
        """How far a virtual clock may move before ``passing``; None: as far as it likes."""
        return self.hub.stride

    async def passing(self) -> None:
        """A stretch of a long move is over: bars and trades in it go out before more pile up."""
        await self.hub.tell_past()
        await self.hub.drained()

    def settled(self, send: Send) -> Send:
        """A ``send`` that settles before the answer to a request begins."""

        async def later(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self.settle()
            await send(message)

        return later

    def _keep(self) -> None:
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep_time())

    async def _keep_time(self) -> None:
        """As long as there are sockets: push what is due (real clock), and end idle connections. Should it
        fail, no client is left listening to silence.
        """
        try:
            while self.hub.sockets:
                self._wake.clear()
                wait = _SWEEP if self._house.clock.virtual else await self._beat()
                self.hub.sweep()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait.total_seconds()):
                        await self._wake.wait()
        finally:
            for socket in self.hub.sockets:
                socket.close(_BROKEN, "internal error")

    async def _beat(self) -> timedelta:
        """One round on the real clock; returns how long nothing will be due."""
        house = self._house
        self._desk.catch_up()
        public = await self.hub.show_due()
        venue = house.venue.next_due() - house.clock.now()
        resting = _RESTING if house.venue.any_open else _SWEEP
        return max(min(public, venue, resting, _SWEEP), _SOON)


async def _writing(socket: Socket, send: Send) -> None:
    """Write until the end; a connection that is gone is no news (its reader hears of it)."""
    with contextlib.suppress(OSError, RuntimeError):
        await socket.write(send)
    socket.gone = True


def _active_time(path: Path, query: bytes) -> timedelta:
    """How long a client may be silent: ten minutes, on the private path 30 s to 10 min as ``max_active_time``
    says.
    """
    asked = parse_qs(query.decode("latin-1")).get("max_active_time", [""])[-1]
    match = _ACTIVE_TIME.fullmatch(asked)
    if path is not Path.PRIVATE or match is None:
        return _IDLE
    wanted = timedelta(seconds=int(match[1]) * (60 if match[2] == "m" else 1))
    return min(max(wanted, _SHORTEST_IDLE), _IDLE)
