"""Small named texts: cursors, marks, anything that is one value. Owns the table ``meta``."""

from __future__ import annotations

from fundarb.store.records import Records
from fundarb.store.session import Session


class Meta:
    """Texts by key."""

    def __init__(self, session: Session) -> None:
        """On one session."""
        self._session = session
        self._records: Records[dict[str, str]] = Records(
            session, session.tables.meta, kind=dict, names=("key", "value")
        )

    def get(self, key: str) -> str | None:
        """The text under a key, or None."""
        found = self._records.value("value", "WHERE key = ?", key)
        return None if found is None else str(found)

    def set(self, key: str, value: str) -> None:
        """Put a text under a key, in place of what was there."""
        with self._session.transaction():
            if not self._records.update({"value": value}, "WHERE key = ?", key):
                self._records.insert({"key": key, "value": value})

    def delete(self, key: str) -> None:
        """Remove a key; nothing happens if it is not there."""
        with self._session.transaction():
            self._records.delete("WHERE key = ?", key)
