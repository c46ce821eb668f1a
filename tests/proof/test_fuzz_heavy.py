"""Twenty-four thousand mutated requests against the sandbox, and four thousand broken ones on the wire
itself: what must hold afterwards.
"""

import contextlib
import json
import random
import socket

import pytest

from fundarb.core.instants import to_ms
from tests.sandbox.fuzzing import Fuzzer, check_identities
from tests.sandbox.harness import OverHttp, headers, over_http

SEEDS = range(1, 9)
COUNT = 3000
ON_THE_WIRE = 4000
ORDER = {"category": "linear", "symbol": "BTCUSDT", "side": "Sell", "orderType": "Market", "qty": "0.001"}


@pytest.mark.proof
@pytest.mark.parametrize("seed", SEEDS)
def test_the_truth_survives_a_flood_of_nonsense(seed: int) -> None:
    """Three thousand mutated requests of each of eight seeds: never a crash, never an answer without its
    form, and the identities of the truth hold at the end.
    """
    fuzzer = Fuzzer(seed)
    for _ in range(3):
        fuzzer.fire(COUNT // 3)
        check_identities(fuzzer.finish())


def whole(random_: random.Random, http: OverHttp) -> bytes:
    """A good signed request as it goes over the wire."""
    body = json.dumps({**ORDER, "side": random_.choice(("Buy", "Sell"))})
    signed = headers(body, stamp=to_ms(http.house.clock.now()))
    head = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
    line = random_.choice(("POST /v5/order/create", "POST /sandbox/world", "POST /sandbox/clock"))
    return f"{line} HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def broken(random_: random.Random, data: bytes) -> bytes:
    """Some of its bytes changed, gone, doubled or put in."""
    found = bytearray(data)
    for _ in range(random_.choice((0, 1, 1, 2, 5, 20))):
        at = random_.randrange(len(found))
        deed = random_.randrange(4)
        if deed == 0:
            found[at] = random_.randrange(256)
        elif deed == 1:
            del found[at : at + random_.randrange(1, 40)]
        elif deed == 2:
            found[at:at] = found[max(0, at - 30) : at]
        else:
            found[at:at] = bytes(random_.randrange(256) for _ in range(random_.randrange(1, 9)))
        found = found or bytearray(b"G")
    return bytes(found)


@pytest.mark.proof
def test_broken_bytes_on_the_wire() -> None:
    """Four thousand requests with bytes changed, missing, doubled or added, on new and kept connections: the
    server answers the next honest one, and the truth ties.
    """
    random_ = random.Random(11)
    with over_http() as http:
        port = int(http.url.rsplit(":", 1)[1])
        for number in range(ON_THE_WIRE):
            with (
                contextlib.suppress(ConnectionError, TimeoutError),
                socket.create_connection(("127.0.0.1", port), timeout=0.02) as peer,
            ):
                for _ in range(random_.randrange(1, 3)):
                    peer.sendall(broken(random_, whole(random_, http)))
                    peer.recv(65536)
            if number % 200 == 199:
                assert http.get("market/time")["retCode"] == 0
        truth = http.truth()
        assert len(truth["orders"]) > 100
        check_identities(truth)
