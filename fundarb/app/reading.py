"""Use cases that only look: open positions and reports, from a database opened for reading and the live
market.

A report never fails because the venue cannot be reached: it then says which figures are of the last snapshot.
Positions need marks, so they do. A database that is not this account's is never valued with this account's
wallet: positions refuse it, reports leave the venue out and say so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn, cast

from fundarb.app import venues
from fundarb.clock import Clock, VirtualClock
from fundarb.config import Settings
from fundarb.core.reasons import Reason
from fundarb.engine.account_view import require_same_account
from fundarb.engine.ports import Exchange
from fundarb.engine.report import Reporter
from fundarb.engine.views import PositionView, concerns, position_views
from fundarb.errors import ConfigError, Unavailable
from fundarb.store.database import Store, exists
from fundarb.store.files import url_of

NOTHING_YET = "nothing has been traded here yet: there is no database"


@dataclass(frozen=True, slots=True)
class Held:
    """What is open, and what its figures alone do not say."""

    views: tuple[PositionView, ...] = ()
    concerns: tuple[Reason, ...] = ()


@contextmanager
def reading(settings: Settings, clock: Clock) -> Iterator[Store]:
    """The database, for reading. ``ConfigError`` if it does not exist or has another schema."""
    with Store.open(settings.db_url, clock=clock, readonly=True) as store:
        yield store


def untraded(settings: Settings) -> bool:
    """Whether no database has been made yet."""
    return not exists(settings.db_url)


@contextmanager
def looking(settings: Settings, clock: Clock) -> Iterator[Store]:
    """The database, for reading; an empty one that nobody keeps where none has been made yet."""
    if not untraded(settings):
        with reading(settings, clock) as store:
            yield store
        return
    with (
        TemporaryDirectory(prefix="fundarb-") as folder,
        Store.open(url_of(Path(folder) / "empty.sqlite3"), clock=clock) as store,
    ):
        yield store


def positions(settings: Settings, clock: Clock) -> Held:
    """Every open position with live marks; none without a database. ``Unavailable`` if the market cannot be
    read, ``ConfigError`` if the database is another account's.
    """
    if untraded(settings):
        return Held()
    with reading(settings, clock) as store:
        require_same_place(settings, store)
        if not store.positions.active():
            return Held()
        exchange = venues.exchange(settings, clock, gate=None)
        require_same_account(store, exchange)
        views = position_views(store, exchange, trading=exchange)
        return Held(views, concerns(store, views))


@contextmanager
def reporter(settings: Settings, clock: Clock, *, away: str = "") -> Iterator[Reporter]:
    """What makes reports, all of one instant; ``away`` says why the venue is not to be asked (empty: it is).

    The clock may be the venue's own. It is read once: a venue that breaks down meanwhile takes no report with
    it.
    """
    buffer, still = settings.account.usdt_buffer, VirtualClock(clock.now())
    if untraded(settings):
        with looking(settings, still) as store:
            yield Reporter(store, still, buffer=buffer, warnings=(NOTHING_YET,))
        return
    exchange, still, strange = _asked(settings, clock, still=still, away=away)
    with reading(settings, still) as store:
        warnings = (strange,) if strange else ()
        yield Reporter(store, still, market=exchange, trading=exchange, buffer=buffer, warnings=warnings)


def _asked(
    settings: Settings, clock: Clock, *, still: VirtualClock, away: str
) -> tuple[Exchange, VirtualClock, str]:
    """The account of this database and the instant to report on, ``still``. Where the account is not this
    database's, one that answers nothing, the last instant of our books (its time is not theirs either), and
    why.
    """
    with reading(settings, still) as store:
        try:
            require_same_place(settings, store)
            if away:
                return _away(away), still, ""
            exchange = venues.exchange(settings, clock, gate=None)
            require_same_account(store, exchange)
        except ConfigError as error:
            why = "; ".join(problem.message for problem in error.problems)
            return _away(why), _last_of(store) or still, why
        except Unavailable as error:
            return _away(str(error)), still, ""
        return exchange, still, ""


def require_same_place(settings: Settings, store: Store) -> None:
    """``ConfigError`` if the database is one of another venue, mode or instance; nobody is asked."""
    found = store.identity.read()
    if found is not None:
        venue, mode, instance = settings.identity
        store.identity.check(venue=venue, mode=mode, instance=instance, uid=found.uid)


class _Away:
    """Stands for a venue that is not asked: everything about it is unavailable, for one reason."""

    def __init__(self, why: str) -> None:
        """Say why."""
        self._why = why

    def __getattr__(self, name: str) -> NoReturn:
        """Whatever is asked."""
        raise Unavailable(self._why)


def _away(why: str) -> Exchange:
    return cast("Exchange", _Away(why))


def last_instant(settings: Settings, machine: Clock) -> Clock:
    """A clock that stands at the last instant our books know: the time of a venue that keeps its own and has
    gone away.
    """
    if untraded(settings):
        return machine
    try:
        with reading(settings, machine) as store:
            return _last_of(store) or machine
    except ConfigError:  # of an older schema, it may be: whoever reads more of it says so
        return machine


def _last_of(store: Store) -> VirtualClock | None:
    """A clock that stands at the last event; None where nothing has happened yet."""
    newest = store.events.last(1)
    return VirtualClock(newest[-1].at) if newest else None
