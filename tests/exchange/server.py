"""A small venue on a loopback socket for the tests: answers what a test scripted, in every way a server
can misbehave.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import parse_headers
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlsplit

TIME_MS = 1_700_000_000_000


def envelope(result: Any, *, code: int = 0, message: str = "OK", time: int = TIME_MS) -> bytes:
    """An answer in the venue's form."""
    return json.dumps(
        {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": time}
    ).encode()


def listing(*rows: Mapping[str, Any], cursor: str = "", time: int = TIME_MS) -> bytes:
    """An answer of a list endpoint."""
    return envelope({"list": list(rows), "nextPageCursor": cursor}, time=time)


@dataclass(frozen=True)
class Reply:
    """What the server does with a request.

    ``how``: answer | hang (no byte) | reset | close (no byte) | dribble_head | dribble_body | cut | stale
    (answers, then closes the kept-alive connection when the next request has arrived) | last (answers, then
    closes) | twice (two answers to one request) | endless.
    """

    body: bytes = b""
    status: int = 200
    how: str = "answer"
    headers: Mapping[str, str] = field(default_factory=dict)
    zipped: bool = False


@dataclass(frozen=True)
class Request:
    """A request as it arrived."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def params(self) -> dict[str, str]:
        """The query's parameters."""
        return {name: values[0] for name, values in parse_qs(self.query).items()}

    @property
    def document(self) -> dict[str, Any]:
        """The body's JSON."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed


Answerer = Callable[[Request], Reply]


class FakeVenue:
    """Threaded, keeps connections alive, records every request."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen on a free port of the loopback interface; behind TLS if its server's side is given."""
        self._tls = tls
        self.requests: list[Request] = []
        self._routes: dict[str, list[Reply] | Answerer] = {}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._stop = threading.Event()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The address to hand to an adapter."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def on(self, path: str, *replies: Reply | bytes | Answerer) -> None:
        """Answer requests to ``path`` with the replies in turn, the last one for ever, or ask a function."""
        first = replies[0]
        if callable(first):
            self._routes[path] = first
            return
        self._routes[path] = [reply if isinstance(reply, Reply) else Reply(reply) for reply in replies]  # type: ignore[arg-type]

    def to(self, path: str) -> list[Request]:
        """The requests that arrived for a path."""
        return [request for request in self.requests if request.path == path]

    def close(self) -> None:
        """Stop listening and drop every connection."""
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # else the thread in accept() keeps it open
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.close()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), contextlib.ExitStack() as stack:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            stack.enter_context(connection)
            reader = stack.enter_context(connection.makefile("rb"))
            stale = False
            while (request := _read(reader)) is not None:
                self.requests.append(request)
                if stale:
                    return
                reply = self._reply(request)
                if not self._answer(connection, reply):
                    return
                stale = reply.how == "stale"

    def _reply(self, request: Request) -> Reply:
        route = self._routes.get(request.path)
        if route is None:
            return Reply(b"<html>404</html>", status=404)
        if callable(route):
            return route(request)
        return route.pop(0) if len(route) > 1 else route[0]

    def _answer(self, connection: socket.socket, reply: Reply) -> bool:
        """Answer; False when the connection is of no more use."""
        if reply.how == "hang":
            self._stop.wait(20)
            return False
        if reply.how == "close":
            return False
        if reply.how == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        body = gzip.compress(reply.body) if reply.zipped else reply.body
        head = _head(reply, len(body))
        if reply.how == "cut":
            connection.sendall(head + body[: len(body) // 2])
            return False
        if reply.how in {"dribble_head", "dribble_body", "endless"}:
            self._dribble(connection, head, reply)
            return False
        connection.sendall((head + body) * (2 if reply.how == "twice" else 1))
        return reply.how != "last"

    def _dribble(self, connection: socket.socket, head: bytes, reply: Reply) -> None:
        if reply.how == "endless":
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n")
            while not self._stop.is_set():
                connection.sendall(b" " * 1_000_000)
        if reply.how == "dribble_body":
            connection.sendall(head)
        for byte in head if reply.how == "dribble_head" else reply.body:
            connection.sendall(bytes([byte]))
            if self._stop.wait(0.03):
                return


def _head(reply: Reply, length: int) -> bytes:
    headers = {"Content-Type": "application/json", "Content-Length": str(length), **reply.headers}
    if reply.zipped:
        headers["Content-Encoding"] = "gzip"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value)
    return f"HTTP/1.1 {reply.status} Whatever\r\n{lines}\r\n".encode()


def _read(reader: BinaryIO) -> Request | None:
    line = reader.readline().decode()
    if not line.strip():
        return None
    method, target, _ = line.split(" ", 2)
    headers = dict(parse_headers(reader).items())
    length = int(headers.get("Content-Length", 0))
    parts = urlsplit(target)
    return Request(method, parts.path, parts.query, headers, reader.read(length))
