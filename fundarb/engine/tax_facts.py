"""What belongs together in a tax return: the entries of one fact, and both sides of an exchange of coins, of
which the venue's log has rows of their own.

Knows no lots. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Final

from fundarb.core.ledger import QUOTE_COINS, Account
from fundarb.core.money import ZERO, cash
from fundarb.store.ledger_sums import TaxEntry

_PAIRED: Final = ("TRADE", "CONVERT", "CURRENCY", "SPOT_REPAYMENT", "LIQUIDATION")


class Fact:
    """The entries of one fact, each side of its exchange of coins, if it is one."""

    def __init__(self, entries: Sequence[TaxEntry]) -> None:
        """``counters`` says against what each movement of a wallet was booked, by the identity of its
        entry: a journal has it right behind, and an amount alone would take a fee for a loss that is as
        large. A spot trade of ours has none, its costs being left out.
        """
        self.entries = entries
        self.counters = {
            id(item): other
            for item, other in pairwise(entries)
            if item.account is Account.WALLET
            and other.account is not Account.WALLET
            and (other.key, other.coin, other.amount) == (item.key, item.coin, -item.amount)
        }
        swapped = [item for item in entries if item.account is Account.WALLET and self._swaps(item)]
        self.coins = [item for item in swapped if item.coin not in QUOTE_COINS]
        self._money = [item for item in swapped if item.coin in QUOTE_COINS]

    def moved_cash(self, item: TaxEntry) -> bool:
        """Whether this is a result that a wallet was changed by: what is realised without it is only told
        apart between positions.
        """
        return item.account is Account.REALISED and any(item is other for other in self.counters.values())

    def _swaps(self, item: TaxEntry) -> bool:
        counter = self.counters.get(id(item))
        return counter is None or counter.account is Account.REALISED

    @property
    def complete(self) -> bool:
        """Whether there are two sides."""
        sides = {item.amount > ZERO for item in (*self.coins, *self._money)}
        return len(sides) == 2

    def shares(self) -> dict[int, Decimal]:
        """What the coins cost or brought, by the identity of their entries; left out where it is not known:
        the other side is missing or has no worth, or coins of several kinds went for one sum.
        """
        found: dict[int, Decimal] = {}
        for sign in (1, -1) if self.coins else ():
            side = [item for item in self.coins if item.amount * sign > ZERO]
            others = [item for item in self.coins if item.amount * sign < ZERO]
            worth = self._worth(others, sign=sign)
            if not side or worth is None or len({item.coin for item in side}) > 1:
                continue
            parts = split(worth, [abs(item.amount) for item in side])
            found.update((id(item), part) for item, part in zip(side, parts, strict=True))
        return found

    def _worth(self, others: Sequence[TaxEntry], *, sign: int) -> Decimal | None:
        """What stands on the other side of coins that came (+1: what they cost) or went (−1: what they
        brought).
        """
        money = -sign * sum((item.amount for item in self._money), ZERO)
        if sign > 0 and others:
            return None  # coins for coins: they came at their price
        if not self.complete or money < ZERO or any(not item.value for item in others):
            return None
        return money + sum((item.value for item in others), ZERO)


def facts_of(moment: Sequence[TaxEntry]) -> list[Fact]:
    """What belongs together of one instant: a journal's entries, and the rows that the log has of one
    exchange of coins. Those have their trade in common, else their number, else nothing but the instant, the
    kind and the symbol.
    """
    found: dict[str, list[TaxEntry]] = {}
    for item in moment:
        found.setdefault(_name(item, moment), []).append(item)
    return [Fact(entries) for entries in found.values()]


def _name(item: TaxEntry, moment: Sequence[TaxEntry]) -> str:
    if not (item.key.startswith("tx:") and item.fact.startswith(_PAIRED)):
        return item.key
    _, number, kind, _, trade, _ = item.key.split(":", 5)
    if trade:
        return f"{kind}:{trade}"
    mates = {other.key for other in moment if other.key.startswith(f"tx:{number}:{kind}:")}
    return f"{kind}:{number}" if len(mates) > 1 else f"{kind}::{item.symbol}"


def split(total: Decimal, weights: Sequence[Decimal]) -> list[Decimal]:
    """A sum in proportion to the weights; the last takes the rest."""
    whole = sum(weights, ZERO)
    parts = [cash(total * weight / whole) for weight in weights[:-1]]
    return [*parts, total - sum(parts, ZERO)]
