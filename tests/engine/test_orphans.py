"""Orders of ours that are in no book, as after an older copy of the database was restored: their trades are
taken over by a person alone, both legs at once, and nothing of them keeps an emergency from closing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.market import Category
from fundarb.core.orders import OrderRequest, Side
from fundarb.core.position import Book
from fundarb.core.reasons import Refused
from fundarb.core.records import BlockKind
from fundarb.core.states import PositionState
from fundarb.engine.compare import Choice, Mismatch
from fundarb.engine.desk import TradeRules
from fundarb.engine.outcome import Reached
from fundarb.exchange.inprocess import spec_of
from tests.engine.test_repairs import alerts, position
from tests.engine.test_trade import codes, opened
from tests.engine.world import LIMITS, SECOND, World, make_world

D = Decimal
PERP, SPOT = "perp_size:BTCUSDT", "spot_short:BTC"


def made(path: Path, *, policy: str = "ask", clip: str = "5000") -> World:
    """A position of 0.08, and a walk that has seen it."""
    rules = TradeRules(limits=replace(LIMITS, max_clip=D(clip)), manual_close=policy)
    world = make_world(path / "f.sqlite3", rules=rules)
    opened(world, "4000")
    world.clock.sleep(60 * SECOND)
    world.writer.reconciler.run()
    return world


@pytest.fixture
def held(tmp_path: Path) -> Iterator[World]:
    """A position under the policy ``ask``."""
    world = made(tmp_path)
    yield world
    world.close()


def order(world: World, leg: str, coins: str) -> None:
    """An exit of our plan on one leg (``s`` or ``p``), which no row tells of."""
    plan, spot = world.writer.store.positions.active()[0].plan_id, leg == "s"
    request = OrderRequest(
        link_id=f"fa-{world.writer.desk.tag()}-{plan}-{leg}099",
        category=Category.SPOT if spot else Category.LINEAR,
        symbol="BTCUSDT",
        side=Side.SELL if spot else Side.BUY,
        quantity=D(coins),
        limit_price=D(49_000) if spot else D(51_000),
        reduce_only=not spot,
    )
    world.venue.place(spec_of(request))


def orphans(world: World, coins: str = "0.04") -> None:
    """The exit of a part, on both legs, which no row tells of."""
    order(world, "s", coins)
    order(world, "p", coins)
    world.clock.sleep(SECOND)


def book(world: World) -> Book:
    """What our books say is held."""
    held = world.writer.store.positions.all()[0]
    return Book(held.spot_owned, held.contracts)


def found(world: World, *, repair: bool = True) -> dict[str, Mismatch]:
    """The differences that a walk finds."""
    return {item.id: item for item in world.writer.reconciler.run(repair=repair).mismatches}


@pytest.mark.parametrize("policy", ["unwind", "rehedge"])
def test_no_policy_takes_over_what_an_orphan_sold(tmp_path: Path, policy: str) -> None:
    """Coins sold and contracts bought back by our own orders without a row: whatever the policy says nothing
    of either leg is booked or traded, everything halts, and a person is asked about each.
    """
    world = made(tmp_path, policy=policy)
    before = book(world)
    orphans(world)
    orders = len(world.venue.all_orders())
    for _ in range(2):
        asked = found(world)
        assert {item.kind for item in asked.values()} == {"perp_size", "spot_short", "orphan_order"}
        for ident in (PERP, SPOT):
            assert "link id without a row: answer with `fundarb resolve" in asked[ident].action
            assert "by hand" not in asked[ident].action
    assert book(world) == before
    assert len(world.venue.all_orders()) == orders
    assert world.writer.store.blocks.get("*", BlockKind.HALT) is not None
    assert "unhedged" not in alerts(world)
    world.close()


def test_a_close_takes_over_nothing_of_an_orphan(held: World) -> None:
    """A close of the whole is refused with our books as they were: not half of it is taken over."""
    before = book(held)
    orphans(held)
    orders = len(held.venue.all_orders())
    refused = held.writer.trader.close("BTC")
    assert codes(refused) == {"perp_size", "spot_short"}
    assert isinstance(refused, Refused)
    assert not refused.warnings
    assert book(held) == before
    assert position(held) is PositionState.HEDGED
    assert len(held.venue.all_orders()) == orders


@pytest.mark.parametrize("choice", [Choice.UNWIND, Choice.REHEDGE])
@pytest.mark.parametrize("ident", [PERP, SPOT])
def test_an_answer_takes_over_both_legs(held: World, ident: str, choice: Choice) -> None:
    """Whichever leg a person answers: both are booked at once, nothing is traded and nothing is naked; the
    position is half of what it was, and can be closed.
    """
    before = held.writer.store.positions.active()[0]
    orphans(held)
    orders = len(held.venue.all_orders())
    decided = held.writer.decider.decide(ident, choice)
    assert not isinstance(decided, Refused)
    assert {item.kind for item in decided.after.mismatches} == {"orphan_order"}
    assert len(held.venue.all_orders()) == orders
    assert book(held) == Book(before.spot_owned - D("0.04"), D("0.04"))
    assert abs(held.writer.store.positions.all()[0].notional * 2 - before.notional) < 1
    assert "unhedged" not in alerts(held)
    result = held.writer.trader.close("BTC")
    assert not isinstance(result, Refused)
    assert result.reached is Reached.DONE, result.reasons
    assert held.short == 0
    assert held.coins() < D("0.0001")


@pytest.mark.parametrize("clip", ["5000", "600"])
def test_an_emergency_closes_what_is_there_beside_an_orphan(tmp_path: Path, clip: str) -> None:
    """Nobody has answered: an emergency closes what is there, clip by clip, and is answered afterwards."""
    world = made(tmp_path, clip=clip)
    orphans(world)
    world.writer.trader.close("BTC", emergency=True)
    assert world.short == 0
    assert world.coins() < D("0.0001")
    world.writer.decider.decide(SPOT, Choice.UNWIND)
    assert position(world) is PositionState.CLOSED
    assert {item.kind for item in found(world).values()} == {"orphan_order"}
    world.close()


@pytest.mark.parametrize("clip", ["5000", "600"])
@pytest.mark.parametrize("bought", ["0.04", "0.03"])
def test_an_emergency_closes_what_is_there_though_a_leg_is_booked(
    tmp_path: Path, bought: str, clip: str
) -> None:
    """A hand sold coins, which is booked, and no row may explain what closed the short: our book is EXPOSED
    while the venue is hedged, or less so. An emergency goes by what is there, and ends flat.
    """
    world = made(tmp_path, policy="unwind", clip=clip)
    world.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=Side.SELL, quantity=D("0.04"))
    order(world, "p", bought)
    world.clock.sleep(SECOND)
    world.writer.collector.collect()
    explained = world.writer.reconciler.repairer.explain_now()
    outflow = next(iter(explained.values())).outflow
    assert outflow is not None
    ident = world.writer.store.positions.active()[0].position_id
    world.writer.reconciler.repairer.sold_by_hand(ident, outflow, choice=Choice.UNWIND)
    assert "unhedged" in {item.kind for item in found(world, repair=False).values()}
    assert book(world).contracts > D("0.07")
    assert position(world) is PositionState.EXPOSED
    world.writer.trader.close("BTC", emergency=True)
    assert world.short == 0
    assert world.coins() < D("0.0001")
    world.close()


def test_what_a_hand_took_of_both_legs_cuts_the_share_once(tmp_path: Path) -> None:
    """A hand closed half of each leg: the position counts half of its notional, not a quarter."""
    world = made(tmp_path, policy="unwind")
    before = world.writer.store.positions.active()[0]
    world.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=Side.SELL, quantity=D("0.04"))
    world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.BUY, quantity=D("0.04"))
    world.clock.sleep(SECOND)
    assert found(world) == {}
    after = world.writer.store.positions.active()[0]
    assert after.contracts == D("0.04")
    assert abs(after.notional * 2 - before.notional) < 1
    world.close()
