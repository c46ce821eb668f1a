"""What lies behind a writer: closed positions with all their orders, as trading leaves them.

Of the twenty orders of each sixteen were filled, in two parts that are booked like any other fill; one traded
nothing, one was refused by the venue, one never left, one was proved absent. Written through the very code
that writes it in life; without fees and at one price, so that the ledger ends at what the wallet holds.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final

from fundarb.core.events import OrderAnswered
from fundarb.core.orders import ExecKind, Execution, Leg, Outcome, Purpose, Side, link_id
from fundarb.core.records import Goal, IntentRecord, PositionRecord
from fundarb.core.states import IntentState, IntentTrigger, PositionState, PositionTrigger
from fundarb.engine.booking import book_execution
from fundarb.store.database import Store

PRICE: Final = Decimal(1000)
CLIPS: Final = 4
PARTS: Final = 2
_ONE: Final = Decimal(1)
_CLIP: Final = (Leg.PERP, Leg.SPOT)
ORDERS: Final = 4 * CLIPS + 4
"""Of each position."""


def past(store: Store, number: int, *, at: datetime) -> None:
    """One position, from its plan to its end, all at one instant; call it in a transaction."""
    position = store.positions.add(_planned(number, at))
    store.positions.advance(position.position_id, PositionTrigger.SENT)
    for leg in _CLIP * CLIPS:
        _filled(store, position, leg, opening=True)
    nothing = _written(store, position, Leg.SPOT, opening=True)
    store.intents.advance(nothing.link_id, IntentTrigger.ACCEPTED, order_id=nothing.link_id, code=0)
    store.intents.advance(nothing.link_id, IntentTrigger.FINISHED, filled=Decimal(0))
    refused = _written(store, position, Leg.PERP, opening=True)
    store.intents.advance(refused.link_id, IntentTrigger.REFUSED, code=110007, message="no funds")
    store.positions.advance(position.position_id, PositionTrigger.BALANCED)
    store.positions.advance(position.position_id, PositionTrigger.SENT)
    unsent = _written(store, position, Leg.SPOT, opening=False)
    store.intents.advance(unsent.link_id, IntentTrigger.REFUSED, message="held back")
    absent = _written(store, position, Leg.PERP, opening=False)
    store.intents.advance(absent.link_id, IntentTrigger.NO_ANSWER, message="no answer")
    store.intents.advance(absent.link_id, IntentTrigger.PROVED_ABSENT)
    for leg in _CLIP * CLIPS:
        _filled(store, position, leg, opening=False)
    store.positions.advance(position.position_id, PositionTrigger.FLAT)


def _planned(number: int, at: datetime) -> PositionRecord:
    base = f"PAST{number}"
    return PositionRecord(
        position_id=f"p-{number:010d}",
        base=base,
        spot_symbol=f"{base}USDT",
        perp_symbol=f"{base}USDT",
        multiplier=_ONE,
        state=PositionState.PLANNED,
        goal=Goal.OPEN,
        notional=CLIPS * PRICE,
        target_contracts=CLIPS * _ONE,
        spot_owned=Decimal(0),
        contracts=Decimal(0),
        leverage=Decimal(2),
        decision_spot_mid=PRICE,
        decision_perp_mid=PRICE,
        created_at=at,
    )


def _written(store: Store, position: PositionRecord, leg: Leg, *, opening: bool) -> IntentRecord:
    """An order that is about to be sent."""
    identity = store.identity.read()
    if identity is None:
        raise TypeError("the database belongs to nobody yet")
    seq = store.intents.next_seq(position.position_id)
    intent = IntentRecord(
        link_id=link_id(identity.tag, position.plan_id, leg=leg, seq=seq),
        position_id=position.position_id,
        leg=leg,
        seq=seq,
        purpose=Purpose.ENTER if opening else Purpose.EXIT,
        category=leg.category,
        symbol=position.perp_symbol,
        side=Side.BUY if (leg is Leg.SPOT) == opening else Side.SELL,
        quantity=_ONE,
        limit_price=PRICE,
        reduce_only=leg is Leg.PERP and not opening,
        state=IntentState.SENDING,
        epoch=1,
        signed_at=position.created_at,
        created_at=position.created_at,
    )
    return store.intents.add(intent)


def _filled(store: Store, position: PositionRecord, leg: Leg, *, opening: bool) -> None:
    """An order that traded whole."""
    intent = _written(store, position, leg, opening=opening)
    name = intent.link_id
    store.intents.advance(name, IntentTrigger.ACCEPTED, order_id=name, code=0, message="OK")
    store.events.record(
        OrderAnswered(
            link_id=name,
            position_id=position.position_id,
            symbol=intent.symbol,
            outcome=Outcome.ACCEPTED,
            code=0,
            message="OK",
        )
    )
    for part in range(PARTS):
        fill = Execution(
            exec_id=f"{name}-{part}",
            order_id=name,
            link_id=name,
            category=leg.category,
            symbol=intent.symbol,
            side=intent.side,
            price=PRICE,
            quantity=_ONE / PARTS,
            value=PRICE / PARTS,
            fee=Decimal(0),
            fee_coin="USDT",
            kind=ExecKind.TRADE,
            raw_kind="Trade",
            time=position.created_at,
        )
        book_execution(store, fill, position=store.positions.get(position.position_id), leg=leg)
    store.intents.advance(name, IntentTrigger.FINISHED, filled=_ONE, average_price=PRICE)
