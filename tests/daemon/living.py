"""A whole office in process on a virtual clock: toy venue, real store, real jobs, the simulation that
drives them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import cast

from fundarb.app.unattended import office_of
from fundarb.app.writer import Writer
from fundarb.clock import SystemClock
from fundarb.config import JobSpec, Settings
from fundarb.daemon.simulate import MergedClock, Simulation
from fundarb.engine.audit import AuditCheck, audit
from fundarb.engine.audit_book import BookRules
from fundarb.engine.desk import TradeRules
from fundarb.engine.office import Office
from fundarb.exchange.local import LocalExchange, VenueClock
from fundarb.store.database import Store
from fundarb.venue.engine import Venue
from tests.engine.world import LIMITS, make_writer
from tests.venue.toy import ToyFeed
from tests.venue.toy import venue as toy_venue

D = Decimal
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


class CountingClock(VenueClock):
    """The venue's clock; counts how often it was really moved."""

    moves = 0

    def sleep(self, duration: timedelta) -> None:
        """Move, and count it."""
        self.moves += 1
        super().sleep(duration)


@dataclass
class Living:
    """One office and what is around it."""

    feed: ToyFeed
    venue: Venue
    clock: MergedClock
    real: CountingClock
    writer: Writer
    exchange: LocalExchange
    office: Office
    settings: Settings
    seen: list[str] = field(default_factory=list)

    @property
    def store(self) -> Store:
        """The database."""
        return self.writer.store

    def live(self, duration: timedelta) -> None:
        """So much virtual time passes."""
        Simulation(self.office, clock=self.clock, machine=SystemClock()).run(duration)

    def run(self, name: str, **arguments: object) -> str:
        """One job now; what it said."""
        self.clock.flush()
        return self.office.jobs.run(name, arguments).message

    def audit(self) -> tuple[AuditCheck, ...]:
        """The invariants over the books."""
        rules = BookRules(
            drift_limit=self.settings.risk.drift_limit,
            largest_naked=LIMITS.max_clip * D("1.03"),
            t_hedge=5 * SECOND,
            t_recover=37 * SECOND,
        )
        return audit(self.store, rules)

    def close(self) -> None:
        """Give lock and file back."""
        self.writer.lock.release()
        self.store.close()


def make_living(
    folder: Path,
    *,
    feed: ToyFeed | None = None,
    specs: tuple[JobSpec, ...] | None = None,
    settings: Settings | None = None,
) -> Living:
    """An office over a toy market in which BTC pays 4 bp every eight hours."""
    feed = feed or ToyFeed(rate=D("0.0004"))
    venue = toy_venue(feed)
    real = CountingClock(venue)
    real.sleep(60 * SECOND)
    clock = MergedClock(real)
    settings = settings or Settings(home=folder)
    rules = replace(TradeRules(limits=LIMITS), drift_limit=settings.risk.drift_limit)
    writer, exchange = make_writer(venue, cast("VenueClock", clock), folder / "fundarb.sqlite3", rules)
    office = office_of(settings, writer, specs=specs)
    return Living(feed, venue, clock, real, writer, exchange, office, settings)
