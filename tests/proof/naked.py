"""What a person must have been told of an episode, judged by the venue's own fills and times and by what the
client was answered on the wire: never by what the engine wrote down.

A leg that was naked for longer than it may be, and every act of the venue itself, must have an alert that
names its coin, raised since it began.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from fundarb.clock import Clock
from fundarb.core.market import Category
from fundarb.core.orders import Execution, OrderRequest, Outcome, WriteAnswer, parse_link_id
from fundarb.core.records import PositionRecord
from fundarb.engine.forced import FORCED
from fundarb.store.database import Store
from fundarb.venue.engine import Venue
from tests.proof.market import MULTIPLIERS, PERPS
from tests.proof.trouble import TroubledExchange

D = Decimal
T_HEDGE = timedelta(seconds=5)
T_RECOVER = timedelta(seconds=37)
"""The receive window, 31 s, the tolerated error of the clock, and one read."""
_LEAST = D(30)
"""Quote value: several lots, and what earlier positions left as dust beside them."""
_DRIFT = D("0.03")
_CERTAIN = frozenset({Outcome.ACCEPTED, Outcome.REFUSED})
_SECOND = timedelta(seconds=1)


@dataclass
class Fates:
    """When each order was sent, and of which the client could not know at once what became of it."""

    sent: list[tuple[str, datetime]] = field(default_factory=list)
    doubtful: set[str] = field(default_factory=set)

    def watch(self, exchange: TroubledExchange, clock: Clock) -> None:
        """Note every create of one life, and its answer; reads that lag or fail hide what an answer left
        open.
        """
        create = exchange.create

        def noted(request: OrderRequest, *, signed_at: datetime) -> WriteAnswer:
            self.sent.append((request.link_id, clock.now()))
            self.doubtful.add(request.link_id)
            answer = create(request, signed_at=signed_at)
            if answer.outcome in _CERTAIN and not exchange.trouble.dim:
                self.doubtful.discard(request.link_id)
            return answer

        exchange.create = noted  # type: ignore[method-assign]

    def died(self) -> None:
        """What was learnt of the last order may be lost."""
        self.doubtful.update(link for link, _ in self.sent[-1:])

    def any_between(self, plans: set[str], begin: datetime, end: datetime) -> bool:
        """Whether an order of one of these plans that was sent in a span of time was in doubt."""
        links = [link for link, at in self.sent if begin <= at <= end and link in self.doubtful]
        return any(parts is not None and parts.plan in plans for parts in map(parse_link_id, links))


@dataclass(frozen=True)
class Due:
    """Something that a person must have been told of: since when, of which coin, and by which alert."""

    base: str
    since: datetime
    what: str
    code: str = ""


def untold(venue: Venue, store: Store, fates: Fates, *, beside: set[str]) -> list[str]:
    """Everything that was due and was not told, but for the coins in which strangers traded (``beside``)."""
    return [
        f"{due.what} of {base} from {due.since:%d %H:%M:%S} on: nobody was told"
        for base in sorted(PERPS.keys() - beside)
        for due in _due(base, venue, fates, store=store)
        if not any(_tells(fields, at, due, store=store) for fields, at in _messages(store))
    ]


def _due(base: str, venue: Venue, fates: Fates, *, store: Store) -> Iterator[Due]:
    """Everything of one coin that a person must have been told of."""
    symbols = {PERPS[base], f"{base}USDT"}
    fills = [fill.execution() for fill in venue.all_fills() if fill.symbol in symbols]
    plans = {item.plan_id for item in _positions(store, base)}
    yield from (Due(base, row.time, row.kind, FORCED[row.kind]) for row in fills if row.kind in FORCED)
    yield from _naked(base, fills, fates, plans=plans)


def _positions(store: Store, base: str) -> list[PositionRecord]:
    return [item for item in store.positions.all() if item.base == base]


def _naked(base: str, fills: list[Execution], fates: Fates, *, plans: set[str]) -> Iterator[Due]:
    """Every stretch in which the legs were apart for longer than they may be."""
    coins = short = D(0)
    since: datetime | None = None
    for row in fills:
        if not row.kind.trades:
            continue
        if row.category is Category.SPOT:
            coins += row.side.sign * row.quantity - (row.fee if row.fee_coin == base else D(0))
        else:
            short -= row.side.sign * row.quantity * MULTIPLIERS.get(base, D(1))
        price = row.price if row.category is Category.SPOT else row.price / MULTIPLIERS.get(base, D(1))
        delta = abs(coins - short)
        if delta * price > _LEAST and delta > _DRIFT * max(coins, short):
            since = since or row.time
        elif since is not None:
            doubted = fates.any_between(plans, since - _SECOND, row.time)
            if row.time - since > (T_RECOVER if doubted else T_HEDGE):
                yield Due(base, since, f"{(row.time - since).total_seconds():.0f} s with a naked leg")
            since = None


def alerted(store: Store) -> set[str]:
    """What the alerts are about: positions, coins, symbols, orders."""
    rows = store.events.after(0, 100_000, kind="alert_raised")
    return {json.loads(row.payload)["subject"] for row in rows}


def _messages(store: Store) -> Iterator[tuple[dict[str, object], datetime]]:
    """What reached a person about a position: alerts, and legs given back."""
    for kind in ("alert_raised", "position_unwound"):
        for event in store.events.after(0, 100_000, kind=kind):
            yield json.loads(event.payload), event.at


def _tells(fields: dict[str, object], at: datetime, due: Due, *, store: Store) -> bool:
    """Whether a message is about what is due."""
    if at < due.since or due.code not in {"", fields.get("code")}:
        return False
    positions = _positions(store, due.base)
    names = {due.base, PERPS[due.base], f"{due.base}USDT", *(item.position_id for item in positions)}
    texts = [text for text in fields.values() if isinstance(text, str)]
    return any(text in names or any(item.plan_id in text for item in positions) for text in texts)
