"""The unified account's books: wallet entries with a chain that always ties, positions, and the other side
of every entry.

Every change of a wallet goes through :meth:`Account.post`, which checks the chain (``balance[i] =
balance[i−1] + change[i]``) and that wallet plus counter accounts are zero per coin; a violation is
``InvariantBroken``. Prices and margin are not its business.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import sha256

from fundarb.core.account import Transaction
from fundarb.core.money import CASH_STEP, ZERO, cash, is_multiple
from fundarb.core.orders import Side
from fundarb.errors import InvariantBroken
from fundarb.venue.state import Coin, Position, State

_COUNTER = {
    "TRADE": "market",
    "ADL": "market",
    "LIQUIDATION": "market",
    "DELIVERY": "market",
    "SETTLEMENT": "market",
    "INTEREST": "interest",
    "BORROW": "lender",
    "REPAY": "lender",
    "TRANSFER_IN": "external",
    "TRANSFER_OUT": "external",
    "SPOT_REPAYMENT_SELL": "market",
    "SPOT_REPAYMENT_BUY": "market",
}

COUNTER_ACCOUNTS = ("wallet", "market", "funding", "fees", "interest", "lender", "external")
"""The accounts of a coin; together they are always zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is to be posted: ``change = cash_flow + funding − fee``. Other fields as in
    ``core.account.Transaction``.
    """

    kind: str
    coin: str
    cash_flow: Decimal = ZERO
    funding: Decimal = ZERO
    fee: Decimal = ZERO
    category: str = ""
    symbol: str = ""
    side: Side | None = None
    quantity: Decimal = ZERO
    size: Decimal = ZERO
    price: Decimal | None = None
    fee_rate: Decimal | None = None
    trade_id: str = ""
    order_id: str = ""
    link_id: str = ""


class Account:
    """Wallet, positions and transaction log of one account."""

    def __init__(self, state: State) -> None:
        """Over the state; balances are posted by the caller as TRANSFER_IN."""
        self._state = state
        self.book = state.account

    def coin(self, name: str) -> Coin:
        """One coin, created empty when first asked."""
        found = self.book.coins.get(name)
        if found is None:
            found = self.book.coins[name] = Coin()
        return found

    def wallet(self, name: str) -> Decimal:
        """A coin's wallet balance without creating the coin."""
        found = self.book.coins.get(name)
        return found.wallet if found is not None else ZERO

    def free(self, name: str) -> Decimal:
        """Owned coins that no spot order has locked; may be negative."""
        found = self.book.coins.get(name)
        return found.wallet - found.borrowed - found.locked if found is not None else ZERO

    def position(self, symbol: str) -> Position:
        """One symbol's position, created flat when first asked."""
        found = self.book.positions.get(symbol)
        if found is None:
            found = self.book.positions[symbol] = Position(symbol=symbol)
        return found

    def size(self, symbol: str) -> Decimal:
        """Signed size, zero when flat."""
        found = self.book.positions.get(symbol)
        return found.size if found is not None else ZERO

    def held(self) -> list[Position]:
        """Positions with a size, in the order in which the symbols were first traded."""
        return [position for position in self.book.positions.values() if position.size]

    def leverage(self, symbol: str) -> Decimal | None:
        """What was set, None if never."""
        return self.book.leverage.get(symbol)

    def unique(self, kind: str) -> str:
        """A fresh id of a kind, derived from the account and the event counter (UUID form)."""
        text = sha256(f"{self._state.uid}/{kind}/{self._state.count()}".encode()).hexdigest()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:32]}"

    def post(self, entry: Entry) -> Transaction:
        """Change a wallet and write the row; ``InvariantBroken`` if the books would not tie."""
        coin = self.coin(entry.coin)
        change = entry.cash_flow + entry.funding - entry.fee
        if not is_multiple(change, CASH_STEP):
            raise InvariantBroken(f"{entry.kind}: {change} {entry.coin} is not a multiple of {CASH_STEP}")
        before = coin.wallet
        coin.wallet += change
        row = Transaction(
            id=self.unique("log"),
            kind=entry.kind,
            coin=entry.coin,
            category=entry.category,
            symbol=entry.symbol,
            side=entry.side,
            time=self._state.now,
            quantity=entry.quantity,
            size=entry.size,
            price=entry.price,
            funding=entry.funding,
            fee=entry.fee,
            cash_flow=entry.cash_flow,
            change=change,
            balance=coin.wallet,
            fee_rate=entry.fee_rate,
            trade_id=entry.trade_id,
            order_id=entry.order_id,
            link_id=entry.link_id,
        )
        self.book.log.append(row)
        self._both_sides(entry, before, row=row)
        return row

    def _both_sides(self, entry: Entry, before: Decimal, *, row: Transaction) -> None:
        truth = self.book.truth
        for account, amount in (
            (_COUNTER[entry.kind], -entry.cash_flow),
            ("funding", -entry.funding),
            ("fees", entry.fee),
            ("wallet", row.change),
        ):
            if amount:
                key = f"{account}|{entry.coin}"
                truth[key] = truth.get(key, ZERO) + amount
        if truth.get(f"wallet|{entry.coin}", ZERO) != row.balance or before + row.change != row.balance:
            raise InvariantBroken(f"the transaction log of {entry.coin} does not tie at {row.id}")

    def trade(self, symbol: str, side: Side, *, quantity: Decimal, value: Decimal) -> tuple[Decimal, Decimal]:
        """Move a position by a fill of ``value = cash(price × quantity)``; returns (realised P&L to book,
        closed quantity).

        Realised is a multiple of 1e-8; what rounding leaves stays in the cost, so that over a whole holding
        nothing is lost.
        """
        position = self.position(symbol)
        signed = quantity * side.sign
        closed = min(quantity, abs(position.size)) if position.size * signed < 0 else ZERO
        pnl = ZERO
        if closed:
            value_closed = value if closed == quantity else cash(value * closed / quantity)
            flow = -value_closed * side.sign
            whole = closed == abs(position.size)
            pnl = cash(flow - (position.cost if whole else position.cost * closed / abs(position.size)))
            position.cost += pnl - flow
            position.size += closed * side.sign
            value -= value_closed
            quantity -= closed
        if not position.size:
            if position.cost:
                raise InvariantBroken(f"{symbol}: flat with a cost of {position.cost}")
            position.opened = None
            position.realised = ZERO if quantity else position.realised
        if quantity:
            if not position.size:
                position.opened = self._state.now
                position.created = position.created or self._state.now
                position.realised = ZERO
            position.size += quantity * side.sign
            position.cost += value * side.sign
        position.updated = self._state.now
        return pnl, closed

    def realise(self, symbol: str, amount: Decimal, *, coin: str, holding: Decimal | None = None) -> None:
        """Count realised P&L (after fees and funding) on the position and its coin; ``holding`` is the part
        that belongs to the present holding (all of it, unless a fill has turned the position round).
        """
        position = self.position(symbol)
        position.realised += amount if holding is None else holding
        position.realised_total += amount
        self.coin(coin).realised += amount

    def prune(self, before: datetime) -> None:
        """Forget rows from before an instant; what they came to becomes the opening balance."""
        keep = bisect_left(self.book.log, before, key=lambda row: row.time)
        for row in self.book.log[:keep]:
            self.book.opening[row.coin] = row.balance
        del self.book.log[:keep]
        del self.book.fills[: bisect_left(self.book.fills, before, key=lambda row: row.time)]
