"""The venue's own books, checked after every event: what the rows say must be what the account holds.

Wallets, positions and locks are kept by the account; the two histories (transaction log and executions) are
written beside them. This module adds up the histories on its own, row by row as they appear, and compares: an
event costs some microseconds however long the histories are. It changes nothing; a contradiction raises
``InvariantBroken`` at once.

Identities, per coin (c) and contract (s):

- chain: ``balance[i] = balance[i−1] + cash_flow + funding − fee``, and the last one is the wallet;
- double entry: the counter accounts of c and its wallet sum to zero;
- ``Σ fees of the log = Σ fees of the executions``, ``Σ funding of the log = −Σ fees of Funding executions``;
- ``Σ signed executed quantity = size`` and ``Σ signed executed value + Σ realised = cost`` of s;
- ``Σ locks of open orders = locked`` of c;
- coins that are neither borrowed nor settle a contract are not negative;
- a reduce-only execution closes and never opens.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import NoReturn, TypeVar

from fundarb.core.account import Transaction
from fundarb.core.market import Category
from fundarb.core.money import ZERO
from fundarb.errors import InvariantBroken
from fundarb.venue.account import COUNTER_ACCOUNTS, Account
from fundarb.venue.register import Register
from fundarb.venue.rows import CLOSING, Fill

_LINEAR = Category.LINEAR.value
Row = TypeVar("Row")
_SETTLING = frozenset({"USDT", "USDC"})
"""Coins in which contracts settle: losses make them negative, which is a debt."""


class Audit:
    """Running sums over the rows of one account."""

    def __init__(self, account: Account, register: Register) -> None:
        """Add up everything that is there; ``InvariantBroken`` if it does not tie."""
        self._account = account
        self._register = register
        self.restart()

    def restart(self) -> None:
        """Begin again from the rows that are kept, after others were forgotten."""
        book = self._account.book
        self._balance = defaultdict(Decimal, book.opening)
        self._fees: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._funding: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._size: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._cost: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._rows = self._fills = 0
        self._last_row: Transaction | None = None
        self._last_fill: Fill | None = None
        self._take_in()
        if book.opening:  # rows were forgotten: what they came to is taken from the positions
            for symbol, position in book.positions.items():
                self._size[symbol], self._cost[symbol] = position.size, position.cost
        for coin in book.coins:
            self._check_coin(coin)
        for symbol in book.positions:
            self._check_position(symbol)
        self._check_locks()

    def check(self) -> None:
        """Compare whatever has moved since the last time."""
        book = self._account.book
        if self._rows != len(book.log) or self._fills != len(book.fills):
            coins, symbols = self._take_in()
            for coin in coins:
                self._check_coin(coin)
            for symbol in symbols:
                self._check_position(symbol)
        self._check_locks()

    # ------------------------------------------------------------------------------------------ adding up

    def _take_in(self) -> tuple[set[str], set[str]]:
        """Add the new rows; the coins and contracts that they concern."""
        book = self._account.book
        if (
            _last(book.log, self._rows) is not self._last_row
            or _last(book.fills, self._fills) is not self._last_fill
        ):
            _broken("rows of the histories were changed")
        rows, fills = book.log[self._rows :], book.fills[self._fills :]
        self._rows, self._fills = len(book.log), len(book.fills)
        self._last_row, self._last_fill = _last(book.log, self._rows), _last(book.fills, self._fills)
        for row in rows:
            self._add_row(row)
        for fill in fills:
            self._add_fill(fill)
        return {row.coin for row in rows}, {fill.symbol for fill in fills if fill.category is Category.LINEAR}

    def _add_row(self, row: Transaction) -> None:
        coin = row.coin
        if (
            row.change != row.cash_flow + row.funding - row.fee
            or row.balance != self._balance[coin] + row.change
        ):
            _broken(f"the chain of {coin} breaks at {row.id}")
        self._balance[coin] = row.balance
        self._fees[coin] += row.fee
        self._funding[coin] += row.funding
        if row.category == _LINEAR:
            self._cost[row.symbol] += row.cash_flow

    def _add_fill(self, fill: Fill) -> None:
        if not fill.kind.trades:
            self._funding[fill.fee_coin] += fill.fee
            return
        self._fees[fill.fee_coin] -= fill.fee
        if fill.category is Category.LINEAR:
            self._size[fill.symbol] += fill.quantity * fill.side.sign
            self._cost[fill.symbol] += fill.value * fill.side.sign
            if fill.create_type == CLOSING and fill.closed != fill.quantity:
                _broken(f"the reduce-only execution {fill.exec_id} opened a position")

    # ------------------------------------------------------------------------------------------ comparing

    def _check_coin(self, name: str) -> None:
        account = self._account
        coin = account.coin(name)
        if coin.wallet != self._balance[name]:
            _broken(f"the wallet of {name} is {coin.wallet}, its log says {self._balance[name]}")
        if self._fees[name] or self._funding[name]:
            _broken(
                f"log and executions differ in {name}: fees {self._fees[name]}, funding {self._funding[name]}"
            )
        truth = account.book.truth
        if sum(truth.get(f"{side}|{name}", ZERO) for side in COUNTER_ACCOUNTS):
            _broken(f"the accounts of {name} do not sum to zero")
        if coin.wallet < 0 and not coin.borrowed and name not in _SETTLING:
            _broken(f"{coin.wallet} {name} in the wallet and nothing of it is borrowed")

    def _check_position(self, symbol: str) -> None:
        position = self._account.position(symbol)
        if (position.size, position.cost) != (self._size[symbol], self._cost[symbol]):
            _broken(
                f"{symbol} is {position.size} at a cost of {position.cost}, "
                f"its executions say {self._size[symbol]} and {self._cost[symbol]}"
            )

    def _check_locks(self) -> None:
        wanted: dict[str, Decimal] = {}
        for order in self._register.every_open():
            if order.locked:
                wanted[order.locked_coin] = wanted.get(order.locked_coin, ZERO) + order.locked
        for name, coin in self._account.book.coins.items():
            if coin.locked != wanted.get(name, ZERO):
                _broken(f"{coin.locked} {name} locked, open orders need {wanted.get(name, ZERO)}")


def _last(rows: list[Row], count: int) -> Row | None:
    """The last of the first ``count`` rows; None if there are fewer."""
    return rows[count - 1] if 0 < count <= len(rows) else None


def _broken(what: str) -> NoReturn:
    raise InvariantBroken(f"the venue's books do not tie: {what}")
