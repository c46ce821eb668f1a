"""Facts in coins whose worth nobody could say when they were booked: fees, interest, loans, exchanges,
deposits and withdrawals, and what nobody has explained, as far as they have an amount and no true value. Kept
as one text, so that a report says that it does not know and never that it was nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fundarb.core.ledger import AT_COST, QUOTE_COINS, Account, Entry, Journal
from fundarb.core.money import ZERO, cash
from fundarb.store.meta import Meta
from fundarb.store.prices import Worth

_KEY: Final = "ledger.unvalued"
_JUDGED: Final = frozenset(
    {
        Account.FEES,
        Account.INTEREST,
        Account.LOAN,
        Account.REALISED,
        Account.EXTERNAL,
        Account.SUSPENSE,
    }
)
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

    def judge(self, journal: Journal, coin: str, *, worth: Worth) -> None:
        """Remember what a journal books of a coin without its worth: that is not known, or the coins had come
        without one and went at that cost.
        """
        if not coin or coin in QUOTE_COINS:
            return
        entries = [entry for entry in journal.entries if entry.coin == coin]
        free = any(entry.account is Account.WALLET and _free(entry, worth) for entry in entries)
        found = {
            (entry.account, entry.position_id)
            for entry in entries
            if entry.account in _JUDGED and _guessed(entry, worth, free=free)
        }
        if not found:
            return
        known = {(item.account, item.coin, item.position_id): item for item in self.all()}
        for account, position in found:
            key = (account, coin, position)
            old = known.get(key, Unvalued(*key, journal.at, journal.at))
            known[key] = Unvalued(*key, min(old.since, journal.at), max(old.until, journal.at))
        self._meta.set(_KEY, "\n".join(sorted(map(_line, known.values()))))


def _guessed(entry: Entry, worth: Worth, *, free: bool) -> bool:
    """Whether nobody knows what an entry is worth. Coins that go for others or back to their lender go at
    cost, which is known if they ever had one; what coins had gained until they went is not known where they
    had come without one (``free``).
    """
    if entry.account is Account.REALISED and not entry.amount:
        return free or not worth.known
    if entry.account in AT_COST and entry.amount > ZERO:
        return not entry.value and (worth.price is None or _free(entry, worth))
    return not worth.known or _free(entry, worth)


def _free(entry: Entry, worth: Worth) -> bool:
    """Whether an entry counts coins as nothing that are worth something."""
    return not entry.value and bool(cash(entry.amount * (worth.price or ZERO)))


def _line(item: Unvalued) -> str:
    who = item.position_id or _NOBODY
    return f"{item.account} {item.coin} {who} {item.since.isoformat()} {item.until.isoformat()}"


def _read(line: str) -> Unvalued:
    account, coin, who, since, until = line.split()
    position = None if who == _NOBODY else who
    return Unvalued(
        Account(account), coin, position, datetime.fromisoformat(since), datetime.fromisoformat(until)
    )
