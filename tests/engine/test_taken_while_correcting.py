"""Somebody takes of a leg while the legs are being brought together: what was decided before is not gone on
with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from fundarb import crash
from fundarb.core.market import Category
from fundarb.core.orders import OrderRequest, Purpose, Side, WriteAnswer
from fundarb.core.reasons import Refused
from fundarb.core.states import PositionState
from fundarb.crash import Point
from fundarb.exchange.inprocess import Loss
from fundarb.venue.rows import Directive, OrderMatch
from tests.engine.test_faults import hedged
from tests.engine.test_taken_while_closing import RULES, Thin
from tests.engine.test_trade import closed, opened
from tests.engine.world import SECOND, World, make_world

D = Decimal
LEGS = (Category.SPOT, Category.LINEAR)
TAKES: dict[Category, Callable[[World], object]] = {
    Category.SPOT: lambda world: world.venue.world.auto_repay("BTC", D("0.9")),
    Category.LINEAR: lambda world: world.venue.world.adl("BTCUSDT", D("0.9")),
}
OTHER = {Category.SPOT: Category.LINEAR, Category.LINEAR: Category.SPOT}


@contextmanager
def scene(tmp_path: Path, first: Category) -> Iterator[World]:
    """A position of several clips, of each of which one leg goes first, and nobody takes the other."""
    with closing(make_world(tmp_path / "a.sqlite3", feed=Thin(thin=first), rules=RULES)) as world:
        opened(world)
        world.clock.sleep(40 * SECOND)
        world.venue.force(OrderMatch(category=OTHER[first]), *[Directive(fill_frac=D(0))] * 8)
        yield world


def naked_after(world: World, act: Callable[[OrderRequest], Callable[[], object] | None]) -> list[Decimal]:
    """What is naked after each order from the one on after which something was done."""
    create, naked = world.exchange.create, list[Decimal]()
    wallet, positions = world.exchange.wallet, world.exchange.positions

    def meddled(request: OrderRequest, *, signed_at: datetime) -> WriteAnswer:
        then = None if naked else act(request)
        answer = create(request, signed_at=signed_at)
        if then is not None:
            then()
        if naked or then is not None:
            size = sum((item.size for item in positions()), D(0))
            naked.append(abs(wallet().owned("BTC") + size))
        return answer

    world.exchange.create = meddled  # type: ignore[method-assign]
    return naked


def purpose_of(world: World, request: OrderRequest) -> Purpose:
    """What an order is for."""
    intent = world.writer.store.intents.find(request.link_id)
    assert intent is not None
    return intent.purpose


@pytest.mark.parametrize("loss", [Loss.ANSWER, Loss.REQUEST, None])
@pytest.mark.parametrize("first", LEGS)
def test_what_is_taken_while_a_clip_is_taken_back_is_not_restored(
    tmp_path: Path, first: Category, loss: Loss | None
) -> None:
    """The venue takes most of the other leg when the first order of a take-back fills in part or is in
    doubt: at most what was left of the take-back makes it worse, the rest follows, the close goes on.
    """
    with scene(tmp_path, first) as world:

        def act(request: OrderRequest) -> Callable[[], object] | None:
            if purpose_of(world, request) is not Purpose.TOP_UP:
                return None
            if loss is None:
                world.venue.force(OrderMatch(category=first), Directive(fill_frac=D("0.5")))
            else:
                world.exchange.lose(loss)
            return lambda: TAKES[OTHER[first]](world)

        naked = naked_after(world, act)
        result = closed(world)
        assert naked[0] > D("0.1")
        assert max(naked) - naked[0] < D("0.021")
        assert max(naked[3:]) < D("0.021")
        assert result.position.state is PositionState.CLOSED
        assert hedged(world)


@pytest.mark.parametrize("first", LEGS)
def test_a_clip_that_is_given_back_does_not_take_the_legs_further_apart(
    tmp_path: Path, first: Category
) -> None:
    """The venue takes of the leg that an addition grew first, and nobody takes its second order: what is
    given back is what is there too much.
    """
    with scene(tmp_path, first) as world:
        second = OTHER[first]
        naked = naked_after(
            world, lambda one: partial(TAKES[first], world) if one.category is second else None
        )
        result = world.writer.trader.open("BTC", D(4000), add=True)
        assert not isinstance(result, Refused)
        position = result.position
        assert max(naked) == naked[0] > D("0.1")
        assert naked[-1] < D("0.0011")
        assert position.state is PositionState.HEDGED
        assert position.spot_owned > D("0.01")


class Died(BaseException):
    """The process is gone."""


DEAD: dict[str, tuple[Category, Callable[[World], object]]] = {
    "withdraws": (Category.SPOT, lambda world: world.venue.world.transfer("BTC", D("-0.19"))),
    "repays": (Category.SPOT, TAKES[Category.SPOT]),
    "sells": (
        Category.SPOT,
        lambda world: world.venue.world.manual_order(
            Category.SPOT, "BTCUSDT", side=Side.SELL, quantity=D("0.19")
        ),
    ),
    "closes": (Category.LINEAR, lambda world: world.venue.world.manual_close("BTCUSDT")),
    "deleverages": (Category.LINEAR, TAKES[Category.LINEAR]),
}


@pytest.mark.parametrize("act", DEAD)
def test_a_start_completes_nothing_for_a_leg_that_went_meanwhile(tmp_path: Path, act: str) -> None:
    """Killed between the legs of an addition; minutes later most of its first leg is gone. No order takes the
    legs further apart: the other one follows the venue's act, and of a hand's a person is asked.
    """
    first, take = DEAD[act]
    with closing(make_world(tmp_path / "a.sqlite3", feed=Thin(thin=first), rules=RULES)) as world:
        opened(world)
        world.clock.sleep(40 * SECOND)

        def strike() -> None:
            raise Died

        crash.arm(Point.LEGS_BETWEEN.value, 1, strike=strike)
        with pytest.raises(Died):
            world.writer.trader.open("BTC", D(4000), add=True)
        crash.disarm()
        take(world)
        world.clock.sleep(120 * SECOND)
        before = abs(world.coins() - world.short)
        world.restart()
        naked = naked_after(world, lambda _: int)
        found = world.writer.reconciler.run()
        assert max(naked, default=D(0)) < before
        if act in {"repays", "deleverages"}:
            assert naked[-1] < D("0.0011")
            assert not found.mismatches
        else:
            assert not naked
            assert {item.base for item in found.mismatches} == {"BTC"}
