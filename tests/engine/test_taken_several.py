"""A margin event of the whole account: the venue takes from several positions before anybody looks."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import permutations
from pathlib import Path

import pytest

from fundarb.core.states import PositionState
from fundarb.engine.outcome import Reached, TradeResult
from tests.engine.test_faults import consistent
from tests.engine.world import World, make_world
from tests.venue import toy

D = Decimal
COINS = ("BTC", "ETH", "SOL")


@pytest.fixture
def three(tmp_path: Path) -> Iterator[World]:
    """Three coins are held, oldest first."""
    feed = toy.ToyFeed(
        listed=tuple(kind(f"{base}USDT", base_coin=base) for base in COINS for kind in (toy.spot, toy.perp)),
        prices={f"{base}USDT": D(50_000) for base in COINS},
    )
    for base in COINS:
        feed.coin_rules[base] = toy.coin(base, "0.95")
    made = make_world(tmp_path / "three.sqlite3", feed=feed)
    for base in COINS:
        result = made.writer.trader.open(base, D(1000))
        assert isinstance(result, TradeResult), result
        assert result.reached is Reached.DONE, result.reasons
        made.clock.sleep(made.rules.t_recover)
    yield made
    made.close()


@pytest.mark.parametrize(("gone", "also_gone", "bare"), tuple(permutations(COINS)))
def test_what_went_whole_keeps_nobody_from_hedging_the_rest(
    three: World, gone: str, also_gone: str, bare: str
) -> None:
    """D01 and D05 at once: of two positions the venue takes everything, of a third only the short; its coins
    follow in the same walk, and the two have ended.
    """
    for base in COINS:
        three.venue.world.liquidate(f"{base}USDT")
    for base in (gone, also_gone):
        three.venue.world.auto_repay(base, D(1))
    assert three.writer.reconciler.run().clean
    assert three.coins(bare) < D("0.00011")
    states = {position.state for position in three.writer.store.positions.all()}
    assert states == {PositionState.CLOSED}
    consistent(three)
