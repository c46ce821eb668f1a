"""One connection to one address, on which every wait ends by the deadline of the call that it serves.

The time that is left becomes the socket's timeout before each step: each address of a name, the TLS
handshake, each write, each read. Only the look-up of a name cannot be interrupted; it is left to a thread of
its own and no longer waited for. Certificates are checked, no proxy is asked, nothing is repeated. Knows
nothing of requests and their meaning.
"""

from __future__ import annotations

import queue
import select
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import certifi

_CHUNK = 65_536
"""Bytes that one read asks for at most."""

_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux only
_SCHEMES = {"http": 80, "https": 443}

Left = Callable[[], float]
"""Seconds until the deadline of the call under way; raises ``TimeoutError`` when it has passed."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a connection goes. ``tls`` holds what certificates are checked against, None for plain HTTP."""

    host: str
    port: int
    tls: ssl.SSLContext | None

    @classmethod
    def of(cls, scheme: str, host: str, *, port: int | None) -> Address:
        """The address behind the beginning of a URL."""
        return cls(host, port or _SCHEMES[scheme], trusted() if scheme == "https" else None)


def trusted() -> ssl.SSLContext:
    """Certificates of the public authorities, host names checked, TLS 1.2 at least."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


class Connection:
    """A socket that is opened when it is first needed."""

    def __init__(self, address: Address, left: Left) -> None:
        """Nothing is opened yet."""
        self._address = address
        self._left = left
        self._sock: socket.socket | None = None

    @property
    def open(self) -> bool:
        """Whether there is a socket."""
        return self._sock is not None

    @property
    def dead(self) -> bool:
        """Whether an idle connection was closed by the other end, or holds bytes that nobody asked for."""
        return self._sock is None or _readable(self._sock)

    def connect(self, connected: Callable[[], None]) -> None:
        """Open it; ``connected`` is called once somebody is there, before the TLS handshake."""
        sock = self._dialled()
        try:
            connected()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._address.tls is not None:
                sock.settimeout(self._left())  # bounds the handshake as a whole, not its single reads
                sock = self._address.tls.wrap_socket(sock, server_hostname=self._address.host)
            self._sock = sock
        finally:
            if self._sock is None:
                sock.close()

    def _dialled(self) -> socket.socket:
        """A connected socket: the first address that answers, each with its share of what is left."""
        found = resolved(self._address.host, self._address.port, patience=self._left())
        failed: OSError | None = None
        for number, (family, kind, protocol, _, place) in enumerate(found):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(self._left() / (len(found) - number))
                sock.connect(place)
            except OSError as error:
                sock.close()
                failed = error
            else:
                return sock
        raise failed or OSError("the name has no address")

    def sendall(self, data: bytes) -> None:
        """Write everything by the deadline."""
        sock = self._opened()
        sock.settimeout(self._left())
        sock.sendall(data)

    def recv(self) -> bytes:
        """What is there, waiting no longer than the deadline; nothing at the end of the connection."""
        sock = self._opened()
        sock.settimeout(self._left())
        if _QUICK_ACK is not None:
            # Else a server that writes head and body apart waits 40 ms for our acknowledgement of the head.
            sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
        return sock.recv(_CHUNK)

    def close(self) -> None:
        """Close the socket; the next ``connect`` opens another."""
        sock, self._sock = self._sock, None
        if sock is not None:
            with suppress(OSError):
                sock.close()

    def _opened(self) -> socket.socket:
        if self._sock is None:
            raise OSError("the connection is closed")
        return self._sock


def resolved(host: str, port: int, *, patience: float) -> list[tuple[Any, ...]]:
    """The addresses of a name, as ``socket.getaddrinfo`` gives them; ``TimeoutError`` after ``patience``
    seconds.

    The system's look-up waits as long as the resolver is told to and cannot be called off: it goes on in a
    thread that nobody hears any more. An address in figures needs no look-up.
    """
    with suppress(socket.gaierror):
        return _addresses(host, port, flags=socket.AI_NUMERICHOST)
    answer: queue.SimpleQueue[list[tuple[Any, ...]] | OSError] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answer.put(_addresses(host, port, flags=0))
        except OSError as error:
            answer.put(error)

    threading.Thread(target=look_up, name=f"look up {host}", daemon=True).start()
    try:
        found = answer.get(timeout=patience)
    except queue.Empty:
        raise TimeoutError(f"the name {host} could not be looked up in time") from None
    if isinstance(found, OSError):
        raise found
    return found


def _addresses(host: str, port: int, *, flags: int) -> list[tuple[Any, ...]]:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags))


def _readable(sock: socket.socket) -> bool:
    """Whether a read would return at once: on an idle connection that is its end, or nothing we asked for."""
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(sock, select.POLLIN)
        return bool(poller.poll(0))
    return bool(select.select([sock], [], [], 0)[0])
