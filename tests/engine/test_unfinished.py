"""What may be live where a writer's work broke off."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from fundarb.core.market import Category
from fundarb.core.orders import Leg, Outcome, WriteAnswer
from fundarb.core.states import PositionState
from fundarb.engine.orders import OrderDesk
from fundarb.engine.outcome import TradeResult
from fundarb.engine.trade import OpenPlan
from fundarb.engine.unfinished import left_behind, may_be_live, unfinished
from fundarb.errors import StateUnavailable
from tests.engine.test_resolve import top_up
from tests.engine.test_trade import opened
from tests.engine.world import World

D = Decimal


def found(world: World, sent: tuple[str, ...], *, later: int = 0) -> tuple[str, ...]:
    """As the writer sees it, or one that came so many epochs later."""
    store = world.writer.store
    return may_be_live(store, sent=sent, epoch=world.writer.lock.epoch + later)


def test_what_is_hedged_or_only_planned_is_not_live(world: World) -> None:
    """A hedged position is at rest; a plan is nothing yet, whatever dust it is given to begin with."""
    trader = world.writer.trader
    opened(world, "5000")
    assert found(world, ()) == ()
    assert left_behind(world.writer.store) == ()
    assert isinstance(trader.close("BTC"), TradeResult)
    plan = trader.plan_open("BTC", D(5000))
    assert isinstance(plan, OpenPlan)
    assert trader._write_plan(plan).spot_owned > 0
    assert found(world, ()) == ()


def test_a_first_order_is_live_if_it_left_or_nobody_knows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An order of this writer's is live if it was sent, and not if its database was lost at the gate; one of
    an earlier writer's may be.
    """

    def lost(*_: object, **__: object) -> WriteAnswer:
        raise StateUnavailable("the disk is full")

    monkeypatch.setattr(world.exchange, "create", lost)
    with pytest.raises(StateUnavailable):
        opened(world, "5000")
    (order,) = world.writer.store.intents.open()
    assert not world.writer.desk.sent
    assert found(world, ()) == ()
    (said,) = found(world, (order.link_id,))
    assert order.link_id in said
    assert found(world, (), later=1) == (said,)


def test_a_leg_without_the_other_is_live(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A position that has traded and is not at rest is named, whoever sent what."""
    position = opened(world, "5000").position
    held_back = WriteAnswer(outcome=Outcome.UNCERTAIN, message="?", sent=False)
    monkeypatch.setattr(world.exchange, "create", lambda *_, **__: held_back)
    before = list(world.writer.desk.sent)
    assert before == [order.link_id for order in world.writer.store.intents.of_position(position.position_id)]
    OrderDesk(world.writer.desk).place(top_up(position, Leg.PERP))
    assert list(world.writer.desk.sent) == before
    (said,) = found(world, ())
    assert position.position_id in said
    (reason,) = left_behind(world.writer.store)
    assert position.position_id in reason.message
    assert "against" not in reason.message
    world.writer.store.database.execute_sql("UPDATE positions SET state = 'EXPOSED'")
    (reason,) = left_behind(world.writer.store)
    assert f", {position.spot_owned} BTC against {position.contracts} BTCUSDT short" in reason.message
    assert reason.message.endswith("run `fundarb reconcile`")


def test_a_leg_is_naked_since_it_was_and_not_since_the_last_repair(world: World) -> None:
    """The venue takes the short, and nobody takes the coins: each repair comes to nothing."""
    opened(world, "5000")
    world.venue.world.halt(Category.SPOT, "BTCUSDT", on=True)
    world.venue.world.adl("BTCUSDT", D("0.5"))
    world.writer.reconciler.run()
    (first,) = unfinished(world.writer.store)
    for _ in range(3):
        world.clock.sleep(timedelta(minutes=2))
        world.writer.reconciler.run()
    (last,) = unfinished(world.writer.store)
    assert last.position.state is PositionState.EXPOSED
    assert last.since == first.since
    assert "6" in last.sentence(world.clock.now())
