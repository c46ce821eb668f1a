"""What follows from a leg that was given back because the other one could not be had: a pause of its coin
that doubles with each unwind, and a freeze after too many within an hour.

Counts and forbids entries; sends nothing and holds no hedge back.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from fundarb.core.events import PositionUnwound
from fundarb.core.records import Block, BlockKind, PositionRecord
from fundarb.core.risk import UNWINDS_REMEMBERED, cool_down, freezes
from fundarb.engine.alerts import count_recent
from fundarb.engine.desk import Desk

_HOUR: Final = timedelta(hours=1)


def count_unwind(desk: Desk, position: PositionRecord, *, reason: str) -> None:
    """Forbid new entries in this coin for a while; the while doubles with each unwind that is remembered, and
    too many within an hour freeze the coin.
    """
    store, rules, now, base = desk.store, desk.rules, desk.clock.now(), position.base
    with store.transaction():
        lately = 1 + count_recent(store, "position_unwound", base=base, within=_HOUR)
        all_told = 1 + count_recent(store, "position_unwound", base=base, within=UNWINDS_REMEMBERED)
        store.events.record(
            PositionUnwound(
                position_id=position.position_id, base=base, reason=reason, unwinds_in_hour=lately
            )
        )
        frozen = freezes(lately, rules.limits)
        store.blocks.set(
            Block(
                scope=base,
                kind=BlockKind.FREEZE if frozen else BlockKind.COOL_DOWN,
                reason=f"{lately} unwinds within an hour, {all_told} within a day",
                since=now,
                until=None if frozen else now + cool_down(all_told, rules.limits),
                needs_person=frozen,
            )
        )
