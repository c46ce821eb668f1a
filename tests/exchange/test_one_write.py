"""How a request leaves: head and body in one write, and the gate's word right before it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from fundarb.clock import SystemClock
from fundarb.errors import NotSent
from fundarb.exchange.connection import Connection
from fundarb.exchange.wire import Call, Transport


@pytest.fixture
def server() -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers every request alike and keeps what it was sent."""
    got: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            with peer:
                while data := peer.recv(65_536):
                    got.append(data)
                    peer.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n{"retCode":0,"result":{}}')

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", got
    listener.close()


def call(transport: Transport, **changes: object) -> Call:
    """A write that has ten seconds."""
    deadline = transport.wire.now() + timedelta(seconds=10)
    made = Call(nonce=1, recv_window=timedelta(seconds=2), write=True, deadline=deadline, **changes)  # type: ignore[arg-type]
    transport.wire.current.call = made
    return made


def test_head_and_body_leave_in_one_write(
    server: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One socket write for a whole create: nothing of it can leave without the rest."""
    url, got = server
    transport = Transport(url, SystemClock())
    writes: list[bytes] = []
    real = Connection.sendall

    def noted(self: Connection, data: bytes) -> None:
        writes.append(data)
        real(self, data)

    monkeypatch.setattr(Connection, "sendall", noted)
    call(transport, admit=lambda: None)
    answer = transport.send("POST", f"{url}/v5/order/create", headers={"X": "y"}, body='{"a":1}')
    assert answer.code == 0
    assert len(writes) == 1
    assert writes[0].startswith(b"POST /v5/order/create HTTP/1.1\r\n")
    assert writes[0].endswith(b'\r\n\r\n{"a":1}')
    assert b"".join(got) == writes[0]
    transport.close()


def test_what_the_gate_holds_back_never_leaves_and_spoils_nothing(server: tuple[str, list[bytes]]) -> None:
    """A refusal by the gate writes no byte; the next request of the same transport works."""
    url, got = server
    transport = Transport(url, SystemClock())

    def refuse() -> None:
        raise NotSent("not now")

    held = call(transport, admit=refuse)
    with pytest.raises(NotSent):
        transport.send("POST", f"{url}/v5/order/create", headers={}, body="{}")
    assert not held.sent
    assert got == []
    call(transport)
    assert transport.send("GET", f"{url}/v5/market/time", headers={}, body=None).code == 0
    transport.close()
