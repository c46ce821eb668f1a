"""What came of an open or a close: the position's two legs as they were traded, and whether the wanted state
was reached.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from fundarb.core.ledger import QUOTE_COINS
from fundarb.core.money import ZERO, derived
from fundarb.core.orders import Execution, Leg, Side
from fundarb.core.reasons import Reason
from fundarb.core.records import IntentRecord, PositionRecord
from fundarb.core.states import IntentState, PositionState
from fundarb.engine.clips import Progress
from fundarb.engine.desk import Desk
from fundarb.engine.entry_basis import entry_basis
from fundarb.engine.lifecycle import measure
from fundarb.engine.shut_out import passing_over


class Reached(StrEnum):
    """DONE as wanted; UNSENT: stopped before anything left this process; INCOMPLETE: sent, all known, not as
    wanted; UNCERTAIN: something may be live.
    """

    DONE = "done"
    UNSENT = "unsent"
    INCOMPLETE = "incomplete"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeLine:
    """Fees in one coin and their value in quote at the fills; None for a coin that no fill of ours priced."""

    coin: str
    amount: Decimal
    value_quote: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LegResult:
    """One leg as it is held now. ``average_price`` is that of what is held, by average cost, as the venue
    has it: a reduction leaves it as it is. Of a leg that is held no more it is the last one.
    """

    symbol: str
    quantity: Decimal
    average_price: Decimal | None
    fees: tuple[FeeLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeResult:
    """The answer to an open or a close. ``entry_basis`` (a fraction) is of the fills of both legs that came
    together; None where there are none.
    """

    reached: Reached
    position: PositionRecord
    spot: LegResult
    perp: LegResult
    delta: Decimal
    drift: Decimal
    lot: Decimal | None
    orders: tuple[IntentRecord, ...]
    reasons: tuple[Reason, ...]
    entry_basis: Decimal | None = None
    warnings: tuple[Reason, ...] = ()


def trade_result(desk: Desk, position_id: str, *, progress: Progress, first: int) -> TradeResult:
    """Read the result from the store; prices only serve to state the lot, which is None if they cannot be
    had.

    ``first`` is the number of the first order of this walk.
    """
    position = desk.store.positions.get(position_id)
    executions = desk.store.executions.of_position(position_id)
    orders = desk.store.intents.of_position(position_id)
    lot: Decimal | None = None
    with passing_over(desk):
        lot = derived(measure(desk, position).lot)
    basis, short = entry_basis(position, executions), position.contracts * position.multiplier
    delta = position.spot_owned - short
    size = max(position.spot_owned, short)
    reached = _reached(position, progress)
    if any(not intent.state.terminal for intent in orders):
        reached = Reached.UNCERTAIN
    if reached is Reached.INCOMPLETE and not any(left(item) for item in orders if item.seq >= first):
        reached = Reached.UNSENT
    return TradeResult(
        reached=reached,
        position=position,
        spot=_leg(position, Leg.SPOT, executions=executions),
        perp=_leg(position, Leg.PERP, executions=executions),
        delta=delta,
        drift=derived(abs(delta) / size) if size else ZERO,
        lot=lot,
        orders=orders,
        entry_basis=None if basis is None else derived(basis),
        reasons=tuple(dict.fromkeys((*progress.reasons, *progress.notes) if progress.stopped else ())),
    )


def left(intent: IntentRecord) -> bool:
    """Whether a byte of this order may have left the process: a refusal of the venue's has a code, one of our
    own gate's (or of a connection that never was) has none.
    """
    return intent.state is not IntentState.REFUSED or intent.code is not None


def _reached(position: PositionRecord, progress: Progress) -> Reached:
    if position.state is PositionState.UNCERTAIN:
        return Reached.UNCERTAIN
    good = position.state in {PositionState.HEDGED, PositionState.CLOSED}
    return Reached.DONE if good and not progress.stopped else Reached.INCOMPLETE


def _leg(position: PositionRecord, leg: Leg, *, executions: tuple[Execution, ...]) -> LegResult:
    spot = leg is Leg.SPOT
    symbol = position.spot_symbol if spot else position.perp_symbol
    side = Side.BUY if spot else Side.SELL
    mine = [item for item in executions if item.symbol == symbol and item.category is leg.category]
    return LegResult(
        symbol=symbol,
        quantity=position.spot_owned if spot else position.contracts,
        average_price=_average([item for item in mine if item.kind.trades], side),
        fees=_fees(position, mine),
    )


def _average(fills: Sequence[Execution], side: Side) -> Decimal | None:
    """The average cost of what fills on one ``side`` built and others took away; None if nothing was
    built.
    """
    quantity = value = ZERO
    found: Decimal | None = None
    for fill in sorted(fills, key=lambda item: (item.time, item.exec_id)):
        if fill.side is side:
            quantity, value = quantity + fill.quantity, value + fill.quantity * fill.price
            found = value / quantity
        else:
            quantity = max(quantity - fill.quantity, ZERO)
            value = ZERO if found is None else quantity * found
    return None if found is None else derived(found)


def _fees(position: PositionRecord, executions: list[Execution]) -> tuple[FeeLine, ...]:
    amounts: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
    values: dict[str, Decimal | None] = {}
    for item in executions:
        if not item.kind.trades:
            continue
        amounts[item.fee_coin] += item.fee
        worth = item.fee * item.price if item.fee_coin == position.base else item.fee
        known = item.fee_coin == position.base or item.fee_coin in QUOTE_COINS
        before = values.get(item.fee_coin, ZERO)
        values[item.fee_coin] = before + worth if known and before is not None else None
    return tuple(
        FeeLine(coin=coin, amount=amounts[coin], value_quote=values[coin]) for coin in sorted(amounts)
    )
