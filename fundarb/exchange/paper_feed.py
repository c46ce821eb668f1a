"""Live quotes as a market source for the paper account's venue: what was last seen, and nothing that was
not.

It never fetches: ``paper`` shows it snapshots, books, settled rates, mark bars and tables of margin, and the
venue asks it. A quote offers something from the moment it was seen; of the past, and of an earlier process,
only its values remain. Where a table of margin was not shown, assumptions to the account's disadvantage stand
in: coins other than USDT and USDC are no collateral, and maintenance is half the initial margin of the
contract's largest leverage (as in first tiers) in steep brackets. The fair price of a spot pair is its
middle; the mark at a past instant is the bar's where bars were shown, else the current one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

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
from fundarb.venue.feed import Bar, CoinRules, CollateralTier, Happening, Listing, Point, RiskTier

_WHOLE = ("USDT", "USDC")
_FIRST_BRACKET = Decimal(25_000)
_BRACKETS = 8
_HOURLY = Decimal("0.00002")
"""Interest per hour on borrowed coins: about 17 % a year, dearer than usual."""
_SAMPLES = 240
"""Looks at a contract that ends, kept for its last half hour: one every ten seconds, and some."""
TERMS_KEPT = timedelta(days=1)
"""How long tables of margin and collateral are believed."""
Key = tuple[Category, str]


@dataclass(slots=True, kw_only=True)
class Terms:
    """What of these tables is known, and since when. ``Live`` keeps it over a restart."""

    tiers: dict[str, list[RiskTier]] = field(default_factory=dict)
    collateral: dict[str, list[CollateralTier]] = field(default_factory=dict)
    read: dict[str, datetime] = field(default_factory=dict)
    """When each contract's tiers were read; "" for the collateral."""

    def due(self, now: datetime, symbol: str) -> bool:
        """Whether a contract's tiers ("": the collateral) are unknown or old."""
        return symbol not in self.read or now - self.read[symbol] > TERMS_KEPT


class LiveFeed:
    """Satisfies ``venue.feed.MarketFeed``."""

    def __init__(
        self, instruments: Instruments, terms: Terms, *, remembered: Mapping[Key, Point] | None = None
    ) -> None:
        """``terms``: the tables of margin as far as known; ``remembered``: quotes of an earlier run."""
        self._instruments = instruments
        self._points: dict[Key, Point] = dict(remembered or {})
        self._fundings: dict[str, FundingRate] = {}
        self._books: dict[Key, Book] = {}
        self._settled: dict[str, dict[datetime, SettledFunding]] = {}
        self._bars: dict[str, tuple[Bar, ...]] = {}
        self._terms = terms
        self._shown_at: datetime | None = None
        self._ends: dict[str, datetime | None] = {}
        self._samples: dict[str, deque[tuple[datetime, Decimal]]] = {}

    # ------------------------------------------------------------------------------------------ what is shown

    def show(self, snapshot: MarketSnapshot, now: datetime) -> None:
        """All quotes of the market; symbols that are missing keep their last values."""
        self._shown_at = now
        self._points = {key: _without_sides(point) for key, point in self._points.items()}
        for symbol, quote in snapshot.spot.items():
            self._points[Category.SPOT, symbol] = _spot_point(quote)
        self._ends = {symbol: perp.delivery_time for symbol, perp in snapshot.perp.items()}
        for symbol, perp in snapshot.perp.items():
            self._points[Category.LINEAR, symbol] = _perp_point(perp)
            if perp.funding is not None:
                self._fundings[symbol] = perp.funding
            if perp.delivery_time is not None:
                self._samples.setdefault(symbol, deque(maxlen=_SAMPLES)).append((now, perp.index))

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

    def show_marks(self, symbol: str, bars: tuple[Bar, ...]) -> None:
        """Mark price bars of a past window."""
        self._bars[symbol] = bars

    def forget_marks(self) -> None:
        """The past is dealt with."""
        self._bars.clear()

    def quotes_perp(self, symbol: str) -> bool:
        """Whether the last snapshot had the contract."""
        return symbol in self._ends

    def ends(self, symbol: str) -> datetime | None:
        """When a contract ends, as the last snapshot has it."""
        return self._ends.get(symbol)

    def ending(self) -> set[str]:
        """Contracts whose end has been announced, as the last snapshot has it."""
        return {symbol for symbol, when in self._ends.items() if when is not None}

    def lists_perp(self, symbol: str) -> bool:
        """Whether the contract is known to this feed."""
        return symbol in self._instruments.perp

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
        perps = (
            Listing(
                instrument=item, tiers=tuple(self._terms.tiers.get(item.symbol, ())) or assumed_tiers(item)
            )
            for item in self._instruments.perp.values()
        )
        return (*spots, *perps)

    def coins(self) -> Mapping[str, CoinRules]:
        """Collateral by the venue's table, or none but the stable coins."""
        known = self._terms.collateral
        coins = {name: _coin(name, (CollateralTier(limit=None, ratio=ONE),)) for name in _WHOLE}
        return {name: _coin(name, tuple(tiers)) for name, tiers in known.items()} if known else coins

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
        if self._shown_at is None or at < self._shown_at:
            point = _without_sides(point)
        mark = self._past_mark(symbol, at) if category is Category.LINEAR else None
        if mark is not None:
            return point._replace(mark=mark, index=mark)
        if category is Category.LINEAR and symbol in self._samples:
            return point._replace(index=self._seen_index(symbol, at))
        return point

    def _seen_index(self, symbol: str, at: datetime) -> Decimal:
        """The index of a contract that ends as it was seen last at an instant, else first after it: what it
        is settled at is a mean of the past.
        """
        samples = self._samples[symbol]
        return next((index for time, index in reversed(samples) if time <= at), samples[0][1])

    def _past_mark(self, symbol: str, at: datetime) -> Decimal | None:
        """The mark at the start of the bar that holds an instant; None outside all bars and within the last
        one, which is the present.
        """
        bars = self._bars.get(symbol, ())
        if bars and bars[-1].start == at:
            return bars[-1].open
        return next((bar.open for bar, after in pairwise(bars) if bar.start <= at < after.start), None)

    def mark_range(self, symbol: str, since: datetime, *, until: datetime) -> tuple[Decimal, Decimal] | None:
        """The extremes of the mark in the bars that touch ``(since, until]``."""
        bars = self._bars.get(symbol, ())
        inside = [bar for bar, after in pairwise(bars) if bar.start <= until and after.start > since]
        if bars and bars[-1].start <= until:
            inside.append(bars[-1])
        if not inside:
            return None
        return min(bar.low for bar in inside), max(bar.high for bar in inside)

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


def _coin(name: str, tiers: tuple[CollateralTier, ...]) -> CoinRules:
    return CoinRules(coin=name, tiers=tiers, hourly_borrow_rate=_HOURLY)


def _without_sides(point: Point) -> Point:
    """A quote of the past: its values, and nothing that could be traded."""
    return point._replace(bid=None, bid_size=ZERO, ask=None, ask_size=ZERO)


def assumed_tiers(perp: PerpInstrument) -> tuple[RiskTier, ...]:
    """Brackets for a contract whose own are not known: each as wide as all before it, and half as much
    leverage.
    """
    tiers: list[RiskTier] = []
    limit, leverage, deduction = _FIRST_BRACKET, perp.max_leverage, ZERO
    for _ in range(_BRACKETS):
        rate = ONE / (2 * leverage)
        if tiers:
            deduction += tiers[-1].limit * (rate - tiers[-1].mm_rate)
        tiers.append(
            RiskTier(
                limit=limit,
                mm_rate=rate,
                im_rate=ONE / leverage,
                max_leverage=leverage,
                mm_deduction=deduction,
            )
        )
        limit, leverage = limit * 2, max(leverage / 2, ONE)
    return tuple(tiers)


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
