"""What a scan of 600 pairs costs: CPU of parsing, pairing and ranking, beside plain JSON decoding of the same
bodies and beside ccxt's unified calls over a server on this machine; and the peak memory of a whole scan
process.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from benchmarks.table import Row
from fundarb.clock import SystemClock
from fundarb.core.opportunity import Terms, rank
from fundarb.core.pairing import pair_market
from fundarb.exchange.recorded import RecordedMarket
from scripts.demo_market import envelope, ms
from tests.factories import Market, MarketServer, coins

PAIRS = 600
RUNS = 7
SCAN = """
import re, resource, sys
from fundarb.cli.main import main
code = main(["--venue", "sandbox", "--venue-url", sys.argv[1], "scan", "--json"])
try:  # Linux hands a parent's ru_maxrss down to its child: there the memory's own high-water mark is asked
    peak = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]
except OSError:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak, file=sys.stderr)
sys.exit(code)
"""


def run() -> Sequence[Row]:
    """The figures, side by side."""
    market = Market(coins(PAIRS), SystemClock().now())
    texts = bodies(market)
    recorded = RecordedMarket(texts)
    instruments = recorded.instruments()

    def whole() -> None:
        snapshot = recorded.snapshot()
        pairing = pair_market(instruments, snapshot)
        terms = Terms(
            now=snapshot.as_of,
            notional=Decimal(1000),
            horizon=timedelta(days=30),
            leverage=Decimal(2),
            buffer=Decimal("0.2"),
            min_net_apr=Decimal("0.05"),
        )
        found = rank(pairing, snapshot, terms=terms)
        if len(found) != PAIRS:
            raise AssertionError(f"{len(found)} of {PAIRS} pairs ranked")

    plain = cpu(lambda: [json.loads(texts[name]) for name in ("tickers-spot", "tickers-linear")])
    ours = cpu(whole)
    server = MarketServer(market)
    with server.running() as url:
        theirs = unified(url)
        memory, wall = scan_process(url)
    return [
        Row(name="json.loads of both tickers", figure=plain * 1000, unit="ms CPU"),
        Row(
            name=f"parse + pair + rank {PAIRS} pairs",
            figure=ours * 1000,
            unit="ms CPU",
            target=60,
            ratio=ours / plain,
            note="over json.loads alone",
        ),
        Row(
            name="ccxt fetch_tickers ×2 + fetch_funding_rates",
            figure=theirs * 1000,
            unit="ms CPU",
            ratio=theirs / ours,
            note="over ours; parses only, pairs and ranks nothing",
        ),
        Row(name="scan process, peak memory", figure=memory, unit="MB", target=120),
        Row(name="scan process, cold, wall", figure=wall, unit="s", note="instruments read from the server"),
    ]


def bodies(market: Market) -> dict[str, str]:
    """The four bulk answers as the wire has them."""
    found: dict[str, dict[str, Any]] = {
        "instruments-spot": market.instruments("spot"),
        "instruments-linear": market.instruments("linear"),
        "tickers-spot": market.tickers("spot"),
        "tickers-linear": market.tickers("linear"),
    }
    stamped = {name: envelope(result) | {"time": ms(market.now)} for name, result in found.items()}
    return {name: json.dumps(answer) for name, answer in stamped.items()} | {"books": "{}"}


def cpu(work: Callable[[], object]) -> float:
    """CPU time of a run in the middle of several, in seconds."""
    return _middle(work, time.process_time)


def unified(url: str) -> float:
    """CPU of this thread in ccxt's unified bulk calls, markets loaded before."""
    import ccxt

    options = {"fetchMarkets": {"types": ["spot", "linear"]}, "defaultType": "swap"}
    exchange = ccxt.bybit({"enableRateLimit": False, "options": options})
    exchange.urls["api"] = dict.fromkeys(("spot", "futures", "v2", "public", "private"), url)
    exchange.has["fetchCurrencies"] = False
    exchange.load_markets()

    def work() -> None:
        exchange.fetch_tickers(params={"type": "spot"})
        exchange.fetch_tickers(params={"category": "linear"})
        exchange.fetch_funding_rates()

    return _middle(work, time.thread_time)  # the server runs in other threads of this process


def _middle(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """How much of a clock a run takes, in the middle of several."""
    found = []
    for _ in range(RUNS):
        started = clock()
        work()
        found.append(clock() - started)
    return statistics.median(found)


def scan_process(url: str) -> tuple[float, float]:
    """Peak resident memory in MB and wall time in seconds of ``fundarb scan`` in a process of its own."""
    with tempfile.TemporaryDirectory() as home:
        environ = {**os.environ, "FUNDARB_HOME": home, "PYTHONPATH": os.getcwd()}  # noqa: PTH109 - for a child
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", SCAN, url], check=True, env=environ, capture_output=True, text=True
        )
        took = time.perf_counter() - started
    unit = 1024 if sys.platform == "linux" else 1024 * 1024
    return int(done.stderr.split()[-1]) / unit, took
