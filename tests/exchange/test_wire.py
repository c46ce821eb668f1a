"""The transport: deadlines, sizes, what was sent and what was not, and that nothing is ever sent twice."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from fundarb.clock import SystemClock
from fundarb.errors import BadAnswer, NotSent
from fundarb.exchange import wire
from fundarb.exchange.connection import Connection
from fundarb.exchange.strict import MAX_BODY, Answer, NoAnswer
from fundarb.exchange.wire import Call, Transport
from tests.exchange.server import FakeVenue, Reply, envelope

CLOCK = SystemClock()
OK = envelope({"orderId": "1"})


@contextmanager
def calling(transport: Transport, *, seconds: float = 10, write: bool = True) -> Iterator[Call]:
    """A call under way on this thread."""
    call = Call(
        nonce=1,
        recv_window=timedelta(seconds=2),
        write=write,
        deadline=CLOCK.monotonic() + timedelta(seconds=seconds),
    )
    transport.wire.current.call = call
    try:
        yield call
    finally:
        transport.wire.current.call = None


@pytest.fixture
def transport(venue: FakeVenue) -> Iterator[Transport]:
    """A transport to the fake venue."""
    made = Transport(venue.url, CLOCK)
    yield made
    made.close()


def post(transport: Transport, venue: FakeVenue, path: str = "/create") -> Answer:
    """One POST."""
    return transport.send(
        "POST", venue.url + path, headers={"Content-Type": "application/json"}, body='{"a":1}'
    )


def idle(transport: Transport) -> list[Connection]:
    """The connections that the transport keeps for later."""
    return [connection for connection, _ in transport._pool._idle]


def test_an_answer_comes_back_whole(transport: Transport, venue: FakeVenue) -> None:
    """Body and headers arrive as given; the answer is decoded."""
    venue.on("/create", OK)
    with calling(transport) as call:
        assert post(transport, venue).result == {"orderId": "1"}
    assert (call.connected, call.sent) == (True, True)
    assert venue.requests[0].body == b'{"a":1}'
    assert venue.requests[0].headers["User-Agent"].startswith("fundarb/")


def test_a_compressed_answer_is_unpacked(transport: Transport, venue: FakeVenue) -> None:
    """Gzip is what the real venue sends."""
    venue.on("/create", Reply(OK, zipped=True))
    with calling(transport):
        assert post(transport, venue).code == 0


@pytest.mark.parametrize("how", ["hang", "dribble_head", "dribble_body"])
def test_one_deadline_holds_for_the_whole_call(transport: Transport, venue: FakeVenue, how: str) -> None:
    """A server that says nothing, or a byte now and then, cannot hold a call beyond its deadline."""
    venue.on("/create", Reply(OK * 20, how=how))
    started = CLOCK.monotonic()
    with calling(transport, seconds=0.3) as call, pytest.raises(NoAnswer, match="deadline") as caught:
        post(transport, venue)
    assert caught.value.sent
    assert call.sent
    assert CLOCK.monotonic() - started < timedelta(seconds=2)


@pytest.mark.parametrize("how", ["reset", "close", "cut"])
def test_a_connection_that_breaks_leaves_the_outcome_open(
    transport: Transport, venue: FakeVenue, how: str
) -> None:
    """After bytes were written nothing can be said, and nothing is sent again."""
    venue.on("/create", Reply(OK, how=how))
    with calling(transport), pytest.raises(NoAnswer) as caught:
        post(transport, venue)
    assert caught.value.sent
    assert len(venue.requests) == 1


def test_a_kept_connection_that_dies_under_a_write_is_not_retried(
    transport: Transport, venue: FakeVenue
) -> None:
    """The second POST dies on the first one's connection after it was written: uncertain, and sent once."""
    venue.on("/create", Reply(OK, how="stale"))
    with calling(transport):
        post(transport, venue)
    with calling(transport), pytest.raises(NoAnswer) as caught:
        post(transport, venue)
    assert caught.value.sent
    assert len(venue.requests) == 2


def test_a_write_does_not_reuse_a_connection_that_rested(transport: Transport, venue: FakeVenue) -> None:
    """A connection idle for seconds may be closing at the other end; a write takes a new one, a read does
    not.
    """
    venue.on("/create", OK)
    with calling(transport, write=False):
        post(transport, venue)
    (kept,) = idle(transport)
    with calling(transport, write=False):
        post(transport, venue)
    assert idle(transport) == [kept]
    transport._pool._idle[:] = [(kept, CLOCK.monotonic() - timedelta(seconds=6))]
    with calling(transport, write=False):
        post(transport, venue)
    assert idle(transport) == [kept]
    transport._pool._idle[:] = [(kept, CLOCK.monotonic() - timedelta(seconds=6))]
    with calling(transport):
        post(transport, venue)
    assert kept not in idle(transport)
    assert not kept.open


def test_a_connection_closed_at_the_other_end_is_not_used(transport: Transport, venue: FakeVenue) -> None:
    """A server that closes a connection between two requests costs no uncertain write."""
    venue.on("/create", Reply(OK, how="last"))
    for _ in range(3):
        with calling(transport):
            assert post(transport, venue).code == 0
        for _ in range(100):
            if all(connection.dead for connection in idle(transport)):
                break
            CLOCK.sleep(timedelta(milliseconds=10))
    assert len(venue.requests) == 3


def test_an_answer_nobody_asked_for_is_nobodys_answer(transport: Transport, venue: FakeVenue) -> None:
    """Bytes that arrive behind an answer end the connection: they must not be read as the next one."""
    venue.on("/create", Reply(OK, how="twice"))
    venue.on("/other", envelope({"orderId": "2"}))
    with calling(transport):
        assert post(transport, venue).result == {"orderId": "1"}
    CLOCK.sleep(timedelta(milliseconds=50))
    with calling(transport):
        assert post(transport, venue, "/other").result == {"orderId": "2"}


def test_a_body_without_end_is_refused(transport: Transport, venue: FakeVenue) -> None:
    """More than the maximum is not read into memory."""
    venue.on("/create", Reply(how="endless"))
    with calling(transport, seconds=20), pytest.raises(BadAnswer, match="larger"):
        post(transport, venue)


def test_a_small_body_that_unpacks_to_a_huge_one_is_refused(transport: Transport, venue: FakeVenue) -> None:
    """The maximum counts decoded bytes."""
    venue.on("/create", Reply(b" " * (MAX_BODY + 1), zipped=True))
    with calling(transport, seconds=20), pytest.raises(BadAnswer, match="larger"):
        post(transport, venue)


def test_a_body_cut_inside_its_packing_is_refused(transport: Transport, venue: FakeVenue) -> None:
    """A whole HTTP body whose gzip stream ends early is a cut answer, and one that is no gzip is a bad
    one.
    """
    packed = gzip.compress(OK)
    for body in (packed[:-9], b"no gzip at all", b""):
        venue.on("/create", Reply(body, headers={"Content-Encoding": "gzip"}))
        with calling(transport), pytest.raises(BadAnswer):
            post(transport, venue)
    venue.on("/create", Reply(OK, headers={"Content-Encoding": "br"}))
    with calling(transport), pytest.raises(BadAnswer, match="not asked for"):
        post(transport, venue)


def test_an_answer_in_chunks_is_put_together(transport: Transport, venue: FakeVenue) -> None:
    """Bodies without an announced length come in chunks; a chunk that is missing is a cut answer."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (OK[:7], OK[7:]))
    head = {"Transfer-Encoding": "chunked", "Content-Length": ""}
    venue.on("/create", Reply(chunks + b"0\r\n\r\n", headers=head), Reply(chunks, how="last", headers=head))
    with calling(transport):
        assert post(transport, venue).result == {"orderId": "1"}
    with calling(transport), pytest.raises(NoAnswer, match="cut") as caught:
        post(transport, venue)
    assert caught.value.sent


def test_a_body_up_to_the_end_of_the_connection_is_read(transport: Transport, venue: FakeVenue) -> None:
    """Neither length nor chunks: the end of the connection ends the body, which is then not used again."""
    venue.on("/create", Reply(OK, how="last", headers={"Content-Length": ""}))
    with calling(transport):
        assert post(transport, venue).code == 0
    assert idle(transport) == []


@pytest.mark.parametrize(
    ("path", "headers"), [("/a b", {}), ("/x", {"X": "y\r\nEvil: 1"}), ("/x\r\nEvil: 1", {}), ("/é", {})]
)
def test_nothing_can_be_smuggled_into_a_request(
    transport: Transport, venue: FakeVenue, path: str, headers: dict[str, str]
) -> None:
    """Line breaks and foreign signs in an address or a header are refused before connecting."""
    with calling(transport) as call, pytest.raises(NoAnswer, match="not allow") as caught:
        transport.send("GET", venue.url + path, headers=headers, body=None)
    assert (caught.value.sent, call.connected) == (False, False)


def test_redirects_are_not_followed(transport: Transport, venue: FakeVenue) -> None:
    """A signed request is never carried to another address."""
    venue.on("/create", Reply(b"", status=307, headers={"Location": venue.url + "/other"}))
    venue.on("/other", OK)
    with calling(transport), pytest.raises(NoAnswer, match="redirect") as caught:
        post(transport, venue)
    assert caught.value.sent
    assert venue.to("/other") == []


def test_nothing_listening_means_that_nothing_was_sent(venue: FakeVenue) -> None:
    """Connection refused is known before a byte is written."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    transport = Transport(f"http://127.0.0.1:{port}", CLOCK)
    with calling(transport) as call, pytest.raises(NoAnswer, match="Connection refused") as caught:
        transport.send("POST", f"http://127.0.0.1:{port}/create", headers={}, body="{}")
    assert not caught.value.sent
    assert not call.sent


def test_an_unknown_host_means_that_nothing_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that does not resolve is known before a byte is written."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    transport = Transport("https://api.bybit.com", CLOCK)
    with (
        calling(transport),
        pytest.raises(NoAnswer, match=r"cannot connect to api\.bybit\.com: Name") as caught,
    ):
        transport.send("POST", "https://api.bybit.com/v5/order/create", headers={}, body="{}")
    assert not caught.value.sent


def test_another_host_is_refused_before_connecting(transport: Transport, venue: FakeVenue) -> None:
    """The transport talks to the one address it was made for."""
    with calling(transport), pytest.raises(NoAnswer, match="refused to talk") as caught:
        transport.send("GET", "http://127.0.0.2:1/v5/market/time", headers={}, body=None)
    assert not caught.value.sent


def test_proxies_of_the_environment_are_ignored(
    transport: Transport, venue: FakeVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests go straight to the venue, whatever the environment says."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    venue.on("/create", OK)
    with calling(transport):
        assert post(transport, venue).code == 0


def test_the_gate_is_asked_once_after_connecting_and_before_the_first_byte(
    transport: Transport, venue: FakeVenue
) -> None:
    """Between the gate and the socket write there is nothing that can wait."""
    venue.on("/create", OK)
    seen: list[tuple[bool, bool, int]] = []
    with calling(transport) as call:
        call.admit = lambda: seen.append((call.connected, call.sent, len(venue.requests)))
        post(transport, venue)
    assert seen == [(True, False, 0)]


def test_a_create_passes_its_crash_points_in_order(
    transport: Transport, venue: FakeVenue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the gate, before the first byte, after the last one; a write without a gate has two of its own,
    a read none.
    """
    venue.on("/create", OK)
    passed: list[tuple[str, bool]] = []
    with calling(transport) as call:
        monkeypatch.setattr(wire, "reached", lambda point: passed.append((point.value, call.sent)))
        call.write = False
        post(transport, venue)
        assert passed == []
        call.write, call.sent = True, False
        post(transport, venue)
        call.sent = False
        call.admit = lambda: passed.append(("gate", call.sent))
        post(transport, venue)
    assert passed == [
        ("wire.before_write", False),
        ("wire.after_write", True),
        ("wire.before_gate", False),
        ("gate", False),
        ("wire.before_send", False),
        ("wire.after_send", True),
    ]


@pytest.mark.parametrize(
    "error",
    [NotSent("not ours any more"), ValueError("database gone"), OSError(28, "No space left on device")],
)
def test_what_the_gate_holds_back_is_not_sent(
    transport: Transport, venue: FakeVenue, error: Exception
) -> None:
    """Whatever the gate raises arrives unchanged, and no byte leaves."""

    def refuse() -> None:
        raise error

    venue.on("/create", OK)
    with calling(transport) as call:
        call.admit = refuse
        with pytest.raises(type(error)):
            post(transport, venue)
        assert not call.sent
    assert venue.requests == []
    with calling(transport):
        assert post(transport, venue).code == 0


def test_a_socket_outside_a_call_is_a_mistake(transport: Transport) -> None:
    """Without a call there is no deadline, so nothing may be sent."""
    with pytest.raises(RuntimeError, match="outside a call"):
        transport.wire.left()


def test_a_call_whose_time_has_passed_sends_nothing(transport: Transport, venue: FakeVenue) -> None:
    """The deadline is looked at before connecting, and the refusal is definite."""
    venue.on("/create", OK)
    with calling(transport, seconds=-1), pytest.raises(NoAnswer, match="deadline") as caught:
        post(transport, venue)
    assert not caught.value.sent
    assert venue.requests == []


def test_a_deadline_that_passes_at_the_gate_sends_nothing(transport: Transport, venue: FakeVenue) -> None:
    """A gate that took all the time there was leaves an order that was certainly not sent."""
    venue.on("/create", OK)
    with calling(transport) as call:
        call.admit = lambda: setattr(call, "deadline", timedelta())
        with pytest.raises(NoAnswer, match="before anything was sent") as caught:
            post(transport, venue)
    assert not caught.value.sent
    assert venue.requests == []


def test_threads_do_not_mix_their_calls(transport: Transport, venue: FakeVenue) -> None:
    """Each thread has its own call, deadline and timestamp."""
    import threading

    def call_on_thread(nonce: int, results: list[int]) -> None:
        with calling(transport, seconds=5) as call:
            call.nonce = nonce
            post(transport, venue)
            results.append(transport.wire.call.nonce)

    venue.on("/create", OK)
    results: list[int] = []
    work: list[Callable[[], None]] = [lambda n=n: call_on_thread(n, results) for n in range(8)]  # type: ignore[misc]
    threads = [threading.Thread(target=job) for job in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == list(range(8))
