"""Opening the books of an account whose log shows rows later than its wallet, or earlier."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.account import Transaction, Wallet
from fundarb.core.market import Category
from fundarb.core.orders import Side
from fundarb.engine import equity_points
from fundarb.engine.collect import Collector
from fundarb.engine.report import Reporter
from fundarb.engine.report_rows import ReportQuery
from fundarb.exchange.local import LocalExchange
from fundarb.store.database import Store
from fundarb.store.files import url_of
from tests.engine.world import World

D = Decimal
AROUND = [timedelta(seconds=seconds) for seconds in (-5, 0, 5)]


class Late(LocalExchange):
    """A venue whose log hides the rows after an instant, and later shows them with another time."""

    hidden_after: datetime | None = None
    shifted = timedelta()
    old_wallet: Wallet | None = None

    def transactions(self, since: datetime, until: datetime) -> tuple[Transaction, ...]:
        """The log as this venue shows it."""
        rows = super().transactions(since, until + timedelta(minutes=1))
        edge = self.hidden_after
        if edge is not None:
            return tuple(row for row in rows if row.time < edge)
        return tuple(replace(row, time=row.time + self.shifted) for row in rows)

    def wallet(self) -> Wallet:
        """The wallet, or that of before."""
        return self.old_wallet or super().wallet()


@pytest.fixture
def fresh(world: World, tmp_path: Path) -> Iterator[tuple[Store, Late]]:
    """A database without books, and a venue that shows things late."""
    with Store.open(url_of(tmp_path / "new.sqlite3"), clock=world.clock) as store:
        yield store, Late(world.venue, None, clock=world.clock)


@pytest.mark.parametrize("shifted", AROUND)
@pytest.mark.parametrize("blind", [False, True])
def test_a_deposit_around_the_opening_is_booked_once(
    world: World, fresh: tuple[Store, Late], shifted: timedelta, *, blind: bool
) -> None:
    """Coins come in when the books are opened and the log shows them later: the chain of balances says
    whether the opening has them already (``blind``: it does not), whatever the times say.
    """
    store, venue = fresh
    venue.old_wallet = venue.wallet() if blind else None
    world.clock.sleep(timedelta(seconds=10))
    venue.hidden_after = world.clock.now()
    world.venue.world.transfer("USDT", D(500))
    collector = Collector(store, venue, clock=world.clock)
    assert collector.open_books()
    assert store.ledger.balances() == {"USDT": D(100_000) if blind else D(100_500)}
    venue.hidden_after, venue.shifted, venue.old_wallet = None, shifted, None
    world.clock.sleep(timedelta(seconds=10))
    for _ in range(2):
        collector.collect()
        assert store.ledger.balances() == {"USDT": D(100_500)}
        assert store.ledger.chain_breaks() == ()
    world.venue.world.transfer("USDT", D(-200))
    collector.collect()
    assert store.ledger.balances() == {"USDT": D(100_300)}
    assert store.ledger.chain_breaks() == ()


@pytest.mark.parametrize("pause", [0, 1])
def test_what_follows_the_opening_at_once_is_booked(
    world: World, fresh: tuple[Store, Late], pause: int
) -> None:
    """Money that comes and goes at the instant of the opening, or right after it: the balance is that of the
    opening again, and both rows are booked all the same.
    """
    store, venue = fresh
    collector = Collector(store, venue, clock=world.clock)
    assert collector.open_books()
    for amount in (500, -500):
        world.clock.sleep(timedelta(milliseconds=pause))
        world.venue.world.transfer("USDT", D(amount))
    collector.collect()
    assert store.ledger.balances() == {"USDT": D(100_000)}
    assert len(store.ledger.log.of_coin("USDT")) == 2


def test_what_a_contract_had_gained_before_the_books_is_no_result(
    world: World, fresh: tuple[Store, Late]
) -> None:
    """A short that a person opened and that had gained before the books were opened: the equity is the
    venue's from the first moment on, the gain is no result and no return; what it gains later is.
    """
    store, venue = fresh
    world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.SELL, quantity=D("0.1"))
    world.feed.prices["BTCUSDT"] = D(45_000)
    world.clock.sleep(timedelta(minutes=1))
    collector = Collector(store, venue, clock=world.clock)
    assert collector.open_books()
    reporter = Reporter(store, world.clock, market=venue, trading=venue)

    def seen() -> tuple[Decimal | None, ...]:
        report = reporter.pnl(ReportQuery())
        assert report.tie_out.unexplained == 0
        assert report.tie_out.equity_end == report.tie_out.venue_equity
        return report.total.net, report.tie_out.equity_start

    net, begun = seen()
    assert (net, begun) == (D(0), venue.wallet().total_equity)
    curve = reporter.equity(ReportQuery())
    assert {row.equity for row in curve.rows} == {begun}
    world.feed.prices["BTCUSDT"] = D(44_900)
    world.clock.sleep(timedelta(minutes=1))
    equity_points.take_snapshot(store, venue, trading=venue, at=world.clock.now())
    assert seen() == (D(10), begun)
    world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.BUY, quantity=D("0.1"))
    world.clock.sleep(timedelta(minutes=1))
    collector.collect()
    net, equity = seen()
    assert equity == begun
    assert net is not None
    assert D(0) < net < D(10)
