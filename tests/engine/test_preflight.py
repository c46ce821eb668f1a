"""What a person is told before an open: the yield of now, as the scan reckons it; it warns and never
refuses.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.config import Settings
from fundarb.core.reasons import Reason
from fundarb.engine.outcome import Reached, TradeResult
from fundarb.engine.scan import NoHistory, Scanner
from fundarb.engine.trade import OpenPlan
from tests.engine.world import World, make_world
from tests.venue.toy import ToyFeed

D = Decimal
LOW = "net_apr_below_minimum"


def warned(found: object) -> list[Reason]:
    """The warnings about the yield."""
    assert isinstance(found, (OpenPlan, TradeResult))
    return [item for item in found.warnings if item.code == LOW]


def scanned(world: World, notional: Decimal) -> Decimal:
    """The net APR that a scan shows for BTC."""
    scanner = Scanner(world.exchange, NoHistory(), clock=world.clock, settings=Settings())
    query = replace(scanner.query(), notional=notional, coins=("BTC",), refused=True)
    (item,) = scanner.scan(query).opportunities
    assert item.result is not None
    return item.result.net_apr


@pytest.mark.parametrize("rate", ["-0.0001", "0.00005", "0.0001"])
def test_a_poor_yield_warns_a_person_with_the_figure_of_the_scan(tmp_path: Path, rate: str) -> None:
    """Plan and open say it alike, and the open is done all the same."""
    world = make_world(tmp_path / "db", feed=ToyFeed(rate=D(rate)))
    figure = f"net APR {scanned(world, D(1000)) * 100:.2f} % is below the minimum of 5.00 %"
    (planned,) = warned(world.writer.trader.plan_open("BTC", D(1000)))
    assert planned.message == figure
    result = world.writer.trader.open("BTC", D(1000))
    assert warned(result)[0].message == figure
    assert isinstance(result, TradeResult)
    assert result.reached is Reached.DONE
    world.close()


def test_a_good_yield_is_no_word_worth(tmp_path: Path) -> None:
    """At 4 bp per settlement nothing is said of it, at the size that is asked for."""
    world = make_world(tmp_path / "db", feed=ToyFeed(rate=D("0.0004")))
    assert scanned(world, D(1000)) > D("0.05")
    assert warned(world.writer.trader.plan_open("BTC", D(1000))) == []
    world.close()


def test_a_size_that_eats_its_yield_warns(tmp_path: Path) -> None:
    """The same coin in a thin market: what the books cost at this size is in the figure."""
    thin = ToyFeed(rate=D("0.0003"), size=D("0.01"), gap=D(40))
    world = make_world(tmp_path / "db", feed=thin)
    assert warned(world.writer.trader.plan_open("BTC", D(400))) == []
    assert warned(world.writer.trader.plan_open("BTC", D(4_000)))
    world.close()
