"""A stranger's contracts beside ours in one symbol: the venue averages them with ours, the books do not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest

from fundarb.core.ledger import Account
from fundarb.core.lots import LotMethod
from fundarb.core.market import Category
from fundarb.core.orders import Leg, Side
from fundarb.core.pnl import Coverage
from fundarb.engine.outcome import TradeResult
from fundarb.engine.report_rows import ACCOUNT_ROW
from tests.engine.month import EVERYTHING, collect, reporter, snapshot
from tests.engine.test_collect import opened
from tests.engine.world import World

D = Decimal
HOUR = timedelta(hours=1)


def priced(world: World, price: int) -> None:
    """Half an hour later both markets are at another price."""
    world.clock.sleep(HOUR / 2)
    world.feed.prices["BTCUSDT"] = D(price)
    world.clock.sleep(HOUR / 2)


def by_hand(world: World, side: Side) -> None:
    """Somebody trades 0.02 of the contract."""
    world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=side, quantity=D("0.02"))


def seen(world: World) -> Decimal:
    """The books brought up to date, with a point that tied; what the total says was made. It is the change of
    the account's worth as the venue reports it, nothing of it in suspense or unexplained.
    """
    world.clock.sleep(timedelta(minutes=1))
    collect(world)
    snapshot(world)
    found = reporter(world).pnl(EVERYTHING)
    assert found.tie_out.unexplained == 0
    assert abs(found.total.suspense) <= D("1e-8")
    assert found.total.coverage is Coverage.COMPLETE
    wallet, mid = world.exchange.wallet(), world.feed.prices["BTCUSDT"]
    worth = wallet.owned("USDT") + wallet.owned("BTC") * mid
    worth += sum((item.unrealised_pnl for item in world.exchange.positions()), D(0))
    assert found.total.net is not None
    assert abs(found.total.net - (worth - 100_000)) < D("1e-6")
    return found.total.net


@pytest.mark.parametrize("ours_first", [True, False])
def test_what_the_venue_averages_between_both_is_the_accounts(world: World, ours_first: bool) -> None:
    """A hand sells beside our short at a better price and buys back: the total is what the account made at
    every moment, our position made what its own fills say, and nothing stands in suspense or alarms.
    """
    position = opened(world)
    seen(world)
    priced(world, 52_000)
    by_hand(world, Side.SELL)
    seen(world)
    priced(world, 51_000)
    seen(world)
    deeds: list[Callable[[], object]] = [
        lambda: world.writer.trader.close("BTC", D(1)),
        lambda: by_hand(world, Side.BUY),
    ]
    for deed in deeds if ours_first else deeds[::-1]:
        deed()
        seen(world)
        priced(world, 53_000)
        seen(world)
    assert not world.exchange.positions()
    store, found = world.writer.store, reporter(world).pnl(EVERYTHING)
    fills = store.executions.of_position(position.position_id)
    cash = sum((-row.side.sign * row.value for row in fills if row.category is Category.LINEAR), D(0))
    booked = sum(
        (
            -item.value
            for item in store.ledger.read.sums()
            if item.account is Account.REALISED
            and item.position_id == position.position_id
            and item.leg is Leg.PERP
        ),
        D(0),
    )
    assert booked == cash
    assert next(row for row in found.rows if row.key == ACCOUNT_ROW).realised
    assert not [one for one in store.events.after(0, 1_000) if "ledger_difference" in str(one)]
    told = reporter(world).tax(EVERYTHING, LotMethod.FIFO)
    assert told.unknown == 0


def test_only_what_strangers_traded_while_we_held_stands_beside_ours(world: World) -> None:
    """Contracts of strangers count from our first fill on; without any there is nobody."""
    position = opened(world)
    store = world.writer.store
    read = store.ledger.read
    assert read.strangers_beside(position.position_id, "BTCUSDT") is None
    world.clock.sleep(HOUR)
    by_hand(world, Side.SELL)
    collect(world)
    assert read.strangers_beside(position.position_id, "BTCUSDT") == D("-0.02")
    assert read.strangers_beside(position.position_id, "BTCUSDT", until=position.created_at) is None
    assert isinstance(world.writer.trader.close("BTC", D(1)), TradeResult)
