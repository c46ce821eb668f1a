"""When funding is settled and at what rate: the feed's own schedule, or the venue's where the world has
taken it over.

Once a rate or an interval of a symbol was overridden, the venue settles that symbol itself from then on and
keeps the history, held or not; before that the feed's history counts. Facts: Bybit V5 API; settlement
instants are multiples of the interval since midnight UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from fundarb.core.instants import floor_hour
from fundarb.core.market import Category, FundingRate, SettledFunding
from fundarb.core.money import dec
from fundarb.venue.feed import MarketFeed
from fundarb.venue.filters import LOWER, UPPER
from fundarb.venue.state import State, slot

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BEFORE = timedelta(seconds=1)
_INSTANT = timedelta(microseconds=1)
_RATE_STEP = Decimal("1e-8")


class Schedule:
    """Funding of every symbol at ``state.now``."""

    def __init__(self, feed: MarketFeed, state: State) -> None:
        """Over a feed and the world's changes to it."""
        self._feed = feed
        self._state = state
        self._over = state.market

    def running(self, symbol: str) -> FundingRate:
        """The running period."""
        return self._changed(symbol, self._feed.funding(symbol, self._state.now), at=self._state.now)

    def settling(self, symbol: str, within: timedelta) -> bool:
        """Whether a settlement of this venue's life was so short a time ago."""
        if self._state.now - floor_hour(self._state.now) >= within:  # settlements fall on full hours
            return False
        period = self.running(symbol)
        last = period.next_time - period.interval
        return last > self._state.start and self._state.now - last < within

    def all_running(self) -> Mapping[str, FundingRate]:
        """The running period of every perpetual that still trades."""
        rows = self._feed.fundings(self._state.now)
        over = self._over
        if not over.own_since and not over.closed:
            return rows
        result = dict(rows)
        for symbol in over.own_since.keys() & rows.keys():
            result[symbol] = self.running(symbol)
        for key in over.closed:
            kind, _, symbol = key.partition(":")
            if kind == "linear":
                result.pop(symbol, None)
        return result

    def _changed(self, symbol: str, funding: FundingRate, *, at: datetime) -> FundingRate:
        hours = self._over.intervals.get(symbol)
        if hours is not None:
            interval = timedelta(hours=hours)
            share = Decimal(interval // _BEFORE) / Decimal(funding.interval // _BEFORE)
            rate, cap = (funding.rate * share).quantize(_RATE_STEP), funding.cap
            funding = FundingRate(
                rate=rate if cap is None else max(min(rate, cap), -cap),
                interval=interval,
                next_time=_next_multiple(at, interval),
                cap=cap,
            )
        rate = self._bounded(symbol, self._over.rates.get(symbol, funding.rate))
        upper, _ = self._bounds(symbol)
        return replace(funding, rate=rate, cap=funding.cap if upper is None else upper)

    def _bounds(self, symbol: str) -> tuple[Decimal | None, Decimal | None]:
        """The highest and the lowest rate, where the world has changed them."""
        filters = self._over.filters.get(slot(Category.LINEAR, symbol), {})
        upper, lower = (dec(filters[name]) if name in filters else None for name in (UPPER, LOWER))
        return upper, lower

    def _bounded(self, symbol: str, rate: Decimal) -> Decimal:
        upper, lower = self._bounds(symbol)
        rate = rate if upper is None else min(rate, upper)
        return rate if lower is None else max(rate, lower)

    def take_over(self, symbol: str) -> None:
        """From now on the venue itself settles this symbol."""
        self._over.own_since.setdefault(symbol, self._state.now)

    def next_settlement(self, symbol: str, until: datetime) -> SettledFunding | None:
        """The first settlement in (now, until], with its rate; None if there is none."""
        if symbol not in self._over.own_since:
            rows = self._feed.settlements(symbol, self._state.now, until=until)
            return rows[0] if rows else None
        at = self.running(symbol).next_time
        return SettledFunding(symbol=symbol, rate=self._rate_at(symbol, at), time=at) if at <= until else None

    def _rate_at(self, symbol: str, at: datetime) -> Decimal:
        if symbol not in self._over.rates and symbol not in self._over.intervals:
            rows = self._feed.settlements(symbol, at - _INSTANT, until=at)
            if rows:
                return self._bounded(symbol, rows[-1].rate)
        return self._changed(symbol, self._feed.funding(symbol, at - _BEFORE), at=at - _BEFORE).rate

    def remember(self, row: SettledFunding) -> None:
        """Keep a settlement that the feed does not know."""
        self._over.settled.setdefault(row.symbol, []).append(row)

    def settled(self, symbol: str, since: datetime, *, until: datetime) -> tuple[SettledFunding, ...]:
        """Every settlement in (since, until], oldest first."""
        last = min(until, self._state.now)
        own = [row for row in self._over.settled.get(symbol, ()) if since < row.time <= last]
        takeover = self._over.own_since.get(symbol, last)
        fed = (
            self._feed.settlements(symbol, since, until=min(last, takeover))
            if since < min(last, takeover)
            else ()
        )
        return tuple(sorted((*fed, *own), key=lambda row: row.time)) if own else fed


def _next_multiple(at: datetime, interval: timedelta) -> datetime:
    """The first multiple of the interval (since midnight UTC) after an instant."""
    return at + interval - (at - _EPOCH) % interval
