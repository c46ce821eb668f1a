"""``report equity``: the curve, and what it says: time-weighted return and drawdown, Sharpe ratio, exposure,
time in the market.

Provisional points are shown and marked, and no figure is reckoned from them. Field names are the JSON keys of
the command line.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final

from fundarb.core import returns
from fundarb.core.ledger import MOVED, Account
from fundarb.core.money import ONE, ZERO, years
from fundarb.core.pnl import max_drawdown
from fundarb.engine import equity_points as curve
from fundarb.engine.equity import EquityPoint
from fundarb.engine.report_days import DailyReturn, EquityRow, daily_returns, grown, with_midnights
from fundarb.engine.report_rows import ReportQuery
from fundarb.engine.report_span import said_at_cost
from fundarb.engine.report_time import SHORTEST, Capitals, Stretch
from fundarb.store.database import Store
from fundarb.store.unvalued import Unvalued

_RATIO: Final = Decimal("1e-12")
_DAYS: Final = Decimal("1e-6")
_FIGURE: Final = Decimal("1e-6")


METHOD: Final = (
    "time-weighted: gain ÷ (equity before + deposits − withdrawals) between points, chained; yearly is simple"
)


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
    guessed = (*_guessed(store, found), *_lost(store, found))
    rows = _indexed(_rows(store, found), guessed)
    firm = [row for row in rows if not row.provisional]
    daily = daily_returns(with_midnights(store, found, rows=rows), guessed)
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
        notes=(_of_sharpe(ratio, len(rates)), *measured.notes, *_at_cost(store, found)),
        warnings=warnings,
    )


def _at_cost(store: Store, found: Sequence[EquityPoint]) -> tuple[str, ...]:
    """Which coins of the account never had a price, in words."""
    coins = {coin for point in found if not point.unknown for coin in point.unpriced}
    named = [coin for coin in coins if store.ledger.price(coin) is None]
    return (said_at_cost(named),) if named else ()


def _found(store: Store, query: ReportQuery, *, live: EquityPoint | None) -> list[EquityPoint]:
    """The points of the span, oldest first."""
    begun = curve.opening(store)
    kept = curve.points(store, since=query.since, until=query.until)
    return [
        *(point for point in (begun,) if point is not None and _inside(point, query)),
        *kept,
        *(point for point in (live,) if point is not None and _inside(point, query)),
    ]


def _inside(point: EquityPoint, query: ReportQuery) -> bool:
    """Whether a point is of the span."""
    return (query.since is None or point.at >= query.since) and (
        query.until is None or point.at < query.until
    )


def _of_sharpe(ratio: returns.Sharpe | None, days: int) -> str:
    """What the Sharpe ratio was made of, or why there is none."""
    if ratio is None:
        return f"sharpe: needs {returns.FEWEST} full days that differ, there are {days}"
    return (
        f"sharpe: returns of {ratio.days} full days, error after Lo (2002) with {ratio.lags} lags "
        "(Newey and West)"
    )


def _guessed(store: Store, found: Sequence[EquityPoint]) -> tuple[Unvalued, ...]:
    """What came or went between the points, from outside or nobody knows why, at an unknown worth."""
    if not found:
        return ()
    first, last = found[0].at, found[-1].at
    moved = (item for item in store.ledger.unvalued.all() if item.account in MOVED)
    return tuple(item for item in moved if first < item.until and item.since <= last)


def _lost(store: Store, found: Sequence[EquityPoint]) -> Iterator[Unvalued]:
    """The times between firm points of which one has no price of a coin that has one at other times."""
    firm = [point for point in found if point.tied]
    for number, point in enumerate(firm):
        end = firm[min(number + 1, len(firm) - 1)].at
        for coin in point.unpriced:
            if store.ledger.price(coin) is not None:
                yield Unvalued(Account.EXTERNAL, coin, None, point.at, end)


def _of_worth(item: Unvalued) -> str:
    """Why no return is known."""
    return f"returns: what {item.coin} was worth at {item.since:%Y-%m-%d %H:%M} UTC is not known"


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
        first_of = {item.coin: item for item in reversed(guessed)}
        notes += [_of_worth(first_of[coin]) for coin in sorted(first_of)] or [
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
            factor = grown(before, row, guessed=guessed)
            index = None if factor is None else index * factor
        before = row
        found.append(replace(row, index=index))
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
    return exposed, years(whole.length) / length
