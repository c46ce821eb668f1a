"""A year of an unattended daemon as rows: what its jobs write day by day, through the very code that writes
it.

How much a day has is what simulated days of the default ``jobs.toml`` with five positions showed, turned up:
more settlements, a position closed and another opened every day, and a dozen alerts and failures. Runs of the
quiet jobs are fewer than in life, for only the newest two thousand of a job are kept; a year is well beyond
that.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from benchmarks.books import START, plan, settlement
from fundarb.clock import VirtualClock
from fundarb.core.events import AlertRaised, DecisionMade, JobFailed, JobFinished, OrderAnswered
from fundarb.core.orders import ExecKind, Execution, Leg, Purpose, Side, link_id
from fundarb.core.records import IntentRecord, PositionRecord
from fundarb.core.states import IntentState, IntentTrigger, PositionTrigger
from fundarb.engine import equity_points
from fundarb.engine.booking import book_execution
from fundarb.engine.equity import EquityPoint
from fundarb.engine.funding import FundingBook
from fundarb.engine.jobs_books import DayClosed
from fundarb.store.database import Store
from fundarb.store.files import url_of

D = Decimal
DAY = timedelta(days=1)
HELD = 5
SETTLEMENTS = 4
"""Of each position a day."""
CLIPS = 3
"""Orders of each leg on the way in, and again on the way out, two fills each."""
QUIET = 16
"""Recorded runs of each quiet job a day."""
RUNS = (("scan-and-open", 96), ("collect-funding", 6), ("close-when-due", 6), ("digest", 1), ("backup", 1))
QUIETLY = (("watch", QUIET), ("reconcile", QUIET), ("snapshot", 24))
ALERTS = 12
KEPT = 2000
"""Runs of a job, as the worker keeps them."""


@dataclass(slots=True)
class Year:
    """One database in the making."""

    store: Store
    clock: VirtualClock
    opened: int = 0
    settled: int = 0
    held: list[PositionRecord] = field(default_factory=list)

    def day(self, number: int) -> None:
        """Everything that one day writes."""
        with self.store.transaction():
            while len(self.held) < HELD:
                self._open()
            self._close(self.held.pop(0))
            self._open()
            self._funding()
            self._jobs()
            for hour in range(24):
                at = START + number * DAY + timedelta(hours=hour, minutes=5)
                self.clock.sleep(max(at - self.clock.now(), timedelta()))
                equity_points.keep(self.store, self._point(at))

    def _open(self) -> None:
        self.opened += 1
        base = f"C{self.opened % 97}"
        made = replace(
            plan(self.opened),
            base=base,
            spot_symbol=f"{base}USDT",
            perp_symbol=f"{base}USDT",
            created_at=self.clock.now(),
        )
        position = self.store.positions.add(made)
        self._trade(position, opening=True)
        self.store.positions.advance(position.position_id, PositionTrigger.SENT)
        self.held.append(self.store.positions.advance(position.position_id, PositionTrigger.BALANCED))
        reason = "net APR 5.84 % over the horizon, expected rate 1.297 bp (naive)"
        self.store.events.record(DecisionMade(base=position.base, decision="open", reason=reason))

    def _close(self, position: PositionRecord) -> None:
        self._trade(position, opening=False)
        self.store.positions.advance(position.position_id, PositionTrigger.FLAT)

    def _trade(self, position: PositionRecord, *, opening: bool) -> None:
        """The orders of both legs, each answered and filled in two parts."""
        for leg in Leg:
            for _ in range(CLIPS):
                self._order(position, leg, side=Side.BUY if (leg is Leg.SPOT) == opening else Side.SELL)

    def _order(self, position: PositionRecord, leg: Leg, *, side: Side) -> None:
        store, now = self.store, self.clock.now()
        number = store.intents.next_seq(position.position_id)
        name = link_id("test", position.position_id[2:], leg=leg, seq=number)
        store.intents.add(
            IntentRecord(
                link_id=name,
                position_id=position.position_id,
                leg=leg,
                seq=number,
                purpose=Purpose.ENTER,
                category=leg.category,
                symbol=position.spot_symbol,
                side=side,
                quantity=D("0.02"),
                limit_price=D("60059.9"),
                reduce_only=False,
                state=IntentState.SENDING,
                epoch=1,
                signed_at=now,
                created_at=now,
            )
        )
        order_id = f"5d5f4b2e-0000-4000-8000-{self.opened:06d}{number:06d}"
        store.intents.advance(name, IntentTrigger.ACCEPTED, order_id=order_id, code=0, message="OK")
        store.events.record(
            OrderAnswered(
                link_id=name,
                position_id=position.position_id,
                symbol=position.spot_symbol,
                outcome="accepted",
                code=0,
                message="OK",
            )
        )
        for part in range(2):
            fill = self._fill(position, f"{order_id}-{part}", side=side, leg=leg)
            book_execution(store, replace(fill, link_id=name), position=position, leg=leg)
            for coin in (position.base, "USDT")[leg is Leg.PERP :]:
                self._match(fill, coin)
        store.intents.advance(
            name, IntentTrigger.FINISHED, filled=D("0.02"), average_price=D("60000.123456789012")
        )

    def _fill(self, position: PositionRecord, name: str, *, side: Side, leg: Leg) -> Execution:
        price, quantity = D(60_000) + D(self.opened % 97) / 10, D("0.01")
        return Execution(
            exec_id=f"e{name}",
            order_id=name,
            link_id="",
            category=leg.category,
            symbol=position.spot_symbol,
            side=side,
            price=price,
            quantity=quantity,
            value=price * quantity,
            fee=D("0.33000001"),
            fee_coin="USDT",
            kind=ExecKind.TRADE,
            raw_kind="Trade",
            time=self.clock.now(),
        )

    def _match(self, fill: Execution, coin: str) -> None:
        """The log's own row of a fill, of one coin."""
        change = self.store.ledger.read.wallet_change(fill.key, coin)
        row = replace(
            settlement(self.opened, 0),
            id=f"{fill.exec_id}-{coin}",
            kind="TRADE",
            coin=coin,
            time=fill.time,
            funding=D(0),
            cash_flow=change,
            change=change,
            trade_id=fill.exec_id,
            order_id=fill.order_id,
            link_id=fill.link_id,
        )
        self.store.ledger.match_trade(row, fill.key)

    def _funding(self) -> None:
        """Payments as the collector books them, the venue's funding rows beside them."""
        book = FundingBook(self.store, None)
        for position in self.held:
            for part in range(SETTLEMENTS):
                self.settled += 1
                at = self.clock.now() + (part + 1) * DAY / (SETTLEMENTS + 1)
                row = replace(settlement(self.opened, self.settled), symbol=position.perp_symbol)
                mark = self._fill(position, f"f{self.settled:024d}", side=Side.SELL, leg=Leg.PERP)
                mark = replace(mark, kind=ExecKind.FUNDING, raw_kind="Funding", time=at)
                self.store.executions.add(mark)
                book.book(replace(row, time=at, quantity=D("0.12"), size=D("-0.12")))
            text = self.clock.now().isoformat()
            self.store.meta.set(f"collect.funding.{position.position_id}", f"{text} {text}")

    def _jobs(self) -> None:
        store, now = self.store, self.clock.now()
        for name, runs in (*RUNS, *QUIETLY):
            for _ in range(runs):
                run = store.jobs.started(name, now)
                message = "5 positions are open, as many as allowed"
                store.jobs.finished(run, "nothing", message=message, at=now)
                if (name, runs) in RUNS:
                    store.events.record(JobFinished(job=name, result="nothing", message=message))
            store.jobs.prune(name, KEPT)
        for _ in range(ALERTS):
            text = "the venue did not answer within its deadline, and neither did the second host; " * 2
            store.events.record(AlertRaised(code="unavailable", subject="BTCUSDT", message=text))
            store.events.record(JobFailed(job="reconcile", error="unavailable", message=text))
        figure = D("100004.04782990845")
        store.events.record(
            DayClosed(
                day=now.date().isoformat(),
                equity=figure,
                profit=D("3.6867389269"),
                funding=D("4.33385287"),
                fees=D(0),
                coverage="complete",
                positions_open=HELD,
                control="RUNNING",
            )
        )

    def _point(self, at: datetime) -> EquityPoint:
        figure = D("100008.38457414895")
        return EquityPoint(
            at=at,
            equity=figure,
            unrealised=D("-0.0794137293"),
            booked_until=self.store.ledger.read.last_id(),
            by_position={position.position_id: D("0.4169189088") for position in self.held},
            venue_equity=figure,
        )


def lived(path: Path, *, days: int) -> Iterator[tuple[int, int]]:
    """Live so many days in a database; after each thirty of them the day, and the bytes of the file."""
    clock = VirtualClock(START)
    with Store.open(url_of(path), clock=clock) as store:
        year = Year(store, clock)
        for number in range(days):
            year.day(number)
            if (number + 1) % 30 == 0 or number + 1 == days:
                yield number + 1, size(path)


def size(path: Path) -> int:
    """Bytes of a database whose log is written back."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size
