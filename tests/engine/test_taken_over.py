"""A leg that somebody else traded away is told to a person by whoever takes it over first, once."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from fundarb.core.market import Category
from fundarb.core.orders import Side
from fundarb.engine.audit import audit
from fundarb.engine.audit_book import BookRules
from fundarb.engine.commands import Arguments
from fundarb.engine.compare import Choice
from tests.engine.test_clips import GONE, gone_by_hand
from tests.engine.test_repairs import alerts, decide, ruled
from tests.engine.test_trade import closed, opened
from tests.engine.world import LIMITS, World

__all__ = ["ruled"]

D = Decimal
RULES = BookRules(
    drift_limit=D("0.02"), largest_naked=D(1_000), t_hedge=LIMITS.t_hedge, t_recover=2 * LIMITS.t_hedge
)


def told(world: World) -> list[tuple[str, str]]:
    """What every alert is about: its code and its subject."""
    rows = world.writer.store.events.after(0, 1000, kind="alert_raised")
    return [(one["code"], one["subject"]) for one in (json.loads(row.payload) for row in rows)]


def about(gone: str) -> tuple[str, str]:
    """The alert that a leg which is gone must raise."""
    return ("perp_size", "BTCUSDT") if "perp" in gone else ("spot_short", "BTC")


def neutral_or_told(world: World) -> bool:
    """What the audit says of 6."""
    return next(check.ok for check in audit(world.writer.store, RULES) if check.id == "6")


@pytest.mark.parametrize("arguments", [{"name": "BTC"}, {"name": "BTC", "emergency": True}, {"all": True}])
@pytest.mark.parametrize("gone", GONE)
def test_a_close_that_takes_a_leg_over_tells_a_person(
    world: World, gone: str, arguments: dict[str, str | bool]
) -> None:
    """H03: nobody has looked before the command: the person who gave it may not be the one who must know that
    a leg was naked; the walk after it has nothing to add.
    """
    opened(world, "5000")
    gone_by_hand(world, gone)
    asked: Arguments = arguments
    assert world.writer.executor.execute("close", asked).exit_code == 0
    assert told(world) == [about(gone)]
    assert world.writer.reconciler.run().clean
    assert told(world) == [about(gone)]
    assert neutral_or_told(world)


@pytest.mark.parametrize("ruled", ["unwind", "rehedge"], indirect=True)
@pytest.mark.parametrize("gone", ["perp", "half the coins", "coins sold"])
def test_a_policy_that_takes_a_leg_over_tells_a_person(ruled: World, gone: str) -> None:
    """H03: what a policy mends in the walk that finds it is told all the same, at a start like later."""
    opened(ruled, "5000")
    gone_by_hand(ruled, gone)
    ruled.restart()
    assert ruled.writer.reconciler.run(repair=True).clean
    assert told(ruled) == [about(gone)]
    assert ruled.writer.reconciler.run(repair=True).clean
    assert told(ruled) == [about(gone)]
    assert neutral_or_told(ruled)


def test_what_a_walk_has_told_is_not_told_again_by_the_close(world: World) -> None:
    """H03: one incident, one alert, also after an answer that left it as it was."""
    opened(world, "5000")
    gone_by_hand(world, "perp")
    world.writer.reconciler.run()
    decide(world, "perp_size:BTCUSDT", Choice.IGNORE)
    closed(world)
    assert alerts(world) == ["perp_size"]


def test_what_went_after_a_walk_has_told_of_less_is_told(world: World) -> None:
    """H03: a person who was told of a tenth was not told of the rest."""
    opened(world, "5000")
    world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.BUY, quantity=D("0.002"))
    world.writer.reconciler.run()
    world.clock.sleep(RULES.t_hedge)
    world.venue.world.manual_close("BTCUSDT")
    closed(world)
    assert alerts(world) == ["perp_size", "perp_size"]
    assert neutral_or_told(world)
