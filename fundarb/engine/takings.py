"""What the venue took of our positions, as the walk that booked it says it to whoever asked for the walk.

Only reads the alerts that booking raised; decides nothing.
"""

from __future__ import annotations

import json
from typing import Final

from fundarb.core.reasons import Reason
from fundarb.engine.forced import FORCED
from fundarb.engine.repair import COINS_TAKEN
from fundarb.store.database import Store

_CODES: Final = frozenset({*FORCED.values(), COINS_TAKEN})
_ALL: Final = 1_000_000


def taken_since(store: Store, event: int) -> tuple[Reason, ...]:
    """Every alert after this event about contracts or coins that the venue took, oldest first."""
    told = (json.loads(row.payload) for row in store.events.after(event, _ALL, kind="alert_raised"))
    return tuple(Reason(item["code"], item["message"]) for item in told if item["code"] in _CODES)
