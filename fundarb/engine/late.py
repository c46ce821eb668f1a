"""Fills of ours that come after the end: of an order that was called refused, absent or done with less.

The link id is ours, so what it traded is ours. It goes to the order's own plan while that lives, else to the
active plan of the coin, else to an heir: a new plan that owns nothing but the fill and wants to give it back.
A finished plan never holds anything again. Whoever hedges next finds an open leg like any other; a person is
told, and the coin is frozen.
"""

from __future__ import annotations

import hashlib
from typing import Final

from fundarb.core.money import ONE, ZERO, derived, plain
from fundarb.core.orders import Execution
from fundarb.core.records import Goal, IntentRecord, PositionRecord
from fundarb.core.states import PositionState, PositionTrigger
from fundarb.engine.alerts import alert_once, freeze, halt
from fundarb.engine.booking import book_execution, quantities
from fundarb.store.database import Store

CODE: Final = "late_fill"
_LETTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PLAN_LENGTH: Final = 10


def book_own(store: Store, row: Execution, *, intent: IntentRecord) -> bool:
    """Book a fill of one of our orders, in time or late (then in a transaction); a known one has no effect.
    False: it is kept as nobody's, as no book of ours has what it took, and everything is halted.
    """
    if store.executions.known([row.key]) and store.executions.owner(row.key)[0] is not None:
        return True
    position = _home(store, row, intent=intent)
    if position is None:
        store.executions.add(row)
        text = f"{intent.link_id} traded {plain(row.quantity)} {row.symbol}, which no book of ours can hold"
        halt(store, CODE, subject=intent.link_id, message=text)
        return False
    booked = book_execution(store, row, position=position, leg=intent.leg)
    if intent.state.terminal and booked:
        _tell(store, intent, position=position)
    return True


def _home(store: Store, row: Execution, *, intent: IntentRecord) -> PositionRecord | None:
    """The plan that a fill belongs to now; None if none can hold it."""
    own = store.positions.get(intent.position_id)
    heir = store.positions.active_for(own.base) if own.state.final else own
    if heir is not None and (heir.spot_symbol, heir.perp_symbol) != (own.spot_symbol, own.perp_symbol):
        return None
    spot, contracts = quantities(row, own, leg=intent.leg)
    owned, short = (ZERO, ZERO) if heir is None else (heir.spot_owned, heir.contracts)
    if owned + spot < ZERO or short + contracts < ZERO:
        return None
    return _born(store, row, late=own) if heir is None else heir


def _born(store: Store, row: Execution, *, late: PositionRecord) -> PositionRecord:
    """The heir of a finished plan: sent already, to be given back. Named after the fill, so that whoever
    books it gives the same name.
    """
    number, plan = int.from_bytes(hashlib.sha256(row.key.encode()).digest()), ""
    while len(plan) < _PLAN_LENGTH:
        number, letter = divmod(number, len(_LETTERS))
        plan += _LETTERS[letter]
    heir = PositionRecord(
        position_id=f"p-{plan}",
        base=late.base,
        spot_symbol=late.spot_symbol,
        perp_symbol=late.perp_symbol,
        multiplier=late.multiplier,
        state=PositionState.PLANNED,
        goal=Goal.CLOSE,
        notional=row.value,
        target_contracts=ZERO,
        spot_owned=ZERO,
        contracts=ZERO,
        leverage=late.leverage or ONE,
        decision_spot_mid=ZERO,
        decision_perp_mid=ZERO,
        created_at=row.time,
        note=f"holds what {row.link_id} of {late.position_id} traded after its end",
    )
    store.positions.add(heir)
    return store.positions.advance(heir.position_id, PositionTrigger.SENT)


def _tell(store: Store, intent: IntentRecord, *, position: PositionRecord) -> None:
    """The order's figures become those of its executions, the coin is frozen, and a person is told once."""
    rows = [row for row in store.executions.of_link(intent.link_id) if row.kind.trades]
    filled = sum((row.quantity for row in rows), ZERO)
    value = sum((row.quantity * row.price for row in rows), ZERO)
    before = f"{intent.state} with {plain(intent.filled)} filled"
    text = f"{intent.link_id} was {before}, and traded {plain(filled)}"
    store.intents.correct(intent.link_id, filled=filled, average_price=derived(value / filled), message=text)
    text = f"{text}: held by {position.position_id}, {position.base} is frozen"
    freeze(store, position.base, reason=text)
    alert_once(store, CODE, subject=intent.link_id, message=text)
