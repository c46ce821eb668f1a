"""Fills of ours after the end of their order or of their plan: never a stranger's, never without a word,
given back at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fundarb.core.market import Category
from fundarb.core.orders import Leg, OrderRequest, Outcome, Side, WriteAnswer
from fundarb.core.records import BlockKind
from fundarb.core.states import IntentState, PositionState
from fundarb.engine.audit import audit
from fundarb.engine.audit_book import BookRules
from fundarb.engine.orders import OrderDesk
from fundarb.engine.outcome import Reached
from fundarb.exchange.inprocess import Loss
from tests.engine.test_faults import consistent
from tests.engine.test_resolve import alerts, halted, top_up
from tests.engine.test_trade import closed, opened
from tests.engine.world import World

D = Decimal
REFUSED = WriteAnswer(outcome=Outcome.REFUSED, code=10006, message="too many visits")


def lie(world: World, monkeypatch: pytest.MonkeyPatch, wanted: Callable[[OrderRequest], bool]) -> None:
    """The venue takes the first order that is ``wanted``, and says that it refused it."""
    real, told = world.exchange.create, [0]

    def create(request: OrderRequest, **named: Any) -> WriteAnswer:
        answer = real(request, **named)
        if told[0] or not wanted(request):
            return answer
        told[0] += 1
        return REFUSED

    monkeypatch.setattr(world.exchange, "create", create)


def codes(world: World) -> list[str]:
    """The codes of all alerts."""
    return [code for code, _ in alerts(world)]


def audited(world: World) -> None:
    """The audit finds nothing about orders and fills."""
    hour = timedelta(hours=1)
    rules = BookRules(drift_limit=D("0.02"), largest_naked=D(10_000), t_hedge=hour, t_recover=hour)
    assert [check.details for check in audit(world.writer.store, rules) if not check.ok] == []


def test_a_fill_of_an_aborted_plan_is_given_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first order was called refused and traded: an heir of the aborted plan holds the fill, it is bought
    back in the same walk, told once, the coin frozen; the order's row says what it traded.
    """
    lie(world, monkeypatch, lambda _: True)
    first = opened(world, "5000")
    assert first.position.state is PositionState.ABORTED
    traded = world.short
    assert traded
    result = world.writer.reconciler.run()
    assert [item.kind for item in result.repaired] == ["unhedged"]
    assert result.clean
    assert world.short == 0
    old = world.writer.store.positions.get(first.position.position_id)
    assert old.contracts == 0
    (heir,) = [item for item in world.writer.store.positions.all() if item != old]
    assert heir.state is PositionState.CLOSED
    assert old.position_id in heir.note
    assert codes(world).count("late_fill") == 1
    frozen = world.writer.store.blocks.get("BTC", BlockKind.FREEZE)
    assert frozen is not None
    assert frozen.needs_person
    (order,) = world.writer.store.intents.of_position(old.position_id)
    assert (order.state, order.filled) == (IntentState.REFUSED, traded)
    consistent(world)
    audited(world)
    world.restart()
    consistent(world)


def test_a_late_fill_joins_the_coins_next_plan(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another plan of the coin is open when the fill shows: it takes it over and is hedged again."""
    lie(world, monkeypatch, lambda _: True)
    late = opened(world, "5000").position.plan_id
    short = world.short
    fills, sizes = world.exchange.executions, world.exchange.positions
    with monkeypatch.context() as hidden:
        hidden.setattr(
            world.exchange,
            "executions",
            lambda *a, **k: tuple(row for row in fills(*a, **k) if late not in row.link_id),
        )
        hidden.setattr(
            world.exchange,
            "positions",
            lambda: tuple(replace(item, size=item.size + short) for item in sizes()),
        )
        second = opened(world, "2500")
    assert second.reached is Reached.DONE
    assert world.writer.reconciler.run().clean
    (active,) = world.writer.store.positions.active()
    assert active.position_id == second.position.position_id
    assert world.short == active.contracts
    assert abs(world.coins() - world.short) < D("0.001")
    assert "late_fill" in codes(world)
    consistent(world)
    audited(world)


def test_a_late_fill_of_a_living_plan_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second leg was called refused, traded, and was sent again: the excess is given back and told."""
    lie(world, monkeypatch, lambda request: request.category is Category.SPOT)
    opened(world, "5000")
    world.writer.reconciler.run()
    assert abs(world.coins() - world.short) < D("0.001")
    assert codes(world).count("late_fill") == 1
    consistent(world)
    audited(world)


def test_a_late_fill_of_coins_is_sold(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sale that was called refused took coins, the plan ended otherwise: nothing is sold twice."""
    opened(world, "5000")
    lie(world, monkeypatch, lambda request: request.side is Side.SELL)
    closed(world)
    world.writer.reconciler.run()
    assert abs(world.coins() - world.short) < D("0.001")
    consistent(world)
    audited(world)


def test_a_fill_that_no_book_can_hold_halts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sale that was called refused took a stranger's coins after ours were sold: our book cannot have had
    them. Everything is halted, and it stays in sight.
    """
    opened(world, "5000")
    world.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=Side.BUY, quantity=D("0.2"))
    world.writer.reconciler.run()
    lie(world, monkeypatch, lambda request: (request.category, request.side) == (Category.SPOT, Side.SELL))
    before = {order.link_id for order in world.venue.all_orders()}
    world.writer.trader.close("BTC", D(1), emergency=True)
    refused = [
        intent.link_id
        for position in world.writer.store.positions.all()
        for intent in world.writer.store.intents.of_position(position.position_id)
        if intent.state is IntentState.REFUSED and intent.link_id not in before
    ]
    assert len(refused) == 1
    assert not world.writer.store.positions.active()
    result = world.writer.reconciler.run()
    assert halted(world)
    assert "orphan_order" in {item.kind for item in result.mismatches}
    assert not world.writer.reconciler.run().clean
    world.restart()
    assert not world.writer.reconciler.run().clean


def test_a_finished_plan_that_holds_something_is_never_clean(world: World) -> None:
    """A database of before, in which an ended plan still holds contracts: said, and the coin frozen."""
    opened(world, "5000")
    ended = closed(world).position
    with world.writer.store.transaction():
        world.writer.store.positions._changed(ended, {"contracts": D("0.01")})  # no other way in
    result = world.writer.reconciler.run()
    assert [(item.kind, item.base) for item in result.loud] == [("left_over", "BTC")]
    assert world.writer.store.blocks.get("BTC", BlockKind.FREEZE) is not None


def test_a_fill_in_doubt_that_no_book_can_hold_halts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our purchase is in doubt while ADL takes as much from us and a stranger together: by our books it found
    nothing left to reduce. Halted and told, and neither the order nor the next start is stuck.
    """
    position = opened(world, "5000").position
    world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.SELL, quantity=D("0.1"))
    world.writer.reconciler.run()
    world.exchange.lose(Loss.ANSWER)
    draft = replace(top_up(position, Leg.PERP), quantity=D("0.1"))
    intent = OrderDesk(world.writer.desk).place(draft).intent  # type: ignore[union-attr]
    real = world.exchange.executions
    monkeypatch.setattr(
        world.exchange,
        "executions",
        lambda *a, **k: tuple(row for row in real(*a, **k) if row.link_id != intent.link_id),
    )
    world.clock.sleep(timedelta(seconds=1))
    world.venue.world.adl("BTCUSDT", D(1))
    world.writer.collector.book_fills()
    assert world.writer.store.positions.get(position.position_id).contracts == 0
    monkeypatch.undo()
    world.clock.sleep(timedelta(minutes=1))
    world.writer.reconciler.run()
    assert world.writer.store.intents.get(intent.link_id).state is IntentState.DONE
    assert halted(world)
    assert "late_fill" in codes(world)
    world.restart()
    result = world.writer.reconciler.run()
    assert "orphan_order" in {item.kind for item in result.mismatches}
    assert world.coins() < D("0.0002")
