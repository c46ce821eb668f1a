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

from benchmarks.table import Row
from fundarb import config
from fundarb.app.sandboxes import SandboxPlan, sandbox_options
from fundarb.app.writer import Writer, writing
from fundarb.clock import SystemClock
from fundarb.core.orders import Leg, Purpose, Side
from fundarb.core.reasons import Refused
from fundarb.engine.guard import Draft
from fundarb.engine.lifecycle import settle
from fundarb.engine.orders import OrderDesk
from fundarb.engine.outcome import TradeResult
from fundarb.sandbox.server import start_process

PROGRAM = "import sys; from fundarb.cli.main import main; sys.exit(main())"
LIVE = ("--mode", "live", "--live")
BURSTS, BURST = 12, 4
PAUSE = 1.0
"""Seconds between two bursts, so that our own budget (half of the venue's ten orders a second) is no part of
the figure.
"""

OPENS = 8
COLD = ("BTC", "SOL", "XRP", "SUI", "DOGE")
"""A coin for each cold open: what one account holds already another database would take for a stranger's."""

COMMIT_BYTES = 5 * 4120
"""What one of these commits appends to the log: five pages, each with its header."""

COMMITS = 2
"""Durable commits of one order until its answer is known: the intent before the wire, the answer after it."""
SETTINGS = "[execution]\norders_per_minute = 600\n"


def run() -> Sequence[Row]:
    """The figures, against a sandbox in a process of its own, without its settable delay and its request
    limits.
    """
    options = replace(sandbox_options(SandboxPlan(port=0, seed=1)), match_delay=timedelta(), limits=False)
    running = start_process(options)
    try:
        with tempfile.TemporaryDirectory() as folder, desk(running.url, Path(folder)) as writer:
            result = writer.trader.open("ETH", Decimal(400))
            if not isinstance(result, TradeResult):
                raise TypeError(f"the open was refused: {result}")
            theirs, mine = side_by_side(writer, running.url, result)
            bare, ours = typical(theirs), typical(mine)
            over = typical([mine - their for mine, their in zip(mine, theirs, strict=True)])
            fsync = fsync_cost(Path(folder), COMMIT_BYTES)
            between = [gap(writer, running.url) for _ in range(OPENS)]
        cold = min(cold_open(running.url, coin) for coin in COLD)
    finally:
        running.stop()
    return [
        Row(
            name="bare ccxt create, loopback",
            figure=bare * 1000,
            unit="ms",
            note="lower quartile, in turns with ours",
        ),
        Row(
            name="fsync of what one commit writes, on this disk",
            figure=fsync * 1000,
            unit="ms",
            note="lower quartile",
        ),
        Row(
            name="our order path",
            figure=ours * 1000,
            unit="ms",
            ratio=ours / bare,
            note="over the bare create",
        ),
        Row(
            name="our order path less the bare create",
            figure=over * 1000,
            unit="ms",
            target=2 + COMMITS * fsync * 1000,
            note=f"target 2 ms + {COMMITS} commits × fsync",
        ),
        Row(
            name="first leg's last fill to second leg's request",
            figure=statistics.quantiles(between, n=4)[0],
            unit="ms",
            target=10,
            note=f"by the venue's clock, lower quartile of {OPENS} opens, worst {max(between):.0f}",
        ),
        Row(
            name="open, from a cold shell",
            figure=cold,
            unit="s",
            target=1.5,
            note="new home, new database, no cache: import to exit",
        ),
    ]


@contextmanager
def desk(url: str, home: Path) -> Iterator[Writer]:
    """A writer on the sandbox with a database of its own."""
    (home / "fundarb.toml").write_text(SETTINGS, encoding="utf-8")
    flags = config.Flags(venue="sandbox", venue_url=url, mode="live", live=True)
    settings = config.load(flags, {"FUNDARB_HOME": str(home)}, cwd=home)
    with writing(settings, SystemClock(), role="command", lock_wait=timedelta()) as writer:
        yield writer


def timed(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def typical(figures: Sequence[float]) -> float:
    """The lower quartile without the first few: what it costs while nobody else wants the machine."""
    return statistics.quantiles(figures[5:], n=4)[0]


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
    time.sleep(PAUSE)
    before = writer.trader.held()[0].contracts
    result = writer.trader.open("ETH", Decimal(60), add=True)
    if not isinstance(result, TradeResult) or result.position.contracts <= before:
        raise TypeError(f"nothing was added: {result}")
    first, second = result.orders[-2:]
    with urllib.request.urlopen(f"{url}/sandbox/truth") as answer:  # noqa: S310 - our own sandbox
        truth: dict[str, Any] = json.load(answer)
    filled = max(int(row["execTime"]) for row in truth["executions"] if row["orderLinkId"] == first.link_id)
    asked = next(
        row["time"]
        for row in truth["requests"]
        if row["path"] == "/v5/order/create" and row["link_id"] == second.link_id
    )
    return float(asked - filled)


def cold_open(url: str, coin: str) -> float:
    """Wall time of ``fundarb open`` in a new process with a new home."""
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "FUNDARB_HOME": home, "PYTHONPATH": os.getcwd()}  # noqa: PTH109 - for a child
        place = ("--venue", "sandbox", "--venue-url", url, *LIVE)
        command = [sys.executable, "-c", PROGRAM, *place, "open", coin, "--notional", "500", "--yes"]
        return timed(
            lambda: subprocess.run(command, check=True, env=environ, stdout=subprocess.DEVNULL, cwd=home)
        )
