"""The replay of recorded prices and funding as a market: Bybit's own bars and settled rates, without
looking ahead.

At the edge of a bar the price is the recorded one, and inside a bar it stays there: what the bar will do is
not known before it ends, so neither a decision nor a fill can learn from it. The extremes of a finished bar
count for the risk of what was held meanwhile (``mark_range``). Settled rates are the recorded ones and appear
at their instant; the running rate is computed from the premium so far, never from the rate to come. Of the
future only the settlement schedule and the end of the recording are known, as an exchange announces them.

A coin without spot data may be given a *constructed* spot (mark less the premium that the last settled rate
implies). Such coins are listed in ``constructed``: a run on them may claim leg and margin safety, never a
yield.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from fundarb.core.instants import from_ms, iso, to_ms
from fundarb.core.market import Book, Category, FundingRate, SettledFunding
from fundarb.errors import ConfigError, Problem
from fundarb.markets.bars import Sampled, fits, recorded_bars
from fundarb.markets.ladder import MAX_LEVELS
from fundarb.markets.recorded import Recorded, listings_of, rules_of
from fundarb.markets.tape import Folder, Series, Settled, Tape, Terms
from fundarb.venue.feed import Bar, BarKind, BarQuery, CoinRules, Happening, HappeningKind, Listing, Point

_BOOK_MS = 5000
_FINE, _COARSE, _COARSER = "5m", "1h", "4h"
_HOUR_MS = 3_600_000


class ReplayMarket:
    """The feed. ``until`` is where the shortest recording ends: there it is halted, and no venue's clock goes
    any further.
    """

    def __init__(self, coins: Iterable[Recorded], start: datetime) -> None:
        self._coins = {coin.symbol: coin for coin in coins}
        self.start = start
        self.constructed = frozenset(symbol for symbol, coin in self._coins.items() if coin.constructed)
        self.until = from_ms(min(coin.last_ms for coin in self._coins.values()))
        self._listings = tuple(listing for coin in self._coins.values() for listing in listings_of(coin))

    # ------------------------------------------------------------------------------------------ asked once

    def listings(self) -> tuple[Listing, ...]:
        """Spot and perp of every coin."""
        return self._listings

    def coins(self) -> Mapping[str, CoinRules]:
        """Collateral rules."""
        return rules_of(self._coins.values())

    def happenings(self) -> tuple[Happening, ...]:
        """A note for each constructed spot; a halt of everything where the recording ends."""
        notes = [
            Happening(
                at=self.start,
                kind=HappeningKind.NOTE,
                category=Category.SPOT,
                symbol=symbol,
                text="constructed spot: no yield may be claimed",
            )
            for symbol in sorted(self.constructed)
        ]
        halts = [
            Happening(
                at=from_ms(coin.last_ms),
                kind=HappeningKind.HALT,
                category=category,
                symbol=symbol,
                text="recording ends",
            )
            for symbol, coin in self._coins.items()
            for category in Category
        ]
        return (*notes, *sorted(halts, key=lambda item: item.at))

    # ------------------------------------------------------------------------------------------ prices

    def point(self, category: Category, symbol: str, *, at: datetime) -> Point:
        """One symbol; ``KeyError`` if there is none."""
        return self._coins[symbol].point(category, to_ms(at))

    def points(self, category: Category, at: datetime) -> Mapping[str, Point]:
        """All symbols of a market."""
        ms = to_ms(at)
        return {symbol: coin.point(category, ms) for symbol, coin in self._coins.items()}

    def mark_range(self, symbol: str, since: datetime, *, until: datetime) -> tuple[Decimal, Decimal] | None:
        """Lowest and highest mark of the bars that have ended since an instant."""
        return self._coins[symbol].mark_range(to_ms(since), to_ms(until))

    def book(self, category: Category, symbol: str, *, at: datetime, depth: int) -> Book:
        """The undisturbed book around the recorded price."""
        ms, coin = to_ms(at), self._coins[symbol]
        point, ladder = coin.point(category, ms), coin.ladder(category)
        slow, count = ms // _BOOK_MS, min(depth, MAX_LEVELS)
        bids, asks = (
            ladder.levels(price, size, upward=upward, moment=slow, count=count) if price is not None else ()
            for price, size, upward in ((point.bid, point.bid_size, False), (point.ask, point.ask_size, True))
        )
        return Book(category=category, symbol=symbol, bids=bids, asks=asks, as_of=at)

    # ------------------------------------------------------------------------------------------ funding

    def funding(self, symbol: str, at: datetime) -> FundingRate:
        """The running period of one perp."""
        return self._coins[symbol].running(to_ms(at))

    def fundings(self, at: datetime) -> Mapping[str, FundingRate]:
        """The running period of every perp."""
        ms = to_ms(at)
        return {symbol: coin.running(ms) for symbol, coin in self._coins.items()}

    def settlements(self, symbol: str, since: datetime, *, until: datetime) -> tuple[SettledFunding, ...]:
        """Recorded rates settled in ``(since, until]``, oldest first."""
        return tuple(
            SettledFunding(symbol=symbol, rate=row.rate, time=from_ms(row.ms))
            for row in self._coins[symbol].settled(to_ms(since), to_ms(until))
        )

    # ------------------------------------------------------------------------------------------ bars

    def bars(self, query: BarQuery) -> tuple[Bar, ...]:
        """The recorded bars where they are as fine as what is asked for, else sampled from what the market
        showed; the last one ends when the query does. Oldest first.
        """
        coin = self._coins[query.symbol]
        ladder = coin.ladder(query.category)
        series = coin.series(query.category)
        if query.kind is BarKind.LAST and series is not None and fits(series, query):
            return recorded_bars(series, query, tick=ladder.tick, step=ladder.step)

        def price(at: datetime) -> float:
            fair, index = coin.fair(query.category, to_ms(at))
            if query.kind is BarKind.PREMIUM:
                return fair / index - 1.0
            if query.kind is BarKind.INDEX:
                return index
            return float(coin.mark(to_ms(at))) if query.kind is BarKind.MARK else fair

        def turnover(at: datetime) -> Decimal:
            return coin.point(query.category, to_ms(at)).turnover_24h

        grid = ladder.tick if query.kind is BarKind.LAST else ladder.fine
        return Sampled(price, grid, step=ladder.step, turnover=turnover).bars(query)


def replay(
    folder: Path, start: datetime, *, symbols: Iterable[str] = (), constructed: bool = False
) -> ReplayMarket:
    """A market out of a folder of recordings, beginning at ``start``.

    Without ``symbols`` every coin is taken whose spot and perp were both recorded around the start, at five
    minutes if possible, else hourly. With ``constructed`` also the perps without spot. ``ConfigError`` if
    nothing was recorded at the start.
    """
    source, at = Folder(folder), to_ms(start)
    wanted = frozenset(symbols)
    perps, spots = _bars(source, at, interval=_FINE, wanted=wanted)
    if not perps.keys() & spots.keys():
        perps, spots = _bars(source, at, interval=_COARSE, wanted=wanted)
    if constructed:
        hourly, _ = _bars(source, at, interval=_COARSE, wanted=wanted)
        perps = {**hourly, **{symbol: series for symbol, series in perps.items() if symbol in spots}}
    chosen = sorted(symbol for symbol in perps if symbol in spots or constructed)
    missing = sorted(wanted - set(chosen))
    if not chosen or missing:
        raise _nothing(source, start, missing=missing)
    funding, marks = source.funding(chosen), _marks(source, chosen, at=at)
    filters, tiers = source.filters(), source.tiers(chosen)
    coins = []
    for symbol in chosen:
        if ("perp", symbol) not in filters or not _settles(funding.get(symbol, []), at):
            continue
        tape = Tape(
            symbol=symbol,
            perp=perps[symbol],
            spot=spots.get(symbol),
            marks=marks.get(symbol),
            funding=tuple(funding[symbol]),
        )
        perp = filters["perp", symbol]
        terms = Terms(perp=perp, spot=filters.get(("spot", symbol), perp), tiers=tuple(tiers.get(symbol, ())))
        coins.append(Recorded(tape, terms, start_ms=at))
    if not coins:
        raise _nothing(source, start, missing=missing)
    return ReplayMarket(coins, start)


def _settles(rows: list[Settled], at: int) -> bool:
    """Whether the recorded settlements of a coin reach back to the start: else its schedule is not known."""
    return bool(rows) and rows[0].ms <= at + rows[0].hours * _HOUR_MS


def _marks(source: Folder, symbols: Iterable[str], *, at: int) -> dict[str, Series]:
    """Recorded marks, hourly where there are any, else every four hours."""
    found = source.series("klines_mark", symbols, at_ms=at, interval=_COARSE)
    missing = [symbol for symbol in symbols if symbol not in found]
    return found | (source.series("klines_mark", missing, at_ms=at, interval=_COARSER) if missing else {})


def _nothing(source: Folder, start: datetime, *, missing: list[str]) -> ConfigError:
    what = f"of {', '.join(missing)} " if missing else ""
    covered = source.covered("klines_perp_5m") or source.covered("klines_perp")
    spans = (
        f"it covers {iso(from_ms(covered[0]))} to {iso(from_ms(covered[1]))}"
        if covered
        else "see coverage.csv"
    )
    remedy = f"choose --clock virtual and a --start inside the recording: {spans}"
    return ConfigError(Problem("--replay", f"nothing {what}was recorded at {iso(start)}", remedy))


def _bars(
    source: Folder, at: int, *, interval: str, wanted: frozenset[str]
) -> tuple[dict[str, Series], dict[str, Series]]:
    suffix = "_5m" if interval == _FINE else ""
    perps = source.series(f"klines_perp{suffix}", wanted, at_ms=at, interval=interval)
    spots = source.series(f"klines_spot{suffix}", wanted, at_ms=at, interval=interval)
    usable = {symbol: series for symbol, series in perps.items() if symbol.endswith("USDT")}
    return usable, spots
