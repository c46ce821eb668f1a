"""When what is held settles next, as the live tickers said last; kept in the database for readers that
have no ticker.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from fundarb.engine.desk import Desk
from fundarb.engine.shut_out import met
from fundarb.errors import Unavailable
from fundarb.store.database import Store

_KEY: Final = "funding.next"
_ANY_AGE: Final = timedelta.max


@dataclass(frozen=True, slots=True)
class NextSettlement:
    """The next settlement of one held symbol and the time between two of them, from the live ticker."""

    at: datetime
    interval: timedelta

    def last(self, now: datetime) -> datetime:
        """The newest settlement that has passed; where the ticker is old, on by its period."""
        if self.at > now:
            return self.at - self.interval
        return self.at + (now - self.at) // self.interval * self.interval


Coming: TypeAlias = Callable[[str], NextSettlement | None]
"""Tells when a symbol settles next, None where nobody knows."""


def nobody_knows(symbol: str) -> NextSettlement | None:  # noqa: ARG001 - the interface gives it
    """Of no symbol."""
    return None


def held_settlements(desk: Desk) -> Mapping[str, NextSettlement]:
    """By perp symbol, from the newest snapshot of any age; nothing is asked of the venue unless none was ever
    read.

    A symbol without a running funding period, or a market that cannot be read, is simply missing.
    """
    held = {position.perp_symbol for position in desk.store.positions.active()}
    return _coming(desk, held)


def settlement_of(desk: Desk, symbol: str) -> NextSettlement | None:
    """The same of one symbol, held or not."""
    return _coming(desk, {symbol}).get(symbol)


def _coming(desk: Desk, symbols: Collection[str]) -> Mapping[str, NextSettlement]:
    if not symbols:
        return {}
    try:
        quotes = desk.market.at_most(_ANY_AGE).perp
    except Unavailable as error:
        met(desk, error)
        return {}
    return {
        symbol: NextSettlement(quote.funding.next_time, quote.funding.interval)
        for symbol in symbols
        if (quote := quotes.get(symbol)) is not None and quote.funding is not None
    }


def publish(store: Store, coming: Mapping[str, NextSettlement]) -> None:
    """Write down what is coming, for ``jobs list`` and ``status`` in other processes."""
    rows = {
        symbol: [item.at.isoformat(), int(item.interval.total_seconds())] for symbol, item in coming.items()
    }
    store.meta.set(_KEY, json.dumps(rows))


def published(store: Store) -> Mapping[str, NextSettlement]:
    """What the writer wrote down last."""
    text = store.meta.get(_KEY)
    rows = {} if text is None else json.loads(text)
    return {
        symbol: NextSettlement(datetime.fromisoformat(at), timedelta(seconds=interval))
        for symbol, (at, interval) in rows.items()
    }
