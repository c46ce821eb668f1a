"""What a report counts: the facts of ``[since, until)``, valued from one equity point to another, and the
identity over exactly these facts.

Points rarely stand where a span begins or ends. The equity there is that of the last point before, carried
forward by what was booked of the time in between; so rows and identity are made of the same facts, and spans
that adjoin add up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from fundarb.core.ledger import DUST
from fundarb.core.money import ZERO
from fundarb.core.pnl import Pnl, TieOut
from fundarb.engine import equity_points as curve
from fundarb.engine.equity import EquityPoint, book_value
from fundarb.engine.report_rows import ReportQuery, TieOutRow
from fundarb.store.database import Store
from fundarb.store.ledger_sums import Sum


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The two points between which unrealised results count; ``stop`` is when the span ends at the latest."""

    query: ReportQuery
    start: EquityPoint | None
    end: EquityPoint | None
    stop: datetime
    live: bool = False
    warnings: tuple[str, ...] = ()

    def unrealised_of(self, position_id: str) -> Decimal:
        """The change of a position's unrealised result."""
        before = self.start.by_position.get(position_id, ZERO) if self.start is not None else ZERO
        after = self.end.by_position.get(position_id, ZERO) if self.end is not None else ZERO
        return after - before

    @property
    def unknown(self) -> frozenset[str]:
        """The positions whose unrealised result cannot be told at one end, for want of a price."""
        if self.start is None or self.end is None or self.start == self.end:
            return frozenset()
        return self.start.unknown | self.end.unknown

    @property
    def said(self) -> tuple[str, ...]:
        """What has no price, in words."""
        if not self.unknown:
            return ()
        points = [point for point in (self.start, self.end) if point is not None and point.unknown]
        return tuple(
            f"no price of {', '.join(point.unpriced)} at {point.at:%Y-%m-%d %H:%M}: what is unrealised of it "
            "is not known, nor the equity"
            for point in points
        )

    @property
    def changed(self) -> frozenset[str]:
        """The positions that are valued at either end."""
        ends = (self.start, self.end)
        named = (name for point in ends if point is not None for name in point.by_position)
        return frozenset(named) - {DUST}

    @property
    def account_unrealised(self) -> Decimal:
        """The change of what belongs to no position: dust, and the pool's coins and contracts."""
        return self.unrealised_of(DUST) + self.revaluation

    @property
    def revaluation(self) -> Decimal:
        """How much coins and contracts of nobody's position gained by their prices."""
        before = self.start.others_unrealised if self.start is not None else ZERO
        return (self.end.others_unrealised if self.end is not None else ZERO) - before


def find_span(
    store: Store,
    query: ReportQuery,
    *,
    now: datetime,
    measured: EquityPoint | None,
    warnings: tuple[str, ...] = (),
) -> Span:
    """The span of a query; ``measured`` is the account of this moment, None where it cannot be read or the
    span ends before it.
    """
    end = measured or curve.anchor(store, query.until)
    start = curve.opening(store)
    if query.since is not None and start is not None and query.since > start.at:
        begun = measured is not None and measured.at <= query.since
        start = measured if begun else curve.anchor(store, query.since, now=measured)
    return Span(
        query=query,
        start=start,
        end=end,
        stop=min(query.until, now) if query.until is not None else now,
        live=measured is not None,
        warnings=warnings,
    )


def tie_out(store: Store, span: Span, *, total: Pnl, sums: Iterable[Sum]) -> TieOutRow:
    """The identity over the span; ``total`` is the result of all rows, ``sums`` what they were made of."""
    if span.start is None or span.end is None or span.unknown:
        return TieOutRow(equity_start=None, equity_end=None, explained=None, unexplained=None)
    since, until = span.query.since, span.query.until
    found = TieOut(
        equity_start=span.start.equity + (_carried(store, span.start, until=since) if since else ZERO),
        equity_end=span.end.equity + _carried(store, span.end, until=until),
        realised=total.realised,
        funding=total.funding,
        fees=total.fees,
        interest=total.interest,
        external=curve.external(sums),
        unrealised_change=total.unrealised,
        suspense=total.suspense,
        pending=span.end.pending - span.start.pending,
    )
    return TieOutRow(
        equity_start=found.equity_start,
        equity_end=found.equity_end,
        explained=found.explained,
        unexplained=found.unexplained,
        pending=found.pending,
        since=span.start.at,
        until=span.end.at,
        parts=found,
        revaluation=span.revaluation,
        venue_equity=span.end.venue_equity,
    )


def _carried(store: Store, point: EquityPoint, *, until: datetime | None) -> Decimal:
    """What facts before ``until`` did that were booked after a point, less what later facts did that were
    booked before it.
    """
    read = store.ledger.read
    more = book_value(read.sums(booked_after=point.booked_until, until=until))
    if until is None:
        return more
    opening = store.ledger.opening_id
    return more - book_value(
        read.sums(since=until, booked_after=opening, booked_until=max(point.booked_until, opening))
    )
