"""Somebody takes coins or contracts in the middle of a walk, or both legs at once before the next one: what
went is booked, what is left is hedged, and nothing is sold for a leg that is gone already.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from fundarb.core.account import Wallet
from fundarb.core.market import Category
from fundarb.core.orders import Side
from fundarb.core.records import GLOBAL_SCOPE, BlockKind
from fundarb.core.states import PositionState
from fundarb.engine.outcome import Reached, TradeResult
from fundarb.errors import Unavailable
from fundarb.venue.rows import Directive, OrderMatch
from tests.engine.test_faults import consistent
from tests.engine.test_trade import opened
from tests.engine.world import SECOND, World

D = Decimal
Act = Callable[[World], object]


def repaid(world: World) -> None:
    """The venue sells 30 % of the coins by itself."""
    world.venue.world.auto_repay("BTC", D("0.3"))


def deleveraged(world: World) -> None:
    """The venue takes 40 % of the short."""
    world.venue.world.adl("BTCUSDT", D("0.4"))


def sold(world: World) -> object:
    """A person sells some coins."""
    return by_hand(world, Category.SPOT, Side.SELL)


def withdrawn(world: World) -> None:
    """A person withdraws some coins."""
    world.venue.world.transfer("BTC", D("-0.02"))


def bought_back(world: World) -> object:
    """A person buys a part of the short back."""
    return by_hand(world, Category.LINEAR, Side.BUY)


def closed_by_hand(world: World) -> object:
    """A person buys all of the short back."""
    return world.venue.world.manual_close("BTCUSDT")


def by_hand(world: World, category: Category, side: Side) -> object:
    """A person trades 0.02."""
    return world.venue.world.manual_order(category, "BTCUSDT", side=side, quantity=D("0.02"))


VENUE = (repaid, deleveraged)
HANDS = (sold, withdrawn, bought_back, closed_by_hand)


def told(world: World) -> list[str]:
    """The codes of all alerts."""
    rows = world.writer.store.events.after(0, 1000, kind="alert_raised")
    return [json.loads(row.payload)["code"] for row in rows]


def halted(world: World) -> bool:
    """Whether nothing is opened until a person has looked."""
    return world.writer.store.blocks.get(GLOBAL_SCOPE, BlockKind.HALT) is not None


def at_create(world: World, number: int, act: Act, *, after: bool) -> None:
    """Let somebody act right before, or after, the create of this number (from one) reaches the venue."""
    real, seen = world.exchange.create, [0]

    def create(*args: Any, **named: Any) -> Any:
        seen[0] += 1
        if seen[0] == number and not after:
            act(world)
        answer = real(*args, **named)
        if seen[0] == number and after and world.short and world.coins() > D("0.02"):
            act(world)
        return answer

    world.exchange.create = create  # type: ignore[method-assign]


def walk(world: World, kind: str) -> TradeResult:
    """One of the ways out."""
    result = world.writer.trader.close(
        "BTC", D("0.5") if kind == "half" else D(1), emergency=kind == "emergency"
    )
    assert isinstance(result, TradeResult), result
    return result


def naked(world: World) -> Decimal:
    """Coins at the venue that no contract covers (+), contracts that no coin covers (−)."""
    return world.coins() - world.short


@pytest.mark.parametrize("kind", ["close", "emergency"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("act", [*VENUE, *HANDS])
def test_a_close_ends_flat_whoever_takes_a_part_of_it(
    world: World, act: Act, number: int, *, after: bool, kind: str
) -> None:
    """D01, D05, H03 in the middle of a close: what went is booked, the rest is closed by the same walk, and
    nobody is called for a leg that is not there.
    """
    opened(world)
    at_create(world, number, act, after=after)
    result = walk(world, kind)
    assert result.position.state is PositionState.CLOSED, result.reasons
    assert result.reached is Reached.DONE, result.reasons
    assert world.short == 0
    assert world.coins() < D("0.00011")
    assert not halted(world)
    assert "unhedged" not in told(world)
    consistent(world)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("act", VENUE)
def test_half_a_close_says_what_the_venue_took(world: World, act: Act, number: int, *, after: bool) -> None:
    """D01, D05 in the middle of a close of a half: less than the half is left, hedged, and the close does not
    call that done.
    """
    opened(world)
    at_create(world, number, act, after=after)
    result = walk(world, "half")
    assert result.position.state is PositionState.HEDGED, result.reasons
    assert abs(naked(world)) <= D("0.0002")
    assert world.short < D("0.0999")
    assert result.reached is Reached.INCOMPLETE
    assert "taken_meanwhile" in {reason.code for reason in result.reasons}
    assert not halted(world)
    consistent(world)


@pytest.mark.parametrize("number", [2, 3, 4])
@pytest.mark.parametrize("act", VENUE)
def test_an_open_says_what_the_venue_took(world: World, act: Act, number: int) -> None:
    """D01, D05 in the middle of an open: the other leg follows before the open ends, and it is not called
    done.
    """
    at_create(world, number, act, after=True)
    result = opened(world)
    assert result.position.state is PositionState.HEDGED, result.reasons
    assert abs(naked(world)) <= D("0.0002")
    assert result.reached is Reached.INCOMPLETE
    assert not halted(world)
    consistent(world)


@pytest.mark.parametrize("act", HANDS)
def test_what_a_hand_takes_from_an_open_is_said(world: World, act: Act) -> None:
    """H03 in the middle of an open: it is not called done, and the next walk asks the person."""
    at_create(world, 4, act, after=True)
    result = opened(world)
    assert result.reached is Reached.INCOMPLETE
    assert {"perp_size", "spot_short"} & {reason.code for reason in result.reasons}
    assert {"perp_size", "spot_short"} & {item.kind for item in world.writer.reconciler.run().loud}


BOTH = [("0.5", "0.5"), ("0.4", "0.9"), ("0.4", "1"), ("1", "1"), ("0.4", "0.2")]
"""Shares of the short and of the coins that go in one margin event."""


@pytest.mark.parametrize(("short", "coins"), BOTH)
def test_both_legs_taken_at_once(world: World, short: str, coins: str) -> None:
    """D01 and D05 in one margin event: only what is naked is corrected, nothing is sold that a leg which is
    gone has reduced already.
    """
    opened(world)
    world.venue.world.adl("BTCUSDT", D(short))
    world.venue.world.auto_repay("BTC", D(coins))
    left = min(world.short, world.coins())
    assert world.writer.reconciler.run().clean
    assert abs(naked(world)) <= D("0.0002")
    assert left - world.short < D("0.0011")
    assert not halted(world)
    consistent(world)


@pytest.mark.parametrize(("short", "coins"), BOTH)
def test_both_legs_taken_while_the_log_cannot_be_read(
    world: World, monkeypatch: pytest.MonkeyPatch, short: str, coins: str
) -> None:
    """The same while the transaction log does not answer: nothing is made naked, and what is in balance at
    the venue calls nobody; with the log back the books follow.
    """
    opened(world)
    world.venue.world.adl("BTCUSDT", D(short))
    world.venue.world.auto_repay("BTC", D(coins))
    before = naked(world)
    with monkeypatch.context() as patch:
        patch.setattr(world.exchange, "transactions", unreadable)
        world.writer.reconciler.run()
        assert abs(naked(world)) <= max(abs(before), D("0.0002"))
        assert abs(before) > D("0.0002") or not halted(world)
    world.clock.sleep(world.rules.t_recover * 2)
    assert world.writer.reconciler.run().clean
    assert abs(naked(world)) <= D("0.0002")
    consistent(world)


@pytest.mark.parametrize(("short", "coins"), BOTH)
def test_both_legs_taken_while_the_wallet_answers_late(
    world: World, monkeypatch: pytest.MonkeyPatch, short: str, coins: str
) -> None:
    """The same where the wallet, too, answers only after two seconds: that is waited for, as the coins may
    have gone with the contracts.
    """
    opened(world)
    world.venue.world.adl("BTCUSDT", D(short))
    world.venue.world.auto_repay("BTC", D(coins))
    before, real, until = naked(world), world.exchange.wallet, world.clock.now() + 2 * SECOND

    def wallet() -> Wallet:
        if world.clock.now() < until:
            raise Unavailable("wallet: no answer")
        return real()

    with monkeypatch.context() as patch:
        patch.setattr(world.exchange, "transactions", unreadable)
        patch.setattr(world.exchange, "wallet", wallet)
        world.writer.reconciler.run()
        assert world.clock.now() >= until
    assert abs(naked(world)) <= max(abs(before), D("0.0002"))
    world.clock.sleep(world.rules.t_recover * 2)
    assert world.writer.reconciler.run().clean
    consistent(world)


@pytest.mark.parametrize("filled", ["0.6", "0"])
def test_a_close_beside_a_stranger_leaves_no_stub(world: World, filled: str) -> None:
    """H05: a stranger is short in the same symbol, where the venue takes no order below its least value as
    the end of a position, and our second leg fills in part: nothing of ours is left that no order buys back.
    """
    world.feed.prices["BTCUSDT"] = D(2500)  # one step of the perp is worth less than the smallest order
    opened(world, "300")
    world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.SELL, quantity=D("0.06"))
    world.venue.force(OrderMatch(category=Category.LINEAR), Directive(fill_frac=D(filled)))
    result = walk(world, "close")
    assert (result.reached, result.position.state) == (Reached.DONE, PositionState.CLOSED), result.reasons
    assert world.short == D("0.06")
    assert not halted(world)


def test_refusals_are_no_unwinds(world: World) -> None:
    """An excess that the venue refuses to take back, order by order, was not given back: no cool-down."""
    opened(world)
    world.venue.world.halt(Category.SPOT, "BTCUSDT", on=True)
    deleveraged(world)
    for _ in range(3):
        world.writer.reconciler.run()
        world.clock.sleep(world.rules.t_recover * 2)
    assert not world.writer.store.events.last(9, kind="position_unwound")
    assert world.writer.store.blocks.get("BTC", BlockKind.COOL_DOWN) is None


def unreadable(*_: object, **__: object) -> Any:
    """An endpoint that is down."""
    raise Unavailable("502")


@pytest.mark.parametrize("act", [sold, withdrawn])
def test_a_hands_coins_do_not_become_the_venues(world: World, act: Act) -> None:
    """H03, D05: a person has taken coins and is asked about it, then the venue takes some: that is booked
    once, and the person's stay a question however often one looks.
    """
    opened(world)
    act(world)
    world.clock.sleep(60 * SECOND)
    assert [item.id for item in world.writer.reconciler.run().loud] == ["spot_short:BTC"]
    world.venue.world.auto_repay("BTC", D("0.3"))
    for _ in range(3):
        world.clock.sleep(60 * SECOND)
        assert [item.id for item in world.writer.reconciler.run().loud] == ["spot_short:BTC"]
    (position,) = world.writer.store.positions.active()
    assert position.spot_owned - world.coins() == D("0.02")
    assert told(world).count("coins_taken") == 1
