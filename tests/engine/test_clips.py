"""How far a walk through the clips goes: fills in part, requests to stop, books that say nothing."""

from __future__ import annotations

from decimal import Decimal

import pytest

from fundarb.core.events import Event
from fundarb.core.market import Category, Level
from fundarb.core.money import floor_to
from fundarb.core.orders import Leg, Purpose, Side
from fundarb.core.reasons import Refused
from fundarb.core.records import Goal
from fundarb.core.states import PositionState
from fundarb.engine.commands import traded
from fundarb.engine.outcome import Reached, TradeResult
from fundarb.exchange.inprocess import Loss
from tests.engine.test_faults import consistent, hedged, partly
from tests.engine.test_trade import closed, opened
from tests.engine.world import LIMITS, SECOND, World

D = Decimal
LEGS = [Category.SPOT, Category.LINEAR]


def codes(result: object) -> set[str]:
    return {reason.code for reason in getattr(result, "reasons", ())}


def refusal_codes(outcome: object) -> set[str]:
    assert isinstance(outcome, Refused), outcome
    return {reason.code for reason in outcome.reasons}


@pytest.mark.parametrize("category", LEGS)
def test_a_clip_that_fills_in_part_is_continued(world: World, category: Category) -> None:
    """C01 in a walk of three clips: 37 % of one fill is hedged as it is, the rest is tried again, and no
    order is larger than a clip.
    """
    partly(world, category, "0.37")
    result = opened(world, "12000")
    assert result.reached is Reached.DONE, result.reasons
    assert result.position.contracts == result.position.target_contracts == D("0.24")
    assert all(order.quantity * order.limit_price <= LIMITS.max_clip * D("1.03") for order in result.orders)
    consistent(world)


def test_a_market_that_never_fills_whole_ends_the_walk(world: World) -> None:
    """Where every order fills a tenth, the walk ends after a bounded number of tries: hedged, exit 8, the
    reason says how far it came, and only what is held counts as held.
    """
    partly(world, Category.LINEAR, *["0.1"] * 60)
    result = opened(world, "5000")
    assert result.reached is Reached.INCOMPLETE
    assert result.position.state is PositionState.HEDGED
    assert "partly_filled" in codes(result)
    assert hedged(world)
    share = result.position.contracts / D("0.1")
    assert result.position.notional == D("4999.5") * share  # 0.1 contracts at 49,995
    assert traded(result).exit_code == 8
    consistent(world)


def test_a_close_that_fills_in_part_is_continued(world: World) -> None:
    """60 % of each of the first fills of a close: the walk goes on until nothing is held."""
    opened(world)
    partly(world, Category.LINEAR, "0.6", "0.6")
    partly(world, Category.SPOT, "0.6")
    result = closed(world)
    assert result.reached is Reached.DONE, result.reasons
    assert world.short == 0
    consistent(world)


def test_half_a_close_halves_what_counts_as_held(world: World) -> None:
    """After ``--fraction 50%`` the limits see half of the notional, so that it can be opened again."""
    before = opened(world, "20000").position
    after = closed(world, "0.5").position
    assert after.goal is Goal.HOLD
    assert abs(after.notional - before.notional / 2) <= D("0.02") * before.notional
    again = world.writer.trader.open("BTC", D(9_000), add=True)
    assert getattr(again, "reached", None) is Reached.DONE


def test_a_request_to_stop_before_the_first_order_sends_nothing(world: World) -> None:
    """Asked to stop before anything was sent: the plan is aborted, exit 130, nothing is held."""
    world.writer.desk.stop.requested = True
    result = opened(world, "5000")
    assert result.reached is Reached.UNSENT
    assert result.position.state is PositionState.ABORTED
    assert (traded(result).exit_code, traded(result).kind) == (130, "interrupted")
    assert world.venue.all_orders() == ()


@pytest.mark.parametrize("closing", [False, True], ids=["open", "close"])
def test_a_request_to_stop_finishes_the_clip(world: World, closing: bool) -> None:
    """Asked to stop in the middle of a clip: both legs of it are done, no further one is begun, exit 130."""
    if closing:
        opened(world, "12000")
    orders = len(world.venue.all_orders())

    def stop(_recorded: object, event: Event) -> None:
        if event.kind == "leg_filled":
            world.writer.desk.stop.requested = True

    world.writer.store.events.subscribe(stop)
    result = closed(world) if closing else opened(world, "12000")
    assert result.position.state is PositionState.HEDGED
    assert len(world.venue.all_orders()) == orders + 2
    assert hedged(world)
    answer = traded(result)
    assert (answer.exit_code, answer.kind) == (130, "interrupted")
    assert "HEDGED" in answer.message
    consistent(world)


def test_a_request_to_stop_ends_the_wait_for_a_settlement(world: World) -> None:
    """An entry that waits for a settlement to pass gives up within a second when asked to stop."""
    world.clock.sleep(8 * 3600 * SECOND - 65 * SECOND)  # ten seconds before the settlement
    stop = world.writer.desk.stop
    sleep = type(world.clock).sleep

    class Impatient(type(world.clock)):  # type: ignore[misc]
        """Asks to stop at the first wait."""

        def sleep(self, duration: object) -> None:
            stop.requested = True
            sleep(self, duration)  # type: ignore[arg-type]

    world.clock.__class__ = Impatient
    before = world.clock.now()
    result = opened(world, "5000")
    assert result.reached is Reached.UNSENT
    assert (world.clock.now() - before) <= 3 * SECOND
    assert world.venue.all_orders() == ()


@pytest.mark.parametrize("category", LEGS)
def test_a_crossed_book_stops_an_entry_before_its_first_leg(world: World, category: Category) -> None:
    """E06: crossed or empty on either leg: nothing is sent, the plan is aborted, exit 4."""
    crossed = (Level(D(50_100), D(1)),), (Level(D(49_900), D(1)),)
    real = world.writer.trader._write_plan

    def write(planned: object) -> object:
        world.venue.world.book(category, "BTCUSDT", bids=crossed[0], asks=crossed[1])
        return real(planned)  # type: ignore[arg-type]

    world.writer.trader._write_plan = write  # type: ignore[method-assign,assignment]
    result = opened(world, "5000")
    assert result.reached is Reached.UNSENT
    assert result.position.state is PositionState.ABORTED
    answer = traded(result)
    assert (answer.exit_code, answer.kind) == (4, "unavailable")
    assert world.venue.all_orders() == ()


def gone_by_hand(world: World, gone: str) -> None:
    """Somebody else takes a leg, or half of one."""
    short, coins = world.short, world.coins()
    if gone == "perp":
        world.venue.world.manual_close("BTCUSDT")
    elif gone == "half the perp":
        world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.BUY, quantity=short / 2)
    elif gone == "coins sold":
        quantity = floor_to(coins, D("0.000001"))
        world.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=Side.SELL, quantity=quantity)
    else:
        world.venue.world.transfer("BTC", -coins if gone == "coins" else -coins / 2)


GONE = ["perp", "half the perp", "coins", "half the coins", "coins sold"]


@pytest.mark.parametrize("gone", GONE)
def test_a_part_of_what_a_hand_has_closed_is_refused(world: World, gone: str) -> None:
    """H03: half of a position of which somebody else closed a leg: nothing is sent, the reason names both
    figures and the ways out.
    """
    opened(world, "5000")
    gone_by_hand(world, gone)
    before = len(world.venue.all_orders())
    refused = world.writer.trader.close("BTC", D("0.5"))
    assert refusal_codes(refused) == {"perp_size" if "perp" in gone else "spot_short"}
    assert isinstance(refused, Refused)
    assert "close all of it" in refused.reasons[0].message
    assert len(world.venue.all_orders()) == before


@pytest.mark.parametrize("emergency", [False, True], ids=["close", "emergency"])
@pytest.mark.parametrize("gone", GONE)
def test_a_close_of_what_a_hand_has_closed_ends_flat(world: World, gone: str, *, emergency: bool) -> None:
    """Whoever closes all of a position has said what is to become of a leg that was closed by hand: it is
    taken over, the other leg follows, nothing is held, and the books agree with the venue.
    """
    opened(world, "5000")
    gone_by_hand(world, gone)
    result = world.writer.trader.close("BTC", emergency=emergency)
    assert isinstance(result, TradeResult), result
    assert (result.reached, result.position.state) == (Reached.DONE, PositionState.CLOSED)
    assert [item.code for item in result.warnings] == ["taken_over"]
    assert world.short == 0
    assert world.coins() < D("0.0002")
    consistent(world)


@pytest.mark.parametrize("emergency", [False, True], ids=["close", "emergency"])
def test_what_no_row_explains_is_closed_by_an_emergency_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, *, emergency: bool
) -> None:
    """The perp is gone and no fill tells how: a close is refused; ``--emergency`` closes what is really
    there, says so, and sends no order for what nobody has.
    """
    position = opened(world, "5000").position
    world.venue.world.manual_close("BTCUSDT")
    monkeypatch.setattr(world.exchange, "executions", lambda *_, **__: ())
    result = world.writer.trader.close("BTC", emergency=emergency)
    if not emergency:
        assert refusal_codes(result) == {"perp_size"}
        return
    assert getattr(result, "reached", None) is Reached.INCOMPLETE
    assert world.coins() < D("0.0002")
    sent = len(world.writer.store.intents.of_position(position.position_id))
    world.writer.reconciler.run()
    assert len(world.writer.store.intents.of_position(position.position_id)) == sent


@pytest.mark.parametrize("emergency", [False, True], ids=["close", "emergency"])
@pytest.mark.parametrize("category", LEGS)
def test_a_clip_of_an_exit_that_finds_one_leg_only_is_taken_back(
    world: World, category: Category, *, emergency: bool
) -> None:
    """One market takes nothing while a position is closed: what the clip gave on the other one is taken back,
    within ``t_hedge``, the position stays hedged, no further clip is begun, and the next walk starts with the
    leg that failed, in another process, too; with the market back it closes.
    """
    thin = (Level(D(49_995), D("0.9")),), (Level(D(50_005), D("0.9")),)
    other = Category.SPOT if category is Category.LINEAR else Category.LINEAR
    before = opened(world, "15000").position
    world.venue.world.book(other, "BTCUSDT", bids=thin[0], asks=thin[1])
    world.venue.world.halt(category, "BTCUSDT", on=True)
    result = world.writer.trader.close("BTC", emergency=emergency)
    assert isinstance(result, TradeResult)
    assert result.reached is Reached.INCOMPLETE
    assert result.position.state is PositionState.HEDGED
    assert emergency or "taken_back" in codes(result)
    assert hedged(world)
    assert result.position.contracts == before.contracts
    exits = [order for order in result.orders if order.purpose is Purpose.EXIT]
    assert sum(order.leg.category is other for order in exits) == 1
    back = next((order for order in result.orders if order.purpose is Purpose.TOP_UP), exits[0])
    first = next(order for order in exits if order.leg.category is other)
    assert back.created_at - first.created_at <= world.writer.desk.rules.t_hedge
    consistent(world)
    world.restart()
    another = closed(world)
    assert {order.leg.category for order in another.orders[len(result.orders) :]} == {category}
    assert ("110066" if category is Category.LINEAR else "170151") in str(another.reasons)
    world.venue.world.halt(category, "BTCUSDT", on=False)
    assert closed(world).position.state is PositionState.CLOSED
    consistent(world)


def test_an_order_that_never_existed_twice_ends_the_walk(world: World) -> None:
    """Two requests lost in a row: both are proved absent, nothing is held, exit 8 names it."""
    world.exchange.lose(Loss.REQUEST, Loss.REQUEST)
    result = opened(world, "5000")
    assert result.reached is Reached.INCOMPLETE
    assert codes(result) == {"order_absent"}
    assert result.position.state is PositionState.CLOSED
    consistent(world)


def test_each_leg_keeps_its_purpose(world: World) -> None:
    """The orders of an undisturbed entry are one of each leg and clip, all of them for entering."""
    result = opened(world, "12000")
    assert [order.purpose for order in result.orders] == [Purpose.ENTER] * 6
    assert sum(order.leg is Leg.SPOT for order in result.orders) == 3


@pytest.mark.parametrize("short", LEGS)
def test_a_rest_of_a_part_that_is_no_order_is_left(world: World, short: Category) -> None:
    """One leg of a part fills 99 %: what is left of it is below the venue's smallest order, so no further
    order is sent for it and the part is done, hedged within one lot.
    """
    opened(world, "10000")
    for category, field in ((Category.SPOT, "minOrderAmt"), (Category.LINEAR, "minNotionalValue")):
        world.venue.world.filters(category, "BTCUSDT", fields={field: "100"})
    world.writer.desk.market.instruments(refresh=True)
    partly(world, short, "0.99")
    orders = len(world.venue.all_orders())
    result = closed(world, "0.5")
    assert result.reached is Reached.DONE, result.reasons
    assert result.position.state is PositionState.HEDGED
    assert D("0.1") <= world.short <= D("0.101")
    assert len(world.venue.all_orders()) == orders + 2
    consistent(world)
