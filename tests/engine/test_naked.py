"""What was naked for too long is told once the book has come to rest."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal

import pytest

from fundarb import crash
from fundarb.engine.audit import audit
from fundarb.engine.audit_book import BookRules, Stretch, too_long
from fundarb.exchange.inprocess import Loss
from tests.engine.test_trade import closed, opened
from tests.engine.world import SECOND, World
from tests.venue.toy import START

D = Decimal
RULES = BookRules(drift_limit=D("0.02"), largest_naked=D(10_000), t_hedge=5 * SECOND, t_recover=37 * SECOND)


class _Dies(BaseException):
    """The process is gone."""


def _die() -> None:
    raise _Dies


def dead_between_the_legs(world: World) -> None:
    """An open whose process dies when its first leg is done."""
    crash.arm("legs.between", 1, strike=_die)
    try:
        with pytest.raises(_Dies):
            world.writer.trader.open("BTC", D(4000))
    finally:
        crash.disarm()


def sixth(world: World) -> list[str]:
    """What the audit says about naked legs."""
    return [one.details for one in audit(world.writer.store, RULES) if one.id == "6" and not one.ok]


@pytest.mark.parametrize(("seconds", "due"), [(4, 0), (6, 1), (38, 1), (600, 1)])
def test_a_known_shortfall_is_told_after_t_hedge(world: World, seconds: int, due: int) -> None:
    """Dead between the legs: what was naked for longer than ``t_hedge`` is told once when it has ended, for
    nothing about it was in doubt; without that alert the audit would find it.
    """
    dead_between_the_legs(world)
    world.clock.sleep(seconds * SECOND)
    world.restart()
    world.writer.reconciler.run()
    assert len(told(world)) == due
    assert sixth(world) == []
    world.writer.store.database.execute_sql("DELETE FROM events WHERE kind = 'alert_raised'")
    assert len(sixth(world)) == due


def test_each_stretch_is_told(world: World) -> None:
    """A leg that was naked for ten minutes, and later for one: the shorter is told as well."""
    dead_between_the_legs(world)
    world.clock.sleep(600 * SECOND)
    world.restart()
    world.writer.reconciler.run()
    position = world.writer.store.positions.active()[0]
    world.clock.sleep(60 * SECOND)
    crash.arm("legs.between", 1, strike=_die)
    with pytest.raises(_Dies):
        world.writer.trader.open("BTC", D(2000), add=True)
    crash.disarm()
    world.clock.sleep(60 * SECOND)
    world.restart()
    world.writer.reconciler.run()
    assert told(world) == [position.position_id] * 2
    assert sixth(world) == []


@pytest.mark.parametrize("fraction", ["0.3", "1"])
def test_coins_that_were_taken_once_hide_nothing_later(world: World, fraction: str) -> None:
    """The venue has sold some of the coins, and the short has followed: a leg that is naked for long after
    that is told like any other.
    """
    opened(world, "4000")
    world.venue.world.auto_repay("BTC", D("0.3"))
    assert world.writer.reconciler.run().clean
    world.clock.sleep(SECOND)  # the alert of that was before
    crash.arm("legs.between", 1, strike=_die)
    with pytest.raises(_Dies):
        world.writer.trader.close("BTC", D(fraction))
    crash.disarm()
    world.clock.sleep(600 * SECOND)
    world.restart()
    world.writer.reconciler.run()
    assert len(told(world)) == 1
    assert sixth(world) == []


def at(second: int) -> datetime:
    """An instant."""
    return START + second * SECOND


@pytest.mark.parametrize(
    ("naked", "doubts", "long"),
    [
        (5, [], False),
        (6, [], True),
        (35, [(0, 30)], False),
        (36, [(0, 30)], True),
        (37, [(-10, 60)], False),
        (38, [(-10, 60)], True),
        (30, [(0, 20), (5, 25)], False),
        (31, [(0, 20), (5, 25)], True),
        (33, [(0, 20), (25, 30)], True),
    ],
)
def test_a_doubt_excuses_its_own_time(naked: int, doubts: list[tuple[int, int]], *, long: bool) -> None:
    """Five seconds, and as much longer as an order was in doubt meanwhile, counted once, 37 s in
    all.
    """
    stretch = Stretch(at(0), at(naked))
    known = [Stretch(at(begin), at(end)) for begin, end in doubts]
    assert list(too_long([stretch], lambda: known, rules=RULES)) == [stretch] * long


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
