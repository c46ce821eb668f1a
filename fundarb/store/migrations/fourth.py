"""Migration 4: the ledger's running sums by day, made from the entries there are.

Frozen once released: a later change is a new migration.
"""

from __future__ import annotations

from decimal import Decimal

from fundarb.core.money import plain
from fundarb.store.fields import EXACT
from fundarb.store.schema import Schema

_TABLE = """
    CREATE TABLE ledger_days (
        day INTEGER NOT NULL, ours {flag} NOT NULL, account TEXT NOT NULL, coin TEXT NOT NULL,
        amount {money} NOT NULL, value {money} NOT NULL,
        PRIMARY KEY (day, ours, account, coin)
    ) {strict}
    """
_ENTRIES = """
    SELECT journal.at, entry.position_id, entry.account, entry.coin, entry.amount, entry.value
    FROM ledger_entries AS entry JOIN ledger_journals AS journal ON journal.id = entry.journal_id
    WHERE entry.account NOT IN ('wallet', 'position_cost')
    """
_DAY_MS = 86_400_000


def apply(schema: Schema) -> None:
    """Create the table and add up every entry of an account that makes a result, exactly."""
    schema.run(_TABLE)
    days: dict[tuple[int, int, str, str], tuple[Decimal, Decimal]] = {}
    nothing = (Decimal(0), Decimal(0))
    for at, position, account, coin, amount, value in schema.execute(_ENTRIES):
        key = (at // _DAY_MS, int(position is not None), account, coin)
        one, other = days.get(key, nothing)
        days[key] = EXACT.add(one, Decimal(amount)), EXACT.add(other, Decimal(value))
    for day, (amount, value) in days.items():
        schema.execute(
            "INSERT INTO ledger_days VALUES (?, ?, ?, ?, ?, ?)", (*day, plain(amount), plain(value))
        )
