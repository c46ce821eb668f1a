"""What was naked for too long is told once the book has come to rest."""

from __future__ import annotations

import json

from fundarb.exchange.inprocess import Loss
from tests.engine.test_trade import closed, opened
from tests.engine.world import SECOND, World


def told(world: World) -> list[str]:
    """The subjects of the alerts about a leg that was naked for long."""
    rows = [
        json.loads(event.payload) for event in world.writer.store.events.after(0, 1000, kind="alert_raised")
    ]
    return [row["subject"] for row in rows if row["code"] == "naked_long"]


def test_a_doubt_on_a_venue_whose_reads_lag_is_told(world: World) -> None:
    """A second leg whose request is lost while reads are 20 s behind leaves the first naked for longer than
    it may be: one alert names the position, and the next walk does not repeat it.
    """
    world.exchange.read_lag = 20 * SECOND
    world.exchange.lose(None, Loss.REQUEST)
    position = opened(world, "4000").position
    assert told(world) == [position.position_id]
    world.exchange.read_lag = 0 * SECOND
    world.clock.sleep(60 * SECOND)
    world.writer.reconciler.run()
    assert told(world) == [position.position_id]


def test_an_ordinary_trade_is_not_told(world: World) -> None:
    """In and out without trouble: nobody is told of anything."""
    opened(world, "4000")
    closed(world)
    assert told(world) == []
