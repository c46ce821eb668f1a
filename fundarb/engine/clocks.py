"""Our clock against the venue's: while they differ by more than is allowed nothing is opened. Owns the block
``clock``; hedges and exits go by an estimate of the venue's clock and do not wait for it.
"""

from __future__ import annotations

from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind
from fundarb.engine.desk import Desk
from fundarb.engine.jobs import lift
from fundarb.engine.shut_out import passing_over


def glance_at_clock(desk: Desk) -> None:
    """By what is known of the venue's clock from its last answers; it is asked only where that is news."""
    offset, blocked = desk.exchange.clock_offset, desk.store.blocks.get(GLOBAL_SCOPE, BlockKind.CLOCK)
    off = offset is not None and abs(offset) > desk.rules.limits.max_clock_offset
    if off != (blocked is not None):
        with passing_over(desk):
            look_at_clock(desk)


def look_at_clock(desk: Desk) -> None:
    """Ask the venue for its time; ``Unavailable`` if it does not say."""
    offset = desk.exchange.server_time() - desk.clock.now()
    if abs(offset) <= desk.rules.limits.max_clock_offset:
        lift(desk.store, BlockKind.CLOCK)
        return
    text = f"this machine's clock is {abs(offset).total_seconds():.1f} s off the venue's"
    desk.store.blocks.set(
        Block(scope=GLOBAL_SCOPE, kind=BlockKind.CLOCK, reason=text, since=desk.clock.now())
    )
