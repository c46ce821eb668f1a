"""Make safe first, make true afterwards: what a failing read of the book-keeping may never keep from being
hedged or closed, and what is never called clean.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from fundarb.core.market import Category
from fundarb.core.orders import Leg, Purpose
from fundarb.core.reasons import Refused
from fundarb.core.records import BlockKind
from fundarb.core.states import IntentState, PositionState
from fundarb.engine.orders import OrderDesk, same_order
from fundarb.engine.outcome import Reached
from fundarb.engine.safety import AT_ONCE
from fundarb.errors import Unavailable
from fundarb.exchange.inprocess import Loss
from tests.engine.test_faults import consistent
from tests.engine.test_resolve import alerts, top_up
from tests.engine.test_trade import closed, opened
from tests.engine.world import World

D = Decimal


def down(*_: object, **__: object) -> object:
    """A read that fails."""
    message = "maintenance"
    raise Unavailable(message)


def refusals(world: World) -> set[str]:
    """Why another position would not be opened now."""
    plan = world.writer.trader.plan_open("ETH", D(1000))
    return {reason.code for reason in plan.reasons} if isinstance(plan, Refused) else set()


@pytest.mark.parametrize("read", ["transactions", "wallet", "open_orders", "fee_rates", "account"])
def test_a_leg_is_hedged_whatever_of_the_book_keeping_fails(
    world: World, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    """The venue takes 40 % of the short while one endpoint is down: the coins follow in the same walk, and
    the position can be closed.
    """
    opened(world, "5000")
    world.venue.world.adl("BTCUSDT", D("0.4"))
    world.restart()
    monkeypatch.setattr(world.exchange, read, down)
    found = world.writer.reconciler.run()
    assert world.short == D("0.06")
    held = world.writer.store.positions.active()[0]
    assert abs(held.spot_owned - world.short) < D("0.0001")
    assert [item.state for item in found.repaired] == [PositionState.HEDGED]
    forbidden = False
    if found.unread is not None:
        assert not found.clean
        assert not found.unsafe
        world.writer.reconciler.forbid_opens()
        forbidden = True
    if read != "wallet":  # of which an exit asks what may be sold
        assert world.writer.trader.close("BTC", emergency=True).reached is Reached.DONE  # type: ignore[union-attr]
        assert world.short == 0
    monkeypatch.undo()
    assert ("block_freeze" in refusals(world)) is forbidden
    assert world.writer.reconciler.run().clean
    assert "block_freeze" not in refusals(world)  # lifted by the whole walk
    consistent(world)


@pytest.mark.parametrize("prices", ["quotes", "quotes and books"])
def test_what_is_naked_is_never_clean(world: World, monkeypatch: pytest.MonkeyPatch, prices: str) -> None:
    """Without quotes a book is judged and hedged by the order books; without any price by its quantities
    alone, and the walk says that it is naked.
    """
    opened(world, "5000")
    world.restart()
    world.venue.world.adl("BTCUSDT", D("0.4"))
    monkeypatch.setattr(world.exchange, "snapshot", down)
    if prices == "quotes and books":
        monkeypatch.setattr(world.exchange, "book", down)
    found = world.writer.reconciler.run()
    if prices == "quotes":
        assert found.clean
        assert abs(world.coins() - world.short) < D("0.0001")
    else:
        assert not found.clean
        assert [item.kind for item in found.loud] == ["unhedged"]
        assert ("unhedged", found.loud[0].position_id) in alerts(world)
    monkeypatch.undo()
    assert world.writer.reconciler.run().clean
    consistent(world)


def test_a_position_is_closed_by_the_instruments_of_its_opening(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new process that cannot read the instrument list closes by what was kept of the position."""
    opened(world, "5000")
    kept = world.writer.desk.market.pair_of(world.writer.store.positions.active()[0])
    world.restart()
    monkeypatch.setattr(world.exchange, "instruments", down)
    assert world.writer.desk.market.pair_of(world.writer.store.positions.active()[0]) == kept
    assert closed(world).reached is Reached.DONE
    monkeypatch.undo()
    consistent(world)


def test_a_venue_that_shows_no_executions_is_unsafe(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What traded cannot be read: nothing is decided, and the result says that something may be naked."""
    opened(world, "5000")
    sent = len(world.venue.all_orders())
    monkeypatch.setattr(world.exchange, "executions", down)
    found = world.writer.reconciler.run()
    assert found.unsafe
    assert not found.clean
    assert len(world.venue.all_orders()) == sent
    monkeypatch.undo()
    consistent(world)


def test_a_job_looks_once_and_does_not_wait(world: World) -> None:
    """An order in doubt takes no time of the only thread: without patience each walk is one look, three of
    them over half a minute prove its absence, and nobody is told before it is overdue.
    """
    position = opened(world, "5000").position
    world.exchange.lose(Loss.REQUEST)
    placed = OrderDesk(world.writer.desk).place(top_up(position, Leg.SPOT))
    link = placed.intent.link_id  # type: ignore[union-attr]
    began, looks = world.clock.now(), 0
    while world.writer.store.intents.get(link).state is IntentState.UNCERTAIN:
        before = world.clock.now()
        world.writer.reconciler.run(patience=AT_ONCE)
        assert world.clock.now() - before < timedelta(seconds=1)
        looks += 1
        assert looks < 6
        world.clock.sleep(timedelta(seconds=15))
    assert world.writer.store.intents.get(link).state is IntentState.ABSENT
    assert world.clock.now() - began <= timedelta(seconds=62)
    consistent(world)


def test_an_order_moved_to_the_edge_of_the_band_is_ours(world: World) -> None:
    """The venue moves a perp order beyond its band to the edge (bybit-v5 §7.6): a stricter limit than ours is
    ours, a more generous one is not.
    """
    position = opened(world, "5000").position
    world.exchange.lose(Loss.ANSWER)
    beyond = D(53_500)
    draft = top_up(position, Leg.PERP)
    placed = OrderDesk(world.writer.desk).place(replace(draft, limit_price=beyond, purpose=Purpose.UNWIND))
    link = placed.intent.link_id  # type: ignore[union-attr]
    shown = world.exchange.order_realtime(Category.LINEAR, "BTCUSDT", link_id=link)
    assert shown is not None
    assert shown.limit_price is not None
    assert shown.limit_price < beyond
    written = world.writer.store.intents.get(link)
    assert same_order(written, shown)
    assert not same_order(written, replace(shown, limit_price=beyond + 1))
    found = world.writer.reconciler.run()
    assert [item.state for item in found.resolved] == [IntentState.DONE]
    assert not any(
        block.kind is BlockKind.HALT for block in world.writer.store.blocks.active(world.clock.now())
    )
    consistent(world)
