"""Facts in coins whose worth nobody could say when they were booked: fees, interest, loans and exchanges
that have an amount and no true value. Kept as one text, so that a report says that it does not know and never
that it was nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from fundarb.core.ledger import QUOTE_COINS, Account, Entry, Journal
from fundarb.core.money import cash
from fundarb.store.meta import Meta

_KEY: Final = "ledger.unvalued"
_JUDGED: Final = frozenset({Account.FEES, Account.INTEREST, Account.LOAN, Account.REALISED})
_NOBODY: Final = "-"


@dataclass(frozen=True, slots=True)
class Unvalued:
    """Entries of one account in one coin, of a position or (None) of the account as a whole, and the times of
    the first and the last of them.
    """

    account: Account
    coin: str
    position_id: str | None
    since: datetime
    until: datetime


class UnvaluedFacts:
    """Those of one database."""

    def __init__(self, meta: Meta) -> None:
        """Kept in its small texts."""
        self._meta = meta

    def all(self) -> tuple[Unvalued, ...]:
        """Every kind of them."""
        return tuple(_read(line) for line in (self._meta.get(_KEY) or "").splitlines())

    def judge(self, journal: Journal, coin: str, *, price: Decimal | None) -> None:
        """Remember what a journal books of a coin without its worth: its price is not known, or the coins had
        come without one and went at that cost.
        """
        if not coin or coin in QUOTE_COINS:
            return
        found = {
            (entry.account, entry.position_id)
            for entry in journal.entries
            if entry.coin == coin and entry.account in _JUDGED and _guessed(entry, price)
        }
        if not found:
            return
        known = {(item.account, item.coin, item.position_id): item for item in self.all()}
        for account, position in found:
            key = (account, coin, position)
            old = known.get(key, Unvalued(*key, journal.at, journal.at))
            known[key] = Unvalued(*key, min(old.since, journal.at), max(old.until, journal.at))
        self._meta.set(_KEY, "\n".join(sorted(map(_line, known.values()))))


def _guessed(entry: Entry, price: Decimal | None) -> bool:
    """Whether nobody knows what an entry is worth. Coins that are exchanged go at cost, which is known."""
    if price is None:
        return entry.account is not Account.REALISED or not entry.value
    return not entry.value and bool(cash(entry.amount * price))


def _line(item: Unvalued) -> str:
    who = item.position_id or _NOBODY
    return f"{item.account} {item.coin} {who} {item.since.isoformat()} {item.until.isoformat()}"


def _read(line: str) -> Unvalued:
    account, coin, who, since, until = line.split()
    position = None if who == _NOBODY else who
    return Unvalued(
        Account(account), coin, position, datetime.fromisoformat(since), datetime.fromisoformat(until)
    )
