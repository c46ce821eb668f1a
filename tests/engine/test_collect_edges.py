"""The edges of booking, funding and equity: adopted fills, unknown rates and marks, strangers, things
without a price.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from fundarb.core.account import Transaction
from fundarb.core.ledger import Account, Holding, HoldingKey
from fundarb.core.market import Category
from fundarb.core.orders import ExecKind, Execution, Leg, Side
from fundarb.core.records import Goal
from fundarb.engine import equity, equity_points
from fundarb.engine.booking import book_execution, decision_mid, quantities
from fundarb.engine.collect import Collector
from fundarb.engine.equity import EquityPoint, wallet_prices
from fundarb.engine.funding import contracts_at
from fundarb.engine.report import Reporter
from fundarb.engine.report_rows import ACCOUNT_ROW, By, ReportQuery
from tests.engine.test_collect import Bent, opened, require_tied
from tests.engine.world import World

D = Decimal
HOUR = timedelta(hours=1)
EVERYTHING = ReportQuery()


@pytest.fixture
def bent(world: World) -> Bent:
    """A venue that can be bent."""
    return Bent(world)


def fills(world: World, kind: ExecKind = ExecKind.TRADE) -> list[Execution]:
    """Every execution of the venue of one kind."""
    until = world.clock.now() + HOUR
    found = [
        row
        for category in Category
        for row in world.exchange.executions(category, world.venue.started, until=until)
    ]
    return [row for row in found if row.kind is kind]


def measured(world: World) -> EquityPoint:
    """The account now."""
    return equity.measure(world.writer.store, world.exchange, trading=world.exchange, at=world.clock.now())


# ------------------------------------------------------------------------------------------------- booking


def test_a_fill_kept_as_nobodys_can_be_adopted_once(world: World) -> None:
    """An execution that was recorded as a stranger's becomes ours with its quantities, and only once."""
    position = opened(world)
    store = world.writer.store
    strange = replace(
        fills(world)[0], exec_id="strange", link_id="", quantity=D("0.001"), value=D(50), fee=D(0)
    )
    strange = replace(strange, category=Category.SPOT, side=Side.BUY)
    assert store.executions.add(strange)
    assert book_execution(store, strange, position=position, leg=Leg.SPOT)
    assert not book_execution(store, strange, position=position, leg=Leg.SPOT)
    held = store.positions.get(position.position_id)
    assert held.spot_owned == position.spot_owned + D("0.001")
    assert store.executions.owner(strange.key) == (position.position_id, Leg.SPOT)


def test_a_funding_execution_is_only_kept(world: World) -> None:
    """An execution row of type Funding moves neither quantities nor books; the transaction log is its
    source.
    """
    position = opened(world)
    world.clock.sleep(9 * HOUR)
    (paid,) = fills(world, ExecKind.FUNDING)
    store = world.writer.store
    before = store.ledger.count()
    assert book_execution(store, paid, position=position, leg=Leg.PERP)
    assert store.ledger.count() == before
    assert store.positions.get(position.position_id).contracts == position.contracts
    assert contracts_at(store, position, at=world.clock.now()) == D("-0.2")


def test_quantities_are_net_of_base_fees(world: World) -> None:
    """A base fee reduces what a purchase brings; that of a sale comes out of the pool; a perp counts
    contracts short.
    """
    position = opened(world)
    spot = next(row for row in fills(world) if row.category is Category.SPOT)
    bought = replace(spot, side=Side.BUY, quantity=D(2), fee=D("0.002"), fee_coin="BTC")
    assert quantities(bought, position, leg=Leg.SPOT) == (D("1.998"), D(0))
    assert quantities(replace(bought, side=Side.SELL), position, leg=Leg.SPOT) == (D(-2), D(0))
    assert quantities(replace(bought, fee_coin="MNT"), position, leg=Leg.SPOT) == (D(2), D(0))
    assert quantities(replace(bought, side=Side.SELL), position, leg=Leg.PERP) == (D(0), D(2))


def test_slippage_needs_a_decision(world: World) -> None:
    """Fills of an opening plan are measured against the mids it was decided on; repairs of a held
    position are not.
    """
    position = opened(world)
    planned = replace(position, goal=Goal.OPEN)
    assert decision_mid(planned, Leg.SPOT) == planned.decision_spot_mid
    assert decision_mid(planned, Leg.PERP) == planned.decision_perp_mid
    assert decision_mid(replace(planned, goal=Goal.HOLD), Leg.PERP) is None
    assert decision_mid(replace(planned, decision_spot_mid=D(0)), Leg.SPOT) is None


# ------------------------------------------------------------------------------------------------- funding


def test_without_a_market_the_venues_row_tells_the_rate(world: World, bent: Bent) -> None:
    """Without settled rates the row's own rate stands in, whose sign is the short's: expected as it was
    received.
    """
    opened(world)
    world.clock.sleep(9 * HOUR)
    (paid,) = Collector(world.writer.store, bent, clock=world.clock).collect().funding
    assert (paid.rate, paid.mark, paid.expected, paid.received) == (D("0.0001"), D(50_000), D(1), D(1))


def test_a_mark_that_comes_late_values_the_settlement(world: World, bent: Bent) -> None:
    """Without the settlement's mark nothing is expected, though all is received; once the mark is known
    it is.
    """
    opened(world)
    bent.trades = lambda rows: [row for row in rows if row.kind is not ExecKind.FUNDING]
    world.clock.sleep(9 * HOUR)
    collector = Collector(world.writer.store, bent, clock=world.clock, market=world.exchange)
    (paid,) = collector.collect().funding
    assert (paid.received, paid.expected, paid.difference) == (D(1), None, None)
    store = world.writer.store
    (mark,) = fills(world, ExecKind.FUNDING)
    store.executions.add(mark)
    collector.collect()
    (valued,) = store.ledger.log.settlements()
    assert (valued.expected, valued.difference) == (D(1), D(0))


def test_two_rows_of_one_settlement_add_up(world: World, bent: Bent) -> None:
    """Should the venue split a payment over two rows, both are booked and the settlement has received
    their sum.
    """
    opened(world)

    def split(rows: object) -> list[object]:
        out = []
        for row in rows:  # type: ignore[attr-defined]
            if row.kind == "SETTLEMENT":
                half = row.funding / 2
                first = replace(row, id="half", funding=half, change=half, balance=row.balance - half)
                out += [first, replace(row, funding=half, change=half)]
            else:
                out.append(row)
        return out

    bent.rows = split  # type: ignore[assignment]
    world.clock.sleep(9 * HOUR)
    collector = Collector(world.writer.store, bent, clock=world.clock, market=world.exchange)
    assert len(collector.collect().funding) == 2
    (settled,) = world.writer.store.ledger.log.settlements()
    assert (settled.received, settled.difference) == (D(1), D(0))
    require_tied(world)


def test_funding_of_strangers_is_the_accounts(world: World) -> None:
    """A settlement of a symbol in which none of ours was held is not ours and is expected by nobody."""
    world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.SELL, quantity=D("0.1"))
    world.clock.sleep(9 * HOUR)
    result = world.writer.collector.collect()
    assert (result.funding, result.pending) == ((), ())
    assert world.writer.store.ledger.log.settlements() == ()
    require_tied(world)


# -------------------------------------------------------------------------------------------------- equity


def test_a_strangers_perp_is_the_venues_word(world: World) -> None:
    """A position that is not ours counts in the equity with the venue's own figure and explains itself."""
    world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.SELL, quantity=D("0.1"))
    world.venue.world.mark("BTCUSDT", D(49_000))
    world.writer.collector.collect()
    point = measured(world)
    assert point.equity == world.exchange.wallet().total_equity
    report = Reporter(world.writer.store, world.clock, market=world.exchange, trading=world.exchange).pnl(
        EVERYTHING
    )
    assert report.tie_out.unexplained == 0
    assert report.tie_out.revaluation == point.unrealised > 0
    (row,) = report.rows
    assert (row.key, row.unrealised, report.total.net) == (ACCOUNT_ROW, point.unrealised, row.net)


def unexplained(world: World) -> Decimal | None:
    """What the books do not explain now."""
    reporter = Reporter(world.writer.store, world.clock, market=world.exchange, trading=world.exchange)
    return reporter.pnl(EVERYTHING).tie_out.unexplained


def test_a_perp_of_another_size_is_unexplained_until_its_fills_are_known(world: World) -> None:
    """If the venue's position is not the size of ours, the difference of the results shows as unexplained
    until it is known who traded: then it is the account's.
    """
    opened(world)
    world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.SELL, quantity=D("0.2"))
    world.feed.prices["BTCUSDT"] = D(51_000)
    world.clock.sleep(timedelta(seconds=1))
    found = unexplained(world)
    assert found is not None
    assert abs(found + D("0.2") * (D(51_000) - D(49_990))) < D(10)
    world.writer.collector.collect()
    assert unexplained(world) == 0


def test_a_vanished_perp_is_unexplained_until_its_fills_are_known(world: World) -> None:
    """If the venue shows no position at all where we hold one, ours still counts on our side only, until it
    is known who closed it.
    """
    opened(world)
    world.venue.world.manual_close("BTCUSDT")
    world.feed.prices["BTCUSDT"] = D(51_000)
    world.clock.sleep(timedelta(seconds=1))
    found = unexplained(world)
    assert found is not None
    assert abs(found - D("0.2") * (D(51_000) - D(49_995))) < D(10)
    world.writer.collector.collect()
    assert unexplained(world) == 0


def test_a_coin_without_a_price_is_taken_at_cost(world: World) -> None:
    """A coin of which no pair and no value is known counts with its book value on both sides, and is
    named.
    """
    world.venue.world.transfer("MYST", D(7))
    world.writer.collector.collect()
    point = measured(world)
    assert point.unpriced == ("MYST",)
    assert point.equity == D(100_000)
    assert point.unrealised == 0


def test_points_are_kept_and_come_back(world: World) -> None:
    """A stored point is what was measured; one without an equity is left out; prices of the pool are
    noted.
    """
    opened(world)
    world.venue.world.transfer("BTC", D("0.5"))
    world.writer.collector.collect()
    store = world.writer.store
    point = measured(world)
    equity_points.keep(store, point)
    assert equity_points.points(store) == (replace(point, prices={}),)
    assert equity_points.newest(store) == equity_points.newest(store, until=point.at)
    assert equity_points.newest(store, until=point.at - timedelta(milliseconds=1)) is None
    assert store.ledger.price("BTC") == point.prices["BTC"] == D(50_000)
    store.snapshots.add(world.clock.now() + HOUR, equity_points.TIED_KIND)
    assert len(equity_points.points(store)) == 1


def test_before_the_opening_nothing_ties(world: World) -> None:
    """A database whose books were never opened has no start, and its report says so instead of a figure."""
    store = world.writer.store
    store.meta.delete("ledger.opened")
    assert equity_points.opening(store) is None
    report = Reporter(store, world.clock, market=world.exchange, trading=world.exchange).pnl(EVERYTHING)
    assert (report.tie_out.equity_start, report.tie_out.unexplained) == (None, None)
    assert store.ledger.chain_breaks() == ()
    curve = Reporter(store, world.clock).equity(EVERYTHING)
    assert (curve.rows, curve.max_drawdown, curve.annual_return) == ((), None, None)


def test_prices_of_a_wallet(world: World) -> None:
    """A coin's price is its value over its equity; quote coins and coins of no value have none."""
    world.venue.world.transfer("BTC", D("0.5"))
    world.venue.world.transfer("MYST", D(7))
    assert wallet_prices(world.exchange.wallet()) == {"BTC": D(50_000)}


# -------------------------------------------------------------------------------------------------- report


def test_late_facts_of_closed_positions_are_not_lost(world: World) -> None:
    """A row that falls into the span, of a position that was closed before it, still has its row."""
    position = opened(world)
    world.clock.sleep(9 * HOUR)
    world.writer.trader.close("BTC", D(1))
    world.writer.collector.collect()
    since = world.clock.now() + HOUR
    store = world.writer.store
    (paid,) = [row for row in store.ledger.log.of_coin("USDT") if row.kind == "SETTLEMENT"]
    fill = next(row for row in fills(world) if row.category is Category.LINEAR)
    late = replace(fill, exec_id="late", time=since + HOUR, quantity=D("0.001"), value=D(50), fee=D("0.01"))
    store.ledger.post_execution(late, position=store.positions.get(position.position_id), leg=Leg.PERP)
    world.clock.sleep(3 * HOUR)
    reporter = Reporter(store, world.clock)
    rows = reporter.pnl(ReportQuery(since=since)).rows
    assert [(row.key, row.fees, row.days) for row in rows if row.key != ACCOUNT_ROW] == [
        (position.position_id, D("0.01"), D(0))
    ]
    assert paid.funding == D(1)


def test_two_positions_of_one_symbol_share_its_row(world: World) -> None:
    """By symbol, positions one after the other stand in one row, whose days are those held: the pause between
    counts neither as time nor as capital.
    """
    for _ in range(2):
        opened(world)
        world.clock.sleep(9 * HOUR)
        world.writer.trader.close("BTC", D(1))
        world.clock.sleep(3 * HOUR)
        world.writer.collector.collect()
    reporter = Reporter(world.writer.store, world.clock, market=world.exchange, trading=world.exchange)
    by_position = reporter.pnl(EVERYTHING)
    by_symbol = reporter.pnl(ReportQuery(by=By.SYMBOL))
    row = next(item for item in by_symbol.rows if item.key == "BTCUSDT")
    ours = [item for item in by_position.rows if item.key != ACCOUNT_ROW]
    assert row.net == sum((item.net for item in ours if item.net is not None), D(0))
    assert row.notional == D(9_999)
    assert row.days == D("0.75")
    assert by_symbol.total.net == by_position.total.net


def test_interest_stands_with_the_account(world: World) -> None:
    """Interest belongs to no position: it has the account's own row."""
    world.venue.world.borrow("BTC", D("0.5"))
    world.clock.sleep(3 * HOUR)
    world.writer.collector.collect()
    reporter = Reporter(world.writer.store, world.clock, market=world.exchange, trading=world.exchange)
    report = reporter.pnl(EVERYTHING)
    (row,) = report.rows
    assert (row.key, row.coverage.value, row.days) == (ACCOUNT_ROW, "complete", D(0))
    assert row.interest is not None
    assert row.interest > 0
    assert row.net == -row.interest
    assert report.tie_out.unexplained == 0
    assert world.writer.store.ledger.read.balances()[Account.LOAN, "BTC"] == D("-0.5")


def test_holdings_of_the_pool_are_nobodys(world: World) -> None:
    """Coins that a stranger brought are held by the pool at their price and never by a position."""
    world.venue.world.transfer("BTC", D("0.5"))
    world.writer.collector.collect()
    held = world.writer.store.ledger.read.holdings()
    assert held == {HoldingKey("", "BTC"): Holding(D("0.5"), D(25_000))}


@pytest.mark.parametrize(
    ("bend", "parts"),
    [
        ({"fee_rate": D("-0.0002"), "funding": D(2)}, (D(1), D(0), D(0))),
        ({"price": D(50_500), "funding": D("1.01")}, (D(0), D("0.01"), D(0))),
        ({"fee_rate": D("-0.0002"), "price": D(50_500), "funding": D("2.02")}, (D(1), D("0.02"), D(0))),
        ({"funding": D("0.7")}, (D(0), D(0), D("-0.3"))),
        ({"fee_rate": D("-0.00009"), "funding": D("1.00000001")}, (D(0), D(0), D("1e-8"))),
        ({"fee_rate": None, "price": None, "funding": D("0.7")}, (D(0), D(0), D("-0.3"))),
    ],
    ids=["rate", "mark", "both", "neither", "a rounding", "the row says nothing"],
)
def test_a_payment_that_differs_says_why(
    world: World, bent: Bent, bend: dict[str, Decimal], parts: tuple[Decimal, ...]
) -> None:
    """What the venue paid by another rate or mark than those it published stands beside the difference, and
    what neither explains; the parts are the whole.
    """
    opened(world)
    bent.rows = lambda rows: [_bent(row, bend) if row.kind == "SETTLEMENT" else row for row in rows]
    world.clock.sleep(9 * HOUR)
    Collector(world.writer.store, bent, clock=world.clock, market=world.exchange).collect()
    (row,) = Reporter(world.writer.store, world.clock).funding(ReportQuery()).rows
    assert (row.expected, row.received) == (D(1), bend["funding"])
    assert (row.by_rate, row.by_mark, row.unexplained) == parts
    assert row.difference == sum(parts)


def _bent(row: Transaction, bend: dict[str, Decimal]) -> Transaction:
    """A row with other figures that still adds up."""
    change = row.change - row.funding + bend["funding"]
    return replace(row, **bend, change=change, balance=row.balance - row.change + change)  # type: ignore[arg-type]
