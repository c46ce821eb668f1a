"""The yields of the P&L: on notional and on capital, gross and net, and of positions alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.money import years
from fundarb.engine.report_rows import ACCOUNT_ROW, By, PnlReport, PnlRow, ReportQuery
from fundarb.engine.report_time import NOTHING_HELD
from tests.engine.month import EVERYTHING, collect, market, reporter, snapshot
from tests.engine.world import World, make_world

D = Decimal
DAY = timedelta(days=1)
FACTOR = 1 + D("0.5") + D("0.2")
"""Capital per notional: one half at leverage 2, one fifth kept free."""
YIELDS = ("net_apr_on_capital", "net_apr_on_notional", "gross_apr_on_capital", "gross_apr_on_notional")


@pytest.fixture
def lived(tmp_path: Path) -> Iterator[World]:
    """Three days with a position in PEPE, a point at each midnight, and bitcoins of the account's own that
    lose a tenth.
    """
    world = make_world(tmp_path / "yields.sqlite3", feed=market())
    world.venue.world.transfer("BTC", D(1))
    collect(world)
    snapshot(world)
    world.writer.trader.open("PEPE", D(4_000))
    collect(world)
    begun = world.clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    for day in range(1, 4):
        world.clock.sleep(begun + day * DAY - world.clock.now())
        world.feed.prices["BTCUSDT"] = D(50_000) - (D(5_000) if day >= 2 else D(0))
        collect(world)
        snapshot(world)
    yield world
    world.close()


def row_of(report: PnlReport, key: str) -> PnlRow:
    """The row of a key."""
    return next(row for row in report.rows if row.key == key)


def test_what_belongs_to_no_position_is_in_no_yield(lived: World) -> None:
    """The account's own coins lose 5,000: that is in the total's net, and the total yields what its only
    position does.
    """
    report = reporter(lived).pnl(EVERYTHING)
    (position,) = [row for row in report.rows if row.key != ACCOUNT_ROW]
    account = row_of(report, ACCOUNT_ROW)
    assert account.net == D(-5_000)
    assert (account.net_apr_on_capital, account.net_apr_reason) == (None, NOTHING_HELD)
    assert position.net is not None
    assert report.total.net == position.net + account.net
    for name in YIELDS:
        assert getattr(report.total, name) == getattr(position, name) is not None, name


def test_the_total_yields_the_same_however_it_is_grouped(lived: World) -> None:
    """By position, symbol, day and month the total has the same four yields; and a day on which only the
    account's coins lost is not a bad day of the positions.
    """
    totals = {by: reporter(lived).pnl(ReportQuery(by=by)).total for by in By}
    for name in YIELDS:
        found = {getattr(total, name) for total in totals.values()}
        assert len(found) == 1, name
        assert None not in found
    fall = row_of(reporter(lived).pnl(ReportQuery(by=By.DAY)), "2026-01-06")
    assert fall.net is not None
    assert fall.net < -4_900
    assert fall.net_apr_on_capital is not None
    assert fall.net_apr_on_capital > -1


def test_gross_and_net_on_notional_and_on_capital(lived: World) -> None:
    """Gross is what funding and prices brought at the decision's mids, net what is left after slippage, fees
    and interest; each simple over the days, on the mean notional and on the capital that it took.
    """
    (row,) = [row for row in reporter(lived).pnl(EVERYTHING).rows if row.key != ACCOUNT_ROW]
    assert None not in {row.funding, row.basis_pnl, row.fees, row.interest, row.net, row.gross}
    assert row.slippage > 0
    assert row.gross == row.funding + row.basis_pnl + row.slippage  # type: ignore[operator]
    assert row.net == row.gross - row.slippage - row.fees - row.interest  # type: ignore[operator]
    position = lived.writer.store.positions.get(row.key)
    assert position.opened_at is not None
    held = row.notional * years(lived.clock.now() - position.opened_at)
    for result, part in ((row.net, "net"), (row.gross, "gross")):
        assert result is not None
        for base, amount in (("notional", held), ("capital", held * FACTOR)):
            assert abs(getattr(row, f"{part}_apr_on_{base}") - result / amount) < D("1e-6"), (part, base)
