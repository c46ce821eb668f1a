"""The tax export: each disposal with its lot and its source, and the same result as the books."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from fundarb.core.ledger import Account
from fundarb.core.lots import LotMethod
from fundarb.core.market import Category
from fundarb.core.orders import Side
from fundarb.engine.outcome import TradeResult
from fundarb.engine.report_rows import ReportQuery
from tests.engine.month import reporter
from tests.engine.world import World

D = Decimal
HOUR = timedelta(hours=1)
EVERYTHING = ReportQuery()


def lived(world: World) -> None:
    """Two positions one after the other, funding in between, and a stranger who buys and sells."""
    for price in (50_000, 52_000):
        world.feed.prices["BTCUSDT"] = D(price)
        world.clock.sleep(HOUR)
        assert isinstance(world.writer.trader.open("BTC", D(10_000)), TradeResult)
        world.clock.sleep(9 * HOUR)
        world.feed.prices["BTCUSDT"] += 300
        world.writer.trader.close("BTC", D(1))
    for side, quantity in ((Side.BUY, D("0.01")), (Side.SELL, D("0.009"))):
        world.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=side, quantity=quantity)
        world.clock.sleep(HOUR)
    world.writer.collector.collect()


def test_the_export_is_the_books(world: World) -> None:
    """All gains less expenses, and what is still held against its cost, are what the ledger made; each method
    says the same in sum.
    """
    lived(world)
    ledger = world.writer.store.ledger
    price = world.feed.prices["BTCUSDT"]
    booked = -sum((item.value for item in ledger.read.sums() if item.account is not Account.EXTERNAL), D(0))
    worth = sum((held.unrealised(price) for held in ledger.read.holdings().values()), D(0))
    for method in LotMethod:
        found = reporter(world).tax(EVERYTHING, method)
        left = sum((lot.quantity * price - lot.cost for lot in found.held), D(0))
        assert found.gains[method.value] + left == booked + worth
        assert sum((lot.quantity for lot in found.held), D(0)) == ledger.balances()["BTC"]
        keys = {item.key for item in ledger.read.journals()}
        assert {row.source_id for row in found.rows} <= keys
        assert {row.kind for row in found.rows} == {"sale", "fee", "perp", "funding"}


def test_a_span_has_its_own_disposals_and_older_lots(world: World) -> None:
    """What was bought before the span is sold in it with its own date; what was sold before is not in it."""
    lived(world)
    middle = world.venue.started + 10 * HOUR
    found = reporter(world).tax(ReportQuery(since=middle))
    assert found.rows
    assert all(row.time >= middle for row in found.rows)
    sales = [row for row in found.rows if row.kind == "sale"]
    assert sales[0].acquired is not None
    assert sales[0].acquired < middle
    assert sum((row.gain - row.expense for row in found.rows), D(0)) == found.gains["fifo"]
