"""The tax export: each disposal with its lot and its source, and the same result as the books."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.ledger import Account
from fundarb.core.lots import LotMethod
from fundarb.core.market import Category, Level
from fundarb.core.orders import Side
from fundarb.core.pnl import Coverage
from fundarb.engine.collect import Collector
from fundarb.engine.equity import Prices
from fundarb.engine.outcome import TradeResult
from fundarb.engine.report_rows import ReportQuery
from tests.engine.month import Month, collect, market, reporter
from tests.engine.test_collect import opened
from tests.engine.test_converted import Converting
from tests.engine.world import World, make_world
from tests.factories import known

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
        left = sum((lot.quantity * price - known(lot.cost) for lot in found.held), D(0))
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
    assert sum(((row.gain or D(0)) - known(row.expense) for row in found.rows), D(0)) == found.gains["fifo"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_month_with_interest_is_the_profit_and_loss(tmp_path: Path, seed: int) -> None:
    """Fees in three coins, coins borrowed and their interest, strangers and deposits: under each method the
    rows and what is still held are the net result of ``report pnl``, to the last digit.
    """
    world = make_world(tmp_path / "month.sqlite3", feed=market())
    world.venue.world.transfer("MNT", D(500))
    collect(world)
    world.venue.world.borrow("BTC", D("0.5"))
    Month(world, random.Random(seed)).live(8)
    kinds = {row.kind for row in reporter(world).tax(EVERYTHING).rows}
    assert {"sale", "fee", "perp", "funding", "interest"} <= kinds
    require_same_result(world)
    world.close()


def require_same_result(world: World) -> None:
    """Gains less expenses, and unrealised gains of lots, contracts and debts, are the net of the books; coins
    carried away count at what they were worth then.
    """
    read = world.writer.store.ledger.read
    now = Prices.of(world.exchange.snapshot())
    prices = {coin: now.coins[coin] for coin in ("BTC", "PEPE", "MNT") if coin in now.coins}
    net = reporter(world).pnl(EVERYTHING).total.net
    contracts = sum(
        (
            held.unrealised(now.marks[key.asset])
            for key, held in read.holdings().items()
            if key.asset.endswith("USDT")
        ),
        D(0),
    )
    owed = [item for item in read.totals() if item.account is Account.LOAN and item.coin in prices]
    debts = sum((item.amount * prices[item.coin] - item.value for item in owed), D(0))
    away = sum(
        (
            item.value
            for item in read.tax_entries()
            if item.account is Account.EXTERNAL and item.coin in prices and item.amount > 0
        ),
        D(0),
    )
    for method in LotMethod:
        found = reporter(world).tax(EVERYTHING, method)
        assert (found.unknown, found.coverage) == (0, Coverage.COMPLETE)
        left = away - sum((known(lot.cost) for lot in found.held), D(0))
        left += sum((lot.quantity * prices[lot.asset] for lot in found.held if not lot.outside), D(0))
        assert found.gains[method.value] + left + contracts + debts == net


class Venue(Converting):
    """A venue that writes rows by itself."""

    def told(self, kind: str, *moved: tuple[str, str, Decimal]) -> None:
        """Rows of one kind and instant: the number of each, its coin, and what it changed."""
        self.convert(**{coin: change for _, coin, change in moved})
        numbers = {coin: number for number, coin, _ in moved}
        symbol = "" if kind == "INTEREST" else "BTCUSDT"
        self._made = tuple(replace(row, id=numbers[row.coin], kind=kind, symbol=symbol) for row in self._made)


def held_coins(world: World) -> tuple[Venue, Collector]:
    """A position, and a tenth of a bitcoin of nobody's, booked at 50,000 each."""
    venue = Venue(world)
    collector = Collector(world.writer.store, venue, clock=world.clock, market=world.exchange)
    opened(world)
    world.venue.world.transfer("BTC", D("0.1"))
    world.clock.sleep(HOUR)
    collector.collect()
    return venue, collector


@pytest.mark.parametrize("method", list(LotMethod))
def test_a_forced_sale_has_what_it_brought(world: World, method: LotMethod) -> None:
    """The two rows of a sale by the venue have numbers of their own and no trade: they meet by instant, kind
    and symbol.
    """
    venue, collector = held_coins(world)
    venue.told("SPOT_REPAYMENT_SELL", ("a", "BTC", D("-0.1")), ("b", "USDT", D("5100.5")))
    collector.collect()
    found = reporter(world).tax(EVERYTHING, method)
    sales = [row for row in found.rows if row.kind == "sale"]
    assert sum(row.proceeds or D(0) for row in sales) == D("5100.5")
    assert all(row.gain is not None for row in sales)
    assert found.coverage is Coverage.COMPLETE


@pytest.mark.parametrize("kind", ["SPOT_REPAYMENT_SELL", "NEVER_HEARD_OF"])
def test_a_sale_without_its_other_row_is_unknown(world: World, kind: str) -> None:
    """Coins gone and nothing says for what: no proceeds and no gain, which is not a gain of zero, and the
    report says that it lacks something.
    """
    venue, collector = held_coins(world)
    before = reporter(world).tax(EVERYTHING).gains
    venue.told(kind, ("a", "BTC", D("-0.1")))
    collector.collect()
    found = reporter(world).tax(EVERYTHING)
    gone = [row for row in found.rows if row.gain is None]
    assert sum(row.quantity for row in gone) == D("0.1")
    assert {row.kind for row in gone} == {"sale" if kind.startswith("SPOT") else "suspense"}
    assert all(row.proceeds is None for row in gone)
    assert (found.unknown, found.coverage) == (len(gone), Coverage.PARTIAL)
    assert found.gains == before


def test_interest_in_coins_counts_once(world: World) -> None:
    """Interest paid in a coin is a disposal at its worth and one payment of that worth: what the coins cost
    is lost, once.
    """
    venue, collector = held_coins(world)
    before = reporter(world).tax(EVERYTHING).gains["average"]
    venue.told("INTEREST", ("a", "BTC", D("-0.001")))
    collector.collect()
    found = reporter(world).tax(EVERYTHING, LotMethod.AVERAGE)
    disposed, paid = [row for row in found.rows if row.kind == "interest"]
    if not disposed.quantity:
        disposed, paid = paid, disposed
    assert disposed.quantity == D("0.001")
    assert disposed.proceeds == -(paid.gain or D(0)) == D(50)
    assert found.gains["average"] == before - known(disposed.cost)
    assert found.coverage is Coverage.COMPLETE


def test_coins_from_elsewhere_have_no_date(world: World) -> None:
    """Coins brought from elsewhere: when their owner got them is not known, so no date is shown, and what
    they are said to cost is named. What was bought has its date.
    """
    world.venue.world.transfer("BTC", D("0.2"))
    world.clock.sleep(HOUR)
    opened(world)
    world.venue.world.transfer("BTC", D("0.1"))
    world.clock.sleep(HOUR)
    collect(world)
    found = reporter(world).tax(EVERYTHING)
    first, *bought, last = found.held
    assert (first.acquired, last.acquired, last.quantity) == (None, None, D("0.1"))
    assert all(lot.acquired is not None for lot in bought)
    assert bought
    assert "no date" in found.method


def test_coins_carried_away_are_still_held(world: World) -> None:
    """A transfer out sells nothing: no gain, and the lot is held outside with its own date and cost."""
    opened(world)
    world.venue.world.transfer("BTC", D("0.1"))
    collect(world)
    world.venue.world.transfer("BTC", D("-0.05"))
    world.clock.sleep(HOUR)
    collect(world)
    found = reporter(world).tax(EVERYTHING)
    gone = [row for row in found.rows if row.kind == "transfer"]
    away = [lot for lot in found.held if lot.outside]
    assert [(lot.acquired, lot.quantity, lot.cost) for lot in away] == [
        (row.acquired, row.quantity, row.cost) for row in gone
    ]
    assert sum(lot.quantity for lot in away) == D("0.05")
    assert {row.gain for row in gone} == {D(0)}
    assert (found.unknown, found.coverage) == (0, Coverage.COMPLETE)


def test_a_loss_as_large_as_its_fee_is_a_result(world: World) -> None:
    """A contract that loses 2.50 and pays 2.50 for it has two rows, and the export is the books."""
    world.venue.world.fees(Category.LINEAR, taker=D("0.0005"))
    for bid, side in ((D(49975), Side.SELL), (D("49999.9"), Side.BUY)):
        bids, asks = (Level(bid, D(10)),), (Level(bid + D("0.1"), D(10)),)
        world.venue.world.book(Category.LINEAR, "BTCUSDT", bids=bids, asks=asks)
        world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=side, quantity=D("0.1"))
        world.clock.sleep(HOUR)
    collect(world)
    found = reporter(world).tax(EVERYTHING)
    assert [row.gain for row in found.rows if row.kind == "perp" and row.gain] == [D("-2.5")]
    assert [row.expense for row in found.rows if row.kind == "fee"][-1] == D("2.5")
    sums = world.writer.store.ledger.read.sums()
    booked = -sum((item.value for item in sums if item.account is not Account.EXTERNAL), D(0))
    assert set(found.gains.values()) == {booked}


def test_a_strangers_contract_is_a_result(world: World) -> None:
    """What a stranger gained on a contract of this account is a row, as it is in the books."""
    world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.BUY, quantity=D("0.1"))
    world.feed.prices["BTCUSDT"] += 1000
    world.clock.sleep(HOUR)
    world.venue.world.manual_close("BTCUSDT")
    world.clock.sleep(HOUR)
    collect(world)
    perps = [row for row in reporter(world).tax(EVERYTHING).rows if row.kind == "perp" and row.gain]
    assert len(perps) == 1
    require_same_result(world)
