"""The rows of the equity curve, and what each full day (UTC) of it brought: by the very facts and prices of
which the rows of ``report pnl --by day`` are made. Changes nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import accumulate, pairwise
from typing import Final

from fundarb.core import returns
from fundarb.core.ledger import Account
from fundarb.core.money import ONE, ZERO
from fundarb.engine.equity import EquityPoint
from fundarb.engine.report_edges import Closings, Edge, inner
from fundarb.store.database import Store
from fundarb.store.unvalued import Unvalued

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityRow:
    """One point of the curve, in quote. ``result`` is the equity less all deposits and withdrawals since the
    first one, ``index`` what one unit of money became since then (time-weighted, see ``core.returns``).
    ``provisional``: ledger and wallet did not agree at that moment; ``pending`` is what was known to be on
    its way. ``index`` is None for such a point, and from where a return cannot be measured on.
    """

    time: datetime
    equity: Decimal
    result: Decimal
    provisional: bool
    pending: Decimal
    index: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyReturn:
    """What one full day (UTC) brought: ``result`` in quote, ``rate`` as a fraction, time-weighted. Both are
    None where the day was not measured: no point at its end or at that of the day before, or a worth that is
    not known; ``rate`` also where there was nothing to gain it with.
    """

    day: str
    result: Decimal | None
    rate: Decimal | None


def _crosses(before: EquityRow, after: EquityRow, *, guessed: Sequence[Unvalued]) -> bool:
    """Whether between two rows something came or went, or was held, at an unknown worth."""
    return any(before.time < item.until and item.since <= after.time for item in guessed)


def grown(before: EquityRow, after: EquityRow, *, guessed: Sequence[Unvalued]) -> Decimal | None:
    """By which factor money grew between two points that follow one another; None where it is not known what
    came or went in between.
    """
    if _crosses(before, after, guessed=guessed):
        return None
    gain = after.result - before.result
    flow = after.equity - before.equity - gain
    return returns.growth(before.equity, flow=flow, gain=gain)


def with_midnights(
    store: Store, found: Sequence[EquityPoint], *, rows: Sequence[EquityRow]
) -> tuple[EquityRow, ...]:
    """The firm rows of these points, and one at each midnight up to the last of them that follows a day with
    a point: that point carried there, as where two days of ``report pnl`` adjoin. It stands in place of a
    point of that very moment, whose books may have facts of the day that begins.
    """
    firm = [(point, row) for point, row in zip(found, rows, strict=True) if point.tied]
    points = {_midnight(point.at): point for point, _ in firm if _midnight(point.at) <= firm[-1][0].at}
    if not points:
        return tuple(row for _, row in firm)
    positions = {item.position_id: item for item in store.positions.all()}
    edges = inner(
        store,
        Edge(point=firm[0][0]),
        points=points,
        closings=Closings(store, positions),
        owners=positions,
        seen=lambda _: True,
    )
    books = _Books(store, first=found[0])
    made = [row for cut, edge in zip(points, edges, strict=True) for row in [books.row(cut, edge.unrealised)]]
    return tuple(sorted((*(row for _, row in firm if row.time not in points), *made), key=_time))


class _Books:
    """What the books were worth at each midnight, by the time of the facts: all that was booked of the days
    before it, whenever it became known.
    """

    def __init__(self, store: Store, *, first: EquityPoint) -> None:
        """``first`` is the point from which on deposits are no result."""
        read = store.ledger.read
        booked = [item for item in read.by_day() if item.account is not Account.LOAN]
        self._days = [item.day for item in booked]
        self._worth = list(accumulate((-item.value for item in booked), initial=ZERO))
        carried = (-item.value if item.account is Account.EXTERNAL else ZERO for item in booked)
        self._carried = list(accumulate(carried, initial=ZERO))
        later = sum((value for _, value in read.external_after(first.booked_until)), ZERO)
        self._before = self._carried[-1] - later

    def row(self, cut: datetime, unrealised: Decimal) -> EquityRow:
        """The curve at a midnight."""
        number = bisect_left(self._days, cut)
        equity = self._worth[number] + unrealised
        return EquityRow(
            time=cut,
            equity=equity,
            result=equity - (self._carried[number] - self._before),
            provisional=False,
            pending=ZERO,
        )


def daily_returns(rows: Sequence[EquityRow], guessed: Sequence[Unvalued] = ()) -> tuple[DailyReturn, ...]:
    """The time-weighted return of each full day (UTC), oldest first: from one day's last point to the next
    one's, the points in between chained. A point at midnight is the last of the day that it ends. The first
    day and the one in progress are left out. ``guessed`` is what came or went at an unknown worth.
    """
    last = {_day_of(row.time): number for number, row in enumerate(rows)}
    if not last:
        return ()
    first, end = min(last), max(last)
    if rows[-1].time < datetime.combine(end + _DAY, time(), UTC):
        end -= _DAY
    days = (first + _DAY * number for number in range(1, (end - first).days + 1))
    return tuple(
        _daily(day, rows, begin=last.get(day - _DAY), end=last.get(day), guessed=guessed) for day in days
    )


def _time(row: EquityRow) -> datetime:
    return row.time


def _midnight(at: datetime) -> datetime:
    """The end of the day (UTC) that a point measures."""
    return datetime.combine(_day_of(at) + _DAY, time(), UTC)


def _day_of(at: datetime) -> date:
    """The day (UTC) that a point measures: at midnight the one before."""
    return (at.astimezone(UTC) - timedelta.resolution).date()


def _daily(
    day: date,
    rows: Sequence[EquityRow],
    *,
    begin: int | None,
    end: int | None,
    guessed: Sequence[Unvalued],
) -> DailyReturn:
    """One day from the numbers of its points; None where there is none."""
    if begin is None or end is None:
        return DailyReturn(day=day.isoformat(), result=None, rate=None)
    points = rows[begin : end + 1]
    rate: Decimal | None = ONE
    for one, two in pairwise(points):
        factor = grown(one, two, guessed=guessed)
        rate = None if rate is None or factor is None else rate * factor
    idle = not any(point.equity for point in points)
    known = not _crosses(points[0], points[-1], guessed=guessed)
    return DailyReturn(
        day=day.isoformat(),
        result=points[-1].result - points[0].result if known else None,
        rate=None if rate is None or idle else rate - ONE,
    )
