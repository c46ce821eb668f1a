"""What keeps no close from being sent, and what a close does not undo: coins that are missing by a rounding,
coins that somebody's own order ties up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fundarb.core.market import Book, Category
from fundarb.core.orders import Side, TimeInForce
from fundarb.core.records import BlockKind
from fundarb.core.states import PositionState
from fundarb.engine.commands import Arguments
from fundarb.engine.outcome import Reached
from fundarb.errors import Unavailable
from fundarb.venue.rows import OrderSpec, OrderType
from tests.daemon.living import make_living
from tests.engine.test_faults import consistent, hedged
from tests.engine.test_repairs import alerts
from tests.engine.test_trade import closed, opened
from tests.engine.world import SECOND, World, make_world
from tests.venue.toy import ToyFeed

D = Decimal
WORDS: dict[str, Arguments] = {
    "half": {"name": "BTC", "fraction": "50%"},
    "whole": {"name": "BTC"},
    "emergency": {"name": "BTC", "emergency": True},
    "all": {"all": True},
}


@dataclass
class Deep(ToyFeed):
    """Spot ten times as deep as the perp, so that the perp goes first."""

    def book(self, category: Category, symbol: str, at: datetime, depth: int) -> Book:
        """The book, with more behind each price on spot."""
        size = self.size
        if category is Category.SPOT:
            self.size = 10 * size
        try:
            return super().book(category, symbol, at, depth)
        finally:
            self.size = size


@pytest.fixture(params=["spot first", "perp first"])
def held(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A position of 0.08, and a walk that has seen it."""
    made = make_world(tmp_path / "f.sqlite3", feed=Deep() if request.param == "perp first" else ToyFeed())
    opened(made, "4000")
    made.clock.sleep(60 * SECOND)
    made.writer.reconciler.run()
    yield made
    made.close()


def locked(world: World, coins: str) -> None:
    """A hand's own order far above the market ties coins up."""
    spec = OrderSpec(
        category=Category.SPOT,
        symbol="BTCUSDT",
        side=Side.SELL,
        quantity=D(coins),
        order_type=OrderType.LIMIT,
        price=D(52_000),
        time_in_force=TimeInForce.GTC,
    )
    world.venue.place(spec)
    world.clock.sleep(SECOND)


@pytest.mark.parametrize("how", WORDS)
def test_what_is_within_the_tolerance_refuses_no_close(held: World, how: str) -> None:
    """Coins missing by a rounding of the venue's, which the walk calls in order: closed as wanted."""
    held.venue.world.transfer("BTC", D("-0.00000001"))
    held.clock.sleep(60 * SECOND)
    assert held.writer.reconciler.run().clean
    answer = held.writer.executor.execute("close", WORDS[how])
    assert (answer.exit_code, answer.reasons) == (0, ()), answer
    assert held.short == (D("0.04") if how == "half" else 0)
    assert hedged(held)
    consistent(held)


@pytest.mark.parametrize("how", WORDS)
def test_coins_that_cannot_be_sold_keep_their_short(held: World, how: str) -> None:
    """All coins are tied up in somebody's order: nothing is bought back for them, whichever leg goes first;
    exit 8 names them, and nothing is naked.
    """
    orders = len(held.venue.all_orders())
    locked(held, "0.08")
    answer = held.writer.executor.execute("close", WORDS[how])
    assert answer.exit_code != 0
    assert "tied up" in " ".join((answer.message, *(reason.message for reason in answer.reasons)))
    assert len(held.venue.all_orders()) == orders + 1
    assert hedged(held)
    (position,) = held.writer.store.positions.active()
    assert position.state is PositionState.HEDGED
    assert not {"unhedged", "halt"} & set(alerts(held))


def test_what_can_be_sold_is_closed(held: World) -> None:
    """Half of the coins are tied up: the other half is closed, both legs alike."""
    locked(held, "0.04")
    result = closed(held)
    assert result.reached is Reached.INCOMPLETE
    assert "coins_locked" in {reason.code for reason in result.reasons}
    assert held.short == D("0.04")
    assert hedged(held)
    assert result.position.state is PositionState.HEDGED


@pytest.fixture
def perp_first(tmp_path: Path) -> Iterator[World]:
    """The perp is bought back before the coins are sold."""
    made = make_world(tmp_path / "p.sqlite3", feed=Deep())
    opened(made, "4000")
    made.clock.sleep(60 * SECOND)
    yield made
    made.close()


def in_between(world: World, act: Callable[[], object]) -> None:
    """Let something happen when the next create is answered."""
    real = world.exchange.create

    def create(*args: Any, **named: Any) -> Any:
        answer = real(*args, **named)
        world.exchange.create = real  # type: ignore[method-assign]
        act()
        return answer

    world.exchange.create = create  # type: ignore[method-assign]


def test_coins_tied_up_between_the_legs_are_covered_again(perp_first: World) -> None:
    """Somebody's order ties the coins up when their short is bought back already: it is sold again, and the
    rest stays hedged.
    """
    world = perp_first
    in_between(world, lambda: locked(world, "0.08"))
    result = closed(world)
    assert result.reached is Reached.INCOMPLETE
    assert "taken_back" in {reason.code for reason in result.reasons}
    assert hedged(world)
    assert world.short == D("0.08")
    assert not {"unhedged"} & set(alerts(world))
    world.clock.sleep(timedelta(hours=1))
    world.venue.cancel_all(Category.SPOT)
    world.writer.reconciler.run()
    assert closed(world).reached is Reached.DONE
    consistent(world)


@pytest.mark.parametrize("name", ["positions", "wallet"])
@pytest.mark.parametrize("how", ["emergency", "all"])
def test_an_emergency_needs_no_private_read(
    held: World, monkeypatch: pytest.MonkeyPatch, name: str, how: str
) -> None:
    """Neither sizes nor balances can be read: an emergency closes by our own book, which the venue bounds;
    one that is not sends nothing.
    """

    def unreadable() -> object:
        raise Unavailable(f"{name}: no answer")

    monkeypatch.setattr(held.exchange, name, unreadable)
    orders = len(held.venue.all_orders())
    assert held.writer.executor.execute("close", {"name": "BTC"}).exit_code == 4
    assert len(held.venue.all_orders()) == orders
    held.writer.executor.execute("close", {**WORDS[how], "emergency": True})
    monkeypatch.undo()
    assert held.short == 0
    assert held.coins() < D("0.0001")
    consistent(held)


@pytest.mark.parametrize("taken", ["perp", "coins"])
def test_d03_the_margin_is_reduced_in_spite_of_a_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: str
) -> None:
    """D03, H03: a hand took a little of a leg and nobody has answered yet, and the margin is near its limit:
    that is taken over, told once, and both legs of the rest shrink together.
    """
    living = make_living(tmp_path, specs=())
    living.run("scan_and_open")
    (before,) = living.store.positions.active()
    category, side = (Category.LINEAR, Side.BUY) if taken == "perp" else (Category.SPOT, Side.SELL)
    living.venue.world.manual_order(category, "BTCUSDT", side=side, quantity=D("0.001"))
    living.clock.sleep(60 * SECOND)
    asked = living.run("reconcile")
    assert asked == {"perp": "perp_size:BTCUSDT", "coins": "spot_short:BTC"}[taken]
    real = living.exchange.wallet
    monkeypatch.setattr(living.exchange, "wallet", lambda: replace(real(), maintenance_margin_rate=D("0.7")))
    assert "BTC not reduced" not in living.run("watch")
    short = -sum((item.size for item in living.exchange.positions()), D(0))
    coins = real().owned("BTC")
    assert short < before.contracts * D("0.95")
    assert abs(coins - short) <= D("0.0011")
    living.close()


def test_both_legs_closed_by_hand_are_no_halt(held: World) -> None:
    """A walk dies with its first order sent, and a hand closes what is left of both legs: nothing is naked,
    so nothing halts; a person is asked about what is gone.
    """

    class Died(BaseException):
        """The process is gone."""

    def die() -> None:
        raise Died

    in_between(held, die)
    with pytest.raises(Died):
        held.writer.trader.close("BTC", D("0.5"))
    coins = (held.coins() - D("0.0000005")).quantize(D("0.000001"))
    held.venue.world.manual_close("BTCUSDT")
    held.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=Side.SELL, quantity=coins)
    held.restart()
    for _ in range(3):
        held.clock.sleep(40 * SECOND)
        found = {item.kind for item in held.writer.reconciler.run().mismatches}
        assert found >= {"perp_size", "spot_short"}
    assert held.writer.store.blocks.get("*", BlockKind.HALT) is None
