"""Bringing the two legs together again: top up, trim, unwind along a ladder of price caps, then halt and call
a person.

A known shortfall is topped up a bounded number of times, then the excess leg is trimmed, all within
``t_hedge``; what is still naked is unwound at ever wider caps, the last rung being the venue's own price
band. Nothing here is ever blocked by an entry gate. Each unwind of a coin doubles its cool-down; too many in
an hour freeze it until a person has looked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

from fundarb.core import correcting, sizing
from fundarb.core.market import Book as OrderBook
from fundarb.core.market import Pair
from fundarb.core.money import ZERO
from fundarb.core.orders import Leg, Purpose
from fundarb.core.position import Book
from fundarb.core.records import Goal, IntentRecord, PositionRecord
from fundarb.core.refusals import Cure, judged
from fundarb.core.states import IntentState, PositionState
from fundarb.crash import Point, reached
from fundarb.engine.alerts import alert_once, halt
from fundarb.engine.corrections import Corrector, OutOfSight, Overtaken, Sight
from fundarb.engine.desk import MISS_SPAN, Desk
from fundarb.engine.doubt import Doubts
from fundarb.engine.fees import FeeBook
from fundarb.engine.given import denied_in_spite, given_by_a_clip
from fundarb.engine.lifecycle import measure, settle
from fundarb.engine.resolve import Resolver
from fundarb.engine.rests import Rests
from fundarb.engine.shut_out import passing_over
from fundarb.engine.sizes import sizes_of
from fundarb.engine.unwinds import count_unwind

_NO_TIME = timedelta()
_FIRST_PAUSE = timedelta(milliseconds=100)
"""After a refusal for the moment; doubled each time."""

_LOOKS = timedelta(seconds=3)
_GLANCE = timedelta(seconds=1)
"""So long, and so far apart, what the venue says is not there is looked for in its lists."""


@dataclass(frozen=True, slots=True)
class _Step:
    """What one correction came to: the position after it, and what may help if it was refused."""

    position: PositionRecord
    cure: Cure | None


class Hedger:
    """Corrects the book of one position at a time."""

    def __init__(self, desk: Desk, *, resolver: Resolver, fees: FeeBook) -> None:
        """Send through one desk."""
        self._desk = desk
        self._corrector = Corrector(desk, fees, catch_up=resolver.catch_up)
        self._doubts = Doubts(desk, corrector=self._corrector, resolver=resolver)
        self._resolver = resolver
        self._rests = Rests(desk)

    def repair(
        self,
        position_id: str,
        *,
        grow: bool | None = None,
        since: timedelta | None = None,
    ) -> PositionRecord:
        """Hedge or unwind until the book is neutral; the position as it is then.

        ``grow`` says whether the smaller leg is completed before the larger one is trimmed, provided that the
        position's goal wants to grow; by default as the goal wants it, and then the repair is a decision of
        its own, measured against the mids of now. ``since`` (monotonic) is when the leg became naked, by
        default now: ``t_hedge`` counts from then. Where nobody takes what is left of an exit clip's second
        leg, its first one is taken back in the end.

        Still EXPOSED or UNCERTAIN means that the venue cannot be read, an order's fate is unknown, or every
        rung failed; the alert is raised by then.
        """
        desk = self._desk
        position = settle(desk, position_id)
        if position.state is PositionState.UNCERTAIN:
            return self._doubts.cover(position)
        if position.state.final:  # what another one's repair has booked may have ended it
            self._rests.forget(position_id)
            return position
        if grow is None:
            if self._rests.rests(position):
                return position
            self._decide_now(position)
        grow = position.goal.growing and grow is not False  # what the venue took is not restored
        deadline = (desk.clock.monotonic() if since is None else since) + desk.rules.t_hedge
        first = desk.store.intents.next_seq(position_id)
        blind = unwound = False
        try:
            position, unwound = self._bring_together(position, grow=grow, deadline=deadline)
            if position.state is PositionState.EXPOSED and not self._unheard(position, first):
                position, more = self._catch_up(position, grow=grow)
                unwound = unwound or more
        except OutOfSight:
            position, blind = desk.store.positions.get(position_id), True
        if unwound and self._taken_up(position, first):
            count_unwind(desk, position, reason="a leg could not be hedged in time")
        unheard = self._unheard(position, first)
        self._rests.remember(position, away=blind or unheard)
        if position.state is PositionState.EXPOSED and not blind and not self._matched_there(position):
            self._call_for_help(position, seen=not unheard)
        return position

    def _bring_together(
        self, position: PositionRecord, *, grow: bool, deadline: timedelta
    ) -> tuple[PositionRecord, bool]:
        """Top up, trim, unwind; the position after it, and whether something was given back."""
        before = Book(position.spot_owned, position.contracts)
        if grow:
            times = self._desk.rules.top_ups
            position = self._attempts(position, Purpose.TOP_UP, deadline=deadline, times=times)
        if self._out(position):
            times = 1 if grow else self._desk.rules.top_ups
            position = self._attempts(position, Purpose.TRIM, deadline=deadline, times=times)
        unwound = grow and self.gave_back(position, before)
        if position.state is PositionState.EXPOSED:
            position, unwound = self._unwind(position, deadline=deadline)
            if self._to_take_back(position):
                position, unwound = self._take_back(position), True
        return position, unwound

    def _catch_up(self, position: PositionRecord, *, grow: bool) -> tuple[PositionRecord, bool]:
        """Perhaps the venue holds less than our book, as somebody else has traded: what its rows tell of it
        is booked before a person is called, and the book as it is then brought together.
        """
        before, in_vain = Book(position.spot_owned, position.contracts), self._denied(position)
        desk, patience = self._desk, _NO_TIME if in_vain else self._desk.rules.t_hedge
        over = desk.clock.monotonic() + (_LOOKS if in_vain else _NO_TIME)
        while True:
            with desk.hurried(patience):
                read = self._resolver.catch_up()
            position = settle(desk, position.position_id)
            changed = before != Book(position.spot_owned, position.contracts)
            if changed or desk.stop.requested or desk.clock.monotonic() + _GLANCE > over:
                break
            desk.clock.sleep(_GLANCE)
        again = changed or (in_vain and read and not desk.stop.requested)
        if not again or not self._out(position):
            return position, False
        grow = grow and position.goal.growing
        deadline = self._desk.clock.monotonic() + self._desk.rules.t_hedge
        return self._bring_together(position, grow=grow, deadline=deadline)

    def _to_take_back(self, position: PositionRecord) -> bool:
        """Whether what is naked is what the last clip of an exit has given, and nothing that was taken: what
        cannot be sold (locked, or nobody takes it) is covered again, what is gone is not.
        """
        if position.state is not PositionState.EXPOSED or self._denied(position):
            return False
        if self._corrector.found_less(position) is not None:
            return False
        orders = self._desk.store.intents.of_position(position.position_id)
        found = measure(self._desk, position)
        unit = sizing.coarser_fix(found.pair, spot_price=found.spot_price, perp_price=found.perp_price)
        return given_by_a_clip(position, orders, unit=unit)

    def _denied(self, position: PositionRecord) -> bool:
        """Whether the venue has just said that what is to be reduced is not there, and these are no coins
        that somebody's order holds.
        """
        coins = Book(position.spot_owned, position.contracts).delta(position.multiplier) > ZERO
        if coins and self._corrector.found_tied(position):
            return False
        since = self._desk.clock.now() - MISS_SPAN
        orders = self._desk.store.intents.of_position(position.position_id)
        return denied_in_spite(position, orders, since=since)

    def _matched_there(self, position: PositionRecord) -> bool:
        """Whether only our book does not match: the venue holds less than it says, no row tells why yet, and
        what is there is hedged. The comparison of books and venue tells of it.
        """
        there = self._corrector.found_less(position)
        if there is None:
            return False
        with passing_over(self._desk), self._desk.hurried():  # of the other leg something may be gone, too
            tolerance = self._desk.rules.tolerance
            there = sizes_of(position, self._desk.exchange, tolerance=tolerance).really(position)
        really = replace(position, spot_owned=there.spot_owned, contracts=there.contracts)
        return measure(self._desk, really).neutral

    def _unheard(self, position: PositionRecord, first: int) -> bool:
        """Whether orders were written, from number ``first`` on, and the venue judged none of them."""
        rows = self._desk.store.intents.of_position(position.position_id)
        sent = [row for row in rows if row.seq >= first]
        return bool(sent) and not any(map(_heard, sent))

    def _taken_up(self, position: PositionRecord, first: int) -> bool:
        """Whether the venue took an order from number ``first`` on: what it refused gave nothing back."""
        rows = self._desk.store.intents.of_position(position.position_id)
        return any(row.seq >= first and row.state is not IntentState.REFUSED for row in rows)

    def saw(self, position: PositionRecord, *, gone: Decimal) -> None:
        """The wallet has just not shown so many coins of a position."""
        self._corrector.saw(position, gone=gone)

    def resolved(self, intent: IntentRecord) -> IntentRecord:
        """What became of an order in doubt; still UNCERTAIN means that the other leg has been covered."""
        return self._doubts.resolved(intent)

    def gave_back(self, position: PositionRecord, before: Book) -> bool:
        """Whether more was given back than what no order of the other leg could have hedged: that leg was
        there to be filled, and was not.
        """
        given = max(
            before.spot_owned - position.spot_owned,
            (before.contracts - position.contracts) * position.multiplier,
        )
        if position.state.final or not given:
            return position.state.final
        found = measure(self._desk, position)
        prices = {"spot_price": found.spot_price, "perp_price": found.perp_price}
        return given > sizing.coarser_fix(found.pair, **prices)

    def frame(self, pair: Pair, books: tuple[OrderBook, OrderBook]) -> sizing.Frame:
        """What quantities are judged by, from fresh books of both legs."""
        return self._corrector.frame(pair, books)

    def band(self, position: PositionRecord) -> Decimal:
        """The last rung: how far from the market the venue lets an order go, as a fraction."""
        return self._corrector.band(position)

    def _out(self, position: PositionRecord) -> bool:
        """Whether there is still something to correct and somebody may correct it."""
        if position.state.final or position.state is PositionState.UNCERTAIN:
            return False
        return not measure(self._desk, position).at_one_lot

    def _attempts(
        self, position: PositionRecord, purpose: Purpose, *, deadline: timedelta, times: int
    ) -> PositionRecord:
        """Corrections of one kind at the normal cap, until one lot is reached, the kind is of no use, or time
        is over. What was refused for the moment only is tried again within that time, ever later.
        """
        left, pause = times, _FIRST_PAUSE
        while left and self._out(position) and self._desk.clock.monotonic() < deadline:
            reached(Point.LEGS_BEFORE_TOP_UP if purpose is Purpose.TOP_UP else Point.LEGS_BEFORE_TRIM)
            step = self._correct(position, purpose, cap=self._desk.rules.limits.price_cap)
            if step is None:
                break
            position = step.position
            if purpose is Purpose.TOP_UP and not position.goal.growing:
                break  # the venue took of it while the order was in doubt
            if step.cure is Cure.WAIT:
                self._desk.clock.sleep(min(pause, max(deadline - self._desk.clock.monotonic(), _NO_TIME)))
                pause *= 2
            elif step.cure is Cure.NONE:
                break
            else:
                left -= 1
        return position

    def _correct(self, position: PositionRecord, purpose: Purpose, *, cap: Decimal) -> _Step | None:
        """One correcting order at a price cap; None if none is needed or none would help."""
        book = Book(position.spot_owned, position.contracts)
        too_much_spot = book.delta(position.multiplier) > ZERO
        leg = Leg.PERP if too_much_spot is (purpose is Purpose.TOP_UP) else Leg.SPOT
        sight = self._corrector.look(position, leg)
        order = _order(sight, book, purpose=purpose)
        if order is not None and order.leg is not leg:  # its book may be of a moment ago
            sight = self._corrector.look(position)
            order = _order(sight, book, purpose=purpose)
        if order is None:
            return None
        try:
            placed = self._corrector.send(position, order, sight=sight, purpose=purpose, cap=cap)
        except Overtaken:
            after = settle(self._desk, position.position_id)
            if purpose is Purpose.TOP_UP or not self._out(after):  # what was taken is not restored
                return _Step(after, None)
            return self._correct(after, purpose, cap=cap)
        if placed is None:
            return None
        after = settle(self._desk, position.position_id)
        if self._rests.trying(position) and not _heard(placed.intent):
            raise OutOfSight(placed.intent.message)
        if placed.uncertain:
            self._doubts.resolved(placed.intent)
            after = settle(self._desk, position.position_id)
        return _Step(after, self._corrector.cure(placed))

    def _decide_now(self, position: PositionRecord) -> None:
        """Note the mids of now in the place of those that a dead or long past plan was decided on."""
        if position.goal is Goal.HOLD:
            return
        desk = self._desk
        with passing_over(desk), desk.hurried():
            spot, perp = desk.market.books(desk.market.pair_of(position))
            desk.store.positions.update(
                position.position_id, decision_spot_mid=spot.mid, decision_perp_mid=perp.mid
            )

    def _unwind(
        self, position: PositionRecord, *, deadline: timedelta | None = None
    ) -> tuple[PositionRecord, bool]:
        """Give the excess back at ever wider caps, the last rung being the venue's band; and whether an order
        was sent for it. A refusal that no price mends ends the ladder, one that time may mend does after the
        ``deadline`` (monotonic) where a clip can be taken back instead.
        """
        reached(Point.UNWIND_BEFORE_FIRST)
        tried, pause = False, _FIRST_PAUSE
        for cap in (*self._desk.rules.unwind_caps, self.band(position)):
            step = self._correct(position, Purpose.UNWIND, cap=cap)
            if step is None:
                break
            position, tried = step.position, True
            if position.state is not PositionState.EXPOSED or step.cure is Cure.NONE:
                break
            if step.cure is Cure.WAIT:
                late = deadline is not None and self._desk.clock.monotonic() >= deadline
                if late and self._to_take_back(position):
                    break
                self._desk.clock.sleep(pause)
                pause *= 2
            reached(Point.UNWIND_BETWEEN)
        return position, tried

    def _take_back(self, position: PositionRecord) -> PositionRecord:
        """A clip of an exit of which nobody takes the second leg: what the first one gave is taken back, at
        ever wider caps, so that the rest stays hedged until the market is there again. What somebody takes
        meanwhile is not restored: the other leg follows it.
        """
        pause = _FIRST_PAUSE
        for cap in self._desk.rules.unwind_caps:
            step = self._correct(position, Purpose.TOP_UP, cap=cap)
            if step is None:
                break
            position = step.position
            if not self._to_take_back(position):
                return self._unwind(position)[0] if position.state is PositionState.EXPOSED else position
            if step.cure is Cure.NONE:
                break
            if step.cure is Cure.WAIT:
                self._desk.clock.sleep(pause)
                pause *= 2
        return position

    def _call_for_help(self, position: PositionRecord, *, seen: bool) -> None:
        """Every rung failed: a person is told, and hedging goes on. Where the venue has ``seen`` the orders
        and did not help, nothing is opened at all until somebody has looked.
        """
        message = f"{position.position_id} ({position.base}) is {position.state}: unhedged and not repaired"
        tell = halt if seen else alert_once
        tell(self._desk.store, "unhedged", subject=position.position_id, message=message)


def _heard(intent: IntentRecord) -> bool:
    """Whether the venue got an order and judged it by itself."""
    return intent.state is not IntentState.REFUSED or judged(intent.code)


def _order(sight: Sight, book: Book, *, purpose: Purpose) -> correcting.Correction | None:
    """What a correction of this kind would send by these books; None if nothing would help."""
    if purpose is Purpose.TOP_UP:
        return correcting.top_up(sight.frame, book)
    return correcting.correction(sight.frame, book, grow=False)
