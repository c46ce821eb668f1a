"""The ledger hash: one text for everything that is booked, the same for the same facts in whatever order they
were booked.

How a result is split between fills depends on the order in which they become known, as average costs do;
their sum does not. So the hash is made of the facts in the order of their keys, each with those entries that
are the venue's own (what coins moved, fees, funding, interest, flows from outside), and of the sum of
everything that the splitting moves around. What was booked and taken back is no fact.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from hashlib import sha256
from typing import Any, Final

from fundarb.core.ledger import QUOTE_COINS, Account
from fundarb.core.money import ZERO, plain
from fundarb.core.postings import REVERSAL_PREFIX
from fundarb.core.transactions import AGAIN, MATCH_PREFIX
from fundarb.store.ports import Database
from fundarb.store.session import Session

_FIRM: Final = frozenset(
    {Account.FEES, Account.FUNDING, Account.INTEREST, Account.EXTERNAL, Account.LOAN, Account.DUST}
)
"""Accounts whose amounts are the venue's own, whatever was booked before."""
_COINS: Final = frozenset({*_FIRM, Account.WALLET, Account.REALISED, Account.SUSPENSE})
"""Of coins that are no quote coins these are too."""
_FACTS: Final = """
    SELECT journal.key, journal.fact, journal.at, journal.symbol, COALESCE(journal.position_id, ''),
        COALESCE(journal.leg, ''), journal.slippage, entry.account, entry.coin, entry.amount, entry.value
    FROM ledger_journals AS journal LEFT JOIN ledger_entries AS entry ON entry.journal_id = journal.id
    ORDER BY journal.key, entry.id
"""


def digest(session: Session) -> str:
    """The hash of one database's ledger, as a hexadecimal text."""
    with session.reading():
        return _digest(session.database)


def _digest(database: Database) -> str:
    found = sha256()
    split = ZERO
    parts: list[str] = []
    head: tuple[Any, ...] | None = None
    back: set[str] = set()
    for key, *row, slippage, account, coin, amount, value in database.stream(_FACTS):
        if key.startswith(REVERSAL_PREFIX):  # sorts before the rows of the log
            back.add(key.removeprefix(REVERSAL_PREFIX))
            continue
        if key in back:
            continue
        fact = (key.removesuffix(AGAIN), *row, slippage or "")
        if fact != head:
            _put(found, head, parts=parts)
            head, parts = fact, []
        if account is None:
            continue
        if Decimal(amount) and account in (_FIRM if coin in QUOTE_COINS else _COINS):
            parts.append(f"{account} {coin} {amount}")
        if account in {Account.REALISED, Account.SUSPENSE}:
            split -= Decimal(value)
    _put(found, head, parts=parts)
    for owner, asset, quantity, cost in database.rows(
        "SELECT owner, asset, quantity, cost FROM ledger_holdings ORDER BY owner, asset", ()
    ):
        found.update(f"{owner} {asset} {quantity}\n".encode())
        split -= Decimal(cost)
    found.update(plain(split).encode())
    return found.hexdigest()


def _put(found: Any, head: tuple[Any, ...] | None, *, parts: Sequence[str]) -> None:
    """One fact: what it is, then what it moved. A correction that moves the split alone is no fact: whether
    there is one depends on the order.
    """
    if head is not None and (parts or not str(head[0]).startswith(MATCH_PREFIX)):
        found.update(f"{'|'.join(map(str, head))}|{'|'.join(sorted(parts))}\n".encode())
