"""Use cases that only look: open positions and reports, from a database opened for reading and the live
market.

A report never fails because the venue cannot be reached: it then says which figures are of the last snapshot.
Positions need marks, so they do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fundarb.app import venues
from fundarb.clock import Clock
from fundarb.config import Settings
from fundarb.engine.report import Reporter
from fundarb.engine.views import PositionView, position_views
from fundarb.store.database import Store, exists


@contextmanager
def reading(settings: Settings, clock: Clock) -> Iterator[Store]:
    """The database, for reading. ``ConfigError`` if it does not exist or has another schema."""
    with Store.open(settings.db_url, clock=clock, readonly=True) as store:
        yield store


def positions(settings: Settings, clock: Clock) -> tuple[PositionView, ...]:
    """Every open position with live marks; none without a database. ``Unavailable`` if the market cannot be
    read.
    """
    if not exists(settings.db_url):
        return ()
    with reading(settings, clock) as store:
        if not store.positions.active():
            return ()
        exchange = venues.exchange(settings, clock, gate=None)
        return position_views(store, exchange, trading=exchange)


@contextmanager
def reporter(settings: Settings, clock: Clock) -> Iterator[Reporter]:
    """What makes reports."""
    with reading(settings, clock) as store:
        exchange = venues.exchange(settings, clock, gate=None)
        yield Reporter(store, clock, market=exchange, trading=exchange, buffer=settings.account.usdt_buffer)
