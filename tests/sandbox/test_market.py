"""Public data over the desk: tickers, instruments, books, funding history, klines, risk limits, status."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest

from fundarb.core.instants import to_ms
from fundarb.core.market import Category
from tests.sandbox.harness import START, START_MS, InProcess

HOUR_MS = 3_600_000


def test_time_is_the_venues(desk: InProcess) -> None:
    """Seconds, nanoseconds and the envelope tell the same instant, and it stands still until moved."""
    answer = desk.get("market/time")
    assert answer["result"] == {"timeSecond": str(START_MS // 1000), "timeNano": str(START_MS * 1_000_000)}
    assert answer["time"] == START_MS


def test_tickers_of_a_whole_market(desk: InProcess) -> None:
    """Every perp has one row whose strings are plain numbers; the rows equal those asked for one by one."""
    rows = {row["symbol"]: row for row in desk.rows("market/tickers", category="linear")}
    assert {"BTCUSDT", "1000PEPEUSDT", "FIOUSDT", "MONUSDT"} <= rows.keys()
    for symbol, row in rows.items():
        assert desk.rows("market/tickers", category="linear", symbol=symbol) == [row]
        assert Decimal(row["bid1Price"]) < Decimal(row["ask1Price"])
        assert row["fundingIntervalHour"] in {"1", "2", "4", "8"}
        assert int(row["nextFundingTime"]) > START_MS
        assert not any("E" in value for name, value in row.items() if name != "symbol")


def test_spot_tickers(desk: InProcess) -> None:
    """Spot rows have no funding; only collateral coins have a USD index; tiny prices stay plain."""
    rows = {row["symbol"]: row for row in desk.rows("market/tickers", category="spot")}
    assert "fundingRate" not in rows["BTCUSDT"]
    assert Decimal(rows["BTCUSDT"]["usdIndexPrice"]) > 0
    assert rows["BEAMUSDT"]["usdIndexPrice"] == ""
    assert rows["PEPEUSDT"]["bid1Price"].startswith("0.0000")


@pytest.mark.parametrize("symbol", ["SOLUSDT", "1000PEPEUSDT"])
@pytest.mark.parametrize("factor", ["1.015", "0.93", "0.35"])
def test_jumps_leave_prices_of_a_few_digits(desk: InProcess, symbol: str, factor: str) -> None:
    """However often all prices of a coin are multiplied, mark and index keep eight digits and are right to
    them, also far below the tick.
    """
    before = desk.rows("market/tickers", category="linear", symbol=symbol)[0]
    for _ in range(12):
        desk.world("jump", symbol=symbol, factor=factor)
    after = desk.rows("market/tickers", category="linear", symbol=symbol)[0]
    for name in ("markPrice", "indexPrice"):
        price, exact = Decimal(after[name]), Decimal(before[name]) * Decimal(factor) ** 12
        assert len(price.as_tuple().digits) <= 8
        assert abs(price / exact - 1) < Decimal("1e-7")


def test_tickers_follow_the_clock_and_the_world(desk: InProcess) -> None:
    """The cached text of an instant is dropped when time moves or the world changes something."""
    first = desk.rows("market/tickers", category="linear")[0]["markPrice"]
    desk.house.venue.world.mark("BTCUSDT", Decimal(12345))
    assert desk.rows("market/tickers", category="linear")[0]["markPrice"] == "12345"
    desk.house.venue.world.mark("BTCUSDT", None)
    assert desk.rows("market/tickers", category="linear")[0]["markPrice"] == first
    desk.desk.catch_up(START + timedelta(hours=1))
    assert desk.rows("market/tickers", category="linear")[0]["markPrice"] != first


def test_own_orders_show_in_the_ticker_at_the_same_instant(desk: InProcess) -> None:
    """Liquidity that was just taken is missing from the bulk tickers although no time has passed."""
    before = desk.rows("market/tickers", category="linear")[0]
    assert desk.short(qty="3")["retCode"] == 0
    after = desk.rows("market/tickers", category="linear")[0]
    assert (after["bid1Price"], after["bid1Size"]) != (before["bid1Price"], before["bid1Size"])


def test_patched_tickers_carry_raw_text(desk: InProcess) -> None:
    """ticker_patch forces any text into a row, once per key, and an empty patch takes it off."""
    desk.house.venue.world.ticker_patch(
        Category.LINEAR, "BTCUSDT", fields={"markPrice": "NaN", "bid1Price": ""}
    )
    reply = desk.reply("GET", "/v5/market/tickers", query="category=linear&symbol=BTCUSDT")
    assert reply.response.body.count(b'"markPrice"') == 1
    row = json.loads(reply.response.body)["result"]["list"][0]
    assert (row["markPrice"], row["bid1Price"]) == ("NaN", "")
    desk.house.venue.world.ticker_patch(Category.LINEAR, "BTCUSDT", fields={})
    assert Decimal(desk.rows("market/tickers", category="linear", symbol="BTCUSDT")[0]["markPrice"]) > 0


def test_an_interval_switch_shows_in_the_ticker_only(desk: InProcess) -> None:
    """After a switch the ticker tells the new interval while the instrument list still says 480 minutes."""
    desk.house.venue.world.interval("BTCUSDT", 1)
    row = desk.rows("market/tickers", category="linear", symbol="BTCUSDT")[0]
    item = desk.rows("market/instruments-info", category="linear", symbol="BTCUSDT")[0]
    assert row["fundingIntervalHour"] == "1"
    assert int(row["nextFundingTime"]) == START_MS + HOUR_MS
    assert item["fundingInterval"] == 480


def test_instruments_hide_what_does_not_trade(desk: InProcess) -> None:
    """Only Trading ones by default; the pre-launch contract is there when its status is asked for."""
    linear = {
        row["symbol"]: row for row in desk.rows("market/instruments-info", category="linear", limit=1000)
    }
    assert "MONUSDT" not in linear
    early = desk.rows("market/instruments-info", category="linear", status="PreLaunch")
    assert [row["symbol"] for row in early] == ["MONUSDT"]
    assert early[0]["isPreListing"] is True
    assert linear["TSLAUSDT"]["symbolType"] == "stock"
    assert linear["1000PEPEUSDT"]["baseCoin"] == "1000PEPE"


def test_instruments_are_paged_and_complete(desk: InProcess) -> None:
    """Pages of two hold every symbol exactly once and end with an empty cursor."""
    seen, cursor = [], ""
    while True:
        answer = desk.get("market/instruments-info", category="linear", limit=2, cursor=cursor)
        seen += [row["symbol"] for row in answer["result"]["list"]]
        cursor = answer["result"]["nextPageCursor"]
        if not cursor:
            break
    whole = [row["symbol"] for row in desk.rows("market/instruments-info", category="linear")]
    assert seen == whole


def test_other_categories_are_empty_not_wrong(desk: InProcess) -> None:
    """Inverse and option list nothing, so clients that load every market start up."""
    for category in ("inverse", "option"):
        assert desk.rows("market/instruments-info", category=category) == []
        assert desk.rows("market/tickers", category=category) == []


def test_the_book_agrees_with_the_ticker(desk: InProcess) -> None:
    """Best levels are the ticker's; levels are ordered, on the tick, and the default depth is the
    exchange's.
    """
    row = desk.rows("market/tickers", category="linear", symbol="BTCUSDT")[0]
    book = desk.get("market/orderbook", category="linear", symbol="BTCUSDT", limit=50)["result"]
    assert [Decimal(text) for text in book["b"][0]] == [Decimal(row["bid1Price"]), Decimal(row["bid1Size"])]
    assert [Decimal(text) for text in book["a"][0]] == [Decimal(row["ask1Price"]), Decimal(row["ask1Size"])]
    prices = [Decimal(price) for price, _ in book["b"]]
    assert len(prices) == 50
    assert prices == sorted(prices, reverse=True)
    assert len(desk.get("market/orderbook", category="linear", symbol="BTCUSDT")["result"]["b"]) == 25
    assert len(desk.get("market/orderbook", category="spot", symbol="BTCUSDT")["result"]["b"]) == 1


@pytest.mark.parametrize("category", ["spot", "linear"])
def test_a_book_is_as_deep_as_asked(desk: InProcess, category: str) -> None:
    """Every depth up to the exchange's thousand levels, each the beginning of the deepest."""
    whole = desk.get("market/orderbook", category=category, symbol="SOLUSDT", limit=1000)["result"]
    for limit in (1, 40, 101, 200, 500, 1000):
        shown = desk.get("market/orderbook", category=category, symbol="SOLUSDT", limit=limit)["result"]
        for side in ("b", "a"):
            assert len(shown[side]) == limit
            assert shown[side] == whole[side][:limit]


def test_the_newest_funding_of_a_daily_interval(desk: InProcess) -> None:
    """However long the interval is, a limit alone gives the newest rates up to it."""
    desk.world("interval", symbol="BTCUSDT", hours=24)
    desk.wait(days=5, hours=23)
    for limit in (1, 3, 7):
        rows = desk.rows("market/funding/history", category="linear", symbol="BTCUSDT", limit=limit)
        assert len(rows) == limit
        times = [int(row["fundingRateTimestamp"]) for row in rows]
        assert times[:5] == [START_MS + day * 24 * HOUR_MS for day in (5, 4, 3, 2, 1)][:limit]


def test_funding_history_windows(desk: InProcess) -> None:
    """Newest 200 without a window, newest first; a start alone is an error; both bounds are inclusive."""
    rows = desk.rows("market/funding/history", category="linear", symbol="BTCUSDT")
    times = [int(row["fundingRateTimestamp"]) for row in rows]
    assert len(rows) == 200
    assert times == sorted(times, reverse=True)
    assert times[0] <= START_MS
    refused = desk.get("market/funding/history", category="linear", symbol="BTCUSDT", startTime=times[9])
    assert refused["retCode"] == 10001
    window = desk.rows(
        "market/funding/history", category="linear", symbol="BTCUSDT", startTime=times[9], endTime=times[2]
    )
    assert [int(row["fundingRateTimestamp"]) for row in window] == times[2:10]


def test_funding_history_does_not_know_the_future(desk: InProcess) -> None:
    """A window beyond now holds nothing; the next rate appears at its instant, equal to what was predicted
    then.
    """
    ask = {
        "category": "linear",
        "symbol": "ETHUSDT",
        "startTime": START_MS + 1,
        "endTime": START_MS + 9 * HOUR_MS,
    }
    assert desk.rows("market/funding/history", **ask) == []
    desk.desk.catch_up(START + timedelta(hours=8) - timedelta(milliseconds=1))
    predicted = desk.rows("market/tickers", category="linear", symbol="ETHUSDT")[0]["fundingRate"]
    assert desk.rows("market/funding/history", **ask) == []
    desk.desk.catch_up(START + timedelta(hours=8))
    rows = desk.rows("market/funding/history", **ask)
    assert [row["fundingRateTimestamp"] for row in rows] == [str(START_MS + 8 * HOUR_MS)]
    assert abs(Decimal(rows[0]["fundingRate"]) - Decimal(predicted)) <= Decimal("0.00000002")


@pytest.mark.parametrize(
    ("path", "width"),
    [("kline", 7), ("mark-price-kline", 5), ("index-price-kline", 5), ("premium-index-price-kline", 5)],
)
def test_klines(desk: InProcess, path: str, width: int) -> None:
    """Bars are newest first on the grid, the last one may be unfinished, high and low enclose the rest."""
    desk.desk.catch_up(START + timedelta(minutes=90))
    rows = desk.rows(f"market/{path}", category="linear", symbol="BTCUSDT", interval=60, limit=5)
    assert [int(row[0]) for row in rows] == [START_MS + HOUR_MS * n for n in (1, 0, -1, -2, -3)]
    for row in rows:
        assert len(row) == width
        opened, high, low, close = (Decimal(value) for value in row[1:5])
        assert low <= min(opened, close) <= max(opened, close) <= high


def test_klines_end_now(desk: InProcess) -> None:
    """A query into the future shows no bar that has not begun, and the unfinished one closes at the present
    price.
    """
    rows = desk.rows(
        "market/kline",
        category="spot",
        symbol="BTCUSDT",
        interval=5,
        start=START_MS - HOUR_MS,
        end=START_MS + HOUR_MS,
    )
    assert int(rows[0][0]) == START_MS
    point = desk.house.venue.point(Category.SPOT, "BTCUSDT")
    assert abs(Decimal(rows[0][4]) / point.mark - 1) < Decimal("0.0005")


def test_risk_limits_are_fractions_and_paged(desk: InProcess) -> None:
    """One symbol gives its tiers, the first the lowest, margins as fractions; without one they come in
    pages.
    """
    tiers = desk.rows("market/risk-limit", category="linear", symbol="BTCUSDT")
    assert tiers[0]["isLowestRisk"] == 1
    assert Decimal(tiers[0]["initialMargin"]) * Decimal(tiers[0]["maxLeverage"]) == 1
    limits = [Decimal(tier["riskLimitValue"]) for tier in tiers]
    assert limits == sorted(limits)
    everything = desk.get("market/risk-limit", category="linear")["result"]
    assert {row["symbol"] for row in everything["list"]} >= {"BTCUSDT", "FIOUSDT"}


def test_price_limits_enclose_the_market(desk: InProcess) -> None:
    """The highest buy lies above the ask, the lowest sell below the bid."""
    limits = desk.get("market/price-limit", category="linear", symbol="BTCUSDT")["result"]
    point = desk.house.venue.point(Category.LINEAR, "BTCUSDT")
    assert point.bid is not None
    assert Decimal(limits["sellLmt"]) < point.bid < Decimal(limits["buyLmt"])


def test_a_delisting_is_announced(desk: InProcess) -> None:
    """Nothing before the script announces it; then deliveryTime and an announcement tell the same instant."""
    ask = {"locale": "en-US", "type": "delistings"}
    assert desk.rows("announcements/index", **ask) == []
    desk.desk.catch_up(START + timedelta(days=3, hours=3))
    found = desk.rows("announcements/index", **ask)
    item = desk.rows("market/instruments-info", category="linear", symbol="FIOUSDT")[0]
    assert [row["type"]["key"] for row in found] == ["delistings"]
    assert "FIOUSDT" in found[0]["title"]
    assert (
        int(item["deliveryTime"])
        == found[0]["endDateTimestamp"]
        == to_ms(START + timedelta(days=9, hours=10))
    )
    assert desk.rows("announcements/index", locale="en-US", type="new_crypto") == []


def test_maintenance_closes_the_venue_but_not_its_status(desk: InProcess) -> None:
    """In an announced window everything but time, status and announcements is 10016."""
    desk.house.setting.maintenance.append((START_MS + 1000, START_MS + 2000))
    assert desk.rows("system/status")[0]["state"] == "scheduled"
    desk.desk.catch_up(START + timedelta(seconds=1))
    assert desk.get("market/tickers", category="spot")["retCode"] == 10016
    assert desk.rows("system/status")[0]["state"] == "ongoing"
    assert desk.get("market/time")["retCode"] == 0
    desk.desk.catch_up(START + timedelta(seconds=2))
    assert desk.get("market/tickers", category="spot")["retCode"] == 0


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("market/tickers", {}),
        ("market/tickers", {"category": "futures"}),
        ("market/tickers", {"category": "linear", "symbol": "NOPEUSDT"}),
        ("market/orderbook", {"category": "linear"}),
        ("market/orderbook", {"category": "linear", "symbol": "BTCUSDT", "limit": "many"}),
        ("market/orderbook", {"category": "linear", "symbol": "BTCUSDT", "limit": "100000"}),
        ("market/kline", {"symbol": "BTCUSDT"}),
        ("market/kline", {"symbol": "BTCUSDT", "interval": "7"}),
        ("market/kline", {"symbol": "BTCUSDT", "interval": "5", "start": "2", "end": "1"}),
        ("market/funding/history", {"category": "spot", "symbol": "BTCUSDT"}),
        ("market/instruments-info", {"category": "linear", "cursor": "nonsense"}),
        ("announcements/index", {}),
    ],
)
def test_bad_questions_get_a_parameter_error(desk: InProcess, path: str, params: dict[str, str]) -> None:
    """Missing, unknown and absurd parameters are 10001 with a message, never a crash."""
    answer = desk.get(path, **params)
    assert answer["retCode"] == 10001, answer
    assert answer["retMsg"]
    assert answer["result"] == {}


def test_unknown_routes(desk: InProcess) -> None:
    """A path or method that does not exist is HTTP 404 with 10017."""
    for method, path in (
        ("GET", "/v5/market/nothing"),
        ("POST", "/v5/market/time"),
        ("GET", "/v5/order/create"),
    ):
        reply = desk.reply(method, path)
        assert (reply.response.status, reply.response.code) == (404, 10017)


def test_a_delivered_contract_has_no_ticker_and_no_leverage(desk: InProcess) -> None:
    """Asked for by its symbol it is as unknown as in the list of all; only the closed ones name it."""
    query = {"category": "linear", "symbol": "SOLUSDT"}
    desk.world("delist", symbol="SOLUSDT", at="2025-01-06T01:00:00Z")
    desk.wait(minutes=59)
    assert desk.rows("market/tickers", **query)
    desk.wait(minutes=1)
    assert desk.get("market/tickers", **query)["retCode"] == 10001
    assert "SOLUSDT" not in {row["symbol"] for row in desk.rows("market/tickers", category="linear")}
    leverage = desk.post("position/set-leverage", **query, buyLeverage="3", sellLeverage="3")
    assert leverage["retCode"] == 10001
    assert [row["status"] for row in desk.rows("market/instruments-info", **query, status="Closed")] == [
        "Closed"
    ]
    assert desk.rows("market/tickers", category="spot", symbol="SOLUSDT")
