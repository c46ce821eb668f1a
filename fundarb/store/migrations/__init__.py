"""The ordered list of all migrations. To add tables: write a function that takes a ``Schema``, append it here
with the next number.
"""

from __future__ import annotations

from typing import Final

from fundarb.store.migrations import first, fourth, second, third
from fundarb.store.schema import Migration

MIGRATIONS: Final[tuple[Migration, ...]] = (
    Migration(1, "state", first.apply),
    Migration(2, "ledger", second.apply),
    Migration(3, "ledger totals", third.apply),
    Migration(4, "ledger days", fourth.apply),
)

SCHEMA_VERSION: Final = MIGRATIONS[-1].version
"""What this program reads and writes; a database of a higher version belongs to a newer program."""
