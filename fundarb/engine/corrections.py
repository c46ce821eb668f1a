"""One correcting order: fresh books, the frame that quantities are judged by, never more than the venue
holds, a price cap.

Decides neither that a book is corrected nor how far the price may go: that is the hedger's. Every read here
is hurried, for something is naked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

from fundarb.core import correcting, minimums, sizing
from fundarb.core.market import Book as OrderBook
from fundarb.core.market import Instrument, Pair
from fundarb.core.money import ONE, ZERO, floor_to
from fundarb.core.orders import Leg, Purpose
from fundarb.core.position import Book
from fundarb.core.reasons import Refused
from fundarb.core.records import PositionRecord
from fundarb.core.refusals import Cure, cure
from fundarb.core.states import IntentState
from fundarb.engine.alerts import alert_once
from fundarb.engine.desk import Desk
from fundarb.engine.fees import FeeBook
from fundarb.engine.guard import Draft
from fundarb.engine.orders import OrderDesk, Placed
from fundarb.engine.shut_out import met, passing_over
from fundarb.errors import Unavailable

_RETRY_READ = timedelta(milliseconds=200)
_LATEST = timedelta(minutes=1)
"""A list that lacks a fill of so long ago is not late."""
_SEEN_FOR = timedelta(minutes=10)
"""So long what was seen to be gone counts where it cannot be read again."""
_BAND = Decimal("0.05")
"""The band where the instruments do not state theirs: five percent, Bybit's usual limit ratio for majors."""


class OutOfSight(Unavailable):
    """The market cannot be seen, or no order can be signed: nothing is corrected until the venue answers."""


class Overtaken(Exception):
    """What was taken of a leg meanwhile has been booked: the correction was made for a book of before."""


@dataclass(frozen=True, slots=True)
class _Gone:
    """Coins of a position that the wallet did not show at an instant (monotonic), and what others had made of
    its coins by then.
    """

    quantity: Decimal
    without_ours: Decimal
    at: timedelta


@dataclass(frozen=True, slots=True)
class Sight:
    """What a correction is judged by: fresh books of both legs, and the frame made of them."""

    books: tuple[OrderBook, OrderBook]
    frame: sizing.Frame

    @property
    def pair(self) -> Pair:
        """The pair that is looked at."""
        return self.frame.pair


class Corrector:
    """Sends single corrections of one desk."""

    def __init__(self, desk: Desk, fees: FeeBook, *, catch_up: Callable[[], object]) -> None:
        """Send through one desk; ``catch_up`` books what the venue did meanwhile."""
        self._desk = desk
        self._catch_up = catch_up
        self._orders = OrderDesk(desk)
        self._fees = fees
        self._blind: set[str] = set()
        self._unseen: set[str] = set()
        self._less: dict[str, Book] = {}
        self._tied: set[str] = set()
        self._coins: dict[str, _Gone] = {}

    def frame(self, pair: Pair, books: tuple[OrderBook, OrderBook]) -> sizing.Frame:
        """What quantities are judged by, from fresh books of both legs."""
        spot, perp = books
        with passing_over(self._desk):
            self._fees.of(pair)
        return sizing.Frame(
            pair=pair, spot_price=spot.mid, perp_price=perp.mid, fee=self._fees.at_hand(pair).in_base
        )

    def look(self, position: PositionRecord, leg: Leg | None = None) -> Sight:
        """Fresh books, else the quotes of now; a venue that answers neither is asked again for as long as a
        hedge may take, then somebody is told: ``OutOfSight``. From then on it is asked once at each look,
        until it answers. With the ``leg`` that is to be traded, that one's is fresh.
        """
        desk = self._desk
        blind = position.position_id in self._blind
        began = desk.clock.monotonic() - (desk.rules.t_hedge if blind else timedelta())
        while True:
            try:
                with desk.hurried(desk.clock.monotonic() - began):
                    pair = desk.market.pair_of(position)
                    only = None if leg is None else leg.category
                    books = desk.market.books_or_quotes(pair, only=only)
                    sight = Sight(books, self.frame(pair, books))
            except Unavailable as error:
                met(desk, error)
                if desk.clock.monotonic() + _RETRY_READ > began + desk.rules.t_hedge:
                    self._blind.add(position.position_id)
                    self.tell("hedge_without_market", position, message=str(error))
                    raise OutOfSight(str(error), code=error.code) from error
                if not position.contracts:  # a perp that was delivered is in the list no more
                    with passing_over(desk), desk.hurried():
                        desk.market.instruments(refresh=True)
                desk.clock.sleep(_RETRY_READ)
            else:
                self._blind.discard(position.position_id)
                return sight

    def send(
        self,
        position: PositionRecord,
        order: correcting.Correction,
        *,
        sight: Sight,
        purpose: Purpose,
        cap: Decimal,
    ) -> Placed | None:
        """Send one correction and follow it to its end; None if the venue holds nothing to correct, or a rule
        forbids the order (somebody is told then). ``OutOfSight`` if it cannot be signed, as the venue's
        time is not known; ``Overtaken`` if the book is another one by now.
        """
        clamped = self._clamped(position, order, frame=sight.frame)
        if clamped is None:
            return None
        purpose = Purpose.TOP_UP if order.adds else purpose
        placed = self._orders.place(_draft(position, clamped, purpose=purpose, sight=sight, cap=cap))
        if isinstance(placed, Refused):
            message = "; ".join(reason.message for reason in placed.reasons)
            self.tell("correction_refused", position, message=message)
            if any(reason.code == "clock_unknown" for reason in placed.reasons):
                raise OutOfSight(message)
            return None
        return placed

    def found_less(self, position: PositionRecord) -> Book | None:
        """What the last correction of a position found to be there, where that was less than our book says of
        the leg that it was to reduce, or to match; None if all was there.
        """
        return self._less.get(position.position_id)

    def found_tied(self, position: PositionRecord) -> bool:
        """Whether the last correction found coins that are there and cannot be sold, as somebody's order
        holds them.
        """
        return position.position_id in self._tied

    def cure(self, placed: Placed) -> Cure | None:
        """What may help an order that the venue refused, None for one that it took; steps and minimums that
        are not its own any more are read again at once.
        """
        if placed.intent.state is not IntentState.REFUSED:
            return None
        found = cure(placed.intent.code)
        if found is Cure.RELIST:
            with passing_over(self._desk), self._desk.hurried():
                self._desk.market.instruments(refresh=True)
        return found

    def _clamped(
        self, position: PositionRecord, order: correcting.Correction, *, frame: sizing.Frame
    ) -> correcting.Correction | None:
        """Nothing is corrected again and again for contracts or coins that somebody else has taken."""
        self._less.pop(position.position_id, None)
        if order.adds:
            return self._completing(position, order, frame=frame)
        return self._reducing(position, order, frame=frame)

    def _reducing(
        self, position: PositionRecord, order: correcting.Correction, *, frame: sizing.Frame
    ) -> correcting.Correction | None:
        """A reduction never exceeds what the venue holds, where that can be read. What is gone is reduced
        already: it is not given back a second time; of a position that grows only what is known to be gone,
        as the lists may not show its newest fills, and the venue's rows are asked whether it is that.
        """
        seen = self._seen(position, order.leg)
        if seen is None:
            self._tied.discard(position.position_id)
            return self._blindly(position, order, frame=frame)
        gone, free = seen
        self._note(position, order, gone=gone, free=free)
        if gone > self._desk.rules.tolerance:
            self._less[position.position_id] = _without(position, order.leg, gone=gone)
        else:
            gone = ZERO
        if gone and position.goal.growing:
            self._explain(position)
            gone = max(min(gone, self._known_gone(position, order.leg)), ZERO)
        left = min(order.quantity - gone, free)
        return order if left >= order.quantity else _smaller(order, left, free=free, frame=frame)

    def _blindly(
        self, position: PositionRecord, order: correcting.Correction, *, frame: sizing.Frame
    ) -> correcting.Correction | None:
        """A reduction where what there is cannot be read for a while. Of contracts the venue is the judge; it
        sells any coins that are there, so what was last seen or is known to be gone is left out.
        """
        if order.leg is Leg.PERP:
            return order
        gone, seen = self._known_gone(position, order.leg), self._coins.get(position.position_id)
        if (
            seen is not None
            and not position.goal.growing
            and self._desk.clock.monotonic() - seen.at <= _SEEN_FOR
        ):
            booked = seen.without_ours - self._without_ours(position)
            gone = max(gone, seen.quantity - booked)
        if gone <= self._desk.rules.tolerance:
            return order
        self._less[position.position_id] = _without(position, order.leg, gone=gone)
        left = order.quantity - gone
        return _smaller(order, left, free=left, frame=frame)

    def _note(
        self, position: PositionRecord, order: correcting.Correction, *, gone: Decimal, free: Decimal
    ) -> None:
        """Keep what was seen of a leg that is to be reduced, for a moment when it cannot be read."""
        self._tied.discard(position.position_id)
        if order.leg is Leg.SPOT:
            self.saw(position, gone=gone)
            if free < order.quantity - gone:
                self._tied.add(position.position_id)

    def saw(self, position: PositionRecord, *, gone: Decimal) -> None:
        """Keep how many coins of a position the wallet has just not shown, as ``_note`` does."""
        at, rest = self._desk.clock.monotonic(), self._without_ours(position)
        self._coins[position.position_id] = _Gone(gone, rest, at)

    def _without_ours(self, position: PositionRecord) -> Decimal:
        """What others have made of a position's coins: less than before where something of it was booked."""
        orders = self._desk.store.intents.of_position(position.position_id)
        ours = (order.side.sign * order.filled for order in orders if order.leg is Leg.SPOT)
        return position.spot_owned - sum(ours, ZERO)

    def _explain(self, position: PositionRecord) -> None:
        """Book what the venue's rows tell of a leg that its lists show smaller; ``Overtaken`` if that changed
        the book.
        """
        before = (position.spot_owned, position.contracts)
        with self._desk.hurried():
            self._catch_up()
        after = self._desk.store.positions.get(position.position_id)
        if before != (after.spot_owned, after.contracts):
            raise Overtaken

    def _completing(
        self, position: PositionRecord, order: correcting.Correction, *, frame: sizing.Frame
    ) -> correcting.Correction | None:
        """A leg is not completed for what is gone of the other one: for what others' fills say and the venue
        shows. What the lists alone lack may be our own newest fills, unless these are of long ago.
        """
        other, tolerance = order.leg.other, self._desk.rules.tolerance
        known, shown = self._known_gone(position, other), self._shown(position, other)
        gone = known
        if known > tolerance or shown:
            with passing_over(self._desk), self._desk.hurried():
                listed = self._at_the_venue(position, other)[0]
                gone = listed if shown else min(known, listed)
        if gone <= tolerance:
            return order
        if gone > known:
            self._explain(position)
        there = _without(position, other, gone=gone)
        self._less[position.position_id] = there
        rest = correcting.top_up(frame, there)
        return rest if rest is not None and rest.leg is order.leg else None

    def _shown(self, position: PositionRecord, leg: Leg) -> bool:
        """Whether the venue's lists must show all of our own fills of a leg by now: the newest is of long
        ago.
        """
        orders = self._desk.store.intents.of_position(position.position_id)
        newest = max((one.created_at for one in orders if one.leg is leg and one.filled), default=None)
        return newest is not None and self._desk.clock.now() - newest > _LATEST

    def _known_gone(self, position: PositionRecord, leg: Leg) -> Decimal:
        """How much of a leg others took, by the booked rows: their fills since the position was made, and for
        coins what the ledger has less than we own. Not positive: nothing is known to be gone.
        """
        store, perp = self._desk.store, leg is Leg.PERP
        symbol = position.perp_symbol if perp else position.spot_symbol
        rows = store.executions.of_strangers(leg.category, symbol, since=position.created_at)
        bought = sum((row.side.sign * row.quantity for row in rows if row.kind.trades), ZERO)
        if perp:
            return min(bought, position.contracts)
        missing = position.spot_owned - store.ledger.balances().get(position.base, ZERO)
        return min(max(-bought, missing), position.spot_owned)

    def _seen(self, position: PositionRecord, leg: Leg) -> tuple[Decimal, Decimal] | None:
        """The same as ``_at_the_venue``; a read that fails is repeated for half the time that a hedge may
        take, in one incident once: coins may be gone with the contracts. None if it cannot be read.
        """
        desk, known = self._desk, position.position_id in self._unseen
        over = desk.clock.monotonic() + (timedelta() if known else desk.rules.t_hedge / 2)
        while True:
            try:
                with desk.hurried():
                    found = self._at_the_venue(position, leg)
            except Unavailable as error:
                met(desk, error)
                if desk.clock.monotonic() + _RETRY_READ > over:
                    self._unseen.add(position.position_id)
                    return None
                desk.clock.sleep(_RETRY_READ)
            else:
                self._unseen.discard(position.position_id)
                return found

    def _at_the_venue(self, position: PositionRecord, leg: Leg) -> tuple[Decimal, Decimal]:
        """Of one leg: how much of ours is gone, and how much there is to reduce."""
        exchange = self._desk.exchange
        if leg is Leg.SPOT:
            wallet = exchange.wallet()
            there, free = max(wallet.owned(position.base), ZERO), wallet.free(position.base)
            return max(position.spot_owned - there, ZERO), free
        sizes = [item.size for item in exchange.positions() if item.symbol == position.perp_symbol]
        short = max(-sum(sizes, ZERO), ZERO)
        return max(position.contracts - short, ZERO), short

    def band(self, position: PositionRecord) -> Decimal:
        """How far from the market the venue lets an order of either leg go, as a fraction; each instrument's
        own band holds besides (``sizing.within_band``).
        """
        pair = self._desk.market.known_pair(position)
        known = () if pair is None else (pair.spot.price_limit_x, pair.perp.price_limit_x)
        limits = [limit for limit in known if limit is not None]
        return min(max(limits), ONE / 2) if limits else _BAND

    def tell(self, code: str, position: PositionRecord, *, message: str) -> None:
        """One alert per incident of a position."""
        alert_once(self._desk.store, code, subject=position.position_id, message=message)


def _without(position: PositionRecord, leg: Leg, *, gone: Decimal) -> Book:
    """Our book without what is gone of a leg."""
    spot, perp = (gone, ZERO) if leg is Leg.SPOT else (ZERO, gone)
    return Book(position.spot_owned - spot, position.contracts - perp)


def _smaller(
    order: correcting.Correction, left: Decimal, *, free: Decimal, frame: sizing.Frame
) -> correcting.Correction | None:
    """A reduction by what is ``left`` of it, rounded down; None where that is no order any more."""
    spot = order.leg is Leg.SPOT
    instrument, price = (frame.pair.spot, frame.spot_price) if spot else (frame.pair.perp, frame.perp_price)
    quantity = floor_to(left, instrument.qty_step)
    ends_it = not spot and quantity == free
    if quantity <= ZERO or (quantity < sizing.min_quantity(instrument, price) and not ends_it):
        return None
    return replace(order, quantity=quantity)


def _draft(
    position: PositionRecord,
    order: correcting.Correction,
    *,
    purpose: Purpose,
    sight: Sight,
    cap: Decimal,
) -> Draft:
    """A correction as an order, at a price cap against the best price of its book."""
    spot = order.leg is Leg.SPOT
    instrument: Instrument = sight.pair.spot if spot else sight.pair.perp
    best = sizing.side_levels(sight.books[0 if spot else 1], order.side)[0].price
    cap = sizing.within_band(cap, instrument)
    limit = sizing.cap_price(best, cap, side=order.side, tick=instrument.tick_size)
    if spot:
        limit = minimums.worthwhile(
            instrument, side=order.side, quantity=order.quantity, best=best, limit=limit
        )
    return Draft(
        position=position,
        leg=order.leg,
        purpose=purpose,
        side=order.side,
        quantity=order.quantity,
        limit_price=limit,
        reduce_only=order.reduce_only,
    )
