"""The venue changes its steps and smallest orders while a position is held: what can be closed is, what
cannot stays hedged, and a person is told what ends it.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from fundarb.core.market import Category
from fundarb.core.orders import Leg, Purpose
from fundarb.core.states import PositionState
from fundarb.engine.outcome import Reached, TradeResult
from tests.engine.test_faults import consistent, hedged
from tests.engine.test_trade import closed, opened
from tests.engine.world import SECOND, World

D = Decimal


def steps(world: World, step: str, least: str | None = None) -> None:
    """From now on contracts are traded in coarser steps, and coins for so much at least."""
    fields = {"qtyStep": step, "minOrderQty": step}
    world.venue.world.filters(Category.LINEAR, "BTCUSDT", fields=fields)
    if least is not None:
        world.venue.world.filters(Category.SPOT, "BTCUSDT", fields={"minOrderAmt": least})
    world.clock.sleep(400 * SECOND)


def codes(result: TradeResult) -> set[str]:
    """Why it stopped."""
    return {reason.code for reason in result.reasons}


@pytest.mark.parametrize("emergency", [False, True])
@pytest.mark.parametrize(("step", "left"), [("0.003", "0.002"), ("0.007", "0.003"), ("0.03", "0.020")])
def test_what_is_less_than_a_step_stays_hedged_and_is_told(
    world: World, step: str, left: str, emergency: bool
) -> None:
    """0.08 contracts are no whole number of steps any more: all whole ones are closed, the coins of the rest
    stay with it, and the reason says how it ends. Trying again sends nothing; once the contracts are closed
    by hand a close takes that over and ends flat.
    """
    opened(world, "4000")
    steps(world, step)
    result = world.writer.trader.close("BTC", emergency=emergency)
    assert isinstance(result, TradeResult)
    assert (result.reached, result.position.state) == (Reached.INCOMPLETE, PositionState.HEDGED)
    assert codes(result) == {"below_step"}
    assert "by hand" in result.reasons[0].message
    assert world.short == result.position.contracts == D(left)
    assert hedged(world)
    consistent(world)
    sent = len(world.venue.all_orders())
    again = world.writer.trader.close("BTC", emergency=emergency)
    assert isinstance(again, TradeResult)
    assert (again.reached, codes(again)) == (Reached.UNSENT, {"below_step"})
    assert len(world.venue.all_orders()) == sent
    world.venue.world.manual_close("BTCUSDT")
    assert closed(world).position.state is PositionState.CLOSED
    assert world.coins() < D("0.0002")
    consistent(world)


def test_a_share_too_small_to_be_sold_is_made_a_whole_clip(world: World) -> None:
    """The even share of a clip is below a new smallest sale: a whole clip is closed instead of nothing. What
    is left of the coins then is no order at all: it becomes dust, and no contract stays for it.
    """
    opened(world, "5500")  # 0.110 contracts in two clips of 0.055, worth 2750 each
    steps(world, "0.001", least="3000")
    result = closed(world)
    exits = [(order.leg, order.filled) for order in result.orders if order.purpose is Purpose.EXIT]
    assert exits == [(Leg.SPOT, D("0.1")), (Leg.PERP, D("0.1")), (Leg.PERP, D("0.01"))]
    assert (result.reached, result.position.state) == (Reached.DONE, PositionState.CLOSED), result.reasons
    assert world.writer.store.ledger.dust("BTC").quantity == world.coins()
    consistent(world)
