"""HTTP over ``requests`` made strict: one total deadline for a whole call, a bounded body, no redirects, no
proxies.

The deadline is kept at the socket: before each read and write the time that is left becomes its timeout, so a
server that dribbles bytes cannot hold a call. Nothing here repeats a request, not even on a connection that
turns out to be dead. Between the gate's last word on a create and its socket write stands nothing that can
wait. Imported lazily: it loads the HTTP libraries.
"""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http.client import HTTPException, RemoteDisconnected
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NameResolutionError, NewConnectionError

from fundarb import __version__
from fundarb.clock import Clock
from fundarb.crash import Point, reached
from fundarb.errors import BadAnswer
from fundarb.exchange.strict import MAX_BODY, Answer, NoAnswer, read_answer

_CHUNK = 65_536
_IDLE = timedelta(seconds=5)
"""A write does not reuse a connection that rested longer: the other end may be closing it at this moment."""

_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux only

_NEVER_SENT = (
    NewConnectionError,
    NameResolutionError,
    ConnectTimeoutError,
    socket.gaierror,
    ConnectionRefusedError,
)


@dataclass(slots=True)
class Call:
    """One request on its way: what it is, and how far it got.

    ``deadline`` is on the wire's clock. ``nonce`` is the signature's timestamp in ms. ``admit`` is asked
    immediately before the first byte of a create. ``connected`` and ``sent`` are set by the connection,
    ``held`` is an operating system's error that the gate raised.
    """

    nonce: int
    recv_window: timedelta
    write: bool = False
    admit: Callable[[], None] | None = None
    deadline: timedelta = field(default_factory=timedelta)
    connected: bool = False
    sent: bool = False
    held: OSError | None = None


class Current(threading.local):
    """The call that this thread is making; a thread makes one at a time."""

    call: Call | None = None


class Wire:
    """What sockets ask about the call they serve. The clock is the machine's own: sockets know no virtual
    time.
    """

    def __init__(self, clock: Clock) -> None:
        """No call is under way."""
        self._clock = clock
        self.current = Current()

    @property
    def call(self) -> Call:
        """This thread's call."""
        if self.current.call is None:
            raise RuntimeError("a socket is used outside a call")
        return self.current.call

    def now(self) -> timedelta:
        """The monotonic clock of the machine."""
        return self._clock.monotonic()

    def left(self) -> float:
        """Seconds until this call's deadline; ``TimeoutError`` when it has passed."""
        left = (self.call.deadline - self.now()).total_seconds()
        if left <= 0:
            raise TimeoutError("the deadline of the whole call has passed")
        return left


class DeadlineSocket:
    """A connected socket whose every operation ends by the deadline of the call it serves."""

    def __init__(self, sock: Any, wire: Wire) -> None:
        """Take over a plain or TLS socket."""
        self._sock = sock
        self._wire = wire
        self._readers = 0
        self._closed = False

    def settimeout(self, value: float | None) -> None:
        """Ignored: the deadline alone decides."""

    def sendall(self, data: bytes) -> None:
        """Send everything by the deadline."""
        self._sock.settimeout(self._wire.left())
        self._sock.sendall(data)

    def recv_into(self, buffer: Any) -> int:
        """Read what is there, waiting no longer than the deadline."""
        self._sock.settimeout(self._wire.left())
        if _QUICK_ACK is not None:
            # Else a server that writes head and body apart waits 40 ms for our acknowledgement of the head.
            self._sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
        return int(self._sock.recv_into(buffer))

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        """A buffered reader for the HTTP parser."""
        self._readers += 1
        return io.BufferedReader(socket.SocketIO(self, "r"), _CHUNK)  # type: ignore[arg-type]

    def close(self) -> None:
        """Close when the last reader is closed, as sockets do."""
        self._closed = True
        if self._readers <= 0:
            self._sock.close()

    def _decref_socketios(self) -> None:
        self._readers -= 1
        if self._closed:
            self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class _StrictConnection(HTTPConnection):
    """A plain connection with deadline and gate."""

    wire: Wire
    _used: timedelta | None = None
    _held: list[bytes] | None = None

    def _new_conn(self) -> socket.socket:
        self.timeout = self.wire.left()
        sock = super()._new_conn()
        self.wire.call.connected = True
        return sock

    def connect(self) -> None:
        super().connect()
        self.sock = DeadlineSocket(self.sock, self.wire)

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        call = self.wire.call
        if call.write and self._used is not None and self.wire.now() - self._used > _IDLE:
            self.close()
        if self.sock is None:
            self.connect()
        call.connected = True
        data = self._formed(method, url, *args, **kwargs)
        if call.admit is not None:
            self._ask(call.admit)
        call.sent = True
        self._used = self.wire.now()
        super().send(data)
        if call.admit is not None:
            reached(Point.WIRE_AFTER_SEND)

    def _formed(self, method: str, url: str, *args: Any, **kwargs: Any) -> bytes:
        """The request's bytes, head and body in one, so that they leave in one write and nothing but that
        write follows the gate's last word.
        """
        self._held = []
        try:
            super().request(method, url, *args, **kwargs)
            return b"".join(self._held)
        finally:
            self._held = None

    def send(self, data: Any) -> None:
        """Hold back what belongs to a request that is being formed."""
        if self._held is None:
            super().send(data)
        else:
            self._held.append(data)

    def _ask(self, admit: Callable[[], None]) -> None:
        """The gate's last word; a connection whose request it held back is not used again."""
        reached(Point.WIRE_BEFORE_GATE)
        admitted = False
        try:
            admit()
            admitted = True
        except OSError as error:  # the HTTP libraries would take it for one of their own
            self.wire.call.held = error
            raise
        finally:
            if not admitted:
                self.close()
        reached(Point.WIRE_BEFORE_SEND)


class _StrictTlsConnection(_StrictConnection, HTTPSConnection):
    """The same over TLS, certificate checked."""


class StrictAdapter(HTTPAdapter):
    """The transport of ``requests`` with strict connections and no repetition of any kind."""

    def __init__(self, wire: Wire) -> None:
        """Connections learn of their call through ``wire``."""
        self._wire = wire
        super().__init__(max_retries=0, pool_connections=1, pool_maxsize=4)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Let pools make strict connections."""
        super().init_poolmanager(*args, **kwargs)
        plain = type("_Plain", (_StrictConnection,), {"wire": self._wire})
        tls = type("_Tls", (_StrictTlsConnection,), {"wire": self._wire})
        self.poolmanager.pool_classes_by_scheme = {
            "http": type("_PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("_TlsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
        }


class Transport:
    """Sends one request to one host and reads its answer strictly."""

    def __init__(self, base_url: str, clock: Clock) -> None:
        """``clock`` measures the deadlines and must be the machine's own."""
        parts = urlsplit(base_url)
        self._origin = (parts.scheme, parts.netloc)
        self.wire = Wire(clock)
        self._adapter = StrictAdapter(self.wire)

    def send(self, method: str, url: str, *, headers: Mapping[str, str], body: str | None) -> Answer:
        """The strict answer; raises ``NoAnswer`` (with whether a byte left), ``BadAnswer``, or what the
        gate raised.
        """
        parts = urlsplit(url)
        if (parts.scheme, parts.netloc) != self._origin:
            raise NoAnswer(f"refused to talk to {parts.netloc}", sent=False, repeat=False)
        call = self.wire.call
        request = requests.Request(
            method, url, headers=dict(headers), data=body.encode() if body else None
        ).prepare()
        # Not `requests.get`: a session would add cookies, read proxy settings and prepare redirects.
        request.headers["User-Agent"] = f"fundarb/{__version__}"
        request.headers["Accept-Encoding"] = "gzip"
        try:
            status, content = self._exchange(request)
        except (requests.RequestException, HTTPError, HTTPException, OSError) as error:
            if call.held is not None:
                raise call.held from None
            raise _failure(error, call, host=self._origin[1]) from error
        return read_answer(status, content)

    def _exchange(self, request: requests.PreparedRequest) -> tuple[int, bytes]:
        left = self.wire.left()
        response = self._adapter.send(request, stream=True, timeout=(left, left), verify=True, proxies={})
        try:
            content = self._content(response)
        finally:
            response.close()
        return response.status_code, content

    def _content(self, response: requests.Response) -> bytes:
        """The decoded body, bounded in size and time."""
        chunks: list[bytes] = []
        size = 0
        for chunk in response.raw.stream(_CHUNK, decode_content=True):
            size += len(chunk)
            if size > MAX_BODY:
                raise BadAnswer(f"the answer is larger than {MAX_BODY // 2**20} MiB")
            chunks.append(chunk)
            self.wire.left()
        return b"".join(chunks)

    def close(self) -> None:
        """Close all connections."""
        self._adapter.close()


def _failure(error: BaseException, call: Call, *, host: str) -> NoAnswer:
    """Tell "no byte left this process" from everything after it, by what happened and by how far the call
    got.
    """
    causes = list(_chain(error))
    unsent = not call.sent and not call.connected and any(isinstance(cause, _NEVER_SENT) for cause in causes)
    if unsent:
        return NoAnswer(f"cannot connect to {host}: {_words(causes)}", sent=False)
    if any(isinstance(cause, TimeoutError | requests.Timeout) for cause in causes):
        return NoAnswer(f"no answer from {host} within the deadline")
    return NoAnswer(f"the connection to {host} failed: {_words(causes)}")


def _chain(error: BaseException | None) -> list[BaseException]:
    """An error with everything that is behind it: causes, contexts, arguments and urllib3's ``reason``."""
    found: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        item = waiting.pop(0)
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            waiting += [item.__cause__, item.__context__, getattr(item, "reason", None), *item.args]
    return found


def _words(causes: list[BaseException]) -> str:
    """The innermost words that a person can use: the operating system's where there are some."""
    for cause in causes:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    if any(isinstance(cause, RemoteDisconnected) for cause in causes):
        return "closed without an answer"
    return type(causes[-1]).__name__
