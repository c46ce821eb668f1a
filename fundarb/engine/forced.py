"""What others do in our symbols: the venue to a short by itself (deleveraging, liquidation, delivery), a
stranger on the spot market. Whose it was, who is told.

It is booked whoever reads it first; reducing the coins to match is left to whoever hedges next. A stranger's
coins are never touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from fundarb.core.events import AlertRaised
from fundarb.core.market import Category
from fundarb.core.money import ZERO, cash, plain
from fundarb.core.orders import LINK_PREFIX, ExecKind, Execution
from fundarb.core.records import Goal, PositionRecord
from fundarb.engine.alerts import freeze
from fundarb.engine.funding import contracts_at
from fundarb.store.database import Store

FORCED: Final[Mapping[ExecKind, str]] = {
    ExecKind.ADL: "adl",
    ExecKind.BUST: "liquidation",
    ExecKind.DELIVERY: "delivery",
    ExecKind.SETTLE: "delivery",
}
"""The venue's own kinds of executions, and the code of the alert about each."""


def taken_from(store: Store, row: Execution) -> tuple[PositionRecord, Decimal] | None:
    """The position that a forced reduction without a link id took from, and how many contracts it can have
    taken: those that stood there at that instant. What came to be later was not there to be taken.

    Of a reduction that took from a stranger, too, ours goes first, up to all of it: coins may then be reduced
    that a stranger's contracts still cover, but none stay uncovered.
    """
    if row.link_id or row.category is not Category.LINEAR or row.kind not in FORCED or row.side.sign < 0:
        return None
    for position in store.positions.active():
        if position.perp_symbol == row.symbol and position.contracts:
            ours = min(position.contracts, -contracts_at(store, position, at=row.time))
            return (position, ours) if ours > ZERO else None
    return None


def tell_forced(store: Store, row: Execution, *, position: PositionRecord) -> None:
    """From now on the position is to be what is left of it, its coin is frozen and a person is told.

    ``position`` is as it was before the reduction; in the transaction that books it.
    """
    left = position.contracts - row.quantity
    share = cash(position.notional * left / position.contracts) if left else position.notional
    goal = Goal.REDUCE if left and position.goal is not Goal.CLOSE else Goal.CLOSE
    target = left if goal is Goal.REDUCE else ZERO
    store.positions.update(position.position_id, goal=goal, target_contracts=target, notional=share)
    text = (
        f"{row.raw_kind} took {plain(row.quantity)} of {plain(position.contracts)} {row.symbol}: "
        "the coins are reduced to match"
    )
    freeze(store, position.base, reason=text)
    message = f"{position.base}: {text}"
    store.events.record(AlertRaised(code=FORCED[row.kind], subject=position.position_id, message=message))


def tell_stranger(store: Store, row: Execution) -> None:
    """Somebody else bought a coin that we hold: it is frozen until a person has looked. (Contracts, and coins
    of ours that are gone, show in the comparison with the venue.)
    """
    if row.category is not Category.SPOT or row.side.sign < 0 or row.link_id.startswith(LINK_PREFIX):
        return
    for position in store.positions.active():
        if position.spot_symbol == row.symbol and row.time >= position.created_at:
            text = f"somebody else bought {plain(row.quantity)} {row.symbol}: left alone"
            freeze(store, position.base, reason=text)
            message = f"{position.base}: {text}"
            store.events.record(
                AlertRaised(code="foreign_trade", subject=position.position_id, message=message)
            )
