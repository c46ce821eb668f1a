"""Opening and closing against the venue engine in process."""

from __future__ import annotations

from decimal import Decimal

from fundarb.core.market import Category
from fundarb.core.orders import Leg, Purpose, Side
from fundarb.core.reasons import Refused
from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind
from fundarb.core.states import PositionState
from fundarb.engine.outcome import Reached, TradeResult
from fundarb.venue.rows import Directive, OrderMatch
from tests.engine.world import SECOND, World

D = Decimal


def opened(world: World, notional: str = "10000") -> TradeResult:
    result = world.writer.trader.open("BTC", D(notional))
    assert isinstance(result, TradeResult), result
    return result


def closed(world: World, fraction: str = "1") -> TradeResult:
    result = world.writer.trader.close("BTC", D(fraction))
    assert isinstance(result, TradeResult), result
    return result


def codes(refusal: object) -> set[str]:
    assert isinstance(refusal, Refused), refusal
    return {reason.code for reason in refusal.reasons}


def test_open_ends_hedged_within_one_lot(world: World) -> None:
    """An open buys the coin and shorts the perp so that the venue's own figures match within one lot."""
    result = opened(world)
    assert result.reached is Reached.DONE, result.reasons
    assert result.position.state is PositionState.HEDGED
    assert world.short > 0
    assert result.lot is not None
    assert abs(world.coins() - world.short) <= result.lot


def test_open_is_cut_into_clips(world: World) -> None:
    """No single order of an entry is worth more than max_clip, and each leg gets one order a clip."""
    result = opened(world, "12000")
    spot = [order for order in result.orders if order.leg is Leg.SPOT]
    assert len(spot) == 3
    assert all(order.quantity * order.limit_price <= D(5000) * D("1.03") for order in result.orders)


def test_books_equal_the_venue_after_an_open(world: World) -> None:
    """What our position row says is what the venue's wallet and position list say."""
    result = opened(world)
    assert result.position.spot_owned == world.coins()
    assert result.position.contracts == world.short
    assert world.writer.reconciler.run().clean


def test_close_leaves_nothing_but_dust(world: World) -> None:
    """A close sells every whole step of the coin, buys every contract back and ends CLOSED."""
    opened(world)
    result = closed(world)
    assert result.reached is Reached.DONE, result.reasons
    assert result.position.state is PositionState.CLOSED
    assert world.short == 0
    assert world.coins() < D("0.00011")
    assert world.writer.reconciler.run().clean


def test_half_a_close_keeps_half_hedged(world: World) -> None:
    """``--fraction 50%`` halves both legs and stays HEDGED within one lot."""
    before = opened(world).position.contracts
    result = closed(world, "0.5")
    assert result.reached is Reached.DONE, result.reasons
    assert result.position.state is PositionState.HEDGED
    assert abs(result.position.contracts - before / 2) <= D("0.001")
    assert abs(world.coins() - world.short) <= D("0.0001")


def test_adding_grows_both_legs(world: World) -> None:
    """``--add`` grows the open position instead of making a second one."""
    first = opened(world, "5000").position
    result = world.writer.trader.open("BTC", D(5000), add=True)
    assert isinstance(result, TradeResult)
    assert result.position.position_id == first.position_id
    assert result.position.contracts > first.contracts * D("1.9")
    assert result.position.notional == D(9_999)  # 0.2 contracts at 49,995
    assert abs(world.coins() - world.short) <= D("0.0001")


def test_the_notional_is_what_is_held(world: World) -> None:
    """What was asked for is rounded down to whole contracts: plan, position and caps count one leg of what is
    really bought, at the price of the decision; so they do after ``--add`` and after a part is closed.
    """
    store = world.writer.store
    plan = world.writer.trader.plan_open("BTC", D(130))
    assert getattr(plan, "notional", None) == D("99.99")  # 0.002 contracts at 49,995
    assert opened(world, "130").position.notional == store.positions.gross() == D("99.99")
    added = world.writer.trader.open("BTC", D(240), add=True)
    assert isinstance(added, TradeResult)
    assert added.position.notional == store.positions.gross() == D("299.97")
    assert closed(world, "0.5").position.notional == store.positions.gross() == D("149.985")


def test_the_notional_of_an_add_that_fell_short_is_what_is_held(world: World) -> None:
    """Decided on two prices, and the second part fills by a quarter: each part counts what it really was."""
    opened(world, "5000")
    world.feed.prices["BTCUSDT"] = D(40_000)
    world.clock.sleep(60 * SECOND)
    directives = [Directive(fill_frac=D("0.25")), *[Directive(fill_frac=D(0))] * 8]
    world.venue.force(OrderMatch(category=Category.LINEAR), *directives)
    result = world.writer.trader.open("BTC", D(4_000), add=True)
    assert isinstance(result, TradeResult)
    held = D("0.1") * 49_995 + (result.position.contracts - D("0.1")) * 39_995
    assert result.position.contracts == D("0.125")
    assert result.position.notional == held


def test_a_second_open_of_an_open_coin_is_refused(world: World) -> None:
    """A coin that is held is not opened again without --add; nothing is sent."""
    opened(world, "5000")
    before = len(world.venue.all_orders())
    assert "already_open" in codes(world.writer.trader.open("BTC", D(5000)))
    assert len(world.venue.all_orders()) == before


def test_unknown_coin_is_refused(world: World) -> None:
    """A coin that the venue does not list is refused by name."""
    assert codes(world.writer.trader.open("NOPE", D(100))) == {"unknown_coin"}


def test_too_small_is_refused_with_both_minimums(world: World) -> None:
    """A notional below the venue's smallest orders is refused before anything is sent."""
    assert {"below_perp_minimum", "below_spot_minimum"} <= codes(world.writer.trader.open("BTC", D(3)))
    assert world.venue.all_orders() == ()


def test_too_large_for_the_caps_is_refused(world: World) -> None:
    """A notional above max_per_coin is refused; equality is allowed."""
    assert "max_per_coin" in codes(world.writer.trader.open("BTC", D("20000.01")))
    assert opened(world, "20000").reached is Reached.DONE


def test_a_block_refuses_opens_but_not_closes(world: World) -> None:
    """Under any block nothing is opened, and closing goes on."""
    opened(world, "5000")
    now = world.clock.now()
    world.writer.store.blocks.set(
        Block(scope="*", kind=BlockKind.HALT, reason="a test", since=now, needs_person=True)
    )
    assert "block_halt" in codes(world.writer.trader.open("BTC", D(100), add=True))
    assert closed(world).reached is Reached.DONE


def test_reductions_are_reduce_only(world: World) -> None:
    """Each perp order of a close is reduce-only, and no spot sale exceeds what is ours."""
    opened(world)
    result = closed(world)
    exits = [order for order in result.orders if order.purpose is Purpose.EXIT]
    assert exits
    assert all(order.reduce_only for order in exits if order.leg is Leg.PERP)
    assert all(order.side is Side.SELL for order in exits if order.leg is Leg.SPOT)


def test_a_coin_that_cannot_be_paired_is_refused_with_every_block(world: World) -> None:
    """All reasons at once, also where there is no pair: the coin and what blocks every open, with its end."""
    block = Block(
        scope=GLOBAL_SCOPE, kind=BlockKind.HALT, reason="a test", since=world.clock.now(), needs_person=True
    )
    world.writer.store.blocks.set(block)
    refused = world.writer.trader.plan_open("NOPE", D(1000))
    assert codes(refused) == {"unknown_coin", "block_halt"}
