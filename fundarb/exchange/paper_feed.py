"""Live quotes as a market source for the paper account's venue: what was last seen, and nothing that was
not.

It never fetches: ``paper`` shows it snapshots, books, settled rates and mark bars, and the venue asks it.
Limits that come with public data only, all to the account's disadvantage or neutral: fair price of a spot
pair = its middle; collateral ratios are assumed (USDT and USDC 1, BTC and ETH 0.95, other collateral coins
0.7); one risk tier for all; the mark at a past instant is the bar's where bars were shown, else the current
one.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from fundarb.core.market import (
    Book,
    Category,
    FundingRate,
    Instruments,
    Level,
    MarketSnapshot,
    PerpInstrument,
    PerpQuote,
    SettledFunding,
    SpotInstrument,
    SpotQuote,
)
from fundarb.core.money import ONE, ZERO
from fundarb.errors import Unavailable
from fundarb.venue.feed import Bar, CoinRules, CollateralTier, Happening, Listing, Point

_ASSUMED = {"USDT": ONE, "USDC": ONE, "BTC": Decimal("0.95"), "ETH": Decimal("0.95")}
_OTHER = Decimal("0.7")
_HOURLY = Decimal("0.00002")
"""Interest per hour on borrowed coins: about 17 % a year, dearer than usual."""
Key = tuple[Category, str]


class LiveFeed:
    """Satisfies ``venue.feed.MarketFeed``."""

    def __init__(self, instruments: Instruments, remembered: Mapping[Key, Point] | None = None) -> None:
        """``remembered``: quotes of an earlier run, used until better ones are shown."""
        self._instruments = instruments
        self._points: dict[Key, Point] = dict(remembered or {})
        self._fundings: dict[str, FundingRate] = {}
        self._books: dict[Key, Book] = {}
        self._settled: dict[str, dict[datetime, SettledFunding]] = {}
        self._bars: dict[str, tuple[int, tuple[Bar, ...]]] = {}
        self._coins = {name: _coin(name, ratio) for name, ratio in _ASSUMED.items()}

    # ------------------------------------------------------------------------------------------ what is shown

    def show(self, snapshot: MarketSnapshot) -> None:
        """All quotes of the market; symbols that are missing keep their last ones."""
        for symbol, quote in snapshot.spot.items():
            self._points[Category.SPOT, symbol] = _spot_point(quote)
            instrument = self._instruments.spot.get(symbol)
            if (
                quote.usd_index is not None
                and instrument is not None
                and instrument.base_coin not in self._coins
            ):
                self._coins[instrument.base_coin] = _coin(instrument.base_coin, _OTHER)
        for symbol, perp in snapshot.perp.items():
            self._points[Category.LINEAR, symbol] = _perp_point(perp)
            if perp.funding is not None:
                self._fundings[symbol] = perp.funding

    def show_book(self, book: Book) -> None:
        """A fresh order book, to match against until ``forget_books``."""
        self._books[book.category, book.symbol] = book

    def forget_books(self) -> None:
        """Books are stale a moment later."""
        self._books.clear()

    def show_settled(self, symbol: str, rows: tuple[SettledFunding, ...]) -> None:
        """Settled rates of one symbol."""
        known = self._settled.setdefault(symbol, {})
        known.update((row.time, row) for row in rows)

    def show_marks(self, symbol: str, bars: tuple[Bar, ...], *, size: Decimal) -> None:
        """Mark price bars of a past window; inside one the extreme that hurts ``size`` counts."""
        self._bars[symbol] = (1 if size > 0 else -1, bars)

    def forget_marks(self) -> None:
        """The past is dealt with."""
        self._bars.clear()

    def remembered(self, key: Key) -> Point | None:
        """The last quote of a symbol."""
        return self._points.get(key)

    def lists(self, category: Category, symbol: str) -> bool:
        """Whether the instrument is known to this feed."""
        return symbol in (self._instruments.spot if category is Category.SPOT else self._instruments.perp)

    def instrument(self, category: Category, symbol: str) -> SpotInstrument | PerpInstrument | None:
        """One instrument, if known."""
        if category is Category.SPOT:
            return self._instruments.spot.get(symbol)
        return self._instruments.perp.get(symbol)

    # ------------------------------------------------------------------------------------------ MarketFeed

    def listings(self) -> tuple[Listing, ...]:
        """Every instrument of the venue."""
        spots = tuple(Listing(instrument=item) for item in self._instruments.spot.values())
        return (*spots, *(Listing(instrument=item) for item in self._instruments.perp.values()))

    def coins(self) -> Mapping[str, CoinRules]:
        """Assumed collateral (see the module's words)."""
        return self._coins

    def happenings(self) -> tuple[Happening, ...]:
        """Nothing is scripted."""
        return ()

    def point(self, category: Category, symbol: str, *, at: datetime) -> Point:
        """The last quote, with the mark of a past instant where bars tell it; ``Unavailable`` if never
        quoted.
        """
        point = self._points.get((category, symbol))
        if point is None:
            raise Unavailable(f"no quote of {symbol} ({category.value}) has been seen yet")
        if category is Category.LINEAR and symbol in self._bars:
            mark = self._past_mark(symbol, at)
            return point if mark is None else point._replace(mark=mark)
        return point

    def _past_mark(self, symbol: str, at: datetime) -> Decimal | None:
        """The opening mark at a bar's very start, inside a bar its worse extreme; None outside all bars."""
        sign, bars = self._bars[symbol]
        if len(bars) < 2:
            return None
        step = bars[1].start - bars[0].start
        for bar in bars:
            if bar.start == at:
                return bar.open
            if bar.start < at < bar.start + step:
                return bar.low if sign > 0 else bar.high
        return None

    def points(self, category: Category, at: datetime) -> Mapping[str, Point]:
        """Every quote seen."""
        return {symbol: self.point(kind, symbol, at=at) for kind, symbol in self._points if kind is category}

    def book(self, category: Category, symbol: str, *, at: datetime, depth: int) -> Book:
        """The book that was shown, else the best levels of the quote."""
        book = self._books.get((category, symbol))
        if book is not None:
            return book
        point = self.point(category, symbol, at=at)
        return Book(
            category=category,
            symbol=symbol,
            bids=() if point.bid is None else (Level(point.bid, point.bid_size),)[:depth],
            asks=() if point.ask is None else (Level(point.ask, point.ask_size),)[:depth],
            as_of=at,
        )

    def funding(self, symbol: str, at: datetime) -> FundingRate:
        """The last running rate, rolled on if its settlement has passed; ``Unavailable`` if never quoted."""
        funding = self._fundings.get(symbol)
        if funding is None:
            raise Unavailable(f"no funding rate of {symbol} has been seen yet")
        if funding.next_time > at:
            return funding
        missed = (at - funding.next_time) // funding.interval + 1
        return FundingRate(
            rate=funding.rate,
            interval=funding.interval,
            next_time=funding.next_time + missed * funding.interval,
            cap=funding.cap,
        )

    def runs(self, symbol: str) -> bool:
        """Whether a running rate of the symbol was ever seen."""
        return symbol in self._fundings

    def fundings(self, at: datetime) -> Mapping[str, FundingRate]:
        """Every running rate seen."""
        return {symbol: self.funding(symbol, at) for symbol in self._fundings}

    def settlements(self, symbol: str, since: datetime, *, until: datetime) -> tuple[SettledFunding, ...]:
        """The settled rates that were shown."""
        rows = self._settled.get(symbol)
        if not rows:
            return ()
        return tuple(rows[time] for time in sorted(rows) if since < time <= until)

    def settled_at(self, symbol: str, time: datetime) -> SettledFunding | None:
        """One settled rate, if it was shown."""
        return self._settled.get(symbol, {}).get(time)


def _coin(name: str, ratio: Decimal) -> CoinRules:
    return CoinRules(coin=name, tiers=(CollateralTier(limit=None, ratio=ratio),), hourly_borrow_rate=_HOURLY)


def _spot_point(quote: SpotQuote) -> Point:
    return _point(quote, quote.mid, index=quote.mid, interest=ZERO)


def _perp_point(quote: PerpQuote) -> Point:
    return _point(quote, quote.mark, index=quote.index, interest=quote.open_interest_notional / quote.mark)


def _point(quote: SpotQuote | PerpQuote, mark: Decimal, *, index: Decimal, interest: Decimal) -> Point:
    return Point(
        bid=quote.bid,
        bid_size=quote.bid_size,
        ask=quote.ask,
        ask_size=quote.ask_size,
        last=quote.last,
        mark=mark,
        index=index,
        turnover_24h=quote.turnover_24h,
        volume_24h=quote.turnover_24h / quote.last,
        prev_24h=quote.last,
        high_24h=quote.last,
        low_24h=quote.last,
        open_interest=interest,
    )
