"""The price that a position's leg stands at: the venue's own average, whatever was added and taken away."""

from __future__ import annotations

from decimal import Decimal

from fundarb.engine.outcome import TradeResult
from fundarb.engine.views import position_views
from tests.engine.world import World

D = Decimal


def done(result: object) -> TradeResult:
    """A trade that was made."""
    assert isinstance(result, TradeResult), result
    assert not result.reasons, result.reasons
    return result


def test_the_average_is_of_what_is_held(world: World) -> None:
    """Opened at 50,000, half closed and as much added at 60,000: the contracts stand at 55,000, as the venue
    says, not at the mean of everything that was ever sold; closed, the last average stays in sight.
    """
    trader = world.writer.trader
    first = done(trader.open("BTC", D(5000)))
    trader.close("BTC", D("0.5"))
    world.feed.prices["BTCUSDT"] = D(60_000)
    world.clock.sleep(world.writer.desk.rules.t_hedge)
    added = done(trader.open("BTC", D(3000), add=True))
    (theirs,) = world.exchange.positions()
    assert theirs.average_price is not None
    assert added.perp.average_price is not None
    assert abs(added.perp.average_price - theirs.average_price) < D("1e-6")
    assert added.spot.average_price is not None
    assert first.spot.average_price is not None
    assert first.spot.average_price + 4000 < added.spot.average_price < 60_000
    world.clock.sleep(world.writer.desk.rules.t_hedge)
    closed = done(trader.close("BTC", D(1)))
    assert closed.perp.average_price == added.perp.average_price


def test_the_lot_is_cut_as_a_quotient_is(world: World) -> None:
    """Five USDT at 70,000 never end: eighteen digits of it are shown, as ``open`` shows them."""
    world.feed.prices["BTCUSDT"] = D(70_000)
    lot = done(world.writer.trader.open("BTC", D(5000))).lot
    (view,) = position_views(world.writer.store, world.exchange, trading=world.exchange)
    assert view.lot == lot
    assert view.lot is not None
    assert len(view.lot.as_tuple().digits) <= 18


def test_the_distance_is_to_the_worse_price(world: World) -> None:
    """With the coin as collateral the venue's price is far away; how far the mark may rise is told by the
    price without any.
    """
    done(world.writer.trader.open("BTC", D(5000)))
    (view,) = position_views(world.writer.store, world.exchange, trading=world.exchange)
    prices = [price for price in (view.liquidation_price, view.liquidation_price_bare) if price is not None]
    assert len(prices) == 2
    assert view.mark_price is not None
    assert view.liquidation_distance is not None
    assert abs(view.liquidation_distance - (min(prices) / view.mark_price - 1)) < D("1e-9")
