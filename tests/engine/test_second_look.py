"""Somebody closes or sells what is held while an order of a walk is in doubt: the walk does not end by
calling the position hedged.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest

from fundarb.core.events import Event
from fundarb.core.market import Category
from fundarb.core.orders import Side
from fundarb.core.states import PositionState
from fundarb.engine.commands import traded
from fundarb.engine.outcome import Reached
from fundarb.exchange.inprocess import Loss
from tests.engine.test_faults import consistent, hedged
from tests.engine.test_trade import closed, opened
from tests.engine.world import World

D = Decimal
Act = Callable[[World], object]
CASES = [(Loss.ANSWER, 2), (Loss.ANSWER, 3), (Loss.ANSWER, 4), (Loss.REQUEST, 3), (Loss.REQUEST, 4)]
"""What is lost, and of which order: a short is there by then."""


def adl(world: World) -> None:
    """The venue takes 40 % of the short."""
    world.venue.world.adl("BTCUSDT", D("0.4"))


def by_hand(world: World) -> object:
    """A person closes all of the short."""
    return world.venue.world.manual_close("BTCUSDT")


def sold(world: World) -> object:
    """A person sells half of the coins."""
    half = (world.coins() / 2).quantize(D("0.001"))
    return world.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=Side.SELL, quantity=half)


def during_a_doubt(
    world: World, patch: pytest.MonkeyPatch, *, loss: Loss, order: int, act: Act | None
) -> None:
    """The ``order``-th create from now on is lost, and what somebody does then happens in the first wait, or
    as soon as the answer is given up.
    """
    world.exchange.lose(*[None] * (order - 1), loss)
    doubt, done = list[bool](), list[bool]()

    def once() -> None:
        if doubt and not done and act is not None and world.short:
            done.append(True)
            act(world)

    def heard(_recorded: object, event: Event) -> None:
        if event.kind == "order_answered" and event.payload()["outcome"] == "uncertain":
            doubt.append(True)
            once()

    sleep = world.clock.sleep

    def slept(duration: timedelta) -> None:
        sleep(duration)
        once()

    patch.setattr(world.clock, "sleep", slept)
    world.writer.store.events.subscribe(heard)


def told(world: World) -> list[str]:
    """The codes of all alerts."""
    rows = world.writer.store.events.after(0, 1000, kind="alert_raised")
    return [json.loads(row.payload)["code"] for row in rows]


@pytest.mark.parametrize(("loss", "order"), CASES)
def test_h03_closed_by_hand_during_a_doubt(
    world: World, monkeypatch: pytest.MonkeyPatch, loss: Loss, order: int
) -> None:
    """H03, A01, A02: the short is closed by hand while an order of an open is looked for: exit 8, the reason
    names what the venue holds less, and the walk that follows asks a person, once.
    """
    during_a_doubt(world, monkeypatch, loss=loss, order=order, act=by_hand)
    result = opened(world, "8000")
    answer = traded(result)
    assert result.reached is Reached.INCOMPLETE
    assert answer.exit_code == 8
    assert "perp_size" in {reason.code for reason in answer.reasons}
    monkeypatch.undo()
    asked = ["perp_size"]
    if result.position.state is PositionState.EXPOSED:  # no coins are bought for a short that is gone
        asked += ["unhedged"]
    assert [item.kind for item in world.writer.reconciler.run().loud] == asked
    assert told(world).count("perp_size") == 1


@pytest.mark.parametrize(("loss", "order"), CASES)
def test_d01_deleveraged_during_a_doubt(
    world: World, monkeypatch: pytest.MonkeyPatch, loss: Loss, order: int
) -> None:
    """D01, A01, A02: the venue deleverages while an order of an open is looked for: the coins follow before
    the open ends, which is not what was wanted: exit 8; one alert.
    """
    during_a_doubt(world, monkeypatch, loss=loss, order=order, act=adl)
    result = opened(world, "8000")
    assert result.position.state is PositionState.HEDGED
    assert result.reached is Reached.INCOMPLETE
    assert hedged(world)
    assert told(world).count("adl") == 1
    consistent(world)


def test_coins_sold_by_hand_during_a_doubt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for coins: exit 8, with the coins that are gone."""
    during_a_doubt(world, monkeypatch, loss=Loss.REQUEST, order=4, act=sold)
    result = opened(world, "8000")
    assert result.reached is Reached.INCOMPLETE
    assert "spot_short" in {reason.code for reason in result.reasons}


def test_a_part_closed_by_hand_while_another_is_closed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A close of a half whose last order is in doubt while a person closes all of the short: exit 8."""
    opened(world, "8000")
    during_a_doubt(world, monkeypatch, loss=Loss.ANSWER, order=2, act=by_hand)
    result = closed(world, "0.5")
    assert result.reached is not Reached.DONE, result


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("loss", list(Loss))
def test_a_doubt_alone_is_no_cause(
    world: World, monkeypatch: pytest.MonkeyPatch, loss: Loss, order: int
) -> None:
    """Nobody does anything meanwhile: done, exit 0, nothing told but a leg that was naked for too long."""
    during_a_doubt(world, monkeypatch, loss=loss, order=order, act=None)
    result = opened(world, "8000")
    assert result.reached is Reached.DONE, result.reasons
    assert set(told(world)) <= {"naked_long"}
    consistent(world)
