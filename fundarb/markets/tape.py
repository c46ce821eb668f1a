"""Recorded bars and funding out of parquet files, as plain arrays; one stretch without gaps per series.

The folder has the layout and the column names of the recorded data set (``klines_spot_5m.parquet`` …,
``ts`` = open of the bar in UTC milliseconds). Reading needs pyarrow, the optional extra ``data``. Nothing
here interprets a price.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from fundarb.errors import ConfigError, Problem

_BAR_COLUMNS = ("ts", "open", "high", "low", "close", "volume")
_BATCH = 20_000
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

    def bar_at(self, ms: int) -> int:
        """Number of the bar at an instant, at the end one more than there are; held at the ends. Of it only
        the open is known yet.
        """
        return (min(max(ms, self.first_ms), self.last_ms) - self.first_ms) // self.step_ms

    def known(self, ms: int) -> float:
        """The last price known at an instant: the open of its bar, at the end the last close."""
        return self.nodes[self.bar_at(ms)]


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

    def batches(self, name: str, columns: Sequence[str]) -> Iterator[dict[str, list[Any]]]:
        """Columns of a file in the order of its rows, a bounded number of rows at a time; nothing if there is
        no such file.
        """
        path = self.path / f"{name}.parquet"
        if not path.is_file():
            return
        try:
            with self._parquet.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=_BATCH, columns=list(columns)):
                    yield {column: batch[column].to_pylist() for column in columns}
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(Problem("--replay", f"{path} cannot be read: {error}")) from error

    def rows(self, name: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The same row by row."""
        for batch in self.batches(name, columns):
            for values in zip(*(batch[column] for column in columns), strict=True):
                yield dict(zip(columns, values, strict=True))

    def series(self, name: str, symbols: Iterable[str], *, at_ms: int, interval: str) -> dict[str, Series]:
        """Per symbol (all without ``symbols``) the stretch of bars around an instant; symbols without one are
        missing.
        """
        wanted = frozenset(symbols)
        found: dict[str, Series] = {}
        stretch: _Stretch | None = None
        for batch in self.batches(name, (*_BAR_COLUMNS, "symbol", "interval")):
            bars = zip(*(batch[column] for column in _BAR_COLUMNS), strict=True)
            for symbol, length, bar in zip(batch["symbol"], batch["interval"], bars, strict=True):
                if length != interval or (wanted and symbol not in wanted):
                    continue
                if stretch is None or not stretch.continues(symbol, bar[0]):
                    _keep(found, stretch, at_ms=at_ms)
                    stretch = _Stretch(symbol, bar[0], step=_STEPS[interval])
                stretch.add(bar)
        _keep(found, stretch, at_ms=at_ms)
        return found

    def funding(self, symbols: Iterable[str]) -> dict[str, list[Settled]]:
        """Recorded settlements per symbol, oldest first."""
        columns = ("symbol", "ts", "rate", "interval_hours", "mark_price")
        wanted = frozenset(symbols)
        found: dict[str, list[Settled]] = {}
        for row in self.rows("funding", columns):
            if row["symbol"] not in wanted:
                continue
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
                exact(row["tick_size"]),
                exact(row["lot_size"]),
                exact(row["min_order_size"] or row["lot_size"]),
            )
            for row in self.rows("instruments", columns)
            if row["tick_size"] and row["lot_size"]
        }

    def covered(self, name: str) -> tuple[int, int] | None:
        """First and last bar of a file in milliseconds, over all symbols; None without any."""
        times = [
            time for batch in self.batches(name, ("ts",)) for time in (min(batch["ts"]), max(batch["ts"]))
        ]
        return (min(times), max(times)) if times else None

    def tiers(self, symbols: Iterable[str]) -> Mapping[str, list[tuple[Decimal, Decimal, Decimal]]]:
        """Risk tiers per symbol, lowest first: upper limit, maintenance rate, largest leverage."""
        columns = ("symbol", "tier", "max_notional", "maintenance_margin_rate", "max_leverage")
        wanted = frozenset(symbols)
        found: dict[str, list[tuple[Decimal, Decimal, Decimal]]] = {}
        for row in sorted(self.rows("risk_tiers", columns), key=lambda item: int(item["tier"])):
            if row["symbol"] not in wanted:
                continue
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


class _Stretch:
    """Bars of one symbol that follow each other without a gap, while a file is being read."""

    def __init__(self, symbol: str, first_ms: int, *, step: int) -> None:
        self.symbol = symbol
        self._first = first_ms
        self._step = step
        self._columns = tuple(array("d") for _ in range(5))

    def continues(self, symbol: str, ms: int) -> bool:
        """Whether a bar is the next one."""
        return symbol == self.symbol and ms == self._first + self._step * len(self._columns[0])

    def add(self, bar: tuple[Any, ...]) -> None:
        """One more bar: its open, high, low, close and volume (none for marks)."""
        for column, value in zip(self._columns, bar[1:], strict=True):
            column.append(value or 0.0)

    def series(self) -> Series:
        """What was read."""
        opens, highs, lows, closes, volumes = self._columns
        opens.append(closes[-1])
        return Series(
            step_ms=self._step, first_ms=self._first, nodes=opens, highs=highs, lows=lows, volumes=volumes
        )


def _keep(found: dict[str, Series], stretch: _Stretch | None, *, at_ms: int) -> None:
    """Keep a finished stretch if it lies around an instant."""
    if stretch is not None:
        series = stretch.series()
        if series.covers(at_ms):
            found[stretch.symbol] = series
