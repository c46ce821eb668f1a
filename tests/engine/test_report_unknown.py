"""What is not known is said to be not known: no price, no reading of the log, no point of a day."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from fundarb.core.market import MarketSnapshot
from fundarb.core.pnl import Coverage
from fundarb.engine import equity_points
from fundarb.engine.report import Reporter
from fundarb.engine.report_rows import ACCOUNT_ROW, By, PnlRow, ReportQuery
from fundarb.engine.report_time import TOO_SHORT
from tests.engine.month import collect, reporter, snapshot
from tests.engine.world import World

D = Decimal
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Unmarked:
    """The market without one perp, or without one spot book."""

    def __init__(self, world: World, *, perp: str = "", spot: str = "") -> None:
        """Leave them out."""
        self._exchange, self._perp, self._spot = world.exchange, perp, spot

    def __getattr__(self, name: str) -> object:
        """Everything else."""
        return getattr(self._exchange, name)

    def snapshot(self) -> MarketSnapshot:
        """All rows but one."""
        found = self._exchange.snapshot()
        return replace(
            found,
            perp={name: row for name, row in found.perp.items() if name != self._perp},
            spot={name: row for name, row in found.spot.items() if name != self._spot},
        )


def lived(world: World, days: int) -> None:
    """Days pass, with the books kept."""
    for _ in range(days):
        world.clock.sleep(DAY)
        collect(world)


def require_unknown(row: PnlRow) -> None:
    """No figure that needs a price."""
    assert (row.unrealised, row.basis_pnl, row.net, row.net_apr_on_capital) == (None, None, None, None)
    assert row.coverage is Coverage.PARTIAL


def test_a_leg_without_a_price_has_no_result(world: World) -> None:
    """Without the mark of the short, or a book of the coins: nothing unrealised, no net, no yield, neither of
    the row nor of the total; the coin is named, and the point of the curve is provisional.
    """
    world.writer.trader.open("BTC", D(10_000))
    lived(world, 2)
    for market in (Unmarked(world, perp="BTCUSDT"), Unmarked(world, spot="BTCUSDT")):
        blind = Reporter(world.writer.store, world.clock, market=market, trading=world.exchange)  # type: ignore[arg-type]
        for by in (By.POSITION, By.SYMBOL):
            report = blind.pnl(ReportQuery(by=by))
            for row in (*report.rows, report.total):
                require_unknown(row)
            assert any("BTC" in said and "no price" in said for said in report.warnings)
            assert (report.tie_out.equity_end, report.tie_out.unexplained) == (None, None)
        require_unknown(blind.pnl(ReportQuery(by=By.DAY)).rows[-1])
        point = equity_points.take_snapshot(
            world.writer.store,
            market,  # type: ignore[arg-type]
            trading=world.exchange,
            at=world.clock.now(),
        )
        assert not point.tied
        assert equity_points.newest(world.writer.store) == replace(point, prices={})
    seen = reporter(world).pnl(ReportQuery())
    assert (seen.total.coverage, seen.warnings, seen.tie_out.unexplained) == (Coverage.COMPLETE, (), D(0))


def test_a_span_whose_log_is_unread_shows_nothing(world: World) -> None:
    """A day and two hours without a reading: what fell due since is null, not zero, in the row, the day, the
    account's row and the total, nothing is annualised, and it is said until when the log was read.
    """
    world.writer.trader.open("BTC", D(10_000))
    lived(world, 1)
    snapshot(world)
    read = world.clock.now()
    world.clock.sleep(26 * HOUR)
    for by in (By.POSITION, By.DAY):
        report = reporter(world).pnl(ReportQuery(by=by, since=read + HOUR))
        for row in (*report.rows, report.total):
            assert (row.funding, row.net, row.net_apr_on_capital) == (None, None, None)
            assert (row.fees, row.interest, row.coverage) == (None, None, Coverage.MISSING)
        assert any(f"{read:%Y-%m-%d %H:%M}" in said for said in report.warnings)
    listed = reporter(world).funding(ReportQuery(since=read + HOUR))
    assert (listed.rows, listed.coverage) == ((), Coverage.MISSING)
    assert f"{read:%Y-%m-%d %H:%M}" in listed.warnings[0]
    whole = reporter(world).pnl(ReportQuery())
    assert (whole.total.coverage, whole.total.net_apr_on_capital) == (Coverage.PARTIAL, None)
    collect(world)
    report = reporter(world).pnl(ReportQuery(since=read + HOUR))
    assert (report.total.coverage, report.total.funding, report.warnings) == (Coverage.COMPLETE, D(3), ())
    listed = reporter(world).funding(ReportQuery(since=read + HOUR))
    assert (listed.coverage, listed.warnings) == (Coverage.COMPLETE, ())


def test_the_account_is_complete_only_when_read(world: World) -> None:
    """The row of the account is judged by the log, as those of positions are."""
    world.writer.trader.open("BTC", D(10_000))
    lived(world, 1)
    world.writer.trader.close("BTC", D(1))
    collect(world)
    world.feed.prices["BTCUSDT"] += 100
    assert reporter(world).pnl(ReportQuery()).rows[-1].coverage is Coverage.COMPLETE
    world.clock.sleep(26 * HOUR)
    row = reporter(world).pnl(ReportQuery()).rows[-1]
    assert (row.key, row.coverage, row.net_apr_on_capital) == (ACCOUNT_ROW, Coverage.PARTIAL, None)


def test_two_short_holdings_are_not_a_long_one(world: World) -> None:
    """An hour now and an hour ten days on are two hours: shown so, and not annualised."""
    for _ in range(2):
        world.writer.trader.open("BTC", D(4_000))
        world.clock.sleep(HOUR)
        world.writer.trader.close("BTC", D(1))
        lived(world, 10)
    for by in (By.SYMBOL, By.MONTH):
        total = reporter(world).pnl(ReportQuery(by=by)).total
        assert total.days < 1
        assert (total.net_apr_on_capital, total.net_apr_reason) == (None, TOO_SHORT)


def test_a_day_that_nobody_measured_has_no_price_result(world: World) -> None:
    """Of four days only the last has a point: none of them shows an unrealised result or a yield, for the
    last one's prices count from days before it; the total has all of it, which is said.
    """
    world.writer.trader.open("BTC", D(10_000))
    for _ in range(3):
        lived(world, 1)
        world.feed.prices["BTCUSDT"] += 300
    report = reporter(world).pnl(ReportQuery(by=By.DAY))
    assert len(report.rows) == 4
    for row in report.rows:
        require_unknown(row)
    assert report.total.unrealised is not None
    assert report.total.net_apr_on_capital is not None
    (said,) = report.warnings
    assert all(row.key in said for row in report.rows)
    assert "only the total has it" in said
    assert report.total.coverage is Coverage.COMPLETE
    snapshot(world)
    assert reporter(world).pnl(ReportQuery(by=By.DAY)).rows == report.rows
