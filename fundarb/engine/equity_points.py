"""The equity curve as it is kept, the point that a report may begin or end at, and the identity that ties two
points to the ledger.

A point whose wallet the ledger did not hold exactly is kept apart as provisional: it is shown, but nothing is
reckoned from it once a later point has tied.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from fundarb.core.ledger import Account
from fundarb.core.money import ZERO, dec, plain
from fundarb.core.pnl import Pnl, TieOut, of_account, together
from fundarb.engine.equity import EquityPoint, book_value, measure
from fundarb.engine.ports import MarketData, Trading
from fundarb.store.database import Store
from fundarb.store.fields import readable
from fundarb.store.ledger_days import DaySum
from fundarb.store.ledger_sums import Sum
from fundarb.store.snapshots import Snapshot

TIED_KIND: Final = "equity"
PROVISIONAL_KIND: Final = "equity-provisional"
RETENTION: Final = (
    (timedelta(days=3), timedelta(hours=1)),
    (timedelta(days=100), timedelta(days=1)),
)
"""From which age on how much of the curve is kept: one point in each such stretch."""
_THINNED: Final = "equity.thinned"
_MILLISECOND: Final = timedelta(milliseconds=1)
"""The store's instants are whole ones."""
_OUTSIDE: Final = frozenset({Account.EXTERNAL})


def take_snapshot(store: Store, market: MarketData, *, trading: Trading, at: datetime) -> EquityPoint:
    """Measure and keep a point of the equity curve; ``Unavailable`` if market or account cannot be read."""
    point = measure(store, market, trading=trading, at=at)
    keep(store, point)
    return point


def keep(store: Store, point: EquityPoint) -> None:
    """Store a point for the equity curve, and what its coins were worth, so that fees paid in them can be
    valued.
    """
    payload = {
        "unrealised": plain(point.unrealised),
        "booked_until": point.booked_until,
        "by_position": {name: plain(amount) for name, amount in point.by_position.items() if amount},
        "venue_equity": None if point.venue_equity is None else plain(point.venue_equity),
        "unpriced": list(point.unpriced),
    }
    if point.others is not None:
        payload["others"] = [plain(amount) for amount in point.others]
    if point.unknown:
        payload["unknown"] = sorted(point.unknown)
    if not point.tied:
        payload |= {"gap": plain(point.gap), "pending": plain(point.pending)}
    kind = TIED_KIND if point.tied else PROVISIONAL_KIND
    with store.transaction():
        for coin, price in point.prices.items():
            store.ledger.set_price(coin, price, at=point.at)
        store.snapshots.add(point.at, kind, equity=point.equity, payload=json.dumps(payload))
        _thin(store, point.at, coins=point.prices)


def _thin(store: Store, now: datetime, *, coins: Iterable[str]) -> None:
    """Once a day: older points one an hour, much older ones one a day, so that the file stays small; the
    prices of coins likewise. What tied and what did not are thinned apart, so that a tied point of its time
    is always left.
    """
    today = now.date().isoformat()
    if store.meta.get(_THINNED) == today:
        return
    for kind in (TIED_KIND, PROVISIONAL_KIND):
        for age, each in RETENTION:
            store.snapshots.thin(kind, now - age, each=each)
    for coin in coins:
        for age, each in RETENTION:
            store.ledger.thin_prices(coin, now - age, each=each)
    store.meta.set(_THINNED, today)


def restored(snapshot: Snapshot) -> EquityPoint | None:
    """A stored point, None where its equity could not be known."""
    if snapshot.equity is None:
        return None
    with readable("a point of the equity curve"):
        payload = json.loads(snapshot.payload)
        venue = payload["venue_equity"]
        return EquityPoint(
            at=snapshot.at,
            equity=snapshot.equity,
            unrealised=dec(payload["unrealised"]),
            booked_until=payload["booked_until"],
            by_position={name: dec(amount) for name, amount in payload["by_position"].items()},
            tied=snapshot.kind == TIED_KIND,
            gap=dec(payload.get("gap", "0")),
            pending=dec(payload.get("pending", "0")),
            venue_equity=None if venue is None else dec(venue),
            unpriced=tuple(payload["unpriced"]),
            unknown=frozenset(payload.get("unknown", ())),
            others=_others(payload.get("others")),
        )


def _others(kept: list[str] | None) -> tuple[Decimal, Decimal] | None:
    """What a point says of coins and contracts of no position; None in one that says nothing."""
    return None if kept is None else (dec(kept[0]), dec(kept[1]))


def points(
    store: Store, *, since: datetime | None = None, until: datetime | None = None, tied_only: bool = False
) -> tuple[EquityPoint, ...]:
    """The stored equity curve, oldest first."""
    kinds = (TIED_KIND,) if tied_only else (TIED_KIND, PROVISIONAL_KIND)
    found = [row for kind in kinds for row in store.snapshots.between(kind, since=since, until=until)]
    found.sort(key=_place)
    return tuple(point for point in map(restored, found) if point is not None)


def newest(store: Store, *, until: datetime | None = None, tied_only: bool = False) -> EquityPoint | None:
    """The newest stored point, of those at or before ``until``."""
    kinds = (TIED_KIND,) if tied_only else (TIED_KIND, PROVISIONAL_KIND)
    before = None if until is None else until + _MILLISECOND
    found = [store.snapshots.last(kind, until=before) for kind in kinds]
    rows = [row for row in found if row is not None]
    return restored(max(rows, key=_place)) if rows else None


def anchor(store: Store, until: datetime | None, *, now: EquityPoint | None = None) -> EquityPoint | None:
    """The point at or before ``until`` that a report may be reckoned from: the newest one that tied.

    A later one that did not tie takes its place only for as long as no point after it (``now`` among them)
    has tied: then the difference is still open and must be shown. None: there is none, not even the opening.
    """
    tied, last = newest(store, until=until, tied_only=True), newest(store, until=until)
    if last is None or last.tied:
        return last or opening(store)
    healed = (now is not None and now.tied) or (
        (later := store.snapshots.last(TIED_KIND)) is not None and later.at > last.at
    )
    return (tied or opening(store)) if healed else last


def anchors(
    store: Store, cuts: Sequence[datetime], *, now: EquityPoint | None = None
) -> Iterator[EquityPoint]:
    """The ``anchor`` of each of these instants, oldest first, once the books are opened; ``now`` itself from
    its moment on. The curve is read once.
    """
    first = anchor(store, cuts[0], now=now) if cuts else None
    if first is None:
        return
    last = store.snapshots.last(TIED_KIND)
    rows = list(store.snapshots.between(TIED_KIND, since=cuts[0], until=cuts[-1] + _MILLISECOND))
    if now is None or not now.tied:  # what did not tie counts until a later point has
        open_since = cuts[0] if last is None else max(cuts[0], last.at)
        rows += store.snapshots.between(PROVISIONAL_KIND, since=open_since, until=cuts[-1] + _MILLISECOND)
    rows.sort(key=_place)
    found, number = first, 0
    for cut in cuts:
        passed = bisect_right(rows, cut, key=_time)
        if passed > number:
            found, number = restored(rows[passed - 1]) or found, passed
        yield now if now is not None and now.at <= cut else found


def _place(row: Snapshot) -> tuple[datetime, int]:
    return row.at, row.id


def _time(row: Snapshot) -> datetime:
    return row.at


def opening(store: Store) -> EquityPoint | None:
    """The point at which the books were opened: the opening balances at their value, and what contracts that
    were there had gained.
    """
    at = store.ledger.opened_at
    if at is None:
        return None
    number, gain = store.ledger.opening_id, store.ledger.opening_gain
    sums, unpriced = store.ledger.read.sums(booked_until=number), store.ledger.opening_unpriced
    if unpriced is None:
        unpriced = frozenset(item.coin for item in sums if item.amount and not item.value)
    return EquityPoint(
        at=at,
        equity=book_value(sums) + gain,
        unrealised=gain,
        booked_until=number,
        unpriced=tuple(sorted(unpriced)),
    )


def tie_out(store: Store, start: EquityPoint, *, end: EquityPoint) -> TieOut:
    """The identity between two points: everything that was booked in between, in the order of booking."""
    sums = store.ledger.read.sums(booked_after=start.booked_until, booked_until=end.booked_until)
    result = together(tuple(sum_pnl(sums).values()))
    return TieOut(
        equity_start=start.equity,
        equity_end=end.equity,
        realised=result.realised,
        funding=result.funding,
        fees=result.fees,
        interest=result.interest,
        external=external(sums),
        unrealised_change=end.unrealised - start.unrealised,
        suspense=result.suspense,
        pending=end.pending - start.pending,
    )


def external(sums: Iterable[Sum | DaySum]) -> Decimal:
    """Deposits less withdrawals, in quote."""
    return -sum((item.value for item in sums if item.account in _OUTSIDE), ZERO)


def sum_pnl(sums: Iterable[Sum]) -> dict[str | None, Pnl]:
    """The result by position id (None: of the account as a whole), unrealised left out."""
    found: dict[str | None, list[Pnl]] = {}
    for item in sums:
        part = of_account(item.account, item.coin, amount=item.amount, value=item.value)
        found.setdefault(item.position_id, []).append(part)
    return {name: together(parts) for name, parts in found.items()}
