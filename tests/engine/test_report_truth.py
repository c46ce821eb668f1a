"""What a report says is true of the moment and the facts that it names: yields of what was really tied up,
points that were tied or say that they were not, identities over the rows' own facts.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.market import Category
from fundarb.core.orders import Leg, Side
from fundarb.core.pnl import Coverage
from fundarb.engine import equity_points
from fundarb.engine.audit_ledger import _identity
from fundarb.engine.collect import Collector
from fundarb.engine.compare import Choice
from fundarb.engine.equity import EquityPoint
from fundarb.engine.report import Reporter
from fundarb.engine.report_rows import ACCOUNT_ROW, By, ReportQuery
from fundarb.engine.report_time import TOO_SHORT
from tests.engine.month import market
from tests.engine.world import World, make_world

D = Decimal
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
EVERYTHING = ReportQuery()


def reporter(world: World) -> Reporter:
    """Reports with the live market and account."""
    return Reporter(world.writer.store, world.clock, market=world.exchange, trading=world.exchange)


def point(world: World) -> EquityPoint:
    """Keep a point of the curve."""
    return equity_points.take_snapshot(
        world.writer.store, world.exchange, trading=world.exchange, at=world.clock.now()
    )


def lived(world: World, days: int) -> None:
    """Days pass, with the books kept and a point of the curve at each midnight, as a daemon keeps them."""
    for _ in range(days):
        later = world.clock.now() + DAY
        midnight = later.replace(hour=0, minute=0, second=0, microsecond=0)
        for until in (midnight, later):
            world.clock.sleep(until - world.clock.now())
            world.writer.collector.collect()
            if until == midnight:
                point(world)


def test_a_partial_close_does_not_change_what_was_tied_up(world: World) -> None:
    """Ten days with 10,000 and a close of nine tenths at their end: the yield is on what was tied up until
    then, not on what is left of it.
    """
    world.feed.rate = D("0.001")
    world.writer.trader.open("BTC", D(10_000))
    lived(world, 10)
    (before,) = reporter(world).pnl(EVERYTHING).rows
    world.writer.trader.close("BTC", D("0.9"))
    world.writer.collector.collect()
    row = next(item for item in reporter(world).pnl(EVERYTHING).rows if item.key != ACCOUNT_ROW)
    assert before.notional == D(9_999)
    assert D(9_990) < row.notional <= D(9_999)
    assert before.net_apr_on_capital is not None
    assert row.net_apr_on_capital is not None
    assert D("0.9") < row.net_apr_on_capital / before.net_apr_on_capital < 1
    lived(world, 10)
    row = next(item for item in reporter(world).pnl(EVERYTHING).rows if item.key != ACCOUNT_ROW)
    assert D(5_400) < row.notional < D(5_600)


@pytest.mark.parametrize("choice", [Choice.REHEDGE, Choice.ADOPT, Choice.IGNORE])
@pytest.mark.parametrize("by", [By.POSITION, By.DAY])
def test_a_leg_closed_by_hand_is_not_complete_until_it_is_answered(
    world: World, choice: Choice, by: By
) -> None:
    """The books still have a short that the venue does not: the row and the total are partial and say why,
    until the answer is carried out; a difference that is to be left alone leaves them so.
    """
    world.writer.trader.open("BTC", D(4_000))
    lived(world, 1)
    query = ReportQuery(by=by)
    assert reporter(world).pnl(query).total.coverage is Coverage.COMPLETE
    world.venue.world.manual_close("BTCUSDT")
    world.writer.reconciler.run(repair=True)
    report = reporter(world).pnl(query)
    ours = [row for row in report.rows if row.base == "BTC"]
    assert {row.coverage for row in (*ours, report.total)} == {Coverage.PARTIAL}
    (said,) = report.warnings
    assert "perp_size:BTCUSDT" in said
    world.writer.decider.decide("perp_size:BTCUSDT", choice)
    after = reporter(world).pnl(query)
    settled = choice is not Choice.IGNORE
    assert (after.total.coverage is Coverage.COMPLETE) == settled
    assert (after.warnings == ()) == settled


def test_an_order_in_doubt_leaves_its_position_incomplete(world: World) -> None:
    """What an order without an answer has traded is not known: partial, with the reason."""
    world.writer.trader.open("BTC", D(4_000))
    lived(world, 1)
    world.writer.collector.collect()
    store = world.writer.store
    store.database.execute_sql("UPDATE intents SET state = 'UNCERTAIN' WHERE seq = 1")
    report = reporter(world).pnl(EVERYTHING)
    assert report.total.coverage is Coverage.PARTIAL
    assert "an order is in doubt" in report.warnings[0]


def test_less_than_a_day_is_not_annualised(world: World) -> None:
    """After eighteen seconds there is a result and no yield; the reason stands in its place."""
    world.writer.trader.open("BTC", D(10_000))
    world.clock.sleep(timedelta(seconds=18))
    report = reporter(world).pnl(EVERYTHING)
    for row in (*report.rows, report.total):
        assert row.net is not None
        assert (row.net_apr_on_capital, row.net_apr_reason) == (None, TOO_SHORT)


@pytest.mark.parametrize("by", list(By))
def test_a_span_in_the_future_is_empty(world: World, by: By) -> None:
    """Nothing happened in it: no result; and there are no two moments whose equity could be compared."""
    world.writer.trader.open("BTC", D(10_000))
    lived(world, 1)
    report = reporter(world).pnl(ReportQuery(by=by, since=world.clock.now() + DAY))
    assert [row.net for row in report.rows if row.net] == []
    tie_out = report.tie_out
    assert (report.total.net, report.total.coverage, report.warnings) == (D(0), Coverage.COMPLETE, ())
    assert (tie_out.equity_start, tie_out.explained, tie_out.unexplained) == (None, None, None)


def test_a_leg_sold_by_hand_is_in_the_rows(world: World) -> None:
    """Coins of ours that a person sells, and the fee of that, are in the rows: the total is what the identity
    explains.
    """
    world.writer.trader.open("BTC", D(10_000))
    world.clock.sleep(HOUR)
    world.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=Side.SELL, quantity=D("0.05"))
    world.feed.prices["BTCUSDT"] += 70
    world.clock.sleep(HOUR)
    world.writer.collector.collect()
    report = reporter(world).pnl(EVERYTHING)
    account = next(row for row in report.rows if row.key == ACCOUNT_ROW)
    assert account.fees is not None
    assert account.fees > 0
    assert report.total.net == report.tie_out.explained
    assert report.tie_out.unexplained == 0
    assert sum((row.net for row in report.rows if row.net is not None), D(0)) == report.total.net


def test_a_point_that_did_not_tie_is_provisional(world: World) -> None:
    """Measured while a deposit was not booked: kept and marked, left out of what is reckoned, and no stain on
    later spans.
    """
    store = world.writer.store
    first = point(world)
    world.clock.sleep(HOUR)
    world.venue.world.transfer("USDT", D(123))
    loose = point(world)
    assert (first.tied, loose.tied, loose.gap, loose.pending) == (True, False, D(123), D(0))
    assert list(_identity(store, D(0)))
    world.clock.sleep(HOUR)
    between = world.clock.now()
    assert equity_points.anchor(store, between) == loose
    open_still = Reporter(store, world.clock).pnl(EVERYTHING).tie_out
    assert open_still.unexplained == D(123)
    world.writer.collector.collect()
    assert list(_identity(store, D(0))) == []
    world.clock.sleep(HOUR)
    point(world)
    assert equity_points.anchor(store, between) == equity_points.newest(store, until=between, tied_only=True)
    for query in (EVERYTHING, ReportQuery(since=between), ReportQuery(until=between)):
        assert reporter(world).pnl(query).tie_out.unexplained == 0
    curve = reporter(world).equity(EVERYTHING)
    assert [row.provisional for row in curve.rows] == [False, False, True, False, False]
    assert (curve.provisional, curve.max_drawdown) == (1, D(0))
    assert list(_identity(store, D(0))) == []


def test_what_waits_in_the_log_is_pending(world: World) -> None:
    """A stranger's trade whose execution the venue does not show yet is pending, not unexplained; once it is
    there, it is explained.
    """
    exchange = world.exchange
    world.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=Side.BUY, quantity=D("0.01"))
    world.clock.sleep(timedelta(seconds=5))

    class Late:
        """The venue without its executions."""

        def __getattr__(self, name: str) -> object:
            return getattr(exchange, name)

        def executions(self, *_: object, **__: object) -> tuple[()]:
            return ()

    Collector(world.writer.store, Late(), clock=world.clock, market=exchange).collect()  # type: ignore[arg-type]
    assert len(world.writer.store.ledger.log.waiting()) == 2
    loose = point(world)
    assert not loose.tied
    assert loose.pending == loose.gap < 0
    tie_out = reporter(world).pnl(EVERYTHING).tie_out
    assert (tie_out.pending, tie_out.unexplained) == (loose.gap, D(0))
    world.writer.collector.collect()
    tie_out = reporter(world).pnl(EVERYTHING).tie_out
    assert (tie_out.pending, tie_out.unexplained) == (D(0), D(0))
    assert tie_out.explained == loose.gap


def test_what_the_fee_coin_gained_is_the_accounts_result(tmp_path: Path) -> None:
    """Fees paid in MNT that came at 0.8 and are worth 1.2 when they are spent: the position bears them at 1.2
    and realises what its own legs did; the gain of 0.4 a coin is in the account's row. The sum ties out.
    """
    world = make_world(tmp_path / "mnt.sqlite3", feed=market())
    world.writer.store.ledger.set_price("MNT", D("0.8"))
    world.venue.world.transfer("MNT", D(500))
    world.writer.collector.collect()
    world.feed.prices["MNTUSDT"] = D("1.2")
    world.clock.sleep(HOUR)
    point(world)
    for category in (Category.SPOT, Category.LINEAR):
        world.venue.world.fees(category, mnt=True)
    world.writer.trader.open("BTC", D(4_000))
    world.clock.sleep(HOUR)
    world.writer.trader.close("BTC")
    world.writer.collector.collect()
    report = reporter(world).pnl(EVERYTHING)
    (row, account) = sorted(report.rows, key=lambda item: item.key == ACCOUNT_ROW)
    fills = reporter(world).trades(EVERYTHING)
    spent = sum((fill.fee for fill in fills), D(0))
    assert {fill.fee_coin for fill in fills} == {"MNT"}
    assert spent > 3
    assert row.fees is not None
    assert abs(row.fees - spent * D("1.2")) < D("1e-6")
    gained = {Leg.SPOT: D(0), Leg.PERP: D(0)}
    for fill in fills:
        gained[fill.leg] -= fill.side.sign * fill.value
    assert row.realised is not None
    assert account.realised is not None
    assert abs(row.realised - sum(gained.values())) < D("0.01")
    assert row.realised == sum((fill.realised for fill in fills), D(0))
    assert abs(account.realised - spent * D("0.4")) < D("1e-6")
    assert report.tie_out.unexplained == 0
    world.close()


def test_what_the_books_do_not_explain_is_not_complete(world: World) -> None:
    """The wallet has money that the log does not show: total and the account's row are partial, and it is
    said how much it is; a position's row stays what it is.
    """
    world.writer.trader.open("BTC", D(10_000))
    lived(world, 1)
    whole = reporter(world).pnl(EVERYTHING)
    assert (whole.total.coverage, whole.warnings) == (Coverage.COMPLETE, ())
    world.venue.world.transfer("USDT", D("333.33"))
    for by in (By.POSITION, By.DAY):
        report = reporter(world).pnl(ReportQuery(by=by))
        assert report.tie_out.unexplained == D("333.33")
        assert (report.total.coverage, report.total.net) == (Coverage.PARTIAL, whole.total.net)
        (said,) = report.warnings
        assert "333.33 USDT more" in said
        assert "reconcile" in said
    (ours,) = (row for row in reporter(world).pnl(EVERYTHING).rows if row.key != ACCOUNT_ROW)
    assert ours.coverage is Coverage.COMPLETE
    world.writer.collector.collect()
    assert reporter(world).pnl(EVERYTHING).total.coverage is Coverage.COMPLETE
