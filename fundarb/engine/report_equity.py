"""``report equity``: the curve, and what it says: time-weighted return and drawdown, Sharpe ratio, exposure,
time in the market.

Provisional points are shown and marked, and no figure is reckoned from them. Field names are the JSON keys of
the command line.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final

from fundarb.core import returns
from fundarb.core.money import ONE, ZERO, years
from fundarb.core.pnl import max_drawdown
from fundarb.core.records import PositionRecord
from fundarb.engine import equity_points as curve
from fundarb.engine.equity import EquityPoint
from fundarb.engine.report_rows import ReportQuery
from fundarb.engine.report_time import SHORTEST, Capitals, Stretch
from fundarb.store.database import Store

_RATIO: Final = Decimal("1e-12")
_DAYS: Final = Decimal("1e-6")
_FIGURE: Final = Decimal("1e-6")
_DAY: Final = timedelta(days=1)


METHOD: Final = (
    "time-weighted: gain ÷ (equity before + deposits − withdrawals) between points, chained; yearly is simple"
)


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
    None where the day was not measured: no point at its end or at that of the day before; ``rate`` also where
    there was nothing to gain it with.
    """

    day: str
    result: Decimal | None
    rate: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityReport:
    """``report equity``. Ratios are fractions; None where they cannot be known (``notes`` says why).

    ``total_return``, ``annual_return`` (simple: the total over the years) and ``max_drawdown`` (the largest
    fall of the index from a peak) are time-weighted, so that a deposit or withdrawal is no gain or loss, and
    makes none larger or smaller. ``sharpe`` is √365 · mean ÷ deviation of the returns of full days
    (UTC), ``sharpe_error`` its standard error, robust against autocorrelation, ``sharpe_long_run`` the ratio
    with the long-run deviation: see ``core.returns``. ``full_days`` counts those that were measured.
    ``exposure`` is the mean notional of one leg over the mean equity, ``time_in_market`` the part of the time
    in which anything was held.
    """

    rows: tuple[EquityRow, ...]
    daily: tuple[DailyReturn, ...]
    total_return: Decimal | None
    max_drawdown: Decimal | None
    sharpe: Decimal | None
    sharpe_error: Decimal | None
    sharpe_long_run: Decimal | None
    annual_return: Decimal | None
    exposure: Decimal | None
    time_in_market: Decimal | None
    days: Decimal
    full_days: int
    provisional: int
    notes: tuple[str, ...]
    method: str = METHOD
    warnings: tuple[str, ...] = ()


def equity(
    store: Store,
    query: ReportQuery,
    *,
    live: EquityPoint | None,
    buffer: Decimal,
    warnings: tuple[str, ...] = (),
) -> EquityReport:
    """The curve over the stored points of the span, from the opening on, and the live point where there is
    one; ``warnings`` say why there is none.
    """
    begun = curve.opening(store)
    found = list(curve.points(store, since=query.since, until=query.until))
    if begun is not None and (query.since is None or begun.at >= query.since):
        found.insert(0, begun)
    if live is not None and (query.until is None or live.at < query.until):
        found.append(live)
    rows = _indexed(_rows(store, found))
    firm = [row for row in rows if not row.provisional]
    daily = daily_returns(firm)
    rates = [day.rate for day in daily if day.rate is not None]
    ratio = returns.sharpe(rates)
    notes = [_of_sharpe(ratio, len(rates))]
    span = firm[-1].time - firm[0].time if firm else timedelta()
    whole, annual = _returned(firm), None
    if firm and whole is None:
        notes.append("returns: the equity was not above zero all the time, there is no return on nothing")
    elif span < SHORTEST:
        notes.append("annual_return: less than a day, not annualised")
    elif whole is not None:
        annual = whole / years(span)
    exposed, busy = _exposure(store, firm, buffer=buffer)
    return EquityReport(
        rows=tuple(replace(row, index=_cut(row.index)) for row in rows),
        daily=tuple(replace(day, rate=_cut(day.rate)) for day in daily),
        total_return=_cut(whole),
        max_drawdown=_cut(_fall(firm)),
        sharpe=_cut(ratio.ratio, _FIGURE) if ratio else None,
        sharpe_error=_cut(ratio.error, _FIGURE) if ratio else None,
        sharpe_long_run=_cut(ratio.long_run, _FIGURE) if ratio else None,
        annual_return=_cut(annual),
        exposure=_cut(exposed),
        time_in_market=_cut(busy),
        days=(years(span) * 365).quantize(_DAYS),
        full_days=len(rates),
        provisional=len(rows) - len(firm),
        notes=tuple(notes),
        warnings=warnings,
    )


def _of_sharpe(ratio: returns.Sharpe | None, days: int) -> str:
    """What the Sharpe ratio was made of, or why there is none."""
    if ratio is None:
        return f"sharpe: needs {returns.FEWEST} full days that differ, there are {days}"
    return (
        f"sharpe: returns of {ratio.days} full days, error after Lo (2002) with {ratio.lags} lags "
        "(Newey and West)"
    )


def _returned(firm: Sequence[EquityRow]) -> Decimal | None:
    """The time-weighted return over all points; None without a point or where it cannot be measured."""
    index = firm[-1].index if firm else None
    return None if index is None else index - ONE


def _fall(firm: Sequence[EquityRow]) -> Decimal | None:
    """The largest fall of the index; None where part of it cannot be measured: that may hold the largest."""
    known = [row.index for row in firm if row.index is not None]
    return max_drawdown(known) if len(known) == len(firm) else None


def _cut(value: Decimal | None, step: Decimal = _RATIO) -> Decimal | None:
    return None if value is None else value.quantize(step)


def _rows(store: Store, found: Sequence[EquityPoint]) -> tuple[EquityRow, ...]:
    """The curve with deposits and withdrawals taken out, those after the first point."""
    moves = store.ledger.read.external_after(found[0].booked_until) if found else ()
    numbers, sums, total = [], [ZERO], ZERO
    for number, value in moves:
        total += value
        numbers.append(number)
        sums.append(total)
    return tuple(
        EquityRow(
            time=point.at,
            equity=point.equity,
            result=point.equity - sums[bisect_right(numbers, point.booked_until)],
            provisional=not point.tied,
            pending=point.pending,
        )
        for point in found
    )


def _indexed(rows: Sequence[EquityRow]) -> tuple[EquityRow, ...]:
    """The rows with what one unit of money became: one at the first firm point, chained from there on."""
    found, before, index = [], None, None
    for row in rows:
        if row.provisional:
            found.append(row)
            continue
        if before is None:
            index = ONE
        elif index is not None:
            factor = _grown(before, row)
            index = None if factor is None else index * factor
        before = row
        found.append(replace(row, index=index))
    return tuple(found)


def _grown(before: EquityRow, after: EquityRow) -> Decimal | None:
    """By which factor money grew between two points that follow one another."""
    gain = after.result - before.result
    flow = after.equity - before.equity - gain
    return returns.growth(before.equity, flow=flow, gain=gain)


def daily_returns(rows: Sequence[EquityRow]) -> tuple[DailyReturn, ...]:
    """The time-weighted return of each full day (UTC), oldest first: from one day's last point to the next
    one's, the points in between chained. A point at midnight is the last of the day that it ends. The first
    day and the one in progress are left out.
    """
    last = {_day_of(row.time): number for number, row in enumerate(rows)}
    if not last:
        return ()
    first, end = min(last), max(last)
    if rows[-1].time < datetime.combine(end + _DAY, time(), UTC):
        end -= _DAY
    days = (first + _DAY * number for number in range(1, (end - first).days + 1))
    return tuple(_daily(day, rows, begin=last.get(day - _DAY), end=last.get(day)) for day in days)


def _day_of(at: datetime) -> date:
    """The day (UTC) that a point measures: at midnight the one before."""
    return (at.astimezone(UTC) - timedelta.resolution).date()


def _daily(day: date, rows: Sequence[EquityRow], *, begin: int | None, end: int | None) -> DailyReturn:
    """One day from the numbers of its points; None where there is none."""
    if begin is None or end is None:
        return DailyReturn(day=day.isoformat(), result=None, rate=None)
    points = rows[begin : end + 1]
    grown: Decimal | None = ONE
    for one, two in pairwise(points):
        factor = _grown(one, two)
        grown = None if grown is None or factor is None else grown * factor
    idle = not any(point.equity for point in points)
    return DailyReturn(
        day=day.isoformat(),
        result=points[-1].result - points[0].result,
        rate=None if grown is None or idle else grown - ONE,
    )


def _exposure(
    store: Store, firm: Sequence[EquityRow], *, buffer: Decimal
) -> tuple[Decimal | None, Decimal | None]:
    """The mean notional over the mean equity, and the part of the time in which anything was held."""
    if len(firm) < 2 or firm[-1].time <= firm[0].time:
        return None, None
    since, until = firm[0].time, firm[-1].time
    positions = {item.position_id: item for item in store.positions.all(since=since, until=until)}
    capitals = Capitals(store, positions, buffer=buffer)
    whole = Stretch()
    for position in positions.values():
        whole.absorb(capitals.over(position, since=since, until=until) or Stretch())
    length = years(until - since)
    area = sum((one.equity * years(two.time - one.time) for one, two in pairwise(firm)), ZERO)
    exposed = whole.notional_years / area if area > ZERO else None
    return exposed, years(_held(positions, since, until=until)) / length


def _held(positions: Mapping[str, PositionRecord], since: datetime, *, until: datetime) -> timedelta:
    """How long anything was held between two instants; overlaps count once."""
    spans = sorted(
        (max(item.opened_at, since), min(item.closed_at or until, until))
        for item in positions.values()
        if item.opened_at is not None
    )
    total, covered = timedelta(), since
    for begin, end in spans:
        if end > covered:
            total += end - max(begin, covered)
            covered = end
    return total
