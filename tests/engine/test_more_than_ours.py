"""A hand trades away more than is ours in one go: our leg is gone, what lies beyond is its own."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.market import Category
from fundarb.core.orders import Side, TimeInForce
from fundarb.core.reasons import Refused
from fundarb.core.states import PositionState
from fundarb.engine.audit import audit
from fundarb.engine.commands import Arguments
from fundarb.engine.compare import Choice
from fundarb.venue.rows import MarketUnit, OrderSpec, OrderType
from tests.engine.test_close_in_spite import Deep, in_between
from tests.engine.test_repairs import alerts, decide, frozen, position, ruled, tied
from tests.engine.test_taken_over import RULES
from tests.engine.test_trade import codes, opened
from tests.engine.world import SECOND, World, make_world

__all__ = ["ruled"]

D = Decimal
OURS = D("0.1")
PERP, COINS = "perp_size:BTCUSDT", "spot_short:BTC"


def bought(world: World, *quantities: str) -> None:
    """A hand buys (sells: negative) contracts, a second apart."""
    for text in quantities:
        amount = D(text)
        side = Side.BUY if amount > 0 else Side.SELL
        world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=side, quantity=abs(amount))
        world.clock.sleep(SECOND)


def borrowed(world: World, quantity: str = "0.25") -> None:
    """A hand sells more coins than there are, on margin."""
    world.venue.place(
        OrderSpec(
            category=Category.SPOT,
            symbol="BTCUSDT",
            side=Side.SELL,
            quantity=D(quantity),
            order_type=OrderType.MARKET,
            time_in_force=TimeInForce.IOC,
            market_unit=MarketUnit.BASE,
            leverage=True,
        )
    )
    world.clock.sleep(SECOND)
    assert world.coins() < 0


GONE: dict[str, tuple[str, Callable[[World], None]]] = {
    "reversed": (PERP, lambda world: bought(world, "0.25")),
    "a bit more": (PERP, lambda world: bought(world, "0.11")),
    "in parts": (PERP, lambda world: bought(world, "0.04", "0.1")),
    "reversed and back": (PERP, lambda world: bought(world, "0.25", "-0.15")),
    "more and half back": (PERP, lambda world: bought(world, "0.15", "-0.1")),
    "lent": (COINS, borrowed),
}


@pytest.fixture
def held(world: World) -> World:
    """A position that nobody has touched yet."""
    opened(world, "5000")
    world.clock.sleep(SECOND)
    world.writer.reconciler.run()
    return world


def ended(world: World, gone: str) -> None:
    """The position is over with nothing left, books and venue agree, and a hand's own is where it was."""
    beside, coins = -world.short, world.coins()
    assert position(world) is PositionState.CLOSED
    for _ in range(2):
        world.clock.sleep(60 * SECOND)
        result = world.writer.reconciler.run()
        assert result.clean, result.mismatches
    assert -world.short == beside
    assert abs(world.coins() - coins) <= D("0.00001")  # interest on what a hand borrows
    wanted = {"reversed": "0.15", "a bit more": "0.01", "in parts": "0.04"}
    assert beside == D(wanted.get(gone, "0"))
    tied(world)


@pytest.mark.parametrize("gone", [name for name in GONE if name != "more and half back"])
@pytest.mark.parametrize("how", ["close", "emergency", "unwind"])
def test_h03_a_leg_that_is_more_than_gone_can_be_ended(held: World, gone: str, how: str) -> None:
    """H03: asked by the walk; a person's close or answer takes over what was ours, reduces the other leg, and
    leaves the hand's own alone.
    """
    ident, act = GONE[gone]
    act(held)
    asked = held.writer.reconciler.run()
    assert [item.id for item in asked.mismatches] == [ident]
    assert f"fundarb resolve {ident}" in asked.mismatches[0].action
    assert frozen(held)
    deeds: dict[str, tuple[str, Arguments]] = {
        "close": ("close", {"name": "BTC"}),
        "emergency": ("close", {"name": "BTC", "emergency": True}),
    }
    if how in deeds:
        answer = held.writer.executor.execute(*deeds[how])
        assert (answer.exit_code, answer.reasons) == (0, ()), answer
    else:
        decide(held, ident, Choice(how))
    ended(held, gone)


@pytest.mark.parametrize("ruled", ["unwind"], indirect=True)
@pytest.mark.parametrize("gone", [name for name in GONE if name != "more and half back"])
def test_h03_a_policy_ends_it_at_the_start(ruled: World, gone: str) -> None:
    """H03 with policy unwind: the next start takes over what was ours, sells or buys the other leg, and tells
    a person once.
    """
    opened(ruled, "5000")
    ident, act = GONE[gone]
    act(ruled)
    ruled.restart()
    assert ruled.writer.reconciler.run(repair=True).clean
    assert alerts(ruled) == [ident.split(":", maxsplit=1)[0]]
    ended(ruled, gone)


def test_what_came_back_in_part_is_kept(held: World) -> None:
    """A hand buys 0.15 and sells 0.1: of our 0.1 it took half, and the answer keeps the other half hedged."""
    bought(held, "0.15", "-0.1")
    decide(held, PERP, Choice.UNWIND)
    assert held.short == D("0.05")
    assert abs(held.coins() - D("0.05")) <= D("0.0001")
    assert position(held) is PositionState.HEDGED
    held.clock.sleep(60 * SECOND)
    assert held.writer.reconciler.run().clean
    tied(held)


@pytest.mark.parametrize("ruled", ["rehedge"], indirect=True)
@pytest.mark.parametrize("gone", ["reversed", "lent"])
def test_what_a_hand_holds_against_us_is_not_traded_away(ruled: World, gone: str) -> None:
    """H03 with policy rehedge: a new short would only reduce the hand's long, new coins only repay its loan:
    nothing is sent, a person is asked once, and told which answers there are.
    """
    opened(ruled, "5000")
    ident, act = GONE[gone]
    act(ruled)
    orders = len(ruled.venue.all_orders())
    for _ in range(3):
        ruled.clock.sleep(60 * SECOND)
        asked = ruled.writer.reconciler.run(repair=True)
        assert [item.id for item in asked.mismatches] == [ident]
        assert asked.mismatches[0].action.endswith(f"answer with `fundarb resolve {ident} --unwind`")
    assert len(ruled.venue.all_orders()) == orders
    assert alerts(ruled) == [ident.split(":", maxsplit=1)[0]]
    refused = ruled.writer.decider.decide(ident, Choice.REHEDGE)
    assert isinstance(refused, Refused)
    assert len(ruled.venue.all_orders()) == orders
    decide(ruled, ident, Choice.UNWIND)
    ended(ruled, gone)


@pytest.mark.parametrize("ruled", ["rehedge"], indirect=True)
def test_a_short_is_restored_where_the_hand_came_back(ruled: World) -> None:
    """H03 with policy rehedge: the account is flat again, so the short is sold anew."""
    opened(ruled, "5000")
    bought(ruled, "0.25", "-0.15")
    assert ruled.writer.reconciler.run(repair=True).clean
    assert ruled.short == OURS
    assert position(ruled) is PositionState.HEDGED
    tied(ruled)


def test_coins_that_paid_a_hands_loan_went_when_they_came(tmp_path: Path) -> None:
    """A hand sells coins on margin while our short has none yet, and those that we buy pay its loan back:
    they are booked as gone when they had come, so that the book never held less than nothing.
    """
    world = make_world(tmp_path / "f.sqlite3", feed=Deep())  # the short is sold first
    in_between(world, lambda: borrowed(world, "0.006"))
    opened(world, "4000")
    assert [item.id for item in world.writer.reconciler.run().mismatches] == [COINS]
    decide(world, COINS, Choice.UNWIND)
    assert position(world) is PositionState.HEDGED
    assert next(check for check in audit(world.writer.store, RULES) if check.id == "7").ok
    tied(world)
    world.close()


def test_nothing_is_opened_on_coins_that_are_owed(world: World) -> None:
    """What would be bought would only repay a loan of a hand's: the open is refused, and says so."""
    borrowed(world)
    world.writer.reconciler.run()
    assert "coins_owed" in codes(world.writer.trader.open("BTC", D(2000)))
