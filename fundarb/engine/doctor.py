"""The checks of ``doctor`` that need the venue: is it there, do the clocks agree, is the instrument cache
fit; and behind a key: what it may do, how the account is set up, what it pays.

Only reads; each check says what it found and what mends it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from fundarb.clock import Clock
from fundarb.core.account import FeeRates
from fundarb.core.health import Check, Level
from fundarb.core.keys import key_problems, key_remedy, key_warnings
from fundarb.core.market import Category
from fundarb.core.money import plain, seconds
from fundarb.engine.answers import KEY_TROUBLE
from fundarb.engine.ports import Exchange, MarketData
from fundarb.errors import BadAnswer, Unavailable

_OLD_CACHE = timedelta(days=1)
_MS = timedelta(milliseconds=1)
_AGAIN = "try again"
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
    remedy = "look at the network, at [venue] hostname and at the venue's status page"
    if venue == "sandbox" and isinstance(error, BadAnswer):
        remedy = "what answers there is no sandbox: try again, or name the right address with --venue-url"
    elif venue == "sandbox" and not error.forbidden:
        remedy = "start it: `fundarb sandbox serve`, and name its address with --venue-url"
    return Check("reachability", Level.FAIL, f"{venue}: {error}", remedy=_ban_over(error) or remedy)


def _ban_over(error: Unavailable) -> str:
    """The one remedy while the venue serves this address no more; empty where it does."""
    if error.forbidden and error.until is None:
        return "name the regional host of your account in [venue] hostname, or run it from another location"
    return "" if error.until is None else f"wait until {error.until:%H:%M:%S} UTC: no request is sent before"


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
            f"this clock is {shown}" if abs(offset) >= _MS else "this clock agrees with the venue's",
        )

    def _instruments_check(self, *, fix: bool) -> Check:
        try:
            found = self._market.instruments(refresh=fix)
        except Unavailable as error:
            remedy = _ban_over(error) or _AGAIN
            text = f"the instrument list cannot be read: {error}"
            return Check("instruments", Level.FAIL, text, remedy=remedy)
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


_CROSS = "REGULAR_MARGIN"
"""Bybit's word for cross margin (bybit-v5, account info)."""


def fees_line(spot: FeeRates, perp: FeeRates) -> str:
    """Taker rates in percent."""
    return f"taker spot {plain(spot.taker * 100)} %, perpetual {plain(perp.taker * 100)} %"


class AccountDoctor:
    """Asks the private side of a venue with the key that trading would use."""

    def __init__(self, exchange: Exchange, clock: Clock, *, uid: str, strict: bool) -> None:
        """``uid`` is the account that the key must belong to (empty: any). ``strict`` judges what the key
        may do; a simulated venue's key is a stand-in.
        """
        self._exchange = exchange
        self._clock = clock
        self._uid = uid
        self._strict = strict

    def checks(self) -> Iterator[Check]:
        """Key, account mode and fees; the last two only if the key works."""
        try:
            yield self._key()
            yield self._account()
        except Unavailable as error:
            remedy = KEY_TROUBLE.get(error.code or 0) or _ban_over(error) or _AGAIN
            yield Check("key", Level.FAIL, str(error), remedy=remedy)
            return
        yield self._fees()

    def _key(self) -> Check:
        key = self._exchange.key_info()
        found = [
            reason
            for reason in key_problems(key, uid=self._uid)
            if self._strict or reason.code == "other_account"
        ]
        if found:
            text = "; ".join(item.message for item in found)
            return Check("key", Level.FAIL, text, remedy=key_remedy(found))
        warned = key_warnings(key, self._clock.now()) if self._strict else ()
        if warned:
            text = "; ".join(item.message for item in warned)
            return Check("key", Level.WARN, text, remedy=key_remedy(warned))
        return Check("key", Level.OK, f"works, of account {key.uid}")

    def _account(self) -> Check:
        account = self._exchange.account()
        if account.margin_mode != _CROSS:
            text = f"the margin mode is {account.margin_mode}, not cross ({_CROSS})"
            return Check("account_mode", Level.FAIL, text, remedy="set the account to cross margin")
        paid = "in MNT" if account.spot_fee_deduction else "in the coin that is bought"
        return Check("account_mode", Level.OK, f"unified, cross margin, spot fees {paid}")

    def _fees(self) -> Check:
        try:
            spot = self._exchange.fee_schedule(Category.SPOT)
            perp = self._exchange.fee_schedule(Category.LINEAR)
        except Unavailable as error:
            text = f"the account's fee rates cannot be read: {error}"
            return Check("fees", Level.WARN, text, remedy="a scan reckons with the public schedule meanwhile")
        if not spot or not perp:
            return Check("fees", Level.WARN, "the venue names no fee rates", remedy="try again later")
        dearest = (max(rates.values(), key=lambda item: item.taker) for rates in (spot, perp))
        return Check("fees", Level.OK, f"{fees_line(*dearest)} at most, as the account pays them")
