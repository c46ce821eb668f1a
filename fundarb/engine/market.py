"""The latest view of the market and its ages: what a decision may look at, and whether it is fresh enough to
be looked at.

A snapshot's rows carry no time, so freshness is measured twice: by our own monotonic clock since it was
received, and by the difference between the venue's two answer times (spot and perp quotes of different
moments make a false basis).
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from fundarb.clock import Clock
from fundarb.core.market import Book, Category, Instruments, MarketSnapshot, Pair
from fundarb.core.records import PositionRecord
from fundarb.engine.ports import MarketData
from fundarb.errors import Unavailable


class MarketView:
    """Holds the newest snapshot; reading it again is the caller's decision (``refresh`` or ``at_most``)."""

    def __init__(self, data: MarketData, clock: Clock) -> None:
        """Start without a snapshot."""
        self._data = data
        self._clock = clock
        self._snapshot: MarketSnapshot | None = None
        self._received = timedelta()
        self._listed: Instruments | None = None
        self._mids: dict[tuple[Category, str], tuple[Decimal, timedelta]] = {}

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

    def mark(self, symbol: str) -> Decimal | None:
        """The last seen mark price of a perp, of any age; None if never seen."""
        quote = self._snapshot.perp.get(symbol) if self._snapshot is not None else None
        return quote.mark if quote is not None else None

    def spot_mid(self, symbol: str) -> Decimal | None:
        """The last seen spot mid, of any age; None if never seen."""
        quote = self._snapshot.spot.get(symbol) if self._snapshot is not None else None
        return quote.mid if quote is not None else None

    def instruments(self, *, refresh: bool = False) -> Instruments:
        """Every instrument, from the cache where that is young enough."""
        self._listed = self._data.instruments(refresh=refresh)
        return self._listed

    def pair_of(self, position: PositionRecord) -> Pair:
        """The pair of a held position with the multiplier judged when it was opened.

        A list that was read before serves while the venue gives no newer one: a held position is hedged and
        closed by what is known of its steps. ``Unavailable`` if it is not listed, or nothing was ever read.
        """
        for refresh in (False, True):
            try:
                self.instruments(refresh=refresh)
            except Unavailable:
                if self.known_pair(position) is None:
                    raise
            pair = self.known_pair(position)
            if pair is not None:
                return pair
        message = f"{position.spot_symbol} or {position.perp_symbol} is not listed any more"
        raise Unavailable(message)

    def known_pair(self, position: PositionRecord) -> Pair | None:
        """The same from what was read last, however old it is; asks nobody. None if it is not in there."""
        if self._listed is None:
            return None
        spot = self._listed.spot.get(position.spot_symbol)
        perp = self._listed.perp.get(position.perp_symbol)
        if spot is None or perp is None:
            return None
        return Pair(base=position.base, spot=spot, perp=perp, multiplier=position.multiplier)

    def books(self, pair: Pair, depth: int = 50) -> tuple[Book, Book]:
        """Fresh order books of both legs, spot first; ``Unavailable`` if one is crossed or empty."""
        spot = self._data.book(Category.SPOT, pair.spot.symbol, depth=depth)
        perp = self._data.book(Category.LINEAR, pair.perp.symbol, depth=depth)
        for book in (spot, perp):
            if book.crossed:
                message = f"the {book.category} book of {book.symbol} is empty or crossed"
                raise Unavailable(message)
            self._mids[book.category, book.symbol] = (book.mid, self._clock.monotonic())
        return spot, perp

    def reference(self, position: PositionRecord, category: Category) -> tuple[Decimal, timedelta] | None:
        """What a hedge's price is held against, and its age: the book's mid if one was read since the quotes,
        else the perp's mark or the spot mid. None if neither was seen.
        """
        spot = category is Category.SPOT
        symbol = position.spot_symbol if spot else position.perp_symbol
        seen = self._mids.get((category, symbol))
        if seen is not None and (self._snapshot is None or seen[1] >= self._received):
            return seen[0], self._clock.monotonic() - seen[1]
        quoted = self.spot_mid(symbol) if spot else self.mark(symbol)
        return None if quoted is None else (quoted, self.age())
