"""The whole program on a sandbox: real command lines, real ccxt, real HTTP, real signatures, a virtual clock.

The sandbox runs in a thread and shows the toy market; each command line is a session of its own in this
process, so that only the first pays for its imports. Waiting moves the sandbox's clock and costs nothing.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from typer.testing import CliRunner

from fundarb.cli.main import cli
from fundarb.cli.session import Session
from fundarb.clock import Clock, SystemClock
from fundarb.core.market import Book, Category
from fundarb.core.orders import parse_link_id
from fundarb.core.states import PositionState
from fundarb.sandbox import server
from fundarb.sandbox.options import ClockKind, SandboxOptions
from fundarb.store.database import Store
from fundarb.store.files import url_of
from fundarb.venue.feed import Point
from tests.venue.toy import START, ToyFeed, coin, perp, spot

D = Decimal
MINUTE = timedelta(minutes=1)
CREATE = "/v5/order/create"
LIVE = ("--mode", "live", "--live")
LOT = D("0.0001")
"""One lot of the toy market's BTC at 50,000."""
PRICES = {"BTCUSDT": D(50_000), "ETHUSDT": D(2500), "PEPEUSDT": D("0.01"), "1000PEPEUSDT": D(10)}


class Market(ToyFeed):
    """The toy market with spreads of 2 bp and 50,000 USDT a level at any price."""

    def point(self, category: Category, symbol: str, at: datetime) -> Point:
        """As in the toy market."""
        self._scale(symbol)
        return super().point(category, symbol, at)

    def book(self, category: Category, symbol: str, at: datetime, depth: int) -> Book:
        """As in the toy market."""
        self._scale(symbol)
        return super().book(category, symbol, at, depth)

    def _scale(self, symbol: str) -> None:
        mid = self.prices[symbol]
        self.gap, self.size = mid / 5000, 50_000 / mid


def toy_market(_start: datetime) -> Market:
    """BTC and ETH with fine steps, PEPE with a multiplier and coarse ones; prices stand still."""
    cheap = {"tick_size": D("0.0000001"), "max_limit_qty": D(10**9), "max_market_qty": D(10**8)}
    feed = Market(
        listed=(
            spot(),
            perp(),
            spot("ETHUSDT", min_notional=D("7.5"), tick_size=D("0.01")),
            perp("ETHUSDT", tick_size=D("0.01")),
            spot("PEPEUSDT", qty_step=D(100), **cheap),
            perp("1000PEPEUSDT", base_coin="1000PEPE", qty_step=D(1), min_qty=D(1), **cheap),
            perp("LONEUSDT", tick_size=D("0.001")),
        ),
        prices={**PRICES, "LONEUSDT": D(5)},
    )
    feed.coin_rules |= {"ETH": coin("ETH", "0.9"), "PEPE": coin("PEPE", "0.5")}
    return feed


@dataclass(frozen=True)
class Ran:
    """What a command line left: exit code, both streams, and with ``--json`` the envelope."""

    code: int
    out: str
    err: str

    @property
    def envelope(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        lines = self.out.splitlines()
        assert len(lines) == 1, self.out
        found: dict[str, Any] = json.loads(lines[0])
        return found

    @property
    def data(self) -> Any:
        """Its data."""
        return self.envelope["data"]

    @property
    def codes(self) -> set[str]:
        """The codes of its error's reasons."""
        error = self.envelope["error"]
        return set() if error is None else {reason["code"] for reason in error["reasons"]}


@dataclass
class Stage:
    """One sandbox, one home folder, and the commands of one user."""

    home: Path
    balances: dict[str, Decimal] = field(default_factory=lambda: {"USDT": D(100_000)})
    clock: Clock = field(default_factory=SystemClock)

    def __post_init__(self) -> None:
        """Open the sandbox."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.running = server.start_in_thread(self._options(0))
        self.url = self.running.url

    def _options(self, port: int) -> SandboxOptions:
        return SandboxOptions(
            market=toy_market,
            port=port,
            clock=ClockKind.VIRTUAL,
            start=START + MINUTE,
            balances=self.balances,
            state=self.home / "sandbox.json",
        )

    # ------------------------------------------------------------------------------------------ the venue

    def stop(self) -> None:
        """The venue goes away; its state stays in its file."""
        self.running.stop()

    def come_back(self) -> None:
        """The same venue at the same address, as it was."""
        self.running = server.start_in_thread(self._options(urlsplit(self.url).port or 0))

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """One question to the control API."""
        parts = urlsplit(self.url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read()
            assert response.status < 300, content
            return json.loads(content) if content else None
        finally:
            connection.close()

    def fault(self, verb: str, *, match: dict[str, Any] | None = None, **arguments: Any) -> str:
        """Arm a fault, by default on the next create."""
        body = {"match": {"path": CREATE, **(match or {})}, "do": {"verb": verb, **arguments}}
        ident: str = self.ask("POST", "/sandbox/faults", body)["id"]
        return ident

    def heal(self) -> None:
        """No fault is armed any more."""
        self.ask("DELETE", "/sandbox/faults")

    def world(self, verb: str, **arguments: Any) -> None:
        """Let something happen at the venue."""
        self.ask("POST", "/sandbox/world", {"verb": verb, **arguments})

    def advance(self, text: str) -> None:
        """Let time pass."""
        self.ask("POST", "/sandbox/clock", {"advance": text})

    def truth(self) -> dict[str, Any]:
        """Everything the venue knows."""
        found: dict[str, Any] = self.ask("GET", "/sandbox/truth")
        return found

    # ------------------------------------------------------------------------------------------ the user

    def run(self, *words: str, live: bool = True, environ: dict[str, str] | None = None) -> Ran:
        """One command line on this sandbox; later words of the same option win."""
        place = ("--venue", "sandbox", "--venue-url", self.url)
        return self.elsewhere(*place, *(LIVE if live else ()), *words, environ=environ)

    def elsewhere(self, *words: str, environ: dict[str, str] | None = None) -> Ran:
        """One command line in this home, wherever it leads."""
        every = {**os.environ, "FUNDARB_HOME": str(self.home), **(environ or {})}
        session = Session(environ=every, clock=self.clock, cwd=self.home)
        result = CliRunner().invoke(cli, list(words), obj=session)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    def json(self, *words: str, live: bool = True) -> Ran:
        """One command line with ``--json``."""
        return self.run("--json", *words, live=live)

    def open(self, base: str = "BTC", notional: str = "400", *more: str) -> Ran:
        """Open without asking."""
        return self.json("open", base, "--notional", notional, "--yes", *more)

    def close(self, name: str = "BTC", *more: str) -> Ran:
        """Close without asking."""
        return self.json("close", name, "--yes", *more)

    @property
    def database(self) -> Path:
        """The database of the live account."""
        return self.home / "sandbox-live-default.db"

    def store(self) -> Store:
        """The database, for reading."""
        return Store.open(url_of(self.database), clock=SystemClock(), readonly=True)

    # ------------------------------------------------------------------------------------------ the truth

    def short(self, symbol: str = "BTCUSDT") -> Decimal:
        """Contracts short at the venue (positive)."""
        return sum((D(row["size"]) for row in self.truth()["positions"] if row["symbol"] == symbol), D(0))

    def coins(self, base: str = "BTC") -> Decimal:
        """Coins in the venue's wallet."""
        return sum((D(row["walletBalance"]) for row in self.truth()["wallets"] if row["coin"] == base), D(0))

    def filled(self) -> Counter[str]:
        """How much each link id traded at the venue."""
        amounts: Counter[str] = Counter()
        for row in self.truth()["orders"]:
            amounts[row["orderLinkId"]] += D(row["cumExecQty"])  # type: ignore[assignment]
        return amounts

    def check(self, *, lot: Decimal = LOT) -> None:
        """What must hold once faults have healed: hedged or flat, books equal the venue, nothing twice, and a
        second reconcile changes nothing.
        """
        first = self.json("reconcile")
        assert first.code == 0, first.out
        newest = self._newest()
        second = self.json("reconcile")
        assert second.code == 0, second.out
        assert second.data["clean"]
        assert second.data["resolved"] == second.data["repaired"] == []
        assert self._since(newest) <= {"writer_started", "writer_stopped"}
        truth = self.truth()
        links = [row["orderLinkId"] for row in truth["orders"]]
        assert len(links) == len(set(links)), "an order exists twice"
        sent = Counter(
            row["link_id"]
            for row in truth["requests"]
            if row["path"] == CREATE and row["outcome"] != "late"  # noted once more when it arrives
        )
        assert all(count == 1 for count in sent.values()), "a create was repeated"
        assert not [
            row for row in truth["orders"] if row["status"] in {"New", "PartiallyFilled", "Untriggered"}
        ]
        with self.store() as store:
            self._books(store, truth)
            assert store.intents.open() == ()
            for position in store.positions.active():
                assert position.state is PositionState.HEDGED
                delta = position.spot_owned - position.contracts * position.multiplier
                assert abs(delta) <= max(lot, D("0.02") * position.spot_owned)

    def healed(self, *alerts: str, lot: Decimal = LOT) -> None:
        """The end that every scenario has in common: no fault is left, ``check`` holds, the audit finds
        nothing against the venue's truth, and a person was told exactly this.
        """
        self.heal()
        self.check(lot=lot)
        audited = self.json("audit")
        assert audited.code == 0, audited.out
        assert self.alerts() == list(alerts)

    def _books(self, store: Store, truth: dict[str, Any]) -> None:
        """Every order at the venue is one of our intents, with the same fill; balances and contracts
        agree.
        """
        for row in truth["orders"]:
            if parse_link_id(row["orderLinkId"]) is None:
                continue
            intent = store.intents.get(row["orderLinkId"])
            assert (intent.symbol, intent.side, intent.quantity) == (
                row["symbol"],
                row["side"],
                D(row["qty"]),
            )
            assert intent.filled == D(row["cumExecQty"])
        held = Counter({row["symbol"]: D(row["size"]) for row in truth["positions"]})
        ours = Counter({item.perp_symbol: item.contracts for item in store.positions.active()})
        assert +held == +ours

    def _newest(self) -> int:
        with self.store() as store:
            return store.events.newest_id()

    def _since(self, event_id: int) -> set[str]:
        with self.store() as store:
            return {event.kind for event in store.events.after(event_id, 100)}

    def alerts(self) -> list[str]:
        """The codes of every alert so far."""
        with self.store() as store:
            return [
                str(json.loads(event.payload)["code"])
                for event in store.events.after(0, 10_000)
                if event.kind == "alert_raised"
            ]
