"""Positions: one row per plan, moved along its state table and nowhere else. Owns the table ``positions``.

Quantities here change only by what our own executions did; a state changes only by ``advance``; a final
position never changes again.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypedDict, Unpack

import peewee

from fundarb.core.events import PositionChanged
from fundarb.core.records import Goal, PositionRecord
from fundarb.core.states import POSITION, PositionState, PositionTrigger, advance
from fundarb.crash import Point
from fundarb.errors import InvariantBroken
from fundarb.store.events import Events
from fundarb.store.records import Records
from fundarb.store.session import Session

# the very words of the partial index: SQLite uses it only for a condition it can recognise
_ACTIVE: Final = "state NOT IN ('CLOSED', 'ABORTED')"


class PositionChanges(TypedDict, total=False):
    """What may change beside state and quantities: the plan's aim and what it was decided upon."""

    goal: Goal
    target_contracts: Decimal
    notional: Decimal
    leverage: Decimal
    decision_spot_mid: Decimal
    decision_perp_mid: Decimal
    note: str


class Positions:
    """The positions of one database."""

    def __init__(self, session: Session, events: Events) -> None:
        """Changes of state are recorded as events in the same transaction."""
        self._session = session
        self._events = events
        self._records = Records(session, session.tables.positions, kind=PositionRecord, often=True)
        self._notionals = Records(session, session.tables.positions, kind=_notional, names=("notional",))

    def add(self, record: PositionRecord) -> PositionRecord:
        """Write a new plan (state PLANNED); as stored, times cut to milliseconds.

        ``InvariantBroken`` if the id exists, the coin already has an active plan, or it is not newly born.
        """
        if record.state is not PositionState.PLANNED or record.spot_owned or record.contracts:
            raise InvariantBroken(f"{record.position_id}: a plan is born {PositionState.PLANNED} and empty")
        with self._session.transaction(
            before=Point.POSITION_BEFORE_COMMIT, after=Point.POSITION_AFTER_COMMIT
        ):
            try:
                return self._records.add(record)
            except peewee.IntegrityError as error:
                raise InvariantBroken(
                    f"{record.position_id}: {record.base} has an active plan, or the id exists ({error})"
                ) from error

    def get(self, position_id: str) -> PositionRecord:
        """One position; ``LookupError`` if there is none of that id."""
        found = self._records.one("WHERE position_id = ?", position_id)
        if found is None:
            raise LookupError(f"no position {position_id}")
        return found

    def active(self) -> tuple[PositionRecord, ...]:
        """Every position that is not CLOSED or ABORTED, oldest first."""
        return self._records.many(f"WHERE {_ACTIVE} ORDER BY created_at, position_id")

    def gross(self) -> Decimal:
        """The notional of all active positions; for the wire gate, which must not take long."""
        return sum(self._notionals.many(f"WHERE {_ACTIVE}"), Decimal(0))

    def active_for(self, base: str) -> PositionRecord | None:
        """The active plan of a coin."""
        return self._records.one(f"WHERE {_ACTIVE} AND base = ?", base)

    def all(
        self, *, since: datetime | None = None, until: datetime | None = None
    ) -> tuple[PositionRecord, ...]:
        """Every position that was not yet closed at ``since`` and created before ``until``, oldest first."""
        conditions, values = ["TRUE"], []
        if since is not None:
            conditions.append("(closed_at IS NULL OR closed_at >= ?)")
            values.append(since)
        if until is not None:
            conditions.append("created_at < ?")
            values.append(until)
        return self._records.many(
            f"WHERE {' AND '.join(conditions)} ORDER BY created_at, position_id", *values
        )

    def advance(self, position_id: str, trigger: PositionTrigger) -> PositionRecord:
        """Move along the state table; the position afterwards. ``IllegalTransition`` changes nothing.

        ``opened_at`` is the first time it is HEDGED or EXPOSED, ``closed_at`` the time it becomes final.
        """
        with self._session.transaction(before=Point.STATE_BEFORE_COMMIT, after=Point.STATE_AFTER_COMMIT):
            old = self.get(position_id)
            new = advance(POSITION, old.state, trigger=trigger)
            changes: dict[str, Any] = {"state": new}
            if old.opened_at is None and new in {PositionState.HEDGED, PositionState.EXPOSED}:
                changes["opened_at"] = self._session.now()
            if new.final:
                changes["closed_at"] = self._session.now()
            self._events.record(
                PositionChanged(
                    position_id=position_id, base=old.base, old=old.state, new=new, trigger=trigger.value
                )
            )
            return self._changed(old, changes)

    def update(self, position_id: str, **changes: Unpack[PositionChanges]) -> PositionRecord:
        """Change the plan's data; the position afterwards. ``InvariantBroken`` once it is final."""
        with self._session.transaction():
            old = self.get(position_id)
            if old.state.final:
                raise InvariantBroken(f"{position_id} is {old.state}: its plan does not change any more")
            return self._changed(old, dict(changes))

    def add_quantities(self, position_id: str, *, spot: Decimal, contracts: Decimal) -> PositionRecord:
        """Add what an execution did to the book (coins owned, contracts short; negative
        reduces); the position afterwards.

        ``InvariantBroken`` if either would fall below zero (we never owe coins, the perp leg is never long),
        or if the position is final.
        """
        with self._session.transaction():
            old = self.get(position_id)
            if old.state.final:
                raise InvariantBroken(f"{position_id} is {old.state}: it holds nothing any more")
            owned, short = old.spot_owned + spot, old.contracts + contracts
            if owned < 0 or short < 0:
                raise InvariantBroken(
                    f"{position_id}: the book would be {owned} coins against {short} contracts short"
                )
            return self._changed(old, {"spot_owned": owned, "contracts": short})

    def _changed(self, old: PositionRecord, changes: dict[str, Any]) -> PositionRecord:
        if changes:
            self._records.update(changes, "WHERE position_id = ?", old.position_id)
        return replace(old, **changes)


def _notional(*, notional: Decimal) -> Decimal:
    return notional
