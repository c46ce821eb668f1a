"""Every fault verb in process: what the client gets, what the venue did, how often it fires."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fundarb.core.market import Category
from fundarb.sandbox.arguments import Arguments, ControlError
from fundarb.sandbox.desk import Reply
from tests.sandbox.harness import START, InProcess, Json

CREATE = {"method": "POST", "path": "/v5/order/create"}
BTC = {"category": "linear", "symbol": "BTCUSDT"}


def arm(desk: InProcess, do: Json, match: Json | None = None, **more: Any) -> str:
    """Arm a fault."""
    body = {"match": match or {}, "do": do, **more}
    return desk.house.arm(Arguments(body))


def order(desk: InProcess, link: str, **more: object) -> Reply:
    """Send a small perp sell and look at the raw reply."""
    body = {"category": "linear", "symbol": "BTCUSDT", "side": "Sell", "orderType": "Market", "qty": "0.01",
            "orderLinkId": link, **more}  # fmt: skip
    return desk.reply("POST", "/v5/order/create", body=json.dumps(body))


def exists(desk: InProcess, link: str) -> bool:
    """Whether the venue has such an order."""
    desk.desk.catch_up()
    return desk.house.venue.find_order(Category.LINEAR, link_id=link) is not None


def outcomes(desk: InProcess) -> list[str]:
    """What the log says of each create."""
    return [row["outcome"] for row in desk.house.log.rows() if row["path"] == CREATE["path"]]


def test_drop_request_never_reaches_the_venue(desk: InProcess) -> None:
    """The client loses its connection, no order exists, the log says so; the next one passes."""
    arm(desk, {"verb": "drop_request"}, CREATE)
    assert order(desk, "one").lost == "close"
    assert not exists(desk, "one")
    assert order(desk, "one").lost == ""
    assert exists(desk, "one")
    assert outcomes(desk) == ["dropped", "0"]


@pytest.mark.parametrize("how", ["hang", "reset", "close"])
def test_apply_then_lose_did_it_and_says_nothing(desk: InProcess, how: str) -> None:
    """The order exists although no byte of an answer is sent."""
    arm(desk, {"verb": "apply_then_lose", "how": how}, CREATE)
    assert order(desk, "one").lost == how
    assert exists(desk, "one")
    assert outcomes(desk) == ["0, lost"]


def test_apply_after_arrives_late(desk: InProcess) -> None:
    """A request held for one second is lost for the client and applied when its second has passed."""
    arm(desk, {"verb": "apply_after", "ms": 1000}, CREATE)
    assert order(desk, "one").lost == "close"
    desk.desk.catch_up(START + timedelta(milliseconds=999))
    assert not exists(desk, "one")
    desk.desk.catch_up(START + timedelta(hours=1))
    assert exists(desk, "one")
    found = desk.house.venue.find_order(Category.LINEAR, link_id="one")
    assert found is not None
    assert found.created == START + timedelta(seconds=1)


def test_a_request_that_arrives_after_its_window_is_refused(desk: InProcess) -> None:
    """The receive window is a lease: what arrives later than it is never admitted."""
    arm(desk, {"verb": "apply_after", "ms": 5001}, CREATE)
    order(desk, "one")
    desk.desk.catch_up(START + timedelta(seconds=6))
    assert not exists(desk, "one")
    assert outcomes(desk) == ["late", "10002"]


@pytest.mark.parametrize("applied", [True, False])
def test_ret_code_applied_and_not(desk: InProcess, applied: bool) -> None:
    """The same refusal, once with the order and once without."""
    arm(desk, {"verb": "ret_code", "code": 10016, "applied": applied}, CREATE)
    reply = order(desk, "one")
    assert json.loads(reply.response.body)["retCode"] == 10016
    assert exists(desk, "one") is applied


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize(
    ("kind", "check"),
    [
        ("html", lambda body: body.startswith(b"<html")),
        ("empty", lambda body: body == b""),
        ("null", lambda body: body == b"null"),
        ("cut", lambda body: body.startswith(b'{"retCode":0') and not body.endswith(b"}")),
        ("bad_json", lambda body: body.startswith(b"{retCode")),
        ("no_result", lambda body: "result" not in json.loads(body)),
        ("no_order_id", lambda body: not json.loads(body)["result"].get("orderId")),
    ],
)
def test_garbage_bodies_applied_and_not(desk: InProcess, kind: str, check: Any, applied: bool) -> None:
    """Each kind of 200 that is no answer, with and without the order behind it."""
    arm(desk, {"verb": "body", "kind": kind, "applied": applied}, CREATE)
    reply = order(desk, "one")
    assert reply.response.status == 200
    assert check(reply.response.body)
    assert exists(desk, "one") is applied


def test_http_status_with_a_body_of_its_own(desk: InProcess) -> None:
    """A 502 page instead of an answer, nothing applied."""
    arm(desk, {"verb": "http", "status": 502, "body": "<h1>bad gateway</h1>"}, CREATE)
    reply = order(desk, "one")
    assert (reply.response.status, reply.response.body) == (502, b"<h1>bad gateway</h1>")
    assert not exists(desk, "one")


def test_fill_gives_each_order_its_fraction(desk: InProcess) -> None:
    """A list of fractions is for as many orders in turn; the rest of each is cancelled."""
    arm(desk, {"verb": "fill", "fractions": ["0.37", "0.6"]}, {**CREATE, "category": "linear"})
    for link in ("one", "two", "three"):
        order(desk, link, qty="0.1")
    desk.desk.catch_up()
    filled = [desk.house.venue.find_order(Category.LINEAR, link_id=link) for link in ("one", "two", "three")]
    assert [str(item.filled) if item else "" for item in filled] == ["0.037", "0.06", "0.1"]
    assert [item.status.value if item else "" for item in filled] == ["Cancelled", "Cancelled", "Filled"]


def test_reject_async_accepts_first(desk: InProcess) -> None:
    """The acknowledgement is good, matching rejects with the given reason, nothing is filled."""
    arm(desk, {"verb": "reject_async", "reason": "EC_NoEnoughQtyToFill"}, CREATE)
    assert order(desk, "one").response.code == 0
    row = desk.rows("order/realtime", category="linear", orderLinkId="one")[0]
    assert (row["orderStatus"], row["rejectReason"], row["cumExecQty"]) == (
        "Rejected",
        "EC_NoEnoughQtyToFill",
        "0",
    )


@pytest.mark.parametrize(
    ("do", "shown"),
    [
        ({"verb": "fill", "fractions": ["0.37"]}, ["Cancelled", "0.37"]),
        ({"verb": "reject_async", "reason": "EC_Others"}, ["Rejected", "0"]),
    ],
)
def test_what_becomes_of_orders_waits_for_one(desk: InProcess, do: Json, shown: list[str]) -> None:
    """Neither a read nor a cancel, a create that is refused or one that never arrives uses it up; the next
    order does, and the one after that is as any other.
    """
    body = json.loads(order(desk, "other", orderType="Limit", price="104000", qty="1").response.body)
    arm(desk, do)
    desk.get("market/time")
    desk.get("market/tickers", **BTC)
    desk.post("order/cancel", **BTC, orderId=body["result"]["orderId"])
    assert json.loads(order(desk, "none", qty="0.00001").response.body)["retCode"] == 10001
    arm(desk, {"verb": "drop_request"}, CREATE)
    order(desk, "dropped", qty="1")
    order(desk, "one", qty="1")
    order(desk, "two", qty="1")
    rows = {row["orderLinkId"]: row for row in desk.rows("order/realtime", **BTC, openOnly=1)}
    assert [rows["one"][name] for name in ("orderStatus", "cumExecQty")] == shown
    assert rows["two"]["orderStatus"] == "Filled"
    assert "dropped" not in rows


def test_lag_reads_hide_what_is_young(desk: InProcess) -> None:
    """Orders, executions, log, position and wallet lag by 20 s and then catch up."""
    desk.buy(qty="0.1")
    desk.desk.catch_up(START + timedelta(minutes=1))
    arm(desk, {"verb": "lag_reads", "ms": 20_000}, {"method": "GET", "times": 0})
    desk.house.settled_reads()
    order(desk, "one")
    desk.desk.catch_up(START + timedelta(seconds=79))

    def seen() -> tuple[int, ...]:
        return (
            len(desk.rows("order/realtime", category="linear", orderLinkId="one")),
            len(desk.rows("order/history", category="linear", orderLinkId="one")),
            len(desk.rows("execution/list", category="linear", orderLinkId="one")),
            len(desk.rows("account/transaction-log", category="linear", type="TRADE")),
            len(desk.rows("position/list", category="linear", settleCoin="USDT")),
        )

    assert seen() == (0, 0, 0, 0, 0)
    desk.desk.catch_up(START + timedelta(seconds=80))
    assert seen() == (1, 1, 1, 1, 1)


def test_a_lagging_order_is_shown_as_it_was() -> None:
    """While only the create is old enough to be seen the order is New, although it has been filled since."""
    from dataclasses import replace

    from tests.sandbox.harness import OPTIONS

    desk = InProcess(replace(OPTIONS, match_delay=timedelta(seconds=5)))
    order(desk, "one")
    desk.desk.catch_up(START + timedelta(seconds=10))
    arm(desk, {"verb": "lag_reads", "ms": 7000}, {"method": "GET", "times": 0})
    row = desk.rows("order/realtime", category="linear", orderLinkId="one")[0]
    assert (row["orderStatus"], row["cumExecQty"], row["leavesQty"]) == ("New", "0", "0.01")
    desk.house.faults.disarm()
    assert desk.rows("order/realtime", category="linear", orderLinkId="one")[0]["orderStatus"] == "Filled"


def test_stale_reads_show_the_instant_of_arming(desk: InProcess) -> None:
    """The next n reads see nothing that happened since; the one after them does."""
    arm(desk, {"verb": "stale_reads", "n": 2}, {"path": "/v5/execution/list"})
    desk.desk.catch_up(START + timedelta(seconds=1))
    order(desk, "one")
    counts = [len(desk.rows("execution/list", category="linear", orderLinkId="one")) for _ in range(3)]
    assert counts == [0, 0, 1]


READS: dict[str, Json] = {
    "order/realtime": {"category": "linear", "symbol": "BTCUSDT", "openOnly": 1},
    "order/history": {"category": "linear", "symbol": "BTCUSDT"},
    "execution/list": {"category": "linear", "symbol": "BTCUSDT"},
    "position/list": {"category": "linear", "symbol": "BTCUSDT"},
    "position/closed-pnl": {"category": "linear"},
    "account/transaction-log": {},
    "account/wallet-balance": {"accountType": "UNIFIED"},
}
"""Everything in which an order leaves a trace."""


def account(desk: InProcess) -> dict[str, Any]:
    """What the reads tell of orders, fills, log, positions and wallet; the wallet without prices."""
    told: dict[str, Any] = {path: desk.rows(path, **query) for path, query in READS.items()}
    (position,) = told["position/list"]
    told["position/list"] = [position[name] for name in ("size", "avgPrice", "updatedTime")]
    coins = told["account/wallet-balance"][0]["coin"]
    told["account/wallet-balance"] = {coin["coin"]: coin["walletBalance"] for coin in coins}
    return told


@pytest.mark.parametrize("seconds", [0, 1])
def test_a_stale_read_knows_nothing_of_what_came_after_the_arming(desk: InProcess, seconds: int) -> None:
    """Of the same instant of a virtual clock neither, while what was before it is seen."""
    order(desk, "before")
    desk.get("market/time")
    before = account(desk)
    arm(desk, {"verb": "stale_reads", "n": len(READS)}, {"method": "GET"})
    desk.wait(seconds=seconds)
    order(desk, "after", side="Buy", qty="0.02")
    assert account(desk) == before
    after = account(desk)
    assert all(after[path] != before[path] for path in READS)


@pytest.mark.parametrize("early", [True, False])
def test_lagging_reads_agree_with_each_other(desk: InProcess, *, early: bool) -> None:
    """Whether the fault is armed before the fill or after it, every read shows the account before it."""
    order(desk, "before")
    desk.wait(minutes=1)
    before = account(desk)
    lag: tuple[Json, Json] = ({"verb": "lag_reads", "ms": 20_000}, {"method": "GET", "times": 0})
    if early:
        arm(desk, *lag)
    order(desk, "after", side="Buy", qty="0.02")
    desk.wait(seconds=5)
    if not early:
        arm(desk, *lag)
    assert account(desk) == before
    desk.wait(seconds=16)
    after = account(desk)
    assert all(after[path] != before[path] for path in READS)


def test_rows_doubled_dropped_and_shuffled(desk: InProcess) -> None:
    """duplicate_rows, drop_rows and reorder change the list of one answer and nothing else."""
    for number in range(4):
        order(desk, f"o{number}")
    truth = [row["execId"] for row in desk.rows("execution/list", category="linear")]

    def once(do: Json) -> list[str]:
        arm(desk, do, {"path": "/v5/execution/list"})
        return [row["execId"] for row in desk.rows("execution/list", category="linear")]

    assert once({"verb": "duplicate_rows"}) == [name for name in truth for _ in range(2)]
    assert once({"verb": "drop_rows", "n": 3}) == truth[3:]
    shuffled = once({"verb": "reorder"})
    assert shuffled != truth
    assert sorted(shuffled) == sorted(truth)
    assert [row["execId"] for row in desk.rows("execution/list", category="linear")] == truth


def test_drop_rows_also_on_tickers(desk: InProcess) -> None:
    """Answers that are built as text can be spoilt too."""
    arm(desk, {"verb": "drop_rows", "n": 2}, {"path": "/v5/market/tickers"})
    some = desk.rows("market/tickers", category="linear")
    assert len(desk.rows("market/tickers", category="linear")) == len(some) + 2


def test_loop_cursor_goes_round_for_ever(desk: InProcess) -> None:
    """Every page is the first one and its cursor never ends."""
    for number in range(3):
        order(desk, f"o{number}")
    arm(desk, {"verb": "loop_cursor"}, {"path": "/v5/execution/list", "times": 0})
    first = desk.get("execution/list", category="linear", limit=1)["result"]
    second = desk.get("execution/list", category="linear", limit=1, cursor=first["nextPageCursor"])["result"]
    assert first == second
    assert first["nextPageCursor"]


def test_rate_limit_and_ban(desk: InProcess) -> None:
    """rate_limit is 10006 with headers; a ban answers everybody with 403 until its seconds have passed."""
    arm(desk, {"verb": "rate_limit"}, CREATE)
    reply = order(desk, "one")
    assert reply.response.code == 10006
    assert dict(reply.response.headers)[b"X-Bapi-Limit-Status"] == b"0"
    assert not exists(desk, "one")
    arm(desk, {"verb": "ban", "seconds": 600}, {"path": "/v5/market/time"})
    assert desk.reply("GET", "/v5/market/time").response.status == 403
    desk.desk.catch_up(START + timedelta(seconds=599))
    assert desk.reply("GET", "/v5/account/info").response.status == 403
    desk.desk.catch_up(START + timedelta(seconds=600))
    assert desk.reply("GET", "/v5/account/info").response.status == 200


def test_delay_holds_the_answer_back(desk: InProcess) -> None:
    """The order is done at once, its answer waits (wall time)."""
    arm(desk, {"verb": "delay", "ms": 500}, CREATE)
    reply = order(desk, "one")
    assert (reply.delay_ms, reply.response.code) == (500, 0)


def test_nth_and_times(desk: InProcess) -> None:
    """Nth counts matching requests after arming, times how often it fires, 0 means for ever."""
    arm(desk, {"verb": "ret_code", "code": 10000}, {**CREATE, "nth": 2, "times": 2})
    codes = [order(desk, f"o{number}").response.code for number in range(5)]
    assert codes == [0, 10000, 10000, 0, 0]
    arm(desk, {"verb": "ret_code", "code": 10000}, {**CREATE, "times": 0}, id="ever")
    assert [order(desk, f"p{number}").response.code for number in range(4)] == [10000] * 4
    desk.house.faults.disarm("ever")
    assert order(desk, "last").response.code == 0


@pytest.mark.parametrize(
    "match",
    [
        {"method": "GET"},
        {"path": "/v5/order/cancel"},
        {"category": "spot"},
        {"symbol": "ETHUSDT"},
        {"link_id": "two"},
        {"side": "Buy"},
    ],
)
def test_a_fault_for_others_does_not_fire(desk: InProcess, match: Json) -> None:
    """Each part of a match must fit."""
    arm(desk, {"verb": "drop_request"}, match)
    assert order(desk, "one").lost == ""


def test_effects_add_up(desk: InProcess) -> None:
    """A partial fill and a lost answer can hit the same order."""
    arm(desk, {"verb": "fill", "fractions": ["0.5"]}, CREATE)
    arm(desk, {"verb": "apply_then_lose", "how": "close"}, CREATE)
    assert order(desk, "one", qty="0.1").lost == "close"
    desk.desk.catch_up()
    found = desk.house.venue.find_order(Category.LINEAR, link_id="one")
    assert found is not None
    assert found.filled == Decimal("0.05")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "do.verb"),
        ({"do": {"verb": "explode"}}, "do.verb"),
        ({"do": {"verb": "apply_then_lose", "how": "gently"}}, "do.how"),
        ({"do": {"verb": "body", "kind": "poem"}}, "do.kind"),
        ({"do": {"verb": "body", "kind": "html", "applied": "yes"}}, "do.applied"),
        ({"do": {"verb": "ret_code"}}, "do.code"),
        ({"do": {"verb": "ret_code", "code": "10016"}}, "do.code"),
        ({"do": {"verb": "fill", "fractions": []}}, "do.fractions"),
        ({"do": {"verb": "fill", "fractions": [0.5]}}, "do.fractions"),
        ({"do": {"verb": "fill", "fractions": ["1.5"]}}, "do.fractions"),
        ({"do": {"verb": "delay", "ms": -1}}, "do.ms"),
        ({"do": {"verb": "delay", "ms": True}}, "do.ms"),
        ({"do": {"verb": "drop_request", "extra": 1}}, "do.extra"),
        ({"do": {"verb": "drop_request"}, "match": {"path": "order/create"}}, "match.path"),
        ({"do": {"verb": "drop_request"}, "match": {"nth": 0}}, "match.nth"),
        ({"do": {"verb": "drop_request"}, "match": {"method": "PUT"}}, "match.method"),
        ({"do": {"verb": "drop_request"}, "match": {"colour": "red"}}, "match.colour"),
        ({"do": {"verb": "drop_request"}, "when": "now"}, "when"),
        ({"do": []}, "do"),
    ],
)
def test_wrong_faults_are_named_and_arm_nothing(desk: InProcess, body: Json, path: str) -> None:
    """A wrong verb or argument names its place and leaves no rule behind."""
    with pytest.raises(ControlError) as caught:
        desk.house.arm(Arguments(body))
    assert caught.value.path == path
    assert desk.house.faults.armed() == ()


def test_ids_are_unique(desk: InProcess) -> None:
    """An id that is armed already is refused; an unknown one cannot be removed (404)."""
    arm(desk, {"verb": "drop_request"}, id="mine")
    with pytest.raises(ControlError):
        arm(desk, {"verb": "drop_request"}, id="mine")
    with pytest.raises(ControlError) as caught:
        desk.house.faults.disarm("other")
    assert caught.value.status == 404
