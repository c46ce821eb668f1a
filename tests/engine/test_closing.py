"""Closing: parts and what is left of them, what may never hold a close back, and what each close is measured
against.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fundarb.core.market import Category, Level
from fundarb.core.money import floor_to
from fundarb.core.orders import Leg, OrderRequest, Outcome, Purpose, Side, WriteAnswer
from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind
from fundarb.core.states import PositionState
from fundarb.engine.outcome import Reached, TradeResult
from fundarb.errors import ConfigError, Unavailable
from fundarb.exchange.inprocess import Loss
from fundarb.venue.rows import Directive, OrderMatch
from tests.engine.test_faults import consistent, hedged
from tests.engine.test_trade import closed, codes, opened
from tests.engine.world import SECOND, World

D = Decimal


def refused(world: World, fraction: str) -> set[str]:
    return codes(world.writer.trader.close("BTC", D(fraction)))


# ---------------------------------------------------------------------------------------------- parts


def test_a_part_below_the_smallest_order_is_refused(world: World) -> None:
    """A part that is no order on one of the legs is refused by name, and nothing is sent."""
    opened(world, "5000")
    orders = len(world.venue.all_orders())
    assert refused(world, "0.0001") == {"fraction_too_small"}
    assert len(world.venue.all_orders()) == orders


def test_a_rest_that_could_not_be_closed_later_is_refused(world: World) -> None:
    """What would stay must be an order on both legs, after a fall of the price too: nothing is left behind
    that nobody could sell.
    """
    rules = {"min_notional": "60"}
    opened(world, "500")
    world.venue.world.filters(Category.SPOT, "BTCUSDT", fields={"minOrderAmt": rules["min_notional"]})
    world.writer.desk.market.instruments(refresh=True)
    assert refused(world, "0.9") == {"rest_too_small"}
    assert closed(world).reached is Reached.DONE


def test_a_third_and_the_rest_end_flat(world: World) -> None:
    """Parts in a row stay hedged within one lot; the last close leaves nothing but dust."""
    opened(world, "10000")
    for part in ("0.3333", "0.5"):
        assert closed(world, part).reached is Reached.DONE
        assert hedged(world)
        consistent(world)
    assert closed(world).position.state is PositionState.CLOSED
    assert world.short == 0
    assert world.coins() < D("0.0002")


def coarse(world: World, least: str) -> None:
    """From now on both markets take no order below so much quote value."""
    world.venue.world.filters(Category.SPOT, "BTCUSDT", fields={"minOrderAmt": least})
    world.venue.world.filters(Category.LINEAR, "BTCUSDT", fields={"minNotionalValue": least})
    world.writer.desk.market.instruments(refresh=True)


@pytest.mark.parametrize("thin", list(Category))
@pytest.mark.parametrize("emergency", [False, True], ids=["close", "emergency"])
def test_what_fell_below_the_smallest_order_can_be_closed(
    world: World, thin: Category, *, emergency: bool
) -> None:
    """A position that is worth less than either market's smallest order: the perp is bought back whole, which
    is always an order, the coins go to the dust and the next buy uses them.
    """
    opened(world, "200")
    coarse(world, "300")
    near = (Level(D(49_995), D("0.2")),), (Level(D(50_005), D("0.2")),)
    world.venue.world.book(thin, "BTCUSDT", bids=near[0], asks=near[1])
    result = world.writer.trader.close("BTC", emergency=emergency)
    assert isinstance(result, TradeResult), result
    assert (result.reached, result.position.state) == (Reached.DONE, PositionState.CLOSED)
    assert world.short == 0
    assert world.writer.store.ledger.dust("BTC").quantity == world.coins() > D("0.003")
    consistent(world)
    dust = world.coins()
    bought = sum(order.filled for order in opened(world, "1000").orders if order.leg is Leg.SPOT)
    assert bought < D("0.0201") - dust
    consistent(world)


def test_a_short_without_its_coins_is_not_hedged(world: World) -> None:
    """Coins went by hand and what is left of the short is below the smallest order: one lot is no excuse, the
    short is bought back whole and nothing is called hedged.
    """
    opened(world, "200")
    coarse(world, "100")
    sold = world.coins() - D("0.0001")
    world.venue.world.manual_order(
        Category.SPOT, "BTCUSDT", side=Side.SELL, quantity=floor_to(sold, D("0.000001"))
    )
    object.__setattr__(world.writer.desk.rules, "manual_close", "unwind")
    world.writer.reconciler.run(repair=True)
    assert world.short == 0
    assert world.writer.store.positions.active() == ()
    consistent(world)


def test_the_list_is_read_again_before_an_exit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before an exit instruments older than five minutes are read again, once, except in an emergency; a
    venue that does not answer keeps no exit waiting.
    """
    opened(world, "5000")
    asked: list[bool] = []
    real = world.exchange.instruments

    def counted(*, refresh: bool = False) -> Any:
        asked.append(refresh)
        if len(asked) > 1:
            raise Unavailable("the list cannot be read")
        return real(refresh=refresh)

    monkeypatch.setattr(world.exchange, "instruments", counted)
    assert closed(world, "0.2").reached is Reached.DONE
    assert asked == []
    world.clock.sleep(600 * SECOND)
    assert closed(world, "0.25").reached is Reached.DONE
    assert asked == [True]
    world.clock.sleep(600 * SECOND)
    assert closed(world, "0.5").reached is Reached.DONE
    assert asked == [True, True]
    world.writer.trader.close("BTC", emergency=True)
    assert asked == [True, True]
    assert world.short == 0


def test_a_contract_is_no_coin(world: World) -> None:
    """A symbol in the place of a coin is a usage error that names the coin, for open and close alike."""
    with pytest.raises(ConfigError, match="write BTC"):
        world.writer.trader.open("BTCUSDT", D(1000))
    opened(world, "1000")
    with pytest.raises(ConfigError, match="write BTC"):
        world.writer.trader.close("BTCUSDT")


def test_a_position_that_is_over_is_no_error_of_the_program(world: World) -> None:
    """A job that closes what somebody closed meanwhile gets a refusal: nothing is held."""
    position_id = opened(world, "1000").position.position_id
    closed(world)
    assert codes(world.writer.trader.close(position_id)) == {"not_open"}


# --------------------------------------------------------------------------- never held back by a gate


def block_everything(world: World, kind: BlockKind) -> None:
    now = world.clock.now()
    for scope in (GLOBAL_SCOPE, "BTC"):
        world.writer.store.blocks.set(
            Block(scope=scope, kind=kind, reason="a test", since=now, needs_person=True)
        )


@pytest.mark.parametrize("kind", list(BlockKind))
def test_no_block_keeps_a_position_from_being_closed(world: World, kind: BlockKind) -> None:
    """Under every kind of block, everywhere and for the coin, adding is refused and closing works, whole and
    in part.
    """
    opened(world, "5000")
    block_everything(world, kind)
    assert f"block_{kind}" in codes(world.writer.trader.open("BTC", D(500), add=True))
    assert closed(world, "0.5").reached is Reached.DONE
    assert closed(world).position.state is PositionState.CLOSED


@pytest.mark.parametrize("kind", list(BlockKind))
def test_no_block_keeps_a_naked_leg_from_being_hedged(world: World, kind: BlockKind) -> None:
    """Under every kind of block a forced reduction is followed on the other leg."""
    opened(world, "5000")
    block_everything(world, kind)
    world.venue.world.adl("BTCUSDT", D("0.4"))
    world.writer.reconciler.run()
    assert hedged(world)
    assert world.writer.store.positions.active()[0].state is PositionState.HEDGED


TIGHT: dict[str, Any] = {
    "no order a minute": {"orders_per_minute": 0},
    "no open intent": {"max_open_intents": 0},
    "no gross": {"max_gross": D(1)},
    "no per coin": {"max_per_coin": D(1)},
    "no age": {"max_quote_age": timedelta(0)},
    "no collar": {"collar": D(0)},
    "no leverage": {"leverage": D("0.001")},
    "no buffer": {"usdt_buffer": D(1000)},
}


@pytest.mark.parametrize("limits", TIGHT.values(), ids=TIGHT)
def test_no_limit_keeps_a_position_from_being_closed(world: World, limits: dict[str, Any]) -> None:
    """Each entry limit at its tightest: closing goes on as if it were not there."""
    opened(world, "5000")
    rules = world.writer.desk.rules
    object.__setattr__(rules, "limits", replace(rules.limits, **limits))
    assert closed(world).position.state is PositionState.CLOSED
    assert world.short == 0


def test_a_settlement_keeps_no_close_waiting(world: World) -> None:
    """Two seconds before a settlement a close is sent at once."""
    opened(world, "1000")
    world.clock.sleep(8 * 3600 * SECOND - 65 * SECOND)
    before = world.clock.now()
    assert closed(world).position.state is PositionState.CLOSED
    assert world.clock.now() - before < 2 * SECOND


def test_a_close_needs_no_tickers(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the quotes of the whole market unreadable a close goes by the books."""
    opened(world, "1000")
    world.restart()
    world.writer.reconciler.run()
    world.restart()

    def gone() -> None:
        raise Unavailable("no tickers")

    monkeypatch.setattr(world.exchange, "snapshot", gone)
    assert closed(world).position.state is PositionState.CLOSED


# ---------------------------------------------------------------------------- legs that are smaller already


def test_a_forced_reduction_before_a_close_is_followed(world: World) -> None:
    """ADL took 40 % a moment ago and nobody has booked it: the close books it, trims, and closes the rest."""
    opened(world, "5000")
    world.venue.world.adl("BTCUSDT", D("0.4"))
    result = closed(world)
    assert result.position.state is PositionState.CLOSED, result.reasons
    assert world.short == 0
    assert world.coins() < D("0.0002")
    consistent(world)


def test_an_emergency_goes_on_to_the_band(world: World) -> None:
    """A market that takes nothing at the first prices: an ordinary close ends there, an emergency goes on
    from its wider cap to the venue's band.
    """
    opened(world, "5000")
    world.venue.force(OrderMatch(), *[Directive(fill_frac=D(0))] * 2)
    assert closed(world).reached is Reached.INCOMPLETE
    result = world.writer.trader.close("BTC", emergency=True)
    assert isinstance(result, TradeResult)
    assert result.position.state is PositionState.CLOSED
    exits = [order for order in result.orders if order.purpose is Purpose.EXIT][:3]
    caps = [abs(order.limit_price / D(50_000) - 1) for order in exits]
    assert [round(cap, 3) for cap in caps] == [D("0.002"), D("0.020"), D("0.045")]


# ------------------------------------------------------------------------------------------- slippage


def test_every_decided_fill_is_measured_against_its_own_mids(world: World) -> None:
    """OPEN, ADD, REDUCE and CLOSE: one half-spread of five dollars per coin and leg each, although the market
    moved between the decisions; a cost has a plus.
    """
    expected = D(0)

    def paid(result: Any, first: int) -> Decimal:
        return sum((D(5) * order.filled for order in result.orders if order.seq >= first), D(0))

    for price, act in (
        (50_000, lambda: opened(world, "5000")),
        (52_000, lambda: world.writer.trader.open("BTC", D(5000), add=True)),
        (47_000, lambda: closed(world, "0.5")),
        (51_000, lambda: closed(world)),
    ):
        world.feed.prices["BTCUSDT"] = D(price)
        world.clock.sleep(60 * SECOND)
        held = world.writer.store.positions.active()
        first = world.writer.store.intents.next_seq(held[0].position_id) if held else 1
        result: Any = act()  # type: ignore[no-untyped-call]
        expected += paid(result, first)
    journals = [row for row in world.writer.store.ledger.read.journals() if row.fact == "Trade"]
    assert [row for row in journals if row.slippage is None] == []
    total = sum((row.slippage for row in journals if row.slippage is not None), D(0))
    assert abs(total - expected) < D("0.0001")


def test_a_repair_after_a_restart_is_measured_against_its_own_mids(world: World) -> None:
    """A plan that died between its legs is finished an hour and 5 % later: the repair's cost is half a
    spread, not the move.
    """
    world.venue.force(OrderMatch(category=Category.SPOT), *[Directive(fill_frac=D(0))] * 2)
    create = world.exchange.create

    def die(request: OrderRequest, **named: Any) -> WriteAnswer:
        if request.category is Category.SPOT:
            raise KeyboardInterrupt
        return create(request, **named)

    world.exchange.create = die  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        world.writer.trader.open("BTC", D(4000))
    world.feed.prices["BTCUSDT"] = D(52_500)
    world.clock.sleep(3600 * SECOND)
    world.restart()
    world.venue.force(OrderMatch(category=Category.SPOT))
    world.writer.reconciler.run()
    repairs = [
        row
        for row in world.writer.store.ledger.read.journals()
        if row.leg is not None and row.at > world.clock.now() - 600 * SECOND
    ]
    assert repairs
    assert all(abs(row.slippage or D(0)) < D(1) for row in repairs)


def test_what_was_forced_has_no_slippage(world: World) -> None:
    """An ADL fill is nobody's decision and is not measured; the trade that follows it is never measured
    against the mids of another day.
    """
    opened(world, "5000")
    world.feed.prices["BTCUSDT"] = D(45_000)
    world.clock.sleep(60 * SECOND)
    world.venue.world.adl("BTCUSDT", D("0.4"))
    world.writer.reconciler.run()
    rows = [row for row in world.writer.store.ledger.read.journals() if row.position_id is not None]
    forced, trim = [row for row in rows if row.fact in {"AdlTrade", "Trade"}][-2:]
    assert (forced.fact, forced.slippage) == ("AdlTrade", None)
    assert abs(trim.slippage or D(0)) < D(1)


# ------------------------------------------------------------------------------------------ refusals


def refusing(world: World, code: int, *, seconds: float, after: int = 1) -> list[OrderRequest]:
    """The venue refuses every create with a code for so long, after so many that it takes."""
    create, sent = world.exchange.create, []
    until = world.clock.now() + timedelta(seconds=seconds)

    def refuse(request: OrderRequest, **named: Any) -> WriteAnswer:
        sent.append(request)
        if len(sent) > after and world.clock.now() < until:
            return WriteAnswer(outcome=Outcome.REFUSED, code=code, message="refused by the venue")
        return create(request, **named)

    world.exchange.create = refuse  # type: ignore[method-assign]
    return sent


@pytest.mark.parametrize("code", [10006, 110063, 110066, 170222])
def test_a_refusal_for_the_moment_is_waited_out(world: World, code: int) -> None:
    """Two seconds of "not now" between the legs: the hedge is tried ever later within its five seconds, with
    few orders, and succeeds.
    """
    sent = refusing(world, code, seconds=2)
    result = opened(world, "4000")
    assert result.reached is Reached.DONE, result.reasons
    assert hedged(world)
    assert len(sent) <= 8


def test_a_refusal_that_nothing_mends_is_not_repeated_for_ever(world: World) -> None:
    """A leg that the venue refuses for good: few orders a repair, in the end one repair a minute, one alert;
    what is naked is mended within a minute of when it may be.
    """
    sent = refusing(world, 110007, seconds=86_400)
    result = opened(world, "4000")
    assert result.position.state is PositionState.EXPOSED
    for _ in range(230):
        world.clock.sleep(15 * SECOND)
        world.writer.reconciler.run()
    assert len(sent) <= 3 * (4 + 58)
    alerts = world.writer.store.events.after(0, 9999, kind="alert_raised")
    assert [json.loads(item.payload)["code"] for item in alerts].count("unhedged") == 1
    del world.exchange.create
    world.clock.sleep(60 * SECOND)
    world.writer.reconciler.run()
    assert world.writer.store.positions.active() == () or hedged(world)


def test_the_thousandth_order_is_an_order_like_any_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan that used up three digits of numbers can still be closed."""
    position = opened(world, "1000").position
    intents = world.writer.store.intents
    next_seq = intents.next_seq
    monkeypatch.setattr(intents, "next_seq", lambda name: next_seq(name) + 997)
    result = closed(world)
    assert result.position.state is PositionState.CLOSED
    assert all(order.seq > 999 for order in result.orders if order.purpose is Purpose.EXIT)
    assert position.position_id == result.position.position_id
    consistent(world)


def test_steps_that_changed_are_read_again(world: World) -> None:
    """The spot step becomes coarser between the reading of the list and the close: the refusal makes the list
    be read again, and the close ends flat within one new step.
    """
    opened(world, "5000")
    world.writer.desk.market.instruments()
    listed = world.exchange.instruments()
    world.venue.world.filters(Category.SPOT, "BTCUSDT", fields={"basePrecision": "0.001"})
    real = world.exchange.instruments

    def cached(*, refresh: bool = False) -> Any:
        return real(refresh=True) if refresh else listed

    world.exchange.instruments = cached  # type: ignore[method-assign]
    world.restart()
    world.exchange.instruments = cached  # type: ignore[method-assign]
    result = closed(world)
    assert result.position.state is PositionState.CLOSED, result.reasons
    assert world.short == 0
    assert world.coins() < D("0.001")


def test_a_lost_answer_in_a_part_of_a_close(world: World) -> None:
    """``--fraction 50%`` with a lost answer on either leg ends hedged at half, nothing twice."""
    before = opened(world, "5000").position.contracts
    world.exchange.lose(None, Loss.ANSWER)
    result = closed(world, "0.5")
    assert result.position.state is PositionState.HEDGED
    assert abs(result.position.contracts - before / 2) <= D("0.001")
    assert {order.leg for order in result.orders} == set(Leg)
    consistent(world)


@pytest.mark.parametrize("lost", [1, 2])
def test_a_close_whose_first_order_never_existed_tries_again(world: World, lost: int) -> None:
    """A01 on the way out: the first order of a clip is proved absent, and sent once more under a new number
    as an entry's is; after the second the close says so, and everything is still held.
    """
    opened(world, "4000")
    sent = len(world.venue.all_orders())
    world.exchange.lose(*[Loss.REQUEST] * lost)
    result = closed(world)
    if lost == 1:
        assert (result.reached, result.position.state) == (Reached.DONE, PositionState.CLOSED), result.reasons
    else:
        assert "order_absent" in {reason.code for reason in result.reasons}
        assert (result.reached, result.position.state) == (Reached.INCOMPLETE, PositionState.HEDGED)
        assert len(world.venue.all_orders()) == sent
        assert closed(world).position.state is PositionState.CLOSED
    consistent(world)
