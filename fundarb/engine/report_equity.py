"""``report equity``: the curve, and what it says: drawdown, yearly return, Sharpe ratio, exposure, time in
the market.

Provisional points are shown and marked, and no figure is reckoned from them. Field names are the JSON keys of
the command line.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final

from fundarb.core import returns
from fundarb.core.money import ZERO, years
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


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityRow:
    """One point of the curve, in quote. ``result`` is the equity less all deposits and withdrawals since the
    first one. ``provisional``: ledger and wallet did not agree at that moment; ``pending`` is what was known
    to be on its way.
    """

    time: datetime
    equity: Decimal
    result: Decimal
    provisional: bool
    pending: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyReturn:
    """What one full day (UTC) brought: ``result`` in quote, ``rate`` as a fraction of the equity at its
    beginning.
    """

    day: str
    result: Decimal
    rate: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityReport:
    """``report equity``. Ratios are fractions; None where they cannot be known (``notes`` says why).

    ``max_drawdown`` and ``annual_return`` (simple, of the first equity) are of ``result``, so that a deposit
    is no gain and a withdrawal no loss. ``sharpe`` is √365 · mean ÷ deviation of the returns of full days
    (UTC), ``sharpe_error`` its standard error, robust against autocorrelation, ``sharpe_long_run`` the ratio
    with the long-run deviation: see ``core.returns``. ``exposure`` is the mean notional of one leg over the
    mean equity, ``time_in_market`` the part of the time in which anything was held.
    """

    rows: tuple[EquityRow, ...]
    daily: tuple[DailyReturn, ...]
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


def equity(store: Store, query: ReportQuery, *, live: EquityPoint | None, buffer: Decimal) -> EquityReport:
    """The curve over the stored points of the span, from the opening on, and the live point where there is
    one.
    """
    begun = curve.opening(store)
    found = list(curve.points(store, since=query.since, until=query.until))
    if begun is not None and (query.since is None or begun.at >= query.since):
        found.insert(0, begun)
    if live is not None and (query.until is None or live.at < query.until):
        found.append(live)
    rows = _rows(store, found)
    firm = [row for row in rows if not row.provisional]
    notes: list[str] = []
    daily = daily_returns(firm)
    ratio = returns.sharpe([day.rate for day in daily])
    if ratio is None:
        notes.append(f"sharpe: needs {returns.FEWEST} full days that differ, there are {len(daily)}")
    else:
        notes.append(
            f"sharpe: returns of {ratio.days} full days, error after Lo (2002) with {ratio.lags} lags "
            "(Newey and West)"
        )
    span = firm[-1].time - firm[0].time if firm else timedelta()
    annual = None
    if span < SHORTEST:
        notes.append("annual_return: less than a day, not annualised")
    elif firm[0].equity > ZERO:
        annual = (firm[-1].result - firm[0].result) / firm[0].equity / years(span)
    fall = max_drawdown(row.result - firm[0].result + firm[0].equity for row in firm)
    exposed, busy = _exposure(store, firm, buffer=buffer)
    return EquityReport(
        rows=rows,
        daily=tuple(replace(day, rate=day.rate.quantize(_RATIO)) for day in daily),
        max_drawdown=_cut(fall),
        sharpe=_cut(ratio.ratio, _FIGURE) if ratio else None,
        sharpe_error=_cut(ratio.error, _FIGURE) if ratio else None,
        sharpe_long_run=_cut(ratio.long_run, _FIGURE) if ratio else None,
        annual_return=_cut(annual),
        exposure=_cut(exposed),
        time_in_market=_cut(busy),
        days=(years(span) * 365).quantize(_DAYS),
        full_days=len(daily),
        provisional=len(rows) - len(firm),
        notes=tuple(notes),
    )


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


def daily_returns(rows: Iterable[EquityRow]) -> tuple[DailyReturn, ...]:
    """The return of each full day (UTC), oldest first: what the result gained from one day's last point to
    the next one's, over the equity at its beginning. The day in progress, the first one, and days beside one
    without a point are left out.
    """
    last: dict[date, EquityRow] = {}
    for row in rows:
        last[row.time.astimezone(UTC).date()] = row
    days = sorted(last)[:-1]
    found = []
    for before, day in pairwise(days):
        start, end = last[before], last[day]
        if day - before == _DAY and start.equity > ZERO:
            gain = end.result - start.result
            found.append(DailyReturn(day=day.isoformat(), result=gain, rate=gain / start.equity))
    return tuple(found)


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
