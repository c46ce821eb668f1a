"""What an order costs: our path (intent committed, gate, wire, answer committed) over a bare ccxt create on
the same loopback, beside this disk's own fsync; how soon the second leg follows the first; and a whole
``open`` from a cold shell.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.past import ORDERS as PAST_ORDERS
from benchmarks.past import past
from benchmarks.table import Row
from fundarb import config
from fundarb.app.sandboxes import SandboxPlan, sandbox_options
from fundarb.app.writer import Writer, writing
from fundarb.clock import SystemClock, VirtualClock
from fundarb.core.orders import Leg, Purpose, Side
from fundarb.core.reasons import Refused
from fundarb.core.records import IntentRecord
from fundarb.engine.guard import Draft
from fundarb.engine.lifecycle import settle
from fundarb.engine.orders import OrderDesk
from fundarb.engine.outcome import TradeResult
from fundarb.sandbox.server import start_process
from fundarb.store.database import Store

PROGRAM = "import sys; from fundarb.cli.main import main; sys.exit(main())"
LIVE = ("--mode", "live", "--live")
BURSTS, BURST = 12, 4
PAUSE = 1.0
"""Seconds between two bursts, so that our own budget (half of the venue's ten orders a second) is no part of
the figure.
"""

CREATE = "/v5/order/create"
OPENS = 8
COLD = ("BTC", "SOL", "XRP", "SUI", "DOGE")
"""A coin for each cold open: what one account holds already another database would take for a stranger's."""

COMMIT_BYTES = 5 * 4120
"""What one of these commits appends to the log: five pages, each with its header."""

COMMITS = 2
"""Durable commits of one order until its answer is known: the intent before the wire, the answer after it."""
PAST_POSITIONS = 500
"""What lies behind the writer whose start is measured: closed positions, each with its orders."""

PAST_STEP = timedelta(hours=18)
"""From one of those positions to the next; the last one ends a while ago."""

SETTINGS = """
[execution]
orders_per_minute = 600
[risk]
max_per_coin = "5000"
"""


def run() -> Sequence[Row]:
    """The figures, against a sandbox in a process of its own, without its settable delay and its request
    limits.
    """
    options = replace(sandbox_options(SandboxPlan(port=0, seed=1)), match_delay=timedelta(), limits=False)
    running = start_process(options)
    try:
        colds = [cold_open(running.url, coin) for coin in COLD]  # first: a new database opens beside nothing
        with tempfile.TemporaryDirectory() as folder:
            with desk(running.url, Path(folder)) as writer:
                result = writer.trader.open("ETH", Decimal(400))
                if not isinstance(result, TradeResult):
                    raise TypeError(f"the open was refused: {result}")
                theirs, mine = side_by_side(writer, running.url, result)
                bare, ours = typical(theirs), typical(mine)
                over = typical([mine - their for mine, their in zip(mine, theirs, strict=True)])
                fsync = fsync_cost(Path(folder), COMMIT_BYTES)
                between = [gap(writer, running.url) for _ in range(OPENS)]
                reactions = [reaction(writer, running.url) for _ in range(OPENS)]
            starts = [recovery(running.url, Path(folder)) for _ in range(5)]
    finally:
        running.stop()
    return [
        Row(
            name="bare ccxt create, loopback",
            figure=bare * 1000,
            unit="ms",
            note=f"median, in turns with ours, best {min(theirs) * 1000:.1f}",
        ),
        Row(
            name="fsync of what one commit writes, on this disk",
            figure=fsync * 1000,
            unit="ms",
            note="median",
        ),
        Row(
            name="our order path",
            figure=ours * 1000,
            unit="ms",
            ratio=ours / bare,
            note=f"over the bare create, median, best {min(mine) * 1000:.1f}",
        ),
        Row(
            name="our order path less the bare create",
            figure=over * 1000,
            unit="ms",
            target=2 + COMMITS * fsync * 1000,
            note=f"median of the pairs; target 2 ms + {COMMITS} commits × fsync",
        ),
        Row(
            name="first leg's last fill to second leg's request",
            figure=statistics.median(between),
            unit="ms",
            target=10,
            note=f"by the venue's clock, median of {OPENS} opens, {spread(between)}",
        ),
        Row(
            name=f"start-up recovery with {PAST_POSITIONS * PAST_ORDERS:,} past intents",
            figure=statistics.median(starts),
            unit="s",
            target=1,
            note="from the lock to a clean reconcile, one position open",
        ),
        Row(
            name="known shortfall to its top-up's request",
            figure=statistics.median(reactions),
            unit="ms",
            target=20,
            note=f"from the last fill that fell short, median of {OPENS}, {spread(reactions)}",
        ),
        Row(
            name="open, from a cold shell",
            figure=statistics.median(colds),
            unit="s",
            target=1.5,
            note="new home, new database, no cache: import to exit; "
            f"median of {len(COLD)}, best {min(colds):.2f}",
        ),
    ]


@contextmanager
def desk(url: str, home: Path) -> Iterator[Writer]:
    """A writer on the sandbox with a database of its own."""
    (home / "fundarb.toml").write_text(SETTINGS, encoding="utf-8")
    with writing(settings_of(url, home), SystemClock(), role="command", lock_wait=timedelta()) as writer:
        yield writer


def settings_of(url: str, home: Path) -> config.Settings:
    """What is needed to trade on the sandbox."""
    flags = config.Flags(venue="sandbox", venue_url=url, mode="live", live=True)
    return config.load(flags, {"FUNDARB_HOME": str(home)}, cwd=home)


def timed(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def typical(figures: Sequence[float]) -> float:
    """The median without the first few, in which everything is loaded."""
    return statistics.median(figures[5:])


def spread(figures: Sequence[float]) -> str:
    """What the median does not say."""
    return f"best {min(figures):.0f}, worst {max(figures):.0f}"


def side_by_side(writer: Writer, url: str, result: TradeResult) -> tuple[list[float], list[float]]:
    """Seconds of bare creates and of ours: the same order, which finds nobody at its price, in turns."""
    price = (result.perp.average_price or Decimal(0)) * Decimal("1.02")
    limit = price.quantize(Decimal("0.1"))
    bare, orders = bare_client(url, str(limit)), OrderDesk(writer.desk)
    draft = Draft(
        position=result.position,
        leg=Leg.PERP,
        purpose=Purpose.ENTER,
        side=Side.SELL,
        quantity=Decimal("0.01"),
        limit_price=limit,
        reduce_only=False,
    )
    theirs, ours = [], []
    for burst in range(BURSTS):
        writer.desk.market.refresh()
        for number in range(BURST):
            theirs.append(timed(partial(bare, f"bare-{burst}-{number}")))
            ours.append(our_create(writer, orders, draft))
        time.sleep(PAUSE)
    settle(writer.desk, result.position.position_id)
    return theirs, ours


def bare_client(url: str, price: str) -> Callable[[str], object]:
    """A create by plain ccxt as it comes, with its own HTTP and no intent."""
    import ccxt

    client = ccxt.bybit({"apiKey": "demo", "secret": "demo", "enableRateLimit": False})
    client.urls["api"] = dict.fromkeys(("spot", "futures", "v2", "public", "private"), url)
    order = {
        "category": "linear",
        "symbol": "ETHUSDT",
        "side": "Sell",
        "orderType": "Limit",
        "qty": "0.01",
        "price": price,
        "timeInForce": "IOC",
        "positionIdx": 0,
    }
    return lambda name: client.private_post_v5_order_create({**order, "orderLinkId": name})


def our_create(writer: Writer, orders: OrderDesk, draft: Draft) -> float:
    """Intent, gate, wire and answer; how the order ends is read outside the measured time."""
    begin = time.perf_counter()
    intent = orders._write(draft)  # noqa: SLF001 - `place` without its end
    if isinstance(intent, Refused):
        raise TypeError(f"refused: {intent}")
    answer = writer.exchange.create(intent.request, signed_at=intent.signed_at)
    intent = orders._record(intent, answer)  # noqa: SLF001 - as above
    took = time.perf_counter() - begin
    orders.follow(intent, writer.desk.clock.monotonic() + timedelta(seconds=5))
    return took


def fsync_cost(folder: Path, size: int) -> float:
    """What making so many bytes durable costs here."""
    data = os.urandom(size)
    with (folder / "fsync").open("wb", buffering=0) as file:

        def durable() -> None:
            file.write(data)
            os.fsync(file.fileno())

        return typical([timed(durable) for _ in range(80)])


def gap(writer: Writer, url: str) -> float:
    """Milliseconds, by the venue's clock, from the last fill of the first leg to the request of the
    second.
    """
    first, second = added(writer, 60)
    return between_orders(url, first, second)


def reaction(writer: Writer, url: str) -> float:
    """Milliseconds, by the venue's clock, from the last fill of a second leg that traded half to the request
    of its top-up.
    """
    half = {"match": {"path": CREATE, "nth": 2}, "do": {"verb": "fill", "fractions": ["0.5"]}}
    fault = urllib.request.Request(  # noqa: S310 - our own sandbox
        f"{url}/sandbox/faults", json.dumps(half).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(fault).close()  # noqa: S310 - as above
    second, top_up = added(writer, 120)
    if top_up.purpose is not Purpose.TOP_UP:
        raise TypeError(f"nothing was topped up: {top_up}")
    return between_orders(url, second, top_up)


def added(writer: Writer, notional: int) -> tuple[IntentRecord, IntentRecord]:
    """The last two orders of an addition."""
    time.sleep(PAUSE)
    before = writer.trader.held()[0].contracts
    result = writer.trader.open("ETH", Decimal(notional), add=True)
    if not isinstance(result, TradeResult) or result.position.contracts <= before:
        raise TypeError(f"nothing was added: {result}")
    first, second = result.orders[-2:]
    return first, second


def between_orders(url: str, first: IntentRecord, second: IntentRecord) -> float:
    """Milliseconds at the venue from the last fill of one order to the request of the next."""
    with urllib.request.urlopen(f"{url}/sandbox/truth") as answer:  # noqa: S310 - our own sandbox
        truth: dict[str, Any] = json.load(answer)
    filled = max(int(row["execTime"]) for row in truth["executions"] if row["orderLinkId"] == first.link_id)
    sent = (row for row in truth["requests"] if row["path"] == CREATE)
    return float(next(row["time"] for row in sent if row["link_id"] == second.link_id) - filled)


def recovery(url: str, home: Path) -> float:
    """Seconds that a new writer of a database with a long past takes to its first decision; the past is
    written at the first call.
    """
    settings = settings_of(url, home)
    long_ago = VirtualClock(SystemClock().now() - PAST_POSITIONS * PAST_STEP)
    with Store.open(settings.db_url, clock=long_ago) as store:
        if not store.executions.of_position(f"p-{0:010d}"):
            with store.transaction():
                for number in range(PAST_POSITIONS):
                    long_ago.sleep(PAST_STEP)
                    past(store, number, at=long_ago.now())
    begin = time.perf_counter()
    with writing(settings, SystemClock(), role="command", lock_wait=timedelta()) as writer:
        took = time.perf_counter() - begin
        if writer.found is None or any(not item.note_only for item in writer.found.mismatches):
            raise TypeError(f"the start found something: {writer.found}")
    return took


def cold_open(url: str, coin: str) -> float:
    """Wall time of ``fundarb open`` in a new process with a new home; closed again untimed, for the next new
    database would open nothing beside what this one leaves.
    """
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "FUNDARB_HOME": home, "PYTHONPATH": os.getcwd()}  # noqa: PTH109 - for a child
        place = ("--venue", "sandbox", "--venue-url", url, *LIVE)

        def run(*words: str) -> None:
            command = [sys.executable, "-c", PROGRAM, *place, *words, "--yes"]
            subprocess.run(command, check=True, env=environ, stdout=subprocess.DEVNULL, cwd=home)

        took = timed(lambda: run("open", coin, "--notional", "500"))
        run("close", coin)
        return took
