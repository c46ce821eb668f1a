"""Several things at once: faults on the same request, late requests on a virtual clock, windows that open and
close, keys that change while a client trades, restores in the middle of trouble.
"""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from fundarb.core.instants import to_ms
from fundarb.sandbox.options import ClockKind
from tests.sandbox.harness import OPTIONS, START, START_MS, InProcess, Json, OverHttp, over_http

BTC: Json = {"category": "linear", "symbol": "BTCUSDT"}
CREATE: Json = {"method": "POST", "path": "/v5/order/create"}


def iso(minutes: float) -> str:
    """An instant after the start, as the control API takes it."""
    return (START + timedelta(minutes=minutes)).isoformat()


def outcomes(desk: InProcess, path: str = "/v5/order/create") -> list[str]:
    """What the log says of each request to a path."""
    return [row["outcome"] for row in desk.house.log.rows() if row["path"] == path]


# ------------------------------------------------------------------------------------- two faults, one
# request


def test_of_two_contradicting_faults_the_first_armed_wins(desk: InProcess) -> None:
    """Two ret codes and an HTTP page want the same request: the oldest gets it, and all of them count as
    fired.
    """
    desk.fault({"verb": "ret_code", "code": 10016}, **CREATE)
    desk.fault({"verb": "ret_code", "code": 10019}, **CREATE)
    desk.fault({"verb": "http", "status": 502}, **CREATE)
    assert desk.short()["retCode"] == 10016
    assert [rule.fired for rule in desk.house.faults.armed()] == [1, 1, 1]
    assert desk.short()["retCode"] == 0


def test_nearer_to_the_client_is_stronger(desk: InProcess) -> None:
    """What never arrives cannot be answered wrongly: a dropped request beats a late one, both beat a ret code
    that was armed before them; and an order that is not applied has no fill to be cut.
    """
    desk.fault({"verb": "ret_code", "code": 10016}, **CREATE)
    desk.fault({"verb": "apply_after", "ms": 10}, **CREATE)
    desk.fault({"verb": "drop_request"}, **CREATE)
    body = json.dumps({**BTC, "side": "Sell", "orderType": "Market", "qty": "0.01"})
    desk.reply("POST", "/v5/order/create", body=body)
    desk.wait(seconds=1)
    assert (outcomes(desk), desk.house.venue.all_orders()) == (["dropped"], ())


def test_a_partial_fill_a_lost_answer_and_a_lagging_read(desk: InProcess) -> None:
    """The order filled 37 %, nobody was told, and for twenty seconds nobody can see it."""
    desk.fault({"verb": "fill", "fractions": ["0.37"]}, **CREATE)
    desk.fault({"verb": "apply_then_lose", "how": "reset"}, **CREATE)
    desk.fault({"verb": "lag_reads", "ms": 20_000}, path="/v5/order/realtime", times=0)
    desk.fault({"verb": "drop_rows", "n": 1}, path="/v5/execution/list", times=1)
    body = json.dumps({**BTC, "side": "Sell", "orderType": "Market", "qty": "1", "orderLinkId": "x"})
    assert desk.reply("POST", "/v5/order/create", body=body).lost == "reset"
    desk.desk.catch_up()
    assert desk.rows("order/realtime", category="linear", orderLinkId="x") == []
    whole = len(desk.house.venue.all_fills())
    assert len(desk.rows("execution/list", **BTC)) == whole - 1
    assert len(desk.rows("execution/list", **BTC)) == whole
    desk.wait(seconds=20)
    row = desk.rows("order/realtime", category="linear", orderLinkId="x")[0]
    assert (row["cumExecQty"], row["orderStatus"]) == ("0.37", "Cancelled")


def test_a_lagging_read_shows_an_order_that_has_closed_since_as_open(desk: InProcess) -> None:
    """Ten seconds after its cancel an order is still in the list of open ones of a read that lags by
    twenty.
    """
    desk.short(orderType="Limit", price="99000", orderLinkId="x")
    desk.wait(seconds=30)
    desk.post("order/cancel", **BTC, orderLinkId="x")
    desk.wait(seconds=10)
    assert desk.rows("order/realtime", **BTC) == []
    desk.fault({"verb": "lag_reads", "ms": 20_000}, path="/v5/order/realtime", times=2)
    assert [row["orderStatus"] for row in desk.rows("order/realtime", **BTC)] == ["New"]
    assert desk.rows("order/realtime", **BTC, openOnly=1) == []
    assert desk.rows("order/realtime", **BTC) == []


def test_a_lagging_read_by_symbol_does_not_know_a_young_position(desk: InProcess) -> None:
    """Asked by symbol or by settle coin, a position that is younger than the lag is not there yet."""
    desk.fault({"verb": "lag_reads", "ms": 20_000}, path="/v5/position/list", times=4)
    desk.house.settled_reads()
    desk.wait(seconds=30)
    desk.short(qty="0.1")
    for seconds, size in ((10, "0"), (11, "0.1")):
        desk.wait(seconds=seconds)
        row = desk.rows("position/list", **BTC)[0]
        held = desk.rows("position/list", category="linear", settleCoin="USDT")
        assert (row["size"], row["side"], len(held)) == (
            size,
            "Sell" if size != "0" else "",
            int(size != "0"),
        )


def test_nth_and_times_of_two_rules_count_on_their_own(desk: InProcess) -> None:
    """Of five creates the second is refused by one rule, the third and fourth by another."""
    desk.fault({"verb": "ret_code", "code": 10016}, **CREATE, nth=2)
    desk.fault({"verb": "ret_code", "code": 10019}, **CREATE, nth=3, times=2)
    assert [desk.short()["retCode"] for _ in range(5)] == [0, 10016, 10019, 10019, 0]


# ------------------------------------------------------------------------------------------ late requests


def test_late_requests_arrive_in_the_order_of_their_instants(desk: InProcess) -> None:
    """One step of the clock over both: the create that was delayed less comes first, each at its own instant,
    and a settlement between them finds only the first.
    """
    desk.wait(hours=7, minutes=59, seconds=58)
    for link, ms in (("slow", 4000), ("quick", 1000)):
        desk.fault({"verb": "apply_after", "ms": ms}, **CREATE, link_id=link)
        body = {**BTC, "side": "Sell", "orderType": "Market", "qty": "0.01", "orderLinkId": link}
        desk.reply("POST", "/v5/order/create", body=json.dumps(body))
    desk.wait(minutes=1)
    found = desk.house.venue.all_orders()
    assert [(order.link_id, to_ms(order.created) - START_MS - 8 * 3_600_000) for order in found] == [
        ("quick", -1000), ("slow", 2000)]  # fmt: skip
    funding = [row for row in desk.rows("execution/list", **BTC) if row["execType"] == "Funding"]
    assert [row["execQty"] for row in funding] == ["0.01"]


def test_a_late_request_meets_the_key_and_the_faults_of_its_arrival(desk: InProcess) -> None:
    """The key lost its right in the meantime: the late create is 10005 and does nothing."""
    desk.fault({"verb": "apply_after", "ms": 3000}, **CREATE)
    desk.reply(
        "POST",
        "/v5/order/create",
        body=json.dumps({**BTC, "side": "Sell", "orderType": "Market", "qty": "1"}),
    )
    desk.world("key", read_only=True)
    desk.wait(seconds=3)
    assert (outcomes(desk), desk.house.venue.all_orders()) == (["late", "10005"], ())


def test_a_restore_forgets_what_was_on_its_way(desk: InProcess) -> None:
    """The late create of another time does not arrive in the restored one, a ban does not last; an armed
    fault does, with what it has already done.
    """
    saved = desk.house.snapshot()
    desk.fault({"verb": "ret_code", "code": 10016}, **CREATE, nth=3)
    desk.fault({"verb": "apply_after", "ms": 60_000}, **CREATE)
    body = json.dumps({**BTC, "side": "Sell", "orderType": "Market", "qty": "1"})
    desk.reply("POST", "/v5/order/create", body=body)
    desk.fault({"verb": "ban", "seconds": 600}, path="/v5/market/time")
    assert desk.reply("GET", "/v5/market/time").response.status == 403
    desk.desk.restore(saved)
    desk.wait(minutes=2)
    assert desk.house.venue.all_orders() == ()
    assert [desk.short()["retCode"] for _ in range(3)] == [0, 10016, 0]


# ------------------------------------------------------------------------------------------ bans and windows


def test_a_ban_lifts_to_the_second(desk: InProcess) -> None:
    """403 for public and private requests until the second it ends, the control API throughout; a second ban
    that is shorter does not shorten the first.
    """
    desk.fault({"verb": "ban", "seconds": 600}, path="/v5/market/time")
    desk.fault({"verb": "ban", "seconds": 30}, path="/v5/market/tickers")
    for path in ("market/time", "market/tickers", "account/info"):
        assert desk.reply("GET", f"/v5/{path}").response.status == 403
    desk.wait(seconds=599)
    assert desk.reply("GET", "/v5/account/info").response.status == 403
    desk.wait(seconds=1)
    assert desk.get("account/info")["retCode"] == 0


def test_maintenance_windows(desk: InProcess) -> None:
    """Two windows, one within the other and one later: 10016 from the first instant to the last but one,
    status and time answer throughout, and the status tells each window's state.
    """
    for begin, end in ((10, 30), (15, 20), (60, 61)):
        desk.world("maintenance", begin=iso(begin), end=iso(end))

    def look() -> tuple[int, list[str]]:
        assert desk.get("market/time")["retCode"] == 0
        code = desk.short(orderType="Limit", price="99000")["retCode"]
        return code, [row["state"] for row in desk.rows("system/status")]

    assert look() == (0, ["scheduled", "scheduled", "scheduled"])
    desk.wait(minutes=10)
    assert look() == (10016, ["ongoing", "scheduled", "scheduled"])
    desk.wait(minutes=7)
    assert look() == (10016, ["ongoing", "ongoing", "scheduled"])
    desk.wait(minutes=8)
    assert look() == (10016, ["ongoing", "completed", "scheduled"])
    desk.wait(minutes=5)
    assert look() == (0, ["completed", "completed", "scheduled"])
    desk.wait(minutes=30)
    assert look()[0] == 10016
    desk.wait(minutes=1)
    assert look()[0] == 0


@pytest.mark.parametrize(("skew", "code"), [(0, 0), (4999, 0), (5001, 10002), (-999, 0), (-1000, 10002)])
def test_skew_moves_the_clock_that_signatures_meet(desk: InProcess, skew: int, code: int) -> None:
    """A venue whose clock runs ahead calls honest requests old, one that is behind calls them early; what
    happens inside happens at true time.
    """
    desk.world("skew", ms=skew)
    answer = desk.short(orderLinkId="x")
    assert (answer["retCode"], answer["time"]) == (code, START_MS + skew)
    assert [to_ms(order.created) for order in desk.house.venue.all_orders()] == (
        [START_MS] if not code else []
    )


# ------------------------------------------------------------------------------------------ keys in use


def test_a_key_that_changes_while_its_owner_trades(desk: InProcess) -> None:
    """Resting orders stay and fill whatever happens to the key; each loss has its code, each right comes
    back.
    """
    desk.short(orderType="Limit", price="93000", timeInForce="GTC", orderLinkId="before")
    desk.short(orderType="Limit", price="99000", orderLinkId="rests")
    desk.world("key", permissions={"Spot": ["SpotTrade"]})
    assert (desk.short()["retCode"], desk.buy()["retCode"]) == (10005, 0)
    assert desk.post("order/cancel", **BTC, orderLinkId="rests")["retCode"] == 10005
    assert len(desk.rows("order/realtime", **BTC)) == 1
    desk.world("key", permissions={"ContractTrade": ["Order", "Position"]}, ip=["10.1.1.1"])
    assert desk.get("account/info")["retCode"] == 10010
    desk.world("key", ip=["127.0.0.1"])
    assert desk.post("order/cancel", **BTC, orderLinkId="rests")["retCode"] == 0
    desk.world("key", expire=iso(1))
    assert desk.get("user/query-api")["result"]["expiredAt"].startswith("2025-01-06T00:01:00")
    desk.wait(minutes=1)
    assert desk.get("account/info")["retCode"] == 33004
    assert [order.status.value for order in desk.house.venue.all_orders() if order.link_id == "before"] == [
        "Filled"
    ]


def test_ids_and_deletes_over_http(http: OverHttp) -> None:
    """An id is free again after its fault was deleted; a fault whose times are used up stays listed until
    then and does nothing; deleting all leaves none.
    """
    match = {"match": {"path": "/v5/market/time"}, "do": {"verb": "http", "status": 503}}
    assert http.control("faults", {"id": "mine", **match}).status_code == 201
    assert http.control("faults", {"id": "mine", **match}).status_code == 400
    url = f"{http.url}/v5/market/time"
    assert [http.session.get(url, timeout=10).status_code for _ in range(2)] == [503, 200]
    row = http.control("faults", method="GET").json()["faults"][0]
    assert (row["id"], row["seen"], row["fired"], row["times"]) == ("mine", 2, 1, 1)
    assert http.control("faults/mine", method="DELETE").status_code == 204
    assert http.control("faults", {"id": "mine", **match}).status_code == 201
    assert http.control("faults", method="DELETE").status_code == 204
    assert http.session.get(url, timeout=10).status_code == 200


def test_the_short_way_and_the_long_way_answer_alike(http: OverHttp) -> None:
    """While some fault is armed requests go through ASGI, otherwise straight from the parser: same bytes,
    same headers, same log.
    """

    def look() -> list[tuple[int, bytes, dict[str, str]]]:
        found = []
        for path, params in (
            ("market/tickers", BTC),
            ("account/info", {}),
            ("no/such", {}),
            ("position/list", {}),
        ):
            answer = http.request("GET", path, params)
            found.append(
                (answer.status_code, answer.content, {k.lower(): v for k, v in answer.headers.items()})
            )
        answer = http.create(qty="0")
        return [
            *found,
            (answer.status_code, answer.content, {k.lower(): v for k, v in answer.headers.items()}),
        ]

    short = look()
    http.do("faults", {"match": {"path": "/v5/order/pre-check"}, "do": {"verb": "rate_limit"}})
    limits = "x-bapi-limit-status"
    for mine, theirs in zip(short, look(), strict=True):
        assert mine[:2] == theirs[:2]
        assert {k: v for k, v in mine[2].items() if k != limits} == {
            k: v for k, v in theirs[2].items() if k != limits
        }
    rows = [(row["path"], row["outcome"]) for row in http.truth()["requests"]]
    assert rows[:5] == rows[5:]


def test_a_real_clock_catches_up_after_a_restore() -> None:
    """On the wall clock a restored world goes on at the present: what was due in between has happened."""
    with over_http(
        clock=ClockKind.REAL, start=None, limits=False, match_delay=timedelta(milliseconds=20)
    ) as real:
        saved = real.do("snapshot", {})
        real.create(orderLinkId="x")
        later = real.do("restore", saved)["now"]
        assert later >= saved["snapshot"]["start"]
        assert real.truth()["orders"] == []


def test_limits_are_per_market_and_a_batch_has_its_own(desk: InProcess) -> None:
    """Ten perp and twenty spot creates a second beside each other, and ten orders in batches beside both."""
    desk = InProcess(replace(OPTIONS, limits=True))
    assert [desk.short(qty="0.001")["retCode"] for _ in range(11)].count(0) == 10
    assert [desk.buy(qty="0.001")["retCode"] for _ in range(21)].count(0) == 20
    order = {"symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "0.01", "price": "90000"}
    answer = desk.post("order/create-batch", category="linear", request=[order] * 11)
    assert [row["code"] for row in answer["retExtInfo"]["list"]].count(0) == 10
