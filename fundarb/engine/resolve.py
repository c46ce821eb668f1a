"""Making the uncertain certain: look-ups by link id, the lease rule, and proof of absence.

An order is adopted as soon as any of the three sources shows it. It is ABSENT only when the venue can no
longer admit it (its lease has run out), all three sources missed it three times in a row over at least 30 s,
neither the position nor the coin balance changed in a way that nothing else explains, and neither the
transaction log nor the venue's answer to the create says that it exists. A miss counts only where the sources
show the newest other order that the venue is known to have: otherwise they lag. An order that the venue has
acknowledged is never ABSENT. Time alone proves nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from fundarb.core.events import IntentResolved
from fundarb.core.money import ZERO
from fundarb.core.orders import Execution, Leg, Outcome
from fundarb.core.records import IntentRecord, PositionRecord
from fundarb.core.states import IntentState, IntentTrigger
from fundarb.crash import Point
from fundarb.engine.alerts import IN_DOUBT, alert_once, halt, was_told
from fundarb.engine.beside import Beside
from fundarb.engine.collect import Collector
from fundarb.engine.desk import LAST_LOOKS, MISS_SPAN, MISSES, Desk
from fundarb.engine.orders import OrderDesk, same_order
from fundarb.engine.repair import Repairer
from fundarb.engine.shut_out import met
from fundarb.errors import Unavailable

_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(seconds=5)
_ADMISSION_GRACE = timedelta(seconds=1)
_JUST_AFTER = timedelta(milliseconds=20)
_SAFELY_AFTER = timedelta(milliseconds=250)
_GLANCE = timedelta(seconds=1)
"""While it waits, the resolver looks so often whether the process is to end."""
_LOOK_BACK = 500
"""Answers among which that of an order in doubt is looked for."""
_LISTED = timedelta(hours=12)
"""So long every order is surely listed: the venue forgets fully cancelled ones after a day."""
_FORGOTTEN = timedelta(hours=25)
"""After so long an order that is in no list has traded nothing: only such orders are forgotten."""


def _nothing(_besides: str) -> None:
    """Nobody else is looked after."""


@dataclass(slots=True)
class _Misses:
    """Consecutive complete misses of one order after its lease."""

    count: int = 0
    first: timedelta = timedelta()


class Resolver:
    """Finds out what became of uncertain orders; may wait on the clock, never sends a create."""

    def __init__(self, desk: Desk, collector: Collector) -> None:
        """Resolve the orders of one desk."""
        self._desk = desk
        self._orders = OrderDesk(desk)
        self._collector = collector
        self._repairer = Repairer(desk)
        self._misses: dict[str, _Misses] = {}
        self._answered = False
        self._waiting = False
        self.meanwhile: Callable[[str], None] = _nothing
        """What is done between two look-ups, or two clips of the position that is named (``Meanwhile.look``,
        which needs us to be there first).
        """

    def resolve(self, intent: IntentRecord, *, patience: timedelta) -> IntentRecord:
        """Ask until the order is known or ``patience`` (monotonic) is over; the intent as it stands then.

        One that is still unknown then is an incident: somebody is told.
        """
        return self._until((intent,), patience=patience)[0]

    def resolve_all(self, *, patience: timedelta) -> tuple[IntentRecord, ...]:
        """Every open intent, each on its own evidence and all at the same time; those still UNCERTAIN are
        among the result. Without patience each is looked up once and nobody waits.
        """
        return self._until(self._desk.store.intents.open(), patience=patience)

    def catch_up(self) -> bool:
        """Book whatever the venue did to the account meanwhile, if it can be read now: contracts and coins
        that it took, and from a position that is being closed whole what a hand took, too. Whether it could
        be read.
        """
        try:
            self._collector.collect()
            self._repairer.book_known(self._repairer.explain_now(), policy=None)
        except Unavailable as error:
            met(self._desk, error)
            return False
        return True

    def _until(self, intents: tuple[IntentRecord, ...], *, patience: timedelta) -> tuple[IntentRecord, ...]:
        """Rounds of look-ups until all is known or patience is over; a venue that answers nothing at all is
        given up after ``t_recover``, a process that is to end gives up soon. Within a wait nobody waits for
        another doubt.
        """
        found, pause = list(intents), _PAUSE
        patience = timedelta() if self._waiting else patience
        try:
            began = self._desk.clock.monotonic()
            self._answered = False
            while self._round(found):
                waited = self._desk.clock.monotonic() - began
                limit = patience if self._answered else min(patience, self._desk.rules.t_recover)
                wait = min([pause, *self._next_proofs(found), *self._last_looks(found)])
                if waited + wait > limit or wait <= timedelta():
                    break
                self._wait(wait)
                pause = min(pause + _PAUSE, _LONGEST_PAUSE)
        except Unavailable:  # a virtual clock that went away with its venue
            pass
        for intent in found:
            if intent.state is IntentState.UNCERTAIN and (patience or self._overdue(intent)):
                self._tell(intent)
        return tuple(found)

    def _wait(self, pause: timedelta) -> None:
        """Until the next round; the other positions are looked after in the time."""
        until, answered, self._waiting = self._desk.clock.monotonic() + pause, self._answered, True
        try:
            self.meanwhile("")
        finally:
            self._answered, self._waiting = answered, False
        self._sleep(until)

    def _sleep(self, until: timedelta) -> None:
        """Wait for an instant (monotonic), or for the first request to stop."""
        clock, stop = self._desk.clock, self._desk.stop
        before = stop.requested
        while (left := until - clock.monotonic()) > timedelta() and stop.requested is before:
            clock.sleep(min(left, _GLANCE))

    def _last_looks(self, intents: list[IntentRecord]) -> Iterator[timedelta]:
        """How much longer is looked for where the process is to end: a little, and until every lease is over,
        for then the other leg can be reduced to what the venue holds.
        """
        now = self._desk.clock.monotonic()
        seen = self._desk.stop.seen(now)
        if seen is not None:
            waiting = (item for item in intents if item.state is IntentState.UNCERTAIN)
            leases = (self._lease_left(item) + _SAFELY_AFTER for item in waiting)
            yield max(seen + LAST_LOOKS - now, *leases)

    def _overdue(self, intent: IntentRecord) -> bool:
        """Whether an order is in doubt for longer than one may be: nobody has to have waited for it."""
        return self.age(intent) >= self._desk.rules.t_recover

    def _next_proofs(self, intents: list[IntentRecord]) -> Iterator[timedelta]:
        """How long until something new can be concluded of each: its lease ends, its misses span long
        enough. A leg that is naked does not wait for a round that comes a little later.
        """
        now = self._desk.clock.monotonic()
        for intent in intents:
            if intent.state is not IntentState.UNCERTAIN:
                continue
            misses = self._misses.get(intent.link_id)
            proof = self._lease_left(intent) if misses is None else misses.first + MISS_SPAN - now
            if proof > timedelta():
                yield proof + _JUST_AFTER

    def _lease_left(self, intent: IntentRecord) -> timedelta:
        """How long the venue may still admit the request, as we know its clock; negative: it is over."""
        venue = self._desk.clock.now() + (self._desk.exchange.clock_offset or timedelta())
        return self._lease_end(intent) - venue

    def _round(self, found: list[IntentRecord]) -> bool:
        """Look every uncertain order up once; whether one is still uncertain."""
        for place, intent in enumerate(found):
            if intent.state is IntentState.UNCERTAIN:
                found[place] = self._once(intent)
        return any(intent.state is IntentState.UNCERTAIN for intent in found)

    def _tell(self, intent: IntentRecord) -> None:
        if was_told(self._desk.store, "link_id_taken", subject=intent.link_id):
            return
        message = f"{intent.link_id} is still UNCERTAIN: {intent.message or 'no answer'}"
        with suppress(Unavailable):
            alert_once(self._desk.store, IN_DOUBT, subject=intent.position_id, message=message)

    def _once(self, intent: IntentRecord) -> IntentRecord:
        """One round of look-ups."""
        try:
            report = self._orders.look_up(intent)
            executions = self._desk.exchange.executions_of(
                intent.category, intent.symbol, link_id=intent.link_id
            )
            self._answered = True
            if report is not None:
                return self._announce(self._orders.adopt(intent, report), "order found")
            expired = self.lease_over(intent)
            if executions:
                return self._from_executions(intent, executions) if expired else intent
            if not expired or self._lists_lag(intent):
                return intent
            return self._missed(intent)
        except Unavailable as error:
            met(self._desk, error)
            self._misses.pop(intent.link_id, None)
            return intent

    def _lease_end(self, intent: IntentRecord) -> datetime:
        """The last instant at which the venue may admit the request: signature + window + grace + error."""
        rules = self._desk.rules
        return intent.signed_at + rules.recv_window + _ADMISSION_GRACE + rules.limits.max_clock_offset

    def lease_over(self, intent: IntentRecord) -> bool:
        """Whether the venue can no longer admit the request, by its own clock."""
        return self._desk.exchange.server_time() > self._lease_end(intent)

    def _from_executions(self, intent: IntentRecord, executions: tuple[Execution, ...]) -> IntentRecord:
        """The order is in no list any more (a restarted venue forgets closed ones), but it traded: an IOC is
        over by now.

        Taken as all that it traded only if nothing is left unexplained: a read that lags may show a part.
        """
        self._orders.book(intent, executions)
        self._collector.collect()
        if self.unexplained(intent) != ZERO:
            return intent
        found = self._desk.store.executions.of_link(intent.link_id)
        return self._announce(self._orders.finish(intent, found, message=""), "executions found")

    def _lists_lag(self, intent: IntentRecord) -> bool:
        """Whether the sources are known to show a picture of the past: they lack this order, which the venue
        has acknowledged, or the newest other one that it has. Then a miss says nothing, and counting begins
        anew.
        """
        acknowledged = bool(intent.order_id) and self.age(intent) < _FORGOTTEN
        if not acknowledged and self._canary_is_missing(intent) is None:
            return False
        self._misses.pop(intent.link_id, None)
        return True

    def _canary_is_missing(self, intent: IntentRecord) -> IntentRecord | None:
        """The newest other order that the venue is known to have, if the sources do not show it."""
        canary = self._desk.store.intents.last_acknowledged(besides=intent.link_id)
        if canary is None or self.age(canary) >= _LISTED or self._shown(canary):
            return None
        return canary

    def age(self, intent: IntentRecord) -> timedelta:
        """How long ago an order was signed, by the venue's clock, which signed it; by ours, which may have
        been set since, only where that one cannot be known.
        """
        try:
            now = self._desk.exchange.stamp()
        except Unavailable as error:
            met(self._desk, error)
            now = self._desk.clock.now()
        return now - intent.signed_at

    def _shown(self, intent: IntentRecord) -> bool:
        """Whether the sources show an order that the venue has, and fills of one that has traded."""
        if self._orders.look_up(intent) is None:
            return False
        read = self._desk.exchange.executions_of
        return not intent.filled or bool(read(intent.category, intent.symbol, link_id=intent.link_id))

    def _missed(self, intent: IntentRecord) -> IntentRecord:
        """Count one complete miss; prove absence once there are enough of them and nothing moved
        unexplained.
        """
        now = self._desk.clock.monotonic()
        misses = self._misses.setdefault(intent.link_id, _Misses(first=now))
        misses.count += 1
        if misses.count < MISSES or now - misses.first < MISS_SPAN:
            return intent
        self._collector.collect()
        executions = self._desk.store.executions.of_link(intent.link_id)
        if executions:  # a fill came in between: the next look finds its order, or finishes by it
            self._misses.pop(intent.link_id, None)
            return intent
        difference = self.unexplained(intent)
        if difference != ZERO:
            self._alert(intent, difference)
            return intent
        self._misses.pop(intent.link_id, None)
        if self._in_log(intent):
            return intent
        if self._said_to_exist(intent):
            message = f"the venue says {intent.link_id} is taken, and shows no order under it"
            halt(self._desk.store, "link_id_taken", subject=intent.link_id, message=message)
            return intent
        return self.declare_absent(intent, how="proved absent")

    def _in_log(self, intent: IntentRecord) -> bool:
        """Whether a trade row of the transaction log carries the order's link id: it traded, whatever the
        order and execution lists say.
        """
        return any(row.link_id == intent.link_id for row in self._desk.store.ledger.log.waiting())

    def _said_to_exist(self, intent: IntentRecord) -> bool:
        """Whether the venue answered the create by "this link id exists already"."""
        told = self._desk.store.events.last(_LOOK_BACK, kind="order_answered")
        answers = [json.loads(event.payload) for event in told]
        return any(
            answer["link_id"] == intent.link_id and answer["outcome"] == Outcome.EXISTS for answer in answers
        )

    def declare_absent(self, intent: IntentRecord, *, how: str) -> IntentRecord:
        """Write down that the venue never had this order, and by what that is known; of one that it has
        acknowledged, that it ended with nothing.
        """
        store = self._desk.store
        if intent.order_id:
            return self._announce(self._orders.finish(intent, (), message="it traded nothing"), how)
        with store.transaction(before=Point.RESOLVE_BEFORE_COMMIT, after=Point.RESOLVE_AFTER_COMMIT):
            intent = store.intents.advance(
                intent.link_id, IntentTrigger.PROVED_ABSENT, message="the venue never had this order"
            )
            return self._announce(intent, how)

    def against_absence(self, intent: IntentRecord) -> str:
        """Why an order may exist in spite of what a person says; empty if nothing speaks for it."""
        if not self.lease_over(intent):
            return "its lease has not run out yet"
        report = self._orders.look_up(intent)
        if report is not None and same_order(intent, report):
            return "the venue shows it"
        if self._desk.exchange.executions_of(intent.category, intent.symbol, link_id=intent.link_id):
            return "the venue shows fills of it"
        if self._in_log(intent):
            return "the venue's transaction log shows a trade of it"
        missing = self._canary_is_missing(intent)
        return "" if missing is None else f"the venue's lists lag: they lack {missing.link_id}, which it has"

    def unexplained(self, intent: IntentRecord) -> Decimal:
        """The change of the order's position (contracts) or coin balance that our books do not explain."""
        position = self._desk.store.positions.get(intent.position_id)
        if intent.leg is Leg.PERP:
            return self._unexplained_contracts(position)
        owned = self._desk.exchange.wallet().owned(position.base)
        difference = owned - self._desk.store.ledger.balances().get(position.base, ZERO)
        return difference if abs(difference) > self._desk.rules.tolerance else ZERO

    def _unexplained_contracts(self, position: PositionRecord) -> Decimal:
        """The venue's size less ours and less what others hold in this symbol."""
        symbol, store = position.perp_symbol, self._desk.store
        held = sum((item.size for item in self._desk.exchange.positions() if item.symbol == symbol), ZERO)
        ours = sum((item.contracts for item in store.positions.active() if item.perp_symbol == symbol), ZERO)
        return held + ours - Beside(store).expected(symbol, position.created_at)

    def _announce(self, intent: IntentRecord, how: str) -> IntentRecord:
        if intent.state.terminal:
            self._desk.store.events.record(
                IntentResolved(
                    link_id=intent.link_id,
                    position_id=intent.position_id,
                    state=intent.state,
                    filled=intent.filled,
                    how=how,
                )
            )
        return intent

    def _alert(self, intent: IntentRecord, difference: Decimal) -> None:
        message = f"{intent.link_id} is in no list, but {intent.symbol} moved by {difference} unexplained"
        alert_once(self._desk.store, "unexplained_change", subject=intent.link_id, message=message)
