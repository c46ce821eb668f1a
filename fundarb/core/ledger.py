"""The words of the double-entry ledger: accounts, entries, journals, holdings at average cost, and the proof
of a balance chain.

Every entry has an ``amount`` in its coin and a ``value`` in quote; every journal sums to zero in each coin
*and* in value. A debit is positive: a wallet grows with +, an expense is +, an income (realised gain, funding
received, a deposit) is −. Nothing here knows a venue's row types or a database; nothing here rounds what a
venue reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from itertools import groupby

from fundarb.core.account import Transaction
from fundarb.core.money import ZERO, cash, plain
from fundarb.core.orders import Leg
from fundarb.errors import InvariantBroken

QUOTE_COINS = frozenset({"USDT", "USDC"})
"""Coins whose value in quote is their amount: settlement coins, taken one for one (said in the report)."""


class Account(StrEnum):
    """Where an entry belongs; one balance per coin, with the position as a further mark where it makes sense.

    POSITION_COST carries a trade between two coins: −coins in the base coin against +cost in the quote coin,
    so its value is always zero. LOAN is what the venue lent (a liability, −). SUSPENSE is what nobody could
    explain.
    """

    WALLET = "wallet"
    POSITION_COST = "position_cost"
    REALISED = "realised"
    FEES = "fees"
    FUNDING = "funding"
    INTEREST = "interest"
    EXTERNAL = "external"
    LOAN = "loan"
    DUST = "dust"
    SUSPENSE = "suspense"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a journal: ``amount`` in ``coin``, ``value`` in quote (book value for coins), debit +."""

    account: Account
    coin: str
    amount: Decimal
    value: Decimal
    position_id: str | None = None
    leg: Leg | None = None


@dataclass(frozen=True, slots=True)
class HoldingKey:
    """Whose holding of what: ``owner`` a position id, ``POOL`` or ``DUST``; ``asset`` a coin, or a perp
    symbol.
    """

    owner: str
    asset: str


POOL = ""
"""The owner of coins that belong to no position of ours."""
DUST = "dust"
"""The owner of what was left below the minimum when positions closed."""
MOVED = frozenset({Account.EXTERNAL, Account.SUSPENSE})
"""What changes the account and is no result: moved in or out, or not explained."""
AT_COST = frozenset({Account.REALISED, Account.LOAN})
"""Against these accounts coins of the pool go at cost: what they bring, or what debt they end, stands in
another entry.
"""


@dataclass(frozen=True, slots=True)
class Holding:
    """A quantity (negative when short) and its cost in quote, of the same sign; average cost = cost ÷
    quantity.
    """

    quantity: Decimal = ZERO
    cost: Decimal = ZERO

    @property
    def average(self) -> Decimal | None:
        """The average cost of one unit, None when nothing is held."""
        return self.cost / self.quantity if self.quantity else None

    def move(self, quantity: Decimal, value: Decimal) -> tuple[Holding, Decimal]:
        """The holding after a trade of ``quantity`` (+ bought) worth ``value`` (same sign), and the realised
        gain.

        What has the holding's own direction adds to the cost; what goes against it releases cost in
        proportion (the average does not change; the part is rounded to 1e-8, the last unit takes all that is
        left), and a trade through zero is split there. Always ``gain = Δcost − value``, so gain + unrealised
        gain depends on neither rounding nor splitting.
        """
        if not quantity:
            return self, -value
        if not self.quantity or (self.quantity > 0) == (quantity > 0):
            return Holding(self.quantity + quantity, self.cost + value), ZERO
        left = self.quantity + quantity
        if not left:
            after = Holding()
        elif (left > 0) == (self.quantity > 0):
            after = Holding(left, self.cost - cash(self.cost * -quantity / self.quantity))
        else:
            after = Holding(left, cash(value * left / quantity))
        return after, after.cost - self.cost - value

    def unrealised(self, price: Decimal) -> Decimal:
        """What closing everything at ``price`` would gain, before fees: quantity · price − cost; for both
        signs.
        """
        return self.quantity * price - self.cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """All entries of one fact. ``key`` is the fact's unique key; ``fact`` the venue's word for it; ``at``
    when it happened.

    ``slippage`` is what the fill cost against the decision's mid in quote, + = cost, None where there was no
    decision to measure against; it is contained in the realised and unrealised result and never added to it.
    """

    key: str
    fact: str
    at: datetime
    symbol: str
    entries: tuple[Entry, ...]
    position_id: str | None = None
    leg: Leg | None = None
    slippage: Decimal | None = None

    def wallet_change(self, coin: str) -> Decimal:
        """What this fact does to the wallet of one coin."""
        return sum(
            (
                entry.amount
                for entry in self.entries
                if entry.account is Account.WALLET and entry.coin == coin
            ),
            ZERO,
        )


@dataclass(frozen=True, slots=True)
class Booked:
    """A journal with the holdings as they are after it (only those that it changes)."""

    journal: Journal
    holdings: Mapping[HoldingKey, Holding] = field(default_factory=dict)


def require_balanced(journal: Journal) -> Journal:
    """The journal itself if it sums to zero in each coin and in value; else ``InvariantBroken``, naming what
    does not.
    """
    sums: dict[str, Decimal] = {}
    value = ZERO
    for entry in journal.entries:
        sums[entry.coin] = sums.get(entry.coin, ZERO) + entry.amount
        value += entry.value
        if entry.coin in QUOTE_COINS and entry.value != entry.amount:
            msg = f"journal {journal.key}: {plain(entry.amount)} {entry.coin} valued at {plain(entry.value)}"
            raise InvariantBroken(msg)
    wrong = [f"{coin} by {plain(total)}" for coin, total in sums.items() if total] + (
        [f"value by {plain(value)}"] if value else []
    )
    if wrong:
        msg = f"journal {journal.key} does not sum to zero: {', '.join(wrong)}"
        raise InvariantBroken(msg)
    return journal


@dataclass(slots=True)
class Draft:
    """A journal being written, with the holdings as they become."""

    before: Mapping[HoldingKey, Holding]
    position_id: str | None = None
    leg: Leg | None = None
    entries: list[Entry] = field(default_factory=list)
    after: dict[HoldingKey, Holding] = field(default_factory=dict)

    def move(self, key: HoldingKey, *, quantity: Decimal, value: Decimal) -> tuple[Decimal, Decimal]:
        """Change a holding; how much its cost changed, and the gain."""
        holding = self.after.get(key) or self.before.get(key) or Holding()
        moved, gain = holding.move(quantity, value)
        self.after[key] = moved
        return moved.cost - holding.cost, gain

    def add(self, account: Account, coin: str, *, amount: Decimal, value: Decimal | None = None) -> None:
        """One entry; ``value`` None means that the coin is a quote coin. Nothing at all is not written."""
        worth = amount if value is None else value
        if amount or worth:
            self.entries.append(
                Entry(
                    account=account,
                    coin=coin,
                    amount=amount,
                    value=worth,
                    position_id=self.position_id,
                    leg=self.leg,
                )
            )

    def exchange(self, account: Account, coin: str, *, amount: Decimal, price: Decimal | None = None) -> None:
        """Wallet against ``account`` in a coin of the pool: the wallet's come in at their price (nothing if
        unknown) and go at cost. What went outside, paid for something or is unexplained went at its worth by
        the price, and what it had gained until then is realised; without a price, and where coins go for
        others or back to their lender (``AT_COST``), they go at cost. Nothing at all is not written.
        """
        if not amount:
            return
        if coin in QUOTE_COINS:
            self.add(Account.WALLET, coin, amount=amount)
            self.add(account, coin, amount=-amount)
            return
        value = cash(amount * (price or ZERO))
        change, gain = self.move(HoldingKey(POOL, coin), quantity=amount, value=value)
        at_cost = price is None or account in AT_COST
        self.add(Account.WALLET, coin, amount=amount, value=change)
        self.add(account, coin, amount=-amount, value=-change if at_cost else -value)
        if gain and not at_cost:
            # of no position, even where the coins paid for one: it did not hold them
            self.entries.append(Entry(account=Account.REALISED, coin=coin, amount=ZERO, value=-gain))

    def booked(self, journal: Journal) -> Booked:
        """The checked result."""
        return Booked(require_balanced(journal), self.after)


def balances(entries: Iterable[Entry]) -> dict[tuple[Account, str], Decimal]:
    """The trial balance: the sum of the amounts by account and coin."""
    totals: dict[tuple[Account, str], Decimal] = {}
    for entry in entries:
        key = (entry.account, entry.coin)
        totals[key] = totals.get(key, ZERO) + entry.amount
    return totals


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainBreak:
    """A place where a coin's running balance does not follow from the row before it: something is missing
    between them.
    """

    coin: str
    at: datetime
    after: datetime | None
    key: str
    expected: Decimal
    found: Decimal


def chained(
    rows: Sequence[Transaction], start: Decimal | None
) -> tuple[tuple[Transaction, ...], tuple[ChainBreak, ...]]:
    """One coin's rows in the order of their chain, and every break in it.

    ``balance[i] = balance[i−1] + change[i]``; ``start`` is the balance before the first row, None if unknown:
    then the one from which most follows. Rows must be sorted by time; those of one instant are unordered at
    the venue and are put in the order in which they fit.
    """
    if start is not None or not rows:
        return _chained(rows, start or ZERO)
    found = [_chained(rows, begin) for begin in _starts([row for row in rows if row.time == rows[0].time])]
    return min(found, key=lambda one: len(one[1]))


def _starts(group: Sequence[Transaction]) -> list[Decimal]:
    """The balances from which the rows of one instant may begin: those that more rows leave than reach; where
    they come back to where they began, each of them.
    """
    left = Counter(row.balance - row.change for row in group)
    more = left - Counter(row.balance for row in group)
    return list(more or left)


def _chained(
    rows: Sequence[Transaction], balance: Decimal
) -> tuple[tuple[Transaction, ...], tuple[ChainBreak, ...]]:
    """The same from a balance that is known."""
    ordered: list[Transaction] = []
    breaks: list[ChainBreak] = []
    for _, group in groupby(rows, key=lambda row: row.time):
        for row in _trail(list(group), balance):
            expected = balance + row.change
            if row.balance != expected:
                before = ordered[-1].time if ordered else None
                breaks.append(
                    ChainBreak(
                        coin=row.coin,
                        at=row.time,
                        after=before,
                        key=row.key,
                        expected=expected,
                        found=row.balance,
                    )
                )
            balance = row.balance
            ordered.append(row)
    return tuple(ordered), tuple(breaks)


def _trail(group: list[Transaction], balance: Decimal) -> list[Transaction]:
    """The rows of one instant in an order in which each continues the one before, as far as there is one.

    A row is an edge from the balance before it to the balance after it; the order wanted is an Eulerian trail
    from ``balance`` (Hierholzer's algorithm). Rows that no trail reaches keep their order and follow at the
    end.
    """
    if len(group) == 1:
        return group
    edges: dict[Decimal, list[Transaction]] = {}
    for row in reversed(group):
        edges.setdefault(row.balance - row.change, []).append(row)
    trail: list[Transaction] = []
    stack: list[tuple[Decimal, Transaction | None]] = [(balance, None)]
    while stack:
        place, arrived = stack[-1]
        if edges.get(place):
            row = edges[place].pop()
            stack.append((row.balance, row))
        else:
            stack.pop()
            if arrived is not None:
                trail.append(arrived)
    trail.reverse()
    rest = [row for row in group if any(row is other for others in edges.values() for other in others)]
    return trail + rest
