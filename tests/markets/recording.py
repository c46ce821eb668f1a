"""A small recording in the layout of the recorded data set, for tests of what replays it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from fundarb.core.instants import to_ms

START = datetime(2025, 5, 1, tzinfo=UTC)


def bars(
    symbol: str, first: int, *, count: int, step: int, interval: str, price: float
) -> list[dict[str, Any]]:
    """Bars that rise by one a bar, with a range of two."""
    return [
        {
            "symbol": symbol,
            "ts": first + n * step,
            "open": price + n,
            "high": price + n + 1.5,
            "low": price + n - 0.5,
            "close": price + n + 1,
            "volume": 10.0,
            "interval": interval,
        }
        for n in range(count)
    ]


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    """One parquet file."""
    parquet.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet", compression="zstd")


def record(folder: Path) -> Path:
    """Two hours of AAA at five minutes (its spot half as long) and ten hours of BBB without spot, hourly."""
    first, five, hour = to_ms(START), 300_000, 3_600_000
    write(folder, "klines_perp_5m", bars("AAAUSDT", first, count=24, step=five, interval="5m", price=100.0))
    write(folder, "klines_spot_5m", bars("AAAUSDT", first, count=12, step=five, interval="5m", price=99.95))
    write(
        folder,
        "klines_perp",
        [
            *bars("BBBUSDT", first, count=4, step=hour, interval="1h", price=50.0),
            *bars("BBBUSDT", first + 6 * hour, count=4, step=hour, interval="1h", price=60.0),
        ],
    )
    write(folder, "klines_mark", bars("AAAUSDT", first, count=2, step=hour, interval="1h", price=100.0))
    funding = [
        {"symbol": symbol, "ts": first + n * hour, "rate": rate, "interval_hours": 1.0, "mark_price": mark}
        for symbol in ("AAAUSDT", "BBBUSDT")
        for n, rate, mark in (
            (-1, 0.0001, None),
            (0, -0.00015, 100.01),
            (1, 0.00023456, 112.25),
            (2, 0.0003, None),
        )
    ]
    write(folder, "funding", funding)
    instruments = [
        {
            "market": market,
            "symbol": symbol,
            "market_ticker": symbol,
            "tick_size": 0.01,
            "lot_size": lot,
            "min_order_size": lot,
        }
        for market, lot in (("spot", 0.001), ("perp", 0.1))
        for symbol in ("AAAUSDT", "BBBUSDT")
    ]
    write(folder, "instruments", instruments)
    tiers = [
        {
            "symbol": "AAAUSDT",
            "tier": n,
            "max_notional": 1000.0 * n,
            "maintenance_margin_rate": 0.01 * n,
            "max_leverage": 50.0 / n,
        }
        for n in (1, 2)
    ]
    write(folder, "risk_tiers", tiers)
    return folder
