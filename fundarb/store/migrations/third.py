"""Migration 3: the ledger's running totals by position, account, coin and leg, made from the entries there
are.

Frozen once released: a later change is a new migration.
"""

from __future__ import annotations

from decimal import Decimal

from fundarb.core.money import plain
from fundarb.store.fields import EXACT
from fundarb.store.schema import Schema

_TABLE = """
    CREATE TABLE ledger_totals (
        position_id TEXT NOT NULL, account TEXT NOT NULL, coin TEXT NOT NULL, leg TEXT NOT NULL,
        amount {money} NOT NULL, value {money} NOT NULL,
        PRIMARY KEY (position_id, account, coin, leg)
    ) {strict}
    """


def apply(schema: Schema) -> None:
    """Create the table and add up every entry, exactly."""
    schema.run(_TABLE)
    totals: dict[tuple[str, ...], tuple[Decimal, Decimal]] = {}
    nothing = (Decimal(0), Decimal(0))
    rows = schema.execute("SELECT position_id, account, coin, leg, amount, value FROM ledger_entries")
    for position, account, coin, leg, amount, value in rows:
        key: tuple[str, ...] = (position or "", account, coin, leg or "")
        one, other = totals.get(key, nothing)
        totals[key] = EXACT.add(one, Decimal(amount)), EXACT.add(other, Decimal(value))
    for key, (amount, value) in totals.items():
        schema.execute(
            "INSERT INTO ledger_totals VALUES (?, ?, ?, ?, ?, ?)", (*key, plain(amount), plain(value))
        )
