"""Moving a position to a target in clips: thin leg first, the other leg sized to what the first really did.

Never more than one clip is unhedged. The second leg is sized from executions, net of fees, not from
acknowledgements; what then is still missing goes to the hedger. An entry stops at the first clip that does
not work; closing and hedging are never held back by an entry gate.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from fundarb.core import minimums, sizing
from fundarb.core.freshness import implausible
from fundarb.core.money import ZERO, plain
from fundarb.core.orders import Leg, Purpose, Side
from fundarb.core.position import Book
from fundarb.core.reasons import Reason, Refused
from fundarb.core.records import PositionRecord
from fundarb.core.states import IntentState
from fundarb.crash import Point, reached
from fundarb.engine.between import Between
from fundarb.engine.clips import TAKEN_BACK, ClipDesk, Progress, Scene, Wanted, nothing_to_send, why_not
from fundarb.engine.desk import Desk
from fundarb.engine.exit_goals import (
    arrived,
    below_step,
    next_goal,
    targets,
    tied_contracts,
    tied_up,
    what_is_left,
)
from fundarb.engine.hedge import Hedger
from fundarb.engine.lifecycle import measure
from fundarb.engine.orders import Placed
from fundarb.engine.resolve import Resolver
from fundarb.engine.shut_out import met, unread
from fundarb.engine.sizes import Sizes, as_booked, sizes_of
from fundarb.errors import Unavailable

__all__ = ["Legs", "Progress"]

_ABSENT_TRIES = 2
_LOOKS = 3
_NOTHING_OPEN = frozenset({110017})
"""The venue has no position to reduce: somebody was faster, and what the venue did is read before going
on.
"""


class Legs:
    """Walks one position through clips."""

    def __init__(self, desk: Desk, *, hedger: Hedger, resolver: Resolver) -> None:
        """Send through one desk; leave shortfalls to the hedger and doubts to the resolver."""
        self._desk = desk
        self._clips = ClipDesk(desk, hedger=hedger, resolver=resolver)
        self._between = Between(desk, resolver=resolver)
        self._stubborn: dict[
            str, Leg
        ] = {}  # the leg that nobody took of late goes first: nothing is naked then

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
        if missing <= ZERO:
            return True
        found = measure(self._desk, position)
        frame = sizing.Frame(pair=found.pair, spot_price=found.spot_price, perp_price=found.perp_price)
        return not minimums.tradable(frame, missing)

    def _enter_clip(self, position_id: str, target: Decimal, *, progress: Progress) -> bool:
        """One clip of an entry; False if its first order turned out never to have existed, so that it may be
        tried again.
        """
        desk = self._desk
        position = desk.store.positions.get(position_id)
        scene = self._entry_scene(position, progress)
        if scene is None:
            return True
        first = scene.thin(opening=True)
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
            scene = self._books_in_time(position)
        except Unavailable as error:
            progress.reasons.append(unread(self._desk, error))
            return None
        progress.reasons += self._against_entry(scene)
        return None if progress.reasons or self._clips.interrupted(progress) else scene

    def _books_in_time(self, position: PositionRecord) -> Scene:
        """The market as an entry clip finds it, outside the window of a settlement even after books that
        were slow to come.
        """
        desk = self._desk
        for _ in range(_LOOKS):
            self._between.wait_for_window(position)
            desk.market.at_most(desk.rules.limits.max_quote_age / 2)
            scene = self._clips.scene(position, desk.rules.limits.price_cap)
            if desk.stop.requested or not self._between.window(position):
                return scene
        raise Unavailable(f"{position.perp_symbol}: the books came too late before a settlement")

    def _against_entry(self, scene: Scene) -> tuple[Reason, ...]:
        """Books from which no entry may be decided: they stand still, or are of two moments."""
        limits, pair = self._desk.rules.limits, scene.pair
        basis = implausible(scene.spot, scene.perp, multiplier=pair.multiplier, collar=limits.collar)
        return (*self._clips.still(scene), *basis)

    def _hedge_growth(self, position_id: str, leg: Leg, *, scene: Scene, progress: Progress) -> None:
        """The second leg of an entry clip, then whatever is still missing."""
        reached(Point.LEGS_BETWEEN)
        progress.naked_since = self._desk.clock.monotonic()
        position = self._desk.store.positions.get(position_id)
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
        is tried again. ``urgent``: even on books that stand still, and without the venue's sizes.
        """
        progress, absent = Progress(), 0
        self._between.begin()
        position = self._desk.store.positions.get(position_id)
        pair = self._desk.market.pair_of(position)
        tries = len(targets(pair, position, keep=keep, clip=clip)) + self._desk.rules.top_ups
        for _ in range(tries):
            if self._clips.interrupted(progress):
                break
            if not urgent:
                self._between.others(position_id)
            before = (position.contracts, position.spot_owned)
            scene = self._exit_scene(position, keep, cap=cap, urgent=urgent, progress=progress)
            if scene is not None and not self._exit_clip(
                position,
                next_goal(scene.frame, position, keep=keep, clip=clip),
                scene=scene,
                progress=progress,
                urgent=urgent,
            ):
                absent += 1
                if _given_up(absent, progress):
                    break
                continue
            position = self._desk.store.positions.get(position_id)
            stuck = (position.contracts, position.spot_owned) == before
            if stuck and scene is not None and self._clips.cured(progress):
                continue
            if stuck or arrived(position, keep) or not self._clips.goes_on(position_id, progress):
                break
        if arrived(position, keep):
            self._clips.interrupted(progress)
        elif not progress.stopped:
            progress.reasons += [what_is_left(position, keep), *progress.too_small]
        return progress

    def notes(self, position: PositionRecord) -> tuple[Reason, ...]:
        """Where the venue holds less of a position than our books say; ``Unavailable`` if it cannot be
        read.
        """
        return tuple(self._sizes(position).notes(position))

    def _sizes(self, position: PositionRecord) -> Sizes:
        """What the venue holds of it now."""
        return sizes_of(position, self._desk.exchange, tolerance=self._desk.rules.tolerance)

    def _judged(self, position: PositionRecord) -> Sizes:
        """The same where it is urgent: what cannot be read soon is as our book says, and the venue, which
        reduces nothing that is not there, is the judge.
        """
        try:
            with self._desk.hurried():
                return self._sizes(position)
        except Unavailable as error:
            met(self._desk, error)
            return as_booked(position)

    def catch_up(self) -> None:
        """Book what the venue did to the account by itself, if it can be read now."""
        self._clips.resolver.catch_up()

    def _exit_scene(
        self, position: PositionRecord, keep: Decimal, *, cap: Decimal, urgent: bool, progress: Progress
    ) -> Scene | None:
        """The market as a clip of an exit finds it; None, with the reasons, if nothing may be sold by it."""
        left = below_step(self._desk.market.pair_of(position), position, keep=keep)
        if left is not None:
            progress.reasons.append(left)
            return None
        try:
            scene = self._clips.scene(position, cap)
            still = () if urgent else self._clips.still(scene)
        except Unavailable as error:
            still, scene = (unread(self._desk, error),), None
        progress.reasons += still
        return None if still else scene

    def _exit_clip(
        self, position: PositionRecord, keep: Decimal, *, scene: Scene, progress: Progress, urgent: bool
    ) -> bool:
        """One clip of an exit; both sizes are read from the venue first, and clamped down, never up: the
        short of coins that cannot be sold stays. False if its first order turned out never to have existed,
        so that it may be tried again.
        """
        position_id = position.position_id
        try:
            sizes = self._judged(position) if urgent else self._sizes(position)
        except Unavailable as error:
            progress.reasons.append(unread(self._desk, error))
            return True
        progress.notes[:] = sizes.notes(position)
        tied = tied_contracts(scene.pair, sizes.tied_up(position))
        keep = max(keep, tied)
        first = self._stubborn.get(position_id) or scene.thin(opening=False)
        placed = self._reduce(position, keep, leg=first, scene=scene, sizes=sizes)
        if isinstance(placed, Placed) and placed.uncertain:
            placed = self._clips.resolved(placed, progress)
            if placed.uncertain:
                return True
            if placed.intent.state is IntentState.ABSENT:
                return False
            scene = self._clips.again(position, scene)
        if not nothing_to_send(placed) and (isinstance(placed, Refused) or not placed.filled):
            progress.reasons += why_not(placed)
            if self._nothing_there(placed):
                self._clips.correct(position_id, progress, grow=False)
            return True
        reached(Point.LEGS_BETWEEN)
        progress.naked_since = self._desk.clock.monotonic()
        position = self._desk.store.positions.get(position_id)
        rest = ZERO if keep == ZERO and self._dust(position, scene) else None
        second = self._reduce(position, rest, leg=first.other, scene=scene, sizes=sizes)
        progress.too_small[:] = [*tied_up(position, tied), *_too_small(placed), *_too_small(second)]
        if isinstance(second, Placed) and second.uncertain:
            second = self._clips.resolved(second, progress)
        self._nothing_there(second)
        self._clips.correct(position_id, progress, grow=False, why=why_not(second))
        self._stubborn.pop(position_id, None)
        if any(reason.code == TAKEN_BACK for reason in progress.reasons):
            self._stubborn[position_id] = first.other
        return True

    def _dust(self, position: PositionRecord, scene: Scene) -> bool:
        """Whether the coins that are left are no order any more: then no contract stays to cover them."""
        book = Book(position.spot_owned, ZERO)
        return sizing.flat(scene.pair, book, spot_price=scene.best(Leg.SPOT, Side.SELL))

    def _nothing_there(self, outcome: Placed | Refused) -> bool:
        """Whether the venue had nothing to reduce; what it did to the position is booked before going on."""
        if isinstance(outcome, Refused) or outcome.intent.code not in _NOTHING_OPEN:
            return False
        self._clips.resolver.catch_up()
        return True

    def _reduce(
        self, position: PositionRecord, keep: Decimal | None, *, leg: Leg, scene: Scene, sizes: Sizes
    ) -> Placed | Refused:
        """Shrink one leg: the first to what is kept, the second (``keep`` None) to match what the first
        left.
        """
        book, really = Book(position.spot_owned, position.contracts), sizes.really(position)
        if leg is Leg.SPOT:
            kept = really.contracts if keep is None else keep
            quantity = sizing.spot_sell_quantity(scene.pair, book, keep=kept, wallet_free=sizes.free)
            wanted = Wanted(leg=leg, side=Side.SELL, quantity=quantity, purpose=Purpose.EXIT)
            return self._clips.send(position, wanted, scene=scene)
        if keep is None:
            quantity = sizing.perp_close_to_match(scene.pair, really, venue_size=sizes.short)
        else:
            quantity = sizing.perp_close_quantity(scene.pair, book, keep=keep, venue_size=sizes.short)
        wanted = Wanted(leg=leg, side=Side.BUY, quantity=quantity, purpose=Purpose.EXIT)
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
