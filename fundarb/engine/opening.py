"""Opening the books: what the wallet holds when a database is new, and which rows of the log that contains.

The log may show a row long after the wallet has it. What decides is the chain of balances, for each row tells
the balance after it; time decides only where no balance of the chain is that of the opening.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from fundarb.core.account import Transaction, Wallet
from fundarb.core.ledger import chained
from fundarb.core.money import ZERO
from fundarb.crash import Point
from fundarb.engine.coin_prices import prices_now
from fundarb.engine.ports import MarketData, Trading
from fundarb.errors import Unavailable
from fundarb.store.database import Store
from fundarb.store.ledger_tables import RowState

SOURCES: Final = ("spot", "linear", "transactions")
"""What is read, each with a cursor of its own: executions of both markets, and the transaction log."""
_AHEAD: Final = timedelta(minutes=1)
_BEFORE: Final = timedelta(hours=1)
_TRIES: Final = 3


class Opening:
    """The opening of one database's books."""

    def __init__(self, store: Store, trading: Trading, *, market: MarketData | None = None) -> None:
        """With what the venue shows; ``market`` says what coins are worth."""
        self._store = store
        self._trading = trading
        self._market = market

    def open_books(self) -> bool:
        """Book the opening balances, once in the life of a database; True if that was now.

        Wallet and contracts are read between two readings of the log: only when both show the same rows is it
        certain which of them the balances contain. ``Unavailable`` if the account keeps moving.
        """
        if self._store.ledger.opened_at is not None:
            return False
        for _ in range(_TRIES):
            at = self._trading.stamp()
            before = self._log(at - _BEFORE)
            wallet = self._trading.wallet()
            gain = sum((report.unrealised_pnl for report in self._trading.positions()), ZERO)
            after = self._log(at - _BEFORE)
            if {row.key for row in before} == {row.key for row in after}:
                self._open(wallet, after, at=at, gain=gain)
                return True
        message = "the account keeps moving, so its opening balances could not be read; try again"
        raise Unavailable(message)

    def _open(self, wallet: Wallet, rows: Sequence[Transaction], *, at: datetime, gain: Decimal) -> None:
        ledger = self._store.ledger
        prices = prices_now(wallet.coins, wallet=wallet, market=self._market)
        with self._store.transaction(before=Point.BOOKS_BEFORE_OPENING, after=Point.BOOKS_AFTER_OPENING):
            for coin, price in prices.items():
                ledger.set_price(coin, price)
            ledger.post_opening(wallet, at, prices=prices, gain=gain)
            for row in rows:
                ledger.log.keep(row, RowState.OPENING)
            for source in SOURCES:
                self._store.meta.set(f"collect.{source}", at.isoformat())

    def _log(self, since: datetime) -> tuple[Transaction, ...]:
        return self._trading.transactions(since, self._trading.stamp() + _AHEAD)

    def contained(self, rows: Iterable[Transaction]) -> frozenset[str]:
        """The keys of those rows, never seen before, that the opening balances contain already."""
        ledger = self._store.ledger
        opened = ledger.opened_at
        near = [row for row in rows if opened is not None and row.time < opened + _AHEAD]
        if opened is None or not near:
            return frozenset()
        since, held = opened - _BEFORE, ledger.opening()
        found = {row.key for row in near if row.time < since}
        for coin in {row.coin for row in near if row.time >= since}:
            known = [row for row in ledger.log.of_coin(coin, since=since) if row.time < opened + _AHEAD]
            new = [row for row in near if row.coin == coin and row.time >= since]
            chain = sorted((*known, *new), key=lambda row: (row.time, row.id, row.key))
            found |= _before(chain, held.get(coin, ZERO), opened=opened)
        return frozenset(found & {row.key for row in near})


def _before(rows: Sequence[Transaction], held: Decimal, *, opened: datetime) -> set[str]:
    """The keys of one coin's rows (at least one) up to the place in their chain at which the balance was that
    of the opening: of several such places the one nearest to the opening's time, which alone decides without
    any.
    """
    chain = chained(rows, held)[0]  # rows of one instant that may continue the opening do
    if chain[0].balance - chain[0].change != held:
        chain = chained(rows, None)[0]
    by_time = sum(row.time < opened for row in chain)
    places = {place for place, row in enumerate(chain) if row.balance - row.change == held}
    places |= {place + 1 for place, row in enumerate(chain) if row.balance == held}
    end = min(places, key=lambda place: (abs(place - by_time), place), default=by_time)
    return {row.key for row in chain[:end]}
