"""What each day's facts brought: running sums by the day (UTC) of the fact, kept beside the entries in
``ledger_days``, so that a P&L by day costs the same however much was booked. Changes nothing.

Only the days at the edges of a span that begins or ends within one are added up from their entries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple, TypeVar

from fundarb.core.instants import from_ms, to_ms
from fundarb.core.ledger import Account
from fundarb.store.fields import EXACT, readable
from fundarb.store.session import Session

RESULT_ACCOUNTS: Final = frozenset(Account) - {Account.WALLET, Account.POSITION_COST}
RESULTS: Final = "entry.account NOT IN ({})".format(
    ", ".join(f"'{account}'" for account in Account if account not in RESULT_ACCOUNTS)
)
"""The two that make none are sooner compared with than the eight that do."""
_ADD: Final = EXACT.add
DAY_MS: Final = 86_400_000
_EVER: Final = 10**8 * DAY_MS
"""Further from 1970 than any instant, and whole days."""
_KEY: Final = "entry.position_id IS NOT NULL, entry.account, entry.coin"
_KEPT: Final = "SELECT day, ours, account, coin, amount, value FROM ledger_days WHERE day >= ? AND day < ?"
_BOOKED: Final = (
    f"SELECT journal.at / {DAY_MS}, {_KEY}, dsum(entry.amount), dsum(entry.value) "
    "FROM ledger_entries AS entry JOIN ledger_journals AS journal ON journal.id = entry.journal_id "
    f"WHERE {RESULTS} AND {{}} GROUP BY journal.at / {DAY_MS}, {_KEY}"
)
# a + keeps an index from being used where the other condition leaves less
_AFTER: Final = _BOOKED.format("journal.at >= ? AND journal.at < ? AND +entry.journal_id > ?")
_UNTIL: Final = _BOOKED.format("+journal.at >= ? AND +journal.at < ? AND entry.journal_id <= ?")


_Key = TypeVar("_Key")


class DayKey(NamedTuple):
    """One account in one coin on one day (the number of days since 1970, UTC); ``ours``: for positions, else
    for none.
    """

    day: int
    ours: bool
    account: Account
    coin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DaySum:
    """What one account gathered in one coin on one day (UTC), which begins at ``day``; ``ours``: for
    positions, else for none. Amount and its value in quote, debit +.
    """

    day: datetime
    ours: bool
    account: Account
    coin: str
    amount: Decimal
    value: Decimal


class LedgerDays:
    """Sums by day over the ledger of one database."""

    def __init__(self, session: Session) -> None:
        """On one session."""
        self._session = session

    def by_day(
        self, *, since: datetime | None = None, until: datetime | None = None, booked_after: int = 0
    ) -> tuple[DaySum, ...]:
        """Exact sums by the day (UTC) of the fact, account, coin and whether a position's, oldest first."""
        begin = -_EVER if since is None else to_ms(since)
        end = _EVER if until is None else to_ms(until)
        first, last = -(-begin // DAY_MS), end // DAY_MS
        found: dict[DayKey, tuple[Decimal, Decimal]] = {}
        edges = [(begin, end)]
        if first < last:
            found = self._sums(_KEPT, first, last)
            self._take_before(found, booked_after, first=first, last=last)
            edges = [(begin, first * DAY_MS), (last * DAY_MS, end)]
        for one, other in edges:
            for key, (amount, value) in self._sums(_AFTER, one, other, booked_after).items():
                gather(found, key, amount=amount, value=value)
        return tuple(
            DaySum(
                day=from_ms(key.day * DAY_MS),
                ours=key.ours,
                account=key.account,
                coin=key.coin,
                amount=amount,
                value=value,
            )
            for key, (amount, value) in sorted(found.items())
        )

    def drifted_days(self) -> Iterator[str]:
        """Which running sums of days are not what the entries add up to, in words: none, unless the file was
        tampered with.
        """
        found, kept = self._sums(_AFTER, -_EVER, _EVER, 0), self._sums(_KEPT, -_EVER, _EVER)
        for key in sorted({*found, *kept}):
            if found.get(key) != kept.get(key):
                whose = "positions" if key.ours else "the account"
                yield f"{key.account} {key.coin} of {whose} on {from_ms(key.day * DAY_MS):%Y-%m-%d}"

    def _take_before(
        self, found: dict[DayKey, tuple[Decimal, Decimal]], number: int, *, first: int, last: int
    ) -> None:
        """Take away what journals up to one did on these days; what is nothing without them was theirs
        alone.
        """
        before = self._sums(_UNTIL, first * DAY_MS, last * DAY_MS, number)
        for key, (amount, value) in before.items():
            gather(found, key, amount=amount.copy_negate(), value=value.copy_negate())
            if not any(found[key]):
                del found[key]

    def _sums(self, sql: str, *values: int) -> dict[DayKey, tuple[Decimal, Decimal]]:
        rows = self._session.database.rows(sql, values)
        with readable("a sum of the ledger"):
            return {
                DayKey(day, bool(ours), Account(account), coin): (Decimal(amount), Decimal(value))
                for day, ours, account, coin, amount, value in rows
            }


def gather(sums: dict[_Key, tuple[Decimal, Decimal]], key: _Key, *, amount: Decimal, value: Decimal) -> None:
    """Add to the running sum of a key, exactly."""
    held = sums.get(key)
    sums[key] = (amount, value) if held is None else (_ADD(held[0], amount), _ADD(held[1], value))
