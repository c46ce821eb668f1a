"""The audit misses the coins of ours that the wallet does not hold, whoever took them, and no others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest

from fundarb.core.market import Category
from fundarb.core.money import plain
from fundarb.core.orders import Side
from fundarb.engine.audit import VenueTruth, audit
from fundarb.engine.audit_book import BookRules
from tests.engine.test_trade import closed, opened
from tests.engine.world import World

D = Decimal
SECOND = timedelta(seconds=1)
RULES = BookRules(drift_limit=D("0.02"), largest_naked=D(5_150), t_hedge=5 * SECOND, t_recover=37 * SECOND)


def seventh(world: World) -> str:
    """What the audit says of 7 with wallet and positions before it, once the log has been booked; empty: it
    holds.
    """
    world.clock.sleep(SECOND)
    world.writer.collector.collect()
    exchange = world.exchange
    truth = VenueTruth(wallet=exchange.wallet(), positions=exchange.positions(), orders=())
    found = {check.id: check for check in audit(world.writer.store, RULES, truth=truth)}
    assert found["12"].ok, "the ledger follows the log: it is not the ledger that tells"
    return "" if found["7"].ok else found["7"].details


def withdrawn(world: World) -> None:
    """A person takes coins off the account."""
    world.venue.world.transfer("BTC", D("-0.02"))


def sold(world: World) -> object:
    """A person sells coins."""
    order = world.venue.world.manual_order
    return order(Category.SPOT, "BTCUSDT", side=Side.SELL, quantity=D("0.02"))


def repaid(world: World) -> None:
    """The venue sells a fifth of the coins by itself."""
    world.venue.world.auto_repay("BTC", D("0.2"))


@pytest.mark.parametrize("take", [withdrawn, sold, repaid])
def test_7_coins_of_ours_that_are_gone(world: World, take: Callable[[World], object]) -> None:
    """Coins that left the account are missing from the position, though the ledger ties out."""
    ours = opened(world).position.spot_owned
    assert seventh(world) == ""
    take(world)
    assert f"BTC: the wallet owns {plain(world.coins())}, our positions {plain(ours)}" in seventh(world)


def test_7_somebody_elses_coins_hide_nothing_and_are_not_missed(world: World) -> None:
    """Coins beside ours may come and go; only what then is missing of ours counts."""
    opened(world)
    world.venue.world.transfer("BTC", D("0.5"))
    assert seventh(world) == ""
    world.venue.world.transfer("BTC", D("-0.5"))
    assert seventh(world) == ""
    world.venue.world.transfer("BTC", D("-0.00000001"))
    assert seventh(world) == "", "no more than a posting rounds"
    world.venue.world.transfer("BTC", D("-0.00000001"))
    assert "our positions" in seventh(world)


def test_7_what_a_closed_position_left_is_not_its_any_more(world: World) -> None:
    """Dust of a position that is over may be withdrawn."""
    opened(world)
    closed(world)
    world.venue.world.transfer("BTC", -world.coins())
    assert seventh(world) == ""
