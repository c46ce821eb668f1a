"""What is due, and in which order it happens: the only module that moves ``state.now``.

Queued work (matching, cancels) waits in the agenda; everything that follows from the state (settlements of
held symbols, deliveries, interest, risk checks, the feed's script) is found when time moves, so that an
idle venue costs nothing to advance.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from fundarb.core.instants import floor_hour
from fundarb.core.market import Category, SettledFunding
from fundarb.core.orders import OrderStatus
from fundarb.venue.audit import Audit
from fundarb.venue.feed import Happening, HappeningKind
from fundarb.venue.forced import Forced
from fundarb.venue.market import Market
from fundarb.venue.matching import Matching
from fundarb.venue.register import Register
from fundarb.venue.rows import Order
from fundarb.venue.schedule import Schedule
from fundarb.venue.state import CollateralRule, Due, DueKind, State, slot

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_RESTING_STEP = timedelta(seconds=5)
_NEAR = Decimal("0.5")
"""An account that a move of prices by so much could liquidate is looked at in every step of the clock, and
each minute inside a long one.
"""
_RISK_STEPS = ((_NEAR, timedelta(minutes=1)), (Decimal("0.8"), timedelta(minutes=5)))
_RISK_FAR = timedelta(minutes=15)
_UNAFFORDABLE = "CancelByCannotAffordOrderCost"
_OF_ORDERS = frozenset({DueKind.MATCH, DueKind.CANCEL, DueKind.AMEND})


@dataclass(frozen=True, slots=True)
class Parts:
    """The collaborators of the timeline."""

    market: Market
    schedule: Schedule
    register: Register
    matching: Matching
    forced: Forced
    audit: Audit


class Timeline:
    """Performs everything due, in order."""

    def __init__(self, state: State, parts: Parts, *, script: tuple[Happening, ...]) -> None:
        """Over the state; the script is the feed's."""
        self._state = state
        self._parts = parts
        self._script = script
        self._rows: dict[str, SettledFunding] = {}
        self.amend: Callable[[Order], None] = _nothing
        """What an amendment does when its time has come; set by the desk."""
        self.audit = parts.audit.check

    # ------------------------------------------------------------------------------------------ time

    def advance(self, to: datetime) -> None:
        """Everything due until ``to`` inclusive, then ``to`` is now; an instant in the past is now."""
        state = self._state
        to = max(to, state.now)
        while (due := self._next(to)) is not None:
            state.now = max(state.now, due.at)
            rows = len(state.account.log)
            self._perform(due)
            self.audit()
            if len(state.account.log) != rows and due.kind is not DueKind.RISK:
                state.next_risk = state.now  # money has moved: look before anything else can
        if state.now != to:
            state.now = to
            rows = len(state.account.log)
            if self._parts.register.any_open:
                self.touch_resting()
            if (state.near or len(state.account.log) != rows) and self._at_risk():
                self.check_risk()
        if state.market.taken:
            self._parts.market.forget_recovered()

    def queue(self, kind: DueKind, at: datetime, *, subject: str) -> None:
        """Put work on the agenda."""
        heapq.heappush(self._state.agenda, Due(at, kind, self._state.count(), subject))

    def upcoming(self) -> datetime:
        """When the next known thing happens, for a server that sleeps in real time."""
        state = self._state
        known = [state.next_interest]
        if state.agenda:
            known.append(state.agenda[0].at)
        if self._at_risk():
            known.append(state.next_risk)
        if state.script < len(self._script):
            known.append(self._script[state.script].at)
        known.extend(due.at for due in self._deliveries())
        known.extend(self._parts.schedule.running(symbol).next_time for symbol in self._watched())
        return max(min(known), state.now)

    # ------------------------------------------------------------------------------------------ what is due

    def _next(self, to: datetime) -> Due | None:
        """The earliest thing due until ``to``; what cannot be due is not even looked at."""
        first: Due | None = None
        for due in self._candidates(to):
            if due.at <= to and (first is None or due < first):
                first = due
        return first

    def _candidates(self, to: datetime) -> Iterator[Due]:
        state = self._state
        if state.agenda:
            yield state.agenda[0]
        if state.next_interest <= to:
            yield Due(state.next_interest, DueKind.INTEREST, 0, "")
        if state.next_risk <= to and self._at_risk():
            yield Due(max(state.next_risk, state.now), DueKind.RISK, 0, "")
        if state.script < len(self._script):
            yield Due(self._script[state.script].at, DueKind.HAPPENING, 0, "")
        if state.market.deliveries:
            yield from self._deliveries()
        yield from self._settlements(to)
        if self._parts.register.any_open and any(order.resting for order in self._parts.register.open()):
            yield Due(
                state.now + _RESTING_STEP - (state.now - _EPOCH) % _RESTING_STEP, DueKind.RESTING, 0, ""
            )

    def _deliveries(self) -> Iterator[Due]:
        closed = self._state.market.closed
        for symbol, at in self._state.market.deliveries.items():
            if slot(Category.LINEAR, symbol) not in closed:
                yield Due(at, DueKind.DELIVERY, 0, symbol)

    def _watched(self) -> list[str]:
        """Symbols whose settlements matter: held ones, and those whose history the venue itself keeps."""
        held = [item.symbol for item in self._state.account.positions.values() if item.size]
        own = [symbol for symbol in self._state.market.own_since if symbol not in held]
        return [
            *held,
            *(symbol for symbol in own if slot(Category.LINEAR, symbol) not in self._state.market.closed),
        ]

    def _settlements(self, to: datetime) -> Iterator[Due]:
        """The first settlement of each watched symbol; the rows are kept for ``_settle``.

        Only full hours are settlement instants (feed contract), so most steps need not ask.
        """
        self._rows.clear()
        if floor_hour(to) <= self._state.now:
            return
        for symbol in self._watched():
            row = self._parts.schedule.next_settlement(symbol, to)
            if row is not None:
                self._rows[symbol] = row
                yield Due(row.time, DueKind.FUNDING, 0, "")

    def _at_risk(self) -> bool:
        account = self._state.account
        return any(item.size for item in account.positions.values()) or any(
            coin.wallet < coin.locked or coin.borrowed for coin in account.coins.values()
        )

    # ------------------------------------------------------------------------------------------ doing it

    def _perform(self, due: Due) -> None:
        state, parts = self._state, self._parts
        if due.kind in _OF_ORDERS:
            heapq.heappop(state.agenda)
            self._order_due(due)
        elif due.kind is DueKind.FUNDING:
            self._settle(due)
        elif due.kind is DueKind.INTEREST:
            state.next_interest += _HOUR
            if self._at_risk():
                parts.forced.loans.charge_interest()
        elif due.kind is DueKind.RISK:
            self.check_risk()
        elif due.kind is DueKind.RESTING:
            self.touch_resting()
        elif due.kind is DueKind.DELIVERY:
            parts.forced.deliver(due.subject)
        else:
            state.script += 1
            self._happen(self._script[state.script - 1])

    def _order_due(self, due: Due) -> None:
        order = self._parts.register.orders[due.subject]
        with self._covered():
            self._order_event(due, order)

    def _order_event(self, due: Due, order: Order) -> None:
        if due.kind is DueKind.MATCH:
            self._parts.matching.match(order)
        elif due.kind is DueKind.AMEND:
            self.amend(order)
        else:
            self._parts.matching.finish(order, OrderStatus.CANCELLED, cancel_type="CancelByUser")

    def _settle(self, due: Due) -> None:
        """Settle every watched symbol of this instant at once: the next search begins after it."""
        for symbol, row in self._rows.items():
            if row.time == due.at:
                if symbol in self._state.market.own_since:
                    self._parts.schedule.remember(row)
                self._parts.forced.settle_funding(row)

    def match_now(self, order: Order) -> None:
        """Match an order past the agenda, and look at what it has done to the account."""
        with self._covered():
            self._parts.matching.match(order)
        self.check_risk()

    def check_risk(self) -> None:
        """Liquidate what must be, and come back the sooner the nearer it is."""
        forced, market = self._parts.forced, self._parts.market
        distance = forced.check_risk()
        held = [item for item in self._state.account.positions.values() if item.size]
        since = self._state.checked
        worst, complete = market.worst_marks(held, since or self._state.now)
        if worst:
            with market.stressed(worst):
                distance = min(distance, forced.check_risk())
        if complete or not held or since is None:
            self._state.checked = self._state.now  # else the source has yet to tell of the time since then
        self.audit()
        self._state.near = distance < _NEAR
        step = next((step for bound, step in _RISK_STEPS if distance < bound), _RISK_FAR)
        self._state.next_risk = self._state.now + step

    def touch_resting(self) -> None:
        """Every resting order looks at the book."""
        with self._covered():
            for order in self._parts.register.open():
                self._parts.matching.touch_resting(order)
        self.audit()

    @contextmanager
    def _covered(self) -> Iterator[None]:
        """Own fills can leave open orders uncovered that a position covered before: what is then not
        affordable is cancelled, newest first.
        """
        rows = len(self._state.account.log)
        yield
        if len(self._state.account.log) == rows:
            return
        for order in reversed(self._parts.register.open(Category.LINEAR)):
            if not order.reduce_only and self._parts.forced.short_of_margin():
                self._parts.matching.finish(order, OrderStatus.CANCELLED, cancel_type=_UNAFFORDABLE)

    def _happen(self, line: Happening) -> None:
        over = self._state.market
        if line.kind is HappeningKind.DELIST_ANNOUNCED and line.when is not None:
            over.deliveries[line.symbol] = line.when
        elif line.kind in {HappeningKind.HALT, HappeningKind.RESUME}:
            over.halted[slot(line.category, line.symbol)] = line.kind is HappeningKind.HALT
        elif line.kind is HappeningKind.COLLATERAL and line.value is not None:
            over.collateral[line.symbol] = CollateralRule(line.value > 0, line.value)
            self._state.next_risk = self._state.now
        self._parts.market.touch(line.symbol)


def _nothing(_: Order) -> None:
    """No desk is there yet."""
