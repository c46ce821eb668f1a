"""The worst hour: lost requests, lost answers, partial fills, legs that never fill."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fundarb.core.market import Category
from fundarb.core.orders import Purpose
from fundarb.core.records import BlockKind
from fundarb.core.states import IntentState, PositionState
from fundarb.engine.outcome import Reached
from fundarb.exchange.inprocess import Loss
from fundarb.venue.rows import Directive, OrderMatch
from tests.engine.test_trade import closed, opened
from tests.engine.world import World

D = Decimal
LEGS = [Category.SPOT, Category.LINEAR]


def partly(world: World, category: Category, *fractions: str) -> None:
    directives = [Directive(fill_frac=D(text)) for text in fractions]
    world.venue.force(OrderMatch(category=category), *directives)


def hedged(world: World) -> bool:
    return abs(world.coins() - world.short) <= D("0.0001")


def consistent(world: World) -> None:
    """Books and venue agree, nothing of ours is open, and a second reconcile changes nothing."""
    assert world.writer.reconciler.run().clean
    before = world.writer.store.events.newest_id()
    again = world.writer.reconciler.run()
    assert again.clean
    assert not again.resolved
    assert not again.repaired
    assert world.writer.store.events.newest_id() == before


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("loss", list(Loss))
def test_a_lost_message_never_doubles_an_order(world: World, loss: Loss, which: int) -> None:
    """A create whose request or answer is lost, on either leg, ends hedged with each link id at the venue at
    most once.
    """
    world.exchange.lose(*[None] * which, loss)
    result = opened(world, "4000")
    assert result.reached is Reached.DONE, result.reasons
    links = [order.link_id for order in world.venue.all_orders()]
    assert len(links) == len(set(links))
    filled = {order.link_id for order in world.venue.all_orders() if order.filled}
    assert len(filled) == 2
    assert hedged(world)
    consistent(world)


def test_a_lost_request_is_absent_only_after_its_lease(world: World) -> None:
    """The order that never arrived is proved ABSENT, and not before the lease and thirty seconds of
    misses.
    """
    world.exchange.lose(Loss.REQUEST)
    started = world.clock.now()
    result = opened(world, "5000")
    assert result.orders[0].state is IntentState.ABSENT
    assert (world.clock.now() - started).total_seconds() >= 32


@pytest.mark.parametrize("category", LEGS)
def test_a_partly_filled_leg_is_completed(world: World, category: Category) -> None:
    """37 % of a first fill: the other leg follows what was executed, and the rest is topped up or trimmed."""
    partly(world, category, "0.37")
    result = opened(world, "5000")
    assert result.position.state is PositionState.HEDGED
    assert hedged(world)
    consistent(world)


def test_a_leg_that_never_fills_is_unwound(world: World) -> None:
    """The spot leg fills, the perp never does: the coins are sold again, the coin cools down, nothing is
    held.
    """
    partly(world, Category.LINEAR, *["0"] * 40)
    result = opened(world, "5000")
    assert result.reached is not Reached.DONE
    assert world.short == 0
    assert world.coins() < D("0.0002")
    assert any(
        block.kind is BlockKind.COOL_DOWN for block in world.writer.store.blocks.active(world.clock.now())
    ) or (not any(order.filled for order in world.venue.all_orders()))
    consistent(world)


def test_three_partial_second_legs_end_within_one_lot(world: World) -> None:
    """60 % three times on the second leg: topped up within the bound, then trimmed, never left naked."""
    partly(world, Category.SPOT, "0.6", "0.6", "0.6")
    result = opened(world, "5000")
    assert result.position.state is PositionState.HEDGED
    assert hedged(world)
    tops = [order for order in result.orders if order.purpose is Purpose.TOP_UP]
    assert len(tops) <= world.rules.top_ups + 1
    consistent(world)


@pytest.mark.parametrize("loss", list(Loss))
def test_a_lost_message_in_a_close_is_resolved(world: World, loss: Loss) -> None:
    """A close survives a lost request or answer: flat at the end, no order twice."""
    opened(world, "5000")
    world.exchange.lose(loss)
    result = closed(world)
    if not result.position.state.final:
        result = closed(world)
    assert result.position.state is PositionState.CLOSED
    assert world.short == 0
    consistent(world)
