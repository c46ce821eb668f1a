"""A whole scan over answers that the real venue once gave, through real ccxt and HTTP on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fundarb.clock import SystemClock
from scripts.demo_market import Row, ms
from tests.cli.conftest import Serve, Shell
from tests.factories import Fault, Reply

FILES = {
    ("instruments-info", "spot"): "market-instruments-info.spot-btc-eth-2023",
    ("instruments-info", "linear"): "market-instruments-info.linear-btc-eth-2023",
    ("tickers", "spot"): "market-tickers.spot-2023",
    ("tickers", "linear"): "market-tickers.linear-2024",
    ("orderbook", "spot"): "market-orderbook.spot-2024-no-seq",
    ("orderbook", "linear"): "market-orderbook.linear",
}

Read = Callable[[str, str], Any]


@pytest.fixture
def recorded(shared_dir: Path) -> Read:
    """One recorded answer by the end of its path and its category."""

    def read(path_end: str, category: str) -> Any:
        name = FILES[path_end, category]
        return json.loads((shared_dir / "fixtures" / "bybit" / "rest" / f"{name}.json").read_text("utf-8"))

    return read


def replayed(read: Read, change: Callable[[str, str, Any], None] = lambda *_: None) -> Fault:
    """A server's answers replaced by recorded ones, changed by ``change(path_end, category, answer)``."""

    def fault(path: str, query: Mapping[str, str], answer: Row) -> Reply:
        key = (path.rpartition("/")[2], query.get("category", ""))
        if key not in FILES or query.get("status"):
            return None
        found = read(*key)
        change(*key, found)
        return json.dumps(found).encode()

    return fault


def test_the_recorded_answers_as_they_are_are_refused_with_every_reason(
    shell: Shell, serve: Serve, recorded: Read
) -> None:
    """Halves of different years, a perp at three times the spot price, a ticker without interval: said."""
    place = serve(fault=replayed(recorded))
    found = shell.json(*place.words, "scan", "--all")
    rows = {row["perp_symbol"]: row for row in found["data"]["opportunities"]}
    assert set(rows) == {"BTCUSDT", "ETHUSDT"}
    assert found["data"]["counts"] == {"listed": 2, "paired": 0, "eligible": 0}
    assert [reason["code"] for reason in rows["BTCUSDT"]["reasons"]] == ["look_alike"]
    assert [reason["code"] for reason in rows["ETHUSDT"]["reasons"]] == ["no_quote"]
    assert {warning["code"] for warning in found["warnings"]} == {"clock", "unreadable"}
    assert any("no fundingIntervalHour" in warning["message"] for warning in found["warnings"])


def test_the_recorded_rows_of_one_moment_make_an_opportunity(
    shell: Shell, serve: Serve, recorded: Read
) -> None:
    """With today's time, today's interval field and one price level, every figure is that of the rows."""
    now = SystemClock().now()
    factor = Decimal("68641.25") / Decimal("20522.865")

    def today(path_end: str, category: str, answer: Any) -> None:
        answer["time"] = int(ms(now))
        if path_end != "tickers":
            return
        (row,) = answer["result"]["list"]
        if category == "linear":
            row |= {"fundingIntervalHour": "8", "nextFundingTime": str(ms(now + timedelta(hours=3)))}
        else:
            row |= {key: str((Decimal(row[key]) * factor).quantize(Decimal("0.01"))) for key in PRICES}

    place = serve(fault=replayed(recorded, today))
    (row,) = shell.json(*place.words, "scan", "--symbol", "BTC")["data"]["opportunities"]
    assert (row["funding_rate"], row["interval_hours"], row["multiplier"]) == ("0.0001", 8, "1")
    assert (row["expected_rate"], row["forecast"], row["gross_apr"]) == ("0.00005", "naive", "0.05475")
    assert row["turnover_24h"] == "7940401914.5"
    assert row["open_interest_notional"] == "4781864596.87"
    assert Decimal(row["spread_perp"]) == pytest.approx(
        Decimal("0.1") / Decimal("68641.25"), rel=Decimal("1e-6")
    )
    assert row["depth_notional"] == "2951.57"
    assert [reason["code"] for reason in row["reasons"]] == ["net_apr_below_minimum"]


PRICES = ("bid1Price", "ask1Price", "lastPrice", "usdIndexPrice")
