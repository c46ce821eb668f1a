"""Whether the state in a snapshot can be one of a venue over this market: everything that it names exists,
every instant and number is one that it can have. It changes nothing; what the books say is the business of
the venue's own audit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from fundarb.core.market import Category
from fundarb.sandbox.bounds import HELD, LIFE, MOST, in_calendar
from fundarb.venue.feed import Listing, MarketFeed
from fundarb.venue.filters import patched
from fundarb.venue.state import DueKind, MarketState, State, slot

_HOUR = timedelta(hours=1)
_HOURS = frozenset({1, 2, 4, 8, 12, 24})
_OF_ORDERS = frozenset({DueKind.MATCH, DueKind.CANCEL, DueKind.AMEND})
Listings = Mapping[Category, Mapping[str, Listing]]


def examine(state: State, feed: MarketFeed) -> None:
    """``ValueError`` names the first thing that cannot be."""
    listings: dict[Category, dict[str, Listing]] = {category: {} for category in Category}
    for listing in feed.listings():
        listings[listing.category][listing.symbol] = listing
    checks = (
        _time(state, lines=len(feed.happenings())),
        _histories(state),
        _market(state.market, listings),
        _account(state, listings),
        _orders(state, listings),
        _agenda(state),
        _figures((state.market, state.account.coins, state.account.positions, state.orders)),
    )
    for check in checks:
        for problem in check:
            raise ValueError(problem)


def _time(state: State, *, lines: int) -> Iterator[str]:
    """Where time stands, and when what comes by itself comes next."""
    if not (in_calendar(state.start) and state.start <= state.now <= state.start + LIFE):
        yield f"now: {state.now} is not within {LIFE.days} days of {state.start}"
    elif not state.now <= state.next_interest <= state.now + _HOUR:
        yield "next_interest: is not within the hour"
    elif state.next_risk > state.now + _HOUR:
        yield "next_risk: is not within the hour"
    if not 0 <= state.script <= lines:
        yield f"script: has no line {state.script}"


def _histories(state: State) -> Iterator[str]:
    """Rows come in the order of time, and their numbers are not given twice."""
    account = state.account
    times = ([row.time for row in account.log], [row.time for row in account.fills],
             [order.created for order in state.orders.values()])  # fmt: skip
    for name, found in zip(("log", "fills", "orders"), times, strict=True):
        if found != sorted(found) or (found and not in_calendar(found[0])):
            yield f"{name}: not in the order of time"
        if found and found[-1] > state.now:
            yield f"{name}: {found[-1]} is still to come"
    numbers = [*(fill.sequence for fill in account.fills), *(due.sequence for due in state.agenda),
               *(order.sequence for order in state.orders.values())]  # fmt: skip
    if max(numbers, default=0) > state.counter:
        yield "counter: is behind the numbers that were given"


def _market(over: MarketState, listings: Listings) -> Iterator[str]:
    """What the world has changed is there, and may be changed so."""
    perps, spots = listings[Category.LINEAR], listings[Category.SPOT]
    slots = {
        slot(category, symbol): item for category in Category for symbol, item in listings[category].items()
    }
    sides = {f"{key}:{side}" for key in slots for side in ("bid", "ask")}
    named: tuple[tuple[str, Iterable[str], Iterable[str]], ...] = (
        ("marks", over.marks, perps), ("rates", over.rates, perps), ("intervals", over.intervals, perps),
        ("own_since", over.own_since, perps), ("settled", over.settled, perps),
        ("deliveries", over.deliveries, perps), ("frozen", over.frozen, {*perps, *spots}),
        ("books", over.books, slots), ("patches", over.patches, slots), ("closed", over.closed, slots),
        ("halted", over.halted, slots), ("filters", over.filters, slots), ("taken", over.taken, sides),
    )  # fmt: skip
    for name, there, known in named:
        for key in set(there).difference(known):
            yield f"{name}: {key!r} is not listed"
    if min((over.usd, *over.factors.values(), *over.marks.values())) <= 0:
        yield "market: a price or a factor is not positive"
    if not _HOURS.issuperset(over.intervals.values()):
        yield f"intervals: none but {sorted(_HOURS)} hours"
    for key, changed in over.filters.items():
        patched(slots[key].instrument, changed)


def _account(state: State, listings: Listings) -> Iterator[str]:
    """Positions, leverage and fees are of contracts that there are."""
    account, perps = state.account, listings[Category.LINEAR]
    for name, there in (("positions", account.positions), ("leverage", account.leverage)):
        for symbol in set(there).difference(perps):
            yield f"{name}: {symbol!r} is not listed"
    if any(symbol != position.symbol for symbol, position in account.positions.items()):
        yield "positions: one stands under another name"
    if any(not 1 <= leverage <= MOST for leverage in account.leverage.values()):
        yield "leverage: is out of range"
    markets = {category.value for category in Category}
    slots = {slot(category, symbol) for category in Category for symbol in listings[category]}
    if not markets.issuperset(account.mnt) or not (markets | slots).issuperset(account.fees):
        yield "fees: of a market that is none"
    if any(abs(rate) >= 1 for rates in account.fees.values() for rate in (rates.taker, rates.maker)):
        yield "fees: a rate is no fraction"


def _orders(state: State, listings: Listings) -> Iterator[str]:
    """Orders stand under their own id, in markets that there are."""
    for order_id, order in state.orders.items():
        if order_id != order.order_id or order.symbol not in listings[order.category]:
            yield f"orders: {order_id!r} is none of {order.symbol!r}"
        if order.quantity <= 0 or order.filled < 0 or order.created > order.updated > state.now:
            yield f"orders: {order_id!r} cannot stand as it does"


def _agenda(state: State) -> Iterator[str]:
    """Queued work is of orders that there are, the earliest first (a heap)."""
    agenda = state.agenda
    for number, due in enumerate(agenda):
        if due.kind not in _OF_ORDERS or due.subject not in state.orders:
            yield f"agenda: nothing can be done with {due.subject!r}"
        if due < agenda[max(number - 1, 0) // 2]:
            yield "agenda: is not in order"
    if set(state.amendments).difference(state.orders):
        yield "amendments: of an order that is none"


def _figures(value: object) -> Iterator[str]:
    """Every number and instant in a tree is of a size that can be worked with."""
    if isinstance(value, Decimal):
        if abs(value) > HELD:
            yield f"{value} is too large"
    elif isinstance(value, datetime):
        if not in_calendar(value):
            yield f"{value} is beyond the calendar"
    else:
        for part in _parts(value):
            yield from _figures(part)


def _parts(value: object) -> Iterable[object]:
    if is_dataclass(value):
        return (getattr(value, field.name) for field in fields(value))
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple) else ()
