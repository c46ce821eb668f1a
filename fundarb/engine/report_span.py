"""What a report counts: the facts of ``[since, until)``, valued from one equity point to another, and the
identity over exactly these facts.

Points rarely stand where a span begins or ends. The equity there is that of the last point before, carried
forward by what was booked of the time in between; so rows and identity are made of the same facts, and spans
that adjoin add up. A trade in between is no gain by itself: what it realised was unrealised at the point.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from fundarb.core.ledger import DUST, POOL, QUOTE_COINS
from fundarb.core.money import ZERO
from fundarb.core.pnl import Pnl, TieOut
from fundarb.core.records import PositionRecord
from fundarb.engine import equity_points as curve
from fundarb.engine.equity import EquityPoint
from fundarb.engine.report_edges import Closings, Edge, inner, outer
from fundarb.engine.report_rows import ReportQuery, TieOutRow, bounds, period
from fundarb.store.database import Store
from fundarb.store.ledger_sums import Sum


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The two edges between which unrealised results count; ``stop`` is when the span ends at the latest.

    ``held`` are the positions open at ``stop``; ``pool``: whether the account has coins or contracts of its
    own that prices move. Of both nothing can be told where one point stands for both ends (``still``).
    """

    query: ReportQuery
    begin: Edge | None
    finish: Edge | None
    stop: datetime
    live: bool = False
    held: frozenset[str] = frozenset()
    pool: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def start(self) -> EquityPoint | None:
        """The point from which on prices count."""
        return self.begin.point if self.begin is not None else None

    @property
    def end(self) -> EquityPoint | None:
        """The point up to which prices count."""
        return self.finish.point if self.finish is not None else None

    @property
    def since(self) -> datetime | None:
        """When the span begins, None without a point to begin at."""
        if self.start is None:
            return None
        return max(self.query.since or self.start.at, self.start.at)

    @property
    def still(self) -> bool:
        """Whether time passed and no second point says what prices did in it."""
        return self.since is not None and self.start == self.end and self.stop > self.since

    def unrealised_of(self, position_id: str) -> Decimal:
        """The change of a position's unrealised result."""
        before = self.begin.unrealised_of(position_id) if self.begin is not None else ZERO
        after = self.finish.unrealised_of(position_id) if self.finish is not None else ZERO
        return after - before

    @property
    def unpriced(self) -> frozenset[str]:
        """The positions whose unrealised result cannot be told at one end, for want of a price."""
        if self.start is None or self.end is None or self.start == self.end:
            return frozenset()
        return self.start.unknown | self.end.unknown

    @property
    def unknown(self) -> frozenset[str]:
        """The positions whose unrealised result cannot be told at one end."""
        traded = frozenset(self.finish.traded if self.finish is not None else ())
        return self.unpriced | traded | (self.held if self.still else frozenset())

    @property
    def account_unknown(self) -> bool:
        """Whether what the account's own coins and contracts gained cannot be told."""
        return bool(self.unpriced) or (self.still and self.pool)

    @property
    def complete(self) -> bool:
        """Whether all that is unrealised can be told."""
        return not (self.unknown or self.account_unknown)

    @property
    def unknown_since(self) -> datetime | None:
        """From when on what is unrealised is not known; None: it is."""
        if self.finish is None or self.complete:
            return None
        if self.still:
            return self.since
        return self.finish.point.at if self.unpriced else min(self.finish.traded.values())

    @property
    def said(self) -> tuple[str, ...]:
        """What has no price, or was traded since the last point, in words."""
        points = [point for point in (self.start, self.end) if point is not None and point.unknown]
        said = tuple(
            f"no price of {', '.join(point.unpriced)} at {point.at:%Y-%m-%d %H:%M}: what is unrealised of it "
            "is not known, nor the equity"
            for point in (points if self.unpriced else ())
        )
        traded = frozenset(self.finish.traded) if self.finish is not None else frozenset()
        if self.still and (self.account_unknown or self.held - traded) and self.since is not None:
            text = (
                f"no point of the equity curve from {self.since:%Y-%m-%d %H:%M} to "
                f"{self.stop:%Y-%m-%d %H:%M}: what prices did is not known, nor the equity"
            )
            said = (*said, text)
        if self.finish is None or not traded:
            return said
        last, names = self.finish.point.at, ", ".join(sorted(traded))
        text = (
            f"traded after the last point of the equity curve ({last:%Y-%m-%d %H:%M}): {names}; "
            "what is unrealised of it is not known, nor the equity"
        )
        return (*said, text)

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
        before = self.begin.others_unrealised if self.begin is not None else ZERO
        return (self.finish.others_unrealised if self.finish is not None else ZERO) - before


def find_span(
    store: Store,
    query: ReportQuery,
    *,
    now: datetime,
    measured: EquityPoint | None,
    positions: Mapping[str, PositionRecord],
    warnings: tuple[str, ...] = (),
) -> Span:
    """The span of a query; ``measured`` is the account of this moment, None where it cannot be read or the
    span ends before it. ``positions`` are those known already.
    """
    end = measured or curve.anchor(store, query.until)
    start = curve.opening(store)
    if query.since is not None and start is not None and query.since > start.at:
        begun = measured is not None and measured.at <= query.since
        start = measured if begun else curve.anchor(store, query.since, now=measured)
    stop = min(query.until, now) if query.until is not None else now
    closings = Closings(store, positions)
    begin = finish = None
    if start is not None:  # at the point itself where no instant is named
        named = query.since is not None
        begin = outer(store, start, cut=query.since, closings=closings) if named else Edge(point=start)
    if end is not None:
        seen = query.until is not None and _seen(store, measured)(query.until)
        finish = outer(store, end, cut=query.until, closings=closings, seen=seen or measured is not None)
    return Span(
        query=query,
        begin=begin,
        finish=finish,
        stop=stop,
        live=measured is not None,
        held=frozenset(name for name, position in positions.items() if _open(position, stop)),
        pool=_has_coins(store) or _has_others(end),
        warnings=warnings,
    )


def by_period(store: Store, span: Span, *, positions: Mapping[str, PositionRecord]) -> dict[str, Span]:
    """The days or months of a span, as spans of their own that adjoin: each is what a report of it alone
    says. None without a point to begin at.
    """
    if span.begin is None or span.finish is None or span.since is None:
        return {}
    measured = span.end if span.live else None
    names, cuts = _periods(span, span.since)
    inside = inner(
        store,
        span.begin,
        points=dict(zip(cuts, curve.anchors(store, cuts, now=measured), strict=True)),
        closings=Closings(store, positions),
        owners={name for name, one in positions.items() if _over(cuts, one.created_at, until=one.closed_at)},
        seen=_seen(store, measured),
    )
    held: list[set[str]] = [set() for _ in cuts]
    for name, one in positions.items():
        for number in _over(cuts, one.opened_at, until=one.closed_at):
            held[number].add(name)
    found, begin, since, coins = {}, span.begin, span.query.since, _has_coins(store)
    edges = (*zip(inside, cuts, held, strict=True), (span.finish, span.stop, span.held))
    for name, (edge, cut, there) in zip(names, edges, strict=True):
        found[name] = Span(
            query=ReportQuery(by=span.query.by, since=since, until=cut),
            begin=begin,
            finish=edge,
            stop=cut,
            held=frozenset(there),
            pool=coins or _has_others(edge.point),
        )
        begin, since = edge, cut
    return found


def _periods(span: Span, since: datetime) -> tuple[list[str], list[datetime]]:
    """The days or months of a span, and where they adjoin, oldest first."""
    names, cuts, until = [period(since, span.query.by)], [], span.query.until
    while (at := bounds(names[-1])[1]) <= span.stop and (until is None or at < until):
        cuts.append(at)
        names.append(period(at, span.query.by))
    return names, cuts


def _over(cuts: Sequence[datetime], since: datetime | None, *, until: datetime | None) -> range:
    """Which of the cuts lie after one instant and not after another (None: the end)."""
    if since is None:
        return range(0)
    return range(bisect_right(cuts, since), len(cuts) if until is None else bisect_right(cuts, until))


def _open(position: PositionRecord, at: datetime) -> bool:
    """Whether a position was open at an instant."""
    opened, closed = position.opened_at, position.closed_at
    return opened is not None and opened < at and (closed is None or closed >= at)


def _has_coins(store: Store) -> bool:
    """Whether the account has coins of its own now."""
    return any(
        key.owner == POOL and key.asset not in QUOTE_COINS and holding.quantity
        for key, holding in store.ledger.read.holdings().items()
    )


def _has_others(point: EquityPoint | None) -> bool:
    """Whether the account had contracts or coins of its own at a point that had gained or lost."""
    return point is not None and point.others_unrealised != ZERO


def _seen(store: Store, measured: EquityPoint | None) -> Callable[[datetime], bool]:
    """Tells whether a point after an instant has seen what was traded before it."""
    later = store.snapshots.last(curve.TIED_KIND)
    return lambda cut: measured is not None or (later is not None and later.at > cut)


def tie_out(span: Span, *, total: Pnl, sums: Iterable[Sum]) -> TieOutRow:
    """The identity over the span; ``total`` is the result of all rows, ``sums`` what they were made of. None
    where there are no two points: a point carried forward by the books agrees with them whatever they say.
    """
    if span.begin is None or span.finish is None or span.start == span.end or not span.complete:
        return TieOutRow(equity_start=None, equity_end=None, explained=None, unexplained=None)
    start, end = span.begin.point, span.finish.point
    found = TieOut(
        equity_start=span.begin.equity,
        equity_end=span.finish.equity,
        realised=total.realised,
        funding=total.funding,
        fees=total.fees,
        interest=total.interest,
        external=curve.external(sums),
        unrealised_change=total.unrealised,
        suspense=total.suspense,
        pending=end.pending - start.pending,
    )
    return TieOutRow(
        equity_start=found.equity_start,
        equity_end=found.equity_end,
        explained=found.explained,
        unexplained=found.unexplained,
        pending=found.pending,
        since=start.at,
        until=end.at,
        parts=found,
        revaluation=span.revaluation,
        venue_equity=end.venue_equity,
    )
