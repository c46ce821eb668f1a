"""What the market has done (public trades, open interest, bars with the world's jumps) and what coins are."""

from datetime import timedelta
from decimal import Decimal

import pytest

from fundarb.core.instants import from_ms, to_ms
from tests.sandbox.harness import START, START_MS, InProcess, Json

BTC: Json = {"category": "linear", "symbol": "BTCUSDT"}
HOUR_MS = 3_600_000


def test_public_trades_are_the_markets_and_our_own(desk: InProcess) -> None:
    """Newest first, on tick and step; the newest price is the ticker's last; a fill of ours is among them
    with the taker's side; asking again gives the same.
    """
    rows = desk.rows("market/recent-trade", **BTC)
    assert rows[0]["price"] == desk.rows("market/tickers", **BTC)[0]["lastPrice"]
    times = [int(row["time"]) for row in rows]
    assert times == sorted(times, reverse=True)
    assert times[0] <= START_MS
    assert len({row["execId"] for row in rows}) == len(rows)
    assert all(Decimal(row["price"]) % Decimal("0.1") == 0 and Decimal(row["size"]) > 0 for row in rows)
    assert {row["side"] for row in rows} == {"Buy", "Sell"}
    assert desk.rows("market/recent-trade", **BTC) == rows
    desk.short(qty="0.02")
    desk.wait(milliseconds=1)
    own = desk.rows("execution/list", **BTC)[0]
    newest = desk.rows("market/recent-trade", **BTC, limit=1)[0]
    assert [newest[name] for name in ("execId", "price", "size", "side")] == [
        own[name] for name in ("execId", "execPrice", "execQty", "side")
    ]


def test_a_frozen_symbol_has_no_new_trades(desk: InProcess) -> None:
    """While the world holds quotes still the last trade is the one before."""
    desk.world("freeze", symbol="BTCUSDT", on=True)
    before = desk.rows("market/recent-trade", **BTC)
    desk.wait(hours=1)
    assert desk.rows("market/recent-trade", **BTC) == before


@pytest.mark.parametrize("interval", ["W", "M"])
def test_weeks_and_months_are_the_calendars(desk: InProcess, interval: str) -> None:
    """Weeks begin on Mondays, months on their first day, in UTC; each is the days in it, the running one as
    far as it has come.
    """
    desk.wait(days=37, hours=5)
    bars = desk.rows("market/kline", **BTC, interval=interval, limit=4)
    starts = [from_ms(int(bar[0])) for bar in bars]
    assert {(at.hour, at.minute) for at in starts} == {(0, 0)}
    if interval == "W":
        assert [(at.weekday(), at.day) for at in starts] == [(0, 10), (0, 3), (0, 27), (0, 20)]
    else:
        assert [(at.day, at.month, at.year) for at in starts] == [
            (1, 2, 2025), (1, 1, 2025), (1, 12, 2024), (1, 11, 2024)]  # fmt: skip
    days = desk.rows("market/kline", **BTC, interval="D", limit=120)
    for number, bar in enumerate(bars):
        until = int(bars[number - 1][0]) if number else START_MS * 2
        inside = [day for day in days if int(bar[0]) <= int(day[0]) < until]
        assert (bar[1], bar[4]) == (inside[-1][1], inside[0][4])
        assert Decimal(bar[2]) == max(Decimal(day[2]) for day in inside)
        assert Decimal(bar[3]) == min(Decimal(day[3]) for day in inside)
        assert Decimal(bar[5]) == sum(Decimal(day[5]) for day in inside)
    window = desk.rows("market/kline", **BTC, interval=interval, start=bars[3][0], end=bars[1][0])
    assert [bar[0] for bar in window] == [bar[0] for bar in bars[1:]]
    assert desk.rows("market/kline", **BTC, interval=interval, start=int(bars[3][0]) + 1, limit=3) == bars[1:]


@pytest.mark.parametrize(
    "path", ["kline", "mark-price-kline", "index-price-kline", "premium-index-price-kline"]
)
@pytest.mark.parametrize(("interval", "minutes"), [("1", 1), ("60", 60), ("D", 1440)])
def test_bars_from_a_start_on(desk: InProcess, path: str, interval: str, minutes: int) -> None:
    """With ``start`` alone the answer is the first bars from the one on in which it lies, so that pages can
    go forward; with ``end`` it is the last ones; each bar is the same on every page.
    """
    desk.wait(minutes=17)
    step = minutes * 60_000
    ask = {**BTC, "interval": interval}
    whole = desk.rows(f"market/{path}", **ask, limit=8)
    first = int(whole[-1][0])

    def rows(**window: int) -> list[list[str]]:
        return desk.rows(f"market/{path}", **ask, **window)

    assert rows(start=first, limit=3) == whole[-3:]
    assert rows(start=first + step - 1, limit=3) == whole[-3:]
    assert rows(start=first + 3 * step, limit=3) == whole[-6:-3]
    assert rows(start=first + 6 * step, limit=3) == whole[:2]
    assert rows(start=first + 8 * step, limit=3) == []
    assert rows(end=first + 4 * step, limit=3) == whole[-5:-2]
    assert rows(start=first, end=first + 4 * step, limit=3) == whole[-5:-2]


def test_a_page_of_the_past_is_full(desk: InProcess) -> None:
    """A thousand bars are a thousand, wherever they end."""
    rows = desk.rows("market/kline", **BTC, interval="1", start=START_MS - 90_000_000, limit=1000)
    assert (len(rows), int(rows[-1][0])) == (1000, START_MS - 90_000_000)
    assert Decimal(rows[0][5]) > 0


def test_a_thousand_months_are_four_years(desk: InProcess) -> None:
    """Months go back as far as four years do, and no further."""
    rows = desk.rows("market/kline", **BTC, interval="M", limit=1000)
    assert 48 <= len(rows) <= 50


@pytest.mark.parametrize("kind", ["kline", "mark-price-kline", "index-price-kline"])
def test_a_jump_shows_in_bars_and_trades(desk: InProcess, kind: str) -> None:
    """Bars and trades from before a jump stay as they were, the bar of the jump spans it, later ones are
    moved; the ticker's day encloses its last price; a premium bar does not care.
    """
    desk.wait(minutes=90)
    trades = desk.rows("market/recent-trade", **BTC, limit=5)
    bars = desk.rows(f"market/{kind}", **BTC, interval="60", limit=2)
    premium = desk.rows("market/premium-index-price-kline", **BTC, interval="60", limit=2)
    desk.world("jump", symbol="BTCUSDT", factor="1.35")
    desk.wait(minutes=90)
    after = desk.rows(f"market/{kind}", **BTC, interval="60", limit=4)
    assert after[3][:5] == bars[1][:5]
    opened, high, low, close = (Decimal(value) for value in after[2][1:5])
    assert close / opened == pytest.approx(Decimal("1.35"), rel=Decimal("0.05"))
    assert low <= opened < close <= high
    last = Decimal(desk.rows("market/tickers", **BTC)[0]["lastPrice"])
    assert Decimal(after[0][4]) == pytest.approx(last, rel=Decimal("0.01"))
    row = desk.rows("market/tickers", **BTC)[0]
    assert Decimal(row["lowPrice24h"]) <= last <= Decimal(row["highPrice24h"])
    found = desk.rows("market/recent-trade", **BTC, limit=1000)
    later = [Decimal(item["price"]) for item in found if int(item["time"]) >= START_MS + 90 * 60_000]
    assert later[-1] / Decimal(trades[-1]["price"]) == pytest.approx(Decimal("1.35"), rel=Decimal("0.02"))
    assert desk.rows("market/premium-index-price-kline", **BTC, interval="60", limit=4)[3] == premium[1]


@pytest.mark.parametrize("there", ["1.5", "0.5"])
@pytest.mark.parametrize("category", ["linear", "spot"])
def test_a_spike_inside_one_bar_shows_in_every_bar(desk: InProcess, category: str, there: str) -> None:
    """What was shown and traded for twenty seconds stands in the bars of every length, and the ticker's day
    remembers it until it is over. Long bars reach as far as the minute of the spike, and no further.
    """
    symbol: Json = {"category": category, "symbol": "BTCUSDT"}
    kinds = ("kline", "mark-price-kline", "index-price-kline") if category == "linear" else ("kline",)
    desk.wait(minutes=100)
    desk.world("jump", symbol="BTCUSDT", factor=there)
    shown = desk.rows("market/tickers", **symbol)[0]
    desk.wait(seconds=20)
    trades = [Decimal(row["price"]) for row in desk.rows("market/recent-trade", **symbol, limit=60)]
    desk.world("jump", symbol="BTCUSDT", factor=str(round(1 / Decimal(there), 6)))
    desk.wait(minutes=7)
    up = Decimal(there) > 1
    furthest = max if up else min
    for kind, field in zip(kinds, ("lastPrice", "markPrice", "indexPrice"), strict=False):
        found = {}
        for interval in ("1", "3", "5", "15", "60", "240", "D", "W"):
            rows = desk.rows(f"market/{kind}", **symbol, interval=interval, limit=10)
            found[interval] = furthest(Decimal(row[2 if up else 3]) for row in rows)
            assert all(Decimal(row[3]) <= min(Decimal(row[1]), Decimal(row[4])) for row in rows)
            assert all(Decimal(row[2]) >= max(Decimal(row[1]), Decimal(row[4])) for row in rows)
        assert set(found.values()) == {found["1"]}, kind
        assert found["1"] == pytest.approx(Decimal(shown[field]), rel=Decimal("0.003"))
    day = "highPrice24h" if up else "lowPrice24h"
    for hours in (0, 9, 14):
        desk.wait(hours=hours)
        told = Decimal(desk.rows("market/tickers", **symbol)[0][day])
        assert furthest([told, *trades]) == told
        assert told == pytest.approx(Decimal(shown["lastPrice"]), rel=Decimal("0.005"))
    desk.wait(hours=3)
    told = Decimal(desk.rows("market/tickers", **symbol)[0][day])
    assert told == pytest.approx(Decimal(shown["lastPrice"]) / Decimal(there), rel=Decimal("0.1"))


def test_a_jump_at_the_end_of_a_bar_leaves_it_as_it_was(desk: InProcess) -> None:
    """A bar that has ended stays; the next one opens at the price before the jump and spans it."""
    desk.wait(minutes=30)
    before = desk.rows("market/kline", **BTC, interval="15", limit=2)[1]
    desk.world("jump", symbol="BTCUSDT", factor="1.2")
    desk.wait(minutes=1)
    running, ended = desk.rows("market/kline", **BTC, interval="15", limit=2)
    assert ended == before
    assert running[1] == ended[4]
    assert Decimal(running[4]) / Decimal(running[1]) == pytest.approx(Decimal("1.2"), rel=Decimal("0.01"))


def test_the_day_behind_a_jump_moves_on_with_time(desk: InProcess) -> None:
    """A day after a jump the price of yesterday and the day's range are those of the new level."""
    desk.wait(minutes=10)
    desk.world("jump", symbol="BTCUSDT", factor="2")
    old = Decimal(desk.rows("market/tickers", **BTC)[0]["prevPrice24h"])
    desk.wait(hours=23)
    row = desk.rows("market/tickers", **BTC)[0]
    assert Decimal(row["prevPrice24h"]) == pytest.approx(old, rel=Decimal("0.1"))
    assert Decimal(row["lowPrice24h"]) == pytest.approx(old, rel=Decimal("0.1"))
    desk.wait(hours=3)
    row = desk.rows("market/tickers", **BTC)[0]
    for name in ("prevPrice24h", "lowPrice24h", "highPrice24h"):
        assert Decimal(row[name]) == pytest.approx(2 * old, rel=Decimal("0.1"))


def test_a_jump_is_part_of_a_snapshot(desk: InProcess) -> None:
    """After a restore the bars are the same."""
    desk.wait(minutes=30)
    desk.world("jump", symbol="BTCUSDT", factor="0.5")
    desk.wait(hours=2)
    before = desk.rows("market/kline", **BTC, interval="15", limit=20)
    saved = desk.house.snapshot()
    desk.world("jump", symbol="BTCUSDT", factor="3")
    desk.desk.restore(saved)
    assert desk.rows("market/kline", **BTC, interval="15", limit=20) == before


def test_open_interest_over_time(desk: InProcess) -> None:
    """Rows at the full intervals that have passed, newest first; windows narrow; spot and odd intervals are
    10001.
    """
    desk.wait(minutes=90)
    rows = desk.rows("market/open-interest", **BTC, intervalTime="1h", limit=3)
    assert [int(row["timestamp"]) for row in rows] == [START_MS + n * HOUR_MS for n in (1, 0, -1)]
    assert all(Decimal(row["openInterest"]) > 0 for row in rows)
    start = to_ms(START - timedelta(hours=3))
    window = desk.rows("market/open-interest", **BTC, intervalTime="30min", startTime=start, endTime=START_MS)
    assert len(window) == 7
    for wrong in ({"intervalTime": "2h"}, {}, {"intervalTime": "1h", "startTime": 2, "endTime": 1}):
        assert desk.get("market/open-interest", **BTC, **wrong)["retCode"] == 10001
    assert (
        desk.get("market/open-interest", category="spot", symbol="BTCUSDT", intervalTime="1h")["retCode"]
        == 10001
    )
    assert desk.rows("market/open-interest", category="inverse", symbol="BTCUSD") == []


def test_coins(desk: InProcess) -> None:
    """Every coin of the spot market with a network that takes nothing in or out; one by name; an unknown one
    is an empty list.
    """
    rows = desk.get("asset/coin/query-info")["result"]["rows"]
    assert {row["coin"] for row in rows} >= {"BTC", "ETH", "USDT"}
    chain = next(row for row in rows if row["coin"] == "BTC")["chains"][0]
    assert (chain["chainDeposit"], chain["chainWithdraw"]) == ("0", "0")
    assert [row["coin"] for row in desk.get("asset/coin/query-info", coin="ETH")["result"]["rows"]] == ["ETH"]
    assert desk.get("asset/coin/query-info", coin="NO")["result"]["rows"] == []


def test_borrowing_and_collateral_by_coin(desk: InProcess) -> None:
    """Both answer without a key, with ``retExtInfo`` as the string that the exchange sends; tiers rise from
    zero and the last has no end; the world's changes show; an unknown coin is 10001.
    """
    reply = desk.reply("GET", "/v5/spot-margin-trade/data", query="currency=BTC", signed={})
    assert reply.response.status == 200
    answer = desk.get("spot-margin-trade/data", currency="BTC")
    row = answer["result"]["vipCoinList"][0]["list"][0]
    assert (answer["retExtInfo"], row["currency"], row["borrowable"]) == ("{}", "BTC", True)
    answer = desk.get("spot-margin-trade/collateral")
    assert answer["retExtInfo"] == "{}"
    for coin in answer["result"]["list"]:
        tiers = coin["collateralRatioList"]
        assert (tiers[0]["minQty"], tiers[-1]["maxQty"]) == ("0", "") if tiers else True
        assert [tier["maxQty"] for tier in tiers[:-1]] == [tier["minQty"] for tier in tiers[1:]]
    desk.world("collateral", coin="BTC", on=True, ratio="0.5")
    found = desk.rows("spot-margin-trade/collateral", currency="BTC")[0]["collateralRatioList"]
    assert found == [{"minQty": "0", "maxQty": "", "collateralRatio": "0.5"}]
    assert desk.get("spot-margin-trade/collateral", currency="NO")["retCode"] == 10001
