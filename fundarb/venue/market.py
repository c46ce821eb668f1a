"""The market as this venue shows it: the feed, plus what the world has changed and what orders have taken
from the books.

Reads are cached per instant; any change of an override calls ``touch``. It owns prices and instrument
status, and it knows nothing of accounts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from fundarb.core.market import Book, Category, PerpInstrument, SpotInstrument
from fundarb.core.money import ONE, ZERO, ceil_to, floor_to
from fundarb.core.pairing import readings
from fundarb.errors import Rejected
from fundarb.venue.book import Levels, Take, Want, scaled, settled, skip, take
from fundarb.venue.feed import CoinRules, CollateralTier, Listing, MarketFeed, Point, RangeFeed
from fundarb.venue.filters import patched
from fundarb.venue.moves import Moves, fair
from fundarb.venue.state import Position, State, Taken, slot

LOOKS = (12, 100, 1000)
"""How many levels are looked at, one after the other, until they are enough: most orders need few, and books
are made level by level.
"""
MATCH_DEPTH = LOOKS[-1]
"""Beyond it there is no book: as deep as the exchange shows one."""
_DEFAULT_BAND = Decimal("0.05")
_NO_TIME = timedelta()
_TICK = timedelta(microseconds=1)


class Market:
    """Point, book, funding and instruments at ``state.now``."""

    def __init__(self, feed: MarketFeed, state: State, *, recovery: timedelta) -> None:
        """Ask the feed once for everything static."""
        self.feed = feed
        self._state = state
        self._over = state.market
        self._recovery = recovery
        self.moves = Moves(feed, state.market)
        self._listings: dict[Category, dict[str, Listing]] = {Category.SPOT: {}, Category.LINEAR: {}}
        self._coins: dict[str, list[tuple[Category, str]]] = {}
        for listing in feed.listings():
            self._listings[listing.category][listing.symbol] = listing
            instrument = listing.instrument
            if isinstance(instrument, PerpInstrument) and instrument.delivery_time is not None:
                self._over.deliveries.setdefault(listing.symbol, instrument.delivery_time)
            for coin, _ in readings(instrument.base_coin):
                self._coins.setdefault(coin, []).append((listing.category, listing.symbol))
        self._coin_rules = dict(feed.coins())
        self._cached_at = state.now
        self._point_cache: dict[tuple[Category, str], Point] = {}
        self._bulk_cache: dict[Category, Mapping[str, Point]] = {}
        self._listing_cache: dict[tuple[Category, str], Listing] = {}
        self._instrument_cache: dict[Category, dict[str, SpotInstrument | PerpInstrument]] = {}
        self._worst: Mapping[str, Decimal] = {}
        self._swept: Mapping[str, Decimal] = {}
        self.listeners: list[Callable[[str], None]] = []

    # ------------------------------------------------------------------------------------------ instruments

    def touch(self, subject: str = "") -> None:
        """Forget what is cached: an override has changed."""
        self.forget_prices()
        self._instrument_cache.clear()
        self._listing_cache.clear()
        for listener in self.listeners:
            listener(subject)

    def listing(self, category: Category, symbol: str) -> Listing:
        """The listing with today's instrument; ``Rejected`` 10001/170121 if unknown."""
        found = self._listing_cache.get((category, symbol))
        if found is not None:
            return found
        listing = self._listings[category].get(symbol)
        if listing is None:
            if category is Category.SPOT:
                raise Rejected("Invalid symbol.", code=170121)
            raise Rejected("params error: symbol invalid", code=10001)
        found = replace(listing, instrument=self.instruments(category)[symbol])
        self._listing_cache[category, symbol] = found
        return found

    def known(self, category: Category, symbol: str) -> bool:
        """Whether the symbol was ever listed."""
        return symbol in self._listings[category]

    def instruments(self, category: Category) -> Mapping[str, SpotInstrument | PerpInstrument]:
        """Every instrument as it is now."""
        cached = self._instrument_cache.get(category)
        if cached is None:
            cached = {symbol: self._instrument(item) for symbol, item in self._listings[category].items()}
            self._instrument_cache[category] = cached
        return cached

    def _instrument(self, listing: Listing) -> SpotInstrument | PerpInstrument:
        instrument = listing.instrument
        key = slot(listing.category, listing.symbol)
        if fields := self._over.filters.get(key):
            instrument = patched(instrument, fields)
        if key in self._over.closed:
            instrument = replace(instrument, status="Closed")
        if isinstance(instrument, PerpInstrument) and (when := self._over.deliveries.get(listing.symbol)):
            instrument = replace(instrument, delivery_time=when)
        return instrument

    def open_for_trading(self, category: Category, symbol: str) -> bool:
        """Whether orders are matched: listed as trading and not halted."""
        key = slot(category, symbol)
        return self.instruments(category)[symbol].trading and not self._over.halted.get(key, False)

    def symbols_of(self, coin: str) -> tuple[tuple[Category, str], ...]:
        """Every market of a coin; contracts with a multiplier in their name included."""
        return tuple(self._coins.get(coin, ()))

    # ------------------------------------------------------------------------------------------ prices

    def _fresh(self) -> None:
        if self._cached_at != self._state.now:
            self._cached_at = self._state.now
            self.forget_prices()

    def forget_prices(self) -> None:
        """The feed may show others at the same instant."""
        self._point_cache.clear()
        self._bulk_cache.clear()

    def point(self, category: Category, symbol: str) -> Point:
        """One symbol now."""
        self._fresh()
        key = (category, symbol)
        found = self._point_cache.get(key)
        if found is None:
            if not self.known(category, symbol):
                self.listing(category, symbol)
            found = self._point_cache[key] = self._overlaid(category, symbol)
        return found

    def points(self, category: Category) -> Mapping[str, Point]:
        """Every symbol that still has a market, now."""
        self._fresh()
        cached = self._bulk_cache.get(category)
        if cached is None:
            cached = self.feed.points(category, self._state.now)
            changed = self._changed(category)
            if changed or self._over.closed:
                rows = dict(cached)
                for symbol in changed & rows.keys():
                    rows[symbol] = self.point(category, symbol)
                for key in self._over.closed:
                    kind, _, symbol = key.partition(":")
                    if kind == category.value:
                        rows.pop(symbol, None)
                cached = rows
            self._bulk_cache[category] = cached
        return cached

    def _changed(self, category: Category) -> set[str]:
        over = self._over
        changed = set(over.frozen)
        if category is Category.LINEAR:
            changed |= over.marks.keys()
        for coin in over.factors:
            changed |= {symbol for kind, symbol in self.symbols_of(coin) if kind is category}
        for key in (*over.books, *over.taken):
            kind, symbol = key.split(":")[:2]
            if kind == category.value:
                changed.add(symbol)
        return changed

    def _overlaid(self, category: Category, symbol: str) -> Point:
        over = self._over
        at = over.closed.get(slot(category, symbol)) or over.frozen.get(symbol, self._state.now)
        point = self.moves.point(self._listings[category][symbol].instrument, at)
        if self._disturbed(category, symbol):
            bids, asks = self._sides(category, symbol, depth=LOOKS[0])  # of which the next order is matched
            point = point._replace(
                bid=bids[0].price if bids else None,
                bid_size=bids[0].quantity if bids else ZERO,
                ask=asks[0].price if asks else None,
                ask_size=asks[0].quantity if asks else ZERO,
            )
        if category is Category.LINEAR:
            mark = over.marks.get(symbol, self._worst.get(symbol))
            point = point if mark is None else point._replace(mark=mark)
        elif self._swept:
            point = point._replace(mark=point.mark * self._sweep(category, symbol))
        return point

    def worst_marks(
        self, positions: Iterable[Position], since: datetime
    ) -> tuple[Mapping[str, Decimal], bool]:
        """The marks since an instant that hurt these positions most while they were held, where the source
        knows of any; and whether it does for all of them.
        """
        if not isinstance(self.feed, RangeFeed):
            return {}, False
        worst: dict[str, Decimal] = {}
        complete = True
        for held in positions:
            begin = max(since, held.opened or since)
            if begin == self._state.now:
                continue
            span = self.feed.mark_range(held.symbol, begin, until=self._state.now)
            if span is None:
                complete = False
            else:
                perp = self._listings[Category.LINEAR][held.symbol].instrument
                factor, mark = self.moves.factor(perp), span[0] if held.size > 0 else span[1]
                worst[held.symbol] = mark if factor == ONE else fair(mark * factor, perp.tick_size)
        return worst, complete

    @contextmanager
    def stressed(self, marks: Mapping[str, Decimal]) -> Iterator[None]:
        """Within it these marks count, and their coins are worth as much more or less: a mark follows the
        coin's index. The quotes do not change, and nobody is told.
        """
        self._swept = self._sweeps(marks)
        self._worst = marks
        self._point_cache.clear()
        try:
            yield
        finally:
            self._worst, self._swept = {}, {}
            self._point_cache.clear()

    def _sweeps(self, marks: Mapping[str, Decimal]) -> Mapping[str, Decimal]:
        """By which factor marks would move each coin; of several contracts of a coin the lowest counts."""
        found: dict[str, Decimal] = {}
        for symbol, mark in marks.items():
            factor = mark / self.point(Category.LINEAR, symbol).mark
            for coin, _ in readings(self._listings[Category.LINEAR][symbol].instrument.base_coin):
                found[coin] = min(found.get(coin, factor), factor)
        return found

    def _sweep(self, category: Category, symbol: str) -> Decimal:
        if category is not Category.SPOT:
            return ONE
        return self._swept.get(self._listings[category][symbol].instrument.base_coin, ONE)

    def _disturbed(self, category: Category, symbol: str) -> bool:
        """Whether the best levels are not the feed's own."""
        over = self._over
        if not over.books and not over.taken and not over.closed:
            return False
        key = slot(category, symbol)
        return (
            key in over.closed
            or key in over.books
            or f"{key}:bid" in over.taken
            or f"{key}:ask" in over.taken
        )

    def book(self, category: Category, symbol: str, *, depth: int = 50) -> Book:
        """The book without what was taken from it; that of a frozen symbol is as old as it is."""
        bids, asks = self._sides(category, symbol, depth=depth)
        as_of = self._over.frozen.get(symbol, self._state.now)
        return Book(category=category, symbol=symbol, bids=bids[:depth], asks=asks[:depth], as_of=as_of)

    def _sides(self, category: Category, symbol: str, *, depth: int) -> tuple[Levels, Levels]:
        key = slot(category, symbol)
        if key in self._over.closed:  # nobody quotes a contract that is no more
            return (), ()
        instrument = self._listings[category][symbol].instrument
        bid_gone, ask_gone = (
            ceil_to(self.missing(f"{key}:{side}"), instrument.qty_step) for side in ("bid", "ask")
        )
        fixed = self._over.books.get(key)
        if fixed is not None:
            return skip(fixed.bids, bid_gone), skip(fixed.asks, ask_gone)
        if not bid_gone and not ask_gone:
            return self._raw(category, symbol, depth=depth)
        bids: Levels = ()
        asks: Levels = ()
        for more in LOOKS:
            bids, asks = self._raw(category, symbol, depth=depth + more)
            bids, asks = skip(bids, bid_gone), skip(asks, ask_gone)
            if min(len(bids), len(asks)) > depth:
                break
        return bids, asks

    def _raw(self, category: Category, symbol: str, *, depth: int) -> tuple[Levels, Levels]:
        """Both sides of the feed's book, moved by the world's factor and what sweeps through its coin."""
        raw = self.feed.book(category, symbol, at=self._over.frozen.get(symbol, self._state.now), depth=depth)
        instrument = self._listings[category][symbol].instrument
        factor = self.moves.factor(instrument) * self._sweep(category, symbol)
        if factor == ONE:
            return raw.bids, raw.asks
        tick = instrument.tick_size
        return scaled(raw.bids, factor, tick=tick, up=False), scaled(raw.asks, factor, tick=tick, up=True)

    def takes(self, category: Category, symbol: str, *, want: Want) -> list[Take]:
        """What an order takes of the book as it stands."""
        found: list[Take] = []
        for depth in LOOKS:
            book = self.book(category, symbol, depth=depth)
            levels = book.asks if want.buying else book.bids
            found = take(levels, want)
            if settled(levels, found, want=want, depth=depth):
                break
        return found

    def missing(self, key: str) -> Decimal:
        """Base quantity that is still missing from one side (``category:symbol:bid|ask``)."""
        taken = self._over.taken.get(key)
        if taken is None:
            return ZERO
        left = self._recovery - (self._state.now - taken.at)
        if left <= _NO_TIME:
            return ZERO
        return taken.quantity * Decimal(left // _TICK) / Decimal(self._recovery // _TICK)

    def consume(self, category: Category, symbol: str, *, buying: bool, quantity: Decimal) -> None:
        """Take liquidity: it comes back evenly over the recovery time."""
        key = f"{slot(category, symbol)}:{'ask' if buying else 'bid'}"
        self._over.taken[key] = Taken(self.missing(key) + quantity, self._state.now)
        self._point_cache.pop((category, symbol), None)
        self._bulk_cache.pop(category, None)

    def forget_recovered(self) -> None:
        """Drop sides whose liquidity is back."""
        for key in [key for key in self._over.taken if not self.missing(key)]:
            del self._over.taken[key]

    def price_limits(self, category: Category, symbol: str) -> tuple[Decimal, Decimal]:
        """Highest buy and lowest sell price (Bybit V5 API), on ticks; for spot the mark stands for index
        and premium.
        """
        instrument = self.instruments(category)[symbol]
        point = self.point(category, symbol)
        x = _DEFAULT_BAND if instrument.price_limit_x is None else instrument.price_limit_x
        y = _DEFAULT_BAND if instrument.price_limit_y is None else instrument.price_limit_y
        highest = min(max(point.index, point.mark * (1 + x)), point.mark * (1 + y))
        lowest = max(min(point.index, point.mark * (1 - x)), point.mark * (1 - y))
        tick = instrument.tick_size
        return floor_to(highest, tick), max(ceil_to(lowest, tick), tick)

    # ------------------------------------------------------------------------------------------ coins

    def coin_rules(self) -> Mapping[str, CoinRules]:
        """Collateral and lending of every coin, the world's changes applied."""
        changed = self._over.collateral
        if not changed:
            return self._coin_rules
        rules = dict(self._coin_rules)
        for coin, rule in changed.items():
            known = rules.get(coin, CoinRules(coin=coin, tiers=()))
            if not rule.on:
                known = replace(known, tiers=())
            elif rule.ratio is not None:
                known = replace(known, tiers=(CollateralTier(limit=None, ratio=rule.ratio),))
            rules[coin] = known
        return rules

    def usd_price(self, coin: str) -> Decimal:
        """USD for one coin: the fair price of its USDT pair; zero for a coin without a market."""
        if coin == "USDT":
            return self._over.usd
        symbol = f"{coin}USDT"
        if symbol in self._listings[Category.SPOT]:
            return self.point(Category.SPOT, symbol).mark * self._over.usd
        return ONE if coin == "USDC" else ZERO
