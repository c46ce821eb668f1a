"""Numbers, instants and snapshots beyond all bounds: refused with nothing changed; and whatever is taken in,
the venue goes on answering.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fundarb.sandbox.arguments import ControlError
from fundarb.sandbox.control import known
from fundarb.sandbox.trial import live_an_hour
from tests.sandbox.fuzzing import plain_json, without_requests
from tests.sandbox.harness import START_MS, InProcess, Json, OverHttp

BTC: Json = {"symbol": "BTCUSDT"}
PERP: Json = {"category": "linear", **BTC}
CENTURY_MS = 4_102_444_800_000


@pytest.mark.parametrize(
    ("body", "path"),
    [
        *(({"verb": "usd", "price": price}, "price") for price in ("1e50", "1.1e12", "1e-13", "-1e30")),
        ({"verb": "mark", **BTC, "price": "1e49"}, "price"),
        ({"verb": "jump", **BTC, "factor": "1e40"}, "factor"),
        ({"verb": "jump", **BTC, "factor": "1000001"}, "factor"),
        ({"verb": "jump", **BTC, "factor": "0.0000009"}, "factor"),
        ({"verb": "transfer", "coin": "USDT", "amount": "9e50"}, "amount"),
        ({"verb": "transfer", "coin": "USDT", "amount": 10**30}, "amount"),
        ({"verb": "funding_rate", **BTC, "rate": "1e-50"}, "rate"),
        ({"verb": "interval", **BTC, "hours": "1e40"}, "hours"),
        ({"verb": "fees", "category": "spot", "taker": "1e-50"}, "taker"),
        ({"verb": "book", **PERP, "bids": [["1e-45", "1e45"]]}, "bids"),
        ({"verb": "book", **PERP, "asks": [["95000", "1"]] * 1001}, "asks"),
        ({"verb": "skew", "ms": 10**30}, "ms"),
        ({"verb": "delist", **BTC, "at": "9999-12-31T23:59:59Z"}, "at"),
        ({"verb": "key", "expire": "9999-12-31T23:59:59Z"}, "expire"),
        ({"verb": "maintenance", "begin": "0001-01-01T00:00:00Z", "end": "2030-01-01T00:00:00Z"}, "begin"),
        *(
            ({"verb": "filters", **PERP, "fields": {name: value}}, f"fields.{name}")
            for name, value in (
                ("tickSize", "1e45"),
                ("qtyStep", "1e-30"),
                ("priceLimitRatioX", "1e30"),
                ("fundingInterval", "1e30"),
                ("fundingInterval", "600000000000"),
            )
        ),
    ],
)
def test_a_number_beyond_the_bounds(untouched: OverHttp, body: Json, path: str) -> None:
    """Too large, too small or too far: 400 with its place, and the truth is what it was."""
    before = untouched.truth()
    response = untouched.control("world", body)
    assert (response.status_code, response.json()["path"]) == (400, path), response.text
    assert untouched.truth() == before


def test_jumps_add_up_to_the_bound(desk: InProcess) -> None:
    """One by one, in whatever symbols of the coin, they may move it a million-fold and not further."""
    for symbol in ("PEPEUSDT", "1000PEPEUSDT"):
        desk.world("jump", symbol=symbol, factor="1000")
    with pytest.raises(ControlError, match="1000000-fold"):
        desk.world("jump", symbol="PEPEUSDT", factor="1.01")
    desk.world("jump", symbol="PEPEUSDT", factor="0.5")
    desk.world("jump", **BTC, factor="1000")


LARGE: tuple[Json, ...] = (
    {"verb": "usd", "price": "1e12"},
    {"verb": "usd", "price": "1e-12"},
    {"verb": "mark", **BTC, "price": "1e12"},
    {"verb": "mark", **BTC, "price": "1e-12"},
    {"verb": "jump", **BTC, "factor": "1e6"},
    {"verb": "jump", **BTC, "factor": "1e-6"},
    {"verb": "transfer", "coin": "USDT", "amount": "1e12"},
    {"verb": "transfer", "coin": "BTC", "amount": "1e12"},
    {"verb": "book", **PERP, "bids": [["1e-12", "1e12"]], "asks": [["1e12", "1e-12"]]},
    {"verb": "filters", **PERP, "fields": {"tickSize": "1e12"}},
    {"verb": "filters", **PERP, "fields": {"qtyStep": "1e-12", "minOrderQty": "1e-12"}},
    {"verb": "filters", **PERP, "fields": {"maxLeverage": "1e12", "priceLimitRatioY": "1e12"}},
    {"verb": "maintenance", "begin": "2000-01-01T00:00:00Z", "end": "2099-12-31T00:00:00Z"},
    {"verb": "delist", **BTC, "at": "2099-12-31T00:00:00Z"},
    {"verb": "skew", "ms": -86_400_000},
)


@pytest.mark.parametrize("last", LARGE, ids=str)
def test_the_largest_that_is_taken_can_be_lived_with(desk: InProcess, last: Json) -> None:
    """With positions in both markets and everything else at its largest too: every read answers, time passes,
    and the world comes back from its own snapshot.
    """
    desk.short(qty="0.1")
    desk.buy(qty="0.1")
    desk.wait(seconds=1)
    for body in (*LARGE[6:8], last, *[last] * (3 if last["verb"] == "transfer" else 0)):
        arguments = {name: value for name, value in body.items() if name != "verb"}
        desk.world(body["verb"], **arguments)
    desk.desk.catch_up()
    truth = without_requests(known(desk.house))
    desk.desk.restore(plain_json(desk.house.snapshot()))
    assert without_requests(known(desk.house)) == truth
    live_an_hour(desk.house, desk.house.venue.now)


def test_a_world_lasts_five_years(desk: InProcess, untouched: OverHttp) -> None:
    """A clock is not moved beyond, and nothing restores a world that is older."""
    response = untouched.control("clock", {"to": "2099-12-31T00:00:00Z"})
    assert (response.status_code, response.json()["path"]) == (400, "to")
    saved = desk.house.snapshot()
    saved["venue"]["state"]["now"] = "2031-01-06T00:00:00+00:00"
    with pytest.raises(ValueError, match="now"):
        desk.desk.restore(saved)


# ------------------------------------------------------------------------------------------------ snapshots

Deed = Callable[[Json], Any]
HUGE = 10**30


def _state(saved: Json) -> Json:
    found: Json = saved["venue"]["state"]
    return found


def put(*path: str, value: object) -> Deed:
    """Write a value into the venue's state."""

    def do(saved: Json) -> None:
        place = _state(saved)
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value

    return do


def setting(name: str, value: object) -> Deed:
    """Write a value into the platform's settings."""
    return lambda saved: saved["setting"].update({name: value})


NOW = "2025-01-06T00:00:01+00:00"
TAMPERED: dict[str, Deed] = {
    "start far": lambda saved: saved.update(start=HUGE),
    "start before": lambda saved: saved.update(start=START_MS - 1),
    "naive now": put("now", value="2025-01-06T00:00:01"),
    "now far": put("now", value="9999-12-31T23:59:59.999+00:00"),
    "now before": put("now", value="2025-01-05T23:00:00+00:00"),
    "interest never": put("next_interest", value="2099-01-01T00:00:00+00:00"),
    "risk never": put("next_risk", value="2099-01-01T00:00:00+00:00"),
    "script back": put("script", value=-5),
    "script beyond": put("script", value=10**9),
    "counter": put("counter", value=0),
    "uid": put("uid", value="abc"),
    "agenda of nothing": put("agenda", value=[{"at": NOW, "kind": 4, "sequence": 1, "subject": "nope"}]),
    "agenda for ever": put("agenda", value=[{"at": NOW, "kind": 0, "sequence": 1, "subject": ""}]),
    "amendment": put("amendments", "nope", value=[]),
    "usd": put("market", "usd", value="1e50"),
    "usd zero": put("market", "usd", value="0"),
    "factor": put("market", "factors", "BTC", value="-1"),
    "mark": put("market", "marks", "ZZZ", value="1"),
    "frozen": put("market", "frozen", "ZZZ", value=NOW),
    "frozen far": put("market", "frozen", "BTCUSDT", value="9999-01-01T00:00:00+00:00"),
    "delivery": put("market", "deliveries", "ZZZ", value=NOW),
    "own": put("market", "own_since", "ZZZ", value=NOW),
    "interval": put("market", "intervals", "BTCUSDT", value=0),
    "filter": put("market", "filters", "linear:BTCUSDT", value={"nope": "1"}),
    "filter of nothing": put("market", "filters", "linear:ZZZ", value={"qtyStep": "1"}),
    "taken": put("market", "taken", "linear:ZZZ:ask", value={"quantity": "1", "at": NOW}),
    "position": put("account", "positions", "ZZZ", value={"symbol": "ZZZ"}),
    "position renamed": put("account", "positions", "BTCUSDT", value={"symbol": "ETHUSDT"}),
    "wallet": put("account", "coins", "USDT", "wallet", value="5"),
    "leverage": put("account", "leverage", "BTCUSDT", value="0"),
    "leverage of nothing": put("account", "leverage", "ZZZ", value="2"),
    "fees": put("account", "fees", "linear", value={"taker": "2", "maker": "0"}),
    "log": lambda saved: _state(saved)["account"]["log"].reverse(),
    "orders": lambda saved: [row.update(symbol="ZZZ") for row in _state(saved)["orders"].values()],
    "order later": lambda saved: [
        row.update(created="2030-01-01T00:00:00+00:00") for row in _state(saved)["orders"].values()
    ],
    "skew": setting("skew_ms", HUGE),
    "announced": setting("announced", {"BTCUSDT": HUGE}),
    "announced nothing": setting("announced", {"ZZZ": START_MS}),
    "jump": setting("jumps", [[START_MS, "ZZZ", "2"]]),
    "jump far": setting("jumps", [[START_MS, "BTCUSDT", "1e40"]]),
    "maintenance": setting("maintenance", [[0, CENTURY_MS]]),
    "maintenance of three": setting("maintenance", [[START_MS, START_MS, START_MS]]),
    "no setting": lambda saved: saved["setting"].clear(),
    "list": lambda saved: saved.update(venue=[]),
}


@pytest.mark.parametrize("deed", TAMPERED.values(), ids=TAMPERED)
def test_a_snapshot_that_no_world_can_have_given(desk: InProcess, deed: Deed) -> None:
    """It is refused, and the world that was there goes on as if nothing had been."""
    desk.short(qty="0.1")
    desk.wait(seconds=1)
    before = plain_json(desk.house.snapshot())
    bad = plain_json(before)
    deed(bad)
    desk.short(qty="0.1")
    desk.wait(seconds=1)
    now, truth = desk.house.clock.now(), without_requests(known(desk.house))
    with pytest.raises(ValueError, match=r"\w"):
        desk.desk.restore(bad)
    assert (desk.house.clock.now(), without_requests(known(desk.house))) == (now, truth)
    desk.wait(hours=9)
    assert desk.house.venue.now == now + timedelta(hours=9)
    desk.desk.restore(before)
    assert Decimal(desk.rows("position/list", **PERP)[0]["size"]) == Decimal("0.1")


def test_a_bad_snapshot_over_the_wire(http: OverHttp) -> None:
    """Each is 400 with a reason, and the next request is answered from the world that was there."""
    saved = http.do("snapshot", {})["snapshot"]
    for deed in (TAMPERED["start far"], TAMPERED["naive now"], TAMPERED["now far"], TAMPERED["skew"]):
        bad = plain_json(saved)
        deed(bad)
        response = http.control("restore", {"snapshot": bad})
        assert (response.status_code, response.json()["path"]) == (400, "snapshot")
        assert http.get("market/time")["time"] == START_MS
        assert http.truth()["now"] == START_MS
