"""Blocks: the only mechanism that forbids opens, everywhere or for one coin. Owns the table ``blocks``.

A block is only lifted by ``clear`` or by its own end: setting it again may make it longer or stricter, never
weaker.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from fundarb.core.events import BlockCleared, BlockSet
from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind
from fundarb.crash import Point
from fundarb.store.events import Events
from fundarb.store.records import Records
from fundarb.store.session import Session

_THIS: Final = "WHERE scope = ? AND kind = ?"
_OLDEST_FIRST: Final = "ORDER BY since, scope, kind"


class Control(StrEnum):
    """What the bot may do, derived from the blocks."""

    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    HALTED = "HALTED"


class Blocks:
    """The blocks of one database."""

    def __init__(self, session: Session, events: Events) -> None:
        """Setting and lifting are recorded as events in the same transaction."""
        self._session = session
        self._events = events
        self._records = Records(session, session.tables.blocks, kind=Block)

    def set(self, block: Block) -> Block:
        """Put a block in place; the block as it now stands.

        One that still holds keeps its ``since``, the later of the two ends, and its need for a person. It is
        an event when it is new, or when its reason or its need for a person changed; a longer end alone is no
        news.
        """
        with self._session.transaction(before=Point.BLOCK_BEFORE_COMMIT, after=Point.BLOCK_AFTER_COMMIT):
            old = self.get(block.scope, block.kind)
            if old is None or not old.active(self._session.clock.now()):
                merged, news = block, True
            else:
                merged = _stricter(old, block)
                news = (merged.reason, merged.needs_person) != (old.reason, old.needs_person)
            self._put(merged)
            if news:
                self._events.record(
                    BlockSet(scope=merged.scope, block=merged.kind, reason=merged.reason, until=merged.until)
                )
            return merged

    def clear(self, scope: str, kind: BlockKind) -> bool:
        """Lift a block; False if there was none (then there is no event either)."""
        with self._session.transaction(before=Point.BLOCK_BEFORE_COMMIT, after=Point.BLOCK_AFTER_COMMIT):
            old = self.get(scope, kind)
            if old is None:
                return False
            self._records.delete(_THIS, scope, kind)
            if old.active(self._session.clock.now()):
                self._events.record(BlockCleared(scope=scope, block=kind))
            return True

    def get(self, scope: str, kind: BlockKind) -> Block | None:
        """The row of one scope and kind, whether it still holds or not."""
        return self._records.one(_THIS, scope, kind)

    def active(self, now: datetime) -> tuple[Block, ...]:
        """Every block that holds at an instant, oldest first."""
        return tuple(block for block in self._records.many(_OLDEST_FIRST) if block.active(now))

    def control(self, now: datetime) -> Control:
        """What the blocks of an instant make of it."""
        return control_of(self.active(now))

    def _put(self, block: Block) -> None:
        self._records.delete(_THIS, block.scope, block.kind)
        self._records.add(block)


def control_of(active: Iterable[Block]) -> Control:
    """HALTED by a halt or any other global block that needs a person; PAUSED by a pause; else RUNNING."""
    everywhere = [block for block in active if block.scope == GLOBAL_SCOPE]
    kinds = {block.kind for block in everywhere}
    if BlockKind.HALT in kinds or any(b.needs_person and b.kind is not BlockKind.PAUSE for b in everywhere):
        return Control.HALTED
    return Control.PAUSED if BlockKind.PAUSE in kinds else Control.RUNNING


def _stricter(old: Block, new: Block) -> Block:
    until = None if old.until is None or new.until is None else max(old.until, new.until)
    return replace(new, since=old.since, until=until, needs_person=old.needs_person or new.needs_person)
