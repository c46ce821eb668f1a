"""A whole market out of a seed: about forty coins of very different quality, honest about what carry earns.

``synthetic(seed, start)`` is a ``MarketFeed`` (and a ``BarFeed``): every answer is a pure function of seed,
symbol and instant, in whatever order it is asked, before the start (history) and after it. Most coins carry
little, a few well for weeks, some bite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from random import Random

from fundarb.core.instants import floor_hour, to_ms
from fundarb.core.market import Book, Category, FundingRate, SettledFunding
from fundarb.markets.bars import Sampled
from fundarb.markets.coins import Coin, Mood, catalogue, many
from fundarb.markets.faces import Face, FundingGrid, Moment
from fundarb.markets.instruments import coin_rules, listings_of
from fundarb.markets.ladder import MAX_LEVELS
from fundarb.markets.model import BP, HOUR_MS, CoinModel, Market, fine_sines
from fundarb.markets.script import Bump, accidents
from fundarb.venue.feed import Bar, BarKind, BarQuery, CoinRules, Happening, Listing, Point

_MOMENT_MS = 500
_BOOK_MS = 5000
_BOOKS_KEPT = 16
_BOOK_SIZES = (1, 13, 26, 64, 112, 256, MAX_LEVELS)
_HOT_AT_START = 3
_COOLING = 2


class SyntheticMarket:
    """The feed. ``origin`` is the full hour at or before the start; prices begin there as the table says."""

    def __init__(self, seed: int, start: datetime, *, coins: tuple[Coin, ...]) -> None:
        self.seed = seed
        self.origin = floor_hour(start)
        self._origin_ms = to_ms(self.origin)
        self._script = accidents(seed, self.origin, coins=coins)
        self._grid = FundingGrid(self.origin, self._script.switches)
        self._coins = coins
        self._listings: list[Listing] = []
        self._faces: dict[Category, dict[str, Face]] = {category: {} for category in Category}
        market = Market(seed, self._origin_ms // HOUR_MS, script=self._script)
        models = [CoinModel(coin, market) for coin in coins]
        self._set_the_stage(models)
        for model in models:
            for listing in listings_of(model.coin, self.origin):
                self._listings.append(listing)
                self._faces[listing.category][listing.symbol] = Face(model, listing, grid=self._grid)
        self._rates: dict[tuple[str, int], SettledFunding] = {}
        self._books: dict[tuple[Category, str, int], tuple[int, Book]] = {}
        """By market and instant: of how many levels it was made, and the book."""
        self._moment: Moment | None = None

    def _set_the_stage(self, models: list[CoinModel]) -> None:
        """Some hot coins pay at the start whatever the seed; some of them cool down soon after."""
        random = Random(f"{self.seed}|stage")
        hot = [
            model for model in models if model.coin.mood is Mood.HOT and model.coin.spot and model.coin.perp
        ]
        random.shuffle(hot)
        for number, model in enumerate(hot[: _HOT_AT_START + _COOLING]):
            model.regime.pin(0, random.uniform(7.8, 10.0) * BP, random.uniform(7.2, 9.5) * BP)
            if number >= _HOT_AT_START:
                cooling = Bump(start=24 * random.randint(3, 6), rise=20, hold=600, fall=48, height=-9 * BP)
                self._script.move(model.coin, premium=cooling)

    # ------------------------------------------------------------------------------------------ asked once

    def listings(self) -> tuple[Listing, ...]:
        """Every instrument."""
        return tuple(self._listings)

    def coins(self) -> Mapping[str, CoinRules]:
        """Collateral rules."""
        return coin_rules(self._coins)

    def happenings(self) -> tuple[Happening, ...]:
        """The script."""
        return tuple(self._script.happenings)

    # ------------------------------------------------------------------------------------------ prices

    def moment(self, at: datetime) -> Moment:
        """An instant in the market's terms; the last one is remembered."""
        ms = to_ms(at)
        known = self._moment
        if known is not None and known.ms == ms:
            return known
        hour, rest = divmod(ms - self._origin_ms, HOUR_MS)
        fraction = rest / HOUR_MS
        self._moment = Moment(ms, hour, fraction, fine_sines(fraction), ms // _MOMENT_MS)
        return self._moment

    def point(self, category: Category, symbol: str, *, at: datetime) -> Point:
        """One symbol; ``KeyError`` if there is none."""
        return self._faces[category][symbol].point(self.moment(at))

    def points(self, category: Category, at: datetime) -> Mapping[str, Point]:
        """All symbols of a market."""
        moment = self.moment(at)
        return {symbol: face.point(moment) for symbol, face in self._faces[category].items()}

    def book(self, category: Category, symbol: str, *, at: datetime, depth: int) -> Book:
        """The undisturbed book; the last few are remembered, as matching asks for the same one again. Levels
        do not depend on how many are asked for, so that few are made where few will do.
        """
        count = next((size for size in _BOOK_SIZES if depth <= size), MAX_LEVELS)
        key = (category, symbol, to_ms(at))
        known = self._books.get(key)
        if known is not None and known[0] >= count:
            count, found = known
        else:
            if len(self._books) >= _BOOKS_KEPT:
                self._books.clear()
            found = self._book(category, symbol, at=at, count=count)
            self._books[key] = count, found
        if depth >= count:
            return found
        return replace(found, bids=found.bids[:depth], asks=found.asks[:depth])

    def _book(self, category: Category, symbol: str, *, at: datetime, count: int) -> Book:
        face, moment = self._faces[category][symbol], self.moment(at)
        point = face.point(moment)
        slow, stress = moment.ms // _BOOK_MS, face.inside(moment.hour).stress
        sides = [
            face.ladder.levels(price, size, upward=upward, moment=slow, count=count, stress=stress)
            if price is not None
            else ()
            for price, size, upward in ((point.bid, point.bid_size, False), (point.ask, point.ask_size, True))
        ]
        return Book(category=category, symbol=symbol, bids=sides[0], asks=sides[1], as_of=at)

    # ------------------------------------------------------------------------------------------ funding

    def funding(self, symbol: str, at: datetime) -> FundingRate:
        """The running period of one perp."""
        return self._faces[Category.LINEAR][symbol].running(self.moment(at))

    def fundings(self, at: datetime) -> Mapping[str, FundingRate]:
        """The running period of every perp."""
        moment = self.moment(at)
        return {symbol: face.running(moment) for symbol, face in self._faces[Category.LINEAR].items()}

    def settlements(self, symbol: str, since: datetime, *, until: datetime) -> tuple[SettledFunding, ...]:
        """Settled rates in ``(since, until]``, oldest first."""
        face = self._faces[Category.LINEAR][symbol]
        first = (to_ms(since) - self._origin_ms) // HOUR_MS + 1
        last = (to_ms(until) - self._origin_ms) // HOUR_MS
        found = []
        for hour, hours in self._grid.ends(face.model.coin, first, last=last):
            known = self._rates.get((symbol, hour))
            if known is None:
                rate, time = face.settled(hour, hours), self._grid.instant(hour)
                known = self._rates[symbol, hour] = SettledFunding(symbol=symbol, rate=rate, time=time)
            found.append(known)
        return tuple(found)

    # ------------------------------------------------------------------------------------------ bars

    def bars(self, query: BarQuery) -> tuple[Bar, ...]:
        """Bars sampled from the path, oldest first."""
        face = self._faces[query.category][query.symbol]
        ladder = face.ladder
        grid = ladder.tick if query.kind is BarKind.LAST else ladder.fine

        def price(at: datetime) -> float:
            fair, index = face.fair(self.moment(at))
            if query.kind is BarKind.PREMIUM:
                return fair / index - 1.0
            return index if query.kind is BarKind.INDEX else fair

        def turnover(at: datetime) -> Decimal:
            return face.point(self.moment(at)).turnover_24h

        return Sampled(price, grid, step=ladder.step, turnover=turnover).bars(query)


def synthetic(seed: int, start: datetime, *, pairs: int | None = None) -> SyntheticMarket:
    """The built-in market, or one of ``pairs`` spot and perp pairs for measurements.

    ``start`` is where its script begins.
    """
    return SyntheticMarket(seed, start, coins=catalogue() if pairs is None else many(pairs))
