"""Moving a position to a target in clips: thin leg first, the other leg sized to what the first really did.

Never more than one clip is unhedged. The second leg is sized from executions, net of fees, not from
acknowledgements; what then is still missing goes to the hedger. An entry stops at the first clip that does
not work; closing and hedging are never held back by an entry gate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from fundarb.core import minimums, sizing
from fundarb.core.freshness import implausible
from fundarb.core.money import ZERO, plain
from fundarb.core.orders import Leg, Purpose, Side
from fundarb.core.position import Book
from fundarb.core.reasons import Reason, Refused
from fundarb.core.records import PositionRecord
from fundarb.core.refusals import NOT_THERE
from fundarb.core.states import IntentState, PositionState
from fundarb.crash import Point, reached
from fundarb.engine.between import Between
from fundarb.engine.clips import ClipDesk, Progress, Scene, Wanted, nothing_to_send, why_not
from fundarb.engine.desk import Desk
from fundarb.engine.exit_goals import (
    below_step,
    coverable,
    first_leg,
    first_quantity,
    next_goal,
    second_quantity,
    standing,
    targets,
    tied_contracts,
    tied_up,
    what_is_left,
)
from fundarb.engine.given import stubborn
from fundarb.engine.hedge import Hedger
from fundarb.engine.lifecycle import measure
from fundarb.engine.orders import Placed
from fundarb.engine.resolve import Resolver
from fundarb.engine.shut_out import unread
from fundarb.engine.sizes import Sizes
from fundarb.errors import Unavailable

__all__ = ["Legs", "Progress"]

_ABSENT_TRIES = 2
_LOOKS = 3
"""The venue has no position to reduce: somebody was faster, and what the venue did is read before going
on.
"""


class Legs:
    """Walks one position through clips."""

    def __init__(self, desk: Desk, *, hedger: Hedger, resolver: Resolver) -> None:
        """Send through one desk; leave shortfalls to the hedger and doubts to the resolver."""
        self._desk = desk
        self._clips = ClipDesk(desk, hedger=hedger, resolver=resolver)
        self._between = Between(desk, hedger=hedger, resolver=resolver)

    # ------------------------------------------------------------------------------------------ growing

    def enter(self, position_id: str, targets: Iterable[Decimal]) -> Progress:
        """Grow to each cumulative contract target in turn."""
        progress = Progress()
        self._between.begin()
        for target in targets:
            self._reach(position_id, target, progress=progress)
            if not self._clips.goes_on(position_id, progress):
                break
        return progress

    def _reach(self, position_id: str, target: Decimal, *, progress: Progress) -> None:
        """One clip's target; tried again, within bounds, after an order that never existed and after a fill
        in part, so that a later clip never carries what an earlier one left.
        """
        absent = 0
        for _ in range(1 + self._desk.rules.top_ups):
            if not self._enter_clip(position_id, target, progress=progress):
                absent += 1
                if _given_up(absent, progress):
                    return
                continue
            if self._reached(position_id, target) or not self._clips.goes_on(position_id, progress):
                return
        position = self._desk.store.positions.get(position_id)
        message = f"{plain(position.contracts)} of {plain(target)} {position.perp_symbol} are short"
        progress.reasons.append(Reason("partly_filled", message))

    def _reached(self, position_id: str, target: Decimal) -> bool:
        """Whether what is missing of the target makes no order that the venue takes on both legs."""
        position = self._desk.store.positions.get(position_id)
        missing = target - position.contracts
        return missing <= ZERO or not self._tradable(position, missing)

    def _tradable(self, position: PositionRecord, contracts: Decimal) -> bool:
        """Whether so many contracts, with their coins, make an order that the venue takes on both legs."""
        found = measure(self._desk, position)
        frame = sizing.Frame(pair=found.pair, spot_price=found.spot_price, perp_price=found.perp_price)
        return minimums.tradable(frame, contracts)

    def _enter_clip(self, position_id: str, target: Decimal, *, progress: Progress) -> bool:
        """One clip of an entry; False if its first order turned out never to have existed, so that it may be
        tried again.
        """
        get = self._desk.store.positions.get
        scene = self._entry_scene(get(position_id), progress)
        if scene is None:
            return True
        position, first = get(position_id), scene.thin(opening=True)
        placed = self._send_growth(position, target, leg=first, scene=scene)
        if isinstance(placed, Placed) and placed.uncertain:
            placed = self._clips.resolved(placed, progress)
            if placed.uncertain:
                return True
            if placed.intent.state is IntentState.ABSENT:
                return False
            scene = self._clips.again(position, scene)
        if isinstance(placed, Refused) or not placed.filled:
            progress.reasons += why_not(placed)
            return True
        self._hedge_growth(position_id, first.other, scene=scene, progress=progress)
        return True

    def _entry_scene(self, position: PositionRecord, progress: Progress) -> Scene | None:
        """The market as an entry clip finds it; None, with the reasons, if no clip may begin."""
        try:
            if not self._between.may_grow(position, progress):
                return None
            scene = self._books_in_time(position, progress)
        except Unavailable as error:
            progress.reasons.append(unread(self._desk, error))
            return None
        progress.reasons += self._against_entry(scene)
        if not progress.reasons:
            self._between.turned(self._desk.store.positions.get(position.position_id), progress)
        return None if progress.reasons or self._clips.interrupted(progress) else scene

    def _books_in_time(self, position: PositionRecord, progress: Progress) -> Scene:
        """The market as an entry clip finds it, outside the window of a settlement even after books that
        were slow to come.
        """
        desk = self._desk
        for _ in range(_LOOKS):
            self._between.wait_for_window(position, progress)
            desk.market.at_most(desk.rules.limits.max_quote_age / 2)
            scene = self._clips.scene(position, desk.rules.limits.price_cap)
            if desk.stop.requested or progress.reasons or not self._between.window(position):
                return scene
        raise Unavailable(f"{position.perp_symbol}: the books came too late before a settlement")

    def _against_entry(self, scene: Scene) -> tuple[Reason, ...]:
        """Books from which no entry may be decided: they stand still, or are of two moments."""
        limits, pair = self._desk.rules.limits, scene.pair
        basis = implausible(scene.spot, scene.perp, multiplier=pair.multiplier, collar=limits.collar)
        return (*self._clips.still(scene), *basis)

    def _hedge_growth(self, position_id: str, leg: Leg, *, scene: Scene, progress: Progress) -> None:
        """The second leg of an entry clip, then whatever is still missing. Where the venue took of the
        position while the first leg was in doubt, that one is given back instead.
        """
        reached(Point.LEGS_BETWEEN)
        progress.naked_since = self._desk.clock.monotonic()
        position = self._desk.store.positions.get(position_id)
        placed: Placed | Refused | None = None
        if not self._between.turned(position, progress):
            placed = self._send_growth(position, position.contracts, leg=leg, scene=scene)
        if isinstance(placed, Placed) and placed.uncertain:
            placed = self._clips.resolved(placed, progress)
        self._clips.correct(position_id, progress, grow=True, why=why_not(placed))

    def _send_growth(
        self, position: PositionRecord, target: Decimal, *, leg: Leg, scene: Scene
    ) -> Placed | Refused:
        """Grow one leg: the first to the clip's target, the second to what the first really delivered."""
        book = Book(position.spot_owned, position.contracts)
        if leg is Leg.SPOT:
            quantity = sizing.spot_buy_quantity(
                scene.pair, target, owned=book.spot_owned, fee=scene.frame.fee
            )
        elif target > book.contracts:
            quantity = target - book.contracts
        else:
            quantity = sizing.hedge_contracts(scene.pair, book)
        side = Side.BUY if leg is Leg.SPOT else Side.SELL
        wanted = Wanted(leg=leg, side=side, quantity=quantity, purpose=Purpose.ENTER)
        return self._clips.send(position, wanted, scene=scene)

    # ----------------------------------------------------------------------------------------- shrinking

    def exit(
        self, position_id: str, keep: Decimal, *, clip: Decimal, cap: Decimal, urgent: bool = False
    ) -> Progress:
        """Shrink to ``keep`` contracts (zero closes) in even steps of at most ``clip`` contracts, at a price
        cap (fraction); a step that filled in part is continued within bounds, one whose order never existed
        is tried again. ``urgent``: even where the venue's sizes cannot be read.
        """
        progress, absent = Progress(), 0
        self._between.begin()
        position = self._desk.store.positions.get(position_id)
        pair = self._desk.market.pair_of(position)
        tries = len(targets(pair, position, keep=keep, clip=clip)) + self._desk.rules.top_ups
        for _ in range(tries):
            sizes = self._stand(position_id, urgent=urgent, progress=progress)
            position = self._desk.store.positions.get(position_id)
            if sizes is None:
                break
            before = (position.contracts, position.spot_owned)
            scene = self._exit_scene(position, keep, cap=cap, progress=progress)
            if scene is not None:
                here = standing(pair, position, sizes=sizes)
                goal = next_goal(scene.frame, here, keep=keep, clip=clip)
                if not self._exit_clip(position, goal, scene=scene, sizes=sizes, progress=progress):
                    absent += 1
                    if _given_up(absent, progress):
                        break
                    continue
            position = self._desk.store.positions.get(position_id)
            stuck = (position.contracts, position.spot_owned) == before
            if stuck and scene is not None and self._clips.cured(progress):
                continue
            progress.waited.clear()
            if stuck or self._arrived(position, keep) or not self._clips.goes_on(position_id, progress):
                break
        if self._arrived(position, keep):
            self._clips.interrupted(progress)
        elif not progress.stopped:
            progress.reasons += [what_is_left(position, keep), *progress.waited, *progress.too_small]
        return progress

    def _arrived(self, position: PositionRecord, keep: Decimal) -> bool:
        """Whether an exit is where it was to go: nothing left, or no more contracts than are kept, but for
        what makes no order.
        """
        over = position.contracts - keep
        return position.state.final or (keep > ZERO and (over <= ZERO or not self._tradable(position, over)))

    def notes(self, position: PositionRecord) -> tuple[Reason, ...]:
        """Where the venue holds less of a position than our books say; ``Unavailable`` if it cannot be
        read.
        """
        return tuple(self._between.sizes(position).notes(position))

    def catch_up(self) -> None:
        """Book what the venue did to the account by itself, if it can be read now."""
        self._clips.resolver.catch_up()

    def overtaken(self, position_id: str) -> bool:
        """Whether somebody took what our book still had; it is booked, and the legs are brought together."""
        return self._between.overtaken(position_id)

    def _stand(self, position_id: str, *, urgent: bool, progress: Progress) -> Sizes | None:
        """What the venue holds before a clip of an exit, what was taken being booked and followed unless it
        is urgent; None where no clip may begin: the process is to end, nothing is left, an order is in doubt,
        or what is there cannot be read, was not followed, or is less than our books say and no row tells why.
        """
        if self._clips.interrupted(progress):
            return None
        if urgent:
            position = self._desk.store.positions.get(position_id)
            progress.uncertain = position.state is PositionState.UNCERTAIN  # since a correction
            if progress.uncertain or position.state.final:
                return None
            return self._between.urgently(position, progress)
        try:
            sizes = self._between.stand(position_id)
        except Unavailable as error:
            progress.reasons.append(unread(self._desk, error))
            return None
        if not self._clips.goes_on(position_id, progress):
            return None
        strange = [] if sizes.told else sizes.notes(self._desk.store.positions.get(position_id))
        progress.reasons += strange
        return None if strange else sizes

    def _exit_scene(
        self, position: PositionRecord, keep: Decimal, *, cap: Decimal, progress: Progress
    ) -> Scene | None:
        """The market as a clip of an exit finds it; None, with the reasons, if there is nothing to be sold or
        it cannot be seen.
        """
        left = below_step(self._desk.market.pair_of(position), position, keep=keep)
        if left is not None:
            progress.reasons.append(left)
            return None
        try:
            return self._clips.scene(position, cap)
        except Unavailable as error:
            progress.reasons.append(unread(self._desk, error))
            return None

    def _exit_clip(
        self, position: PositionRecord, keep: Decimal, *, scene: Scene, sizes: Sizes, progress: Progress
    ) -> bool:
        """One clip of an exit by what the venue holds, clamped down, never up: the short of coins that cannot
        be sold stays, one whose coins are gone does not. False if its first order turned out never to have
        existed, so that it may be tried again.
        """
        position_id = position.position_id
        progress.notes[:] = [*sizes.notes(position), *self._clips.seen(scene)]
        tied = tied_contracts(scene.pair, sizes.tied_up(position))
        keep = coverable(scene.pair, position, sizes=sizes, keep=max(keep, tied))
        orders = self._desk.store.intents.of_position(position_id)
        usual = stubborn(orders) or scene.thin(opening=False)
        first = first_leg(position, sizes=sizes, otherwise=usual)
        quantity = first_quantity(scene.pair, position, leg=first, keep=keep, sizes=sizes)
        placed = self._reduce(position, quantity, leg=first, scene=scene)
        if isinstance(placed, Placed):
            doubted = placed.uncertain
            placed = self._clips.resolved(placed, progress) if doubted else placed
            if placed.uncertain:
                return True
            if placed.intent.state is IntentState.ABSENT:
                return False
            sizes = sizes.after(first, placed.filled)
            position = self._desk.store.positions.get(position_id)
            if doubted:  # half a minute: prices and sizes of before say little
                scene = self._clips.again(position, scene)
                sizes = self._between.seen(position) or sizes
                progress.notes[:] = [*sizes.notes(position), *self._clips.seen(scene)]
        if not nothing_to_send(placed) and (isinstance(placed, Refused) or not placed.filled):
            progress.reasons += why_not(placed)
            if self._nothing_there(placed):
                self._clips.correct(position_id, progress, grow=False)
            return True
        reached(Point.LEGS_BETWEEN)
        progress.naked_since = self._desk.clock.monotonic()
        frame = replace(scene.frame, spot_price=scene.best(Leg.SPOT, Side.SELL))
        quantity = second_quantity(frame, position, leg=first.other, keep=keep, sizes=sizes)
        second = self._reduce(position, quantity, leg=first.other, scene=scene)
        progress.too_small[:] = [*tied_up(position, tied), *_too_small(placed), *_too_small(second)]
        if isinstance(second, Placed) and second.uncertain:
            second = self._clips.resolved(second, progress)
        self._nothing_there(second)
        self._clips.correct(position_id, progress, grow=False, why=why_not(second))
        return True

    def _nothing_there(self, outcome: Placed | Refused) -> bool:
        """Whether the venue had nothing to reduce; what it did to the position is booked before going on."""
        if isinstance(outcome, Refused) or outcome.intent.code not in NOT_THERE:
            return False
        self._clips.resolver.catch_up()
        return True

    def _reduce(
        self, position: PositionRecord, quantity: Decimal, *, leg: Leg, scene: Scene
    ) -> Placed | Refused:
        """Shrink one leg."""
        side = Side.SELL if leg is Leg.SPOT else Side.BUY
        wanted = Wanted(leg=leg, side=side, quantity=quantity, purpose=Purpose.EXIT)
        return self._clips.send(position, wanted, scene=scene)


def _too_small(outcome: Placed | Refused) -> tuple[Reason, ...]:
    """Why a leg of a clip was no order."""
    return why_not(outcome) if nothing_to_send(outcome) else ()


def _given_up(absent: int, progress: Progress) -> bool:
    """Whether a clip's first order did not exist too often; the walk then says so."""
    if absent < _ABSENT_TRIES:
        return False
    progress.reasons.append(Reason("order_absent", "the venue twice never had the order"))
    return True
