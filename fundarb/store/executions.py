"""The raw execution rows of the venue, each kept once under its key. Owns the table ``executions``.

Only executions say what was traded; the ledger and the positions are derived from them and can be checked
against them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from fundarb.core.market import Category
from fundarb.core.orders import Execution, Leg
from fundarb.crash import Point
from fundarb.errors import InvariantBroken
from fundarb.store.records import Records
from fundarb.store.session import Session

_CHUNK: Final = 500  # bound values per statement, well below every engine's limit


class Executions:
    """The executions of one database."""

    def __init__(self, session: Session) -> None:
        """On one session."""
        self._session = session
        table = session.tables.executions
        self._records = Records(session, table, kind=Execution)
        self._keys = Records(session, table, kind=_key, names=("key",))
        self._owners = Records(session, table, kind=_owner, names=("position_id", "leg"))

    def add(self, execution: Execution, *, position_id: str | None = None, leg: Leg | None = None) -> bool:
        """Keep a row and whose it is (None: nobody's we know); False, and nothing changes, if its key is
        known.
        """
        with self._session.transaction(before=Point.FILL_BEFORE_COMMIT, after=Point.FILL_AFTER_COMMIT):
            if self.known([execution.key]):
                return False
            self._records.add(execution, key=execution.key, position_id=position_id, leg=leg)
            return True

    def of_position(self, position_id: str) -> tuple[Execution, ...]:
        """Everything that was traded for a position, oldest first."""
        return self._many("WHERE position_id = ?", position_id)

    def of_link(self, link_id: str) -> tuple[Execution, ...]:
        """Everything that one order of ours traded, oldest first."""
        return self._many("WHERE link_id = ?", link_id)

    def known(self, keys: Iterable[str]) -> frozenset[str]:
        """Which of these keys are kept already."""
        wanted = list(keys)
        found: set[str] = set()
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start : start + _CHUNK]
            condition = f"WHERE key IN ({', '.join('?' * len(chunk))})"
            found.update(self._keys.many(condition, *chunk))
        return frozenset(found)

    def between(self, since: datetime, until: datetime) -> tuple[Execution, ...]:
        """The rows of ``[since, until)``, oldest first, ours and others'."""
        return self._many("WHERE time >= ? AND time < ?", since, until)

    def of_strangers(self, category: Category, symbol: str, *, since: datetime) -> tuple[Execution, ...]:
        """The rows of one symbol that are nobody's we know, oldest first."""
        condition = "WHERE position_id IS NULL AND category = ? AND symbol = ? AND time >= ?"
        return self._many(condition, category, symbol, since)

    def last_holders(self, category: Category, symbol: str, *, at: datetime) -> frozenset[str]:
        """The positions of ours that traded a symbol last, up to and at an instant: several where one was
        closed and another opened within a millisecond.
        """
        ours = "position_id IS NOT NULL AND category = ? AND symbol = ?"
        last = self._records.value("max(time)", f"WHERE {ours} AND time <= ?", category, symbol, at)
        owners = self._owners.many(f"WHERE {ours} AND time = ?", category, symbol, last)
        return frozenset(position_id for position_id, _ in owners if position_id is not None)

    def owner(self, key: str) -> tuple[str | None, Leg | None]:
        """Position and leg under which a row is kept; ``LookupError`` for an unknown key."""
        found = self._owners.one("WHERE key = ?", key)
        if found is None:
            raise LookupError(f"no execution {key}")
        return found

    def attribute(self, key: str, *, position_id: str, leg: Leg) -> None:
        """Say whose a row is that was kept as nobody's; ``InvariantBroken`` if it is unknown or taken."""
        with self._session.transaction():
            changes = {"position_id": position_id, "leg": leg}
            if not self._records.update(changes, "WHERE key = ? AND position_id IS NULL", key):
                raise InvariantBroken(f"execution {key} is unknown, or somebody's already")

    def divide(self, part: Execution, rest: Execution) -> None:
        """Keep only a part of a row that is nobody's under its key, and the rest of it as a row of its own;
        ``InvariantBroken`` if the row is unknown, somebody's, or not the sum of both.
        """
        with self._session.transaction():
            condition = "WHERE key = ? AND position_id IS NULL"
            whole = self._records.one(condition, part.key)
            if whole is None or whole.quantity != part.quantity + rest.quantity:
                raise InvariantBroken(f"execution {part.key} cannot be divided")
            changes = {"quantity": part.quantity, "value": part.value, "fee": part.fee}
            self._records.update(changes, condition, part.key)
            self.add(rest)

    def _many(self, condition: str, *values: object) -> tuple[Execution, ...]:
        return self._records.many(f"{condition} ORDER BY time, key", *values)


def _key(*, key: str) -> str:
    return key


def _owner(*, position_id: str | None, leg: Leg | None) -> tuple[str | None, Leg | None]:
    return position_id, leg
