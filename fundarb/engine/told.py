"""What a job says of a trade that it asked for: what the book is now, and, where that is not what was wanted,
why; a person is told of a position that cannot be left.
"""

from __future__ import annotations

from typing import Final

from fundarb.core.reasons import Refused
from fundarb.core.records import PositionRecord
from fundarb.engine import documents
from fundarb.engine.alerts import alert_once, alert_over
from fundarb.engine.outcome import Reached, TradeResult
from fundarb.store.database import Store

NOT_CLOSED: Final = "not_closed"
NOT_REDUCED: Final = "not_reduced"


def shortfall(result: TradeResult | Refused) -> str:
    """What the book is and why it is not what was asked for; empty where it is."""
    if isinstance(result, Refused):
        return "refused: " + "; ".join(reason.message for reason in result.reasons)
    if result.reached is Reached.DONE:
        return ""
    return "; ".join([documents.book_now(result), *(reason.message for reason in result.reasons)])


def left(store: Store, position: PositionRecord, *, missing: str, code: str, done: str) -> str:
    """``BTC closed (delisting)`` where nothing is missing; else that it is not so and why, and an alert
    ``code``, once as long as it lasts.
    """
    if not missing:
        alert_over(store, (code,), subject=position.position_id)
        return f"{position.base} {done}"
    text = f"{position.base} not {done}: {missing}"
    alert_once(store, code, subject=position.position_id, message=text)
    return text
