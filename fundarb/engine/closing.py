"""Closing a position or a part of it: what is closed, on which mids it was decided, and the walk down.

Never held back by an entry gate: no block, limit, score or settlement window is asked. What keeps a close
from being sent is a venue that holds less than our books say for no reason that its rows tell (somebody else
traded, so our book is not the truth) or that shows a picture of the past; an emergency is held back by
neither, and no clip of it is larger for what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

from fundarb.core import minimums, sizing
from fundarb.core.market import Pair
from fundarb.core.money import ONE, ZERO
from fundarb.core.orders import Leg
from fundarb.core.position import Book
from fundarb.core.reasons import Reason, Refused
from fundarb.core.records import Goal, PositionRecord
from fundarb.core.states import PositionState
from fundarb.crash import Point
from fundarb.engine.compare import Choice
from fundarb.engine.desk import Desk
from fundarb.engine.exit_cost import exit_cost
from fundarb.engine.explain import NOTHING
from fundarb.engine.hedge import Hedger
from fundarb.engine.legs import Legs, Progress
from fundarb.engine.lifecycle import measure, prices, settle
from fundarb.engine.repair import Repair, Repairer
from fundarb.engine.shut_out import passing_over

_ONLY_WHOLE = ", or close all of it"
_UNEXPLAINED = "; --emergency closes what is there"
_LIST_AGE = timedelta(minutes=5)
"""Older instruments are read again before an exit that is in no hurry."""
_UNSAFE = frozenset({PositionState.EXPOSED, PositionState.UNCERTAIN})


@dataclass(frozen=True, slots=True)
class ClosePlan:
    """Contracts of a position to ``keep``; zero closes it."""

    position: PositionRecord
    keep: Decimal

    @property
    def goal(self) -> Goal:
        """What the position is to become."""
        return Goal.REDUCE if self.keep else Goal.CLOSE


@dataclass(frozen=True, slots=True)
class Met:
    """What meeting the venue came to: what was ``taken`` over into our books, and what stays ``strange``."""

    taken: tuple[Reason, ...] = ()
    strange: tuple[Reason, ...] = ()


class Closer:
    """Walks positions down."""

    def __init__(self, desk: Desk, *, legs: Legs, hedger: Hedger) -> None:
        """Trade on one desk."""
        self._desk = desk
        self._legs = legs
        self._hedger = hedger
        self._repairer = Repairer(desk)

    def renew(self, position: PositionRecord) -> None:
        """Steps and minimums as they are now, where the venue tells them at once."""
        with passing_over(self._desk), self._desk.hurried():
            self._desk.market.renew(position, older_than=_LIST_AGE)

    def plan(self, position: PositionRecord, fraction: Decimal) -> ClosePlan | Refused:
        """What closing ``fraction`` of a position means, or why that part cannot be closed; sends nothing.

        What would be closed, and what would stay, must be orders that the venue takes: nothing is left behind
        that could not be closed later. ``Unavailable`` if a part cannot be judged without prices.
        """
        if not ZERO < fraction <= ONE:
            return Refused((Reason("bad_fraction", "a fraction is above 0 % and at most 100 %"),))
        if fraction == ONE or not position.contracts:
            return ClosePlan(position, ZERO)
        pair = self._desk.market.pair_of(position)
        keep = sizing.keep_contracts(pair, position.contracts, fraction=fraction)
        if keep == position.contracts:
            return Refused((Reason("fraction_too_small", "it is less than one step of the perp"),))
        spot, perp = prices(self._desk, position)
        frame = sizing.Frame(pair=pair, spot_price=spot, perp_price=perp)
        book, fall = Book(position.spot_owned, position.contracts), self._desk.rules.limits.collar
        reasons = minimums.part_reasons(frame, book, keep=keep, fall=fall)
        return Refused(reasons) if reasons else ClosePlan(position, keep)

    def meet(self, position: PositionRecord, *, whole: bool) -> Met:
        """Bring our book to what the venue holds before anything is closed; ``Unavailable`` if it cannot be
        read.

        What the venue did by itself is booked. Whoever closes the ``whole`` position has answered what is to
        become of a leg that was closed by hand, too: the fills and coins that went are booked as the venue's
        rows tell of them, and the other leg follows. What no row explains stays strange.
        """
        if not self._legs.notes(position):
            return Met()
        self._legs.catch_up()
        taken = self._take_over(position.position_id) if whole else ()
        if taken:
            settle(self._desk, position.position_id)
        position = self._desk.store.positions.get(position.position_id)
        left = () if position.state.final else self._legs.notes(position)
        way = _UNEXPLAINED if whole else _ONLY_WHOLE
        return Met(
            tuple(Reason("taken_over", repair.action) for repair in taken),
            tuple(Reason(item.code, f"{item.message}{way}") for item in left),
        )

    def _take_over(self, position_id: str) -> tuple[Repair, ...]:
        """Book what others did to a position, as far as the venue's rows explain it."""
        why = self._repairer.explain_now().get(position_id)
        return () if why is None else self._repairer.book_known({position_id: why}, policy=Choice.UNWIND)

    def decide(self, plan: ClosePlan) -> None:
        """Note goal, target and the mids of now, against which the slippage of this close is measured."""
        desk, position = self._desk, plan.position
        with passing_over(desk), desk.hurried(desk.rules.t_hedge):
            desk.market.refresh()
        if None in desk.market.mids(position):
            with passing_over(desk):
                desk.market.books(desk.market.pair_of(position))
        spot, perp = desk.market.mids(position)
        with desk.store.transaction(before=Point.POSITION_BEFORE_COMMIT, after=Point.POSITION_AFTER_COMMIT):
            desk.store.positions.update(
                position.position_id,
                goal=plan.goal,
                target_contracts=plan.keep,
                decision_spot_mid=spot or ZERO,
                decision_perp_mid=perp or ZERO,
            )

    def costs(self, position: PositionRecord) -> tuple[Reason, ...]:
        """What the basis of now costs, where it is worth a word; nothing where it cannot be read."""
        with passing_over(self._desk), self._desk.hurried():
            cost = exit_cost(self._desk, position)
            if cost is not None and cost.bad:
                return (cost.reason,)
        return ()

    def walk(self, plan: ClosePlan, *, emergency: bool) -> Callable[[], Progress]:
        """The way down as something that is still to be done: first the legs are brought together, then both
        shrink. An emergency goes on at the venue's band where its first, wider cap was not enough.
        """
        position_id = plan.position.position_id

        def down() -> Progress:
            now = self._desk.store.positions.get(position_id)
            if now.state in _UNSAFE:
                now = self._hedger.repair(position_id, grow=False)
            if now.state is PositionState.EXPOSED and emergency:
                now = self._rest_of_an_orphans(now)
            if now.state is PositionState.UNCERTAIN:
                return Progress(uncertain=True)
            if now.state is PositionState.EXPOSED and not emergency:
                return Progress([Reason("unhedged", f"{now.base} is {now.state}")])
            progress = Progress()
            for number, cap in enumerate(self._caps(now, emergency=emergency)):
                # no wider cap mends what the hedger could not; a clip of what is there always goes
                if now.state.final or (number and now.state in _UNSAFE):
                    break
                progress = self._exit(plan, cap=cap, emergency=emergency)
                now = self._desk.store.positions.get(position_id)
                if not progress.stopped or progress.uncertain or self._desk.stop.requested:
                    break
            return progress

        return down

    def _exit(self, plan: ClosePlan, *, cap: Decimal, emergency: bool) -> Progress:
        """Both legs down at one price cap; where somebody was faster, what went is booked, and the walk goes
        on with the rest.
        """
        position_id, positions = plan.position.position_id, self._desk.store.positions
        clip = self._clip(positions.get(position_id))
        progress = self._legs.exit(position_id, plan.keep, clip=clip, cap=cap, urgent=emergency)
        if not progress.stopped or progress.uncertain or self._desk.stop.requested:
            return progress
        if not self._legs.overtaken(position_id):
            return progress
        if positions.get(position_id).state.final:
            return Progress()
        return self._legs.exit(position_id, plan.keep, clip=clip, cap=cap, urgent=emergency)

    def _rest_of_an_orphans(self, position: PositionRecord) -> PositionRecord:
        """In an emergency a book that is exposed may be so only because half of an orphan's trade is in it:
        whoever answered that half has answered the other, and the venue is less naked than the book says. It
        is that only where the other half brings the legs nearer together.
        """
        ident, unwind = position.position_id, Choice.UNWIND
        with passing_over(self._desk), self._desk.hurried():
            why = self._repairer.explain_now().get(ident, NOTHING)
            whole = replace(position, contracts=position.contracts - why.closed)
            before, after = (abs(measure(self._desk, one).delta) for one in (position, whole))
            if why.orphaned and after < before:
                self._repairer.answered(ident, why, leg=Leg.PERP, choice=unwind)
                self._hedger.repair(ident, grow=False)
        return self._desk.store.positions.get(ident)

    def finish(self, position_id: str) -> PositionRecord:
        """What can be done for a position with an order in doubt, and what it is then."""
        return self._hedger.repair(settle(self._desk, position_id).position_id, grow=False)

    def _caps(self, position: PositionRecord, *, emergency: bool) -> tuple[Decimal, ...]:
        rules = self._desk.rules
        if not emergency:
            return (rules.limits.price_cap,)
        return rules.unwind_caps[-1], self._hedger.band(position)

    def _clip(self, position: PositionRecord) -> Decimal:
        """The most contracts of one clip of an exit, worth at most ``max_clip`` on either leg."""
        pair: Pair = self._desk.market.pair_of(position)
        spot, perp = prices(self._desk, position)
        frame = sizing.Frame(pair=pair, spot_price=spot, perp_price=perp)
        return max(sizing.clip_contracts(frame, self._desk.rules.limits.max_clip), pair.perp.qty_step)
