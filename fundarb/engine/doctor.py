"""The public checks of ``doctor`` that need the venue: is it there, do the clocks agree, is the instrument
cache fit.

Only reads, never a key; each check says what it found and what mends it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from fundarb.clock import Clock
from fundarb.core.health import Check, Level
from fundarb.core.money import plain, seconds
from fundarb.engine.ports import MarketData
from fundarb.errors import Unavailable

_OLD_CACHE = timedelta(days=1)
NTP_REMEDY = (
    "let the machine keep its clock by NTP (timedatectl set-ntp true; macOS: sntp -sS time.apple.com)"
)


def clock_offset(server: datetime, *, sent: datetime, received: datetime) -> timedelta:
    """How far our clock is ahead of the venue's at least (+) or behind (−); zero if the answer fits between
    the two.

    The venue read its clock between our two readings, so what lies between them is the network's share.
    """
    if server < sent:
        return sent - server
    return received - server if server > received else timedelta()


def unreachable(venue: str, error: Unavailable) -> Check:
    """The finding that a venue does not answer."""
    remedy = (
        "start it: `fundarb sandbox serve`, and name its address with --venue-url"
        if venue == "sandbox"
        else "look at the network, at [venue] hostname and at the venue's status page"
    )
    return Check("reachability", Level.FAIL, f"{venue}: {error}", remedy=remedy)


class PublicDoctor:
    """Asks the public side of a venue."""

    def __init__(self, market: MarketData, clock: Clock, *, tolerance: timedelta) -> None:
        """``tolerance`` is ``[risk] max_clock_offset``."""
        self._market = market
        self._clock = clock
        self._tolerance = tolerance

    def checks(self, venue: str, *, fix: bool) -> tuple[Check, ...]:
        """Reachability, clock and instruments; the last two only if the venue answers."""
        try:
            self._market.server_time()  # libraries are loaded and a connection made: not what is measured
            sent, started = self._clock.now(), self._clock.monotonic()
            server = self._market.server_time()
        except Unavailable as error:
            return (unreachable(venue, error),)
        took = self._clock.monotonic() - started
        reach = Check("reachability", Level.OK, f"{venue} answered in {took // timedelta(milliseconds=1)} ms")
        return reach, self._clock_check(sent, server), self._instruments_check(fix=fix)

    def _clock_check(self, sent: datetime, server: datetime) -> Check:
        offset = clock_offset(server, sent=sent, received=self._clock.now())
        word = "ahead of" if offset > timedelta() else "behind"
        shown = f"{plain(round(seconds(abs(offset)), 3))} s {word} the venue's"
        if abs(offset) > self._tolerance:
            allowed = plain(seconds(self._tolerance))
            return Check(
                "clock", Level.FAIL, f"this clock is {shown} (allowed: {allowed} s)", remedy=NTP_REMEDY
            )
        return Check(
            "clock",
            Level.OK,
            "this clock agrees with the venue's" if not offset else f"this clock is {shown}",
        )

    def _instruments_check(self, *, fix: bool) -> Check:
        try:
            found = self._market.instruments(refresh=fix)
        except Unavailable as error:
            return Check(
                "instruments", Level.FAIL, f"the instrument list cannot be read: {error}", remedy="try again"
            )
        age = self._clock.now() - found.as_of
        counted = f"{len(found.spot)} spot pairs, {len(found.perp)} linear contracts"
        if not found.spot or not found.perp:
            return Check(
                "instruments", Level.FAIL, f"the list is empty: {counted}", remedy="fundarb doctor --fix"
            )
        if age > _OLD_CACHE:
            return Check(
                "instruments",
                Level.WARN,
                f"{counted}, read {age.days} days ago",
                remedy="fundarb doctor --fix",
            )
        return Check("instruments", Level.OK, f"{counted}, {age // timedelta(minutes=1)} min old", fixed=fix)
