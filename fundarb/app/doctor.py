"""Everything that ``doctor`` looks at beyond the settings, in the order in which it matters: files, jobs,
database, venue, clock, instruments, key, account, fees.

Composes checks and decides nothing; each of them says what it found and what mends it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from fundarb.app import venues
from fundarb.app.reading import require_same_place
from fundarb.app.truth import hang_up
from fundarb.clock import Clock
from fundarb.config import Settings
from fundarb.config.checks import file_checks, jobs_check
from fundarb.config.schema import Mode, VenueName
from fundarb.core.account import VIP0_LINEAR, VIP0_SPOT
from fundarb.core.health import Check, Level
from fundarb.engine.doctor import AccountDoctor, PublicDoctor, fees_line, unreachable
from fundarb.engine.ports import MarketData
from fundarb.errors import ConfigError, StateUnavailable, Unavailable
from fundarb.store.database import Store, exists
from fundarb.store.migrations import SCHEMA_VERSION
from fundarb.store.place import place_of
from fundarb.store.ports import Place

_LITTLE_ROOM = 100 << 20
"""Bytes: a year of trading and a backup fit in; less deserves a look."""
_NO_ROOM = 1 << 20


def checks(
    settings: Settings, machine: Clock, *, reach: Callable[[], tuple[MarketData, Clock]], fix: bool
) -> tuple[Check, ...]:
    """Every check; the venue's private side only where the public one answers. ``reach`` gives the venue's
    public side and its clock.
    """
    found = [
        *file_checks(settings, mend=fix),
        jobs_check(settings),
        _channels(settings),
        *database_checks(settings, machine),
    ]
    name = str(settings.venue.name)
    try:
        market, clock = reach()
    except Unavailable as error:  # a sandbox is asked for its clock before anything else
        return (*found, unreachable(name, error))
    asked = PublicDoctor(market, clock, tolerance=settings.risk.max_clock_offset).checks(name, fix=fix)
    reached = all(check.ok for check in asked if check.id == "reachability")
    return (*found, *asked, *(_private(settings, clock, machine=machine) if reached else ()))


def _channels(settings: Settings) -> Check:
    """Whom an alert reaches: a leg that is naked at night is somebody's to know."""
    if settings.notify_urls:
        return Check("notify", Level.OK, f"alerts go to {', '.join(settings.notify.urls)}")
    text = "no channel: alerts stand in `fundarb events` and in the daemon's own output alone"
    level = Level.OK if settings.mode is Mode.PAPER else Level.WARN
    remedy = "name one in [notify] urls, then run `fundarb notify test`"
    return Check("notify", level, text, remedy=remedy)


# ------------------------------------------------------------------------------------------- the database


def database_checks(settings: Settings, machine: Clock) -> Iterator[Check]:
    """The disk has room, and the database is sound, of this version and of this account."""
    try:
        place = place_of(settings.db_url)
    except ConfigError as error:
        yield _failed("database", error)
        return
    if place.file is not None:
        yield from _disk(place.file)
    try:
        yield _database(settings, machine, place=place)
    except ConfigError as error:
        yield _failed("database", error)
    except StateUnavailable as error:
        yield Check("database", Level.FAIL, str(error))


def _disk(path: Path) -> Iterator[Check]:
    folder = next((place for place in path.parents if place.is_dir()), None)
    if folder is None:
        return
    room = shutil.disk_usage(folder).free
    text = f"{room >> 20} MB free in {folder}"
    if room < _LITTLE_ROOM:
        level = Level.FAIL if room < _NO_ROOM else Level.WARN
        yield Check("disk", level, text, remedy="free some space: without it nothing can be traded")
    else:
        yield Check("disk", Level.OK, text)


def _database(settings: Settings, machine: Clock, *, place: Place) -> Check:
    made = place.exists()
    version = place.look() if made or place.file is None else 0
    about = f" ({place.about()})" if place.about() else ""
    if not made:
        text = f"none yet; the first command that trades makes {place.name}"
        return Check("database", Level.OK, text + about)
    if 0 < version < SCHEMA_VERSION:
        text = f"{place.name} has schema {version}, this program uses {SCHEMA_VERSION}"
        return Check("database", Level.WARN, text, remedy="the next command that trades migrates it")
    with Store.open(settings.db_url, clock=machine, readonly=True) as store:
        require_same_place(settings, store)
        held = len(store.positions.active())
        owner = store.identity.read()
    whose = "of nobody yet" if owner is None else f"of account {owner.uid}"
    return Check("database", Level.OK, f"{place.name} is sound, {whose}, with {held} open{about}")


def _failed(name: str, error: ConfigError) -> Check:
    problems = error.problems
    remedy = next((problem.remedy for problem in problems if problem.remedy), "")
    return Check(name, Level.FAIL, "; ".join(problem.message for problem in problems), remedy=remedy)


# ------------------------------------------------------------------------------------------- the account


def _private(settings: Settings, clock: Clock, *, machine: Clock) -> tuple[Check, ...]:
    """Key, account and fees; paper has none of its own."""
    if settings.mode is Mode.PAPER:
        given = "given, and not used on paper" if settings.credentials is not None else "paper needs none"
        rates = fees_line(VIP0_SPOT, VIP0_LINEAR)
        return (
            Check("key", Level.OK, given),
            Check("account_mode", Level.OK, "a paper account of this machine, cross margin"),
            Check("fees", Level.OK, f"{rates} (public schedule)"),
        )
    exchange = venues.exchange(settings, clock, gate=None)
    try:
        real = settings.venue.name is not VenueName.SANDBOX
        doctor = AccountDoctor(exchange, clock, uid=_uid(settings, machine), strict=real)
        return tuple(doctor.checks())
    finally:
        hang_up(exchange)


def _uid(settings: Settings, machine: Clock) -> str:
    """The account that the key must belong to: the one of the settings, else the one of the database."""
    if settings.account.uid:
        return settings.account.uid
    try:
        if not exists(settings.db_url):
            return ""
        with Store.open(settings.db_url, clock=machine, readonly=True) as store:
            owner = store.identity.read()
    except (ConfigError, StateUnavailable):  # said by the check of the database
        return ""
    return "" if owner is None else owner.uid
