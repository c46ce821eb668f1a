"""Today, as far as our own books know it: equity at its start, profit and fees since, without asking the
venue.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from fundarb.core.money import ZERO
from fundarb.engine import equity_points
from fundarb.store.database import Store

_LOOK_BACK = timedelta(hours=3)
"""The last snapshot of yesterday stands for midnight if it is not older."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Today:
    """Amounts in quote. ``profit`` is the change of equity without deposits and withdrawals; ``fees`` + =
    expense, ``funding`` + = received.
    """

    since: datetime
    equity_start: Decimal
    equity_now: Decimal
    profit: Decimal
    fees: Decimal
    funding: Decimal


def today(store: Store) -> Today | None:
    """Today (UTC) from the equity snapshots and what was booked between them; None before two snapshots tell
    anything.
    """
    start = midnight(store.clock.now())
    return between(store, start, until=store.clock.now() + timedelta(seconds=1))


def midnight(now: datetime) -> datetime:
    """The beginning of the day (UTC) of an instant."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def between(store: Store, start: datetime, *, until: datetime) -> Today | None:
    """The time from ``start`` to ``until`` in the same terms; None without two points."""
    points = equity_points.points(store, since=start - _LOOK_BACK, until=until)
    before = [point for point in points if point.at <= start]
    before = [point for point in before if point.tied] or before
    points = (before[-1], *(point for point in points if point.at > start)) if before else points
    if len(points) < 2:
        return None
    first, last = points[0], points[-1]
    tie = equity_points.tie_out(store, first, end=last)
    return Today(
        since=start,
        equity_start=first.equity,
        equity_now=last.equity,
        profit=last.equity - first.equity - tie.external,
        fees=tie.fees or ZERO,
        funding=tie.funding,
    )
