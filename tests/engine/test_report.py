"""Reports over the venue engine in process: the equity identity is exact, and every grouping has the same
total.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import fields
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.ledger import Account
from fundarb.core.orders import Leg
from fundarb.core.pnl import Coverage
from fundarb.engine.collect import Collector
from fundarb.engine.outcome import TradeResult
from fundarb.engine.report import Reporter
from fundarb.engine.report_rows import ACCOUNT_ROW, PnlReport, PnlRow, ReportQuery, as_json
from fundarb.engine.report_time import TOO_SHORT
from fundarb.engine.views import position_views
from fundarb.errors import Unavailable
from tests.engine.month import Month, collect, market, reporter, require_good_books, snapshot
from tests.engine.world import World, make_world

D = Decimal
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
EVERYTHING = ReportQuery()


def opened(world: World, base: str = "BTC", notional: str = "10000") -> TradeResult:
    """Open a position."""
    result = world.writer.trader.open(base, D(notional))
    assert isinstance(result, TradeResult), result
    return result


def row_of(report: PnlReport, key: str) -> PnlRow:
    """The row of a key."""
    return next(row for row in report.rows if row.key == key)


# --------------------------------------------------------------------------------------------------- a month


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_month_of_accidents_ties_out(tmp_path: Path, seed: int) -> None:
    """Partial closes and fills, funding of both signs, fees in three coins, interest, ADL, transfers and
    strangers: the identity is exact every day, suspense stays below one hundred-millionth a posting, and
    every grouping has the same total.
    """
    world = make_world(tmp_path / "month.sqlite3", feed=market())
    world.venue.world.transfer("MNT", D(500))
    collect(world)
    Month(world, random.Random(seed)).live(8)
    require_good_books(world, random.Random(seed))
    world.close()


# -------------------------------------------------------------------------------------------------- figures


def test_a_carry_is_split_into_what_it_is(world: World) -> None:
    """Two settlements on a quiet market: funding 2, fees by coin, slippage of one half-spread a leg, and
    the sum.
    """
    opened(world)
    world.clock.sleep(17 * HOUR)
    collect(world)
    report = reporter(world).pnl(EVERYTHING)
    (row,) = report.rows
    assert row.funding == D(2)
    assert row.fees_by_coin["BTC"].amount == D("0.00020021")
    assert row.fees_by_coin["USDT"].value == D("5.49945")
    assert row.slippage == D("1.001005") + D("1")
    assert (row.realised, row.unrealised) == (D(0), row.basis_pnl)
    assert row.basis_pnl is not None
    assert row.fees is not None
    assert row.net == D(2) + row.basis_pnl - row.fees
    assert (row.coverage, row.base, row.notional) == (Coverage.COMPLETE, "BTC", D(9_999))
    assert row.days == (D(17) / 24).quantize(D("1e-6"))
    assert (row.net_apr_on_capital, row.net_apr_reason) == (None, TOO_SHORT)
    world.clock.sleep(17 * HOUR)
    collect(world)
    (row,) = reporter(world).pnl(EVERYTHING).rows
    assert row.net is not None
    years = D(34) / 24 / 365
    assert row.net_apr_on_capital == (row.net / (D(9_999) * D("1.7")) / years).quantize(D("1e-12"))
    assert report.live
    assert report.tie_out.unexplained == 0
    assert report.tie_out.venue_equity == report.tie_out.equity_end


def test_closed_positions_keep_their_result(world: World) -> None:
    """After the close everything is realised; the dust is beside the sum and its tiny revaluation is the
    account's.
    """
    name = opened(world).position.position_id
    world.clock.sleep(9 * HOUR)
    world.writer.trader.close("BTC", D(1))
    collect(world)
    world.clock.sleep(9 * HOUR)
    collect(world)
    report = reporter(world).pnl(EVERYTHING)
    row = row_of(report, name)
    assert row.unrealised == 0
    assert row.funding == D(1)
    assert row.dust > 0
    assert row.days == D("0.375")
    assert {item.key for item in report.rows} <= {name, ACCOUNT_ROW}
    assert report.tie_out.unexplained == 0


def test_missing_coverage_makes_funding_unknown(world: World) -> None:
    """Before the log of the settlement's hour is read, funding and net are unknown, not zero; afterwards
    complete.
    """
    opened(world)
    assert reporter(world).pnl(EVERYTHING).rows[0].coverage is Coverage.COMPLETE  # nothing has fallen due yet
    world.clock.sleep(9 * HOUR)
    (row,) = reporter(world).pnl(EVERYTHING).rows
    assert (row.coverage, row.funding, row.net, row.net_apr_on_capital) == (
        Coverage.MISSING,
        None,
        None,
        None,
    )
    collect(world)
    (row,) = reporter(world).pnl(EVERYTHING).rows
    assert (row.coverage, row.funding) == (Coverage.COMPLETE, D(1))
    world.clock.sleep(8 * HOUR)
    report = reporter(world).pnl(EVERYTHING)
    assert (report.rows[0].coverage, report.rows[0].funding) == (Coverage.PARTIAL, D(1))
    assert set(report.coverage.values()) == {Coverage.PARTIAL}


def test_a_pending_settlement_is_counted(world: World) -> None:
    """A settlement at which we held and that has not been paid makes the coverage partial, and its
    funding unknown.
    """
    opened(world)
    world.clock.sleep(9 * HOUR)
    exchange = world.exchange

    class Late:
        """The venue without its settlement rows."""

        def __getattr__(self, name: str) -> object:
            return getattr(exchange, name)

        def transactions(self, *_: object) -> tuple[()]:
            return ()

    Collector(world.writer.store, Late(), clock=world.clock, market=exchange).collect()  # type: ignore[arg-type]
    (row,) = reporter(world).pnl(EVERYTHING).rows
    assert (row.coverage, row.pending, row.funding) == (Coverage.PARTIAL, 1, None)
    listed = reporter(world).funding(EVERYTHING)
    assert [row.expected for row in listed.rows] == [D(1)]
    assert (listed.pending, listed.received, listed.expected) == (1, None, None)
    assert (listed.rows[0].received, listed.rows[0].difference) == (None, None)


def test_a_missing_fact_is_unexplained(world: World) -> None:
    """What the venue did and nobody booked stands as unexplained, with its amount."""
    opened(world)
    world.venue.world.transfer("USDT", D(123))
    assert reporter(world).pnl(EVERYTHING).tie_out.unexplained == D(123)
    collect(world)
    tie_out = reporter(world).pnl(EVERYTHING).tie_out
    assert tie_out.unexplained == 0
    assert tie_out.parts is not None
    assert tie_out.parts.external == D(123)


def test_spans_begin_and_end_with_snapshots(world: World) -> None:
    """Since and until cut by time; each span ties out between its snapshots, and the spans add up to the
    whole.
    """
    opened(world)
    for _ in range(3):
        world.clock.sleep(8 * HOUR)
        world.feed.prices["BTCUSDT"] += 250
        collect(world)
        snapshot(world)
        world.clock.sleep(timedelta(seconds=1))
    middle = world.venue.started + 17 * HOUR
    first = reporter(world).pnl(ReportQuery(until=middle))
    second = reporter(world).pnl(ReportQuery(since=middle))
    whole = reporter(world).pnl(EVERYTHING)
    assert (first.live, second.live) == (False, True)
    assert first.tie_out.unexplained == second.tie_out.unexplained == 0
    for figure in ("funding", "fees", "realised", "unrealised", "net"):
        parts = getattr(first.total, figure) + getattr(second.total, figure)
        assert parts == getattr(whole.total, figure), figure


def test_without_the_venue_the_last_snapshot_stands_in(world: World) -> None:
    """When the account cannot be read the report still comes, of the last snapshot, and says so."""
    opened(world)
    snapshot(world)
    exchange = world.exchange

    class Down:
        """A venue that does not answer."""

        def __getattr__(self, name: str) -> object:
            message = "maintenance"
            raise Unavailable(message)

    world.clock.sleep(HOUR)
    report = Reporter(world.writer.store, world.clock, market=exchange, trading=Down()).pnl(EVERYTHING)  # type: ignore[arg-type]
    assert not report.live
    assert any("maintenance" in warning for warning in report.warnings)
    assert report.valued_at == world.clock.now() - HOUR
    assert report.tie_out.unexplained == 0


def test_an_empty_book_has_an_empty_report(world: World) -> None:
    """Without a position there are no rows, nothing is pending, and the equity is the opening balance."""
    report = reporter(world).pnl(EVERYTHING)
    assert report.rows == ()
    assert (report.total.net, report.total.net_apr_on_capital, report.total.days) == (D(0), None, D(0))
    assert (report.tie_out.equity_start, report.tie_out.unexplained) == (D(100_000), D(0))


def test_rows_have_the_keys_of_the_contract(world: World) -> None:
    """The JSON of each report carries every key that scripts rely on."""
    opened(world)
    world.clock.sleep(9 * HOUR)
    collect(world)
    snapshot(world)
    made = as_json(reporter(world).pnl(EVERYTHING))
    assert isinstance(made, dict)
    rows = made["rows"]
    assert isinstance(rows, list)
    wanted = {
        "key",
        "funding",
        "basis_pnl",
        "fees",
        "interest",
        "slippage",
        "realised",
        "unrealised",
        "net",
        "notional",
        "days",
        "net_apr_on_capital",
        "coverage",
    }
    assert isinstance(rows[0], dict)
    assert wanted <= set(rows[0])
    total, tie_out = made["total"], made["tie_out"]
    assert isinstance(total, dict)
    assert isinstance(tie_out, dict)
    assert wanted <= set(total)
    assert {"equity_start", "equity_end", "explained", "unexplained"} <= set(tie_out)
    assert rows[0]["coverage"] == "complete"
    funding = as_json(reporter(world).funding(EVERYTHING).rows[0])
    assert isinstance(funding, dict)
    assert {"time", "symbol", "rate", "expected", "received", "difference", "source_id"} <= set(funding)
    curve = reporter(world).equity(EVERYTHING)
    assert {"rows", "max_drawdown", "sharpe", "annual_return"} <= {item.name for item in fields(curve)}
    assert isinstance(as_json(world.writer.store.ledger.read.journal("opening:USDT")), dict)
    with pytest.raises(TypeError):
        as_json(object())


def test_positions_with_live_marks(world: World) -> None:
    """The view of a hedged position: sizes, basis, funding, what a close would bring, and where
    liquidation is.
    """
    opened(world)
    world.clock.sleep(9 * HOUR)
    collect(world)
    (view,) = position_views(world.writer.store, world.exchange, trading=world.exchange)
    assert (view.spot_quantity, view.perp_quantity, view.multiplier) == (D("0.20000079"), D("-0.2"), D(1))
    assert view.delta == D("7.9E-7")
    assert view.lot == D("0.0001")
    assert (view.funding_received, view.funding_pending) == (D(1), 0)
    assert view.mark_basis == 0
    assert view.entry_basis is not None
    assert -D("0.001") < view.entry_basis < 0
    assert view.unrealised_executable is not None
    assert view.unrealised_pnl is not None
    assert view.unrealised_executable < view.unrealised_pnl < 0
    assert view.net_pnl == view.unrealised_pnl + D(1) - view.fees_paid
    assert view.next_funding_time == world.venue.started + 16 * HOUR
    assert view.liquidation_price is not None
    assert view.liquidation_distance is not None
    assert view.liquidation_price > D(50_000)
    assert view.liquidation_distance > 0
    world.writer.trader.close("BTC", D(1))
    assert position_views(world.writer.store, world.exchange, trading=world.exchange) == ()


def test_trades_ledger_and_equity_lists(world: World) -> None:
    """Trades list each execution with its fee's value; the ledger's rows sum to zero; deposits are no
    gain in the curve.
    """
    opened(world)
    snapshot(world)
    world.venue.world.transfer("USDT", D(10_000))
    world.clock.sleep(9 * HOUR)
    collect(world)
    snapshot(world)
    trades = reporter(world).trades(EVERYTHING)
    assert {row.leg for row in trades} == set(Leg)
    assert sum((row.fee_value for row in trades), D(0)) == reporter(world).pnl(EVERYTHING).total.fees
    assert list(trades) == sorted(trades, key=lambda row: row.time)
    assert reporter(world).trades(ReportQuery(since=world.clock.now())) == ()
    book = reporter(world).ledger(EVERYTHING)
    assert sum((row.value for row in book.rows), D(0)) == 0
    assert {(item.account, item.coin) for item in book.balances} >= {
        (Account.WALLET, "USDT"),
        (Account.FEES, "BTC"),
    }
    curve = reporter(world).equity(EVERYTHING)
    assert curve.rows[-1].equity > D(109_900)
    assert curve.rows[-1].result < D(100_000)
    assert curve.max_drawdown is not None
    assert 0 < curve.max_drawdown < D("0.001")
    assert curve.sharpe is None
    assert curve.notes
    assert curve.annual_return is None
    assert any("less than a day" in note for note in curve.notes)


@pytest.fixture
def cheap(tmp_path: Path) -> Iterator[World]:
    """A world with a contract of a thousand coins."""
    made = make_world(tmp_path / "cheap.sqlite3", feed=market())
    yield made
    made.close()


def test_multiplier_contracts_tie_out(cheap: World) -> None:
    """A thousand coins a contract: basis, funding and identity in the right units."""
    opened(cheap, "PEPE", "1000")
    cheap.clock.sleep(9 * HOUR)
    collect(cheap)
    report = reporter(cheap).pnl(EVERYTHING)
    (settled,) = reporter(cheap).funding(EVERYTHING).rows
    assert settled.contracts == D(-100)
    assert settled.received == settled.expected == D("0.1")
    assert report.tie_out.unexplained == 0
    (view,) = position_views(cheap.writer.store, cheap.exchange, trading=cheap.exchange)
    assert view.mark_basis == 0
    assert view.lot is not None
    assert view.delta is not None
    assert abs(view.delta) <= view.lot
