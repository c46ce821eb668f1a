"""One client's socket: what it has subscribed to, its bounded queue of messages and the task that writes
them.

A client that does not read is cut off when its queue is full: memory stays bounded whoever connects. A queued
text is shared by all sockets that get it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fundarb.clock import Clock
from fundarb.sandbox.streams.topics import Path

MOST_QUEUED = 50_000
"""Messages that may wait for one client (a long step of a virtual clock makes many at once)."""

_BREATH = 64
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_NO_TIME = timedelta()


@dataclass(frozen=True, slots=True)
class _Queued:
    """A message and when it may leave (monotonic wall time); with a ``cut`` the end of the connection."""

    text: str
    due: timedelta
    cut: str = ""


class Socket:
    """The server's end of one WebSocket. ``abort(reset)`` ends its connection without a word."""

    def __init__(
        self, path: Path, conn_id: str, *, wall: Clock, idle: timedelta, abort: Callable[[bool], None]
    ) -> None:
        self.path = path
        self.conn_id = conn_id
        self.idle = idle
        self.topics: dict[str, None] = {}
        self.signed = False
        """Whether the client has proved who it is (private path)."""
        self._wall = wall
        self._abort = abort
        self._queue: deque[_Queued] = deque()
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._closing: tuple[int, str] | None = None
        self._active = wall.monotonic()
        self.gone = False
        self.lagging = False
        """Whether the client was waited for in vain and has not caught up since."""

    # ------------------------------------------------------------------------------------------ messages

    def push(self, text: str, *, delay_ms: int = 0) -> None:
        """Queue a message. With a delay it leaves later (wall time), and so does everything behind it."""
        if self.gone or self._closing is not None:
            return
        if len(self._queue) >= MOST_QUEUED:
            self.cut()
            return
        now = self._wall.monotonic()
        due = max(now + timedelta(milliseconds=delay_ms), self._queue[-1].due if self._queue else _NO_TIME)
        self._add(_Queued(text, due))

    def lose(self, how: str) -> None:
        """Cut the connection after what is queued, in a fault's way: ``close`` or ``reset``."""
        self._add(_Queued("", self._wall.monotonic(), how))

    def _add(self, item: _Queued) -> None:
        self._queue.append(item)
        self._empty.clear()
        self._wake.set()

    def close(self, code: int, reason: str) -> None:
        """Close in an orderly way once what is queued has been written."""
        self._closing = self._closing or (code, reason)
        self._wake.set()

    def cut(self, *, reset: bool = False) -> None:
        """End the connection at once, whatever is queued."""
        self.gone = True
        self._queue.clear()
        self._empty.set()
        self._wake.set()
        self._abort(reset)

    async def write(self, send: Send) -> None:
        """Write what is queued until the socket is closed or cut."""
        written = 0
        while not self.gone:
            if not self._queue:
                self._empty.set()
                self.lagging = False
                if self._closing is not None:
                    code, reason = self._closing
                    await send({"type": "websocket.close", "code": code, "reason": reason})
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            wait = self._queue[0].due - self._wall.monotonic()
            if wait > _NO_TIME:
                await asyncio.sleep(wait.total_seconds())
                continue
            if self._queue[0].cut:
                self.cut(reset=self._queue[0].cut == "reset")
                return
            await send({"type": "websocket.send", "text": self._queue[0].text})
            if self._queue:  # a cut meanwhile has emptied it
                self._queue.popleft()
            self.touch()
            written += 1
            if written % _BREATH == 0:
                await asyncio.sleep(0)

    async def drained(self) -> None:
        """Returns when everything queued has been handed to the connection; at once if the rest is delayed by
        a fault, or the client is known not to read.
        """
        if not self.delayed and not self.lagging:
            await self._empty.wait()

    @property
    def delayed(self) -> bool:
        """Whether what is queued last waits for its time."""
        return bool(self._queue) and self._queue[-1].due > self._wall.monotonic()

    @property
    def waiting(self) -> int:
        """How many messages are queued."""
        return len(self._queue)

    # ------------------------------------------------------------------------------------------ activity

    def touch(self) -> None:
        """Something went in or out."""
        self._active = self._wall.monotonic()

    @property
    def stale(self) -> bool:
        """Whether nothing has gone in or out for longer than the client may be silent."""
        return self._wall.monotonic() - self._active > self.idle
