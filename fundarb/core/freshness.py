"""Whether what a venue shows is its present: books that stand still, that contradict each other or the quotes
they are held against.

Nothing may be decided from a picture of two moments, nor from one that stopped moving while time went on. A
hedge is no decision: it takes what there is.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from fundarb.core.market import Book, PerpQuote, SpotQuote
from fundarb.core.money import ONE, parse_ratio, seconds
from fundarb.core.reasons import Reason

FROZEN_AFTER = timedelta(minutes=1)
"""A book whose matching engine said nothing for longer stands still. A quiet coin's book rests for seconds;
what nobody quotes for a minute is no market either.
"""
APART = parse_ratio("1%")
"""How far a quote may be from the book that was read right after it: beyond that they are of two moments."""


def crossed(*books: Book) -> tuple[Reason, ...]:
    """Books with an empty side, or a bid at or above the ask."""
    return tuple(
        Reason("crossed_book", f"the {book.category} book of {book.symbol} is empty or crossed")
        for book in books
        if book.crossed
    )


def frozen(*books: Book, now: datetime) -> tuple[Reason, ...]:
    """Books that stood still for too long; ``now`` is the venue's time."""
    return tuple(
        Reason(
            "frozen_quotes",
            f"the {book.category} book of {book.symbol} stood still for {seconds(now - book.as_of):.0f} s",
        )
        for book in books
        if now - book.as_of > FROZEN_AFTER
    )


def implausible(spot: Book, perp: Book, *, multiplier: Decimal, collar: Decimal) -> tuple[Reason, ...]:
    """A basis between the mids of two usable books beyond ``collar`` (a fraction): one of them is not of
    now.
    """
    basis = perp.mid / (multiplier * spot.mid) - ONE
    if abs(basis) <= collar:
        return ()
    text = f"perp and spot books are {basis * 100:.2f} % apart, the collar is {collar * 100:.2f} %"
    return (Reason("basis_implausible", text),)


def of_two_moments(
    books: tuple[Book, Book], quotes: tuple[SpotQuote, PerpQuote], *, limit: Decimal = APART
) -> Iterator[Reason]:
    """Quotes that their own usable books, read right after them, contradict by more than ``limit``."""
    for book, quote in zip(books, quotes, strict=True):
        distance = abs(quote.mid / book.mid - ONE)
        if distance > limit:
            text = f"quote and book of {book.category} {book.symbol} are {distance * 100:.2f} % apart"
            yield Reason("quotes_apart", text)
