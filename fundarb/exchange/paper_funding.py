"""Funding of the paper account: which rates have been settled, which are still to be published, which came
late.

Rates come from the venue's own history and are booked for the size held at their instant. The account waits a
little for a rate that is due, goes on without it when it must, and books it when it comes out. Nothing here
trades.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial

from fundarb.core.instants import floor_hour
from fundarb.core.market import SettledFunding
from fundarb.core.market_data import MarketData
from fundarb.errors import Unavailable
from fundarb.exchange.paper_feed import LiveFeed
from fundarb.exchange.paper_parts import Live, MarkHistory, where_known
from fundarb.venue.engine import Venue

LATE_AFTER = timedelta(seconds=90)
"""How long the venue may take to publish a settled rate before the account goes on without it."""
MARK_BAR = timedelta(minutes=15)
"""Bars by which past marks are asked for: settlements lie on their starts."""
_LATE_RETRY = timedelta(seconds=60)
_JUST_BEFORE = timedelta(microseconds=1)
_AROUND = timedelta(seconds=1)
_HOUR = timedelta(hours=1)


class Settlements:
    """What is known of settlements; ``live`` is the part of it that outlives the process."""

    def __init__(self, market: MarketData, live: Live) -> None:
        """Nothing is asked yet."""
        self._market = market
        self._live = live
        self._asked_late: datetime | None = None

    def learn(self, venue: Venue, feed: LiveFeed, *, now: datetime) -> None:
        """Ask for settled rates whenever a full hour has passed: intervals change unannounced, full hours
        stay.
        """
        if floor_hour(now) <= venue.now:
            return
        for symbol in venue.held():
            feed.show_settled(symbol, self._rates(symbol, since=venue.now, until=now) or ())

    def _rates(self, symbol: str, *, since: datetime, until: datetime) -> tuple[SettledFunding, ...] | None:
        """Settled rates from the venue's history; None of a contract that it shows no longer."""
        return where_known(partial(self._market.settled_funding, symbol, since=since, until=until), None)

    def expect(self, venue: Venue, feed: LiveFeed, *, now: datetime) -> None:
        """Remember when each held symbol settles next, to notice a rate that is published late."""
        held, expected = venue.held(), self._live.expected
        for symbol in [symbol for symbol in expected if symbol not in held]:
            del expected[symbol]
        for symbol in held:
            if feed.runs(symbol):
                expected[symbol] = feed.funding(symbol, now).next_time

    def hold_back(self, venue: Venue, feed: LiveFeed, *, now: datetime, patient: bool) -> datetime:
        """Now, unless the rate of a settlement that must have been is not out yet: then just before it, for a
        while, if nothing must be matched (``patient``).
        """
        target = now
        for symbol in venue.held():
            missing = [due for due in self._due(symbol, feed, since=venue.now, now=now) if due > venue.now]
            waiting = [due for due in missing if patient and now - due < LATE_AFTER]
            if waiting:
                target = min(target, waiting[0] - _JUST_BEFORE)
            if len(missing) > len(waiting):  # the older ones: the account goes on past them
                late = self._live.late.setdefault(symbol, [])
                late += [due for due in missing[: len(missing) - len(waiting)] if due not in late]
        return target

    def _due(self, symbol: str, feed: LiveFeed, *, since: datetime, now: datetime) -> list[datetime]:
        """Settlements until now whose rates are not out, oldest first: the one that was expected at the last
        look, and the last one by the running schedule. While that is not out, neither may be one before it
        that an interval of then asked for: every full hour of which the history does not tell yet.
        """
        found = set()
        if symbol in self._live.expected:
            found.add(self._live.expected[symbol])
        if feed.runs(symbol):
            period = feed.funding(symbol, now)
            last = period.next_time - period.interval
            found.add(last)
            known = feed.settlements(symbol, since, until=now)
            hour = floor_hour(known[-1].time if known else since) + _HOUR
            while feed.settled_at(symbol, last) is None and hour < last:
                found.add(hour)
                hour += _HOUR
        return sorted(due for due in found if due <= now and feed.settled_at(symbol, due) is None)

    def settle_late(self, venue: Venue, now: datetime) -> None:
        """Book rates that came out after the account had gone on without them. What cannot be read is asked
        for again in a minute: it stops nobody.
        """
        if not self._live.late or (self._asked_late is not None and now - self._asked_late < _LATE_RETRY):
            return
        self._asked_late = now
        for symbol, times in list(self._live.late.items()):
            with suppress(Unavailable):
                self._settle(venue, symbol, times=times, now=now)
            if not times:
                del self._live.late[symbol]

    def _settle(self, venue: Venue, symbol: str, *, times: list[datetime], now: datetime) -> None:
        """Book what came out of ``times``, at the mark of its instant where the market data offers it. An
        instant that the history has passed over was no settlement: the interval had changed. Of a contract
        that is delivered and shown no longer nothing more comes out.
        """
        rows = self._rates(symbol, since=times[0] - _AROUND, until=now)
        if rows is None and venue.delivered(symbol):
            times.clear()
        known = {row.time: row for row in rows or ()}
        for time in [time for time in times if time <= max(known, default=time - _AROUND)]:
            mark = self._mark_at(symbol, time) if time in known else None
            if time in known:
                venue.settle_late(known[time], mark=mark)
            times.remove(time)

    def _mark_at(self, symbol: str, instant: datetime) -> Decimal | None:
        if not isinstance(self._market, MarkHistory):
            return None
        until = instant + MARK_BAR
        ask = partial(self._market.mark_bars, symbol, step=MARK_BAR, since=instant, until=until)
        return next((bar.open for bar in where_known(ask, ()) if bar.start == instant), None)
