"""The announced end of a perp that we hold, for a person who has not waited for the watch: whoever reads the
market anyway says it. Decides and sends nothing: leaving in time is the watch's.
"""

from __future__ import annotations

from datetime import datetime

from fundarb.core.instants import iso
from fundarb.core.market import PerpInstrument, PerpQuote
from fundarb.core.reasons import Reason
from fundarb.engine.desk import Desk


def announced(desk: Desk) -> tuple[Reason, ...]:
    """The held perps whose end the venue has announced, from what was read last; asks nobody."""
    found = []
    for position in desk.store.positions.active():
        pair = desk.market.known_pair(position) if position.contracts else None
        quote = desk.market.perp_quote(position.perp_symbol)
        end = None if pair is None else ending(pair.perp, quote)
        if end is not None:
            found.append(delisting(position.base, end))
    return tuple(found)


def ending(perp: PerpInstrument | None, quote: PerpQuote | None) -> datetime | None:
    """When the venue ends a perp, as its instrument or its quote says; None: nothing is announced."""
    found = None if perp is None else perp.delivery_time
    return found or (None if quote is None else quote.delivery_time)


def delisting(base: str, end: datetime) -> Reason:
    """The announced end of a coin's perp, for a person."""
    leave = f"the next watch closes the position, and so does `fundarb close {base}`"
    return Reason("delisting", f"{base}: the perp is delisted at {iso(end)}: {leave}")
