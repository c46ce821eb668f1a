"""Corrections: the one order that brings two legs closer, and the book that it would leave.

Reductions are rounded down, never up, except where a stub would stay that the venue takes no order for.
Nothing here knows venues or prices other than those handed in, and nothing is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from fundarb.core import sizing
from fundarb.core.money import ONE, ZERO, floor_to
from fundarb.core.orders import Leg, Side
from fundarb.core.position import Book
from fundarb.core.sizing import Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """One order that brings the legs closer."""

    leg: Leg
    side: Side
    quantity: Decimal

    @property
    def adds(self) -> bool:
        """True when it completes the smaller leg (spot bought, perp shorted), False when it trims the larger
        one.
        """
        return (self.leg is Leg.SPOT) is (self.side is Side.BUY)

    @property
    def reduce_only(self) -> bool:
        """Whether the order must not be able to open anything: buying back a short."""
        return self.leg is Leg.PERP and self.side is Side.BUY


def top_up(frame: Frame, book: Book) -> Correction | None:
    """The order that completes the smaller leg; None within one lot, or if no order the venue takes would
    help.
    """
    pair, delta = frame.pair, book.delta(frame.pair.multiplier)
    if delta > 0:
        return _order(frame, book, leg=Leg.PERP, wanted=delta / pair.multiplier)
    missing = sizing.spot_buy_quantity(pair, book.contracts, owned=book.spot_owned, fee=frame.fee)
    return _order(frame, book, leg=Leg.SPOT, wanted=missing)


def trim(frame: Frame, book: Book) -> Correction | None:
    """The order that reduces the larger leg; None within one lot, or if no order the venue takes would help.

    Rounded down; only when that falls below the venue's smallest order, and the smallest order leaves no more
    than one lot on the other side, is the smallest order used. Never more than the leg holds; a short below
    the smallest order is bought back whole, as far as it is whole steps.
    """
    delta = book.delta(frame.pair.multiplier)
    if delta <= 0:
        return _buy_back(frame, book, wanted=-delta / frame.pair.multiplier)
    order = _order(frame, book, leg=Leg.SPOT, wanted=delta, adds=False)
    return order if order is not None and order.quantity <= book.spot_owned else None


def _buy_back(frame: Frame, book: Book, *, wanted: Decimal) -> Correction | None:
    """Reduce the short by ``wanted`` contracts; where that would leave a stub, by all that the coins do not
    cover.

    A stub is what no order of its own could buy back: less than the smallest one, or a short beside coins
    that are dust, or fewer than it needs. The venue takes an order of any size if it ends the position, but a
    stranger's contracts in the same symbol belong to that position, too.
    """
    exact = _order(frame, book, leg=Leg.PERP, wanted=wanted, adds=False)
    after = book if exact is None else corrected(frame, book, order=exact)
    least = sizing.min_quantity(frame.pair.perp, frame.perp_price)
    dust = sizing.flat(frame.pair, Book(book.spot_owned, ZERO), spot_price=frame.spot_price)
    if dust or after.contracts < least or after.lopsided(frame.pair.multiplier):
        covered = ZERO if dust else sizing.contracts_covered(frame.pair, book.spot_owned)
        all_of_it = _order(frame, book, leg=Leg.PERP, wanted=book.contracts - covered, adds=False)
        exact = exact if all_of_it is None else all_of_it
    return exact if exact is not None and exact.quantity <= book.contracts else None


def _order(frame: Frame, book: Book, *, leg: Leg, wanted: Decimal, adds: bool = True) -> Correction | None:
    """The order on a leg for ``wanted`` base units within the venue's smallest and largest, if it helps."""
    spot = leg is Leg.SPOT
    instrument, price = (frame.pair.spot, frame.spot_price) if spot else (frame.pair.perp, frame.perp_price)
    quantity = max(floor_to(wanted, instrument.qty_step), sizing.min_quantity(instrument, price))
    quantity = quantity if spot or adds else min(quantity, floor_to(book.contracts, instrument.qty_step))
    side = Side.BUY if spot is adds else Side.SELL
    order = Correction(leg=leg, side=side, quantity=min(quantity, instrument.max_limit_qty))
    return order if _helps(frame, book, order=order) else None


def correction(frame: Frame, book: Book, *, grow: bool) -> Correction | None:
    """What to send next to bring the book within one lot; None if it is there, or nothing the venue takes
    would help.

    ``grow`` prefers completing the smaller leg (a known shortfall is topped up first), otherwise the larger
    one is trimmed; where the preferred leg is too coarse the other is used. Repeated, it ends within one lot:
    the finer leg can always correct more.
    """
    first, second = (top_up, trim) if grow else (trim, top_up)
    return first(frame, book) or second(frame, book)


def corrected(frame: Frame, book: Book, *, order: Correction) -> Book:
    """The book after ``order`` fills completely at the expected fee."""
    if order.leg is Leg.PERP:
        return Book(book.spot_owned, book.contracts - order.side.sign * order.quantity)
    arrives = ONE - frame.fee if order.side is Side.BUY else -ONE
    return Book(book.spot_owned + arrives * order.quantity, book.contracts)


def _helps(frame: Frame, book: Book, *, order: Correction) -> bool:
    """Whether a book that is out (beyond a lot, or lopsided) has less delta then, and no lot too much."""
    multiplier, limit = frame.pair.multiplier, frame.lot
    before = book.delta(multiplier)
    after = corrected(frame, book, order=order).delta(multiplier)
    out = abs(before) > limit or book.lopsided(multiplier)
    return out and abs(after) < abs(before) and (before * after >= 0 or abs(after) <= limit)
