"""A payment of funding split anew: whose it is follows from executions, and one of them may become known
after the payment was booked.

Nothing that is booked changes: a correction moves between positions and account what was given to the wrong
one. It is the difference between the entries as they would be booked now and those that stand, so it adds up
to nothing in each account of the whole ledger. Pure: a row and its journals in, a journal out.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from fundarb.core.account import Transaction
from fundarb.core.ledger import Account, Booked, Entry, Journal, require_balanced
from fundarb.core.money import ZERO
from fundarb.core.orders import Leg
from fundarb.core.transactions import Share, transaction_journal

_PREFIX = "share:"


def resplit_key(row: Transaction, number: int) -> str:
    """The key of the correction of this number (from one) of a row."""
    return f"{_PREFIX}{number}:{row.key}"


def resplit(row: Transaction, journals: Iterable[Journal], *, share: Share | None) -> Booked | None:
    """The next correction of a SETTLEMENT row; None where it stands as it is to be.

    ``journals`` are all that were booked of it, its corrections among them; ``share`` says whose it is now
    (None: the account's). None as well for a row that paid a session's profit out: that moved the entry of a
    short, by which fills have been realised since.
    """
    if row.cash_flow:
        return None
    booked = list(journals)
    left: dict[tuple[Account, str | None, Leg | None], Decimal] = {}
    wanted = transaction_journal(row, {}, share=share).journal.entries
    for sign, entries in ((1, wanted), *((-1, journal.entries) for journal in booked)):
        for entry in entries:
            key = (entry.account, entry.position_id, entry.leg)
            left[key] = left.get(key, ZERO) + sign * entry.amount
    moved = tuple(
        Entry(account=account, coin=row.coin, amount=amount, value=amount, position_id=owner, leg=leg)
        for (account, owner, leg), amount in left.items()
        if amount
    )
    if not moved:
        return None
    name = resplit_key(row, len(booked))
    journal = Journal(key=name, fact=row.kind, at=row.time, symbol=row.symbol, entries=moved)
    return Booked(require_balanced(journal))


def received(journal: Journal) -> dict[str, Decimal]:
    """What a journal gave each position as funding, + = received."""
    found: dict[str, Decimal] = {}
    for entry in journal.entries:
        if entry.account is Account.FUNDING and entry.position_id is not None:
            found[entry.position_id] = found.get(entry.position_id, ZERO) - entry.amount
    return found
