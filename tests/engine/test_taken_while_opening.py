"""Somebody takes of what the first clips of an entry have built: no further clip is begun on a leg that is
gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fundarb.core.account import PositionReport
from fundarb.core.market import Category
from fundarb.core.orders import OrderRequest, Purpose, Side, WriteAnswer
from fundarb.engine.commands import traded
from fundarb.engine.outcome import Reached, TradeResult
from fundarb.errors import Unavailable
from fundarb.exchange.inprocess import Loss
from tests.engine.lagging import Past
from tests.engine.test_faults import consistent, hedged
from tests.engine.test_repairs import alerts, frozen
from tests.engine.test_trade import opened
from tests.engine.world import SECOND, World, make_world

D = Decimal
Act = Callable[[World], object]
ANSWER = timedelta(milliseconds=600)
"""What a create takes here, so that a clip takes longer than a picture of the venue is good for."""
CLIPS = "20000"
"""Opens in five clips."""
TAKEN: dict[str, tuple[str, Act]] = {
    "all of the short": ("adl", lambda world: world.venue.world.adl("BTCUSDT", D(1))),
    "a part of the short": ("adl", lambda world: world.venue.world.adl("BTCUSDT", D("0.4"))),
    "liquidated": ("liquidation", lambda world: world.venue.world.liquidate("BTCUSDT")),
    "coins": ("coins_taken", lambda world: world.venue.world.auto_repay("BTC", D("0.4"))),
}
BY_HAND: dict[str, tuple[str, Act]] = {
    "the short": ("perp_size", lambda world: world.venue.world.manual_close("BTCUSDT")),
    "coins": (
        "spot_short",
        lambda world: world.venue.world.manual_order(
            Category.SPOT, "BTCUSDT", side=Side.SELL, quantity=D("0.05")
        ),
    ),
}


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[World]:
    """A venue whose answers to a create take their time."""
    made = make_world(tmp_path / "slow.sqlite3")
    real = made.exchange.create

    def create(*args: Any, **named: Any) -> Any:
        answer = real(*args, **named)
        made.clock.sleep(ANSWER)
        return answer

    made.exchange.create = create  # type: ignore[method-assign]
    yield made
    made.close()


def after_create(world: World, number: int, act: Act) -> list[datetime]:
    """Let somebody act when the create of this number (from one) is answered; when that was."""
    real, seen, when = world.exchange.create, [0], list[datetime]()

    def create(*args: Any, **named: Any) -> Any:
        answer = real(*args, **named)
        seen[0] += 1
        if seen[0] == number:
            when.append(world.clock.now())
            act(world)
        return answer

    world.exchange.create = create  # type: ignore[method-assign]
    return when


def entered(result: TradeResult) -> int:
    """Orders that added to the position."""
    return sum(order.purpose is Purpose.ENTER for order in result.orders)


def last_fill(world: World) -> datetime:
    """When we last traded."""
    rows = world.writer.store.events.after(0, 1000, kind="leg_filled")
    return rows[-1].at


@pytest.mark.parametrize("clip", [1, 3])
@pytest.mark.parametrize("what", TAKEN)
def test_d01_what_the_venue_takes_ends_an_entry_at_the_next_clip(slow: World, what: str, clip: int) -> None:
    """D01, D05: the venue takes of a leg after a clip: no further one is begun, the other leg follows within
    ``t_hedge``, the coin is frozen and a person told once, before the open ends: exit 8.
    """
    code, act = TAKEN[what]
    (taken,) = (after_create(slow, 2 * clip, act),)
    result = opened(slow, CLIPS)
    assert result.reached is Reached.INCOMPLETE
    assert "taken_meanwhile" in {reason.code for reason in result.reasons}
    assert traded(result).exit_code == 8
    assert entered(result) == 2 * clip
    assert hedged(slow)
    assert last_fill(slow) - taken[0] <= slow.rules.t_hedge
    assert alerts(slow) == [code]
    assert frozen(slow, person=True)
    consistent(slow)


@pytest.mark.parametrize("what", BY_HAND)
def test_h03_what_a_hand_takes_ends_an_entry_at_the_next_clip(slow: World, what: str) -> None:
    """H03: a leg is closed by hand after the first clip: no further one is begun, and the reason names what
    the venue holds less, once.
    """
    code, act = BY_HAND[what]
    after_create(slow, 2, act)
    result = opened(slow, CLIPS)
    assert result.reached is Reached.INCOMPLETE
    assert [reason.code for reason in result.reasons] == [code]
    assert entered(result) == 2
    slow.writer.reconciler.run()
    assert alerts(slow).count(code) == 1
    assert frozen(slow)


@pytest.mark.parametrize("number", [3, 4])
@pytest.mark.parametrize("what", ["a part of the short", "liquidated"])
def test_d01_what_is_taken_while_a_clip_is_in_doubt_is_not_shorted_anew(
    world: World, what: str, number: int
) -> None:
    """D01, A01: an order of the second clip is lost, and the venue takes of the short while its absence is
    proved: nothing is sold short any more, the coins follow.
    """
    code, act = TAKEN[what]
    real, seen = world.exchange.create, list[OrderRequest]()

    def create(request: OrderRequest, **named: Any) -> WriteAnswer:
        seen.append(request)
        if len(seen) != number:
            return real(request, **named)
        world.exchange.lose(Loss.REQUEST)
        try:
            return real(request, **named)
        finally:
            act(world)

    world.exchange.create = create  # type: ignore[method-assign]
    assert opened(world, CLIPS).reached is Reached.INCOMPLETE
    assert not [one for one in seen[number:] if one.category is Category.LINEAR and one.side is Side.SELL]
    assert hedged(world)
    assert alerts(world) == [code]
    consistent(world)


def test_a_venue_that_takes_during_the_wait_for_a_settlement(slow: World) -> None:
    """E08, D01: the venue takes the short while the second clip waits for a settlement: it is not begun."""
    slow.clock.sleep(8 * 3600 * SECOND - 60 * SECOND - 16 * SECOND)  # the first clip is just in time
    sleep, done = slow.clock.sleep, list[bool]()

    def slept(duration: timedelta) -> None:
        sleep(duration)
        if not done and slow.clock.now().hour == 8:
            done.append(True)
            slow.venue.world.adl("BTCUSDT", D(1))

    slow.clock.sleep = slept  # type: ignore[method-assign]
    result = opened(slow, CLIPS)
    assert done
    assert entered(result) == 2
    assert result.reached is Reached.INCOMPLETE
    assert hedged(slow)
    assert alerts(slow) == ["adl"]


def test_an_addition_to_what_is_gone_is_not_begun(slow: World) -> None:
    """D01: the venue takes of the short when an addition has been approved: nothing is added, the coins
    follow.
    """
    before = entered(opened(slow, "5000"))
    ready = slow.exchange.prepare_symbol

    def prepare(symbol: str, leverage: Decimal) -> None:
        ready(symbol, leverage)
        slow.venue.world.adl("BTCUSDT", D("0.4"))

    slow.exchange.prepare_symbol = prepare  # type: ignore[method-assign]
    result = slow.writer.trader.open("BTC", D(5000), add=True)
    assert isinstance(result, TradeResult), result
    assert result.reached is Reached.INCOMPLETE
    assert entered(result) == before
    assert hedged(slow)
    assert alerts(slow) == ["adl"]
    consistent(slow)


def test_lists_a_moment_late_end_no_entry(slow: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A04: positions and wallet show what was two seconds ago: the entry waits for them and comes to its
    end.
    """
    Past(slow, monkeypatch).lag(2 * SECOND)
    result = opened(slow, CLIPS)
    assert result.reached is Reached.DONE, result.reasons
    assert entered(result) == 10
    monkeypatch.undo()
    slow.exchange.read_lag = timedelta()
    consistent(slow)


def test_positions_that_cannot_be_read_end_an_entry(slow: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """F11: what the first clips have built cannot be seen: no further one is begun, exit 4 names it."""

    def unreadable() -> tuple[PositionReport, ...]:
        raise Unavailable("positions: no answer")

    after_create(slow, 4, lambda world: monkeypatch.setattr(world.exchange, "positions", unreadable))
    result = opened(slow, CLIPS)
    monkeypatch.undo()
    assert entered(result) == 4
    assert "market_unavailable" in {reason.code for reason in result.reasons}
    assert hedged(slow)
    consistent(slow)


def test_an_entry_looks_at_the_venue_once_a_second_at_most(world: World) -> None:
    """Clips that follow each other at once share one picture of the venue."""
    real, asked = world.exchange.positions, list[datetime]()

    def positions() -> tuple[PositionReport, ...]:
        asked.append(world.clock.now())
        return real()

    world.exchange.positions = positions  # type: ignore[method-assign]
    began = world.clock.now()
    assert opened(world, CLIPS).reached is Reached.DONE
    inside = asked[1:-1]  # the preflight's, and that of the last look
    assert len(inside) <= 1 + (world.clock.now() - began) / SECOND
