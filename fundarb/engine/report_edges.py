"""Where spans begin and end, and where one ends and the next begins: what is unrealised at an instant at
which no point of the equity curve stands.

It is what the point before saw, less what was closed or realised since; prices stand where the point saw them
until the next one sees more. Changes nothing.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple, TypeAlias

from fundarb.core.ledger import DUST, Account
from fundarb.core.money import ZERO
from fundarb.core.records import PositionRecord
from fundarb.engine.equity import EquityPoint, book_value
from fundarb.store.database import Store
from fundarb.store.ledger_sums import Sum

_NEAR: Final = timedelta(days=1)
"""A point that is older says nothing about the prices at an edge: a day without one has not been measured."""
_HOURS: Final = timedelta(hours=3)
"""A daemon's points are minutes apart, and the last one of each day and hour is kept."""
_Owned: TypeAlias = dict[str | None, Decimal]
"""Amounts in quote by the position that they belong to, None: to none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """The point before an instant, and what the time from there to the instant did.

    ``shifts`` is by how much the unrealised result of a position changed by what was traded in between: to
    nothing where it was closed; else less by what was realised, so that its prices stand where the point saw
    them until the next one sees more. ``account`` is the same of coins and contracts that belong to no
    position: what was realised of them in between is not unrealised as well. ``traded`` are the positions
    still held that traded in between and that no later point has seen, each with when it first did: what is
    unrealised of them is not known. ``booked`` is what the facts in between changed the books by; left out
    between two parts of a span, whose equity nobody asks for. Where the point is not ``near``, a day or more
    before the instant, what prices did until then is not known; where it is ``aged``, hours before it, the
    time up to which they count is told.
    """

    point: EquityPoint
    booked: Decimal = ZERO
    shifts: Mapping[str, Decimal] = field(default_factory=dict)
    account: Decimal = ZERO
    traded: Mapping[str, datetime] = field(default_factory=dict)
    near: bool = True
    aged: bool = False

    @property
    def equity(self) -> Decimal:
        """The equity at the edge of a span."""
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


class Closings:
    """When positions were closed; what is not among the ``positions`` known already is looked up, once."""

    def __init__(self, store: Store, positions: Mapping[str, PositionRecord]) -> None:
        """Nothing is read yet."""
        self._store = store
        self._known = {name: position.closed_at for name, position in positions.items()}

    def of(self, name: str) -> datetime | None:
        """When a position was closed, None while it is open."""
        if name not in self._known:
            self._known[name] = self._store.positions.get(name).closed_at
        return self._known[name]

    def before(self, name: str, cut: datetime | None) -> bool:
        """Whether it was closed before an instant (None: by now)."""
        closed = self.of(name)
        return closed is not None and (cut is None or closed < cut)

    def any_open(self, cut: datetime | None) -> bool:
        """Whether any of those known was not closed before an instant."""
        return any(closed is None or (cut is not None and closed >= cut) for closed in self._known.values())

    def between(self, name: str, since: datetime, *, cut: datetime | None) -> bool:
        """Whether it was closed after one instant and before another (None: by now)."""
        closed = self.of(name)
        return closed is not None and closed > since and (cut is None or closed < cut)


def outer(
    store: Store, point: EquityPoint, *, cut: datetime | None, closings: Closings, seen: bool = True
) -> Edge:
    """The edge of a span, where facts are cut off (None: not at all); ``seen``: a later point saw what was
    traded.
    """
    more, less = _between(store, point, cut=cut)
    found = _moved(point, cut=cut, more=_realised(more), less=_realised(less), closings=closings)
    traded = {} if seen else _traded(store, point, cut=cut, closings=closings)
    return Edge(
        point=point,
        booked=book_value(more) - book_value(less),
        shifts=found.shifts,
        account=found.account,
        traded=traded,
        near=_is_near(store, point, cut=cut),
        aged=_is_aged(store, point, cut=cut),
    )


def inner(
    store: Store,
    begin: Edge,
    *,
    points: Mapping[datetime, EquityPoint],
    closings: Closings,
    owners: Iterable[str],
    seen: Callable[[datetime], bool],
) -> tuple[Edge, ...]:
    """The edges at instants after ``begin``, oldest first, each carried there from its point; ``seen`` as
    above, ``owners`` are the positions that were there at any of them. All facts are read at once.
    """
    read, cuts = store.ledger.read, tuple(points)
    more: list[_Owned] = [{} for _ in cuts]
    less: list[_Owned] = [{} for _ in cuts]
    booked = [point.booked_until for point in points.values()]
    for fact in read.realised({None, *owners}, booked_after=store.ledger.opening_id) if cuts else ():
        behind = bisect_right(cuts, fact.at)  # the first edge that has it behind it
        known = bisect_left(booked, fact.journal_id)  # the first whose point has seen it
        if behind == known:
            continue
        closed = closings.of(fact.position_id) if fact.position_id is not None else None
        end = len(cuts) if closed is None else bisect_right(cuts, closed)  # from there on it has no shift
        for found, first, last in ((more, behind, known), (less, known, behind)):
            for sums in found[first : min(last, end)]:
                sums[fact.position_id] = sums.get(fact.position_id, ZERO) + fact.value
    edges: list[Edge] = []
    traded, stands = begin.traded, begin.point
    for (cut, point), after, before in zip(points.items(), more, less, strict=True):
        if seen(cut):
            traded = {}
        elif point != stands:
            traded = _traded(store, point, cut=cut, closings=closings)
        # else what trades while no point stands is held then, or closed: it need not be looked for
        traded, stands = _open(traded, cut, closings=closings), point
        moved = _moved(point, cut=cut, more=after, less=before, closings=closings)
        edges.append(
            Edge(
                point=point,
                shifts=moved.shifts,
                account=moved.account,
                traded=traded,
                near=_is_near(store, point, cut=cut),
                aged=_is_aged(store, point, cut=cut),
            )
        )
    return tuple(edges)


def _is_near(store: Store, point: EquityPoint, *, cut: datetime | None) -> bool:
    """Whether a point is of the day before an instant; up to now the last one is as near as can be."""
    return cut is None or cut - point.at < _NEAR or cut >= store.clock.now()


def _is_aged(store: Store, point: EquityPoint, *, cut: datetime | None) -> bool:
    """Whether a point is hours older than an instant of the past."""
    return cut is not None and cut - point.at > _HOURS and cut < store.clock.now()


class _Moved(NamedTuple):
    """By how much what is unrealised changed between a point and an edge: of positions, and of none."""

    shifts: Mapping[str, Decimal]
    account: Decimal


def _moved(
    point: EquityPoint, *, cut: datetime | None, more: _Owned, less: _Owned, closings: Closings
) -> _Moved:
    """That change from what was realised, by owner: by facts before the edge that were booked after the point
    (``more``), and by later ones that were booked before the point. A gain is −, as in the ledger.
    """
    shifts = {
        name: more.get(name, ZERO) - less.get(name, ZERO)
        for name in {*more, *less}
        if name is not None and not closings.before(name, cut)
    }
    for name, amount in point.by_position.items():
        if name != DUST and closings.between(name, point.at, cut=cut):
            shifts[name] = -amount
    gained = -more.get(None, ZERO)
    account = -less.get(None, ZERO) - _part(gained, whole=point.others_unrealised)
    return _Moved(shifts, account)


def _part(gain: Decimal, *, whole: Decimal) -> Decimal:
    """How much of a gain (or loss) was unrealised before: no more than there was."""
    return max(min(gain, whole), ZERO) if whole > ZERO else min(max(gain, whole), ZERO)


def _realised(sums: Iterable[Sum]) -> _Owned:
    """What was realised, by owner (None: of no position)."""
    found: dict[str | None, Decimal] = {}
    for item in sums:
        if item.account is Account.REALISED:
            found[item.position_id] = found.get(item.position_id, ZERO) + item.value
    return found


def _traded(
    store: Store, point: EquityPoint, *, cut: datetime | None, closings: Closings
) -> Mapping[str, datetime]:
    """The positions open at an instant that traded between a point and it, and when first."""
    if not closings.any_open(cut):
        return {}
    found = store.ledger.read.traded_after(point.booked_until, until=cut)
    return _open(found, cut, closings=closings)


def _open(traded: Mapping[str, datetime], cut: datetime | None, *, closings: Closings) -> dict[str, datetime]:
    """Those of positions that were not closed before an instant."""
    return {name: at for name, at in traded.items() if not closings.before(name, cut)}


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
