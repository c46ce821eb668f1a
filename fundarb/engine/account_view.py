"""The latest view of the account: wallet and positions with their ages, so that jobs of the same moment
read them once, and the tripwire that tells whether anything was booked since the last look.

Whatever trades, settles, is forced, lent or transferred changes a balance in the wallet; a wallet that is
equal to the digit means that nothing happened. A missing answer is never read as a zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

from fundarb.clock import Clock
from fundarb.core.account import PositionReport, Wallet
from fundarb.core.events import Event, LegFilled, RecordedEvent
from fundarb.core.money import ZERO
from fundarb.core.records import PositionRecord
from fundarb.engine.collect import CollectResult
from fundarb.engine.ports import Trading
from fundarb.errors import OtherAccount, Problem
from fundarb.store.database import Store

_OVERDUE = timedelta(minutes=30)
"""A payment that is late by more is waited for by the collector's own schedule."""

Signature = Mapping[str, tuple[Decimal, Decimal]]
"""Wallet balance and borrowed coins by coin; coins without either left out."""


class AccountView:
    """Reads the account no more often than asked for."""

    def __init__(self, trading: Trading, clock: Clock) -> None:
        """Nothing was read yet."""
        self._trading = trading
        self._clock = clock
        self._wallet: tuple[timedelta, Wallet] | None = None
        self._positions: tuple[timedelta, tuple[PositionReport, ...]] | None = None
        self._known: Signature | None = None

    def wallet(self, at_most: timedelta = timedelta()) -> Wallet:
        """The wallet, not older than ``at_most``; ``Unavailable`` if it cannot be read."""
        now = self._clock.monotonic()
        if self._wallet is None or now - self._wallet[0] > at_most:
            self._wallet = (now, self._trading.wallet())
        return self._wallet[1]

    def positions(self, at_most: timedelta = timedelta()) -> Mapping[str, PositionReport]:
        """The perp positions by symbol, not older than ``at_most``; ``Unavailable`` without an answer."""
        now = self._clock.monotonic()
        if self._positions is None or now - self._positions[0] > at_most:
            self._positions = (now, self._trading.positions())
        return {report.symbol: report for report in self._positions[1]}

    def moved(self, wallet: Wallet) -> bool:
        """Whether a balance differs from the one that was last found in order (``settled``), or none ever
        was.
        """
        return self._known is None or self._known != signature(wallet)

    def booked(self, wallet: Wallet, result: CollectResult) -> None:
        """A collection made after this wallet was read: unless a payment is still to appear, all of the
        wallet is in our books, and from now on a difference to it is news.
        """
        now = self._clock.now()
        if all(now - item.settled_at > _OVERDUE for item in result.pending):
            self.settled(wallet)

    def settled(self, wallet: Wallet) -> None:
        """Everything in this wallet is in our books: from now on a difference to it is news."""
        self._known = signature(wallet)

    def heard(self, _recorded: RecordedEvent, event: Event) -> None:
        """A fill of ours was booked: what was read before it is of no use any more."""
        if isinstance(event, LegFilled):
            self.forget()

    def forget(self) -> None:
        """What was read before is of no use any more."""
        self._wallet = self._positions = None


def signature(wallet: Wallet) -> Signature:
    """What changes whenever anything is booked."""
    return {
        coin: (balance.wallet, balance.borrowed)
        for coin, balance in wallet.coins.items()
        if balance.wallet or balance.borrowed
    }


def sizes_agree(held: tuple[PositionRecord, ...], reports: Mapping[str, PositionReport]) -> bool:
    """Whether the venue holds exactly our contracts in every symbol of ours."""
    for position in held:
        report = reports.get(position.perp_symbol)
        if (report.size if report is not None else ZERO) != -position.contracts:
            return False
    return True


def coins_there(held: tuple[PositionRecord, ...], wallet: Wallet, *, tolerance: Decimal) -> bool:
    """Whether the wallet holds at least the coins of each position of ours."""
    return all(wallet.owned(item.base) >= item.spot_owned - tolerance for item in held)


def require_same_account(store: Store, trading: Trading) -> None:
    """For whoever only looks: ``OtherAccount`` if the venue behind the same address and key is another
    account than the database's.

    A simulated venue that was started again with another world would otherwise look as if everything had been
    closed by hand; nothing may be decided or booked from it.
    """
    identity = store.identity.read()
    uid = trading.key_info().uid
    if identity is not None and identity.uid != uid:
        raise OtherAccount(
            Problem(
                "--db",
                f"{store.name} belongs to account {identity.uid}, but the venue answers as {uid}",
                "bring the right venue back, or name that account's own database with --db",
            )
        )
