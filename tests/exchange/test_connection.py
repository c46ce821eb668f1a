"""How a connection comes about: names, addresses, TLS, each within the deadline of the whole call."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import certifi
import pytest

from fundarb.clock import SystemClock
from fundarb.exchange import connection
from fundarb.exchange.connection import Address, resolved, trusted
from fundarb.exchange.strict import Answer, NoAnswer
from fundarb.exchange.wire import Call, Transport
from tests.exchange.certificates import certified
from tests.exchange.server import FakeVenue, envelope

CLOCK = SystemClock()
SOON = timedelta(seconds=2)


def get(transport: Transport, url: str, *, seconds: float = 10) -> tuple[Answer, Call]:
    """One GET of the time."""
    deadline = CLOCK.monotonic() + timedelta(seconds=seconds)
    call = transport.wire.current.call = Call(nonce=1, recv_window=SOON, deadline=deadline)
    return transport.send("GET", f"{url}/v5/market/time", headers={}, body=None), call


def refused(transport: Transport, url: str, *, seconds: float = 10) -> tuple[NoAnswer, timedelta]:
    """A GET that must fail, and how long it took to."""
    started = CLOCK.monotonic()
    with pytest.raises(NoAnswer) as caught:
        get(transport, url, seconds=seconds)
    return caught.value, CLOCK.monotonic() - started


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A listener that lets everybody connect and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def secure(tmp_path: Path, *, host: str = "127.0.0.1") -> tuple[FakeVenue, Path]:
    """A venue behind TLS, and the file of the authority that vouches for it."""
    made = certified(tmp_path, host=host)
    venue = FakeVenue(made.server)
    venue.on("/v5/market/time", envelope({}))
    return venue, made.authority


def trusting(monkeypatch: pytest.MonkeyPatch, authority: Path) -> None:
    """Let new transports trust the tests' own authority instead of the public ones."""
    monkeypatch.setattr(certifi, "where", lambda: str(authority))


def test_a_venue_with_a_good_certificate_is_talked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TLS end to end: handshake, request, answer, and the connection is used again."""
    venue, authority = secure(tmp_path)
    trusting(monkeypatch, authority)
    transport = Transport(venue.url, CLOCK)
    for _ in range(2):
        answer, call = get(transport, venue.url)
        assert (answer.code, call.connected, call.sent) == (0, True, True)
    assert len(venue._open) == 1
    transport.close()
    venue.close()


def test_an_unknown_authority_is_refused_and_leaves_the_outcome_open(tmp_path: Path) -> None:
    """A certificate that nobody vouches for: no byte of the request leaves, but somebody was there."""
    venue, _ = secure(tmp_path)
    failure, _ = refused(Transport(venue.url, CLOCK), venue.url)
    assert failure.sent
    assert "CERTIFICATE_VERIFY_FAILED" in str(failure)
    assert venue.requests == []
    venue.close()


def test_a_certificate_of_another_host_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trusted authority is not enough: the name must be the one that was called."""
    venue, authority = secure(tmp_path, host="127.0.0.2")
    trusting(monkeypatch, authority)
    failure, _ = refused(Transport(venue.url, CLOCK), venue.url)
    assert "CERTIFICATE_VERIFY_FAILED" in str(failure)
    assert venue.requests == []
    venue.close()


def test_the_settings_of_tls_are_strict() -> None:
    """Certificates required, names checked, nothing older than TLS 1.2."""
    context = trusted()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_plain_text_where_tls_was_expected_is_uncertain(venue: FakeVenue) -> None:
    """A failure after connecting proves nothing: only a refused connection does."""
    url = f"https://127.0.0.1:{venue.port}"
    failure, _ = refused(Transport(url, CLOCK), url)
    assert failure.sent
    assert venue.requests == []


def test_a_handshake_without_an_answer_ends_by_the_deadline(silent: socket.socket) -> None:
    """The deadline covers TLS: a server that accepts the connection and is silent cannot hold the call."""
    url = f"https://127.0.0.1:{silent.getsockname()[1]}"
    failure, took = refused(Transport(url, CLOCK), url, seconds=0.3)
    assert "deadline" in str(failure)
    assert took < SOON


def test_a_handshake_that_dribbles_ends_by_the_deadline(silent: socket.socket) -> None:
    """Not each read has the time that is left, the whole handshake has."""

    def dribble() -> None:
        peer, _ = silent.accept()
        with peer:
            try:
                for byte in b"\x16\x03\x03\x40\x00" + b"\x02" * 100:
                    peer.sendall(bytes([byte]))
                    CLOCK.sleep(timedelta(milliseconds=50))
            except OSError:
                return

    threading.Thread(target=dribble, daemon=True).start()
    url = f"https://127.0.0.1:{silent.getsockname()[1]}"
    _, took = refused(Transport(url, CLOCK), url, seconds=0.4)
    assert took < SOON


def test_a_resolver_that_hangs_is_left_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The look-up of a name cannot be called off; it is not waited for either, and nothing was sent."""
    release = threading.Event()

    def hang(*_: object, flags: int, **__: object) -> None:
        if flags != socket.AI_NUMERICHOST:
            release.wait(20)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    url = "https://api.bybit.com"
    failure, took = refused(Transport(url, CLOCK), url, seconds=0.3)
    release.set()
    assert not failure.sent
    assert "cannot connect to api.bybit.com" in str(failure)
    assert took < SOON


def test_a_name_is_looked_up_and_its_failure_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the resolver says reaches the caller, from whatever thread it was asked."""
    assert resolved("localhost", 80, patience=10)
    asked: list[str] = []

    def unknown(*_: object, **__: object) -> None:
        asked.append(threading.current_thread().name)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(socket.gaierror, match="not known"):
        resolved("api.bybit.com", 443, patience=10)
    assert asked[1] == "look up api.bybit.com"


def test_a_dead_address_leaves_time_for_the_next(venue: FakeVenue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with several addresses: the first that does not answer may not eat the whole deadline."""
    venue.on("/v5/market/time", envelope({}))
    dead = socket.create_server(("127.0.0.1", 0), backlog=0)
    place = dead.getsockname()
    waiting = [socket.create_connection(place) for _ in range(1)]  # fill its queue: further ones hang
    good = ("127.0.0.1", venue.port)
    kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
    monkeypatch.setattr(
        connection, "resolved", lambda *_, **__: [(*kind, place), (*kind, place), (*kind, good)]
    )
    transport = Transport(venue.url, CLOCK)
    answer, _ = get(transport, venue.url, seconds=1.5)
    transport.close()
    assert answer.code == 0
    for sock in (*waiting, dead):
        sock.close()


def test_no_address_at_all_is_said(monkeypatch: pytest.MonkeyPatch, venue: FakeVenue) -> None:
    """A name without an address is a failure before anything was sent."""
    monkeypatch.setattr(connection, "resolved", lambda *_, **__: [])
    failure, _ = refused(Transport(venue.url, CLOCK), venue.url)
    assert (failure.sent, "no address" in str(failure)) == (False, True)


def test_the_port_follows_from_the_scheme() -> None:
    """An address without a port means the scheme's own."""
    assert (Address.of("http", "h", port=None).port, Address.of("https", "h", port=None).port) == (80, 443)
    assert Address.of("http", "h", port=8899) == Address("h", 8899, None)
