"""What must not get in: steps without end, text that cannot be written down, web pages, contradictions."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fundarb.app.sandboxes import SandboxPlan, matching_delay, sandbox_options
from fundarb.cli.main import cli
from fundarb.core.instants import to_ms
from fundarb.errors import ConfigError
from fundarb.sandbox.server import start_in_thread
from tests.sandbox.harness import OPTIONS, START, START_MS, InProcess, Json, OverHttp, headers, over_http
from tests.sandbox.listener import LINEAR, listening
from tests.sandbox.test_wire import alive, connected, rest

HALF = '"\\ud83d"'
"""Half of a surrogate pair, as JSON can say it."""


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"to": "9999-12-31T23:59:59Z"}, "to"),
        ({"to": "0001-01-01T00:00:00+05:00"}, "to"),
        ({"to": "2025-04-17T00:00:00Z"}, "to"),
        ({"advance": "99999999999999999999d"}, "advance"),
        ({"advance": f"{'9' * 400}ms"}, "advance"),
        ({"advance": "100d1ms"}, "advance"),
    ],
)
def test_steps_are_limited(untouched: OverHttp, body: Json, place: str) -> None:
    """More than 100 days in one step, or more than a calendar holds, is 400 and time stands still."""
    response = untouched.control("clock", body)
    assert (response.status_code, response.json()["path"]) == (400, place)
    assert untouched.control("clock", method="GET").json()["now"] == START_MS


ORDER = '"category":"linear","symbol":"BTCUSDT","side":"Sell","orderType":"Market","qty":"0.01"'


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("order/create", f'{{{ORDER},"orderLinkId":{HALF}}}'),
        ("order/create", f'{{{ORDER},{HALF}:"x"}}'),
        ("order/create-batch", f'{{"category":"linear","request":[{{{ORDER},"orderLinkId":{HALF}}}]}}'),
        ("order/cancel", f'{{"category":"linear","symbol":"BTCUSDT","orderLinkId":{HALF}}}'),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_half_characters_are_refused_in_orders(http: OverHttp, path: str, body: str, *, known: bool) -> None:
    """They are 10001, signed or not; the truth and a snapshot can still be told, and nothing was done."""
    signed = headers(body, stamp=START_MS) if known else {}
    answer = http.session.post(f"{http.url}/v5/{path}", data=body, headers=signed, timeout=10)
    assert answer.json()["retCode"] == (10001 if known else 10003)
    truth = http.truth()
    assert truth["orders"] == []
    assert [row["link_id"] for row in truth["requests"]] == [""]
    assert http.control("snapshot").status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("faults", f'{{"id":{HALF},"do":{{"verb":"drop_request"}}}}'),
        ("faults", f'{{"do":{{"verb":"reject_async","reason":{HALF}}}}}'),
        ("faults", f'{{"do":{{"verb":"http","status":503,"body":{HALF}}}}}'),
        ("world", f'{{"verb":"ticker_patch","category":"spot","symbol":"BTCUSDT","fields":{{"x":{HALF}}}}}'),
    ],
)
def test_half_characters_are_refused_by_the_control_api(http: OverHttp, path: str, body: str) -> None:
    """They are 400 and leave nothing behind that could break a later answer."""
    answer = http.session.post(f"{http.url}/sandbox/{path}", data=body, timeout=10)
    assert answer.status_code == 400
    assert http.control("faults", method="GET").json() == {"faults": []}
    assert http.control("snapshot").status_code == 200


@pytest.mark.parametrize("raw", [b'"\xed\xa0\xbd"', b'"\xff"', '"é"'.encode("utf-16")])
def test_bytes_that_are_no_utf_8_are_refused(http: OverHttp, raw: bytes) -> None:
    """In orders 10001, in control requests 400, in a query 10001."""
    body = b'{"category":"linear","orderLinkId":' + raw + b"}"
    order = http.session.post(f"{http.url}/v5/order/create", data=body, timeout=10)
    assert order.json()["retCode"] in {10001, 10003}
    assert http.session.post(f"{http.url}/sandbox/world", data=body, timeout=10).status_code == 400
    query = http.session.get(f"{http.url}/v5/market/tickers?category=linear&symbol=%ff", timeout=10)
    assert query.json()["retCode"] == 10001
    assert http.truth()["orders"] == []


def test_whole_characters_are_welcome(http: OverHttp) -> None:
    """A pair of surrogates is a character, and comes back in ASCII."""
    http.do("faults", {"id": "\U0001f600", "do": {"verb": "drop_request"}})
    answer = http.control("faults", method="GET")
    assert answer.content.isascii()
    assert answer.json()["faults"][0]["id"] == "\U0001f600"


@pytest.mark.parametrize("given", [{"Origin": "http://evil.example"}, {"Host": "evil.example"}])
@pytest.mark.parametrize(("method", "path"), [("POST", "clock"), ("POST", "world"), ("GET", "truth")])
def test_web_pages_cannot_drive_it(http: OverHttp, given: dict[str, str], method: str, path: str) -> None:
    """A request with an Origin, or for a host that is not loopback, is 403 and moves nothing."""
    body = json.dumps({"advance": "1h"})
    url = f"{http.url}/sandbox/{path}"
    answer = http.session.request(method, url, data=body, headers=given, timeout=10)
    assert (answer.status_code, answer.json()["path"]) == (403, "")
    assert http.control("clock", method="GET").json()["now"] == START_MS


@pytest.mark.parametrize("host", ["localhost:1234", "127.0.0.1", "[::1]:80", "LOCALHOST"])
def test_this_machine_by_its_names_may(http: OverHttp, host: str) -> None:
    """All names of the loopback are welcome."""
    answer = http.session.get(f"{http.url}/sandbox/clock", headers={"Host": host}, timeout=10)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("match", "verb", "more", "place"),
    [
        ({"path": "/v5/order/create", "method": "GET"}, "rate_limit", {}, "match.method"),
        ({"path": "/v5/market/time", "method": "POST"}, "ban", {}, "match.method"),
        ({"path": "/v5/private", "method": "GET"}, "mute", {}, "match.method"),
        ({"topic": "order"}, "ban", {}, "match.topic"),
        ({"topic": "order"}, "mute", {}, "match.topic"),
        ({"topic": "order", "path": "/v5/order/create"}, "ban", {}, "match.topic"),
        ({}, "mute", {}, "do.verb"),
        ({"method": "GET"}, "fill", {"fractions": ["0.5"]}, "do.verb"),
        ({"method": "POST"}, "drop_rows", {}, "do.verb"),
        ({"path": "/v5/nope"}, "drop_request", {}, "match.path"),
        ({"path": "/v5/order/create"}, "mute", {}, "do.verb"),
        ({"path": "/v5/order/create"}, "drop_rows", {}, "do.verb"),
        ({"path": "/v5/order/cancel"}, "fill", {"fractions": ["0.5"]}, "do.verb"),
        ({"path": "/v5/market/time"}, "reject_async", {}, "do.verb"),
        ({"path": "/v5/private"}, "rate_limit", {}, "do.verb"),
    ],
)
def test_faults_that_could_never_happen(
    untouched: OverHttp, match: Json, verb: str, more: Json, place: str
) -> None:
    """A path that is none, a method it does not answer to, a topic of no stream, or a verb that does nothing
    there, is 400 and arms nothing.
    """
    response = untouched.control("faults", {"match": match, "do": {"verb": verb, **more}})
    assert (response.status_code, response.json()["path"]) == (400, place)
    assert untouched.control("faults", method="GET").json() == {"faults": []}


@pytest.mark.parametrize("ident", ["a/b", "/", ".", "..", "x" * 101])
def test_a_fault_that_could_not_be_named_again(untouched: OverHttp, ident: str) -> None:
    """An id that does not fit into the path that removes it is refused."""
    response = untouched.control("faults", {"id": ident, "do": {"verb": "ban"}})
    assert (response.status_code, response.json()["path"]) == (400, "id")
    assert untouched.control("faults", method="GET").json() == {"faults": []}


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"verb": "key", "ip": ["nope"]}, "ip"),
        ({"verb": "key", "permissions": {"Foo": []}}, "permissions.Foo"),
        (
            {"verb": "filters", "category": "linear", "symbol": "BTCUSDT", "fields": {"minOrderQty": "1e12"}},
            "fields.minOrderQty",
        ),
        (
            {
                "verb": "filters",
                "category": "linear",
                "symbol": "BTCUSDT",
                "fields": {"fundingInterval": "7"},
            },
            "fields.fundingInterval",
        ),
        (
            {
                "verb": "filters",
                "category": "linear",
                "symbol": "BTCUSDT",
                "fields": {"upperFundingRate": "-0.5", "lowerFundingRate": "0.5"},
            },
            "fields.upperFundingRate",
        ),
    ],
)
def test_worlds_that_make_no_sense(untouched: OverHttp, body: Json, place: str) -> None:
    """No such permission, no IP address, filters that contradict each other: 400 with the place."""
    response = untouched.control("world", body)
    assert (response.status_code, response.json()["path"]) == (400, place), response.text


def test_a_long_head_is_431_in_one_piece_too(http: OverHttp) -> None:
    """70 KB of headers are refused even if they arrive at once; 60 KB are not."""
    for size, status in ((70_000, b" 431 "), (60_000, b" 200 ")):
        with connected(http) as (peer,):
            peer.sendall(
                b"GET /v5/market/time HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Long: "
                + b"x" * size
                + b"\r\n\r\n"
            )
            assert status in rest(peer)
    assert alive(http)


@pytest.mark.parametrize("path", [b"/v5/order/create", b"/sandbox/world"])
def test_an_absurd_announcement_is_413_at_once(http: OverHttp, path: bytes) -> None:
    """A body of terabytes is not waited for."""
    with connected(http) as (peer,):
        peer.sendall(
            b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999999999\r\n\r\n"
        )
        assert rest(peer).startswith(b"HTTP/1.1 413 ")
    assert alive(http)


def test_no_bar_is_lost_on_a_long_move(http: OverHttp) -> None:
    """Twenty-five hours end 1500 bars of a minute: each is confirmed once, in order."""
    with listening(http, LINEAR, "kline.1.BTCUSDT") as listener:
        listener.heard()
        http.do("clock", {"advance": "25h"})
        bars = [message["data"][0] for message in listener.heard()]
    ended = [bar["start"] for bar in bars if bar["confirm"]]
    assert ended == [START_MS + minute * 60_000 for minute in range(1500)]


def test_no_trade_is_lost_on_a_long_move(http: OverHttp) -> None:
    """Three hours hold one market trade every five seconds: each is told once, in order."""
    with listening(http, LINEAR, "publicTrade.BTCUSDT") as listener:
        listener.heard()
        http.do("clock", {"advance": "3h"})
        told = [row["T"] for message in listener.heard() for row in message["data"]]
    assert told == [START_MS + number * 5000 for number in range(1, 2161)]


def test_a_start_that_contradicts_the_state_is_refused(tmp_path: Path) -> None:
    """The same start goes on, another one stops the sandbox with a word about --start."""
    state = tmp_path / "world.json"
    with over_http(state=state):
        pass
    with over_http(state=state) as again:
        assert again.control("clock", method="GET").json()["now"] == START_MS
    with pytest.raises(ConfigError, match="began at 2025-01-06"):
        start_in_thread(replace(OPTIONS, state=state, start=START + timedelta(days=1)))


def test_the_matching_delay_can_be_set() -> None:
    """An order waits that long: New until the clock has passed it."""
    plan = SandboxPlan(virtual=True, start=START, match_delay=matching_delay("5ms"))
    assert sandbox_options(plan).match_delay == timedelta(milliseconds=5)
    desk = InProcess(replace(OPTIONS, match_delay=sandbox_options(plan).match_delay))
    desk.short(orderLinkId="one")
    desk.wait(milliseconds=4)
    assert [
        row["orderStatus"] for row in desk.rows("order/realtime", category="linear", symbol="BTCUSDT")
    ] == ["New"]
    desk.wait(milliseconds=1)
    (fill,) = desk.rows("execution/list", category="linear")
    assert int(fill["execTime"]) == to_ms(START) + 5


@pytest.mark.parametrize("text", ["5", "soon", "2h", "99999999999999999999d"])
def test_a_bad_matching_delay_is_refused(tmp_path: Path, text: str) -> None:
    """No unit, no duration, or more than a minute: exit code 2 with the option's name."""
    home = {"FUNDARB_HOME": str(tmp_path)}
    done = CliRunner().invoke(cli, ["sandbox", "serve", "--port", "0", "--match-delay", text], env=home)
    assert done.exit_code == 2
    assert "--match-delay" in done.output


@pytest.mark.parametrize(
    "more", [{"slippageTolerance": "1", "slippageToleranceType": "Percent"}, {"timeInForce": "RPI"}]
)
def test_what_is_not_offered_is_refused(desk: InProcess, more: Json) -> None:
    """A slippage tolerance and RPI orders are 10001 and make no order."""
    assert desk.short(**more)["retCode"] == 10001
    assert desk.rows("order/realtime", category="linear", symbol="BTCUSDT") == []
