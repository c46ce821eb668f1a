"""Settlements that the contract's schedule says have passed: pending from that moment on, whether or not the
venue lists a rate for them yet.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

import pytest

from fundarb.core.market import SettledFunding
from fundarb.core.pnl import Coverage
from fundarb.engine.collect import Collector
from fundarb.engine.held import Coming, NextSettlement, settlement_of
from fundarb.engine.listings import FundingReport, funding
from fundarb.engine.report import Reporter
from fundarb.engine.report_rows import PnlRow, ReportQuery
from fundarb.errors import Unavailable
from tests.engine.test_collect import Bent, opened, require_tied
from tests.engine.world import World

D = Decimal
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


class Silent(Bent):
    """A venue that neither lists settled rates nor shows payments, until it is told to."""

    def __init__(self, world: World) -> None:
        """Silent, and not out of reach."""
        super().__init__(world)
        self.silent = True
        self.out_of_reach = False
        self.rows = lambda rows: [row for row in rows if not self.silent or row.kind != "SETTLEMENT"]

    def settled_funding(
        self, symbol: str, *, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[SettledFunding, ...]:
        """None of them while it is silent."""
        if self.out_of_reach:
            message = "no answer"
            raise Unavailable(message)
        rates = self._exchange.settled_funding(symbol, since=since, until=until)
        return () if self.silent else rates


@pytest.fixture
def venue(world: World) -> Silent:
    """The account's venue, silent."""
    return Silent(world)


def collector(world: World, venue: Silent, coming: Coming | None = None) -> Collector:
    """A collector that knows when contracts settle as a writer does, or as is said."""
    coming = coming or partial(settlement_of, world.writer.desk)
    return Collector(world.writer.store, venue, clock=world.clock, market=venue, coming=coming)


def row(world: World) -> PnlRow:
    """The position's row of the P&L."""
    found = Reporter(world.writer.store, world.clock, market=world.exchange, trading=world.exchange)
    return found.pnl(ReportQuery()).rows[0]


def listed(world: World) -> FundingReport:
    """``report funding``."""
    return funding(world.writer.store, ReportQuery())


@pytest.mark.parametrize("out_of_reach", [False, True], ids=["not listed yet", "cannot be read"])
def test_what_is_due_by_schedule_is_pending_and_no_zero(
    world: World, venue: Silent, out_of_reach: bool
) -> None:
    """Right after a settlement neither its rate nor its payment is there: one is pending and funding is not
    known; once the venue speaks, it is received and nothing is pending any more.
    """
    opened(world)
    venue.out_of_reach = out_of_reach
    books = collector(world, venue)
    world.clock.sleep(8 * HOUR + timedelta(seconds=5))
    books.collect()
    found = row(world)
    assert (found.funding, found.net, found.pending, found.coverage) == (None, None, 1, Coverage.PARTIAL)
    assert [(item.contracts, item.received) for item in listed(world).rows] == [(D("-0.2"), None)]
    venue.silent = venue.out_of_reach = False
    world.clock.sleep(MINUTE)
    books.collect()
    found = row(world)
    assert (found.funding, found.pending, found.coverage) == (D(1), 0, Coverage.COMPLETE)
    assert [(item.expected, item.received) for item in listed(world).rows] == [(D(1), D(1))]
    require_tied(world)


def test_hours_between_two_settlements_wait_for_nothing(world: World, venue: Silent) -> None:
    """A contract that settles each eight hours owes nothing after one."""
    opened(world)
    books = collector(world, venue)
    for _ in range(7):
        world.clock.sleep(HOUR)
        books.collect()
    assert (row(world).pending, row(world).coverage) == (0, Coverage.COMPLETE)


def test_what_was_opened_after_a_settlement_waits_for_none(world: World, venue: Silent) -> None:
    """The settlement before a position was opened is none of its."""
    world.clock.sleep(8 * HOUR + MINUTE)
    opened(world)
    world.clock.sleep(HOUR)
    collector(world, venue).collect()
    assert row(world).pending == 0


def test_a_schedule_that_had_changed_is_corrected_by_the_rates(world: World, venue: Silent) -> None:
    """The period was shortened since: what was thought to have settled, and has no rate where a later one is
    listed, is pending no more.
    """
    opened(world)
    world.clock.sleep(3 * HOUR)
    wrong = NextSettlement(world.clock.now() + HOUR, HOUR)
    books = collector(world, venue, coming=lambda _: wrong)
    books.collect()
    assert row(world).pending == 1
    venue.silent = False
    world.clock.sleep(5 * HOUR + MINUTE)
    books.collect()
    assert row(world).pending == 0
    assert [item.received for item in listed(world).rows] == [D(1)]


def test_a_schedule_that_had_changed_is_corrected_after_a_close_too(world: World, venue: Silent) -> None:
    """The position is closed before a later rate is listed: what never settled is not owed to it for ever."""
    opened(world)
    world.clock.sleep(3 * HOUR)
    wrong = NextSettlement(world.clock.now() + HOUR, HOUR)
    books = collector(world, venue, coming=lambda _: wrong)
    books.collect()
    world.writer.trader.close("BTC", D(1))
    venue.silent = False
    world.clock.sleep(6 * HOUR)
    books.collect()
    assert (row(world).pending, row(world).net is None) == (0, False)


def test_what_no_rate_names_and_no_row_pays_within_a_day_was_none(world: World, venue: Silent) -> None:
    """Rates that cannot be read at all leave nothing pending for ever that the log has not paid in a day."""
    opened(world)
    venue.out_of_reach = True
    books = collector(world, venue)
    world.clock.sleep(8 * HOUR + MINUTE)
    books.collect()
    assert row(world).pending == 1
    world.writer.trader.close("BTC", D(1))
    world.clock.sleep(23 * HOUR)
    books.collect()
    assert row(world).pending == 1
    world.clock.sleep(2 * HOUR)
    books.collect()
    assert row(world).pending == 0


def test_a_stale_schedule_goes_on_by_its_period() -> None:
    """What was to come when it was written down has passed since, and so have others after it."""
    at = datetime.fromisoformat("2026-11-22T08:00:00+00:00")
    coming = NextSettlement(at, 8 * HOUR)
    assert coming.last(at - MINUTE) == at - 8 * HOUR
    assert coming.last(at) == at
    assert coming.last(at + 17 * HOUR) == at + 16 * HOUR
