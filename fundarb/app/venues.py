"""Which adapter stands behind the ports: the one place that knows modes and venues."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING

from fundarb.clock import Clock
from fundarb.config import Settings
from fundarb.config.schema import Mode, VenueName
from fundarb.core.money import ZERO
from fundarb.errors import ConfigError

if TYPE_CHECKING:
    from fundarb.engine.guard import GateSlot
    from fundarb.engine.ports import Exchange
    from fundarb.exchange.bybit import BybitExchange
    from fundarb.exchange.hosts import BybitSettings, Credentials


def where(settings: Settings) -> BybitSettings:
    """The venue's address and patience."""
    from fundarb.exchange.hosts import BybitSettings

    name = settings.venue.name.value
    return BybitSettings(
        venue=name,
        hostname=settings.venue.hostname,
        url=settings.venue_url if settings.venue.name is VenueName.SANDBOX else None,
        recv_window=settings.venue.recv_window,
        read_timeout=settings.venue.read_timeout,
    )


def public_market(settings: Settings, clock: Clock) -> BybitExchange:
    """The venue's public side; without a key, so that nothing it sends can be signed."""
    from fundarb.exchange.bybit import connect

    return connect(where(settings), clock=clock, cache_dir=settings.home / "cache")


def scanned_market(settings: Settings, clock: Clock) -> BybitExchange:
    """What a scan reads: the public side; in live mode with the key, for the account's own fee rates. It can
    send no order.
    """
    from fundarb.exchange.bybit import connect

    key = _credentials(settings) if settings.mode is Mode.LIVE else None
    return connect(where(settings), clock=clock, credentials=key, cache_dir=settings.home / "cache")


def exchange(settings: Settings, clock: Clock, *, gate: GateSlot | None) -> Exchange:
    """The account that this mode trades on: the venue's own, or the paper account fed by the venue's
    quotes.
    """
    if settings.mode is Mode.PAPER:
        return _paper(settings, clock, gate=gate)
    from fundarb.exchange.bybit import connect

    return connect(
        where(settings),
        clock=clock,
        credentials=_credentials(settings),
        gate=gate,
        cache_dir=settings.home / "cache",
    )


def _paper(settings: Settings, clock: Clock, *, gate: GateSlot | None) -> Exchange:
    """The paper account: a venue engine on this machine, one account file beside each paper database; in the
    home folder where a server keeps the database.
    """
    from fundarb.exchange.paper import PaperAccount, PaperExchange
    from fundarb.store.place import place_of

    place = place_of(settings.db_url)
    if place.file is not None:
        path = place.file.with_suffix(".paper.json")
    else:
        path = settings.home / f"{place.label}-{sha256(place.name.encode()).hexdigest()[:12]}.paper.json"
    balances: dict[str, Decimal] = {}
    for money in settings.paper.balance:
        balances[money.coin] = balances.get(money.coin, ZERO) + money.amount
    account = PaperAccount(
        path=path,
        balances=balances,
        latency=settings.paper.latency,
        readonly=gate is None,
    )
    return PaperExchange(public_market(settings, clock), account, clock=clock, gate=gate)


def _credentials(settings: Settings) -> Credentials | None:
    """The key of this account; the sandbox has a documented one of its own."""
    from fundarb.exchange.hosts import SANDBOX_CREDENTIALS, Credentials

    given = settings.credentials
    if given is not None:
        return Credentials(given.key.get_secret_value(), given.secret.get_secret_value())
    return SANDBOX_CREDENTIALS if settings.venue.name is VenueName.SANDBOX else None


def venue_clock(settings: Settings, clock: Clock) -> Clock:
    """The clock to trade by: a sandbox on virtual time is its own clock, everything else the machine's."""
    if settings.venue.name is not VenueName.SANDBOX:
        return clock
    from fundarb.exchange.sandbox_clock import SandboxClock

    try:
        return SandboxClock(settings.venue_url, machine=clock)
    except ConfigError:
        return clock


def end_of_time(clock: Clock) -> datetime | None:
    """Where a venue's time ends: a sandbox that replays a recording ends with it; None: it goes on."""
    from fundarb.exchange.sandbox_clock import SandboxClock

    return clock.until() if isinstance(clock, SandboxClock) else None
