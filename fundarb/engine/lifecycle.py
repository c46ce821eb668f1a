"""From book to state: what a position *is* once everything sent is known, written along the state table.

Also the small facts that go with a change: the instant it opened or closed, the goal that was reached, dust
that is put aside.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from fundarb.core import position as book_of
from fundarb.core import sizing
from fundarb.core.market import Pair
from fundarb.core.money import ZERO, cash
from fundarb.core.orders import Leg
from fundarb.core.postings import holding_key
from fundarb.core.records import Goal, PositionRecord
from fundarb.core.states import POSITION, PositionState, PositionTrigger, advance
from fundarb.crash import Point, reached
from fundarb.engine.alerts import IN_DOUBT, NAKED, alert_over
from fundarb.engine.desk import Desk
from fundarb.engine.naked import tell_if_long
from fundarb.engine.shut_out import met
from fundarb.errors import Unavailable

_SENDING = frozenset({PositionState.OPENING, PositionState.CHANGING, PositionState.REPAIRING})
_TOP = 5
"""Levels of a book that is asked for its mid."""
_STAYS = {
    PositionState.HEDGED: PositionTrigger.BALANCED,
    PositionState.EXPOSED: PositionTrigger.UNBALANCED,
}


@dataclass(frozen=True, slots=True)
class Measure:
    """A position's book measured at current prices: delta in coins (+ = too much spot), lot and drift."""

    book: book_of.Book
    pair: Pair
    spot_price: Decimal
    perp_price: Decimal
    lot: Decimal
    delta: Decimal
    drift: Decimal
    neutral: bool
    flat: bool

    @property
    def at_one_lot(self) -> bool:
        """Whether entries may stop correcting: ``|delta| ≤ lot``, and no short stands where coins should."""
        return abs(self.delta) <= self.lot and not self.book.lopsided(self.pair.multiplier)


def measure(desk: Desk, position: PositionRecord, *, pair: Pair | None = None) -> Measure:
    """Measure the book of a position; ``Unavailable`` where its instruments or prices cannot be had."""
    pair = pair or desk.market.pair_of(position)
    spot_price, perp_price = prices(desk, position)
    book = book_of.Book(position.spot_owned, position.contracts)
    lot = sizing.lot(pair, spot_price=spot_price, perp_price=perp_price)
    bid = desk.market.spot_bid(position.spot_symbol) or spot_price  # a sale is judged by what it gets
    within = book_of.neutral(book, pair.multiplier, lot=lot, drift_limit=desk.rules.drift_limit)
    return Measure(
        book=book,
        pair=pair,
        spot_price=spot_price,
        perp_price=perp_price,
        lot=lot,
        delta=book.delta(pair.multiplier),
        drift=book.drift(pair.multiplier),
        neutral=within and not book.lopsided(pair.multiplier),
        flat=sizing.flat(pair, book, spot_price=bid),
    )


def prices(desk: Desk, position: PositionRecord) -> tuple[Decimal, Decimal]:
    """Spot mid and perp mark as last seen, read once if never seen (from the books where the quotes cannot be
    read); ``Unavailable`` without them.
    """
    why = ""
    for read in (None, desk.market.refresh, lambda: desk.market.books(desk.market.pair_of(position), _TOP)):
        if read is not None:
            try:
                read()
            except Unavailable as error:
                met(desk, error)
                why = f": {error}"
        spot, perp = desk.market.spot_mid(position.spot_symbol), desk.market.mark(position.perp_symbol)
        if spot is not None and perp is None and not position.contracts:
            perp = spot * position.multiplier  # a perp that is not listed any more weighs nothing
        if spot is not None and perp is not None:
            return spot, perp
    message = f"no usable prices for spot {position.spot_symbol} and perp {position.perp_symbol}{why}"
    raise Unavailable(message)


def not_hedged(desk: Desk, position: PositionRecord) -> bool:
    """Whether a position that is called hedged is not neutral; where no price can be had, by its quantities
    alone: then one lot is no excuse.
    """
    if position.state is not PositionState.HEDGED:
        return False
    try:
        return not measure(desk, position).neutral
    except Unavailable as error:
        met(desk, error)
        book = book_of.Book(position.spot_owned, position.contracts)
        return book.drift(position.multiplier) > desk.rules.drift_limit


def settle(desk: Desk, position_id: str) -> PositionRecord:
    """Write down what the book of a position is now, everything sent being known; returns the position as it
    is then.

    With an order that is not terminal the position is UNCERTAIN. A flat book puts its dust aside and ends the
    position. Calling it again changes nothing.
    """
    store = desk.store
    position = store.positions.get(position_id)
    if position.state.final:
        return position
    if any(not intent.state.terminal for intent in store.intents.of_position(position_id)):
        if position.state in _SENDING:
            position = _move(desk, position, trigger=PositionTrigger.NO_ANSWER)
        return position
    if position.state is PositionState.PLANNED:
        return _move(desk, position, trigger=PositionTrigger.FLAT)
    found = measure(desk, position)
    if found.flat:
        return _at_rest(desk, _move(desk, position, trigger=PositionTrigger.FLAT))
    trigger = PositionTrigger.BALANCED if found.neutral else PositionTrigger.UNBALANCED
    if _STAYS.get(position.state) is trigger:
        return position
    position = _move(desk, position, trigger=trigger)
    return _at_rest(desk, position) if trigger is PositionTrigger.BALANCED else position


def _at_rest(desk: Desk, position: PositionRecord) -> PositionRecord:
    """The book has come to rest: what was naked for too long on the way is told, and is over."""
    tell_if_long(desk, position)
    alert_over(desk.store, (*NAKED, IN_DOUBT), subject=position.position_id)
    return position


def _move(desk: Desk, position: PositionRecord, *, trigger: PositionTrigger) -> PositionRecord:
    """One step along the table; a position that ends puts its dust aside in the same transaction."""
    store = desk.store
    with store.transaction(before=Point.STATE_BEFORE_COMMIT, after=Point.STATE_AFTER_COMMIT):
        coming = advance(POSITION, position.state, trigger=trigger)
        if coming.final and position.spot_owned != ZERO:
            dust = store.ledger.put_dust_aside(position, desk.clock.now())
            store.positions.add_quantities(position.position_id, spot=-dust, contracts=ZERO)
            reached(Point.DUST_PUT_ASIDE)
        return store.positions.advance(position.position_id, trigger)


def rest(desk: Desk, position_id: str) -> PositionRecord:
    """A hedged position that nobody is working on wants to stay what it is: what was begun is not continued.

    Its notional becomes that of what is really held: an entry that fell short counts its share, a reduction
    what is left at the average entry price.
    """
    position = desk.store.positions.get(position_id)
    if position.state is not PositionState.HEDGED or position.goal is Goal.HOLD:
        return position
    with desk.store.transaction(before=Point.REST_BEFORE_COMMIT, after=Point.REST_AFTER_COMMIT):
        return desk.store.positions.update(
            position_id,
            goal=Goal.HOLD,
            target_contracts=position.contracts,
            notional=_notional_held(desk, position),
        )


def _notional_held(desk: Desk, position: PositionRecord) -> Decimal:
    """Quote value of one leg of what is held: at the decision price where all of it was decided on one, else
    at the average of its entries.
    """
    held, target = position.contracts, position.target_contracts
    if position.goal in {Goal.OPEN, Goal.ADD} and held == target:
        return position.notional
    if position.goal is Goal.OPEN:
        return cash(position.notional * held / target)
    average = desk.store.ledger.read.holding(holding_key(position, Leg.PERP)).average
    return position.notional if average is None else min(position.notional, cash(held * average))
