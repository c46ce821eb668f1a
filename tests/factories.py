"""Markets for tests: hundreds of pairs in Bybit's wire shapes, and a server on this machine that answers with
them.

The rows are those of ``scripts.demo_market``, whose keys are the real ones; only the numbers are drawn.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fundarb.clock import SystemClock
from scripts import demo_market
from scripts.demo_market import Coin, Row

_STEPS = ("0.01", "0.1", "1")
_INTERVALS = (8, 8, 8, 4, 4, 2, 1)


def coins(count: int, *, seed: int = 7) -> tuple[Coin, ...]:
    """So many pairs of very different size, rate and interval; every tenth contract carries a multiplier."""
    dice = random.Random(seed)
    found = []
    for number in range(count):
        name = f"{chr(65 + number % 26)}{chr(65 + number // 26 % 26)}{chr(65 + number // 676)}Q"
        price = Decimal(dice.randint(1000, 99_999)) / 10 ** dice.randint(1, 6)
        many = number % 10 == 0
        tick = Decimal(10) ** (price.adjusted() - 4)
        factor = 1000 if many else 1
        found.append(
            Coin(
                name=name,
                perp=f"1000{name}" if many else "",
                multiplier=factor,
                price=price,
                rate=Decimal(dice.randint(-400, 600)) / 100,
                hours=dice.choice(_INTERVALS),
                basis=Decimal(dice.randint(-200, 300)) / 10,
                half_spread=Decimal(dice.randint(2, 60)) / 10,
                top=dice.randint(200, 40_000),
                turnover=dice.randint(1, 900) * 1_000_000,
                spot_step=dice.choice(_STEPS) if price < 100 else "0.0001",
                perp_step="1" if price < 10 else "0.001",
                spot_tick=format(tick, "f"),
                perp_tick=format(tick * factor, "f"),
            )
        )
    return tuple(found)


@dataclass
class Market:
    """What a venue would say of these coins, by endpoint and category."""

    coins: tuple[Coin, ...]
    now: datetime
    dice: random.Random = field(default_factory=lambda: random.Random(11))

    def instruments(self, category: str) -> Row:
        """``instruments-info``."""
        if category == "spot":
            return listed("spot", map(demo_market.spot_instrument, self._spots()))
        return listed("linear", map(demo_market.linear_instrument, self._perps()))

    def tickers(self, category: str) -> Row:
        """``tickers``."""
        if category == "spot":
            return listed("spot", map(demo_market.spot_ticker, self._spots()))
        return listed("linear", (demo_market.linear_ticker(coin, self.now) for coin in self._perps()))

    def book(self, category: str, symbol: str) -> Row:
        """``orderbook``."""
        spot = category == "spot"
        for coin in self.coins:
            row = demo_market.spot_ticker(coin) if spot else demo_market.linear_ticker(coin, self.now)
            if row["symbol"] == symbol:
                tick = Decimal(coin.spot_tick if spot else coin.perp_tick)
                step = Decimal(coin.spot_step if spot else coin.perp_step)
                return demo_market.book(row, tick=tick, step=step, dice=self.dice)
        return {}

    def _spots(self) -> list[Coin]:
        return [coin for coin in self.coins if coin.spot]

    def _perps(self) -> list[Coin]:
        return [coin for coin in self.coins if coin.linear]


def listed(category: str, rows: Iterator[Row] | map[Row]) -> Row:
    """The result of a list endpoint."""
    return {"category": category, "list": list(rows), "nextPageCursor": ""}


Reply = bytes | None
"""What a fault says instead; None leaves the answer as it is."""

Fault = Callable[[str, Mapping[str, str], Row], Reply]


class MarketServer:
    """A public Bybit on this machine. ``skew`` moves its clock, ``fault`` may replace any answer."""

    def __init__(self, market: Market, *, skew: timedelta = timedelta(), fault: Fault | None = None) -> None:
        """Serve a market; ``requests`` collects (path, query)."""
        self.market = market
        self.skew = skew
        self.fault = fault
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.headers: list[dict[str, str]] = []
        self._clock = SystemClock()

    def now(self) -> datetime:
        """The server's clock."""
        return self._clock.now() + self.skew

    def result(self, path: str, query: Mapping[str, str]) -> Row | None:
        """The ``result`` for a request; None for an unknown one."""
        category = query.get("category", "")
        if path == "/v5/market/time":
            return {"timeSecond": "0", "timeNano": "0"}
        if path == "/v5/market/instruments-info":
            empty = category == "linear" and query.get("status") not in {None, "Trading"}
            return listed("linear", iter(())) if empty else self.market.instruments(category)
        if path == "/v5/market/tickers":
            return self.market.tickers(category)
        if path == "/v5/account/fee-rate":
            rows = self.market.tickers(category)["list"]
            taker = "0.0004" if category == "spot" else "0.0002"
            return listed(
                category,
                iter({"symbol": r["symbol"], "takerFeeRate": taker, "makerFeeRate": "0"} for r in rows),
            )
        if path == "/v5/market/orderbook":
            stamp = demo_market.ms(self.now())
            return self.market.book(category, query["symbol"]) | {"ts": stamp, "cts": stamp}
        return None

    def answer(self, path: str, query: Mapping[str, str]) -> bytes:
        """The body for a request."""
        result = self.result(path, query)
        found: Row = {
            "retCode": 0 if result is not None else 10017,
            "retMsg": "OK" if result is not None else "Route not found.",
            "result": result or {},
            "retExtInfo": {},
            "time": demo_market.ms(self.now()),
        }
        replaced = self.fault(path, query, found) if self.fault else None
        return json.dumps(found).encode() if replaced is None else replaced

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serve on a free port of the loopback address; yields the base address."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.reply(409, b'{"error": "the clock is real", "path": ""}')

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                outer.requests.append((parts.path, query))
                outer.headers.append(dict(self.headers.items()))
                self.reply(200, outer.answer(parts.path, query))

            def reply(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def small_market(**changes: Any) -> Market:
    """The coins of the packaged market at this moment; ``changes`` by coin name (``WIF={"rate": …}``)."""
    changed = tuple(
        replace(coin, **changes[coin.name]) if coin.name in changes else coin for coin in demo_market.COINS
    )
    return Market(changed, SystemClock().now())


def known(value: Decimal | None) -> Decimal:
    """A figure that must be known here."""
    assert value is not None
    return value
