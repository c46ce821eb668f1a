"""Facts that were booked once more, for somebody else: a trade that turned out to be a position's after it
had been booked as a stranger's, or to suspense. Changes nothing.

What was booked first is taken back and booked anew with the time of the fact, after everything that was
booked in between. The wallet had it all the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from fundarb.core.instants import from_ms
from fundarb.core.ledger import Account
from fundarb.core.postings import REVERSAL_PREFIX
from fundarb.core.transactions import AGAIN, MATCH_PREFIX, trade_key
from fundarb.store.fields import readable
from fundarb.store.ledger_days import RESULTS
from fundarb.store.session import Session

_PAGE: Final = 400
_TAKEN_BACK: Final = "SELECT key FROM ledger_journals WHERE key BETWEEN ? AND ?"
_TRADES: Final = "SELECT key, category, symbol, trade_id FROM ledger_transactions WHERE key IN ({})"
_BOOKED: Final = (
    "SELECT journal.key, journal.id, journal.at, entry.position_id, entry.account, entry.value "
    "FROM ledger_journals AS journal "
    f"LEFT JOIN ledger_entries AS entry ON entry.journal_id = journal.id AND {RESULTS} "
    "WHERE journal.key IN ({})"
)


class Anew(NamedTuple):
    """One entry of a fact that was booked more than once, of those that make a result: ``value`` in quote,
    debit +. ``first_id`` is the journal by which the fact came into the books: who had read that one had
    seen all of it, whoever owns it now.
    """

    first_id: int
    journal_id: int
    at: datetime
    position_id: str | None
    account: Account
    value: Decimal


def booked_anew(session: Session) -> tuple[Anew, ...]:
    """All such entries, loans left out: of the first booking, of what took it back, and of the next one."""
    prefix = REVERSAL_PREFIX
    taken = session.database.rows(_TAKEN_BACK, [prefix, _after(prefix)])
    rows = {key.removeprefix(prefix).removesuffix(AGAIN) for (key,) in taken}
    facts: dict[str, str] = {}
    for key, category, symbol, trade in _many(session, _TRADES, keys=rows):
        fact, booked = trade_key(category, symbol, trade_id=trade), (key, key + AGAIN)
        back = (prefix + one for one in booked)
        facts |= dict.fromkeys((fact, MATCH_PREFIX + key, *booked, *back), fact)
    entries = list(_many(session, _BOOKED, keys=facts))
    first: dict[str, int] = {}
    for key, number, *_ in entries:
        first[facts[key]] = min(number, first.get(facts[key], number))
    with readable("an entry of the ledger"):
        return tuple(
            Anew(first[facts[key]], number, from_ms(at), owner, Account(account), Decimal(value))
            for key, number, at, owner, account, value in entries
            if account is not None and account != Account.LOAN
        )


def _after(prefix: str) -> str:
    """What sorts after everything that begins so."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _many(session: Session, sql: str, *, keys: Iterable[str]) -> Iterator[Any]:
    """The rows of these keys, asked for page by page."""
    wanted = sorted(keys)
    for start in range(0, len(wanted), _PAGE):
        part = wanted[start : start + _PAGE]
        yield from session.database.rows(sql.format(", ".join("?" * len(part))), part)
