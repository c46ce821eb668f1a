"""The two legs of one position as a book: delta, drift, neutrality and the distance to liquidation.

Everything is counted in coins at one price; notionals at two prices are never compared, or basis would look
like delta. Nothing here knows orders, steps or venues; ``lot`` is handed in (``sizing.lot``).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from fundarb.core.money import ZERO


@dataclass(frozen=True, slots=True)
class Book:
    """What a position really consists of, as its executions made it.

    ``spot_owned``: coins net of base fees, never negative. ``contracts``: contracts short, *positive* for a
    short.
    """

    spot_owned: Decimal
    contracts: Decimal

    def delta(self, multiplier: Decimal) -> Decimal:
        """Coins owned minus coins sold short: positive when the spot leg is the larger one."""
        return self.spot_owned - self.contracts * multiplier

    def size(self, multiplier: Decimal) -> Decimal:
        """The larger leg, in coins."""
        return max(self.spot_owned, self.contracts * multiplier)

    def drift(self, multiplier: Decimal) -> Decimal:
        """``|delta| / max(Ns, Np·m)``: a fraction between 0 and 1 (0.02 is two percent); zero for an empty
        book.
        """
        size = self.size(multiplier)
        return abs(self.delta(multiplier)) / size if size else ZERO

    def lopsided(self, multiplier: Decimal) -> bool:
        """Whether buying the whole short back would leave less delta than there is.

        A reduce-only order that closes everything is bound by no least value, so such a book can always be
        corrected: it is not neutral, however small it is.
        """
        return -self.delta(multiplier) > self.spot_owned

    @property
    def empty(self) -> bool:
        """Whether nothing at all is held; dust makes it False (``sizing.flat`` knows what dust is)."""
        return not self.spot_owned and not self.contracts


EMPTY = Book(ZERO, ZERO)


def tolerance(book: Book, multiplier: Decimal, *, lot: Decimal, drift_limit: Decimal) -> Decimal:
    """How many coins of delta count as neutral: ``max(lot, drift_limit·max(Ns, Np·m))``; the limit is a
    fraction.
    """
    return max(lot, drift_limit * book.size(multiplier))


def neutral(book: Book, multiplier: Decimal, *, lot: Decimal, drift_limit: Decimal) -> bool:
    """Whether delta is within the tolerance; equality is neutral."""
    return abs(book.delta(multiplier)) <= tolerance(book, multiplier, lot=lot, drift_limit=drift_limit)


def liquidation_distance(mark: Decimal, liquidation_price: Decimal | None) -> Decimal | None:
    """The fraction by which the mark must *rise* until a short is liquidated; negative once past it.

    None where there is no liquidation price: not applicable is never zero.
    """
    return None if liquidation_price is None else liquidation_price / mark - 1
