"""The latest view of the account: wallet and positions with their ages, so that jobs of the same moment
read them once, and the tripwire that tells whether anything was booked since the last look.

Whatever trades, settles, is forced, lent or transferred changes a balance in the wallet; a wallet that is
equal to the digit means that nothing happened. A missing answer is never read as a zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Generic, TypeVar

from fundarb.clock import Clock
from fundarb.core.account import PositionReport, Wallet
from fundarb.core.money import ZERO
from fundarb.core.records import PositionRecord
from fundarb.engine.collect import CollectResult
from fundarb.engine.ports import Trading
from fundarb.errors import OtherAccount, Problem
from fundarb.store.database import Store

T = TypeVar("T")
_OVERDUE = timedelta(minutes=30)
"""A payment that is late by more is waited for by the collector's own schedule."""

Signature = Mapping[str, tuple[Decimal, Decimal]]
"""Wallet balance and borrowed coins by coin; coins without either left out."""


@dataclass(frozen=True, slots=True)
class _Answer(Generic[T]):
    """What the venue answered, when, and the last journal that was booked then."""

    found: T
    at: timedelta
    booked_until: int


class AccountView:
    """Reads the account no more often than asked for, and anew once anything was booked: what was read
    before it may lack what the books now have.
    """

    def __init__(self, store: Store, trading: Trading, *, clock: Clock) -> None:
        """Nothing was read yet."""
        self._store = store
        self._trading = trading
        self._clock = clock
        self._wallet: _Answer[Wallet] | None = None
        self._positions: _Answer[tuple[PositionReport, ...]] | None = None
        self._known: Signature | None = None

    def wallet(self, at_most: timedelta = timedelta()) -> Wallet:
        """The wallet, not older than ``at_most``; ``Unavailable`` if it cannot be read."""
        self._wallet = self._read(self._wallet, self._trading.wallet, at_most=at_most)
        return self._wallet.found

    def positions(self, at_most: timedelta = timedelta()) -> Mapping[str, PositionReport]:
        """The perp positions by symbol, not older than ``at_most``; ``Unavailable`` without an answer."""
        self._positions = self._read(self._positions, self._trading.positions, at_most=at_most)
        return {report.symbol: report for report in self._positions.found}

    def _read(self, known: _Answer[T] | None, ask: Callable[[], T], *, at_most: timedelta) -> _Answer[T]:
        """What is known, if it is young enough and of these books; else the venue's answer."""
        now, booked_until = self._clock.monotonic(), self._store.ledger.read.last_id()
        if known is not None and now - known.at <= at_most and known.booked_until == booked_until:
            return known
        return _Answer(ask(), now, booked_until)

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
