"""Request limits, page sizes, windows and pages of every end point, line by line as the exchange's reference
has them.
"""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from fundarb.core.instants import to_ms
from fundarb.sandbox.endpoints.table import TABLE
from tests.sandbox.harness import OPTIONS, START, InProcess, Json, parsed

DAY = timedelta(days=1)
LINEAR: Json = {"category": "linear"}
BTC: Json = {**LINEAR, "symbol": "BTCUSDT"}
SPOT_BTC: Json = {"category": "spot", "symbol": "BTCUSDT"}

PER_SECOND: dict[str, tuple[int, int]] = {
    "order/create": (10, 20),
    "order/cancel": (10, 20),
    "order/amend": (10, 10),
    "order/cancel-all": (10, 20),
    "order/create-batch": (10, 20),
    "order/pre-check": (10, 20),
    "order/realtime": (50, 50),
    "order/history": (50, 50),
    "execution/list": (50, 50),
    "position/list": (50, 50),
    "position/closed-pnl": (50, 50),
    "position/set-leverage": (10, 10),
    "position/switch-mode": (10, 10),
    "account/wallet-balance": (50, 50),
    "account/info": (50, 50),
    "account/collateral-info": (50, 50),
    "account/user-setting-config": (50, 50),
    "account/transaction-log": (25, 25),
    "account/fee-rate": (5, 5),
    "account/set-margin-mode": (5, 5),
    "account/set-delta-mode": (5, 5),
    "asset/coin/query-info": (5, 5),
    "user/query-api": (10, 10),
}
"""Requests a second of a plain account: linear and all else, spot."""

PAGES: dict[str, tuple[Json, int]] = {
    "order/realtime": (BTC, 50),
    "order/history": (BTC, 50),
    "execution/list": (BTC, 100),
    "position/list": ({**LINEAR, "settleCoin": "USDT"}, 200),
    "position/closed-pnl": (BTC, 100),
    "account/transaction-log": ({"accountType": "UNIFIED"}, 50),
    "market/instruments-info": (LINEAR, 1000),
    "market/funding/history": (BTC, 200),
    "market/kline": ({**BTC, "interval": "60"}, 1000),
    "market/mark-price-kline": ({**BTC, "interval": "60"}, 1000),
    "market/index-price-kline": ({**BTC, "interval": "60"}, 1000),
    "market/premium-index-price-kline": ({**BTC, "interval": "60"}, 1000),
    "market/orderbook": (BTC, 1000),
    "market/recent-trade": (BTC, 1000),
    "market/open-interest": ({**BTC, "intervalTime": "1h"}, 200),
}
"""The largest page of every end point that has a ``limit``."""

DEFAULTS: dict[str, tuple[Json, int]] = {
    "market/funding/history": (BTC, 200),
    "market/kline": ({**BTC, "interval": "60"}, 200),
    "market/open-interest": ({**BTC, "intervalTime": "1h"}, 50),
    "order/history": (BTC, 20),
    "order/realtime": ({**BTC, "openOnly": 1}, 20),
    "execution/list": (BTC, 50),
    "position/closed-pnl": (BTC, 50),
    "account/transaction-log": ({"accountType": "UNIFIED"}, 20),
}
"""How many rows come without a ``limit``, where there are more."""


@pytest.fixture(scope="module")
def busy() -> InProcess:
    """An account that has opened and closed a short sixty times; tests of this module only read it."""
    desk = InProcess()
    for _ in range(60):
        desk.short(qty="0.001")
        desk.short(qty="0.001", side="Buy", reduceOnly=True)
        desk.desk.catch_up(desk.house.venue.now + timedelta(minutes=1))
    return desk


def test_the_table_of_limits_is_the_references() -> None:
    """Every private end point is listed here, with the reference's requests a second."""
    private = {path.removeprefix("/v5/"): item.limit for path, item in TABLE.items() if item.private}
    assert private == PER_SECOND


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("order/cancel", {"category": "linear", "symbol": "BTCUSDT", "orderLinkId": "none"}, 110001),
        ("order/create", {"category": "linear", "symbol": "BTCUSDT", "side": "Buy"}, 10001),
        ("position/set-leverage", {"category": "linear", "symbol": "NONEUSDT"}, 10001),
    ],
)
def test_refusals_tell_the_limit_too(path: str, body: Json, code: int) -> None:
    """A request that was counted says so whatever became of it; one that never got past its signature was
    not.
    """
    desk = InProcess(replace(OPTIONS, limits=True))
    limit = PER_SECOND[path][0]
    for left in (limit - 1, limit - 2):
        reply = desk.reply("POST", f"/v5/{path}", body=json.dumps(body))
        headers = dict(reply.response.headers)
        assert parsed(reply)["retCode"] == code
        assert (headers[b"X-Bapi-Limit"], headers[b"X-Bapi-Limit-Status"]) == (b"%d" % limit, b"%d" % left)
    desk.world("key", expire=True)
    assert desk.reply("POST", f"/v5/{path}", body=json.dumps(body)).response.headers == ()


@pytest.mark.parametrize("path", PER_SECOND)
@pytest.mark.parametrize("category", ["linear", "spot"])
def test_one_request_too_many_is_10006(path: str, category: str) -> None:
    """With limits on the first one over the limit of its second is 10006 with the headers that say so; a
    second later the end point answers again. Orders and executions of the other market have a limit of their
    own; an account or a position has one, whatever category is said.
    """
    desk = InProcess(replace(OPTIONS, limits=True))
    method, limit = TABLE[f"/v5/{path}"].method, PER_SECOND[path][category == "spot"]

    def send(word: str = category) -> tuple[int, dict[bytes, bytes]]:
        body = f'{{"category":"{word}"}}' if method == "POST" else ""
        reply = desk.reply(method, f"/v5/{path}", query=f"category={word}" if not body else "", body=body)
        return parsed(reply)["retCode"], dict(reply.response.headers)

    codes = [send()[0] for _ in range(limit)]
    assert 10006 not in codes
    code, headers = send()
    assert (code, headers[b"X-Bapi-Limit"], headers[b"X-Bapi-Limit-Status"]) == (
        10006,
        str(limit).encode(),
        b"0",
    )
    assert int(headers[b"X-Bapi-Limit-Reset-Timestamp"]) == to_ms(desk.house.venue.now) + 1000
    apart = path.startswith(("order/", "execution/"))
    other = "linear" if category == "spot" else "spot"
    assert (send(other)[0] == 10006) is not apart
    desk.desk.catch_up(desk.house.venue.now + timedelta(seconds=1))
    assert send()[0] != 10006


def test_public_end_points_have_no_limit_of_their_own() -> None:
    """A hundred tickers within the same instant are all answered, without limit headers."""
    desk = InProcess(replace(OPTIONS, limits=True))
    replies = [desk.reply("GET", "/v5/market/tickers", query="category=linear") for _ in range(100)]
    assert {(parsed(reply)["retCode"], reply.response.headers) for reply in replies} == {(0, ())}


@pytest.mark.parametrize("path", PAGES)
def test_page_sizes(busy: InProcess, path: str) -> None:
    """The largest page is served; none, one more than the largest, and what is no number are 10001."""
    params, most = PAGES[path]
    assert busy.get(path, **params, limit=most)["retCode"] == 0
    for wrong in (0, -1, most + 1, "ten", "1.5", "9" * 30):
        answer = busy.get(path, **params, limit=wrong)
        assert (answer["retCode"], "limit" in answer["retMsg"]) == (10001, True)


def test_spot_has_smaller_pages_of_trades(busy: InProcess) -> None:
    """Sixty public trades in spot at most and by default, five hundred on perps by default."""
    assert len(busy.rows("market/recent-trade", **SPOT_BTC)) == 60
    assert busy.get("market/recent-trade", **SPOT_BTC, limit=61)["retCode"] == 10001
    assert len(busy.rows("market/recent-trade", **BTC)) == 500


@pytest.mark.parametrize("path", DEFAULTS)
def test_default_page_sizes(busy: InProcess, path: str) -> None:
    """Without a limit as many rows come as the reference says."""
    params, count = DEFAULTS[path]
    assert len(busy.rows(path, **params)) == count


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("order/history", BTC),
        ("order/realtime", {**BTC, "openOnly": 1}),
        ("execution/list", BTC),
        ("position/closed-pnl", BTC),
        ("account/transaction-log", {"accountType": "UNIFIED"}),
        ("market/open-interest", {**BTC, "intervalTime": "1d"}),
        ("market/instruments-info", LINEAR),
        ("market/risk-limit", LINEAR),
    ],
)
def test_pages_join_without_gap_or_overlap(busy: InProcess, path: str, params: Json) -> None:
    """Following the cursor to its end gives every row once, in the order of one large page."""
    rows: list[Json] = []
    cursor, pages = "", 0
    limit = {} if path == "market/risk-limit" else {"limit": 7}
    while pages < 40:
        answer = busy.get(path, **params, **limit, cursor=cursor)["result"]
        rows += answer["list"]
        cursor, pages = answer["nextPageCursor"], pages + 1
        if not cursor or not answer["list"]:
            break
    keys = [tuple(sorted((key, str(value)) for key, value in row.items())) for row in rows]
    assert len(set(keys)) == len(keys) > 7
    if path != "market/risk-limit":
        whole = busy.rows(path, **params, limit=PAGES[path][1])
        assert rows[: len(whole)] == whole


def test_a_cursor_of_nowhere_is_refused(busy: InProcess) -> None:
    """A cursor that names no row is 10001, not silently the first page."""
    assert busy.get("execution/list", **BTC, cursor="nonsense")["retCode"] == 10001


WINDOWS: dict[str, tuple[Json, timedelta]] = {
    "order/history": (BTC, 7 * DAY),
    "execution/list": (BTC, 7 * DAY),
    "position/closed-pnl": (BTC, 7 * DAY),
    "account/transaction-log": ({"accountType": "UNIFIED"}, DAY),
}
"""How far back an end point looks without a window."""


@pytest.mark.parametrize("path", WINDOWS)
def test_windows(path: str) -> None:
    """Neither bound: the last default span; a start alone: that span from there; both: at most seven days,
    bounds inclusive; an end before its start is 10001.
    """
    params, default = WINDOWS[path]
    desk = InProcess()
    desk.short(qty="0.002")
    desk.short(qty="0.001", side="Buy", reduceOnly=True)
    then = to_ms(START)
    desk.desk.catch_up(START + default)
    assert desk.rows(path, **params, endTime=then)
    at_the_edge = len(desk.rows(path, **params))
    desk.desk.catch_up(START + default + timedelta(milliseconds=1))
    assert len(desk.rows(path, **params)) < at_the_edge
    assert desk.rows(path, **params, startTime=then)
    assert desk.rows(path, **params, startTime=then, endTime=then)
    assert not [row for row in desk.rows(path, **params, startTime=then + 1) if str(then) in row.values()]
    week = to_ms(START + 7 * DAY)
    assert desk.get(path, **params, startTime=then, endTime=week)["retCode"] == 0
    assert desk.get(path, **params, startTime=then, endTime=week + 1)["retCode"] == 10001
    assert desk.get(path, **params, startTime=then, endTime=then - 1)["retCode"] == 10001
    assert desk.get(path, **params, startTime="yesterday")["retCode"] == 10001


def test_an_order_id_voids_other_filters(busy: InProcess) -> None:
    """In execution/list and order reads the order id wins over the link id, and both over symbol and base
    coin.
    """
    order = busy.rows("order/history", **BTC, limit=1)[0]
    for path in ("execution/list", "order/history", "order/realtime"):
        rows = busy.rows(path, **LINEAR, orderId=order["orderId"], orderLinkId="other", symbol="ETHUSDT")
        assert [row["orderId"] for row in rows] == [order["orderId"]]


@pytest.mark.parametrize("path", ["order/realtime", "position/list", "order/cancel-all"])
def test_linear_must_be_told_which(busy: InProcess, path: str) -> None:
    """Without symbol, base coin or settle coin linear reads and cancels of many are 10001."""
    ask = busy.post if path == "order/cancel-all" else busy.get
    assert ask(path, category="linear")["retCode"] == 10001
