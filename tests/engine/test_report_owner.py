"""What a point of the equity curve had seen is no result once more when it turns out to be somebody else's: a
leg that was closed by hand, and whose that was is answered later.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.market import Category
from fundarb.core.orders import Side
from fundarb.core.reasons import Refused
from fundarb.engine import daybook
from fundarb.engine.compare import Choice
from fundarb.engine.report_rows import ACCOUNT_ROW, By, ReportQuery
from tests.engine.month import collect, market, reporter, require_days_alone, require_same_facts, snapshot
from tests.engine.world import World, make_world

D = Decimal
LEGS = {
    "perp_size:BTCUSDT": (Choice.ADOPT, Choice.UNWIND, Choice.REHEDGE),
    "spot_short:BTC": (Choice.ADOPT, Choice.UNWIND, Choice.REHEDGE),
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A position in Bitcoin, and coins of nobody's that fall: what they lose is of the other sign than what
    a short closed by hand leaves behind. Nobody pays funding.
    """
    made = make_world(tmp_path / "owner.sqlite3", feed=market())
    made.feed.rate = D(0)
    made.venue.world.transfer("MNT", D(1_000))
    collect(made)
    made.writer.trader.open("BTC", D(2_000))
    made.feed.prices |= {"BTCUSDT": D(55_000), "MNTUSDT": D("0.4")}
    to(made, 5, 10)
    snapshot(made)
    yield made
    made.close()


def to(world: World, day: int, hour: int, minute: int = 0) -> None:
    """Time passes until then; the books are brought up to date and compared."""
    world.clock.sleep(datetime(2026, 1, day, hour, minute, tzinfo=UTC) - world.clock.now())
    collect(world)
    world.writer.reconciler.run(repair=False)


def by_hand(world: World, ident: str) -> None:
    """Somebody ends one leg."""
    if ident.startswith("perp"):
        world.venue.world.manual_close("BTCUSDT")
        return
    coins = world.exchange.wallet().owned("BTC")
    world.venue.world.manual_order(
        Category.SPOT, "BTCUSDT", side=Side.SELL, quantity=coins.quantize(D("1e-5"))
    )


def equity(world: World) -> Decimal:
    """What the venue says that the account is worth."""
    total = world.exchange.wallet().total_equity
    assert total is not None
    return total


@pytest.mark.parametrize(("ident", "choice"), [(leg, one) for leg, some in LEGS.items() for one in some])
def test_whose_it_was_changes_no_total(world: World, ident: str, choice: Choice) -> None:
    """A leg is ended by hand, prices go on, a day later somebody says whose that was: the day before, the
    curve, and a span from point to point are what the venue's equity did then.
    """
    begun, started = world.clock.now(), equity(world)
    by_hand(world, ident)
    to(world, 5, 12)
    snapshot(world)
    world.feed.prices["BTCUSDT"] = D(60_000)
    to(world, 5, 23, 50)
    snapshot(world)
    ended = equity(world)
    to(world, 6, 12)
    snapshot(world)
    assert not isinstance(world.writer.decider.decide(ident, choice), Refused)
    today = daybook.today(world.writer.store)
    assert today is not None
    assert today.equity_start == ended, "what a daily limit on losses counts from"
    for day in (6, 7):
        to(world, day, 23, 50)
        snapshot(world)
    to(world, 8, 1)
    span = reporter(world).pnl(ReportQuery(since=begun, until=datetime(2026, 1, 6, tzinfo=UTC)))
    require_same_facts(span)
    assert (span.tie_out.equity_start, span.tie_out.equity_end) == (started, ended)
    days = reporter(world).pnl(ReportQuery(by=By.DAY))
    first, second, *_ = days.rows
    assert first.net == ended - D(100_000 + 800), "what was there, and what came in"
    assert sum((row.net or D(0) for row in days.rows), D(0)) == days.total.net
    require_days_alone(world)
    daily = {one.day: one.result for one in reporter(world).equity(ReportQuery()).daily}
    assert daily[second.key] == second.net


@pytest.mark.parametrize("choice", [Choice.ADOPT, Choice.UNWIND])
def test_what_is_closed_by_the_answer_counts_once(world: World, choice: Choice) -> None:
    """The answer comes after a day's last point and ends the position before midnight: the equity there is
    the point's, less what the closing cost, and no price of the time between enters it twice.
    """
    world.venue.world.manual_close("BTCUSDT")
    to(world, 5, 12)
    world.feed.prices["BTCUSDT"] = D(60_000)
    to(world, 5, 23, 30)
    snapshot(world)
    ended = equity(world)
    to(world, 5, 23, 40)
    assert not isinstance(world.writer.decider.decide("perp_size:BTCUSDT", choice), Refused)
    assert not world.writer.store.positions.active()
    to(world, 6, 12)
    snapshot(world)
    found = reporter(world).pnl(ReportQuery(until=datetime(2026, 1, 6, tzinfo=UTC)))
    require_same_facts(found)
    assert found.tie_out.equity_end is not None
    assert -5 < found.tie_out.equity_end - ended <= 0
    require_days_alone(world)


@pytest.mark.parametrize("fraction", [D("0.5"), D(1)])
def test_a_sale_is_no_gain_whatever_else_is_held(world: World, fraction: Decimal) -> None:
    """Of two coins of the account's own one has gained and one has lost; after the last point the one that
    gained is sold, in part or whole: the equity there is the point's less the fee, at the point's prices.
    """
    world.venue.world.transfer("BTC", D(1))
    collect(world)
    world.feed.prices["BTCUSDT"] = D(60_000)
    to(world, 5, 12)
    snapshot(world)
    before = equity(world)
    world.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=Side.SELL, quantity=fraction)
    to(world, 5, 13)
    cut = world.clock.now()
    to(world, 5, 14)
    snapshot(world)
    found = reporter(world).pnl(ReportQuery(until=cut))
    require_same_facts(found)
    (sold,) = (row for row in found.rows if row.key == ACCOUNT_ROW)
    assert sold.realised is not None
    assert sold.realised > 4_900 * fraction
    assert sold.fees is not None
    assert sold.fees > 0
    assert found.tie_out.equity_end == before - sold.fees


@pytest.mark.parametrize("category", [Category.LINEAR, Category.SPOT])
def test_what_came_and_went_between_two_points_is_of_its_own_day(world: World, category: Category) -> None:
    """Of the account's own, opened or paid in after a day's last point and gone before midnight: what it lost
    is that day's result, the daily limit counts it then, and nothing of it is unrealised.
    """
    world.feed.prices["MNTUSDT"] = D("0.8")
    to(world, 5, 20)
    snapshot(world)
    before = equity(world)
    to(world, 5, 21)
    spot = category is Category.SPOT
    symbol, quantity = ("PEPEUSDT", D(50_000)) if spot else ("1000PEPEUSDT", D(50))
    limit = "maxMarketOrderQty" if spot else "maxMktOrderQty"
    world.venue.world.filters(category, symbol, fields={limit: "1000000"})
    if spot:
        world.venue.world.transfer("PEPE", quantity)
    else:
        world.venue.world.manual_order(category, symbol, side=Side.BUY, quantity=quantity)
    collect(world)
    world.feed.prices |= {"PEPEUSDT": D("0.008"), "1000PEPEUSDT": D(8)}
    to(world, 5, 22)
    world.venue.world.manual_order(category, symbol, side=Side.SELL, quantity=quantity)
    to(world, 5, 23)
    lost = equity(world) - before
    today = daybook.today(world.writer.store)
    assert today is not None
    to(world, 6, 9)
    snapshot(world)
    assert today.profit == pytest.approx(reporter(world).pnl(ReportQuery(by=By.DAY)).rows[0].net)
    found = reporter(world).pnl(ReportQuery(until=datetime(2026, 1, 6, tzinfo=UTC)))
    require_same_facts(found)
    assert found.tie_out.equity_end is not None
    assert abs(found.tie_out.equity_end - before - lost) < D("1e-6")
    (own,) = (row for row in found.rows if row.key == ACCOUNT_ROW)
    assert own.realised is not None
    assert own.realised < -90
    require_days_alone(world)
