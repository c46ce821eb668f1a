"""What is traded where no point of the equity curve stands: never counted twice, never zero where it is not
known.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.pnl import Coverage
from fundarb.engine.report import Reporter
from fundarb.engine.report_rows import ACCOUNT_ROW, By, PnlReport, PnlRow, ReportQuery
from tests.engine.month import collect, market, reporter, require_same_facts, snapshot
from tests.engine.world import World, make_world

D = Decimal
HOUR = timedelta(hours=1)
GROUPINGS = list(By)
PRICE = "1000PEPEUSDT"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[World]:
    """A world in which contract and coin have prices of their own."""
    made = make_world(tmp_path / "span.sqlite3", feed=market())
    yield made
    made.close()


def opened(world: World) -> str:
    """A position in PEPE."""
    world.writer.trader.open("PEPE", D(4_000))
    collect(world)
    (position,) = world.writer.store.positions.active()
    return position.position_id


def gained(world: World) -> None:
    """The short gains one per cent."""
    world.clock.sleep(HOUR)
    world.feed.prices[PRICE] = D("9.9")
    collect(world)


def blind(world: World, query: ReportQuery) -> PnlReport:
    """The report without the venue."""
    return Reporter(world.writer.store, world.clock, buffer=D("0.2")).pnl(query)


def row_of(report: PnlReport, name: str) -> PnlRow:
    """The row of a position."""
    return next(row for row in report.rows if row.key == name)


@pytest.mark.parametrize("by", GROUPINGS)
def test_what_was_opened_since_the_last_point_is_not_known(pair: World, by: By) -> None:
    """Opened after the last snapshot, and the account cannot be read: unrealised and net are null, not zero,
    in the row and the total, the identity is not shown, and it is said why; the account's row is known.
    """
    snapshot(pair)
    pair.clock.sleep(HOUR)
    name = opened(pair)
    report = blind(pair, ReportQuery(by=by))
    ours = [row for row in report.rows if row.key != ACCOUNT_ROW]
    for row in (*ours, report.total):
        assert (row.unrealised, row.basis_pnl, row.net, row.net_apr_on_capital) == (None, None, None, None)
        assert row.coverage is Coverage.PARTIAL
        assert row.fees is not None
        assert row.fees > 0
    assert (report.tie_out.equity_end, report.tie_out.unexplained) == (None, None)
    assert any(name in said and "after the last point" in said for said in report.warnings)
    snapshot(pair)
    seen = blind(pair, ReportQuery(by=by))
    assert (seen.total.unrealised is None, seen.tie_out.unexplained) == (False, D(0))


def test_what_was_added_to_since_the_last_point_is_not_known(pair: World) -> None:
    """A part closed after the last snapshot: what is left has no known unrealised result."""
    name = opened(pair)
    gained(pair)
    snapshot(pair)
    pair.clock.sleep(HOUR)
    pair.writer.trader.close("PEPE", D("0.5"))
    collect(pair)
    row = row_of(blind(pair, ReportQuery()), name)
    assert (row.unrealised, row.net) == (None, None)
    assert row.realised is not None
    assert row.realised > 0


@pytest.mark.parametrize("by", GROUPINGS)
def test_what_was_closed_since_the_last_point_counts_once(pair: World, by: By) -> None:
    """Closed after the last snapshot, which saw its gain: all of it is realised, nothing unrealised any more,
    whether or not the account can be read, and the equity has it once.
    """
    opened(pair)
    gained(pair)
    snapshot(pair)
    pair.clock.sleep(HOUR)
    pair.writer.trader.close("PEPE")
    collect(pair)
    live, alone = reporter(pair).pnl(ReportQuery(by=by)), blind(pair, ReportQuery(by=by))
    assert live.total.realised is not None
    assert live.total.realised > 30
    assert alone.total.net is not None
    assert live.total.net is not None
    # dust is worth what the prices say, which only the live report knows
    assert abs(alone.total.net - live.total.net) < D("0.01")
    assert alone.total.unrealised == D(0)
    assert alone.total.realised == live.total.realised
    require_same_facts(alone)
    assert alone.tie_out.equity_end is not None
    assert live.tie_out.equity_end is not None
    assert abs(alone.tie_out.equity_end - live.tie_out.equity_end) < D("0.01")
    if by is By.POSITION:
        assert [row.unrealised for row in alone.rows] == [D(0)]


@pytest.mark.parametrize("by", GROUPINGS)
@pytest.mark.parametrize("fraction", ["1", "0.5"])
def test_a_cut_after_a_close_counts_it_once(pair: World, by: By, fraction: str) -> None:
    """Time is cut between a close and the next point: the span before has the gain once, the one after
    nothing of what was closed, and both are the whole.
    """
    opened(pair)
    gained(pair)
    snapshot(pair)
    seen = reporter(pair).pnl(ReportQuery(by=by)).total
    pair.clock.sleep(HOUR)
    pair.writer.trader.close("PEPE", D(fraction))
    collect(pair)
    pair.clock.sleep(HOUR)
    cut = pair.clock.now()
    pair.clock.sleep(HOUR)
    collect(pair)
    snapshot(pair)
    first = reporter(pair).pnl(ReportQuery(by=by, until=cut))
    second = reporter(pair).pnl(ReportQuery(by=by, since=cut))
    whole = reporter(pair).pnl(ReportQuery(by=by))
    for report in (first, second, whole):
        require_same_facts(report)
    assert first.tie_out.equity_end == second.tie_out.equity_start
    assert first.total.unrealised is not None
    assert second.total.unrealised is not None
    assert first.total.unrealised + second.total.unrealised == whole.total.unrealised
    assert seen.unrealised is not None
    assert seen.unrealised > 30
    if fraction == "1":
        assert first.total.unrealised == D(0)
        assert abs(second.total.unrealised) < D("0.01")
    else:
        assert first.total.realised is not None
        assert first.total.unrealised == seen.unrealised - first.total.realised
    assert first.tie_out.equity_end is not None
    assert abs(first.tie_out.equity_end - D(100_000) - seen.unrealised) < D(20)


def test_a_point_at_midnight_measures_the_day_that_ends(pair: World) -> None:
    """What prices did until a point at midnight is in the day before it."""
    opened(pair)
    midnight = pair.clock.now().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    pair.feed.prices[PRICE] = D("9.9")
    pair.clock.sleep(midnight - pair.clock.now())
    collect(pair)
    assert pair.clock.now() == midnight
    snapshot(pair)
    pair.clock.sleep(HOUR)
    collect(pair)
    snapshot(pair)
    first, second = (row for row in reporter(pair).pnl(ReportQuery(by=By.DAY)).rows)
    assert first.unrealised is not None
    assert first.unrealised > 30
    assert second.unrealised == D(0)
    (alone,) = reporter(pair).pnl(ReportQuery(by=By.DAY, since=midnight)).rows
    assert (alone.key, alone.net is not None) == (second.key, True)


@pytest.mark.parametrize("by", GROUPINGS)
def test_a_span_without_a_point_in_it_is_not_known(pair: World, by: By) -> None:
    """Held all the time, and no point of the curve between the two ends: unrealised and net are null in every
    row and in the total, and nothing ties out, for nothing was compared.
    """
    opened(pair)
    snapshot(pair)
    pair.clock.sleep(HOUR)
    since = pair.clock.now()
    gained(pair)
    pair.clock.sleep(10 * HOUR)
    collect(pair)
    until = pair.clock.now()
    pair.clock.sleep(HOUR)
    collect(pair)
    snapshot(pair)
    report = reporter(pair).pnl(ReportQuery(by=by, since=since, until=until))
    assert report.rows
    for row in (*report.rows, report.total):
        assert (row.unrealised, row.basis_pnl, row.net, row.coverage) == (None, None, None, Coverage.PARTIAL)
    assert (report.tie_out.equity_start, report.tie_out.explained, report.tie_out.unexplained) == (None,) * 3
    assert any("no point of the equity curve" in warning for warning in report.warnings)


def test_coins_of_the_account_are_not_known_without_a_point(pair: World) -> None:
    """Coins that belong to no position lose a tenth between two points, in a span without one: the account's
    row is null, never the rest of it alone.
    """
    pair.venue.world.transfer("BTC", D(1))
    collect(pair)
    snapshot(pair)
    pair.clock.sleep(HOUR)
    since = pair.clock.now()
    pair.feed.prices["BTCUSDT"] = D(45_000)
    pair.clock.sleep(HOUR)
    until = pair.clock.now()
    pair.clock.sleep(HOUR)
    collect(pair)
    snapshot(pair)
    report = reporter(pair).pnl(ReportQuery(since=since, until=until))
    assert [(row.key, row.net, row.coverage) for row in report.rows] == [
        (ACCOUNT_ROW, None, Coverage.PARTIAL)
    ]
    assert (report.total.net, report.tie_out.unexplained) == (None, None)
    assert row_of(reporter(pair).pnl(ReportQuery(since=since)), ACCOUNT_ROW).net == D(-5_000)


def test_before_the_books_nothing_is_compared(pair: World) -> None:
    """A span that ended before the books were opened has no row and no identity, and nothing is known of it:
    null, not zero, and missing; no point of the curve is of it either.
    """
    query = ReportQuery(until=pair.venue.started - HOUR)
    report = reporter(pair).pnl(query)
    assert (report.rows, report.total.net, report.total.coverage) == ((), None, Coverage.MISSING)
    assert set(report.coverage.values()) == {Coverage.MISSING}
    assert (report.tie_out.unexplained, report.valued_at) == (None, None)
    assert reporter(pair).equity(query).rows == ()


@pytest.mark.parametrize("by", GROUPINGS)
def test_the_end_of_time_is_the_future(pair: World, by: By) -> None:
    """The last instant that a date can name is no error: a span from there is empty, one up to there has
    all, and the curve has no row of before it.
    """
    opened(pair)
    pair.clock.sleep(HOUR)
    last = datetime.max.replace(tzinfo=UTC)
    empty = reporter(pair).pnl(ReportQuery(by=by, since=last))
    assert (empty.total.net, empty.tie_out.explained) == (D(0), None)
    assert reporter(pair).equity(ReportQuery(since=last)).rows == ()
    whole = reporter(pair).pnl(ReportQuery(by=by))
    assert reporter(pair).pnl(ReportQuery(by=by, until=last)) == whole


def quiet(world: World, days: int) -> None:
    """Days on which the books are kept and nobody looks at prices, which move."""
    for _ in range(days):
        world.clock.sleep(24 * HOUR)
        world.feed.prices[PRICE] -= D("0.1")
        collect(world)


@pytest.mark.parametrize("by", GROUPINGS)
def test_prices_of_days_outside_are_in_no_span(pair: World, by: By) -> None:
    """The last point before a span, or before its end, is more than a day older: what prices did to what was
    held there is not known, in no row that it concerns, nor in the total; nothing ties out, and it is said.
    """
    opened(pair)
    snapshot(pair)
    quiet(pair, 3)
    cut = pair.clock.now()
    quiet(pair, 1)
    collect(pair)
    snapshot(pair)
    for query in (ReportQuery(by=by, since=cut), ReportQuery(by=by, until=cut)):
        report = reporter(pair).pnl(query)
        concerned = report.rows[0] if query.since is not None else report.rows[-1]
        for row in (concerned, report.total):
            assert (row.unrealised, row.net, row.net_apr_on_capital) == (None, None, None), query
            assert row.coverage is Coverage.PARTIAL
            assert row.funding is not None
        assert (report.tie_out.equity_start, report.tie_out.unexplained) == (None, None)
        assert any(f"within a day before {cut:%Y-%m-%d %H:%M}" in said for said in report.warnings), query
    whole = reporter(pair).pnl(ReportQuery(by=by))
    assert whole.total.unrealised is not None
    assert whole.total.unrealised > 150
    assert whole.tie_out.unexplained == 0


def test_what_was_opened_after_the_cut_is_known(pair: World) -> None:
    """A position opened within the span is valued at nothing where it begins, whatever point stands there;
    one that was closed before it has nothing in it. Without coins there the account's row is known too.
    """
    opened(pair)
    snapshot(pair)
    quiet(pair, 1)
    pair.writer.trader.close("PEPE", D(1))
    quiet(pair, 2)
    cut = pair.clock.now()
    pair.writer.trader.open("BTC", D(2_000))
    pair.clock.sleep(HOUR)
    collect(pair)
    snapshot(pair)
    report = reporter(pair).pnl(ReportQuery(since=cut))
    (ours,) = (row for row in report.rows if row.key != ACCOUNT_ROW)
    assert ours.base == "BTC"
    assert (ours.net is not None, report.total.net is not None, report.warnings) == (True, True, ())
    assert report.tie_out.unexplained == 0


def test_coins_of_the_account_are_not_known_from_an_old_point(pair: World) -> None:
    """The same of coins that belong to no position: their row is null, and that of a position opened since
    is not.
    """
    pair.venue.world.transfer("BTC", D(1))
    collect(pair)
    snapshot(pair)
    quiet(pair, 2)
    cut = pair.clock.now()
    name = opened(pair)
    pair.clock.sleep(HOUR)
    collect(pair)
    snapshot(pair)
    report = reporter(pair).pnl(ReportQuery(since=cut))
    assert row_of(report, ACCOUNT_ROW).net is None
    assert row_of(report, name).net is not None
    assert report.total.net is None
