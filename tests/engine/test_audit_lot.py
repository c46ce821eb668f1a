"""What the audit lets pass as one lot: what the pair's finer leg cannot correct, and no more."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from fundarb.core.market import Pair, PerpInstrument, SpotInstrument
from fundarb.core.records import PositionRecord
from fundarb.engine.audit import Audit, examine
from fundarb.engine.audit_book import BookRules, Move, walk
from tests.engine.test_trade import opened
from tests.engine.world import World
from tests.venue.toy import START, perp, spot

D = Decimal
SECOND = timedelta(seconds=1)
RULES = BookRules(drift_limit=D("0.02"), largest_naked=D(5_150), t_hedge=5 * SECOND, t_recover=37 * SECOND)


def looked(world: World) -> Audit:
    """The audit of the books alone."""
    return examine(world.writer.store, RULES)


def sixth(world: World) -> str:
    """What it says of 6; empty if it holds."""
    return next("" if check.ok else check.details for check in looked(world).checks if check.id == "6")


def small(world: World) -> PositionRecord:
    """A position of 200 USDT: its drift limit is below its lot of 0.0001 BTC, which is worth 5 USDT."""
    return opened(world, "200").position


@pytest.mark.parametrize(("coins", "says"), [("0.00009", ""), ("0.00015", "is HEDGED with a delta")])
def test_6_one_lot_is_the_pairs(world: World, coins: str, says: str) -> None:
    """A delta that an order could have corrected is found, though it is worth less than 10 USDT."""
    held = small(world)
    delta = held.contracts - held.spot_owned + D(coins)
    world.writer.store.positions.add_quantities(held.position_id, spot=delta, contracts=D(0))
    assert says in sixth(world)
    assert bool(says) == bool(sixth(world))
    assert not [name for name in looked(world).not_judged if name.startswith("6")]


def test_6_lots_that_nobody_kept_are_named(world: World) -> None:
    """Without the pair's steps up to 10 USDT pass, and the audit says that it could not look closer."""
    held = small(world)
    delta = held.contracts - held.spot_owned + D("0.00015")
    world.writer.store.positions.add_quantities(held.position_id, spot=delta, contracts=D(0))
    world.writer.store.database.execute_sql("DELETE FROM meta WHERE key LIKE 'pair.%'")
    assert sixth(world) == ""
    assert "1 of 1 positions that traded" in looked(world).not_judged["6 lot"]
    assert "10 USDT" in looked(world).not_judged["6 lot"]


def pair_of(step: str) -> Pair:
    """BTC with the same step on both legs."""
    legs = spot(qty_step=D(step)).instrument, perp(qty_step=D(step), min_qty=D(step)).instrument
    assert isinstance(legs[0], SpotInstrument)
    assert isinstance(legs[1], PerpInstrument)
    return Pair(base="BTC", spot=legs[0], perp=legs[1], multiplier=D(1))


@pytest.mark.parametrize(("step", "naked"), [("0.00001", 1), ("0.001", 0)])
def test_6_a_stretch_is_measured_by_the_pairs_lot(world: World, step: str, naked: int) -> None:
    """0.0004 BTC too much for a minute: many lots of a fine pair, none of one whose step is 50 USDT."""
    held = opened(world, "200").position
    moves = [
        Move(START, 1, D("0.004"), D(0), D(50_000), "bought"),
        Move(START, 2, D(0), D("0.0036"), D(50_000), "sold"),
        Move(START + 60 * SECOND, 3, D("-0.0004"), D(0), D(50_000), "trimmed"),
    ]
    found = walk(held, moves, rules=RULES, pair=pair_of(step))
    assert [stretch.lasted for stretch in found.stretches if stretch.lasted] == [60 * SECOND] * naked
