"""Unattended repairs: what the venue or another hand did is mended within one watch or the next walk."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.market import Category
from fundarb.core.orders import Side
from fundarb.core.records import BlockKind
from tests.daemon.living import SECOND, Living, make_living

D = Decimal


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Living]:
    """One position, and a watch that has seen it."""
    made = make_living(tmp_path, specs=())
    made.run("scan_and_open")
    made.run("reconcile")
    made.run("watch")
    made.clock.sleep(15 * SECOND)
    yield made
    made.close()


def hedged(living: Living) -> bool:
    """Both legs agree at the venue."""
    short = -sum((item.size for item in living.exchange.positions()), D(0))
    coins = living.exchange.wallet().owned("BTC")
    return abs(coins - short) <= D("0.02") * max(coins, short)


@pytest.mark.parametrize("verb", ["adl", "auto_repay"])
def test_the_venues_acts_are_mended_within_one_watch(living: Living, verb: str) -> None:
    """D01, D05: the next watch sees it, brings the legs together and freezes the coin."""
    where = {"adl": "BTCUSDT", "auto_repay": "BTC"}[verb]
    getattr(living.venue.world, verb)(where, D("0.4"))
    assert not hedged(living)
    living.clock.sleep(15 * SECOND)
    living.run("watch")
    assert hedged(living)
    assert living.store.blocks.get("BTC", BlockKind.FREEZE) is not None
    before = living.store.events.newest_id()
    living.clock.sleep(15 * SECOND)
    living.run("watch")
    assert living.run("reconcile") in {"books and venue agree", "wallet and sizes are unchanged"}
    assert living.store.events.newest_id() == before


def test_coins_sold_by_hand_are_seen_by_each_walk(living: Living) -> None:
    """Spot sold by hand while nobody trades: reported by every run of the job until it is answered."""
    living.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=Side.SELL, quantity=D("0.005"))
    for _ in range(3):
        living.clock.sleep(60 * SECOND)
        living.run("watch")
        assert living.run("reconcile", repair=True) == "spot_short:BTC"
    assert not hedged(living)
