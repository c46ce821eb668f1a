"""Sockets and processes: lost answers for real, start and stop, the state file, misuse of the wire."""

import json
import os
import pickle
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import requests

from fundarb.errors import ConfigError, StateUnavailable
from fundarb.sandbox import state_file
from fundarb.sandbox.options import ClockKind
from fundarb.sandbox.server import READY, start_in_thread, start_process
from tests.sandbox.harness import OPTIONS, START, START_MS, OverHttp, over_http


def lose(http: OverHttp, how: str) -> None:
    """Arm a lost answer for the next create."""
    match = {"method": "POST", "path": "/v5/order/create"}
    http.do("faults", {"match": match, "do": {"verb": "apply_then_lose", "how": how}})


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_lost_answer_is_a_broken_connection(http: OverHttp, how: str) -> None:
    """Close and reset end the connection at once without a byte; the order exists; the next request works."""
    lose(http, how)
    with pytest.raises(requests.ConnectionError):
        http.create(orderLinkId="one")
    assert [order["orderLinkId"] for order in http.truth()["orders"]] == ["one"]
    assert http.create(orderLinkId="two").json()["retCode"] == 0


def test_a_hanging_answer_lasts_until_the_client_gives_up(http: OverHttp) -> None:
    """Hang sends nothing: the client's own read timeout ends it; the order exists."""
    lose(http, "hang")
    body = json.dumps({"category": "linear"})
    with pytest.raises(requests.ReadTimeout):
        requests.post(f"{http.url}/v5/order/create", data=body, timeout=0.3)
    assert http.get("market/time")["retCode"] == 0


def test_reset_is_a_real_reset(http: OverHttp) -> None:
    """The peer sees a TCP reset (ECONNRESET), not an orderly end."""
    match = {"path": "/v5/market/time"}
    port = int(http.url.rsplit(":", 1)[1])
    for how, expected in (("reset", ConnectionResetError), ("close", b"")):
        http.do("faults", {"match": match, "do": {"verb": "apply_then_lose", "how": how}})
        with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
            peer.sendall(b"GET /v5/market/time HTTP/1.1\r\nHost: x\r\n\r\n")
            if expected == b"":
                assert peer.recv(100) == b""
            else:
                with pytest.raises(ConnectionResetError):
                    peer.recv(100)


def test_a_delayed_answer_takes_wall_time(http: OverHttp) -> None:
    """A delay of 200 ms is felt by the client, and virtual time does not move."""
    http.do("faults", {"match": {"path": "/v5/market/time"}, "do": {"verb": "delay", "ms": 200}})
    response = http.session.get(f"{http.url}/v5/market/time", timeout=10)
    assert response.elapsed.total_seconds() >= 0.2
    assert response.json()["time"] == START_MS


def test_private_answers_carry_limit_headers(http: OverHttp) -> None:
    """X-Bapi-Limit, -Status and -Reset-Timestamp on private end points, none on public ones."""
    private = http.request("GET", "position/list", {"category": "linear", "settleCoin": "USDT"})
    assert private.headers["X-Bapi-Limit"] == "50"
    assert private.headers["X-Bapi-Limit-Status"] == "49"
    assert int(private.headers["X-Bapi-Limit-Reset-Timestamp"]) == START_MS
    assert "X-Bapi-Limit" not in http.request("GET", "market/time").headers
    assert http.create().headers["X-Bapi-Limit"] == "10"


def test_request_limits_on_the_real_clock() -> None:
    """The eleventh linear create within a second is 10006 and tells when the limit ends; others are not
    affected.
    """
    with over_http(clock=ClockKind.REAL, start=None) as real:
        answers = [real.create(orderLinkId=f"o{number}", qty="0.001") for number in range(14)]
        codes = [answer.json()["retCode"] for answer in answers]
        assert codes[:10] == [0] * 10
        assert 10006 in codes[10:]
        refused = answers[codes.index(10006)]
        assert refused.headers["X-Bapi-Limit-Status"] == "0"
        assert int(refused.headers["X-Bapi-Limit-Reset-Timestamp"]) > refused.json()["time"]
        assert len(real.truth()["orders"]) == codes.count(0)


def test_an_address_that_asks_too_often_is_shut_out() -> None:
    """More than 600 requests in five seconds earn a 403 for everything."""
    with over_http(clock=ClockKind.REAL, start=None) as real:
        statuses = [
            real.session.get(f"{real.url}/v5/market/time", timeout=10).status_code for _ in range(601)
        ]
        assert statuses[:600] == [200] * 600
        assert statuses[600] == 403
        assert real.request("GET", "account/info").status_code == 403


def test_the_real_clock_matches_with_a_delay(real: OverHttp) -> None:
    """On the wall clock an order is filled some milliseconds after its acknowledgement."""
    assert real.create(orderLinkId="one").json()["retCode"] == 0
    row = real.rows("order/realtime", category="linear", orderLinkId="one")[0]
    for _ in range(200):
        if row["orderStatus"] == "Filled":
            break
        row = real.rows("order/realtime", category="linear", orderLinkId="one")[0]
    assert row["orderStatus"] == "Filled"
    assert int(row["updatedTime"]) - int(row["createdTime"]) >= 2


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /v5/market/time HTTP/9.9\r\n\r\n",
        b"POST /v5/order/create HTTP/1.1\r\nHost: x\r\nContent-Length: nonsense\r\n\r\n",
        b"GET /v5/%zz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[bad/ HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_garbage_on_the_wire(http: OverHttp, data: bytes) -> None:
    """What is no HTTP gets a 4xx or a closed connection; the server lives on."""
    port = int(http.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
        peer.sendall(data)
        answer = peer.recv(4000)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert http.get("market/time")["retCode"] == 0


def test_a_client_that_leaves_in_the_middle(http: OverHttp) -> None:
    """A half-sent body and a reset connection leave no order and no trouble."""
    port = int(http.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
        peer.sendall(b"POST /v5/order/create HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert http.truth()["orders"] == []


def test_an_oversized_body(http: OverHttp) -> None:
    """More than 256 KiB is 413 and nothing is done."""
    response = http.session.post(f"{http.url}/v5/order/create", data=b"x" * 300_000, timeout=10)
    assert response.status_code == 413
    assert http.truth()["orders"] == []


# ------------------------------------------------------------------------------------------------ processes


def heeding() -> None:
    """Whoever runs the tests under nohup hands down that a hang-up is ignored; a terminal does not."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@contextmanager
def child(options: object) -> Iterator[subprocess.Popen[bytes]]:
    """The sandbox as the program that ``start_process`` starts."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fundarb.sandbox"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        preexec_fn=heeding,  # noqa: PLW1509 - nothing else of this process is touched between fork and exec
    )
    assert process.stdin is not None
    payload = pickle.dumps(options)
    process.stdin.write(len(payload).to_bytes(8, "big") + payload)
    process.stdin.flush()
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a child process import the test's own market."""
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))


@pytest.mark.usefixtures("importable")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_in_order(number: int, tmp_path: Path) -> None:
    """The first line tells the address, a signal ends it with exit code 0 and the state is on disk."""
    state = tmp_path / "world.json"
    with child(replace(OPTIONS, state=state)) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        assert line.startswith("fundarb sandbox listening on http://127.0.0.1:")
        assert requests.get(f"{line.split()[-1]}/v5/market/time", timeout=10).json()["time"] == START_MS
        process.send_signal(number)
        assert process.wait(15) == 0
    assert json.loads(state.read_text())["start"] == START_MS


@pytest.mark.usefixtures("importable")
def test_it_ends_with_its_parent() -> None:
    """When the pipe from the parent closes the sandbox ends by itself."""
    with child(OPTIONS) as process:
        assert process.stdout is not None
        assert process.stdout.readline().decode().startswith(READY)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(15) == 0


@pytest.mark.usefixtures("importable")
def test_start_process_and_stop() -> None:
    """A sandbox in a process of its own answers at its address until it is stopped."""
    running = start_process(OPTIONS)
    try:
        assert requests.get(f"{running.url}/v5/market/time", timeout=10).json()["time"] == START_MS
    finally:
        running.stop()
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{running.url}/v5/market/time", timeout=2)


@pytest.mark.usefixtures("importable")
def test_a_process_that_cannot_start_says_so() -> None:
    """Options that are refused in the child are a ConfigError in the parent."""
    with pytest.raises(ConfigError):
        start_process(replace(OPTIONS, host="0.0.0.0"))  # noqa: S104 - refused


def test_the_state_file_carries_a_world_on(tmp_path: Path) -> None:
    """Stopped and started again with the same file: the same uid, orders and time."""
    state = tmp_path / "world.json"
    with over_http(state=state, run=None) as first:
        first.create(orderLinkId="one")
        first.do("clock", {"advance": "5h"})
        before = first.truth()
    with over_http(state=state, run=None) as second:
        after = second.truth()
    for name in ("now", "uid", "orders", "executions", "positions", "wallets", "transaction_log"):
        assert after[name] == before[name]


def test_a_state_file_is_one_sandboxes(tmp_path: Path) -> None:
    """A second sandbox with the file of one that runs is refused: whoever ended last would replace the
    other's world. One that could not start, or has ended, holds it no more.
    """
    state = tmp_path / "world.json"
    with over_http(state=state), pytest.raises(ConfigError, match=r"world\.json is in use"):
        start_in_thread(replace(OPTIONS, state=state))
    with pytest.raises(ConfigError, match="--start"):
        start_in_thread(replace(OPTIONS, state=state, start=START + timedelta(days=1)))
    start_in_thread(replace(OPTIONS, state=state)).stop()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "other"}'])
def test_a_bad_state_file_is_refused(tmp_path: Path, text: str) -> None:
    """A file that is no snapshot stops the start with its name and a remedy, and is not overwritten."""
    state = tmp_path / "world.json"
    state.write_text(text)
    with pytest.raises(ConfigError, match=r"world\.json"):
        start_in_thread(replace(OPTIONS, state=state))
    assert state.read_text() == text


@pytest.mark.parametrize("place", ["missing/world.json", "file/world.json", "."])
def test_a_state_file_that_cannot_be_written_is_refused_at_the_start(tmp_path: Path, place: str) -> None:
    """In a folder that is missing, below a file, or a folder itself: refused before anybody can practise in a
    world that would be lost, with the path and a remedy; nothing is left behind.
    """
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as refusal:
        start_in_thread(replace(OPTIONS, state=tmp_path / place))
    [problem] = refusal.value.problems
    assert (problem.where, str(tmp_path / place) in problem.message) == ("--state", True)
    assert problem.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_world_that_cannot_be_written_at_the_end_is_told(tmp_path: Path) -> None:
    """The folder went away in the meantime: not a bug of the program, and not passed over in silence."""
    folder = tmp_path / "states"
    folder.mkdir()
    running = start_in_thread(replace(OPTIONS, state=folder / "world.json"))
    shutil.rmtree(folder)
    with pytest.raises(StateUnavailable, match=r"world\.json.*No such file.*is lost"):
        running.stop()


def test_a_state_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    """A write that fails leaves the former file as it was."""
    state = tmp_path / "world.json"
    state_file.save(state, {"n": 1})
    (tmp_path / "world.json.new").mkdir()
    with pytest.raises(StateUnavailable):
        state_file.save(state, {"n": 2})
    assert json.loads(state.read_text()) == {"n": 1}


@pytest.mark.parametrize("balance", [("XYZ", "5"), ("BTC", "0.000000001"), ("BTC", "-1"), ("BTC", "1e13")])
def test_an_opening_balance_that_no_transfer_could_make_is_refused(balance: tuple[str, str]) -> None:
    """A coin that the market does not know, less than can be booked, a debt, or more than there is: refused
    with its coin.
    """
    coin, amount = balance
    with pytest.raises(ConfigError, match=f"--balance: {coin}"):
        start_in_thread(replace(OPTIONS, balances={"USDT": Decimal(0), coin: Decimal(amount)}))


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "192.168.1.1"},
        {"port": 70_000},
        {"clock": ClockKind.REAL},
        {"balances": {"USDT": -1}},
    ],
)
def test_bad_options(changes: dict[str, object]) -> None:
    """A foreign address, an impossible port, a start on the real clock, a negative balance: refused before
    listening.
    """
    with pytest.raises(ConfigError):
        start_in_thread(replace(OPTIONS, **changes))  # type: ignore[arg-type]


def test_a_port_in_use_is_a_configuration_error(http: OverHttp) -> None:
    """The second sandbox on one port is told to choose another."""
    with pytest.raises(ConfigError, match="cannot listen"):
        start_in_thread(replace(OPTIONS, port=int(http.url.rsplit(":", 1)[1])))


def test_a_virtual_clock_without_a_start_begins_today() -> None:
    """Midnight UTC of the present day."""
    with over_http(start=None) as client:
        assert client.get("market/time")["time"] % 86_400_000 == 0
