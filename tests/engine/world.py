"""A whole writer in process: a toy venue, its clock, a real SQLite store and every trading use case."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from fundarb.app.ids import SeededIds
from fundarb.app.writer import Writer, introduce
from fundarb.core.risk import RiskLimits
from fundarb.engine.desk import Desk, TradeRules
from fundarb.engine.guard import GateSlot
from fundarb.engine.market import MarketView
from fundarb.exchange.local import LocalExchange, VenueClock
from fundarb.store.database import Store
from fundarb.store.files import url_of
from fundarb.store.lock import WriterLock
from fundarb.venue.engine import Rules, Venue
from tests.venue.toy import ToyFeed
from tests.venue.toy import venue as toy_venue

D = Decimal
SECOND = timedelta(seconds=1)
LIMITS = RiskLimits(max_gross=D(50_000), max_per_coin=D(20_000), max_clip=D(5_000))


@dataclass
class World:
    """One account, one database, one writer; ``restart`` is what a new process would find."""

    venue: Venue
    feed: ToyFeed
    clock: VenueClock
    path: Path
    rules: TradeRules
    writer: Writer
    exchange: LocalExchange

    def restart(self) -> None:
        """A new writer on the same database, as after the death of the old one; it has not recovered yet."""
        self.close()
        self.writer, self.exchange = make_writer(self.venue, self.clock, self.path, self.rules)

    def close(self) -> None:
        """Give lock and file back."""
        self.writer.lock.release()
        self.writer.store.close()

    @property
    def short(self) -> Decimal:
        """Contracts short at the venue (positive)."""
        return -sum((item.size for item in self.exchange.positions()), D(0))

    def coins(self, base: str = "BTC") -> Decimal:
        """Coins in the venue's wallet."""
        return self.exchange.wallet().owned(base)


def make_writer(
    venue: Venue, clock: VenueClock, path: Path, rules: TradeRules
) -> tuple[Writer, LocalExchange]:
    """A writer on an existing or new database."""
    slot = GateSlot()
    exchange = LocalExchange(venue, slot, clock=clock)
    store = Store.open(url_of(path), clock=clock)
    lock = WriterLock(store, clock=clock)
    lock.acquire("command")
    ids = SeededIds(len(path.parts), store.writer.epoch())
    if store.identity.read() is None:
        store.identity.create(
            venue="sandbox", mode="live", instance="default", uid=exchange.account().uid, tag=ids.tag()
        )
    desk = Desk(store, exchange, clock, ids, lock, rules, MarketView(exchange, clock))
    writer = introduce(desk, lock, slot=slot)
    writer.collector.open_books()
    return writer, exchange


def make_world(
    path: Path,
    *,
    feed: ToyFeed | None = None,
    rules: TradeRules | None = None,
    venue_rules: Rules | None = None,
) -> World:
    """A new world with 100,000 USDT; one second after midnight plus a minute, away from a settlement."""
    feed = feed or ToyFeed()
    venue = toy_venue(feed, venue_rules)
    clock = VenueClock(venue)
    clock.sleep(60 * SECOND)
    rules = rules or TradeRules(limits=LIMITS)
    writer, exchange = make_writer(venue, clock, path, rules)
    return World(venue, feed, clock, path, rules, writer, exchange)
