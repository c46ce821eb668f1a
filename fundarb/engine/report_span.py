"""What a report counts: the facts of ``[since, until)``, valued from one equity point to another, and the
identity over exactly these facts.

Points rarely stand where a span begins or ends. The equity there is that of the last point before, carried
forward by what was booked of the time in between; so rows and identity are made of the same facts, and spans
that adjoin add up. A trade in between is no gain by itself: what it realised was unrealised at the point.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from fundarb.core.ledger import DUST, POOL, QUOTE_COINS, Account
from fundarb.core.money import ZERO
from fundarb.core.pnl import Pnl, TieOut
from fundarb.core.records import PositionRecord
from fundarb.engine import equity_points as curve
from fundarb.engine.equity import EquityPoint, book_value
from fundarb.engine.report_rows import ReportQuery, TieOutRow
from fundarb.store.database import Store
from fundarb.store.ledger_sums import Sum


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Where a span begins or ends: the point before it, and what the time from there to the edge did.

    ``booked`` is what the facts in between changed the books by. ``shifts`` is by how much the unrealised
    result of a position changed by what was traded in between: to nothing where it was closed; else less by
    what was realised, so that its prices stand where the point saw them until the next one sees more.
    ``account`` is the same of coins and contracts that belong to no position: what was realised of them in
    between is not unrealised as well. ``traded`` are the positions still held that traded in between and that
    no later point has seen, each with when it first did: what is unrealised of them is not known.
    """

    point: EquityPoint
    booked: Decimal = ZERO
    shifts: Mapping[str, Decimal] = field(default_factory=dict)
    account: Decimal = ZERO
    traded: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def equity(self) -> Decimal:
        """The equity at the edge."""
        return self.point.equity + self.booked + self.account + sum(self.shifts.values(), ZERO)

    @property
    def unrealised(self) -> Decimal:
        """All that is unrealised at the edge."""
        return self.point.unrealised + self.account + sum(self.shifts.values(), ZERO)

    @property
    def ours_unrealised(self) -> Decimal:
        """The positions' part of it."""
        return self.point.ours_unrealised + sum(self.shifts.values(), ZERO)

    @property
    def others_unrealised(self) -> Decimal:
        """The part of it that coins and contracts of no position have."""
        return self.point.others_unrealised + self.account

    def unrealised_of(self, owner: str) -> Decimal:
        """What is unrealised of a position, or of the dust, at the edge."""
        return self.point.by_position.get(owner, ZERO) + self.shifts.get(owner, ZERO)


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
    return Span(
        query=query,
        begin=_begin(store, start, since=query.since, positions=positions),
        finish=_edge(
            store,
            end,
            cut=query.until,
            positions=positions,
            seen=_seen(store, query.until, measured=measured),
        ),
        stop=stop,
        live=measured is not None,
        held=frozenset(name for name, position in positions.items() if _open(position, stop)),
        pool=_has_pool(store, end),
        warnings=warnings,
    )


def _open(position: PositionRecord, at: datetime) -> bool:
    """Whether a position was open at an instant."""
    opened, closed = position.opened_at, position.closed_at
    return opened is not None and opened < at and (closed is None or closed >= at)


def _has_pool(store: Store, point: EquityPoint | None) -> bool:
    """Whether the account has anything of its own whose price moves: coins now, or a contract at a point."""
    coins = any(
        key.owner == POOL and key.asset not in QUOTE_COINS and holding.quantity
        for key, holding in store.ledger.read.holdings().items()
    )
    return coins or (point is not None and point.others_unrealised != ZERO)


def _seen(store: Store, until: datetime | None, *, measured: EquityPoint | None) -> bool:
    """Whether a point at the end of a span, or after it, has seen what was traded before it."""
    if measured is not None:
        return True
    later = store.snapshots.last(curve.TIED_KIND) if until is not None else None
    return later is not None and until is not None and later.at >= until


def _begin(
    store: Store,
    point: EquityPoint | None,
    *,
    since: datetime | None,
    positions: Mapping[str, PositionRecord],
) -> Edge | None:
    """The edge where a span begins: at the point itself where no instant is named."""
    if point is None or since is None:
        return None if point is None else Edge(point=point)
    return _edge(store, point, cut=since, positions=positions, seen=True)


def _edge(
    store: Store,
    point: EquityPoint | None,
    *,
    cut: datetime | None,
    positions: Mapping[str, PositionRecord],
    seen: bool,
) -> Edge | None:
    """The edge where facts are cut off (None: not at all); ``seen``: a later point saw what was traded."""
    if point is None:
        return None
    more, less = _between(store, point, cut=cut)
    traded = store.ledger.read.traded_after(point.booked_until, until=cut)
    shifts = dict.fromkeys(traded, ZERO)
    for sums, sign in ((more, 1), (less, -1)):
        for item in sums:
            if item.position_id is not None and item.account is Account.REALISED:  # a gain is −
                shifts[item.position_id] = shifts.get(item.position_id, ZERO) + sign * item.value
    for name in shifts:
        closed = (positions.get(name) or store.positions.get(name)).closed_at
        if closed is not None and (cut is None or closed < cut):
            shifts[name] = -point.by_position.get(name, ZERO)
            traded.pop(name, None)
    return Edge(
        point=point,
        booked=book_value(more) - book_value(less),
        shifts=shifts,
        account=_of_account(less) - _part(_of_account(more), whole=point.others_unrealised),
        traded={} if seen else traded,
    )


def _of_account(sums: Iterable[Sum]) -> Decimal:
    """What was realised of no position."""
    return -sum(
        (item.value for item in sums if item.position_id is None and item.account is Account.REALISED), ZERO
    )


def _part(gain: Decimal, *, whole: Decimal) -> Decimal:
    """How much of a gain (or loss) was unrealised before: no more than there was."""
    return max(min(gain, whole), ZERO) if whole > ZERO else min(max(gain, whole), ZERO)


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


def _between(
    store: Store, point: EquityPoint, *, cut: datetime | None
) -> tuple[tuple[Sum, ...], tuple[Sum, ...]]:
    """What facts before ``cut`` did that were booked after a point, and what later facts did that were booked
    before it.
    """
    read = store.ledger.read
    more = read.sums(booked_after=point.booked_until, until=cut)
    if cut is None:
        return more, ()
    opening = store.ledger.opening_id
    return more, read.sums(since=cut, booked_after=opening, booked_until=max(point.booked_until, opening))
