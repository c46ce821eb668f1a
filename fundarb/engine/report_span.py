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


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The two edges between which unrealised results count; ``stop`` is when the span ends at the latest.

    ``before`` and ``held`` are the positions open where it begins and at ``stop``; ``pool``: whether the
    account has coins or contracts of its own that prices move. Of both nothing can be told where one point
    stands for both ends (``still``), nor at an end that no point is near. ``lost`` are coins of the account
    that had a price once, or got one later, and none at one of the two points.
    """

    query: ReportQuery
    begin: Edge | None
    finish: Edge | None
    stop: datetime
    live: bool = False
    before: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
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
        return self.unpriced | traded | self.unseen | (self.held if self.still else frozenset())

    @property
    def far(self) -> tuple[datetime, ...]:
        """The ends that no point is near."""
        ends = ((self.begin, self.query.since), (self.finish, self.stop))
        return tuple(at for edge, at in ends if edge is not None and at is not None and not edge.near)

    @property
    def aged(self) -> tuple[tuple[Edge, datetime], ...]:
        """The ends at which something is valued by a point of hours before."""
        ends = (
            (self.begin, self.query.since, self.before),
            (self.finish, self.query.until, self.held),
        )
        return tuple(
            (edge, at)
            for edge, at, there in ends
            if edge is not None and at is not None and edge.near and edge.aged and (there or self.pool)
        )

    @property
    def priced_at(self) -> datetime | None:
        """The point of hours before its end by which what is held there is valued, None if one is closer."""
        return next((edge.point.at for edge, _ in self.aged if edge is self.finish), None)

    @property
    def unseen(self) -> frozenset[str]:
        """The positions that were open at such an end."""
        begun = self.before if self.begin is not None and not self.begin.near else frozenset()
        return begun | (self.held if self.finish is not None and not self.finish.near else frozenset())

    @property
    def account_unknown(self) -> bool:
        """Whether what the account's own coins and contracts gained cannot be told."""
        return bool(self.unpriced or self.lost) or (self.pool and (self.still or bool(self.far)))

    @property
    def complete(self) -> bool:
        """Whether all that is unrealised can be told."""
        return not (self.unknown or self.account_unknown)

    @property
    def said(self) -> tuple[str, ...]:
        """What has no price, or was traded since the last point, in words."""
        points = [point for point in (self.start, self.end) if point is not None and point.unknown]
        said = tuple(
            f"no price of {', '.join(point.unpriced)} at {point.at:%Y-%m-%d %H:%M}: what is unrealised of it "
            "is not known, nor the equity"
            for point in (points if self.unpriced else ())
        )
        if self.lost:
            text = f"no price of {', '.join(sorted(self.lost))}: what it gained is not known, nor the equity"
            said = (*said, text)
        traded = frozenset(self.finish.traded) if self.finish is not None else frozenset()
        if self.still and (self.account_unknown or self.held - traded) and self.since is not None:
            text = (
                f"no point of the equity curve from {self.since:%Y-%m-%d %H:%M} to "
                f"{self.stop:%Y-%m-%d %H:%M}: what prices did is not known, nor the equity"
            )
            said = (*said, text)
        elif self.unseen or (self.far and self.pool):
            said = (*said, *(_of_end(at) for at in self.far))
        said = (*said, *(_of_age(edge.point.at, at) for edge, at in self.aged))
        if self.finish is None or not traded:
            return said
        last, names = self.finish.point.at, ", ".join(sorted(traded))
        text = (
            f"traded after the last point of the equity curve ({last:%Y-%m-%d %H:%M}): {names}; "
            "what is unrealised of it is not known, nor the equity"
        )
        return (*said, text)

    @property
    def at_cost(self) -> tuple[str, ...]:
        """Which coins of the account never had a price, in words: what they gained is in no figure."""
        points = (point for point in (self.start, self.end) if point is not None)
        named = {coin for point in points for coin in point.unpriced} - self.lost
        return (said_at_cost(named),) if named and not self.unpriced else ()

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
        before=_held(positions, query.since) if query.since is not None else frozenset(),
        held=_held(positions, stop),
        lost=_lost(store, start, end),
        pool=_has_coins(store) or _has_others(start) or _has_others(end),
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
    found, begin, since, before = {}, span.begin, span.query.since, span.before
    coins = _has_coins(store)
    edges = (*zip(inside, cuts, held, strict=True), (span.finish, span.stop, span.held))
    for name, (edge, cut, there) in zip(names, edges, strict=True):
        found[name] = Span(
            query=ReportQuery(by=span.query.by, since=since, until=cut),
            begin=begin,
            finish=edge,
            stop=cut,
            before=before,
            held=frozenset(there),
            lost=_lost(store, begin.point, edge.point),
            pool=coins or _has_others(begin.point) or _has_others(edge.point),
        )
        begin, since, before = edge, cut, frozenset(there)
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


def said_at_cost(coins: Iterable[str]) -> str:
    """That these coins never had a price, in words."""
    names = ", ".join(sorted(coins))
    return f"nobody ever said what {names} is worth: carried at cost, and what it gained is in no figure"


def _held(positions: Mapping[str, PositionRecord], at: datetime) -> frozenset[str]:
    """The positions that were open at an instant."""
    return frozenset(name for name, position in positions.items() if _open(position, at))


def _of_age(point: datetime, at: datetime) -> str:
    """From when the prices at an end are, in words."""
    return f"prices at {at:%Y-%m-%d %H:%M} are those of {point:%Y-%m-%d %H:%M}, the last point before it"


def _of_end(at: datetime) -> str:
    """That no point is near, in words."""
    return (
        f"no point of the equity curve within a day before {at:%Y-%m-%d %H:%M}: what was unrealised then is "
        "not known, nor the equity"
    )


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


def _lost(store: Store, *points: EquityPoint | None) -> frozenset[str]:
    """The coins without a price at one of these points; those that never had any are carried at cost."""
    named = {coin for point in points if point is not None for coin in point.unpriced}
    return frozenset(coin for coin in named if store.ledger.price(coin) is not None)


def _seen(store: Store, measured: EquityPoint | None) -> Callable[[datetime], bool]:
    """Tells whether a point after an instant has seen what was traded before it."""
    later = store.snapshots.last(curve.TIED_KIND)
    return lambda cut: measured is not None or (later is not None and later.at > cut)


def tie_out(span: Span, *, total: Pnl, external: Decimal) -> TieOutRow:
    """The identity over the span; ``total`` is the result of all rows, ``external`` what was carried in
    meanwhile less what was carried out. None where there are no two points: a point carried forward by the
    books agrees with them whatever they say.
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
        external=external,
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
