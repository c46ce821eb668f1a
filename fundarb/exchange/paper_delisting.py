"""When contracts of the paper account end: as the venue announces it, postpones it and takes it back.

Each look at the tickers tells it, for every contract; the list of instruments, which may be an hour old, only
confirms that a contract is gone. Nothing here trades or settles: the account's venue does, at the instant
that it is told.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from fundarb.core.market import PerpInstrument
from fundarb.core.market_data import MarketData
from fundarb.exchange.paper_feed import LiveFeed
from fundarb.exchange.paper_parts import Endings, where_known
from fundarb.venue.engine import Venue

_ASK_AGAIN = timedelta(minutes=1)


class Delistings:
    """What the market says of the end of contracts, told to the account's venue."""

    def __init__(self, market: MarketData) -> None:
        """Nothing is asked yet."""
        self._market = market
        self._asked: datetime | None = None

    def learn(self, venue: Venue, feed: LiveFeed, *, now: datetime) -> None:
        """Announce, move and withdraw deliveries as the last quotes have them. A contract without a quote is
        asked for in the list of instruments: it may have ended before anybody looked.
        """
        for symbol in sorted(venue.held().keys() | venue.deliveries().keys() | feed.ending()):
            if not feed.lists_perp(symbol) or venue.delivered(symbol):
                continue
            if feed.quotes_perp(symbol):
                _move(venue, symbol, when=feed.ends(symbol))
            elif symbol in venue.held():
                self._gone(venue, symbol, now=now)

    def _gone(self, venue: Venue, symbol: str, *, now: datetime) -> None:
        """A held contract is quoted no more. Where nobody saw the announcement its end is that of the venue's
        list of closed contracts; where that does not tell, now: earlier settlements are in its history.
        """
        known = venue.delivery(symbol)
        if known is not None and known <= now:
            return
        if self._asked is None or now - self._asked >= _ASK_AGAIN:
            self._asked = now
            listed = self._market.instruments(refresh=True).perp.get(symbol)
            if listed is None or _over(listed, now):
                when = listed.delivery_time if listed is not None else self._ended(symbol)
                _move(venue, symbol, when=when or now)

    def _ended(self, symbol: str) -> datetime | None:
        if not isinstance(self._market, Endings):
            return None
        return where_known(partial(self._market.ended, symbol), None)


def _over(listed: PerpInstrument, now: datetime) -> bool:
    return listed.delivery_time is not None and listed.delivery_time <= now


def _move(venue: Venue, symbol: str, *, when: datetime | None) -> None:
    known = venue.delivery(symbol)
    if when is None:
        if known is not None:
            venue.world.relist(symbol)
    elif known != when:
        venue.world.delist(symbol, max(when, venue.now))
