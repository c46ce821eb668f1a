"""Afterwards: how long a leg was naked by the venue's own times, and whether a person was told of it.

While it lasts the walks themselves tell what they wait for; but a wait may be cut into pieces that each look
short: by a death and a restart, by reads that lag, by one doubt after another. So the book is looked at again
when it has come to rest. Sends nothing.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Final

from fundarb.core.events import AlertRaised
from fundarb.core.money import ZERO
from fundarb.core.records import PositionRecord
from fundarb.engine.audit_book import BookRules, trades, walk
from fundarb.engine.desk import Desk
from fundarb.store.database import Store

CODE: Final = "naked_long"
_LOOK_BACK: Final = 200
_TELLING: Final = frozenset({"alert_raised", "position_unwound", "mismatch_found"})


def tell_if_long(desk: Desk, position: PositionRecord) -> None:
    """Raise the alert for the longest naked stretch of a position, unless somebody was told since it
    began.
    """
    store, bound = desk.store, desk.rules.t_hedge + desk.rules.t_recover
    rules = BookRules(drift_limit=desk.rules.drift_limit, largest_naked=ZERO, longest_naked=bound)
    found = walk(position, trades(position, store.executions.of_position(position.position_id)), rules=rules)
    began = found.longest_from
    if began is None or found.longest <= bound or _told(store, position, since=began):
        return
    lasted = f"{found.longest.total_seconds():.0f} s from {began:%H:%M:%S} UTC"
    text = f"{position.base}: one leg was unhedged for {lasted}"
    store.events.record(AlertRaised(code=CODE, subject=position.position_id, message=text))


def _told(store: Store, position: PositionRecord, *, since: datetime) -> bool:
    """Whether somebody was told of this position, its coin, symbols or orders: one incident, one alert."""
    names = {position.position_id, position.base, position.spot_symbol, position.perp_symbol}
    return any(
        event.at >= since
        and event.kind in _TELLING
        and any(
            isinstance(text, str) and (text in names or position.plan_id in text)
            for text in json.loads(event.payload).values()
        )
        for event in store.events.last(_LOOK_BACK)
    )
