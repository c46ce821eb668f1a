"""The one way in which an execution of ours enters the books: raw row, ledger, position and event in one
transaction.

Everybody who learns of an execution comes here (the legs, the resolver, the collector); a known one has no
effect.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from fundarb.core.events import LegFilled
from fundarb.core.money import ZERO
from fundarb.core.orders import Execution, Leg
from fundarb.core.postings import pays_fee
from fundarb.core.records import Goal, PositionRecord
from fundarb.crash import Point
from fundarb.engine.beside import Beside
from fundarb.engine.funding import FundingBook
from fundarb.store.database import Store


def book_execution(
    store: Store, execution: Execution, *, position: PositionRecord, leg: Leg, forced: bool = False
) -> bool:
    """Book an execution as ours; True if it was new.

    ``forced``: no decision of ours stands behind it (ADL, liquidation, delisting). Adds what really
    changed to the position: coins net of a fee taken in the base coin, contracts short. An execution that
    was kept as a stranger's before (a fill that is adopted later) becomes ours. A row that moves no
    quantity (funding) is only kept.
    """
    with store.transaction(before=Point.FILL_BEFORE_COMMIT, after=Point.FILL_AFTER_COMMIT):
        new = store.executions.add(execution, position_id=position.position_id, leg=leg)
        if not new:
            owner, _ = store.executions.owner(execution.key)
            if owner is not None:
                return False
            store.executions.attribute(execution.key, position_id=position.position_id, leg=leg)
        if not execution.kind.trades:
            return new
        if not new:
            Beside(store).adopted(execution)
        mid = None if forced else decision_mid(position, leg)
        store.ledger.post_execution(execution, position=position, leg=leg, mid=mid)
        spot, contracts = quantities(execution, position, leg=leg)
        store.positions.add_quantities(position.position_id, spot=spot, contracts=contracts)
        if leg is Leg.PERP:
            FundingBook(store, None).recount(position, since=execution.time)
        store.events.record(
            LegFilled(
                position_id=position.position_id,
                leg=leg,
                link_id=execution.link_id,
                symbol=execution.symbol,
                side=execution.side,
                quantity=execution.quantity,
                price=execution.price,
            )
        )
    return True


def quantities(execution: Execution, position: PositionRecord, *, leg: Leg) -> tuple[Decimal, Decimal]:
    """What an execution does to the book: coins owned (a buy net of its fee in the base coin), contracts
    short (+ = more short).
    """
    if leg is Leg.PERP:
        return ZERO, -execution.side.sign * execution.quantity
    fee = execution.fee if pays_fee(execution, position, leg=leg) else ZERO
    return execution.side.sign * execution.quantity - fee, ZERO


def decision_mid(position: PositionRecord, leg: Leg) -> Decimal | None:
    """The mid against which a fill's slippage is measured: that of the leg's market when the plan in
    force was decided.

    None while the plan is to hold (a forced trade is nobody's decision, and the noted mids are of another
    day), and where the mids could not be read when the plan was decided.
    """
    if position.goal not in _MEASURED:
        return None
    mid = position.decision_spot_mid if leg is Leg.SPOT else position.decision_perp_mid
    return mid or None


_MEASURED: Final = frozenset(Goal) - {Goal.HOLD}
"""The plans that note their mids when they are decided."""
