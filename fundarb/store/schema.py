"""The frame of the schema: what a migration is, and the SQL words that differ between database engines.

A migration is a plain function in an ordered list. It runs in one transaction together with the record that
it ran, forward only, and is never edited once released: a later change is a new entry. Statements are written
with ``{words}`` in place of types, so that the same text serves another engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

SQLITE_WORDS: Mapping[str, str] = {
    "money": "TEXT",
    "instant": "INTEGER",
    "flag": "INTEGER",
    "growing_id": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "strict": "STRICT",
}
"""``growing_id`` never gives a number twice, even after its row is gone."""


class _Executor(Protocol):
    def execute_sql(self, sql: str, params: Any = None) -> Any:
        """Run one statement."""


class Schema:
    """What a migration works on."""

    def __init__(self, database: _Executor, words: Mapping[str, str] = SQLITE_WORDS) -> None:
        """Statements go to ``database`` with the words of its engine."""
        self._database = database
        self._words = words

    def run(self, *statements: str) -> None:
        """Execute each statement with its ``{words}`` filled in (``{money} {instant} {flag} {growing_id}
        {strict}``).
        """
        for statement in statements:
            self._database.execute_sql(statement.format_map(self._words))

    def execute(self, sql: str, params: tuple[Any, ...] = ()) -> Any:
        """One statement with bound values, for a migration that moves data; the cursor."""
        return self._database.execute_sql(sql, params)


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema: from ``version − 1`` to ``version``."""

    version: int
    name: str
    apply: Callable[[Schema], None]
