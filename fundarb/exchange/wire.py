"""HTTP made strict: one total deadline for a whole call, a bounded body, no redirects, no proxies, no
cookies.

Nothing here repeats a request, not even on a connection that turns out to be dead. A request is formed before
the gate is asked: between its last word on a create and the one socket write stands nothing that can wait.
Answers are put together by ``Reading``. Imported lazily.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

from fundarb import __version__
from fundarb.clock import Clock
from fundarb.crash import Point, reached
from fundarb.exchange.connection import Address, Connection
from fundarb.exchange.reading import Reading
from fundarb.exchange.strict import Answer, NoAnswer, read_answer

_IDLE = timedelta(seconds=4)
"""A write does not reuse a connection that rested longer: the other end may be closing it at this moment."""

_KEPT = 4
"""Idle connections that are kept."""

_OWN_HEADERS = {"User-Agent": f"fundarb/{__version__}", "Accept-Encoding": "gzip", "Accept": "*/*"}


@dataclass(slots=True)
class Call:
    """One request on its way: what it is, and how far it got.

    ``deadline`` is on the wire's clock. ``nonce`` is the signature's timestamp in ms. ``admit`` is asked
    immediately before the first byte of a create. ``connected`` says that somebody is at the other end,
    ``sent`` that bytes of the request may have left.
    """

    nonce: int
    recv_window: timedelta
    write: bool = False
    admit: Callable[[], None] | None = None
    deadline: timedelta = field(default_factory=timedelta)
    connected: bool = False
    sent: bool = False


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


@dataclass(slots=True)
class Traffic:
    """What became of the connections to one address: ``opened`` so many, and so many ``lost`` (closed by the
    other end while they rested).
    """

    opened: int = 0
    lost: int = 0


class Pool:
    """Idle connections to one address, the latest used first; safe to share between threads."""

    def __init__(self, address: Address, wire: Wire) -> None:
        """Without a connection."""
        self._address = address
        self._wire = wire
        self._lock = threading.Lock()
        self._idle: list[tuple[Connection, timedelta]] = []
        self.traffic = Traffic()
        weakref.finalize(self, _close_all, self._idle)

    def take(self, *, write: bool) -> Connection:
        """A living idle connection, for a write one that has not rested long; else one that is not open
        yet.
        """
        while True:
            with self._lock:
                if not self._idle:
                    return Connection(self._address, self._wire.left)
                connection, since = self._idle.pop()
            rested, dead = self._wire.now() - since, connection.dead
            self.traffic.lost += dead
            if not dead and not (write and rested > _IDLE):
                return connection
            connection.close()

    def give_back(self, connection: Connection) -> None:
        """Keep a connection whose answer was read to its end."""
        with self._lock:
            if len(self._idle) < _KEPT:
                self._idle.append((connection, self._wire.now()))
                return
        connection.close()

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            _close_all(self._idle)


def _close_all(idle: list[tuple[Connection, timedelta]]) -> None:
    while idle:
        idle.pop()[0].close()


class Transport:
    """Sends one request to one host and reads its answer strictly."""

    def __init__(self, base_url: str, clock: Clock) -> None:
        """``clock`` measures the deadlines and must be the machine's own."""
        parts = urlsplit(base_url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._netloc = parts.netloc
        self._headers = {"Host": parts.netloc, **_OWN_HEADERS}
        self.wire = Wire(clock)
        self._pool = Pool(Address.of(parts.scheme, parts.hostname or "", port=parts.port), self.wire)

    @property
    def traffic(self) -> Traffic:
        """What became of the connections so far."""
        return self._pool.traffic

    def send(self, method: str, url: str, *, headers: Mapping[str, str], body: str | None) -> Answer:
        """The strict answer; raises ``NoAnswer`` (with whether a byte left), ``BadAnswer``, or what the
        gate raised.
        """
        return read_answer(*self.fetch(method, url, headers=headers, body=body))

    def fetch(
        self, method: str, url: str, *, headers: Mapping[str, str], body: str | None
    ) -> tuple[int, bytes]:
        """Status and body of an answer that came whole, whatever it says; raises as ``send`` does."""
        if not url.startswith(f"{self._origin}/"):
            raise NoAnswer(f"refused to talk to {urlsplit(url).netloc}", sent=False, repeat=False)
        data = self._formed(method, url[len(self._origin) :], headers=headers, body=body)
        call = self.wire.call
        connection = self._ready(call)
        keep = False
        try:
            self._ask(call)
            reading = self._exchange(connection, call, data=data)
            keep = reading.keep
        finally:
            if keep:
                self._pool.give_back(connection)
            else:
                connection.close()
        return reading.status, reading.body

    def _formed(self, method: str, target: str, *, headers: Mapping[str, str], body: str | None) -> bytes:
        """The request's bytes, head and body in one."""
        data = (body or "").encode()
        named = {**self._headers, **headers}
        if data or method != "GET":
            named["Content-Length"] = str(len(data))
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
        if not all(line.isascii() and line.isprintable() for line in lines) or " " in target:
            raise NoAnswer("a request with characters that HTTP does not allow", sent=False, repeat=False)
        return "\r\n".join([*lines, "", ""]).encode("ascii") + data

    def _ready(self, call: Call) -> Connection:
        """An open connection for this call."""

        def connected() -> None:
            call.connected = True

        try:
            self.wire.left()
            connection = self._pool.take(write=call.write)
            if not connection.open:
                connection.connect(connected)
                self._pool.traffic.opened += 1
        except OSError as error:
            raise self._failure(error, call) from error
        call.connected = True
        return connection

    def _ask(self, call: Call) -> None:
        """The gate's last word on a create."""
        if call.admit is not None:
            reached(Point.WIRE_BEFORE_GATE)
            call.admit()
            reached(Point.WIRE_BEFORE_SEND)
        elif call.write:
            reached(Point.WIRE_BEFORE_WRITE)

    def _exchange(self, connection: Connection, call: Call, *, data: bytes) -> Reading:
        """Write the request in one piece and read its answer."""
        try:
            self.wire.left()
        except TimeoutError as error:
            raise NoAnswer("the deadline passed before anything was sent", sent=False) from error
        call.sent = True
        try:
            connection.sendall(data)
            if call.write:
                reached(Point.WIRE_AFTER_WRITE if call.admit is None else Point.WIRE_AFTER_SEND)
            reading = Reading()
            while not reading.complete:
                arrived = connection.recv()
                if arrived:
                    reading.feed(arrived)
                else:
                    reading.end()
        except OSError as error:
            raise self._failure(error, call) from error
        return reading

    def _failure(self, error: OSError, call: Call) -> NoAnswer:
        """Tell "no byte left this process" from everything after it, by how far the call got.

        Somebody who answered the connection may have seen a part of it: only a connection that never came
        about proves that nothing went out.
        """
        if not call.connected:
            late = isinstance(error, TimeoutError)
            words = "not within the deadline" if late else _words(error)
            return NoAnswer(f"cannot connect to {self._netloc}: {words}", sent=False)
        if isinstance(error, TimeoutError):
            return NoAnswer(f"no answer from {self._netloc} within the deadline")
        return NoAnswer(f"the connection to {self._netloc} failed: {_words(error)}")

    def close(self) -> None:
        """Close all idle connections."""
        self._pool.close()


def _words(error: OSError) -> str:
    """What a person can use: the operating system's words where there are some."""
    return error.strerror or str(error) or type(error).__name__
