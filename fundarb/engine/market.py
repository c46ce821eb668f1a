"""The latest view of the market and its ages: what a decision may look at, and whether it is fresh enough to
be looked at.

A snapshot's rows carry no time, so freshness is measured twice: by our own monotonic clock since it was
received, and by the difference between the venue's two answer times (spot and perp quotes of different
moments make a false basis).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from fundarb.clock import Clock
from fundarb.core.market import Book, Category, Instruments, Level, MarketSnapshot, Pair, PerpQuote, Quote
from fundarb.core.records import PositionRecord
from fundarb.engine.gone import GONE, beside, gone_perp
from fundarb.engine.kept_pairs import KeptPairs
from fundarb.engine.ports import MarketData
from fundarb.errors import BadAnswer, Unavailable

_MOMENT = timedelta(seconds=1)
_TOP = 5
"""Levels of a book that is only asked for its best price: less to wait for."""


class MarketView:
    """Holds the newest snapshot; reading it again is the caller's decision (``refresh`` or ``at_most``)."""

    def __init__(self, data: MarketData, clock: Clock) -> None:
        """Start without a snapshot."""
        self._data = data
        self._clock = clock
        self._snapshot: MarketSnapshot | None = None
        self._received = timedelta()
        self._listed: Instruments | None = None
        self._books: dict[tuple[Category, str], tuple[Book, timedelta]] = {}
        self._kept: KeptPairs | None = None
        self._noted: dict[str, Pair] = {}
        self._unlisted: dict[str, Pair] = {}

    def stand_in(self, kept: KeptPairs) -> None:
        """What was kept of held positions serves while the instrument list cannot be read."""
        self._kept = kept

    def refresh(self) -> MarketSnapshot:
        """Read all quotes of the market (two requests)."""
        snapshot = self._data.snapshot()
        self._snapshot, self._received = snapshot, self._clock.monotonic()
        return snapshot

    def at_most(self, age: timedelta) -> MarketSnapshot:
        """The held snapshot if it is not older than ``age``, else a fresh one."""
        if self._snapshot is None or self.age() > age:
            return self.refresh()
        return self._snapshot

    def age(self) -> timedelta:
        """Time since the snapshot was received, plus the distance of its two halves; very long without
        one.
        """
        if self._snapshot is None:
            return timedelta.max
        apart = abs(self._snapshot.spot_as_of - self._snapshot.perp_as_of)
        return self._clock.monotonic() - self._received + apart

    def perp_quote(self, symbol: str) -> PerpQuote | None:
        """The last seen quote of a perp, of any age; None if never seen."""
        return None if self._snapshot is None else self._snapshot.perp.get(symbol)

    def mark(self, symbol: str) -> Decimal | None:
        """The last seen mark price of a perp, of any age, else the mid of its book; None if never seen."""
        quote = self.perp_quote(symbol)
        return quote.mark if quote is not None else self._book_mid(Category.LINEAR, symbol)

    def spot_mid(self, symbol: str) -> Decimal | None:
        """The last seen spot mid, of any age; None if never seen."""
        quote = self._snapshot.spot.get(symbol) if self._snapshot is not None else None
        return quote.mid if quote is not None else self._book_mid(Category.SPOT, symbol)

    def spot_bid(self, symbol: str) -> Decimal | None:
        """The last seen spot bid, of any age: what a sale would get; None if never seen."""
        quote = self._snapshot.spot.get(symbol) if self._snapshot is not None else None
        if quote is not None:
            return quote.bid
        seen = self._books.get((Category.SPOT, symbol))
        return None if seen is None or not seen[0].bids else seen[0].bids[0].price

    def coin(self, coin: str) -> tuple[Decimal, datetime] | None:
        """What a coin was worth in USDT when quotes were read last, and when that was; None if never seen."""
        quote = self._snapshot.spot.get(f"{coin}USDT") if self._snapshot is not None else None
        return None if quote is None or self._snapshot is None else (quote.mid, self._snapshot.spot_as_of)

    def _book_mid(self, category: Category, symbol: str) -> Decimal | None:
        seen = self._books.get((category, symbol))
        return None if seen is None else seen[0].mid

    def mids(self, position: PositionRecord) -> tuple[Decimal | None, Decimal | None]:
        """The last seen mids of both legs, spot first; None where a market was never seen."""
        quote = self.perp_quote(position.perp_symbol)
        perp = quote.mid if quote is not None else self._book_mid(Category.LINEAR, position.perp_symbol)
        return self.spot_mid(position.spot_symbol), perp

    def instruments(self, *, refresh: bool = False) -> Instruments:
        """Every instrument, from the cache where that is young enough."""
        self._listed = self._data.instruments(refresh=refresh)
        return self._listed

    def pair_of(self, position: PositionRecord) -> Pair:
        """The pair of a held position with the multiplier judged when it was opened.

        What was read before serves, however old it is: a held position is hedged and closed by what is known
        of its steps, and asks nobody on the way. ``Unavailable`` if it is not listed, or the list cannot be
        read and nothing was kept of it.
        """
        pair = self._listed_pair(position)
        for refresh in (False, True):
            if pair is not None:
                return self._keep(position, pair)
            try:
                self.instruments(refresh=refresh)
            except Unavailable:
                kept = self._kept.of(position) if self._kept is not None else None
                if kept is None:
                    raise
                return self._unlisted.setdefault(position.position_id, kept)
            pair = self._listed_pair(position)
        if pair is not None:
            return self._keep(position, pair)
        message = f"{position.spot_symbol} or {position.perp_symbol} is not listed any more"
        raise Unavailable(message)

    def renew(self, position: PositionRecord, *, older_than: timedelta) -> None:
        """Read the list again where it is older, for steps and minimums change; a list that does not name the
        position's instruments any more takes the place of none that does. ``Unavailable``: what was known
        stays.
        """
        before = self._listed or self.instruments()
        if self._clock.now() - before.as_of > older_than:
            self.instruments(refresh=True)
            if self._listed_pair(position) is None:
                self._listed = before

    def known_pair(self, position: PositionRecord) -> Pair | None:
        """The same from what was read last, however old it is; asks nobody. None if it is not in there."""
        return self._listed_pair(position) or self._unlisted.get(position.position_id)

    def _keep(self, position: PositionRecord, pair: Pair) -> Pair:
        noted = self._noted.get(position.position_id)
        same = noted is not None and noted.spot is pair.spot and noted.perp is pair.perp
        if self._kept is not None and not same:
            self._kept.keep(position, pair)
            self._noted[position.position_id] = pair
        return pair

    def _listed_pair(self, position: PositionRecord) -> Pair | None:
        if self._listed is None:
            return None
        spot = self._listed.spot.get(position.spot_symbol)
        perp = self._listed.perp.get(position.perp_symbol)
        if spot is not None and perp is None and not position.contracts:
            perp = gone_perp(position, spot)  # delivered: what is left is sold on the spot market alone
        if spot is None or perp is None:
            return None
        return Pair(base=position.base, spot=spot, perp=perp, multiplier=position.multiplier)

    def books(self, pair: Pair, depth: int = 50, *, only: Category | None = None) -> tuple[Book, Book]:
        """Fresh order books of both legs, spot first; ``Unavailable`` if one is crossed or empty. ``only``:
        as in ``any_books``.
        """
        books = self.any_books(pair, depth, only=only)
        for book in books:
            if book.crossed:
                message = f"the {book.category} book of {book.symbol} is empty or crossed"
                raise Unavailable(message)
        return books

    def books_or_quotes(self, pair: Pair, *, only: Category | None = None) -> tuple[Book, Book]:
        """Fresh books, else one level of each from fresh quotes: for a hedge the best price will do.
        ``Unavailable`` if the venue shows neither. ``only``: as in ``any_books``.
        """
        try:
            return self.books(pair, _TOP, only=only)
        except Unavailable as error:
            snapshot = self.refresh()
            spot, perp = snapshot.spot.get(pair.spot.symbol), snapshot.perp.get(pair.perp.symbol)
            if spot is None or perp is None:
                raise Unavailable(str(error)) from error
            books = (
                _touch(Category.SPOT, spot, as_of=snapshot.spot_as_of),
                _touch(Category.LINEAR, perp, as_of=snapshot.perp_as_of),
            )
            if any(book.crossed for book in books):
                raise Unavailable(str(error)) from error
            return books

    def any_books(self, pair: Pair, depth: int = 50, *, only: Category | None = None) -> tuple[Book, Book]:
        """The same as they are: whoever reads them judges them (``core.freshness``).

        ``only`` names the leg that is to be traded: of the other one a book of a moment ago will do, as it
        only says what the smallest orders are.
        """
        spot = self._book(Category.SPOT, pair.spot.symbol, depth=depth, near=only is Category.LINEAR)
        if pair.perp.status == GONE:
            perp = beside(spot, pair)
            self._note(perp)
        else:
            perp = self._book(Category.LINEAR, pair.perp.symbol, depth=depth, near=only is Category.SPOT)
        return spot, perp

    def _book(self, category: Category, symbol: str, *, depth: int, near: bool) -> Book:
        """A fresh book, or (``near``) the last one where that is of a moment ago."""
        seen = self._books.get((category, symbol)) if near else None
        if seen is not None and self._clock.monotonic() - seen[1] <= _MOMENT:
            return seen[0]
        try:
            book = self._data.book(category, symbol, depth=depth)
        except Unavailable as error:
            kind = BadAnswer if isinstance(error, BadAnswer) else Unavailable
            message = f"the order book of {category} {symbol} cannot be read: {error}"
            raise kind(message, code=error.code) from error
        self._note(book)
        return book

    def _note(self, book: Book) -> None:
        if not book.crossed:
            self._books[book.category, book.symbol] = (book, self._clock.monotonic())

    def reference(self, position: PositionRecord, category: Category) -> tuple[Decimal, timedelta] | None:
        """What a hedge's price is held against, and its age: the book's mid if one was read since the quotes,
        else the perp's mark or the spot mid. None if neither was seen.
        """
        spot = category is Category.SPOT
        symbol = position.spot_symbol if spot else position.perp_symbol
        seen = self._books.get((category, symbol))
        if seen is not None and (self._snapshot is None or seen[1] >= self._received):
            return seen[0].mid, self._clock.monotonic() - seen[1]
        quoted = self.spot_mid(symbol) if spot else self.mark(symbol)
        return None if quoted is None else (quoted, self.age())


def _touch(category: Category, quote: Quote, *, as_of: datetime) -> Book:
    """A book of nothing but the best levels."""
    return Book(
        category=category,
        symbol=quote.symbol,
        bids=(Level(quote.bid, quote.bid_size),),
        asks=(Level(quote.ask, quote.ask_size),),
        as_of=as_of,
    )
