"""What passes between a decision and the wire: hedges always, new exposure never under a block, nothing
old.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fundarb.core.events import Event
from fundarb.core.market import Category
from fundarb.core.orders import Leg, Purpose, Side
from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind, PositionRecord
from fundarb.core.states import IntentState, PositionState
from fundarb.engine.guard import Draft, intent_refusals
from fundarb.engine.orders import OrderDesk, Placed
from fundarb.engine.outcome import Reached, TradeResult
from fundarb.errors import Unavailable
from fundarb.exchange.inprocess import Loss
from fundarb.store.database import Store
from fundarb.venue.rows import Directive, OrderMatch
from tests.engine.test_trade import closed, opened
from tests.engine.world import World, make_world
from tests.venue.toy import ToyFeed, perp, spot

D = Decimal


def block(world: World, kind: BlockKind = BlockKind.HALT) -> None:
    now = world.clock.now()
    world.writer.store.blocks.set(
        Block(scope=GLOBAL_SCOPE, kind=kind, reason="a test", since=now, needs_person=True)
    )


def entry(position: PositionRecord, leg: Leg, quantity: str) -> Draft:
    """A small order of an entry on a leg of a position."""
    side = Side.BUY if leg is Leg.SPOT else Side.SELL
    return Draft(
        position=position,
        leg=leg,
        purpose=Purpose.ENTER,
        side=side,
        quantity=D(quantity),
        limit_price=D(50_000),
        reduce_only=False,
    )


@pytest.mark.parametrize(("leg", "quantity"), [(Leg.SPOT, "0.0001"), (Leg.PERP, "0.001")])
def test_a_small_entry_on_a_balanced_book_is_no_hedge(world: World, leg: Leg, quantity: str) -> None:
    """An order of the venue's smallest size on a balanced book is new exposure: a block refuses it."""
    position = opened(world, "5000").position
    block(world)
    codes = {
        reason.code
        for reason in intent_refusals(world.writer.desk, entry(position, leg, quantity), position=position)
    }
    assert "block_halt" in codes


CHEAP: dict[str, Any] = {"tick_size": D("0.0001"), "max_limit_qty": D(10**6)}
FILTERS = {
    "fine spot": (spot(), perp()),
    "whole coins against hundredths": (
        spot(qty_step=D(1), **CHEAP),
        perp(qty_step=D("0.01"), min_qty=D("0.01"), **CHEAP),
    ),
    "a hundred against tenths": (
        spot(qty_step=D(100), **CHEAP),
        perp(qty_step=D("0.1"), min_qty=D("0.1"), **CHEAP),
    ),
    "thousandths against millionths": (
        spot(qty_step=D("0.001")),
        perp(qty_step=D("0.000001"), min_qty=D("0.000001")),
    ),
    "large minimum": (spot(min_notional=D(200)), perp()),
}


@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS)
@pytest.mark.parametrize("fraction", [None, "0.4"], ids=["full", "partly"])
def test_a_block_between_the_legs_does_not_stop_the_hedge(
    tmp_path: Path, filters: tuple[Any, Any], fraction: str | None
) -> None:
    """Halted right after the first fill, the second leg and every correction still pass, for fine and coarse
    steps alike; then nothing more is opened.
    """
    price = D(50_000) if filters[0].instrument.qty_step < D("0.01") else D("2.5")
    feed = ToyFeed(listed=filters, prices={"BTCUSDT": price}, gap=price / 5000, size=D(20_000) / price)
    world = make_world(tmp_path / "db.sqlite3", feed=feed)

    def halt(_recorded: object, event: Event) -> None:
        if event.kind == "leg_filled":
            block(world)

    world.writer.store.events.subscribe(halt)
    if fraction is not None:
        world.venue.force(OrderMatch(category=Category.LINEAR), Directive(fill_frac=D(fraction)))
    world.writer.trader.open("BTC", D(12_000))
    position = world.writer.store.positions.all()[0]
    assert position.state in {PositionState.HEDGED, PositionState.CLOSED}
    size = max(position.spot_owned, position.contracts)
    lot = max(item.instrument.qty_step for item in filters)
    assert abs(position.spot_owned - position.contracts) <= max(lot, D("0.02") * size)
    assert position.contracts * price < D(6000), "another clip was begun under the halt"
    world.close()


def test_an_intent_that_this_process_did_not_write_is_held_back(world: World) -> None:
    """A row in SENDING whose stamp this process does not know is too old, however long the machine is up."""
    world.exchange.lose(Loss.REQUEST)
    desk = world.writer.desk
    position = opened(world, "5000").position
    block_free = entry(position, Leg.PERP, "0.001")
    intent = OrderDesk(desk)._write(replace(block_free, limit_price=D(49_990)))
    assert not hasattr(intent, "reasons"), intent
    desk.written.clear()
    world.clock.sleep(timedelta(days=2))
    answer = world.exchange.create(intent.request, signed_at=intent.signed_at)
    assert not answer.sent
    assert "waited too long" in answer.message


@pytest.fixture
def no_calls_in_transactions(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every call to the venue notes whether a database transaction of this thread was open."""
    caught: list[str] = []
    store: Store = world.writer.store

    def watched(name: str, real: Any) -> Any:
        def call(*args: Any, **named: Any) -> Any:
            if store.database.in_transaction():
                caught.append(name)
            return real(*args, **named)

        return call

    exchange = world.exchange
    for name in dir(exchange):
        real = getattr(type(exchange), name, None)
        if not name.startswith("_") and callable(real) and name != "lose":
            monkeypatch.setattr(exchange, name, watched(name, getattr(exchange, name)))
    return caught


def test_no_transaction_is_open_across_a_call(world: World, no_calls_in_transactions: list[str]) -> None:
    """Opening, losing answers, closing, reconciling: the venue is never asked inside a transaction."""
    world.exchange.lose(None, Loss.ANSWER)
    opened(world, "5000")
    world.exchange.lose(Loss.REQUEST)
    closed(world)
    world.writer.reconciler.run()
    assert no_calls_in_transactions == []


def test_a_clock_that_cannot_be_read_refuses_before_anything_is_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the venue's time no order can be signed: nothing is written, and the reason says so."""
    position = opened(world, "5000").position

    def unknown() -> object:
        raise Unavailable("the venue is away")

    monkeypatch.setattr(world.exchange, "stamp", unknown)
    before = len(world.writer.store.intents.of_position(position.position_id))
    outcome = OrderDesk(world.writer.desk).place(entry(position, Leg.PERP, "0.001"))
    assert not isinstance(outcome, Placed)
    assert [reason.code for reason in outcome.reasons] == ["clock_unknown"]
    assert len(world.writer.store.intents.of_position(position.position_id)) == before


def test_an_exit_leaves_the_cap_per_minute_to_entries(world: World) -> None:
    """Four entry orders a minute: after an open and a whole close, two each, another open passes, and the one
    after it does not.
    """
    rules = world.writer.desk.rules
    object.__setattr__(rules, "limits", replace(rules.limits, orders_per_minute=4))
    trader = world.writer.trader
    for _ in range(2):
        result = trader.open("BTC", D(1000))
        assert isinstance(result, TradeResult)
        assert result.reached is Reached.DONE
        assert isinstance(trader.close("BTC"), TradeResult)
    third = trader.open("BTC", D(1000))
    assert isinstance(third, TradeResult)
    assert third.reached is Reached.UNSENT
    assert "too_many_orders" in {reason.code for reason in third.reasons}


def test_a_hedge_follows_a_market_that_jumps_between_the_legs(world: World) -> None:
    """8 % up after the first fill: the book read for the hedge counts, not the quotes of before; hedged or
    given back, never refused for the distance.
    """

    def jump(_recorded: object, event: Event) -> None:
        if event.kind == "leg_filled" and len(world.venue.all_orders()) == 1:
            world.venue.world.jump("BTCUSDT", D("1.08"))

    world.writer.store.events.subscribe(jump)
    result = opened(world, "4000")
    assert result.position.state is PositionState.HEDGED
    assert all(order.state is not IntentState.REFUSED for order in result.orders)
    assert abs(world.coins() - world.short) <= D("0.0001")
