"""The equity curve stays small: fine for days, by the hour for months, by the day for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.clock import VirtualClock
from fundarb.engine import equity_points
from fundarb.engine.equity import EquityPoint
from fundarb.errors import StateUnavailable
from fundarb.store.database import Store
from fundarb.store.files import url_of

D = Decimal
START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def test_old_points_are_thinned(tmp_path: Path) -> None:
    """Of half a year with a point every half hour: all of the last days, the last of each hour before, the
    last of each day before that; provisional ones apart.
    """
    clock = VirtualClock(START)
    with Store.open(url_of(tmp_path / "a.db"), clock=clock) as store:
        with store.transaction():
            for number in range(183 * 48):
                at = START + number * HOUR / 2
                point = EquityPoint(at=at, equity=D(number), unrealised=D(0), booked_until=0)
                equity_points.keep(store, point)
            loose = EquityPoint(at=START + HOUR, equity=D(1), unrealised=D(0), booked_until=0, tied=False)
            equity_points.keep(store, loose)
        points = equity_points.points(store, tied_only=True)
        end = START + 182 * DAY
        assert sum(point.at >= end - 3 * DAY for point in points) == 4 * 48
        old = [point.at for point in points if point.at < end - 100 * DAY]
        assert len(old) == 82
        assert all(at.hour == 23 and at.minute == 30 for at in old)
        middle = [point.at for point in points if end - 99 * DAY <= point.at < end - 4 * DAY]
        assert len(middle) == 95 * 24
        assert len(equity_points.points(store)) == len(points) + 1


def test_a_year_of_points_is_small(tmp_path: Path) -> None:
    """A year with a point every five minutes and five positions stays far below a hundred megabytes."""
    clock, path = VirtualClock(START), tmp_path / "a.db"
    held = {f"p-{number:010d}": D("-12.34567891") for number in range(5)}
    with Store.open(url_of(path), clock=clock) as store:
        for day in range(0, 365, 5):  # every fifth day is enough to see it: the rest would be thinned alike
            with store.transaction():
                for number in range(288):
                    at = START + day * DAY + number * HOUR / 12
                    equity_points.keep(
                        store,
                        EquityPoint(
                            at=at,
                            equity=D("10000.12345678"),
                            unrealised=D("-60.1"),
                            booked_until=number,
                            by_position=held,
                        ),
                    )
    size = sum(item.stat().st_size for item in path.parent.glob("a.db*"))
    assert size < 10_000_000, size


def test_a_point_that_nobody_stored_is_damage(tmp_path: Path) -> None:
    """A point whose text makes no sense is named with what to do; no curve is drawn past it."""
    with Store.open(url_of(tmp_path / "a.db"), clock=VirtualClock(START)) as store:
        store.snapshots.add(START, equity_points.TIED_KIND, equity=D(1), payload='{"unrealised"; "0"}')
        with pytest.raises(StateUnavailable, match=r"damaged.*a point of the equity curve.*backup"):
            equity_points.points(store)
