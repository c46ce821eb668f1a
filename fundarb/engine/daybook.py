"""Today, as far as our own books know it: equity at its start, profit and fees since, without asking the
venue. It is of the same facts and edges as the reports.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from fundarb.core.pnl import together
from fundarb.engine import equity_points as curve
from fundarb.engine.report_rows import ReportQuery
from fundarb.engine.report_span import find_span
from fundarb.store.database import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Today:
    """Amounts in quote. ``profit`` is the change of equity without deposits and withdrawals, what nobody has
    explained yet included; ``fees`` + = expense, ``funding`` + = received.
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
    return since(store, midnight(store.clock.now()))


def midnight(now: datetime) -> datetime:
    """The beginning of the day (UTC) of an instant."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def since(store: Store, start: datetime) -> Today | None:
    """The time from ``start`` to now in the same terms; None without two points. It begins with the opening
    of the books where these are younger, and where no point stands at ``start`` with the last one before it,
    carried there by what was booked; where that is a day old or more, with the first one since, for what
    prices did in days that nobody saw is neither this day's loss nor its gain.
    """
    with store.reading():
        positions = {one.position_id: one for one in store.positions.all(since=start)}
        query = ReportQuery(since=start)
        span = find_span(store, query, now=store.clock.now(), measured=None, positions=positions)
        if span.begin is None or span.finish is None or span.start == span.end:
            return None
        if not span.begin.near:
            first = next(iter(curve.points(store, since=start, tied_only=True)), None)
            return None if first is None or first.at == start else since(store, first.at)
        sums = store.ledger.read.of_span(since=start, booked_after=store.ledger.opening_id)
    result = together(tuple(curve.sum_pnl(sums).values()))
    return Today(
        since=start,
        equity_start=span.begin.equity,
        equity_now=span.finish.equity,
        profit=span.finish.equity - span.begin.equity - curve.external(sums),
        fees=result.fees,
        funding=result.funding,
    )
