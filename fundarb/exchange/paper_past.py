"""What the market did between two looks of the paper account: the mark bars of that time, by which its risk
is judged and settlements and deliveries are valued. Nothing here trades or settles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

from fundarb.core.market_data import MarketData
from fundarb.core.orders import ExecKind
from fundarb.exchange.paper_feed import LiveFeed
from fundarb.exchange.paper_funding import MARK_BAR
from fundarb.exchange.paper_parts import CaughtUp, MarkHistory, where_known
from fundarb.venue.engine import Venue
from fundarb.venue.rows import Fill

WICK = timedelta(minutes=1)
"""So long a spike between two looks may wait to be found; also the bars of short spans."""
LAST_HALF_HOUR = timedelta(minutes=30)
"""A contract that ends is settled at its mean."""
_SHORT = timedelta(hours=4)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Past:
    """Mark bars since the account's risk was last judged by them."""

    def __init__(self, market: MarketData) -> None:
        """Nothing is asked yet."""
        self._market = market
        self._in_vain: datetime | None = None

    def show(self, venue: Venue, feed: LiveFeed, *, now: datetime, gap: bool) -> bool:
        """Show the feed the bars of all held contracts: after a ``gap``, when something was settled at
        marks of the past, and once a minute, for a wick lasts no longer than that. Whether the market data
        had all of them.
        """
        held = tuple(venue.held())
        if not held or not isinstance(self._market, MarkHistory):
            return False
        since = min(venue.judged_until or venue.now, venue.now)
        ends = [end for symbol in held if (end := venue.delivery(symbol)) and venue.now < end <= now]
        settled = any(feed.settlements(symbol, venue.now, until=now) for symbol in held)
        if not (gap or ends or settled or self._worth_asking(since, now)):
            return False
        since = min([since, *(end - LAST_HALF_HOUR for end in ends)])
        step = WICK if now - since <= _SHORT else MARK_BAR
        complete = self._ask(
            self._market, feed, symbols=held, span=(since - (since - _EPOCH) % step, now), step=step
        )
        self._in_vain = None if complete else now
        return complete

    def _worth_asking(self, since: datetime, now: datetime) -> bool:
        return now - since >= WICK and (self._in_vain is None or now - self._in_vain >= WICK)

    @staticmethod
    def _ask(
        market: MarkHistory,
        feed: LiveFeed,
        *,
        symbols: Sequence[str],
        span: tuple[datetime, datetime],
        step: timedelta,
    ) -> bool:
        complete = True
        for symbol in symbols:
            ask = partial(market.mark_bars, symbol, step=step, since=span[0], until=span[1])
            bars = where_known(ask, ())  # of a contract that is delisted the venue shows nothing any more
            feed.show_marks(symbol, bars)
            complete = complete and bool(bars)
        return complete


def caught_up(
    span: tuple[datetime, datetime], held: Mapping[str, Decimal], *, news: Sequence[Fill], history: bool
) -> CaughtUp:
    """What a gap has done to the account; ``news`` are the rows that it brought."""
    ended = {kind: {row.symbol for row in news if row.kind is kind} for kind in ExecKind}
    return CaughtUp(
        since=span[0],
        until=span[1],
        settlements=sum(1 for row in news if not row.kind.trades),
        liquidated=tuple(symbol for symbol in held if symbol in ended[ExecKind.BUST]),
        delivered=tuple(symbol for symbol in held if symbol in ended[ExecKind.DELIVERY]),
        marks="history" if history else "current",
    )
