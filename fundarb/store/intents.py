"""Intents: every order of ours, written before it is sent. Owns the table ``intents``.

The rules that keep an order from being sent twice stand here and again in the table's own constraints: a link
id is used once, a leg has at most one order in flight, and the next order of a leg exists only after all its
earlier ones are terminal.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Final, TypedDict, Unpack

import peewee

from fundarb.core.orders import Leg, Purpose, parse_link_id
from fundarb.core.records import IntentRecord, PositionRecord
from fundarb.core.states import INTENT, IntentState, IntentTrigger, PositionState, advance
from fundarb.crash import Point
from fundarb.errors import InvariantBroken
from fundarb.store.records import Records
from fundarb.store.session import Session

# the very words of the partial index: SQLite uses it only for a condition it can recognise
_OPEN: Final = "state IN ('SENDING', 'WORKING', 'UNCERTAIN')"


class Learnt(TypedDict, total=False):
    """What an answer or a look-up taught about an order; what is absent stays as it was."""

    order_id: str
    filled: Decimal
    average_price: Decimal | None
    code: int | None
    message: str


class Intents:
    """The intents of one database."""

    def __init__(self, session: Session) -> None:
        """On one session."""
        self._session = session
        self._records = Records(session, session.tables.intents, kind=IntentRecord)
        self._positions = Records(session, session.tables.positions, kind=PositionRecord)

    def next_seq(self, position_id: str) -> int:
        """The number of the plan's next order; call it in the transaction that adds the intent."""
        return int(self._records.value("max(seq)", "WHERE position_id = ?", position_id) or 0) + 1

    def add(self, record: IntentRecord) -> IntentRecord:
        """Write an order that is about to be sent (state SENDING); as stored, times cut to milliseconds.

        ``InvariantBroken``, and nothing is written, if the link id exists or does not say what the row says,
        the number is not the next, an earlier order of the leg is not terminal, or the position is unknown or
        final.
        """
        with self._session.transaction(before=Point.INTENT_BEFORE_COMMIT, after=Point.INTENT_AFTER_COMMIT):
            self._require_legal(record)
            try:
                return self._records.add(record)
            except peewee.IntegrityError as error:
                raise InvariantBroken(
                    f"{record.link_id}: the database refuses this order: {error}"
                ) from error

    def _require_legal(self, record: IntentRecord) -> None:
        name = record.link_id
        if record.state is not IntentState.SENDING or record.filled:
            raise InvariantBroken(f"{name}: an intent is born {IntentState.SENDING} and unfilled")
        parts = parse_link_id(name)
        wanted = (record.position_id, record.leg, record.seq)
        if parts is None or (f"p-{parts.plan}", parts.leg, parts.seq) != wanted:
            raise InvariantBroken(
                f"{name} does not name order {record.seq} of the {record.leg} leg of {record.position_id}"
            )
        due = self.next_seq(record.position_id)
        if record.seq != due:
            raise InvariantBroken(f"{name}: the next order of {record.position_id} has number {due}")
        waiting = self._records.one(
            f"WHERE {_OPEN} AND position_id = ? AND leg = ?", record.position_id, record.leg
        )
        if waiting is not None:
            raise InvariantBroken(f"{name}: {waiting.link_id} of the same leg is not terminal yet")
        state = self._positions.value("state", "WHERE position_id = ?", record.position_id)
        if state is None or PositionState(state).final:
            raise InvariantBroken(f"{name}: {record.position_id} is not an active plan")

    def get(self, link_id: str) -> IntentRecord:
        """One intent; ``LookupError`` if there is none of that link id."""
        found = self.find(link_id)
        if found is None:
            raise LookupError(f"no intent {link_id}")
        return found

    def find(self, link_id: str) -> IntentRecord | None:
        """One intent, or None."""
        return self._records.one("WHERE link_id = ?", link_id)

    def of_position(self, position_id: str) -> tuple[IntentRecord, ...]:
        """All orders of a plan in the order of their numbers."""
        return self._records.many("WHERE position_id = ? ORDER BY seq", position_id)

    def open(self) -> tuple[IntentRecord, ...]:
        """Every order that is not terminal, oldest first."""
        return self._records.many(f"WHERE {_OPEN} ORDER BY created_at, position_id, seq")

    def open_count(self) -> int:
        """How many orders are not terminal; for the wire gate, which must not take long."""
        return int(self._records.value("count(*)", f"WHERE {_OPEN}"))

    def last(self, position_id: str, leg: Leg | None = None) -> IntentRecord | None:
        """The newest order of a plan, or of one of its legs."""
        if leg is None:
            return self._records.one("WHERE position_id = ? ORDER BY seq DESC", position_id)
        return self._records.one("WHERE position_id = ? AND leg = ? ORDER BY seq DESC", position_id, leg)

    def last_acknowledged(self, *, besides: str) -> IntentRecord | None:
        """The newest order that the venue is known to have had, one left out."""
        condition = "WHERE order_id != '' AND link_id != ? ORDER BY created_at DESC, seq DESC"
        return self._records.one(condition, besides)

    def advance(self, link_id: str, trigger: IntentTrigger, **learnt: Unpack[Learnt]) -> IntentRecord:
        """Move along the state table and keep what was learnt; the intent afterwards. ``IllegalTransition``
        changes nothing.

        FINISHED needs ``filled`` (maybe zero), and with a fill its ``average_price``: ``InvariantBroken``
        without.
        """
        with self._session.transaction(before=Point.ANSWER_BEFORE_COMMIT, after=Point.ANSWER_AFTER_COMMIT):
            old = self.get(link_id)
            new = advance(INTENT, old.state, trigger=trigger)
            if new is IntentState.DONE:
                _require_final_figures(link_id, learnt)
            self._records.update({"state": new, **learnt}, "WHERE link_id = ?", link_id)
            return replace(old, state=new, **learnt)

    def note(self, link_id: str, **learnt: Unpack[Learnt]) -> IntentRecord:
        """Keep what was learnt without a change of state (the order id from a look-up); the intent
        afterwards.

        ``InvariantBroken`` once it is terminal.
        """
        with self._session.transaction():
            old = self.get(link_id)
            if old.state.terminal:
                raise InvariantBroken(f"{link_id} is terminal: its figures do not change any more")
            if learnt:
                self._records.update(learnt, "WHERE link_id = ?", link_id)
            return replace(old, **learnt)

    def correct(self, link_id: str, *, filled: Decimal, average_price: Decimal, message: str) -> None:
        """Give a terminal order the figures of fills that came after its end; its state stays what was
        decided. ``InvariantBroken`` while it is not terminal.
        """
        with self._session.transaction():
            if not self.get(link_id).state.terminal:
                raise InvariantBroken(f"{link_id} is not terminal: its figures come with its end")
            changes = {"filled": filled, "average_price": average_price, "message": message}
            self._records.update(changes, "WHERE link_id = ?", link_id)

    def entries_since(self, instant: datetime) -> int:
        """How many orders were written at or after an instant to add exposure, whatever became of them."""
        condition = "WHERE created_at >= ? AND purpose = ?"
        return int(self._records.value("count(*)", condition, instant, Purpose.ENTER))

    def between(self, since: datetime, until: datetime) -> tuple[IntentRecord, ...]:
        """The orders written in ``[since, until)``, oldest first."""
        return self._records.many(
            "WHERE created_at >= ? AND created_at < ? ORDER BY created_at, position_id, seq", since, until
        )


def _require_final_figures(link_id: str, learnt: Learnt) -> None:
    filled = learnt.get("filled")
    if filled is None or (filled and learnt.get("average_price") is None):
        raise InvariantBroken(
            f"{link_id}: an order is DONE only with what was filled and at which average price"
        )
