"""What the venue takes in the middle of a walk is read from its rows before anybody is called for help."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from fundarb.core.records import GLOBAL_SCOPE, BlockKind
from fundarb.core.states import PositionState
from fundarb.engine.outcome import Reached
from fundarb.exchange.inprocess import Loss
from tests.engine.test_faults import consistent
from tests.engine.test_trade import closed, opened
from tests.engine.world import World

D = Decimal


def told(world: World) -> list[str]:
    """The codes of all alerts."""
    rows = world.writer.store.events.after(0, 1000, kind="alert_raised")
    return [json.loads(row.payload)["code"] for row in rows]


@pytest.mark.parametrize("taken", ["0.4", "1"])
@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("loss", [None, Loss.ANSWER])
def test_a_close_during_which_the_venue_deleverages_ends_flat(
    world: World, loss: Loss | None, number: int, taken: str
) -> None:
    """D01 in the middle of a close, the answer of an order lost or not: the venue's row says what it took,
    the other leg follows, the close is done; one alert about the deleveraging, nothing is halted.
    """
    opened(world, "10000")
    real, seen = world.exchange.create, [0]

    def create(*args: Any, **named: Any) -> Any:
        seen[0] += 1
        if seen[0] == number:
            world.exchange.lose(loss)
        answer = real(*args, **named)
        if seen[0] == number and world.short:
            world.venue.world.adl("BTCUSDT", D(taken))
        return answer

    world.exchange.create = create  # type: ignore[method-assign]
    result = closed(world)
    assert (result.reached, result.position.state) == (Reached.DONE, PositionState.CLOSED), result.reasons
    assert told(world) == ["adl"]
    assert world.writer.store.blocks.get(GLOBAL_SCOPE, BlockKind.HALT) is None
    consistent(world)
