"""Legs that do not come together: doubt that lasts, ladders, cool-downs, and how long anything may be naked
(families A and C).
"""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fundarb.core.market import Category, Level
from fundarb.core.orders import Leg, OrderRequest, Purpose, Side
from fundarb.core.records import BlockKind
from fundarb.core.states import IntentState, PositionState
from fundarb.engine.booking import quantities
from fundarb.engine.outcome import Reached, TradeResult
from fundarb.errors import Unavailable
from fundarb.exchange.inprocess import Loss
from fundarb.venue.rows import Directive, OrderMatch
from tests.engine.test_faults import consistent, hedged, partly
from tests.engine.test_trade import closed, codes, opened
from tests.engine.world import LIMITS, SECOND, World, make_world
from tests.venue.toy import ToyFeed, perp, spot

D = Decimal
LOOK_UPS = ("order_realtime", "order_history", "executions_of")


def alerts(world: World) -> list[str]:
    found = world.writer.store.events.after(0, 9999, kind="alert_raised")
    return [json.loads(item.payload)["code"] for item in found]


def blind(world: World, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """These reads fail from now on."""

    def away(*_: object, **__: object) -> object:
        raise Unavailable("the venue does not answer")

    for name in names or LOOK_UPS:
        monkeypatch.setattr(world.exchange, name, away)


def lose_on(world: World, category: Category, loss: Loss) -> None:
    """Lose the next create of one market."""
    create = world.exchange.create

    def losing(request: OrderRequest, **named: Any) -> Any:
        if request.category is category:
            world.exchange.create = create  # type: ignore[method-assign]
            world.exchange.lose(loss)
        return create(request, **named)

    world.exchange.create = losing  # type: ignore[method-assign]


def blind_after(world: World, monkeypatch: pytest.MonkeyPatch, category: Category) -> None:
    """The look-ups of one market's orders fail from now on; the other market answers."""
    for name in LOOK_UPS:
        real = getattr(world.exchange, name)

        def half(cat: Category, symbol: str, *, link_id: str, real: Any = real) -> Any:
            if cat is category:
                raise Unavailable("the venue does not answer")
            return real(cat, symbol, link_id=link_id)

        monkeypatch.setattr(world.exchange, name, half)


def naked(world: World, position_id: str) -> timedelta:
    """The longest naked stretch of a position, by the times of its executions."""
    store = world.writer.store
    position = store.positions.get(position_id)
    owned = short = D(0)
    longest, since = timedelta(), None
    for row in store.executions.of_position(position_id):
        leg = Leg.PERP if row.category is Category.LINEAR else Leg.SPOT
        coins, contracts = quantities(row, position, leg=leg)
        owned, short = owned + coins, short + contracts
        balanced = abs(owned - short) <= D("0.02") * max(owned, short) or abs(owned - short) < D("0.0002")
        longest = max(longest, row.time - (since or row.time))
        since = None if balanced else since or row.time
    return longest


def thin_spot(world: World) -> None:
    """Little depth on spot: that leg goes first."""
    near = (Level(D(49_995), D("0.2")),), (Level(D(50_005), D("0.2")),)
    world.venue.world.book(Category.SPOT, "BTCUSDT", bids=near[0], asks=near[1])


# ---------------------------------------------------------------------------------------- §5.4: doubt


@pytest.mark.parametrize("category", list(Category))
def test_a_leg_in_doubt_is_covered_by_the_other_one(
    world: World, monkeypatch: pytest.MonkeyPatch, category: Category
) -> None:
    """The second leg's request is lost and its look-ups fail: within t_recover and a read the first leg is
    reduced to what the venue holds, the order stays UNCERTAIN, one alert; once the venue answers it is ABSENT
    and nothing is held.
    """
    if category is Category.LINEAR:
        thin_spot(world)
    lose_on(world, category, Loss.REQUEST)
    blind_after(world, monkeypatch, category)
    started = world.clock.now()
    result = opened(world, "4000")
    assert result.reached is Reached.UNCERTAIN
    if not any(order.leg.category is not category and order.filled for order in result.orders):
        pytest.fail("the doubt was meant to be on the second leg")
    assert world.clock.now() - started < timedelta(seconds=38)
    assert world.short == 0
    assert world.coins() < D("0.0002")
    assert naked(world, result.position.position_id) < timedelta(seconds=38)
    last = result.orders[-1]
    assert (last.purpose, last.leg.category is category) == (Purpose.UNWIND, False)
    assert last.reduce_only or last.side is Side.SELL
    assert alerts(world) == ["uncertain_order"]
    orders = len(world.venue.all_orders())
    for _ in range(3):
        world.writer.hedger.repair(result.position.position_id)
    assert len(world.venue.all_orders()) == orders
    monkeypatch.undo()
    consistent(world)
    assert world.writer.store.positions.active() == ()


@pytest.mark.parametrize("category", list(Category))
def test_an_order_in_doubt_that_was_filled_is_no_shortfall(
    world: World, monkeypatch: pytest.MonkeyPatch, category: Category
) -> None:
    """The same with the answer lost and the order filled: the venue's position and wallet show it, so nothing
    is reduced, and it is adopted as soon as it can be looked up.
    """
    if category is Category.LINEAR:
        thin_spot(world)
    lose_on(world, category, Loss.ANSWER)
    blind_after(world, monkeypatch, category)
    opened(world, "4000")
    assert world.short == D("0.08")
    assert hedged(world)
    monkeypatch.undo()
    consistent(world)
    assert world.writer.store.positions.active()[0].state is PositionState.HEDGED


def test_nothing_is_sent_before_the_lease_has_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repair right after the doubt began sends nothing: the request may still be admitted; one after
    t_recover covers what is naked.
    """
    patience = world.writer.resolver.resolve
    monkeypatch.setattr(world.writer.resolver, "resolve", lambda intent, **_: intent)
    world.exchange.lose(None, Loss.REQUEST)
    result = opened(world, "4000")
    assert result.position.state is PositionState.UNCERTAIN
    orders = len(world.venue.all_orders())
    world.writer.hedger.repair(result.position.position_id)
    assert len(world.venue.all_orders()) == orders
    assert not hedged(world)
    world.clock.sleep(world.rules.t_recover)
    world.writer.hedger.repair(result.position.position_id)
    assert len(world.venue.all_orders()) == orders + 1
    monkeypatch.setattr(world.writer.resolver, "resolve", patience)
    consistent(world)


def test_a_start_covers_what_is_naked_beside_an_old_doubt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process died with its second leg in doubt, and the order look-ups still fail at the next start: the
    first leg is reduced all the same, once the doubt is old enough.
    """
    create = world.exchange.create

    def die(request: OrderRequest, **named: Any) -> Any:
        if request.category is Category.SPOT:
            raise KeyboardInterrupt
        return create(request, **named)

    world.exchange.create = die  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        world.writer.trader.open("BTC", D(4000))
    world.restart()
    blind_after(world, monkeypatch, Category.SPOT)
    for _ in range(4):
        world.writer.reconciler.run()
        world.clock.sleep(15 * SECOND)
    assert world.short == 0
    assert world.coins() == 0
    monkeypatch.undo()
    consistent(world)


def test_a_lost_second_leg_is_naked_no_longer_than_allowed(world: World) -> None:
    """A01 on the second leg: proved absent and hedged again within lease, thirty seconds of misses and a
    read; no round of look-ups comes late.
    """
    world.exchange.lose(None, Loss.REQUEST)
    result = opened(world, "4000")
    assert result.reached is Reached.DONE
    assert naked(world, result.position.position_id) <= world.rules.t_recover + SECOND
    consistent(world)


def test_a_close_with_a_leg_in_doubt_is_covered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first leg of a close is filled, the second is lost and cannot be looked up: what is naked then is
    reduced on the leg that is not in doubt, if that helps, and a person is told.
    """
    opened(world, "4000")
    first = {"seen": False}
    create = world.exchange.create

    def losing(request: OrderRequest, **named: Any) -> Any:
        if first["seen"]:
            blind_after(world, monkeypatch, request.category)
            world.exchange.create = create  # type: ignore[method-assign]
            world.exchange.lose(Loss.REQUEST)
        first["seen"] = True
        return create(request, **named)

    world.exchange.create = losing  # type: ignore[method-assign]
    result = closed(world)
    assert result.reached is Reached.UNCERTAIN
    assert "uncertain_order" in alerts(world)
    monkeypatch.undo()
    world.writer.reconciler.run()
    assert closed(world).position.state is PositionState.CLOSED if world.short else True
    consistent(world)


# -------------------------------------------------------------------------------- top-ups, trim, ladder


def test_c03_climbs_the_ladder_within_t_hedge(world: World) -> None:
    """C03: the second leg never fills and the way back takes nothing at first: the caps widen rung by rung to
    the venue's band, all within t_hedge.
    """
    world.feed.size = D(2)
    partly(world, Category.SPOT, *["0"] * 40)
    world.venue.force(OrderMatch(category=Category.LINEAR, side=Side.BUY), *[Directive(fill_frac=D(0))] * 4)
    started = world.clock.now()
    result = opened(world, "4000")
    assert result.position.state is PositionState.CLOSED
    assert world.clock.now() - started <= world.rules.t_hedge
    unwinds = [order for order in result.orders if order.purpose is Purpose.UNWIND]
    caps = [round(order.limit_price / D(50_005) - 1, 3) for order in unwinds]
    assert caps == [D("0.002"), D("0.006"), D("0.020"), D("0.045")]
    assert "unwound" in {reason.code for reason in result.reasons}


def test_c03_beyond_the_band_halts_and_calls(world: World) -> None:
    """Every rung fails: EXPOSED, a halt, one alert; hedging goes on and mends it when the market is back."""
    partly(world, Category.SPOT, *["0"] * 40)
    partly(world, Category.LINEAR, "1", *["0"] * 40)
    result = opened(world, "4000")
    assert result.position.state is PositionState.EXPOSED
    assert alerts(world) == ["unhedged"]
    kinds = {block.kind for block in world.writer.store.blocks.active(world.clock.now())}
    assert BlockKind.HALT in kinds
    world.restart()
    world.writer.reconciler.run()
    assert alerts(world) == ["unhedged"]


def test_c02_top_ups_are_bounded(world: World) -> None:
    """C02: 30 % of each order of the second leg, for ever: as many top-ups as allowed, then the rest of the
    first leg is given back, the coin cools down and the walk ends.
    """
    partly(world, Category.SPOT, *["0.3"] * 60)
    result = opened(world, "12000")
    assert result.reached is Reached.INCOMPLETE
    assert abs(world.coins() - world.short) < D("0.001"), "what not even a step of the perp can mend"
    tops = [order for order in result.orders if order.purpose is Purpose.TOP_UP]
    assert len(tops) <= world.rules.top_ups
    assert "given_back" in {reason.code for reason in result.reasons}
    assert world.writer.store.blocks.get("BTC", BlockKind.COOL_DOWN) is not None
    assert result.position.state is PositionState.HEDGED
    consistent(world)


def unwind(world: World) -> TradeResult:
    """One open whose second leg fills nothing."""
    partly(world, Category.SPOT, *["0"] * 40)
    return opened(world, "4000")


def test_a_cool_down_doubles_and_three_in_an_hour_freeze(world: World) -> None:
    """Each unwind doubles the rest of the coin; the third within an hour freezes it until a person resumes;
    closing is never held back by it.
    """
    store, rests = world.writer.store, []
    for _ in range(2):
        unwind(world)
        block = store.blocks.get("BTC", BlockKind.COOL_DOWN)
        assert block is not None
        assert block.until is not None
        rests.append(block.until - world.clock.now())
        assert "block_cool_down" in codes(world.writer.trader.open("BTC", D(4000)))
        world.clock.sleep(block.until - world.clock.now())
    assert [round(rest / timedelta(minutes=1)) for rest in rests] == [15, 30]
    unwind(world)
    frozen = store.blocks.get("BTC", BlockKind.FREEZE)
    assert frozen is not None
    assert frozen.needs_person
    world.clock.sleep(86_400 * SECOND)
    assert "block_freeze" in codes(world.writer.trader.open("BTC", D(4000)))


def test_a_cool_down_remembers_yesterday(world: World) -> None:
    """Unwinds hours apart still double the rest, for a day."""
    unwind(world)
    world.clock.sleep(5 * 3600 * SECOND)
    unwind(world)
    block = world.writer.store.blocks.get("BTC", BlockKind.COOL_DOWN)
    assert block is not None
    assert block.until is not None
    assert round((block.until - world.clock.now()) / timedelta(minutes=1)) == 30


def test_a_hedge_goes_by_the_quotes_where_no_book_can_be_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order books cannot be read between the legs: the shortfall is topped up by the quotes."""
    partly(world, Category.SPOT, "0.5")
    create = world.exchange.create

    def then_blind(request: OrderRequest, **named: Any) -> Any:
        answer = create(request, **named)
        if request.category is Category.SPOT:
            blind(world, monkeypatch, "book")
        return answer

    monkeypatch.setattr(world.exchange, "create", then_blind)
    result = opened(world, "4000")
    assert result.position.state is PositionState.HEDGED, result.reasons
    assert hedged(world)


# --------------------------------------------------------------------------------------- fees and steps


@pytest.mark.parametrize("rate", ["0", "0.001", "0.0018", "mnt"])
def test_c04_fees_in_the_coin_or_not(world: World, rate: str) -> None:
    """C04: a base fee of nothing, 0.1 %, 0.18 %, or paid in MNT: hedged to one lot, the close sells no more
    than is there.
    """
    if rate == "mnt":
        world.venue.world.transfer("MNT", D(1000))
        for category in Category:
            world.venue.world.fees(category, mnt=True)
    else:
        world.venue.world.fees(Category.SPOT, taker=D(rate))
    world.writer.collector.collect()
    result = opened(world, "10000")
    assert result.reached is Reached.DONE, result.reasons
    assert hedged(world)
    assert closed(world).position.state is PositionState.CLOSED
    assert all(order.state is not IntentState.REFUSED for order in result.orders)
    consistent(world)


def test_c04_a_coin_that_pays_its_own_fees(tmp_path: Path) -> None:
    """MNT itself with fees deducted in MNT: opened, closed, books equal the wallet, restarts work."""
    cheap: dict[str, Any] = {"tick_size": D("0.0001"), "max_limit_qty": D(10**6), "max_market_qty": D(10**6)}
    feed = ToyFeed(
        listed=(
            spot("MNTUSDT", qty_step=D("0.01"), **cheap),
            perp("MNTUSDT", qty_step=D(1), min_qty=D(1), **cheap),
        ),
        prices={"MNTUSDT": D(1)},
        gap=D("0.0002"),
        size=D(100_000),
    )
    world = make_world(tmp_path / "mnt.sqlite3", feed=feed)
    world.venue.world.transfer("MNT", D(100))
    world.writer.collector.collect()
    for category in Category:
        world.venue.world.fees(category, mnt=True)
    assert opened_coin(world, "MNT").reached is Reached.DONE
    result = world.writer.trader.close("MNT")
    assert isinstance(result, TradeResult)
    assert result.position.state is PositionState.CLOSED
    consistent(world)
    world.restart()
    consistent(world)
    world.close()


def opened_coin(world: World, base: str) -> TradeResult:
    result = world.writer.trader.open(base, D(1000))
    assert isinstance(result, TradeResult), result
    return result


STEPS = {
    "1 against 0.01": (D(1), D("0.01"), D("2.5")),
    "100 against 0.1": (D("0.1"), D(100), D("0.05")),
    "0.001 against 1e-6": (D("1e-6"), D("0.001"), D(50_000)),
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_c07_steps_that_do_not_fit(tmp_path: Path, steps: tuple[Decimal, Decimal, Decimal]) -> None:
    """C07: whatever the steps, the entry ends within one lot and the exit leaves less than one, as dust."""
    spot_step, perp_step, price = steps
    fine: dict[str, Any] = {"tick_size": D("0.0001"), "max_limit_qty": D(10**7), "max_market_qty": D(10**7)}
    feed = ToyFeed(
        listed=(spot(qty_step=spot_step, **fine), perp(qty_step=perp_step, min_qty=perp_step, **fine)),
        prices={"BTCUSDT": price},
        gap=price / 5000,
        size=50_000 / price,
    )
    world = make_world(tmp_path / "steps.sqlite3", feed=feed)
    result = opened(world, "4000")
    assert result.reached is Reached.DONE, result.reasons
    assert result.lot is not None
    assert abs(world.coins() - world.short) <= max(result.lot, spot_step, D(5) / price)
    after = closed(world)
    assert after.position.state is PositionState.CLOSED
    assert world.short == 0
    assert world.coins() <= max(spot_step, D(5) / price)
    assert world.writer.store.ledger.dust("BTC").quantity == world.coins()
    consistent(world)
    world.close()


def test_leg_names_are_complete() -> None:
    """Both legs are covered above: spot and perp, and no third."""
    assert {leg.category for leg in Leg} == set(Category)
    assert LIMITS.t_hedge == timedelta(seconds=5)


def test_a_top_up_reads_the_book_of_its_own_leg_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second leg that filled half: for the top-up one book is read, that of the leg that is traded; a
    second later both are, as nothing of the past is sized on.
    """
    read: list[tuple[Category, Decimal]] = []
    real, create = world.exchange.book, world.exchange.create

    def book(category: Category, symbol: str, *, depth: int) -> Any:
        read.append((category, D(len(world.venue.all_orders()))))
        return real(category, symbol, depth=depth)

    monkeypatch.setattr(world.exchange, "book", book)
    partly(world, Category.SPOT, "0.5")
    assert opened(world, "4000").reached is Reached.DONE
    assert [category for category, orders in read if orders == 2] == [Category.SPOT]
    read.clear()

    def late(request: OrderRequest, **named: Any) -> Any:
        answer = create(request, **named)
        world.clock.sleep(2 * SECOND)
        return answer

    world.exchange.create = late  # type: ignore[method-assign]
    partly(world, Category.SPOT, "0.5")
    world.writer.trader.open("BTC", D(4000), add=True)
    after_second = [category for category, orders in read if orders == 5]
    assert after_second == [Category.SPOT, Category.LINEAR]
