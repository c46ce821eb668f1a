"""What coins are worth while their facts are booked: at the fact's time if it is known, never nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.account import Wallet
from fundarb.core.ledger import POOL, Account, Holding, HoldingKey
from fundarb.core.market import Category
from fundarb.core.orders import Leg
from fundarb.core.pnl import Coverage
from fundarb.engine.booking import book_execution
from fundarb.engine.collect import Collector
from fundarb.engine.outcome import TradeResult
from fundarb.errors import Unavailable
from fundarb.store.database import Store
from fundarb.store.files import url_of
from tests.engine.month import EVERYTHING, collect, market, reporter, snapshot
from tests.engine.test_collect import Bent, opened
from tests.engine.world import World, make_world

D = Decimal
HOUR = timedelta(hours=1)


def paying_in_mnt(tmp_path: Path) -> World:
    """A world in which all fees are paid in MNT, which is worth 0.8 at the last point."""
    world = make_world(tmp_path / "mnt.sqlite3", feed=market())
    world.venue.world.transfer("MNT", D(500))
    collect(world)
    for category in Category:
        world.venue.world.fees(category, mnt=True)
    snapshot(world)
    return world


def fees_of(world: World, coin: str) -> tuple[Decimal, Decimal]:
    """The fees in a coin, and their worth as booked."""
    sums = world.writer.store.ledger.read.sums()
    found = [item for item in sums if item.account is Account.FEES and item.coin == coin]
    return sum((item.amount for item in found), D(0)), sum((item.value for item in found), D(0))


def test_a_fee_is_worth_what_its_coin_is_worth_at_the_fill(tmp_path: Path) -> None:
    """MNT doubles after the last point of the curve: the fees of the next open are worth the new price."""
    world = paying_in_mnt(tmp_path)
    world.feed.prices["MNTUSDT"] = D("1.6")
    world.clock.sleep(HOUR)
    assert isinstance(world.writer.trader.open("BTC", D(5000)), TradeResult)
    paid, worth = fees_of(world, "MNT")
    assert paid > 3
    assert abs(worth - paid * D("1.6")) < D("1e-6")
    world.close()


@pytest.mark.parametrize(("hours", "worth"), [(1, "1.6"), (5, "1.6"), (7, "2.4"), (20, "2.4")])
def test_a_fee_that_is_booked_late_has_the_price_of_its_time(world: World, hours: int, worth: str) -> None:
    """Whenever a fill is booked, its fee is worth what its coin was closest to the fill: prices are known of
    two and of ten hours after the first fill.
    """
    position, store = opened(world), world.writer.store
    fill = store.executions.of_position(position.position_id)[0]
    for later, price in ((2, D("1.6")), (10, D("2.4"))):
        store.ledger.set_price("MNT", price, at=fill.time + later * HOUR)
    late = replace(fill, exec_id="late", fee=D(1), fee_coin="MNT", time=fill.time + hours * HOUR)
    assert book_execution(store, late, position=position, leg=store.executions.owner(fill.key)[1] or Leg.PERP)
    assert fees_of(world, "MNT") == (D(1), D(worth))
    assert reporter(world).pnl(EVERYTHING).rows[0].fees is not None


def test_a_fee_far_from_any_price_is_unknown(world: World) -> None:
    """The only price of the coin is two days older than the fill: fees and net are unknown, and not zero."""
    position, store = opened(world), world.writer.store
    fill = store.executions.of_position(position.position_id)[0]
    store.ledger.set_price("MNT", D("1.6"), at=fill.time - 48 * HOUR)
    late = replace(fill, exec_id="late", fee=D(1), fee_coin="MNT")
    assert book_execution(store, late, position=position, leg=store.executions.owner(fill.key)[1] or Leg.PERP)
    (row,) = [row for row in reporter(world).pnl(EVERYTHING).rows if row.key == position.position_id]
    assert (row.fees, row.net, row.interest, row.coverage) == (None, None, D(0), Coverage.PARTIAL)
    assert reporter(world).tax(EVERYTHING).coverage is Coverage.PARTIAL


class Indebted(Bent):
    """A venue whose wallet says nothing of what borrowed coins are worth, as their equity is zero."""

    def wallet(self) -> Wallet:
        """Without the value of bitcoin."""
        found = self._exchange.wallet()
        coins = {
            coin: replace(item, equity=D(0), usd_value=D(0)) if coin == "BTC" else item
            for coin, item in found.coins.items()
        }
        return replace(found, coins=coins)


def test_interest_on_coins_that_are_only_owed_has_a_value(world: World) -> None:
    """Half a bitcoin is lent: the wallet does not say what it is worth, its pair does; debt and interest are
    booked at that.
    """
    collector = Collector(world.writer.store, Indebted(world), clock=world.clock, market=world.exchange)
    world.venue.world.borrow("BTC", D("0.5"))
    world.clock.sleep(timedelta(minutes=1))
    collector.collect()
    world.clock.sleep(3 * HOUR)
    collector.collect()
    sums = {(item.account, item.coin): item for item in world.writer.store.ledger.read.sums()}
    assert sums[Account.LOAN, "BTC"].value == D(-25_000)
    interest = sums[Account.INTEREST, "BTC"]
    assert interest.amount > 0
    assert interest.value == interest.amount * 50_000


def test_interest_without_any_price_is_unknown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither wallet nor market says what the coin is worth: the books go on, interest and net are unknown
    and not zero, and the account's row is partial.
    """
    monkeypatch.setattr(type(world.exchange), "snapshot", unread)
    collector = Collector(world.writer.store, Indebted(world), clock=world.clock, market=world.exchange)
    world.venue.world.borrow("BTC", D("0.5"))
    world.clock.sleep(3 * HOUR)
    collector.collect()
    monkeypatch.undo()
    found = reporter(world).pnl(EVERYTHING)
    assert (found.total.interest, found.total.net, found.total.coverage) == (None, None, Coverage.PARTIAL)
    assert found.total.fees == 0
    assert any("BTC" in text and "worth" in text for text in found.warnings)


def unread(_: object) -> None:
    """No quotes."""
    message = "no quotes"
    raise Unavailable(message)


@pytest.mark.parametrize("seen", [True, False])
def test_a_coin_is_worth_quote_and_not_dollars(world: World, tmp_path: Path, *, seen: bool) -> None:
    """USDT is worth less than a dollar, and the wallet values coins in dollars: what is there when the books
    are opened, and what comes in later, is worth its USDT, whether the market can be read or not.
    """
    world.venue.world.usd(D("0.998"))
    world.venue.world.transfer("BTC", D(1))
    with Store.open(url_of(tmp_path / "usd.sqlite3"), clock=world.clock) as store:
        market = world.exchange if seen else None
        collector = Collector(store, world.exchange, clock=world.clock, market=market)
        collector.open_books()
        assert store.ledger.read.holding(HoldingKey(POOL, "BTC")) == Holding(D(1), D(50_000))
        world.venue.world.transfer("BTC", D(1))
        world.clock.sleep(HOUR)
        collector.collect()
        assert store.ledger.read.holding(HoldingKey(POOL, "BTC")) == Holding(D(2), D(100_000))
