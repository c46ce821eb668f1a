"""Recorded bars and funding out of parquet files, as plain arrays; one stretch without gaps per series.

The folder has the layout and the column names of the recorded data set (``klines_spot_5m.parquet`` …,
``ts`` = open of the bar in UTC milliseconds). Reading needs pyarrow, the optional extra ``data``. Nothing
here interprets a price.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from fundarb.errors import ConfigError, Problem

_BAR_COLUMNS = ("ts", "open", "high", "low", "close", "volume")
_STEPS = {"5m": 300_000, "1h": 3_600_000, "4h": 14_400_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Bars of equal length without a gap. ``nodes`` has one value more than there are bars: opens, then the
    last close.
    """

    step_ms: int
    first_ms: int
    nodes: array[float]
    highs: array[float]
    lows: array[float]
    volumes: array[float]

    @property
    def last_ms(self) -> int:
        """Where the last bar ends."""
        return self.first_ms + self.step_ms * len(self.highs)

    def covers(self, ms: int) -> bool:
        """Whether an instant lies inside."""
        return self.first_ms <= ms < self.last_ms

    def place(self, ms: int) -> tuple[int, float]:
        """Number of the bar at an instant and the fraction of it that has passed; held at the ends."""
        inside = min(max(ms, self.first_ms), self.last_ms - 1)
        bar, rest = divmod(inside - self.first_ms, self.step_ms)
        return bar, rest / self.step_ms


@dataclass(frozen=True, slots=True)
class Settled:
    """A recorded settlement; ``mark`` is None where the recording has none."""

    ms: int
    rate: Decimal
    hours: int
    mark: Decimal | None


@dataclass(frozen=True, slots=True)
class Filters:
    """Steps of an instrument."""

    tick: Decimal
    step: Decimal
    least: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Tape:
    """Everything recorded of one coin; without ``spot`` its spot has to be constructed."""

    symbol: str
    perp: Series
    spot: Series | None
    marks: Series | None
    funding: tuple[Settled, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Steps of both markets; risk tiers (upper limit, maintenance rate, largest leverage), lowest first."""

    perp: Filters
    spot: Filters
    tiers: tuple[tuple[Decimal, Decimal, Decimal], ...]


class Folder:
    """A folder of recorded data of one exchange."""

    def __init__(self, path: Path) -> None:
        """``ConfigError`` if there is none, or if pyarrow is not installed."""
        nested = path / "bybit"
        self.path = nested if nested.is_dir() else path
        if not (self.path / "funding.parquet").is_file():
            raise ConfigError(
                Problem(
                    "--replay",
                    f"{path} holds no recording (funding.parquet is missing)",
                    "give the folder of the data",
                )
            )
        try:
            from pyarrow import parquet
        except ImportError as error:
            raise ConfigError(
                Problem("--replay", "reading a recording needs pyarrow", "pip install 'fundarb[data]'")
            ) from error
        self._parquet: Any = parquet

    def columns(
        self, name: str, columns: Sequence[str], *, symbols: Iterable[str] = ()
    ) -> dict[str, list[Any]]:
        """Columns of the rows of some symbols (all without ``symbols``) in the order of the file."""
        path = self.path / f"{name}.parquet"
        wanted = list(symbols)
        if not path.is_file():
            return {column: [] for column in columns}
        filters = [("symbol", "in", wanted)] if wanted else None
        try:
            table = self._parquet.read_table(path, columns=list(columns), filters=filters)
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(Problem("--replay", f"{path} cannot be read: {error}")) from error
        return {column: table[column].to_pylist() for column in columns}

    def rows(self, name: str, columns: Sequence[str], *, symbols: Iterable[str] = ()) -> list[dict[str, Any]]:
        """The same as rows, for small files."""
        found = self.columns(name, columns, symbols=symbols)
        return [dict(zip(columns, values, strict=True)) for values in zip(*found.values(), strict=True)]

    def series(self, name: str, symbols: Iterable[str], *, at_ms: int, interval: str) -> dict[str, Series]:
        """Per symbol the stretch of bars around an instant; symbols without one are missing."""
        step = _STEPS[interval]
        columns = self.columns(name, (*_BAR_COLUMNS, "symbol", "interval"), symbols=symbols)
        names, intervals = columns["symbol"], columns["interval"]
        found: dict[str, Series] = {}
        first = 0
        for last in range(1, len(names) + 1):
            if last < len(names) and names[last] == names[first] and intervals[last] == intervals[first]:
                continue
            if intervals[first] == interval:
                stretch = _stretch(columns["ts"], first, last=last, at_ms=at_ms, step=step)
                if stretch is not None:
                    found[names[first]] = _series(columns, stretch, step=step)
            first = last
        return found

    def funding(self, symbols: Iterable[str]) -> dict[str, list[Settled]]:
        """Recorded settlements per symbol, oldest first."""
        columns = ("symbol", "ts", "rate", "interval_hours", "mark_price")
        found: dict[str, list[Settled]] = {}
        for row in self.rows("funding", columns, symbols=symbols):
            mark = row["mark_price"]
            settled = Settled(
                row["ts"],
                exact(row["rate"]),
                max(1, round(row["interval_hours"])),
                exact(mark) if mark is not None else None,
            )
            found.setdefault(row["symbol"], []).append(settled)
        return found

    def filters(self) -> dict[tuple[str, str], Filters]:
        """Steps by market ("spot", "perp") and the exchange's own symbol."""
        columns = ("market", "market_ticker", "tick_size", "lot_size", "min_order_size")
        return {
            (row["market"], row["market_ticker"]): Filters(
                exact(row["tick_size"]), exact(row["lot_size"]), exact(row["min_order_size"])
            )
            for row in self.rows("instruments", columns)
            if row["tick_size"] and row["lot_size"]
        }

    def covered(self, name: str) -> tuple[int, int] | None:
        """First and last bar of a file in milliseconds, over all symbols; None without any."""
        times = self.columns(name, ("ts",))["ts"]
        return (min(times), max(times)) if times else None

    def tiers(self, symbols: Iterable[str]) -> Mapping[str, list[tuple[Decimal, Decimal, Decimal]]]:
        """Risk tiers per symbol, lowest first: upper limit, maintenance rate, largest leverage."""
        columns = ("symbol", "tier", "max_notional", "maintenance_margin_rate", "max_leverage")
        found: dict[str, list[tuple[Decimal, Decimal, Decimal]]] = {}
        for row in sorted(
            self.rows("risk_tiers", columns, symbols=symbols), key=lambda item: int(item["tier"])
        ):
            tier = (
                exact(row["max_notional"]),
                exact(row["maintenance_margin_rate"]),
                exact(row["max_leverage"]),
            )
            found.setdefault(row["symbol"], []).append(tier)
        return found


def exact(value: float) -> Decimal:
    """The exchange's own decimal of a recorded double: its shortest text."""
    return Decimal(repr(value)).normalize() + 0


def _stretch(times: list[int], first: int, *, last: int, at_ms: int, step: int) -> tuple[int, int] | None:
    """The rows ``[from, to)`` around an instant that follow each other without a gap; None if it lies in
    none.
    """
    begin = first
    for number in range(first + 1, last + 1):
        if number < last and times[number] == times[number - 1] + step:
            continue
        if times[begin] <= at_ms < times[number - 1] + step:
            return begin, number
        begin = number
    return None


def _series(columns: dict[str, list[Any]], stretch: tuple[int, int], *, step: int) -> Series:
    rows = slice(*stretch)
    nodes = array("d", columns["open"][rows])
    nodes.append(columns["close"][stretch[1] - 1])
    return Series(
        step_ms=step,
        first_ms=columns["ts"][stretch[0]],
        nodes=nodes,
        highs=array("d", columns["high"][rows]),
        lows=array("d", columns["low"][rows]),
        volumes=array("d", [volume or 0.0 for volume in columns["volume"][rows]]),
    )
