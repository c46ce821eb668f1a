"""A leg that somebody closes between the two orders of a clip, where the venue's lists still show it: its
refusal is the newer news.
"""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.market import Category
from fundarb.core.orders import OrderRequest, Outcome, Side, WriteAnswer
from fundarb.core.states import PositionState
from fundarb.engine.alerts import was_told
from fundarb.venue.rows import OrderSpec
from tests.engine.test_taken_while_closing import RULES, Act, Thin
from tests.engine.test_trade import closed, opened
from tests.engine.world import SECOND, World, make_world

D = Decimal
LEGS = (Category.SPOT, Category.LINEAR)


BUSY = WriteAnswer(outcome=Outcome.REFUSED, code=10006, message="too many requests")


def taken(
    world: World, *, first: Category, late: timedelta, act: Act | None = None, busy: int = 0
) -> list[Decimal]:
    """After the first order of a close a hand closes the other leg, or does what ``act`` says, and the
    venue's lists show it for a while yet; from the order number ``busy`` on four are turned away for the
    moment. What is naked after each order, in coins.
    """
    create, positions, wallet = world.exchange.create, world.exchange.positions, world.exchange.wallet
    naked: list[Decimal] = []
    shown, until = (positions(), wallet()), world.clock.now()

    def meddled(request: OrderRequest, *, signed_at: datetime) -> WriteAnswer:
        nonlocal shown, until
        late_enough = busy and busy <= len(naked) + 1 < busy + 4
        answer = BUSY if late_enough else create(request, signed_at=signed_at)
        if not naked:
            shown, until = (positions(), wallet()), world.clock.now() + late
            if act is not None:
                act(world)
            elif first is Category.SPOT:
                world.venue.world.manual_close("BTCUSDT")
            else:
                world.venue.world.transfer("BTC", D("-0.19"))
        naked.append(abs(wallet().owned("BTC") - world.short))
        return answer

    world.exchange.create = meddled  # type: ignore[method-assign]
    world.exchange.positions = lambda: shown[0] if world.clock.now() < until else positions()  # type: ignore[method-assign]
    world.exchange.wallet = lambda: shown[1] if world.clock.now() < until else wallet()  # type: ignore[method-assign]
    return naked


@pytest.mark.parametrize("late", [0, 0.5, 2, 5])
@pytest.mark.parametrize("first", LEGS)
def test_a_leg_that_the_venue_denies_is_followed_when_its_lists_show_it(
    tmp_path: Path, first: Category, late: float
) -> None:
    """No order adds to what is naked, and the close ends with nothing held."""
    with closing(make_world(tmp_path / "a.sqlite3", feed=Thin(thin=first), rules=RULES)) as world:
        opened(world)
        world.clock.sleep(40 * SECOND)
        naked = taken(world, first=first, late=timedelta(seconds=late))
        result = closed(world)
        assert result.position.state is PositionState.CLOSED
        assert max(naked) == naked[0]
        assert naked[-1] < D("0.0001")


@pytest.mark.parametrize("busy", [0, 4])
@pytest.mark.parametrize("first", LEGS)
def test_nothing_is_bought_for_a_leg_that_the_venue_denies(
    tmp_path: Path, first: Category, busy: int
) -> None:
    """Lists that lag for a minute leave it exposed, and a person is called, though the venue is too busy in
    the end to say it again.
    """
    with closing(make_world(tmp_path / "a.sqlite3", feed=Thin(thin=first), rules=RULES)) as world:
        opened(world)
        world.clock.sleep(40 * SECOND)
        naked = taken(world, first=first, late=timedelta(minutes=1), busy=busy)
        result = closed(world)
        assert result.position.state is PositionState.EXPOSED
        assert set(naked[1:]) == {naked[0]}
        assert was_told(world.writer.store, "unhedged", subject=result.position.position_id)


def locked(world: World) -> object:
    """An order of somebody's holds all coins."""
    return world.venue.place(
        OrderSpec(
            category=Category.SPOT, symbol="BTCUSDT", side=Side.SELL, quantity=D("0.15"), price=D(52_000)
        )
    )


@pytest.mark.parametrize("late", [0, 0.5, 2, 4, 8])
def test_a_clip_whose_coins_somebody_has_locked_is_taken_back(tmp_path: Path, late: float) -> None:
    """The venue denies coins that are there and tied up, and its wallet shows them free for a while yet: as
    soon as it does not, what the clip gave is taken back; the position stays hedged.
    """
    with closing(make_world(tmp_path / "a.sqlite3", feed=Thin(thin=Category.LINEAR), rules=RULES)) as world:
        opened(world)
        world.clock.sleep(40 * SECOND)
        naked = taken(world, first=Category.LINEAR, late=timedelta(seconds=late), act=locked)
        closed(world)
        for _ in range(2):
            world.clock.sleep(60 * SECOND)
            world.writer.reconciler.run()
        (position,) = world.writer.store.positions.active()
        assert position.state is PositionState.HEDGED
        assert max(naked) < D("0.051")
        assert naked[-1] < D("0.0011")
