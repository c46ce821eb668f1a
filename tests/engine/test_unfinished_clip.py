"""A clip of an exit is cut in two, and the market of its second leg takes nothing: whoever comes next takes
the first leg back, and restores nothing that somebody else took.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb import crash
from fundarb.core.orders import Leg, Purpose
from fundarb.core.states import PositionState
from fundarb.crash import Point
from tests.engine.test_faults import consistent, hedged
from tests.engine.test_taken_while_closing import Thin
from tests.engine.test_trade import closed, opened
from tests.engine.world import SECOND, World, make_world

D = Decimal
LOT = D("0.0011")


class Died(BaseException):
    """The process is gone."""


@pytest.fixture(params=Leg)
def first(request: pytest.FixtureRequest) -> Leg:
    """The leg of a clip that is traded first."""
    leg: Leg = request.param
    return leg


@pytest.fixture
def held(first: Leg, tmp_path: Path) -> Iterator[World]:
    """4,000 USDT of BTC in one clip, where that leg is the thin one."""
    made = make_world(tmp_path / "held.sqlite3", feed=Thin(thin=first.category))
    opened(made, "4000")
    made.clock.sleep(40 * SECOND)
    yield made
    crash.disarm()
    made.close()


def halt(world: World, first: Leg, *, on: bool = True) -> None:
    """The venue takes no orders on the market of a clip's second leg."""
    world.venue.world.halt(first.other.category, "BTCUSDT", on=on)


def dead_between_the_legs(world: World, fraction: str = "1") -> None:
    """A close whose process dies after its first leg; another one takes the books over."""

    def strike() -> None:
        raise Died

    crash.arm(Point.LEGS_BETWEEN.value, 1, strike=strike)
    with pytest.raises(Died):
        world.writer.trader.close("BTC", D(fraction))
    crash.disarm()
    world.restart()
    assert abs(world.coins() - world.short) > D("0.03")


def test_b05_the_next_start_takes_back_what_a_dead_walk_gave(held: World, first: Leg) -> None:
    """B05, C03: killed between the legs of a close, and the other market is halted by then: recovery covers
    what is naked again, as the living walk does, and the close can be tried again later.
    """
    dead_between_the_legs(held)
    halt(held, first)
    held.writer.reconciler.run()
    assert hedged(held)
    assert held.short > D("0.07")
    halt(held, first, on=False)
    assert closed(held).position.state is PositionState.CLOSED
    consistent(held)


def test_what_somebody_took_beside_it_is_not_restored(held: World, first: Leg) -> None:
    """D01, D05: killed between the legs of a close of a half, and then the venue takes of the very leg that
    was reduced, too: no more than the clip gave is ever restored, and with the market back it ends hedged.
    """
    dead_between_the_legs(held, "0.5")
    if first is Leg.PERP:
        held.venue.world.adl("BTCUSDT", D("0.4"))
    else:
        held.venue.world.auto_repay("BTC", D("0.4"))
    halt(held, first)
    held.writer.reconciler.run()
    orders = held.writer.store.intents.of_position(held.writer.store.positions.all()[0].position_id)
    again = sum(order.filled for order in orders if order.purpose is Purpose.TOP_UP)
    assert again <= D("0.04") + LOT
    halt(held, first, on=False)
    held.clock.sleep(61 * SECOND)
    held.writer.reconciler.run()
    assert abs(held.coins() - held.short) <= LOT
    assert held.short <= D("0.064") + LOT


def test_a_grain_that_is_missing_keeps_no_clip_from_being_taken_back(held: World, first: Leg) -> None:
    """0.001 coins were withdrawn a moment before, and the other market is halted between the legs: what the
    clip gave is covered again all the same.
    """
    real, seen = held.exchange.create, list[int]()

    def create(*args: object, **named: object) -> object:
        answer = real(*args, **named)  # type: ignore[arg-type]
        seen.append(1)
        if len(seen) == 1:
            halt(held, first)
        return answer

    held.venue.world.transfer("BTC", D("-0.001"))
    held.exchange.create = create  # type: ignore[method-assign,assignment]
    held.writer.trader.close("BTC", emergency=True)
    assert abs(held.coins() - held.short) <= LOT
    assert held.short > D("0.07")


def test_what_is_taken_after_a_whole_clip_is_not_restored(held: World, first: Leg) -> None:
    """D01, D05: a half is closed, both legs of its clip traded; what the venue takes of a leg later stays
    gone, also while the other market is halted.
    """
    closed(held, "0.5")
    held.clock.sleep(40 * SECOND)
    smaller = first.other
    if smaller is Leg.PERP:
        held.venue.world.adl("BTCUSDT", D("0.4"))
    else:
        held.venue.world.auto_repay("BTC", D("0.4"))
    halt(held, smaller)
    held.writer.reconciler.run()
    position = held.writer.store.positions.all()[0]
    orders = held.writer.store.intents.of_position(position.position_id)
    assert [order for order in orders if order.purpose is Purpose.TOP_UP] == []
    assert position.state is PositionState.EXPOSED
    halt(held, smaller, on=False)
    held.clock.sleep(61 * SECOND)
    held.writer.reconciler.run()
    assert hedged(held)
    assert held.short <= D("0.024") + LOT
    consistent(held)
