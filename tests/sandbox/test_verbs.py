"""Every verb of the control API, one by one: what it needs, what it refuses, and that a refusal changes
nothing.
"""

import json
from typing import Any

import pytest

from fundarb.sandbox.arguments import Arguments, ControlError
from fundarb.sandbox.faults import FAULTS
from fundarb.sandbox.world import VERBS
from tests.sandbox.harness import InProcess, Json, OverHttp

BTC: Json = {"symbol": "BTCUSDT"}
PERP: Json = {"category": "linear", **BTC}
NOON = "2025-01-06T12:00:00Z"

WORLD: dict[str, tuple[Json, Json]] = {
    "mark": ({**BTC, "price": "90000"}, {}),
    "jump": ({**BTC, "factor": "1.35"}, {}),
    "book": (PERP, {"bids": [["90000", "1"]], "asks": [["90001", "2"]]}),
    "freeze": ({**BTC, "on": True}, {}),
    "ticker_patch": ({**PERP, "fields": {"markPrice": "NaN"}}, {}),
    "funding_rate": ({**BTC, "rate": "-0.0005"}, {}),
    "interval": ({**BTC, "hours": 1}, {}),
    "settle": (BTC, {}),
    "adl": ({**BTC, "fraction": "0.4"}, {}),
    "liquidate": (BTC, {}),
    "delist": ({**BTC, "at": NOON}, {}),
    "halt": ({**PERP, "on": True}, {}),
    "filters": ({**PERP, "fields": {"qtyStep": "0.01"}}, {}),
    "fees": ({"category": "linear", "taker": "0.001"}, {"maker": "0.0005", "mnt": True, **BTC}),
    "collateral": ({"coin": "BTC", "on": False}, {"ratio": "0.5"}),
    "borrow": ({"coin": "USDT", "amount": "10"}, {}),
    "auto_repay": ({"coin": "BTC", "fraction": "0.1"}, {}),
    "usd": ({"price": "0.98"}, {}),
    "transfer": ({"coin": "USDT", "amount": "-5"}, {}),
    "manual_order": ({**PERP, "side": "Sell", "qty": "0.01"}, {}),
    "manual_close": (BTC, {}),
    "key": (
        {"read_only": True},
        {"expire": NOON, "permissions": {"Spot": ["SpotTrade"]}, "ip": ["203.0.113.7"]},
    ),
    "skew": ({"ms": 700}, {}),
    "maintenance": ({"begin": NOON, "end": "2025-01-06T13:00:00Z"}, {}),
    "restart": ({}, {}),
}
"""Each world verb with its required and its optional arguments."""

DO: dict[str, tuple[Json, Json]] = {
    "drop_request": ({}, {"how": "reset"}),
    "apply_then_lose": ({}, {"how": "hang"}),
    "apply_after": ({"ms": 4000}, {"how": "close"}),
    "http": ({"status": 502}, {"body": "<html>", "applied": True}),
    "body": ({"kind": "html"}, {"applied": True}),
    "ret_code": ({"code": 10016}, {"message": "busy", "applied": True}),
    "fill": ({"fractions": ["0.37", "1"]}, {}),
    "reject_async": ({}, {"reason": "EC_Others"}),
    "lag_reads": ({"ms": 20_000}, {}),
    "stale_reads": ({}, {"n": 3}),
    "duplicate_rows": ({}, {}),
    "drop_rows": ({}, {"n": 2}),
    "reorder": ({}, {}),
    "loop_cursor": ({}, {}),
    "delay": ({"ms": 500}, {}),
    "mute": ({}, {}),
    "rate_limit": ({}, {}),
    "ban": ({}, {"seconds": 30}),
}
"""Each fault verb, likewise."""

MATCH: Json = {
    "method": "POST",
    "path": "/v5/order/create",
    "category": "linear",
    "symbol": "BTCUSDT",
    "link_id": "x",
    "side": "Buy",
    "nth": 2,
    "times": 0,
}


@pytest.fixture
def held(desk: InProcess) -> InProcess:
    """An account with coins, a short and a closed order, an hour old."""
    desk.buy(qty="0.2")
    desk.short(qty="0.1", orderLinkId="one")
    desk.wait(hours=1)
    return desk


def state(desk: InProcess) -> str:
    """Everything that a verb could have changed."""
    faults = [(rule.id, rule.match, rule.effect) for rule in desk.house.faults.armed()]
    return json.dumps([desk.house.snapshot(), repr(faults)], sort_keys=True)


def test_every_verb_is_listed_here() -> None:
    """The tables of this module are the verbs that there are."""
    assert WORLD.keys() == VERBS.keys()
    assert DO.keys() == FAULTS.keys()


@pytest.mark.parametrize("verb", WORLD)
def test_a_world_verb_works_with_and_without_its_options(held: InProcess, verb: str) -> None:
    """Required arguments are enough, optional ones are taken, and something has changed (a restart changes
    only what realtime remembers).
    """
    required, optional = WORLD[verb]
    before = state(held)
    recent = held.rows("order/realtime", **PERP, openOnly=1)
    held.world(verb, **required)
    changed = state(held) != before or recent != held.rows("order/realtime", **PERP, openOnly=1)
    assert changed or verb == "book"  # without sides it puts the market's own back
    if optional:
        before = state(held)
        held.world(verb, **required, **optional)
        assert state(held) != before


def wrongs(arguments: Json) -> list[tuple[Json, str]]:
    """Every argument left out, and of a wrong type; and one too many."""
    found: list[tuple[Json, str]] = []
    for name, value in arguments.items():
        odd: Any = [1] if not isinstance(value, list) else 7
        found.append(({**arguments, name: odd}, name))
        found.append(({**arguments, name: {"a": 1} if not isinstance(value, dict) else 5}, name))
        if not isinstance(value, bool):
            found.append(({**arguments, name: True}, name))
        if isinstance(value, str):
            found.append(({**arguments, name: ""}, name))
    return [*found, ({**arguments, "surprise": 1}, "surprise")]


@pytest.mark.parametrize("verb", WORLD)
def test_wrong_arguments_of_a_world_verb(held: InProcess, verb: str) -> None:
    """An argument that is missing, of a wrong type, empty or unknown is named by its path; nothing has
    changed.
    """
    required, optional = WORLD[verb]
    before = state(held)
    cases = [*wrongs({**required, **optional})]
    cases += [({key: value for key, value in required.items() if key != name}, name) for name in required]
    for arguments, path in cases:
        if verb == "key" and (path, arguments.get("expire")) == ("expire", True):
            continue  # true is what expires it now
        with pytest.raises(ControlError) as refusal:
            held.world(verb, **arguments)
        assert (refusal.value.status, bool(refusal.value.message)) == (400, True)
        assert refusal.value.path.split(".")[0] == path or (verb, path) in LOOSE, (arguments, refusal.value)
        assert state(held) == before


LOOSE = {("fees", "taker"), ("key", "read_only")}
"""Left out, these may be made up for by another argument; the message then names the first of them."""


@pytest.mark.parametrize("verb", DO)
def test_a_fault_takes_its_options_and_refuses_the_rest(desk: InProcess, verb: str) -> None:
    """Armed with required arguments alone and with all of them; what is wrong is named and arms nothing."""
    required, optional = DO[verb]
    for number, arguments in enumerate((required, {**required, **optional})):
        ident = desk.house.arm(
            Arguments({"id": f"n{number}", "match": MATCH, "do": {"verb": verb, **arguments}})
        )
        assert ident == f"n{number}"
    before = state(desk)
    cases = [*wrongs({**required, **optional})]
    cases += [({key: value for key, value in required.items() if key != name}, name) for name in required]
    for arguments, path in cases:
        if arguments.get(path) == "" and path in {"body", "message", "reason"}:
            continue  # any text will do
        with pytest.raises(ControlError) as refusal:
            desk.house.arm(Arguments({"do": {"verb": verb, **arguments}}))
        assert refusal.value.path == f"do.{path}"
        assert state(desk) == before


def test_wrong_matches_arm_nothing(desk: InProcess) -> None:
    """Each part of a match is checked; an unknown part is refused."""
    for name, wrong in (
        ("method", "PUT"), ("path", "order/create"), ("category", "futures"), ("symbol", 1), ("link_id", []),
        ("side", "buy"), ("nth", 0), ("nth", "1"), ("times", -1), ("times", 1.5), ("surprise", 1),
    ):  # fmt: skip
        with pytest.raises(ControlError) as refusal:
            desk.fault({"verb": "rate_limit"}, **{**MATCH, name: wrong})
        assert refusal.value.path == f"match.{name}"
    assert desk.house.faults.armed() == ()


WRONG_REQUESTS: tuple[tuple[str, str, Any, int, str], ...] = (
    ("POST", "faults", {"do": {"verb": "explode"}}, 400, "do.verb"),
    ("POST", "faults", {}, 400, "do.verb"),
    ("POST", "faults", {"id": 7, "do": {"verb": "rate_limit"}}, 400, "id"),
    ("POST", "faults", {"match": [], "do": {"verb": "rate_limit"}}, 400, "match"),
    ("POST", "faults", {"do": "rate_limit"}, 400, "do"),
    ("POST", "faults", {"do": {"verb": "rate_limit"}, "extra": 1}, 400, "extra"),
    ("DELETE", "faults/none", None, 404, "id"),
    ("POST", "world", {"verb": "explode"}, 400, "verb"),
    ("POST", "world", {}, 400, "verb"),
    ("POST", "world", [], 400, ""),
    ("GET", "world", None, 405, ""),
    ("POST", "truth", {}, 405, ""),
    ("GET", "snapshot", None, 405, ""),
    ("PUT", "clock", {}, 405, ""),
    ("GET", "restore", None, 405, ""),
    ("POST", "restore", {}, 400, "snapshot"),
    ("POST", "restore", {"snapshot": {}, "more": 1}, 400, "more"),
    ("GET", "nothing", None, 404, ""),
)


@pytest.mark.parametrize(("method", "path", "body", "status", "place"), WRONG_REQUESTS)
def test_wrong_control_requests(
    untouched: OverHttp, method: str, path: str, body: Any, status: int, place: str
) -> None:
    """A 4xx with exactly ``error`` and ``path``, and the truth is what it was."""
    before = untouched.truth()
    response = untouched.control(path, body, method=method)
    answer = response.json()
    assert (response.status_code, answer.keys(), answer["path"]) == (status, {"error", "path"}, place)
    assert answer["error"]
    assert untouched.truth() == before


def test_truth_has_exactly_its_keys(http: OverHttp) -> None:
    """Orders have the ten fields of the contract; with detail=1 also price, reduceOnly and updated."""
    http.create(orderLinkId="one")
    fields = {
        "orderId",
        "orderLinkId",
        "category",
        "symbol",
        "side",
        "qty",
        "cumExecQty",
        "avgPrice",
        "status",
        "created",
    }
    assert http.truth()["orders"][0].keys() == fields
    detailed = http.control("truth?detail=1", method="GET").json()["orders"][0]
    assert detailed.keys() == fields | {"price", "reduceOnly", "updated"}
    assert http.truth()["requests"][0].keys() == {"time", "method", "path", "link_id", "timestamp", "outcome"}
