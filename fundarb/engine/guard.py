"""What stands between a decision and the wire: blocks, freshness and hard caps, whatever the strategy asked.

``intent_refusals`` runs inside the transaction that writes the intent; ``Gate.admit`` runs again immediately
before the socket write, from the committed row alone: writer still ours, row SENDING and equal to the
request, lease still young, hard caps. Orders that hedge or reduce pass no entry gate: they are
bound only by what corrects the book and by the rung of the ladder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from fundarb.clock import Clock
from fundarb.core import risk, sizing
from fundarb.core.money import ONE, ZERO
from fundarb.core.orders import Leg, OrderRequest, Purpose, Side
from fundarb.core.position import Book
from fundarb.core.reasons import Reason, Refused
from fundarb.core.records import IntentRecord, PositionRecord
from fundarb.core.states import IntentState
from fundarb.engine.desk import Desk, TradeRules, Writer
from fundarb.engine.market import MarketView
from fundarb.errors import NotSent
from fundarb.store.database import Store

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Draft:
    """An order as somebody wants it, before it has a number. ``limit_price`` is the worst price accepted."""

    position: PositionRecord
    leg: Leg
    purpose: Purpose
    side: Side
    quantity: Decimal
    limit_price: Decimal
    reduce_only: bool


def intent_refusals(desk: Desk, draft: Draft, *, position: PositionRecord) -> tuple[Reason, ...]:
    """Everything that forbids writing this intent now; an empty tuple lets it pass. ``position`` is the row
    as it is in this transaction.
    """
    corrections = _correction_reasons(desk.market, desk.rules, position=position, order=draft)
    if not draft.purpose.adds_exposure:
        return corrections
    if not corrections:  # the second leg of a clip corrects the book: hedging passes no entry gate
        return ()
    now = desk.clock.now()
    desk.before_entry()
    reasons = list(risk.blocks(desk.store.blocks.active(now), position.base, now=now))
    if desk.market.age() > desk.rules.limits.max_quote_age:
        reasons.append(Reason("stale_quotes", "the quotes are older than allowed for an entry"))
    traffic = _traffic(desk.store, now, own=0)
    reasons += _entry_reasons(desk.market, desk.rules, position=position, order=draft, traffic=traffic)
    return tuple(reasons)


def _wire_order(order: Draft | IntentRecord) -> risk.WireOrder:
    """What the rules look at, from a draft or from a committed row."""
    return risk.WireOrder(
        leg=order.leg,
        side=order.side,
        quantity=order.quantity,
        limit_price=order.limit_price,
        reduce_only=order.reduce_only,
    )


def _traffic(store: Store, now: datetime, *, own: int) -> risk.Traffic:
    """What is under way; ``own`` is 1 at the wire, where the entry's own row is counted already."""
    return risk.Traffic(
        entries_last_minute=store.intents.entries_since(now - _MINUTE) - own,
        open_intents=store.intents.open_count() - own,
        gross=store.positions.gross(),
    )


def _reference(market: MarketView, position: PositionRecord, *, leg: Leg) -> Decimal | None:
    """The price that a limit is held against: a perp's mark, a spot pair's mid, as last seen."""
    if leg is Leg.PERP:
        return market.mark(position.perp_symbol)
    return market.spot_mid(position.spot_symbol)


def _entry_reasons(
    market: MarketView,
    rules: TradeRules,
    *,
    position: PositionRecord,
    order: Draft | IntentRecord,
    traffic: risk.Traffic,
) -> tuple[Reason, ...]:
    """The hard caps of orders that add exposure."""
    verdict = risk.check_entry_order(
        _wire_order(order),
        traffic,
        reference=_reference(market, position, leg=order.leg),
        limits=rules.limits,
    )
    return verdict.reasons if isinstance(verdict, Refused) else ()


def _correction_reasons(
    market: MarketView, rules: TradeRules, *, position: PositionRecord, order: Draft | IntentRecord
) -> tuple[Reason, ...]:
    """What a hedge or a reduction may do at most.

    The price is held against the ladder only while the reference is fresh: an old one must not keep a hedge
    from being sent. An unwind's last rung is the venue's band.
    """
    seen = market.reference(position, order.leg.category)
    price, age = seen if seen is not None else (None, timedelta.max)
    fresh = age <= rules.limits.max_quote_age and order.purpose is not Purpose.UNWIND
    verdict = risk.check_correction(
        _wire_order(order),
        Book(position.spot_owned, position.contracts),
        multiplier=position.multiplier,
        lot=_lot(market, rules, position=position, order=order),
        reference=price,
        rung=rules.unwind_caps[-1] + rules.limits.collar if fresh else None,
    )
    return verdict.reasons if isinstance(verdict, Refused) else ()


def _lot(
    market: MarketView, rules: TradeRules, *, position: PositionRecord, order: Draft | IntentRecord
) -> Decimal:
    """One lot in coins, by which a hedge may overshoot; nobody is asked for anything here.

    Judged at the order's own limit price less the collar, so that a market that moved since the order was
    sized does not refuse the hedge.
    """
    pair = market.known_pair(position)
    if pair is None or order.limit_price <= ZERO:
        return ZERO
    price = order.limit_price * (ONE - rules.limits.collar)
    coin = price if order.leg is Leg.SPOT else price / pair.multiplier
    return sizing.lot(pair, spot_price=coin, perp_price=coin * pair.multiplier)


@dataclass(frozen=True, slots=True)
class GateDesk:
    """What the gate looks at. ``written`` holds the monotonic time at which each intent was stamped;
    ``sure`` says whether the venue is known to be our account's (without asking it).
    """

    store: Store
    writer: Writer
    clock: Clock
    rules: TradeRules
    market: MarketView
    written: dict[str, timedelta]
    sure: Callable[[], bool]


class Gate:
    """The wire gate: the last look before the first byte of a create leaves."""

    def __init__(self, desk: GateDesk) -> None:
        """Guard one store's orders."""
        self._desk = desk

    def admit(self, request: OrderRequest, signed_at: datetime) -> None:
        """Return if the request may leave now; ``NotSent`` with every reason if it may not."""
        reasons = self._refusals(request, signed_at)
        if reasons:
            raise NotSent("; ".join(reason.message for reason in reasons))

    def _refusals(self, request: OrderRequest, signed_at: datetime) -> list[Reason]:
        desk = self._desk
        if not desk.writer.still_ours():
            return [Reason("not_the_writer", "this process is not the writer any more")]
        intent = desk.store.intents.find(request.link_id)
        if intent is None:
            return [Reason("no_intent", f"no intent is written for {request.link_id}")]
        reasons: list[Reason] = []
        if intent.state is not IntentState.SENDING:
            reasons.append(Reason("not_sending", f"{intent.link_id} is {intent.state}"))
        if intent.request != request or intent.signed_at != signed_at:
            reasons.append(Reason("not_as_written", f"{intent.link_id} is not the order that was written"))
        if intent.epoch != desk.writer.epoch:
            reasons.append(Reason("old_epoch", f"{intent.link_id} was written by an earlier writer"))
        if self._too_old(intent):
            reasons.append(Reason("too_old", f"{intent.link_id} waited too long to be sent"))
        position = desk.store.positions.get(intent.position_id)
        corrections = _correction_reasons(desk.market, desk.rules, position=position, order=intent)
        if corrections and intent.purpose.adds_exposure:
            traffic = _traffic(desk.store, desk.clock.now(), own=1)
            corrections = _entry_reasons(
                desk.market, desk.rules, position=position, order=intent, traffic=traffic
            )
            if not desk.sure():
                message = "a connection was lost, and the venue has not said yet whose account this is"
                reasons.append(Reason("account_not_confirmed", message))
        return [*reasons, *corrections]

    def _too_old(self, intent: IntentRecord) -> bool:
        """Whether the lease of a committed intent is half over; one that this process did not write is.

        Two clocks: the monotonic one stands still while a machine sleeps, the wall clock may be set back.
        """
        desk = self._desk
        written = desk.written.pop(intent.link_id, None)
        if written is None:
            return True
        waited = max(desk.clock.monotonic() - written, abs(desk.clock.now() - intent.created_at))
        return waited >= desk.rules.recv_window / 2


class GateSlot:
    """Stands where an adapter wants its gate before the store is open; nothing passes until the gate is put
    in.
    """

    def __init__(self) -> None:
        """Without a gate."""
        self._gate: Gate | None = None

    def put(self, gate: Gate) -> None:
        """From now on this gate decides."""
        self._gate = gate

    def admit(self, request: OrderRequest, signed_at: datetime) -> None:
        """Ask the gate; ``NotSent`` without one."""
        if self._gate is None:
            raise NotSent("there is no wire gate, so no order may leave")
        self._gate.admit(request, signed_at)
