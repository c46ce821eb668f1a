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
from fundarb.core.ledger import Account
from fundarb.core.money import ONE, ZERO, years
from fundarb.core.pnl import max_drawdown
from fundarb.core.records import PositionRecord
from fundarb.engine import equity_points as curve
from fundarb.engine.equity import EquityPoint
from fundarb.engine.report_rows import ReportQuery
from fundarb.engine.report_time import SHORTEST, Capitals, Stretch
from fundarb.store.database import Store
from fundarb.store.unvalued import Unvalued

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
    in which anything was held. ``days`` is the span of ``rows``, all these figures are between firm points.
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
    found = _found(store, query, live=live)
    guessed = _guessed(store, found)
    rows = _indexed(_rows(store, found), guessed)
    firm = [row for row in rows if not row.provisional]
    daily = daily_returns(firm, guessed)
    rates = [day.rate for day in daily if day.rate is not None]
    ratio = returns.sharpe(rates)
    measured = _measured(rows, firm, guessed=guessed)
    exposed, busy = _exposure(store, firm, buffer=buffer)
    return EquityReport(
        rows=tuple(replace(row, index=_cut(row.index)) for row in rows),
        daily=tuple(replace(day, rate=_cut(day.rate)) for day in daily),
        total_return=_cut(measured.total),
        max_drawdown=_cut(measured.fall),
        sharpe=_cut(ratio.ratio, _FIGURE) if ratio else None,
        sharpe_error=_cut(ratio.error, _FIGURE) if ratio else None,
        sharpe_long_run=_cut(ratio.long_run, _FIGURE) if ratio else None,
        annual_return=_cut(measured.annual),
        exposure=_cut(exposed),
        time_in_market=_cut(busy),
        days=(years(rows[-1].time - rows[0].time if rows else timedelta()) * 365).quantize(_DAYS),
        full_days=len(rates),
        provisional=len(rows) - len(firm),
        notes=(_of_sharpe(ratio, len(rates)), *measured.notes),
        warnings=warnings,
    )


def _found(store: Store, query: ReportQuery, *, live: EquityPoint | None) -> list[EquityPoint]:
    """The points of the span, oldest first."""
    begun = curve.opening(store)
    found = list(curve.points(store, since=query.since, until=query.until))
    if begun is not None and (query.since is None or begun.at >= query.since):
        found.insert(0, begun)
    if live is not None and (query.until is None or live.at < query.until):
        found.append(live)
    return found


def _of_sharpe(ratio: returns.Sharpe | None, days: int) -> str:
    """What the Sharpe ratio was made of, or why there is none."""
    if ratio is None:
        return f"sharpe: needs {returns.FEWEST} full days that differ, there are {days}"
    return (
        f"sharpe: returns of {ratio.days} full days, error after Lo (2002) with {ratio.lags} lags "
        "(Newey and West)"
    )


def _guessed(store: Store, found: Sequence[EquityPoint]) -> tuple[Unvalued, ...]:
    """What was carried in or out between the points and nobody knows the worth of."""
    if not found:
        return ()
    first, last = found[0].at, found[-1].at
    carried = (item for item in store.ledger.unvalued.all() if item.account is Account.EXTERNAL)
    return tuple(item for item in carried if first < item.until and item.since <= last)


def _of_worth(item: Unvalued) -> str:
    """Why no return is known."""
    when = f"{item.since:%Y-%m-%d %H:%M} UTC"
    return f"returns: {item.coin} was carried in or out at {when}, and what it was worth is not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """The time-weighted figures; what cannot be known is None, and ``notes`` say why."""

    total: Decimal | None = None
    annual: Decimal | None = None
    fall: Decimal | None = None
    notes: tuple[str, ...] = ()


def _measured(
    rows: Sequence[EquityRow], firm: Sequence[EquityRow], *, guessed: Sequence[Unvalued]
) -> _Measured:
    """From the first firm point to the last one, and what of the shown span that leaves out."""
    notes = []
    if rows and rows[-1].provisional:
        notes.append("the last point is provisional: run `fundarb reconcile`")
    if len({row.time for row in firm}) < 2:
        return _Measured(notes=("returns: none without firm points of two moments", *notes))
    first, last = firm[0], firm[-1]
    if (first.time, last.time) != (rows[0].time, rows[-1].time):
        notes.append(f"returns: measured {first.time:%Y-%m-%d %H:%M} → {last.time:%Y-%m-%d %H:%M} UTC")
    total, annual = None if last.index is None else last.index - ONE, None
    if total is None:
        notes += [_of_worth(item) for item in guessed] or [
            "returns: the equity was not above zero all the time, there is no return on nothing"
        ]
    elif last.time - first.time < SHORTEST:
        notes.append("annual_return: less than a day, not annualised")
    else:
        annual = total / years(last.time - first.time)
    return _Measured(total=total, annual=annual, fall=_fall(firm), notes=tuple(notes))


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


def _indexed(rows: Sequence[EquityRow], guessed: Sequence[Unvalued]) -> tuple[EquityRow, ...]:
    """The rows with what one unit of money became: one at the first firm point, chained from there on."""
    found, before, index = [], None, None
    for row in rows:
        if row.provisional:
            found.append(row)
            continue
        if before is None:
            index = ONE
        elif index is not None:
            factor = _grown(before, row, guessed=guessed)
            index = None if factor is None else index * factor
        before = row
        found.append(replace(row, index=index))
    return tuple(found)


def _grown(before: EquityRow, after: EquityRow, *, guessed: Sequence[Unvalued]) -> Decimal | None:
    """By which factor money grew between two points that follow one another; None where it is not known what
    came or went in between.
    """
    if any(before.time < item.until and item.since <= after.time for item in guessed):
        return None
    gain = after.result - before.result
    flow = after.equity - before.equity - gain
    return returns.growth(before.equity, flow=flow, gain=gain)


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
    grown: Decimal | None = ONE
    for one, two in pairwise(points):
        factor = _grown(one, two, guessed=guessed)
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
