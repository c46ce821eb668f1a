"""``audit``: the safety invariants over the database and, where given, over what the venue itself holds.

Each check looks at stored facts and says what contradicts it; it repairs nothing and trusts no derived
column that can be derived again. A check that could not be made (no venue, no prices) says so and is not
counted as passed by luck.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from fundarb.core.account import PositionReport, Wallet
from fundarb.core.money import ZERO, plain
from fundarb.core.orders import Execution, Leg, OrderReport, Side, parse_link_id
from fundarb.core.records import IntentRecord, PositionRecord
from fundarb.core.states import IntentState, PositionState
from fundarb.engine import equity
from fundarb.engine.audit_book import BookRules, walk
from fundarb.engine.booking import quantities
from fundarb.store.database import Store

_SHOWN = 5
"""How many contradictions of one kind are told in full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCheck:
    """One invariant: its number, whether it holds, and what was looked at or what contradicts it."""

    id: str
    ok: bool
    details: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueOrder:
    """One order as the venue has it, with the parameters that it was sent with."""

    report: OrderReport
    requests: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueTruth:
    """What the venue holds of this account. ``complete`` means that ``orders`` are all orders ever sent (a
    simulated venue tells); otherwise only the open ones are known.
    """

    wallet: Wallet
    positions: tuple[PositionReport, ...]
    orders: tuple[VenueOrder, ...]
    complete: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that is looked at, read once."""

    store: Store
    positions: tuple[PositionRecord, ...]
    intents: Mapping[str, IntentRecord]
    executions: Mapping[str, tuple[Execution, ...]]
    rules: BookRules
    truth: VenueTruth | None = None
    by_position: Mapping[str, tuple[IntentRecord, ...]] = field(default_factory=dict)


def audit(store: Store, rules: BookRules, *, truth: VenueTruth | None = None) -> tuple[AuditCheck, ...]:
    """Every check in order; ``rules`` are the limits that trading obeys."""
    with store.reading():
        positions = store.positions.all()
        by_position = {item.position_id: store.intents.of_position(item.position_id) for item in positions}
        facts = Facts(
            store=store,
            positions=positions,
            by_position=by_position,
            intents={intent.link_id: intent for rows in by_position.values() for intent in rows},
            executions={
                item.position_id: store.executions.of_position(item.position_id) for item in positions
            },
            rules=rules,
            truth=truth,
        )
        return tuple(_checked(number, name, look=look, facts=facts) for number, name, look in _CHECKS)


def _checked(number: str, name: str, *, look: Callable[[Facts], Iterator[str]], facts: Facts) -> AuditCheck:
    found = list(look(facts))
    if not found:
        return AuditCheck(id=number, ok=True, details=f"{name}: {_extent(facts)}")
    shown = "; ".join(found[:_SHOWN]) + (f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
    return AuditCheck(id=number, ok=False, details=f"{name}: {shown}")


def _extent(facts: Facts) -> str:
    venue = "books only"
    if facts.truth is not None:
        venue = "against every order of the venue" if facts.truth.complete else "against the venue"
    return f"{len(facts.intents)} orders of {len(facts.positions)} positions, {venue}"


# ------------------------------------------------------------------------------------------ 1-3: intents


def _intent_before_wire(facts: Facts) -> Iterator[str]:
    """1: whatever carries our link id was written before, exactly so."""
    ours = _our_tags(facts)
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
            if row.link_id and row.link_id not in facts.intents:
                yield f"{position_id}: {row.exec_id} is of {row.link_id}, which was never written"
    for order in facts.truth.orders if facts.truth is not None else ():
        report, intent_of = order.report, facts.intents.get(order.report.link_id)
        parts = parse_link_id(report.link_id)
        if intent_of is None:
            if parts is not None and parts.tag in ours:
                yield f"the venue has {report.link_id}, which was never written"
        elif not _same_order(report, intent_of):
            yield f"the venue has {report.link_id} with other parameters than were written"


def _same_order(report: OrderReport, intent: IntentRecord) -> bool:
    return (report.symbol, report.side, report.quantity, report.reduce_only) == (
        intent.symbol,
        intent.side,
        intent.quantity,
        intent.reduce_only,
    ) and (report.limit_price is None or report.limit_price == intent.limit_price)


def _our_tags(facts: Facts) -> frozenset[str]:
    identity = facts.store.identity.read()
    return frozenset() if identity is None else frozenset({identity.tag, *identity.old_tags})


def _one_order_per_link(facts: Facts) -> Iterator[str]:
    """2: a link id has one order, and a leg's next order comes after all its earlier ones have ended."""
    for rows in facts.executions.values():
        orders: dict[str, set[str]] = {}
        for row in rows:
            if row.link_id:
                orders.setdefault(row.link_id, set()).add(row.order_id)
        for link, ids in orders.items():
            if len(ids) > 1:
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


def _one_at_a_time(facts: Facts) -> Iterator[str]:
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


# -------------------------------------------------------------------------------------- 5-7: what was traded


def _fills_agree(facts: Facts) -> Iterator[str]:
    """5: an ended order was filled by exactly its executions, and the venue says the same."""
    traded: dict[str, tuple[Decimal, Decimal]] = {}
    for rows in facts.executions.values():
        for row in rows:
            if row.kind.trades and row.link_id:
                quantity, value = traded.get(row.link_id, (ZERO, ZERO))
                traded[row.link_id] = (quantity + row.quantity, value + row.quantity * row.price)
    for intent in facts.intents.values():
        if intent.state.terminal:
            quantity, value = traded.get(intent.link_id, (ZERO, ZERO))
            yield from _filled_as(intent, quantity, value=value)
    yield from _venue_fills(facts)


def _filled_as(intent: IntentRecord, quantity: Decimal, *, value: Decimal) -> Iterator[str]:
    """One ended order against the sum of its executions."""
    if intent.state is not IntentState.DONE and quantity:
        yield f"{intent.link_id} is {intent.state} but traded {plain(quantity)}"
    elif intent.filled != quantity:
        yield f"{intent.link_id} says {plain(intent.filled)} filled, its executions {plain(quantity)}"
    elif abs((intent.average_price or ZERO) * quantity - value) > _ROUNDING * value:
        yield f"{intent.link_id}: {intent.average_price} is not its executions' average price"


_ROUNDING = Decimal("1e-6")
"""An average price is told with a limited number of places."""


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


def _neutral(facts: Facts) -> Iterator[str]:
    """6: neutral outside clips; inside one the naked part is small and short, or somebody was told."""
    for position in facts.positions:
        found = walk(position, facts.executions[position.position_id], rules=facts.rules)
        told = _was_told(facts.store, position)
        if found.naked > facts.rules.largest_naked and not told:
            yield f"{position.position_id}: {found.naked:.2f} USDT were naked at once"
        if found.longest > facts.rules.longest_naked and not told:
            yield f"{position.position_id}: naked for {found.longest.total_seconds():.0f} s without an alert"
        if position.state is PositionState.HEDGED and not facts.rules.neutral(position):
            delta = position.spot_owned - position.contracts * position.multiplier
            yield f"{position.position_id} is HEDGED with a delta of {plain(delta)} {position.base}"


def _was_told(store: Store, position: PositionRecord) -> bool:
    """Whether an alert, an unwind or a mismatch names this position, its coin or one of its symbols."""
    names = {position.position_id, position.base, position.spot_symbol, position.perp_symbol}
    for kind in ("alert_raised", "position_unwound", "mismatch_found"):
        for event in store.events.last(500, kind=kind):
            if any(f'"{name}' in event.payload or f":{name}" in event.payload for name in names):
                return True
    return False


def _reductions_reduce(facts: Facts) -> Iterator[str]:
    """7: what reduces never increases or flips; nothing is sold that is not ours; the short is covered."""
    for intent in facts.intents.values():
        if intent.purpose.value in _REDUCING and not _reduces(intent):
            yield f"{intent.link_id} is to {intent.purpose} but {intent.side}s on the {intent.leg} leg"
    for position in facts.positions:
        owned = short = ZERO
        for row in facts.executions[position.position_id]:
            leg = Leg.PERP if row.symbol == position.perp_symbol and _is_perp(row) else Leg.SPOT
            coins, contracts = quantities(row, position, leg=leg) if row.kind.trades else (ZERO, ZERO)
            owned, short = owned + coins, short + contracts
            if owned < ZERO or short < ZERO:
                yield f"{position.position_id}: {row.exec_id} took more than was held"
                break
        else:
            yield from _book_is(position, owned, short=short)
    yield from _venue_sizes(facts)


_REDUCING = frozenset({"trim", "unwind", "exit"})


def _is_perp(row: Execution) -> bool:
    return row.category.value == "linear"


def _reduces(intent: IntentRecord) -> bool:
    if intent.leg is Leg.SPOT:
        return intent.side is Side.SELL
    return intent.side is Side.BUY and intent.reduce_only


def _book_is(position: PositionRecord, owned: Decimal, *, short: Decimal) -> Iterator[str]:
    """The position's own columns are the sum of its executions (coins put aside as dust at its end apart)."""
    if position.contracts != short:
        text = f"{plain(position.contracts)} contracts, its executions say {plain(short)}"
        yield f"{position.position_id}: {text}"
    if position.spot_owned != owned and not position.state.final:
        yield f"{position.position_id}: {plain(position.spot_owned)} coins, its executions say {plain(owned)}"


def _venue_sizes(facts: Facts) -> Iterator[str]:
    if facts.truth is None:
        return
    expected: dict[str, Decimal] = {}
    for position in facts.positions:
        if not position.state.final:
            expected[position.perp_symbol] = expected.get(position.perp_symbol, ZERO) - position.contracts
    found = {report.symbol: report.size for report in facts.truth.positions}
    for symbol, size in expected.items():
        if found.get(symbol, ZERO) != size:
            yield f"{symbol}: the venue holds {plain(found.get(symbol, ZERO))}, our books {plain(size)}"


# ------------------------------------------------------------------------------------------- 12: the ledger


def _ledger_ties(facts: Facts) -> Iterator[str]:
    """12: journals sum to zero, every fact is posted once, the equity identity and the wallet hold."""
    store = facts.store
    for key in store.ledger.read.unbalanced():
        yield f"the journal {key} does not sum to zero"
    for rows in facts.executions.values():
        for row in rows:
            if row.kind.trades and not store.ledger.posted(row.key):
                yield f"execution {row.exec_id} of {row.link_id or 'the venue'} is not in the ledger"
    count = Decimal(max(store.ledger.count(), 1))
    tolerance = facts.rules.per_posting * count
    yield from _identity(store, tolerance)
    if facts.truth is not None:
        yield from _wallet(store, facts.truth.wallet, tolerance=tolerance)


def _identity(store: Store, tolerance: Decimal) -> Iterator[str]:
    points = equity.points(store)
    start = equity.opening(store) or (points[0] if points else None)
    for point in points[-1:]:
        if start is not None and start is not point:
            gap = equity.tie_out(store, start, end=point).unexplained
            if abs(gap) > tolerance:
                yield f"{plain(gap)} USDT of the equity of {point.at:%Y-%m-%d %H:%M} are not explained"


def _wallet(store: Store, wallet: Wallet, *, tolerance: Decimal) -> Iterator[str]:
    owned = store.ledger.balances()
    for coin in sorted({*owned, *wallet.coins}):
        gap = wallet.owned(coin) - owned.get(coin, ZERO)
        if abs(gap) > tolerance:
            yield f"the wallet holds {plain(gap)} {coin} more than the ledger"


_CHECKS: Iterable[tuple[str, str, Callable[[Facts], Iterator[str]]]] = (
    ("1", "every order was written before it was sent", _intent_before_wire),
    ("2", "one order per link id, legs in order", _one_order_per_link),
    ("3", "one open order per leg, one plan per coin", _one_at_a_time),
    ("5", "fills are those of the executions", _fills_agree),
    ("6", "neutral outside clips", _neutral),
    ("7", "reductions reduce", _reductions_reduce),
    ("12", "the ledger ties out", _ledger_ties),
)
