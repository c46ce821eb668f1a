"""Where spans begin and end, and where one ends and the next begins: what is unrealised at an instant at
which no point of the equity curve stands.

It is what the point before saw, less what was closed or realised since; prices stand where the point saw them
until the next one sees more. What the point had seen is realised by nobody anew, whoever owns it since: its
equity stays, so that what is unrealised moves against all that was booked. Changes nothing.
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
from fundarb.store.ledger_anew import Anew
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
    position: less by what was realised, and by what turned out to be a position's. ``traded`` are the
    positions still held that traded in between and that no later point has seen, each with when it first
    did: what is unrealised of them is not known. ``booked`` is what the facts in between changed the books
    by; left out between two parts of a span, whose equity nobody asks for. Where the point is not ``near``, a
    day or more before the instant, what prices did until then is not known; where it is ``aged``, hours
    before it, the time up to which they count is told.
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
    moves = _Moves(more=_realised(more), less=_realised(less))
    moves.note(store.ledger.read.anew(), point, cut=cut)
    found = _moved(point, cut=cut, moves=moves, closings=closings)
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
    anew = read.anew() if cuts else ()
    wanted = {None, *owners, *(entry.position_id for entry in anew)}
    moves = [_Moves() for _ in cuts]
    booked = [point.booked_until for point in points.values()]
    for fact in read.realised(wanted, booked_after=store.ledger.opening_id) if cuts else ():
        behind = bisect_right(cuts, fact.at)  # the first edge that has it behind it
        known = bisect_left(booked, fact.journal_id)  # the first whose point has seen it
        if behind == known:
            continue
        for move in moves[behind:known]:
            _add(move.more, fact.position_id, value=fact.value)
        for move in moves[known:behind]:
            _add(move.less, fact.position_id, value=fact.value)
    edges: list[Edge] = []
    traded, stands = begin.traded, begin.point
    for (cut, point), move in zip(points.items(), moves, strict=True):
        move.note(anew, point, cut=cut)
        if seen(cut):
            traded = {}
        elif point != stands:
            traded = _traded(store, point, cut=cut, closings=closings)
        # else what trades while no point stands is held then, or closed: it need not be looked for
        traded, stands = _open(traded, cut, closings=closings), point
        moved = _moved(point, cut=cut, moves=move, closings=closings)
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


@dataclass(slots=True)
class _Moves:
    """What was realised between a point and an edge, by owner (None: of no position); a gain is −, as in the
    ledger: by facts before the edge that were booked after the point (``more``), and by later ones that were
    booked before the point (``less``).

    ``anew`` is the part of ``more`` that the point had seen in full, as somebody else's, and ``value`` all
    that was booked anew of such facts, whatever the account.
    """

    more: _Owned = field(default_factory=dict)
    less: _Owned = field(default_factory=dict)
    anew: _Owned = field(default_factory=dict)
    value: Decimal = ZERO

    def note(self, entries: Iterable[Anew], point: EquityPoint, *, cut: datetime | None) -> None:
        """Pick out what the point had seen."""
        for entry in entries:
            seen = entry.first_id <= point.booked_until < entry.journal_id
            if seen and (cut is None or entry.at < cut):
                self.value += entry.value
                if entry.account is Account.REALISED:
                    _add(self.anew, entry.position_id, value=entry.value)

    def of(self, owner: str | None) -> Decimal:
        """By how much an owner's unrealised result changed by what was realised of it."""
        return self.more.get(owner, ZERO) - self.less.get(owner, ZERO)


class _Moved(NamedTuple):
    """By how much what is unrealised changed between a point and an edge: of positions, and of none."""

    shifts: Mapping[str, Decimal]
    account: Decimal


def _moved(point: EquityPoint, *, cut: datetime | None, moves: _Moves, closings: Closings) -> _Moved:
    """That change, by owner: a trade changes no equity, so what is realised of a position is no longer
    unrealised, whatever its size or sign; of the account no more than what it had could bring, as more was
    made since. What is booked anew of facts that the point had seen changes no equity either: what the
    positions' side of it leaves is the account's, for there the point had it.
    """
    shifts = {
        name: moves.of(name)
        for name in {*moves.more, *moves.less}
        if name is not None and not closings.before(name, cut)
    }
    for name, amount in point.by_position.items():
        if name != DUST and closings.between(name, point.at, cut=cut):
            shifts[name] = -amount
    ours = (name for name in moves.anew if name in shifts)
    taken = sum((shifts[name] - moves.of(name) + moves.anew[name] for name in ours), ZERO)
    gained, (least, most) = moves.anew.get(None, ZERO) - moves.more.get(None, ZERO), point.others_range
    account = -moves.less.get(None, ZERO) - min(max(gained, least), most)
    return _Moved(shifts, account + moves.value - taken)


def _add(sums: _Owned, owner: str | None, *, value: Decimal) -> None:
    sums[owner] = sums.get(owner, ZERO) + value


def _realised(sums: Iterable[Sum]) -> _Owned:
    """What was realised, by owner (None: of no position)."""
    found: dict[str | None, Decimal] = {}
    for item in sums:
        if item.account is Account.REALISED:
            _add(found, item.position_id, value=item.value)
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
