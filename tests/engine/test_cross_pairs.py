"""Somebody's trade on this account of one coin for another: its price is of neither in quote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.account import Transaction
from fundarb.core.lots import LotMethod
from fundarb.core.market import Category
from fundarb.core.orders import Execution, Side
from fundarb.core.pnl import Coverage
from fundarb.engine import equity_points
from fundarb.engine.collect import Collector
from fundarb.engine.report import Reporter
from fundarb.engine.report_rows import ACCOUNT_ROW, ReportQuery
from tests.engine.test_converted import HOUR, Converting
from tests.engine.world import World, make_world
from tests.store.make import execution
from tests.venue.toy import ToyFeed, coin, perp, spot

D = Decimal
BTC, ETH = D(50_000), D(2_500)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """BTC and ETH, one of each in the wallet."""
    eth = spot("ETHUSDT", tick_size=D("0.01"))
    feed = ToyFeed(listed=(spot(), perp(), eth), prices={"BTCUSDT": BTC, "ETHUSDT": ETH})
    feed.coin_rules |= {"ETH": coin("ETH", "0.9")}
    made = make_world(tmp_path / "cross.sqlite3", feed=feed)
    made.venue.world.transfer("BTC", D(1))
    made.venue.world.transfer("ETH", D(1))
    yield made
    made.close()


class Traded(Converting):
    """The venue, after a hand has bought ETH for BTC; ``seen``: whether it shows the execution."""

    def __init__(self, world: World, *, seen: bool) -> None:
        """Nothing is traded yet."""
        super().__init__(world)
        self._seen = seen

    def trade(self, symbol: str, price: Decimal, **moved: Decimal) -> None:
        """Two rows of one trade."""
        self.convert(**moved)
        self._made = tuple(
            replace(
                row,
                kind="TRADE",
                symbol=symbol,
                category="spot",
                side=Side.BUY,
                price=price,
                trade_id="t-1",
                quantity=abs(row.change),
            )
            for row in self._made
        )

    @property
    def made(self) -> tuple[Transaction, ...]:
        """The rows of the trade."""
        return self._made

    def executions(self, category: Category, since: datetime, until: datetime) -> tuple[Execution, ...]:
        """The executions, with the hand's own."""
        found = tuple(super().executions(category, since, until))
        if not (self._made and self._seen and category is Category.SPOT):
            return found
        row = self._made[0]
        price = row.price or D(0)
        theirs = execution(
            7,
            exec_id="t-1",
            category=Category.SPOT,
            symbol=row.symbol,
            quantity=row.quantity,
            price=price,
            value=row.quantity * price,
            fee=D(0),
            fee_coin="ETH",
            time=row.time,
            link_id="",
        )
        return (*found, theirs) if since <= row.time <= until else found


@pytest.mark.parametrize("seen", [True, False], ids=["execution known", "suspense"])
def test_coins_for_coins_gain_what_they_are_worth(world: World, seen: bool) -> None:
    """Half a BTC for ten ETH, worth the same: nothing is gained, and the sale brought what the ETH were
    worth.
    """
    venue = Traded(world, seen=seen)
    store = world.writer.store
    collector = Collector(store, venue, clock=world.clock, market=world.exchange)
    collector.collect()
    world.clock.sleep(HOUR)
    equity_points.take_snapshot(store, world.exchange, trading=venue, at=world.clock.now())
    venue.trade("ETHBTC", D("0.05"), ETH=D(10), BTC=D("-0.5"))
    collector.collect()
    world.clock.sleep(timedelta(minutes=20))
    collector.collect()
    reporter = Reporter(store, world.clock, market=world.exchange, trading=venue)
    found = reporter.pnl(ReportQuery())
    nothing = D(0)
    assert (found.total.realised, found.total.unrealised, found.total.net) == (nothing, nothing, nothing)
    assert (found.total.suspense, found.tie_out.unexplained) == (nothing, nothing)
    for method in LotMethod:
        told = reporter.tax(ReportQuery(), method)
        assert [lot.cost for lot in told.held if lot.asset == "ETH"][-1] == 25_000 + (
            ETH if method is LotMethod.AVERAGE else 0
        )
        if seen:
            (sale,) = (item for item in told.rows if item.kind == "sale")
            assert (sale.asset, sale.proceeds, sale.cost) == ("BTC", D(25_000), D(25_000))
            assert sale.gain == nothing


def test_coins_of_unknown_worth_have_no_result(world: World) -> None:
    """BTC go for a coin that nobody can price: what they brought is null and partial, not nothing, and no
    proceeds stand in the tax export.
    """
    venue = Traded(world, seen=True)
    store = world.writer.store
    collector = Collector(store, venue, clock=world.clock, market=world.exchange)
    collector.collect()
    world.clock.sleep(HOUR)
    collector.collect()
    venue.trade("BTCNEW", D(20), ETH=D(10), BTC=D("-0.5"))
    for made in venue.made:
        store.ledger.match_trade(replace(made, coin="NEW") if made.coin == "ETH" else made, None)
    reporter = Reporter(store, world.clock)
    found = reporter.pnl(ReportQuery())
    row = next(row for row in found.rows if row.key == ACCOUNT_ROW)
    assert (row.realised, row.basis_pnl, row.net, row.coverage) == (None, None, None, Coverage.PARTIAL)
    told = reporter.tax(ReportQuery(), LotMethod.FIFO)
    assert [item.proceeds for item in told.rows if item.kind == "sale"] == [None]
    assert (told.unknown, told.coverage) == (1, Coverage.PARTIAL)
