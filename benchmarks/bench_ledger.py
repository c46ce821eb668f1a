"""What the books cost: a posting in a batch and in a durable transaction of its own beside this disk's
fsync, a P&L over a long history, how much memory that takes, and how large a database is after a year.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from benchmarks.bench_cli import PROGRAM, once
from benchmarks.books import HOUR, START, D, fills, plan, settlement
from benchmarks.table import Row
from benchmarks.year import lived as a_year
from fundarb.clock import VirtualClock
from fundarb.core.account import Transaction
from fundarb.core.market import Category
from fundarb.core.orders import Execution, Leg
from fundarb.core.records import PositionRecord
from fundarb.core.states import PositionTrigger
from fundarb.core.transactions import Share
from fundarb.engine import equity_points
from fundarb.engine.equity import EquityPoint, book_value
from fundarb.engine.report import Reporter
from fundarb.engine.report_rows import By, ReportQuery
from fundarb.store.database import Store
from fundarb.store.files import url_of

POSITIONS, SETTLEMENTS = 1000, 80
FILLS = 8
_TOGETHER = 5
"""So many positions' facts in one transaction: about as many as the collector books in one."""
SINGLE = 300
HOURLY = 100 * 24
MINUTES = timedelta(minutes=55)
SPAN = {"since": START + 2400 * HOUR, "until": START + 6000 * HOUR}
"""The middle of the history: its edges cut days and positions."""
EVERYTHING = ReportQuery()
LISTS = ("funding", "trades", "tax", "ledger", "equity")
LOOK = """
import sys
from benchmarks.bench_ledger import listed, looked
spent = listed(sys.argv[1], sys.argv[2]) if sys.argv[2:] else looked(sys.argv[1])
try:  # Linux hands a parent's ru_maxrss down to its child: there the memory's own high-water mark is asked
    with open("/proc/self/status") as status:
        most = next(line.split()[1] for line in status if line.startswith("VmHWM"))
except OSError:
    import resource
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(spent, most)
"""


def run() -> Sequence[Row]:
    """The figures, on a database in the folder for temporary files."""
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small.sqlite3", Path(folder) / "large.sqlite3"
        lived(small, POSITIONS, settlements=8)
        postings, spent = lived(large, POSITIONS, settlements=SETTLEMENTS)
        facts = POSITIONS * (SETTLEMENTS + FILLS)
        alone, fsync = one_by_one(Path(folder) / "single.sqlite3"), fsync_cost(Path(folder))
        times = {
            (by, what): looked(str(large), ReportQuery(by=by, **edges))
            for what, edges in (("", {}), (" --since --until", SPAN))
            for by in (By.POSITION, By.DAY)
        }
        whole = {form: commanded(large, form) for form in ("table", "json")}
        lists = {kind: alone_with(large, kind) for kind in LISTS}
        memory = [alone_with(path)[1] for path in (small, large)]
        grown = [size for _, size in a_year(Path(folder) / "year.sqlite3", days=365)]
    return [
        Row(
            name="a posting, in batches",
            figure=spent / postings * 1e6,
            unit="µs",
            target=50,
            note=f"a posting is one entry: {postings / spent:,.0f}/s; {facts / spent:,.0f} facts/s with "
            f"their raw rows; {_TOGETHER * facts // POSITIONS} facts a transaction",
        ),
        Row(
            name="a posting in its own durable transaction",
            figure=alone * 1e3,
            unit="ms",
            target=1,
            note=f"a fact of two entries: {1 / alone:,.0f} transactions/s; this disk's fsync of two pages: "
            f"{fsync * 1e3:.2f} ms",
            ratio=alone / fsync,
        ),
        *(
            Row(
                name=f"report pnl --by {by.value}{what}",
                figure=spent * 1e3,
                unit="ms",
                target=500,
                note=f"{postings:,} ledger rows, points of the equity curve as a daemon keeps them",
            )
            for (by, what), spent in times.items()
        ),
        *(
            Row(
                name=f"fundarb report pnl --format {form}",
                figure=spent,
                unit="s",
                note="the command: a fresh process, the same ledger, a venue that does not answer at once",
            )
            for form, spent in whole.items()
        ),
        *(
            Row(
                name=f"report {kind}",
                figure=spent * 1e3,
                unit="ms",
                note=f"the same {postings:,} ledger rows; all rows of the report in memory at once: "
                f"{most / 1024:.0f} MB",
            )
            for kind, (spent, most) in lists.items()
        ),
        Row(
            name="memory of report pnl, long history",
            figure=memory[1] / 1024,
            unit="MB",
            target=1.1 * memory[0] / 1024,
            ratio=memory[1] / memory[0],
            note=f"ratio over the same positions with a tenth of the history ({memory[0] / 1024:.0f} MB)",
        ),
        Row(
            name="database after a daemon's year",
            figure=grown[-1] / 1e6,
            unit="MB",
            target=100,
            note=f"30 days: {grown[0] / 1e6:.1f} MB, then each "
            + " ".join(f"+{(two - one) / 1e6:.1f}" for one, two in pairwise(grown[:-1])),
        ),
    ]


# ------------------------------------------------------------------------------------------------ the books


def lived(path: Path, positions: int, *, settlements: int) -> tuple[int, float]:
    """A database of closed positions; how many entries their ledger has, and the seconds that posting
    took.
    """
    clock = VirtualClock(START)
    spent = 0.0
    with Store.open(url_of(path), clock=clock) as store:
        for first in range(0, positions, _TOGETHER):
            numbers = range(first, min(first + _TOGETHER, positions))
            held = {number: _closed(store, number, clock=clock) for number in numbers}
            rows = {number: [settlement(number, count) for count in range(settlements)] for number in numbers}
            begun = time.perf_counter()
            with store.ledger.batch(row.key for each in rows.values() for row in each):
                for number, position in held.items():
                    _post(store, position, number=number, rows=rows[number])
            spent += time.perf_counter() - begun
            _measure(store, numbers)
        store.meta.set("ledger.opened", START.isoformat())
        for source in ("spot", "linear", "transactions"):
            store.meta.set(f"collect.{source}", (START + 20_000 * HOUR).isoformat())
        return store.ledger.count(), spent


def _closed(store: Store, number: int, *, clock: VirtualClock) -> PositionRecord:
    """A position that was opened and closed, its facts not booked yet."""
    position = store.positions.add(plan(number))
    for trigger in (PositionTrigger.SENT, PositionTrigger.BALANCED, PositionTrigger.FLAT):
        store.positions.advance(position.position_id, trigger)
        clock.sleep(HOUR)
    return position


def _post(store: Store, position: PositionRecord, *, number: int, rows: Sequence[Transaction]) -> None:
    """All facts of one position."""
    for opening in (True, False):
        for fill in fills(number, opening=opening):
            store.executions.add(fill, position_id=position.position_id, leg=_leg(fill))
            store.ledger.post_execution(fill, position=position, leg=_leg(fill), mid=D(60_000))
    share = Share(position, D("-0.02"))
    for row in rows:
        store.ledger.post_transaction(row, share=share)


def _measure(store: Store, numbers: range) -> None:
    """The points of the equity curve while these positions came and went, as many as a daemon keeps: one a
    day, and of the last hundred days one an hour.
    """
    hours = range(8 * numbers.start, 8 * numbers.stop)
    each = 1 if 8 * POSITIONS - hours.start <= HOURLY else 24
    equity, last = book_value(store.ledger.read.sums()), store.ledger.read.last_id()
    with store.transaction():
        for hour in hours:
            if hour % each == 0:
                point = EquityPoint(
                    at=START + hour * HOUR + MINUTES, equity=equity, unrealised=D(0), booked_until=last
                )
                equity_points.keep(store, point)


def _leg(fill: Execution) -> Leg:
    return Leg.SPOT if fill.category is Category.SPOT else Leg.PERP


def one_by_one(path: Path) -> float:
    """Seconds for one fact in a transaction of its own, in the middle of the field."""
    with Store.open(url_of(path), clock=VirtualClock(START)) as store:
        share = Share(store.positions.add(plan(1)), D("-0.02"))
        found = []
        for count in range(SINGLE):
            row = settlement(1, count)
            begun = time.perf_counter()
            store.ledger.post_transaction(row, share=share)
            found.append(time.perf_counter() - begun)
    return statistics.median(found)


def fsync_cost(folder: Path) -> float:
    """Seconds that this disk takes to append two pages durably, in the middle of the field."""
    found = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(100):
            begun = time.perf_counter()
            file.write(bytes(2 * 4120))
            os.fdatasync(file.fileno())
            found.append(time.perf_counter() - begun)
    return statistics.median(found)


# ------------------------------------------------------------------------------------------------- looking


def looked(path: str, query: ReportQuery = EVERYTHING) -> float:
    """Seconds for one P&L, in the middle of three."""
    clock = VirtualClock(START + 20_000 * HOUR)
    found = []
    with Store.open(url_of(Path(path)), clock=clock, readonly=True) as store:
        for _ in range(3):
            begun = time.perf_counter()
            Reporter(store, clock).pnl(query)
            found.append(time.perf_counter() - begun)
    return statistics.median(found)


def commanded(path: Path, form: str) -> float:
    """Seconds for the command in a process of its own, in the middle of three; nobody serves its venue."""
    words = ["--venue", "sandbox", "--venue-url", "http://127.0.0.1:9", "--db", url_of(path)]
    command = [sys.executable, "-c", PROGRAM, *words, "report", "pnl", "--format", form]
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "FUNDARB_HOME": home}
        return statistics.median(once(command, environ) for _ in range(3))


def listed(path: str, kind: str) -> float:
    """Seconds for one report that lists facts."""
    clock = VirtualClock(START + 20_000 * HOUR)
    with Store.open(url_of(Path(path)), clock=clock, readonly=True) as store:
        begun = time.perf_counter()
        getattr(Reporter(store, clock), kind)(ReportQuery())
        return time.perf_counter() - begun


def alone_with(path: Path, *kind: str) -> tuple[float, int]:
    """Seconds for a P&L, or for the report of a ``kind``, in a process of its own, and the kilobytes that it
    needs at most.
    """
    command = [sys.executable, "-c", LOOK, str(path), *kind]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    spent, most = told.stdout.split()
    return float(spent), int(most)
