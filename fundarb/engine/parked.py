"""Trade rows of the transaction log that went to suspense for want of their execution: for as long as it may
still turn up, executions are read back to them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from fundarb.core.account import Transaction
from fundarb.core.transactions import execution_key
from fundarb.store.database import Store
from fundarb.store.ledger_tables import RowState

_KEY: Final = "collect.parked"


class Parked:
    """The parked rows of one database, kept as one text: a key and a time on each line."""

    def __init__(self, store: Store) -> None:
        """Kept in its small texts."""
        self._store = store

    def times(self) -> tuple[datetime, ...]:
        """When they happened."""
        return tuple(self._read().values())

    def add(self, row: Transaction) -> None:
        """A row goes to suspense."""
        self._write({**self._read(), row.key: row.time})

    def take_back_found(self) -> None:
        """Take out of suspense the rows whose execution has turned up, and forget them: they wait to be
        matched. Those of an execution of ours were taken back when it was booked.
        """
        parked, log = self._read(), self._store.ledger.log
        if not parked:
            return
        states = log.states(parked)
        left = {key: time for key, time in parked.items() if states.get(key) is RowState.POSTED}
        found = {key: row for key in left if (row := log.row(key)) is not None}
        known = self._store.executions.known(map(execution_key, found.values()))
        with self._store.transaction():
            for key, row in found.items():
                if execution_key(row) in known:
                    self._store.ledger.take_back(row)
                    del left[key]
            if left != parked:
                self._write(left)

    def _read(self) -> dict[str, datetime]:
        lines = (line.rsplit(" ", 1) for line in (self._store.meta.get(_KEY) or "").splitlines())
        return {key: datetime.fromisoformat(time) for key, time in lines}

    def _write(self, parked: dict[str, datetime]) -> None:
        text = "\n".join(f"{key} {time.isoformat()}" for key, time in sorted(parked.items()))
        self._store.meta.set(_KEY, text)
