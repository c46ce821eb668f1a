"""What it costs to know that all is well: a whole reconcile with a hundred open positions over HTTP, and the
start of a writer whose database remembers ten thousand orders.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from benchmarks.past import ORDERS, past
from benchmarks.table import Row
from fundarb import config
from fundarb.app.venues import venue_clock
from fundarb.app.writer import Writer, writing
from fundarb.clock import SystemClock
from fundarb.config import Settings
from fundarb.core.market import Book, Category
from fundarb.core.states import PositionState
from fundarb.engine.outcome import TradeResult
from fundarb.sandbox.options import ClockKind, SandboxOptions
from fundarb.sandbox.server import start_process
from tests.venue.toy import START, ToyFeed, coin, perp, spot

COINS = tuple(f"C{number:03d}" for number in range(100))
PRICE = Decimal(100)
PAST = 10_000
RUNS = 5
STARTS = 5
SETTINGS = """
[risk]
max_positions = 200
max_gross = "1000000"
[execution]
orders_per_minute = 600
"""


class Hundred(ToyFeed):
    """A market of a hundred coins whose prices stand still, with deep books."""

    def book(self, category: Category, symbol: str, at: datetime, depth: int) -> Book:
        """Spreads of two basis points."""
        self.gap, self.size = PRICE / 5000, Decimal(10_000)
        return super().book(category, symbol, at, depth)


def market(_start: datetime) -> Hundred:
    """The market that the sandbox shows."""
    steps = {"tick_size": Decimal("0.001")}
    feed = Hundred(
        listed=tuple(
            row for name in COINS for row in (spot(f"{name}USDT", **steps), perp(f"{name}USDT", **steps))
        ),
        prices={f"{name}USDT": PRICE for name in COINS},
        gap=PRICE / 5000,
        size=Decimal(10_000),
    )
    feed.coin_rules |= {name: coin(name, "0.9") for name in COINS}
    return feed


def run() -> Sequence[Row]:
    """The figures, against a sandbox in a process of its own."""
    options = SandboxOptions(
        market=market,
        port=0,
        balances={"USDT": Decimal(1_000_000)},
        clock=ClockKind.VIRTUAL,  # so that our own request budgets cost nothing while the hundred are opened
        start=START + timedelta(minutes=1),
    )
    running = start_process(options)
    try:
        with tempfile.TemporaryDirectory() as folder:
            settings = settings_of(running.url, Path(folder))
            with desk(settings) as writer:
                open_all(writer)
                writer.desk.clock.sleep(timedelta(hours=1))
                requests, seconds = reconciled(writer)
                remember(writer, PAST)
            starts = [start(settings) for _ in range(STARTS)]
    finally:
        running.stop()
    return [
        Row(name="reconcile with 100 open positions", figure=requests, unit="requests", target=12),
        Row(
            name="reconcile with 100 open positions",
            figure=seconds,
            unit="s",
            target=1,
            note=f"median of {RUNS}, over HTTP, an hour after the last open",
        ),
        Row(
            name=f"start-up recovery with {PAST:,} past intents",
            figure=statistics.median(starts),
            unit="s",
            target=1,
            note="lock to recovered, 100 open positions beside them; "
            f"median of {STARTS}, best {min(starts):.2f}",
        ),
    ]


def settings_of(url: str, home: Path) -> Settings:
    """Settings that let a hundred positions be opened."""
    (home / "fundarb.toml").write_text(SETTINGS, encoding="utf-8")
    flags = config.Flags(venue="sandbox", venue_url=url, mode="live", live=True)
    return config.load(flags, {"FUNDARB_HOME": str(home)}, cwd=home)


@contextmanager
def desk(settings: Settings) -> Iterator[Writer]:
    """A writer that has recovered."""
    clock = venue_clock(settings, SystemClock())
    with writing(settings, clock, role="command", lock_wait=timedelta()) as writer:
        yield writer


def open_all(writer: Writer) -> None:
    """One position in each coin."""
    for name in COINS:
        result = writer.trader.open(name, Decimal(100))
        if not isinstance(result, TradeResult) or result.position.state is not PositionState.HEDGED:
            raise TypeError(f"{name} was not opened: {result}")


def reconciled(writer: Writer) -> tuple[int, float]:
    """Requests and seconds of a whole walk."""
    writer.reconciler.run()
    counts, times = [], []
    for _ in range(RUNS):
        before, began = writer.exchange.requests_made, time.perf_counter()
        if not writer.reconciler.run().clean:
            raise TypeError("the walk found differences")
        times.append(time.perf_counter() - began)
        counts.append(writer.exchange.requests_made - before)
    return max(counts), statistics.median(times)


def remember(writer: Writer, count: int) -> None:
    """Closed positions with as many orders in all, a month ago."""
    store, at = writer.store, writer.desk.clock.now() - timedelta(days=30)
    with store.transaction():
        for number in range(count // ORDERS):
            past(store, number, at=at)


def start(settings: Settings) -> float:
    """Seconds from the lock to a writer that has recovered."""
    began = time.perf_counter()
    with desk(settings) as writer:
        if writer.found is None or not writer.found.clean:
            raise TypeError("the start found differences")
        return time.perf_counter() - began
