"""What the rows of days and months say: what the report of that day or month alone says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.market import Category
from fundarb.core.orders import Side
from fundarb.engine.report import Reporter
from fundarb.engine.report_rows import By, PnlRow, ReportQuery
from tests.engine.month import collect, market, reporter, require_days_alone, snapshot
from tests.engine.world import World, make_world

D = Decimal
DAY = timedelta(days=1)
CONTRACT = "1000PEPEUSDT"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world whose coins and contracts have prices of their own, and in which nobody pays funding."""
    made = make_world(tmp_path / "days.sqlite3", feed=market())
    made.feed.rate = D(0)
    yield made
    made.close()


def to(world: World, day: int, hour: int, minute: int = 0) -> None:
    """Time passes until then, and the books are brought up to date."""
    world.clock.sleep(datetime(2026, 1, day, hour, minute, tzinfo=UTC) - world.clock.now())
    collect(world)


def days(world: World, by: By = By.DAY) -> dict[str, PnlRow]:
    """The rows by their day."""
    return {row.key: row for row in reporter(world).pnl(ReportQuery(by=by)).rows}


def traded_before_midnight(world: World, fraction: str) -> None:
    """Points five minutes after the hour, as a daemon takes them; between the last one of a day and midnight
    a coin of nobody's that had gained 1,000 is sold, and a position whose short had gained 40 is closed.
    """
    to(world, 5, 10)
    world.writer.trader.open("PEPE", D(4_000))
    world.venue.world.transfer("BTC", D("0.1"))
    collect(world)
    snapshot(world)
    world.feed.prices |= {"BTCUSDT": D(60_000), CONTRACT: D("9.9")}
    to(world, 5, 22, 5)
    snapshot(world)
    to(world, 5, 23, 30)
    world.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=Side.SELL, quantity=D("0.1"))
    world.writer.trader.close("PEPE", D(fraction))
    to(world, 6, 0, 5)
    snapshot(world)
    to(world, 6, 12)
    snapshot(world)


@pytest.mark.parametrize("fraction", ["1", "0.5"])
def test_what_is_closed_after_the_last_point_of_a_day_counts_once(world: World, fraction: str) -> None:
    """A day's gain that was unrealised at its last point and realised before midnight is in the day once,
    and the next day does not take it back.
    """
    traded_before_midnight(world, fraction)
    one, other = days(world).values()
    assert one.net is not None
    assert other.net is not None
    assert D(1_010) < one.net < D(1_040)
    assert abs(other.net) < D(2)
    require_days_alone(world)


def test_a_day_without_a_point_has_its_closes(world: World) -> None:
    """Half of a position is closed on a day that no point measured, and the rest on the next: of neither it
    is known what prices did, what was realised is; the total has all of it, and it is said.
    """
    to(world, 5, 10)
    world.writer.trader.open("PEPE", D(4_000))
    to(world, 5, 22)
    snapshot(world)
    world.feed.prices[CONTRACT] = D("9.9")
    to(world, 6, 12)
    world.writer.trader.close("PEPE", D("0.5"))
    to(world, 7, 12)
    world.writer.trader.close("PEPE", D(1))
    to(world, 8, 12)
    snapshot(world)
    first, second, third, *_ = days(world).values()
    assert first.net is not None
    assert (second.unrealised, second.net) == (None, None)
    assert second.realised is not None
    assert second.realised > 15
    assert (third.unrealised, third.net) == (None, None)
    assert third.realised is not None
    assert third.realised > 15
    found = reporter(world).pnl(ReportQuery(by=By.DAY))
    assert found.total.net is not None
    assert D(30) < found.total.net - first.net < D(40)
    (said,) = found.warnings
    assert "prices of 2026-01-06, 2026-01-07 were not measured" in said
    assert "only the total has it" in said
    require_days_alone(world)


def test_a_point_at_the_very_cut_is_seen_from_both_sides(world: World) -> None:
    """A point at midnight: the day before ends there, and the report of either day alone knows it."""
    to(world, 5, 10)
    world.writer.trader.open("PEPE", D(4_000))
    to(world, 5, 22)
    snapshot(world)
    world.feed.prices[CONTRACT] = D("9.9")
    to(world, 6, 0)
    snapshot(world)
    to(world, 6, 12)
    snapshot(world)
    one, other = days(world).values()
    assert one.unrealised is not None
    assert one.unrealised > 30
    assert other.unrealised == 0
    require_days_alone(world)


def test_what_nobody_has_seen_yet_is_in_no_day(world: World) -> None:
    """Opened after the last point, and the account cannot be read: the day is not known, nor the next; then a
    point comes, and it has both.
    """
    to(world, 5, 10)
    world.writer.trader.open("BTC", D(4_000))
    to(world, 5, 22)
    snapshot(world)
    to(world, 5, 23)
    world.writer.trader.open("PEPE", D(4_000))
    to(world, 6, 12)
    blind = Reporter(world.writer.store, world.clock)
    assert [row.net for row in blind.pnl(ReportQuery(by=By.DAY)).rows] == [None, None]
    for day in (5, 6):
        since = datetime(2026, 1, day, tzinfo=UTC)
        (alone,) = blind.pnl(ReportQuery(by=By.DAY, since=since, until=since + DAY)).rows
        assert alone.net is None
    snapshot(world)
    assert None not in [row.net for row in blind.pnl(ReportQuery(by=By.DAY)).rows]
    require_days_alone(world)


def test_a_day_that_ends_early_says_so(world: World) -> None:
    """The last point of a day stands at one in the morning: its prices end there, and the next day has the
    rest, which each report that is cut there says.
    """
    to(world, 5, 10)
    world.writer.trader.open("PEPE", D(4_000))
    to(world, 5, 23)
    snapshot(world)
    to(world, 6, 1)
    snapshot(world)
    world.feed.prices[CONTRACT] = D("9.9")
    to(world, 7, 22)
    snapshot(world)
    to(world, 8, 1)
    found = reporter(world).pnl(ReportQuery(by=By.DAY))
    (said,) = found.warnings
    assert said == "prices of these end at their last point: 2026-01-06 (2026-01-06 01:00)"
    cut = datetime(2026, 1, 7, tzinfo=UTC)
    for query in (ReportQuery(since=cut), ReportQuery(until=cut)):
        (said,) = reporter(world).pnl(query).warnings
        assert said == "prices at 2026-01-07 00:00 are those of 2026-01-06 01:00, the last point before it"
    world.writer.trader.close("PEPE", D(1))
    to(world, 9, 12)
    assert not any("2026-01-08" in one for one in reporter(world).pnl(ReportQuery(by=By.DAY)).warnings)
