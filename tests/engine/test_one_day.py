"""One truth for each day: the digest that people are sent, the breaker's day, the returns of the equity curve
and the rows of ``report pnl --by day`` are of the same facts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from fundarb.core.money import ZERO
from fundarb.core.states import PositionState
from fundarb.engine import equity_points
from fundarb.engine.daybook import today
from fundarb.engine.report import Reporter
from fundarb.engine.report_rows import By, PnlRow, ReportQuery
from tests.daemon.living import HOUR, SECOND, Living, make_living

D = Decimal
DAY = timedelta(days=1)
FIRST = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Living]:
    """An office without a schedule, whose coin pays 4 bp every eight hours: at midnight too."""
    made = make_living(tmp_path, specs=())
    yield made
    made.close()


def lived(living: Living, until: datetime, *, skip: tuple[int, ...] = ()) -> None:
    """A position is opened before any snapshot, prices move, and each full hour the books are brought up to
    date and measured, at midnight too; ``skip``: hours of the day in which nobody does.
    """
    living.run("scan_and_open")
    while living.clock.now() < until:
        hour = (living.clock.now() + HOUR).replace(minute=0, second=0, microsecond=0)
        living.clock.sleep(hour - living.clock.now())
        living.feed.prices["BTCUSDT"] += 7 + hour.hour
        if hour.hour not in skip:
            living.run("collect_funding")
            living.run("snapshot")


def rows(living: Living) -> dict[str, PnlRow]:
    """What the report says of each day."""
    return {row.key: row for row in Reporter(living.store, living.clock).pnl(ReportQuery(by=By.DAY)).rows}


def digests(living: Living) -> list[dict[str, str | None]]:
    """What people were told of each day."""
    return [json.loads(one.payload) for one in living.store.events.after(0, 999, kind="day_closed")]


def test_the_digest_says_what_the_report_says(living: Living) -> None:
    """The first day has the costs of what was opened before its first point, and a settlement at midnight is
    of the day that begins.
    """
    for number in (1, 2, 3):
        lived(living, FIRST + DAY * number)
        living.clock.sleep(600 * SECOND)
        living.run("digest")
    found = rows(living)
    assert [one["day"] for one in digests(living)] == ["2026-01-05", "2026-01-06", "2026-01-07"]
    for told in digests(living):
        row = found[str(told["day"])]
        named = {"profit": row.net, "funding": row.funding, "fees": row.fees}
        assert {name: D(told[name] or "nan") for name in named} == named, row.key
        assert told["coverage"] == "complete"
    assert (found["2026-01-05"].fees or ZERO) > ZERO
    equity = [D(str(one["equity"])) for one in digests(living)]
    gains = [row.net for row in list(found.values())[1:3]]
    assert [two - one for one, two in pairwise(equity)] == gains


def test_a_digest_of_what_nobody_measured_says_so(living: Living) -> None:
    """A day without a point, with a position open, has no known result: null, and said in words."""
    lived(living, FIRST + DAY)
    living.clock.sleep(DAY + 600 * SECOND)
    assert "not known" in living.run("digest")
    (told,) = digests(living)
    assert (told["day"], told["profit"], told["equity"]) == ("2026-01-06", None, None)
    assert D(told["funding"] or "nan") > 0


@pytest.mark.parametrize("skip", [(), (0,), (22, 23, 0, 1)], ids=["hourly", "not at midnight", "a gap"])
def test_returns_are_of_the_days_that_the_report_has(living: Living, skip: tuple[int, ...]) -> None:
    """The result of each full day is that of the report's row, wherever its points stand."""
    lived(living, FIRST + DAY * 4 + 2 * HOUR, skip=skip)
    found = rows(living)
    daily = Reporter(living.store, living.clock).equity(ReportQuery()).daily
    assert [one.day for one in daily] == ["2026-01-06", "2026-01-07", "2026-01-08"]
    assert [one.result for one in daily] == [found[one.day].net for one in daily]
    assert all(one.rate for one in daily)


def test_returns_stay_when_old_points_are_thinned(living: Living) -> None:
    """When of each day only the last point is kept, the settlements of midnight stay in their day: only what
    prices did since that point moves.
    """
    lived(living, FIRST + DAY * 3 + HOUR)
    before = Reporter(living.store, living.clock).equity(ReportQuery()).daily
    assert living.store.snapshots.thin(equity_points.TIED_KIND, living.clock.now(), each=DAY) > 60
    after = Reporter(living.store, living.clock).equity(ReportQuery()).daily
    found = rows(living)
    for one, two in zip(before, after, strict=True):
        row = found[one.day]
        assert one.result is not None
        assert two.result == row.net
        assert row.funding is not None
        assert row.net is not None
        assert abs(one.result - row.net) < row.funding / 100


def test_the_breakers_day_has_all_costs_of_the_day(living: Living) -> None:
    """What was opened before the first point of the first day cost fees: the day begins at the opening of
    the books. On a later day it begins at midnight.
    """
    lived(living, FIRST + 20 * HOUR)
    first = today(living.store)
    assert first is not None
    row = rows(living)["2026-01-05"]
    assert (first.since, first.profit, first.fees, first.funding) == (FIRST, row.net, row.fees, row.funding)
    assert first.fees > 0
    lived(living, FIRST + DAY + 9 * HOUR)
    second = today(living.store)
    assert second is not None
    row = rows(living)["2026-01-06"]
    assert (second.profit, second.funding) == (row.net, row.funding)
    assert second.equity_start + second.profit == second.equity_now
    assert row.fees == ZERO
    assert living.store.positions.active()[0].state is PositionState.HEDGED


@pytest.mark.parametrize("change", [-1000, 1000], ids=["a loss", "a gain"])
def test_days_that_nobody_saw_are_not_today(living: Living, change: int) -> None:
    """Five days without a point end today: what prices did in them neither forbids opens nor hides what is
    lost from now on.
    """
    living.venue.world.transfer("BTC", D(1))
    living.run("collect_funding")
    living.run("snapshot")
    for _ in range(5):
        living.clock.sleep(DAY)
        living.feed.prices["BTCUSDT"] += change
    for _ in range(2):
        living.clock.sleep(HOUR)
        living.feed.prices["BTCUSDT"] -= 10
        living.run("collect_funding")
        living.run("snapshot")
    found = today(living.store)
    assert found is not None
    assert found.profit == -10
