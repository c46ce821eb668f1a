"""The invariants about orders: written before sent, once, in their turn, proved and not guessed, filled as
the executions say, within the caps, never under a block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from fundarb.core.money import ONE, ZERO, dec, plain
from fundarb.core.orders import Leg, parse_link_id
from fundarb.core.records import GLOBAL_SCOPE, IntentRecord
from fundarb.core.states import IntentState
from fundarb.engine.audit_facts import Facts, NotJudged, Told, VenueTruth
from fundarb.engine.desk import MISS_SPAN
from fundarb.engine.late import CODE as LATE_FILL
from fundarb.engine.orders import same_order

_MINUTE = timedelta(minutes=1)
_ROUNDING = Decimal("1e-6")
"""An average price is told with a limited number of places."""


def intent_before_wire(facts: Facts) -> Iterator[str]:
    """1: whatever carries our link id was written before, exactly so."""
    for intent in facts.intents.values():
        parts = parse_link_id(intent.link_id)
        if parts is None or (f"p-{parts.plan}", parts.leg, parts.seq) != (
            intent.position_id,
            intent.leg,
            intent.seq,
        ):
            yield f"{intent.link_id} does not name its plan, leg and number"
    for position_id, rows in facts.executions.items():
        for row in rows:
            if parse_link_id(row.link_id) is not None and row.link_id not in facts.intents:
                yield f"{position_id}: {row.exec_id} is of {row.link_id}, which was never written"
    for order in facts.truth.orders if facts.truth is not None else ():
        report, intent_of = order.report, facts.intents.get(order.report.link_id)
        parts = parse_link_id(report.link_id)
        if intent_of is None:
            if parts is not None and parts.tag in facts.our_tags:
                yield f"the venue has {report.link_id}, which was never written"
        elif not same_order(intent_of, report):
            yield f"the venue has {report.link_id} with other parameters than were written"


def one_order_per_link(facts: Facts) -> Iterator[str]:
    """2: a link id has one order, and a leg's next order comes after all its earlier ones have ended."""
    for rows in facts.executions.values():
        orders: dict[str, set[str]] = {}
        for row in rows:
            if row.link_id:
                orders.setdefault(row.link_id, set()).add(row.order_id)
        for link, ids in orders.items():
            if len(ids) > 1 and link in facts.intents:
                yield f"{link} traded as {len(ids)} orders: {', '.join(sorted(ids))}"
    for position_id, intents in facts.by_position.items():
        yield from _numbered(position_id, intents)
    if facts.truth is not None:
        yield from _sent_once(facts, facts.truth)


def _numbered(position_id: str, intents: tuple[IntentRecord, ...]) -> Iterator[str]:
    numbers = [intent.seq for intent in intents]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"{position_id}: its orders are not numbered 1 to {len(numbers)}"
    for leg in Leg:
        for intent in [item for item in intents if item.leg is leg][:-1]:
            if not intent.state.terminal:
                yield f"{intent.link_id} is {intent.state}, though later orders of its leg exist"


def _sent_once(facts: Facts, truth: VenueTruth) -> Iterator[str]:
    counts = Counter(order.report.link_id for order in truth.orders if order.report.link_id)
    for link, count in counts.items():
        if count > 1 and link in facts.intents:
            yield f"the venue has {count} orders under {link}"
    for order in truth.orders:
        if order.requests > 1 and order.report.link_id in facts.intents:
            yield f"{order.report.link_id} was sent {order.requests} times"


def one_at_a_time(facts: Facts) -> Iterator[str]:
    """3: at most one open order per leg of a plan, one active plan per coin."""
    for position_id, intents in facts.by_position.items():
        for leg in Leg:
            waiting = [i.link_id for i in intents if i.leg is leg and not i.state.terminal]
            if len(waiting) > 1:
                yield f"{position_id}: {', '.join(waiting)} are open at once on the {leg} leg"
    active = Counter(item.base for item in facts.positions if not item.state.final)
    for base, count in active.items():
        if count > 1:
            yield f"{base} has {count} active plans"


def doubts_are_proved(facts: Facts) -> Iterator[str]:
    """4: REFUSED rests on an answer that refused, ABSENT on a proof that took its time, or on a person; the
    venue has none of either, unless a person was told.
    """
    answers = {one.fields["link_id"]: one.fields["outcome"] for one in facts.told("order_answered")}
    proofs = {one.fields["link_id"]: one for one in facts.told("intent_resolved")}
    for intent in facts.intents.values():
        if intent.state is IntentState.REFUSED and answers.get(intent.link_id) != "refused":
            yield f"{intent.link_id} is REFUSED, but its answer was {answers.get(intent.link_id, 'none')}"
        if intent.state is IntentState.ABSENT:
            yield from _proved(facts, intent, proof=proofs.get(intent.link_id))
    late = _told_late(facts)
    for order in facts.truth.orders if facts.truth is not None else ():
        found = facts.intents.get(order.report.link_id)
        never = found is not None and found.state in {IntentState.REFUSED, IntentState.ABSENT}
        if found is not None and never and found.link_id not in late:
            yield f"{found.link_id} is {found.state}, and the venue has it"


def _told_late(facts: Facts) -> set[str]:
    """The orders that a person was told of, as they traded after they had been called refused or absent."""
    alerts = facts.told("alert_raised")
    return {one.fields["subject"] for one in alerts if one.fields["code"] == LATE_FILL}


def _proved(facts: Facts, intent: IntentRecord, *, proof: Told | None) -> Iterator[str]:
    if proof is None or proof.fields["state"] != IntentState.ABSENT:
        yield f"{intent.link_id} is ABSENT and nothing says how that was proved"
        return
    lease = facts.rules.at(intent.signed_at).lease
    least = lease + (MISS_SPAN if proof.fields["how"] == "proved absent" else timedelta())
    took = proof.at - intent.signed_at
    if took < least:
        yield f"{intent.link_id} was called ABSENT {took.total_seconds():.1f} s after it was signed"


def fills_agree(facts: Facts) -> Iterator[str]:
    """5: an ended order was filled by exactly its executions, and the venue says the same; one that traded
    after it had been called refused or absent was told.
    """
    late = _told_late(facts)
    traded: dict[str, tuple[Decimal, Decimal]] = {}
    for rows in facts.executions.values():
        for row in rows:
            if row.kind.trades and row.link_id:
                quantity, value = traded.get(row.link_id, (ZERO, ZERO))
                traded[row.link_id] = (quantity + row.quantity, value + row.quantity * row.price)
    for intent in facts.intents.values():
        if intent.state.terminal:
            quantity, value = traded.get(intent.link_id, (ZERO, ZERO))
            yield from _filled_as(intent, quantity, value=value, late=late)
    yield from _venue_fills(facts)


def _filled_as(
    intent: IntentRecord, quantity: Decimal, *, value: Decimal, late: Collection[str]
) -> Iterator[str]:
    """One ended order against the sum of its executions."""
    if intent.state is not IntentState.DONE and quantity and intent.link_id not in late:
        yield f"{intent.link_id} is {intent.state} but traded {plain(quantity)}"
    elif intent.filled != quantity:
        yield f"{intent.link_id} says {plain(intent.filled)} filled, its executions {plain(quantity)}"
    elif abs((intent.average_price or ZERO) * quantity - value) > _ROUNDING * value:
        yield f"{intent.link_id}: {intent.average_price} is not its executions' average price"


def _venue_fills(facts: Facts) -> Iterator[str]:
    for order in facts.truth.orders if facts.truth is not None else ():
        intent = facts.intents.get(order.report.link_id)
        if intent is None or not intent.state.terminal or not order.report.status.final:
            continue
        if order.report.filled != intent.filled:
            yield (
                f"{intent.link_id}: the venue filled {plain(order.report.filled)}, "
                f"our books say {plain(intent.filled)}"
            )


def caps_hold(facts: Facts) -> Iterator[str]:
    """8: what added exposure was within the caps that were in force then."""
    history = facts.told("limits_in_force")
    if not history:
        raise NotJudged("no writer has noted its limits yet; they are checked at the wire")
    times = sorted(one.created_at for one in facts.intents.values() if one.purpose.adds_exposure)
    for position, intent in facts.entries():
        limits = _limits_at(history, intent.created_at)
        if limits is None:
            continue
        value = intent.quantity * intent.limit_price
        cap = dec(limits["max_clip"]) * (ONE + dec(limits["collar"]))
        if value > cap:
            yield f"{intent.link_id} was worth {plain(value)}, above the cap of {plain(cap)}"
        sent = sum(intent.created_at - _MINUTE < time < intent.created_at for time in times)
        if sent >= int(limits["orders_per_minute"]):
            yield f"{intent.link_id} was the {sent + 1}th entry order within a minute"
        if position.leverage > dec(limits["leverage"]):
            yield f"{position.position_id} has leverage {plain(position.leverage)}"


def _limits_at(history: tuple[Told, ...], at: datetime) -> dict[str, str | int] | None:
    """What was in force at an instant; None if nobody had noted it yet."""
    known = [one.fields for one in history if one.at <= at]
    return dict(known[-1]) if known else None


def no_opens_under_blocks(facts: Facts) -> Iterator[str]:
    """10: nothing that adds exposure was written while a block forbade it."""
    changes = sorted((*facts.told("block_set"), *facts.told("block_cleared")), key=lambda one: one.number)
    for position, intent in facts.entries():
        held: dict[tuple[str, str], Told] = {}
        for one in changes:
            sets = "reason" in one.fields
            if one.at > intent.created_at or (sets and one.at == intent.created_at):
                continue  # of one moment: what was lifted was lifted before, what was set was set after
            key = (one.fields["scope"], one.fields["block"])
            if sets:
                held[key] = one
            else:
                held.pop(key, None)
        for (scope, kind), one in held.items():
            until = one.fields["until"]
            over = until is not None and datetime.fromisoformat(until) <= intent.created_at
            if scope in {GLOBAL_SCOPE, position.base} and not over:
                yield f"{intent.link_id} was written under the {kind} of {scope}: {one.fields['reason']}"
