"""What both directions of a walk share: one clip's view of the market, sending its orders, waiting out
doubts, correcting what is left.

Never more than one clip is unhedged: whoever sends the first leg of a clip comes here for the second and for
the correction, whatever a read in between said. Nothing here decides how far a walk goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

from fundarb.core import minimums, sizing
from fundarb.core.freshness import frozen
from fundarb.core.market import Book as OrderBook
from fundarb.core.market import Instrument, Pair
from fundarb.core.money import ZERO, plain
from fundarb.core.orders import Leg, Purpose, Side
from fundarb.core.position import Book
from fundarb.core.reasons import Reason, Refused
from fundarb.core.records import PositionRecord
from fundarb.core.refusals import Cure, cure
from fundarb.core.states import IntentState, PositionState
from fundarb.engine.desk import Desk
from fundarb.engine.guard import Draft
from fundarb.engine.hedge import Hedger
from fundarb.engine.lifecycle import measure, settle
from fundarb.engine.orders import OrderDesk, Placed, wire_reason
from fundarb.engine.resolve import Resolver
from fundarb.engine.shut_out import met, passing_over
from fundarb.errors import Unavailable

NOTHING_TO_SEND = "nothing_to_send"
INTERRUPTED = "interrupted"
TAKEN_BACK = "taken_back"
_MOMENT = timedelta(seconds=1)


@dataclass(slots=True)
class Progress:
    """How far a walk through the clips came; ``reasons`` say why it stopped early, empty when it did not.

    ``notes`` join the reasons if it did: what was seen on the way and did not stop it. ``too_small`` says
    which legs of the last clip of an exit were no order that the venue takes, ``waited`` what the walk last
    waited for in order to try again. ``naked_since``
    (monotonic) is when the first leg of the clip under way had traded, or a doubt about it ended: from then
    on a shortfall is known. ``seen`` (monotonic) is when an entry last found at the venue what it had built.
    """

    reasons: list[Reason] = field(default_factory=list)
    notes: list[Reason] = field(default_factory=list)
    too_small: list[Reason] = field(default_factory=list)
    waited: list[Reason] = field(default_factory=list)
    uncertain: bool = False
    naked_since: timedelta | None = None
    seen: timedelta | None = None

    @property
    def stopped(self) -> bool:
        """Whether the target was not reached."""
        return bool(self.reasons) or self.uncertain


@dataclass(frozen=True, slots=True)
class Scene:
    """One clip's view: pair, fresh books, what quantities are judged by, and the price cap."""

    pair: Pair
    spot: OrderBook
    perp: OrderBook
    frame: sizing.Frame
    cap: Decimal

    def instrument(self, leg: Leg) -> Instrument:
        """What this leg trades."""
        return self.pair.spot if leg is Leg.SPOT else self.pair.perp

    def best(self, leg: Leg, side: Side) -> Decimal:
        """The best price that an order of this leg and side finds."""
        return sizing.side_levels(self.spot if leg is Leg.SPOT else self.perp, side)[0].price

    def limit(self, leg: Leg, side: Side) -> Decimal:
        """The worst price for an order of this leg and side."""
        instrument = self.instrument(leg)
        cap = sizing.within_band(self.cap, instrument)
        return sizing.cap_price(self.best(leg, side), cap, side=side, tick=instrument.tick_size)

    def thin(self, *, opening: bool) -> Leg:
        """The leg with less depth at the cap, in the direction of the walk."""
        spot_side, perp_side = (Side.BUY, Side.SELL) if opening else (Side.SELL, Side.BUY)
        return sizing.thin_leg(
            self.pair,
            spot_depth=sizing.depth_for(self.spot, spot_side, cap=self.limit(Leg.SPOT, spot_side)),
            perp_depth=sizing.depth_for(self.perp, perp_side, cap=self.limit(Leg.PERP, perp_side)),
            fee=self.frame.fee,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An order of a clip: what it is for and how much; the price is the scene's."""

    leg: Leg
    side: Side
    quantity: Decimal
    purpose: Purpose


class ClipDesk:
    """Sends the orders of clips."""

    def __init__(self, desk: Desk, *, hedger: Hedger, resolver: Resolver) -> None:
        """Send through one desk; leave shortfalls to the hedger and doubts to the resolver."""
        self.desk = desk
        self.resolver = resolver
        self._orders = OrderDesk(desk)
        self._hedger = hedger
        self._last: Placed | None = None

    def scene(self, position: PositionRecord, cap: Decimal) -> Scene:
        """Fresh books of both legs; ``Unavailable`` if one is crossed, empty or cannot be read."""
        pair = self.desk.market.pair_of(position)
        books = self.desk.market.books(pair)
        return Scene(pair, *books, self._hedger.frame(pair, books), cap)

    def still(self, scene: Scene) -> tuple[Reason, ...]:
        """Books that stand still: nothing is decided on them."""
        return frozen(scene.spot, scene.perp, now=self.desk.exchange.stamp())

    def seen(self, scene: Scene) -> tuple[Reason, ...]:
        """The same for an exit: a reduction is not held back by them, as its price is capped, but whoever
        asks why it came to nothing is told.
        """
        found: list[Reason] = []
        with passing_over(self.desk):
            found += self.still(scene)
        return tuple(found)

    def again(self, position: PositionRecord, scene: Scene) -> Scene:
        """The same clip after a wait: prices of before say little. The old view where there is no newer
        one.
        """
        try:
            return self.scene(position, scene.cap)
        except Unavailable as error:
            met(self.desk, error)
            return scene

    def send(self, position: PositionRecord, wanted: Wanted, *, scene: Scene) -> Placed | Refused:
        """Send one order of a clip and follow it to its end; ``Refused`` if it is too small or a rule forbids
        it.
        """
        leg, side = wanted.leg, wanted.side
        instrument, limit, best = scene.instrument(leg), scene.limit(leg, side), scene.best(leg, side)
        least = sizing.min_quantity(instrument, limit if side is Side.BUY else best)
        if wanted.quantity <= ZERO or (wanted.quantity < least and leg is Leg.SPOT):
            message = (
                f"{plain(wanted.quantity)} {instrument.symbol} is below the smallest order of {plain(least)}"
            )
            return Refused((Reason(NOTHING_TO_SEND, message),))
        quantity = min(wanted.quantity, instrument.max_limit_qty)
        if leg is Leg.SPOT:
            limit = minimums.worthwhile(instrument, side=side, quantity=quantity, best=best, limit=limit)
        placed = self._orders.place(
            Draft(
                position=position,
                leg=leg,
                purpose=wanted.purpose,
                side=side,
                quantity=quantity,
                limit_price=limit,
                reduce_only=leg is Leg.PERP and side is Side.BUY,
            )
        )
        self._last = placed if isinstance(placed, Placed) else None
        return placed

    def resolved(self, placed: Placed, progress: Progress) -> Placed:
        """What an uncertain order turned out to be, within the time that an uncertain leg is allowed.

        Still UNCERTAIN: the walk is over, the alert is raised, and the other leg was reduced to what the
        venue holds.
        """
        settle(self.desk, placed.intent.position_id)
        found = Placed(self._hedger.resolved(placed.intent))
        progress.naked_since = self.desk.clock.monotonic()
        if found.uncertain:
            progress.uncertain = True
            message = f"{found.intent.link_id} may or may not exist: {found.intent.message or 'no answer'}"
            progress.reasons.append(Reason("uncertain_order", message))
            if self.desk.stop.requested:
                text = "stopped on request; the next start finds out what became of the order"
                progress.reasons.append(Reason(INTERRUPTED, text))
        return found

    def correct(
        self, position_id: str, progress: Progress, *, grow: bool, why: Iterable[Reason] = ()
    ) -> None:
        """Within one lot the clip is done; else the hedger corrects, and the walk stops if that did not work.

        ``why`` is what the second leg's order said; it joins the reasons where the clip came to nothing.
        """
        if progress.uncertain:
            return
        position = self.desk.store.positions.get(position_id)
        if measure(self.desk, position).at_one_lot:
            settle(self.desk, position_id)
            return
        before = Book(position.spot_owned, position.contracts)
        position = self._hedger.repair(position_id, grow=grow, since=progress.naked_since)
        final = _final_reason(position, grow=grow)
        if final is None and grow and self._hedger.gave_back(position, before):
            final = Reason(
                "given_back", f"{position.base}: the other leg did not fill; its share was given back"
            )
        if final is None and not grow and self._grew(position, before):
            text = f"{position.base}: the other leg did not fill; what this clip gave was taken back"
            final = Reason(TAKEN_BACK, text)
        if final is None and not position.state.final and not measure(self.desk, position).at_one_lot:
            final = Reason("partly_hedged", f"{position.base}: corrected to the drift limit only")
        if final is not None:
            progress.uncertain = position.state is PositionState.UNCERTAIN
            progress.reasons += [*why, final]

    def _grew(self, position: PositionRecord, before: Book) -> bool:
        """Whether a leg is larger than before, and not only by what a fine leg corrects of a coarse one."""
        pair = self.desk.market.pair_of(position)
        unit = max(pair.spot.qty_step, pair.perp.qty_step * position.multiplier)
        return (
            position.spot_owned - before.spot_owned >= unit
            or (position.contracts - before.contracts) * position.multiplier >= unit
        )

    def cured(self, progress: Progress) -> bool:
        """Whether the last order was refused for a reason that a moment's wait or a look at the venue's list
        may have ended by now: then the walk tries again.
        """
        last, self._last = self._last, None
        if last is None or progress.uncertain or last.intent.state is not IntentState.REFUSED:
            return False
        found = cure(last.intent.code)
        if found is Cure.WAIT:
            self.desk.clock.sleep(_MOMENT)
        elif found is Cure.RELIST:
            with passing_over(self.desk):
                self.desk.market.instruments(refresh=True)
        else:
            return False
        progress.waited[:] = progress.reasons
        progress.reasons.clear()
        return True

    def interrupted(self, progress: Progress) -> bool:
        """Whether somebody wants the process to end: no further clip is begun."""
        if self.desk.stop.requested and not progress.stopped:
            progress.reasons.append(Reason(INTERRUPTED, "stopped on request; no further order was begun"))
        return self.desk.stop.requested

    def goes_on(self, position_id: str, progress: Progress) -> bool:
        """Whether the walk may begin another clip."""
        state = self.desk.store.positions.get(position_id).state
        if progress.stopped or state is PositionState.EXPOSED or state.final:
            return False
        progress.uncertain = state is PositionState.UNCERTAIN
        return not progress.uncertain and not self.interrupted(progress)


def why_not(outcome: Placed | Refused | None) -> tuple[Reason, ...]:
    """What an order that did not do its work says about it; empty if it traded."""
    if outcome is None:
        return ()
    if isinstance(outcome, Refused):
        return outcome.reasons
    return () if outcome.filled else (wire_reason(outcome),)


def nothing_to_send(outcome: Placed | Refused) -> bool:
    """Whether an order was not sent because there was nothing to send."""
    return isinstance(outcome, Refused) and outcome.reasons[0].code == NOTHING_TO_SEND


def _final_reason(position: PositionRecord, *, grow: bool) -> Reason | None:
    """Why a correction left the position where the walk cannot go on."""
    if position.state is PositionState.EXPOSED:
        return Reason("unhedged", f"{position.base}: one leg could not be hedged")
    if position.state is PositionState.UNCERTAIN:
        return Reason("uncertain_order", f"{position.base}: an order of the correction may or may not exist")
    if position.state.final and grow:
        return Reason("unwound", f"{position.base}: given back, as the other leg did not fill")
    return None
