"""What the sandbox costs: fresh tickers of a large market, an order's round trip, and how the price of a
simulated day grows with symbols, positions and days. With BENCH_LONG=1 also the demo over 10, 30 and 90 days.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from benchmarks import bench_demo
from benchmarks.table import Row
from fundarb.core.instants import to_ms
from fundarb.core.market import Category
from fundarb.markets.synthetic import synthetic
from fundarb.sandbox.desk import Desk, Raw
from fundarb.sandbox.endpoints.market import all_tickers
from fundarb.sandbox.house import House
from fundarb.sandbox.options import ClockKind, SandboxOptions
from fundarb.sandbox.server import start_process

START = datetime(2026, 1, 5, tzinfo=UTC)
SYMBOLS = (100, 300, 600)
POSITIONS = (1, 10, 50)
DAYS = (10, 30, 90)
ROUNDS = 30
OPTIONS = SandboxOptions(
    market=partial(synthetic, 1),
    port=0,
    clock=ClockKind.VIRTUAL,
    start=START,
    balances={"USDT": Decimal(10_000_000)},
    run="bench",
    match_delay=timedelta(),
)


class Client:
    """One keep-alive connection that signs with venue time; nothing between us and the socket."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self._connection = http.client.HTTPConnection(where.hostname or "127.0.0.1", where.port, timeout=120)
        self._connection.connect()
        self.now = int(START.timestamp() * 1000)

    def ask(self, method: str, path: str, payload: str = "", *, signed: bool = False) -> bytes:
        """One request; the body of its answer."""
        headers = {}
        if signed:
            text = f"{self.now}demo5000{payload}"
            sign = hmac.new(b"demo", text.encode(), hashlib.sha256).hexdigest()
            headers = {"X-BAPI-API-KEY": "demo", "X-BAPI-TIMESTAMP": str(self.now), "X-BAPI-SIGN": sign,
                       "X-BAPI-RECV-WINDOW": "5000"}  # fmt: skip
        target = f"{path}?{payload}" if method == "GET" and payload else path
        body = payload if method == "POST" else None
        self._connection.request(method, target, body=body, headers=headers)
        return self._connection.getresponse().read()

    def step(self, duration: str) -> None:
        """Move the clock."""
        self.now = json.loads(self.ask("POST", "/sandbox/clock", json.dumps({"advance": duration})))["now"]

    def order(self, symbol: str, side: str, qty: str) -> None:
        """A perp market order that must be accepted."""
        order = {"category": "linear", "symbol": symbol, "side": side, "orderType": "Market", "qty": qty}
        answer = json.loads(self.ask("POST", "/v5/order/create", json.dumps(order), signed=True))
        if answer["retCode"]:
            raise RuntimeError(f"{symbol}: {answer}")


@contextmanager
def sandbox(pairs: int | None = None, **changes: Any) -> Iterator[Client]:
    """A sandbox in a process of its own, with the built-in market or one of that many pairs."""
    running = start_process(replace(OPTIONS, market=partial(synthetic, 1, pairs=pairs), **changes))
    try:
        yield Client(running.url)
    finally:
        running.stop()


def run() -> Sequence[Row]:
    """The figures."""
    rows = [*tickers(), *round_trips(), *growth()]
    return [*rows, *days()] if os.environ.get("BENCH_LONG") == "1" else rows


def typical(times: list[float]) -> float:
    """The median in milliseconds."""
    return statistics.median(times) * 1000


def timed(deed: Any) -> float:
    """Seconds of wall time."""
    begin = time.perf_counter()
    deed()
    return time.perf_counter() - begin


def tickers() -> list[Row]:
    """All perps of the largest market, asked for after every step of the clock. Making them anew, as for a
    client that asks now and then, is in ``growth``.
    """
    pairs = SYMBOLS[-1]
    with sandbox(pairs) as client:
        times = []
        for _ in range(ROUNDS):
            client.step("10s")
            times.append(timed(lambda: client.ask("GET", "/v5/market/tickers", "category=linear")))
    name = f"all tickers of {pairs} perps, fresh after a clock step"
    note = "one GET over a kept connection, after every step"
    return [Row(name=name, figure=typical(times), unit="ms", target=10, note=note)]


def round_trips() -> list[Row]:
    """Requests over a kept connection, answers read to the end."""
    with sandbox() as client:
        orders, reads, times = [], [], []
        query = "category=linear&symbol=BTCUSDT"
        for number in range(10 * ROUNDS):
            side = "Sell" if number % 2 else "Buy"
            orders.append(timed(lambda side=side: client.order("BTCUSDT", side, "0.01")))
            reads.append(timed(lambda: client.ask("GET", "/v5/position/list", query, signed=True)))
            times.append(timed(lambda: client.ask("GET", "/v5/market/time")))
            client.step("1s")
    return [
        Row(name="order round trip, signed", figure=typical(orders), unit="ms", target=2),
        Row(name="position/list, signed", figure=typical(reads), unit="ms"),
        Row(name="market/time", figure=typical(times), unit="ms"),
    ]


class Inside:
    """A sandbox without sockets, in this process: what it costs is our own CPU, whatever else runs here."""

    def __init__(self, pairs: int) -> None:
        self.desk = Desk(House(replace(OPTIONS, market=partial(synthetic, 1, pairs=pairs))))
        self.desk.catch_up()
        self.desk.house.look()

    def step(self, **span: float) -> None:
        """Move the clock."""
        self.desk.catch_up(self.desk.house.venue.now + timedelta(**span))

    def ask(self, method: str, path: str, payload: str) -> Any:
        """One signed request; its result."""
        stamp = str(to_ms(self.desk.house.venue.now)).encode()
        text = stamp + b"demo5000" + payload.encode()
        headers = {
            b"x-bapi-api-key": b"demo", b"x-bapi-timestamp": stamp, b"x-bapi-recv-window": b"5000",
            b"x-bapi-sign": hmac.new(b"demo", text, hashlib.sha256).hexdigest().encode(),
        }  # fmt: skip
        sent = payload.encode()
        query, body = (sent, b"") if method == "GET" else (b"", sent)
        raw = Raw(method, path, query=query, headers=headers, body=body, address="127.0.0.1")
        answer = json.loads(self.desk.handle(raw).response.body)
        if answer["retCode"]:
            raise RuntimeError(f"{path}: {answer}")
        return answer["result"]


def spent(deed: Callable[[], object], rounds: int) -> float:
    """The median of CPU milliseconds."""
    times = []
    for _ in range(rounds):
        begin = time.process_time()
        deed()
        times.append(time.process_time() - begin)
    return typical(times)


def growth() -> list[Row]:
    """CPU by the number of symbols and of positions."""
    rows = []
    for pairs in SYMBOLS:
        inside = Inside(pairs)
        house = inside.desk.house

        def fresh(inside: Inside = inside, house: House = house) -> None:
            inside.desk.catch_up(house.venue.now + timedelta(seconds=10))
            all_tickers(house, Category.LINEAR)

        def hour(inside: Inside = inside) -> None:
            inside.step(hours=1)

        rows.append(Row(name=f"CPU of all tickers, {pairs} perps", figure=spent(fresh, ROUNDS), unit="ms"))
        rows.append(Row(name=f"CPU of a step of an hour, {pairs} pairs", figure=spent(hour, 8), unit="ms"))
    for count in POSITIONS:
        inside = Inside(SYMBOLS[0])
        for symbol, qty in shorts(inside, count):
            order = {
                "category": "linear",
                "symbol": symbol,
                "side": "Sell",
                "orderType": "Market",
                "qty": qty,
            }
            inside.ask("POST", "/v5/order/create", json.dumps(order))
            inside.step(milliseconds=1)

        def day(inside: Inside = inside) -> None:
            for _ in range(24):
                inside.step(hours=1)
                inside.ask("GET", "/v5/position/list", "category=linear&settleCoin=USDT&limit=200")
                inside.ask("GET", "/v5/account/wallet-balance", "accountType=UNIFIED")

        rows.append(
            Row(
                name=f"CPU of a day of 24 steps and 48 reads, {count} positions",
                figure=spent(day, 3),
                unit="ms",
            )
        )
    return rows


def shorts(inside: Inside, count: int) -> list[tuple[str, str]]:
    """So many perps, with a quantity that is worth about 500 USDT."""
    rows = {}
    for path in ("instruments-info", "tickers"):
        found = inside.ask("GET", f"/v5/market/{path}", "category=linear&limit=1000")["list"]
        rows[path] = {row["symbol"]: row for row in found}
    chosen = []
    for symbol, item in list(rows["instruments-info"].items())[:count]:
        step = Decimal(item["lotSizeFilter"]["qtyStep"])
        steps = int(500 / Decimal(rows["tickers"][symbol]["lastPrice"]) / step) + 1
        chosen.append((symbol, format(step * steps, "f")))
    return chosen


def days() -> list[Row]:
    """The demo over growing spans: wall time, CPU and memory of both sides."""
    promises = {30: 60.0, 90: 180.0}
    return [
        replace(row, name=row.name if row.unit == "s" and row.target else f"{row.name} ({count} days)")
        for count in DAYS
        for row in bench_demo.measured(count, seconds=promises.get(count))
    ]
