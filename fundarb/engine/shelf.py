"""Settled funding rates kept in memory: read once per settlement for the few coins that somebody looks at.

Satisfies ``engine.scan.SettledRates``. It only reads; a rate that could not be read is missing, never zero.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from fundarb.clock import Clock
from fundarb.core.forecast import RateHistory
from fundarb.core.market import FundingRate, SettledFunding
from fundarb.engine.held import NextSettlement
from fundarb.engine.ports import MarketData
from fundarb.errors import Unavailable

_LEAST_AGE = timedelta(minutes=25)
"""A symbol is not asked for again sooner: no venue settles more often than hourly."""
_KEEP = 400


@dataclass(frozen=True, slots=True)
class _Row:
    """What is known of one perp, and when it was read."""

    rates: RateHistory
    read: datetime


class FundingShelf:
    """Settled rates by perp symbol."""

    def __init__(self, market: MarketData, clock: Clock) -> None:
        """Empty."""
        self._market = market
        self._clock = clock
        self._rows: dict[str, _Row] = {}

    def cached(self, symbols: Collection[str]) -> Mapping[str, tuple[SettledFunding, ...]]:
        """What is known of these perps, oldest first; symbols that were never read are missing."""
        return {symbol: row.rates for symbol in symbols if (row := self._rows.get(symbol)) is not None}

    def of(self, symbol: str) -> tuple[SettledFunding, ...]:
        """What is known of one perp, oldest first; empty if it was never read."""
        row = self._rows.get(symbol)
        return () if row is None else row.rates

    def refresh(self, running: Mapping[str, FundingRate]) -> tuple[str, ...]:
        """Read what must have been settled since the last time, one request per due symbol; which were
        read.

        ``running`` is the running period by perp symbol: nothing new can be there before the settlement after
        the newest known one. A symbol that cannot be read keeps what is known of it.
        """
        read = []
        for symbol, period in running.items():
            row = self._rows.get(symbol)
            if row is not None and not self._due(row, period):
                continue
            try:
                self._read(symbol, row, now=self._clock.now())
            except Unavailable:
                continue
            read.append(symbol)
        return tuple(read)

    def _due(self, row: _Row, period: FundingRate) -> bool:
        """Whether a settlement lies behind us that the shelf does not have; asked for twice an hour at
        most.
        """
        now = self._clock.now()
        latest = NextSettlement(period.next_time, period.interval).last(now)
        missing = not row.rates or row.rates[-1].time < latest
        return missing and now - row.read >= _LEAST_AGE

    def _read(self, symbol: str, row: _Row | None, *, now: datetime) -> None:
        """The newest rates of a symbol added to what is known."""
        known = () if row is None else row.rates
        if known:
            fresh = self._market.settled_funding(symbol, since=known[-1].time, until=now)
        else:
            fresh = self._market.settled_funding(symbol)
        merged = {item.time: item for item in (*known, *fresh)}
        newest = RateHistory(merged[time] for time in sorted(merged)[-_KEEP:])
        self._rows[symbol] = _Row(newest, now)
