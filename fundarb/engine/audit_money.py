"""The invariants about what is held: neutral legs, reductions that reduce, strangers left alone, and nothing
stuck in silence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from functools import partial

from fundarb.core.money import ZERO, plain
from fundarb.core.orders import ExecKind, Leg, Side
from fundarb.core.records import IntentRecord, PositionRecord
from fundarb.core.states import IntentState, PositionState
from fundarb.engine.alerts import NAKED, was_told
from fundarb.engine.audit_book import UNKNOWN_LOT, too_long
from fundarb.engine.audit_facts import Facts
from fundarb.engine.beside import Beside

_REDUCING = frozenset({"trim", "unwind", "exit"})
_DOUBT = timedelta(seconds=60)
"""How long after its lease an order may stay in doubt without anybody being told."""


def neutral(facts: Facts) -> Iterator[str]:
    """6: neutral outside clips; inside one the naked part is small and short, or somebody was told."""
    for position in facts.positions:
        found = facts.walks[position.position_id]
        at = found.naked_at
        if found.naked > found.allowed and not (at and facts.was_told(position, since=at)):
            yield f"{position.position_id}: {found.naked:.2f} USDT were naked at once"
        for stretch in too_long(found.stretches, partial(facts.doubts, position), rules=facts.rules):
            if not facts.was_told(position, since=stretch.began):
                lasted = f"{stretch.lasted.total_seconds():.0f} s from {stretch.began:%Y-%m-%d %H:%M:%S}"
                yield f"{position.position_id}: naked for {lasted} without an alert"
        pair = facts.pairs[position.position_id]
        if position.state is PositionState.HEDGED and not facts.rules.neutral(position, pair):
            delta = position.spot_owned - position.contracts * position.multiplier
            yield f"{position.position_id} is HEDGED with a delta of {plain(delta)} {position.base}"


def lots_unknown(facts: Facts) -> str:
    """Why 6 could not look as closely as it should; empty if it could."""
    traded = [position_id for position_id, moves in facts.books.items() if moves]
    unknown = sum(facts.pairs[position_id] is None for position_id in traded)
    if not unknown:
        return ""
    return (
        f"the steps of {unknown} of {len(traded)} positions that traded are not kept: there "
        f"up to {plain(UNKNOWN_LOT)} USDT counts as one lot"
    )


def reductions_reduce(facts: Facts) -> Iterator[str]:
    """7: what reduces never increases or flips; nothing is sold that is not ours; the short is covered, by
    coins that are there.
    """
    for intent in facts.intents.values():
        if intent.purpose.value in _REDUCING and not _reduces(intent):
            yield f"{intent.link_id} is to {intent.purpose} but {intent.side}s on the {intent.leg} leg"
    for position in facts.positions:
        found = facts.walks[position.position_id]
        if found.taken:
            yield f"{position.position_id}: {found.taken} took more than was held"
        else:
            yield from _book_is(position, found.coins, short=found.contracts)
    yield from _venue_sizes(facts)
    yield from _venue_coins(facts)


def _reduces(intent: IntentRecord) -> bool:
    if intent.leg is Leg.SPOT:
        return intent.side is Side.SELL
    return intent.side is Side.BUY and intent.reduce_only


def _book_is(position: PositionRecord, owned: Decimal, *, short: Decimal) -> Iterator[str]:
    """The position's own columns are the sum of its facts."""
    if position.contracts != short:
        text = f"{plain(position.contracts)} contracts, its executions say {plain(short)}"
        yield f"{position.position_id}: {text}"
    if position.spot_owned != owned:
        yield f"{position.position_id}: {plain(position.spot_owned)} coins, its executions say {plain(owned)}"
    if position.state.final and (position.contracts or position.spot_owned):
        yield f"{position.position_id} is {position.state} and still holds something"


def _venue_sizes(facts: Facts) -> Iterator[str]:
    """Our contracts are there. What strangers sold on top of them is none of ours; what they bought closes
    ours at a venue that nets both, and is a difference.
    """
    if facts.truth is None:
        return
    found = {report.symbol: report.size for report in facts.truth.positions}
    beside = Beside(facts.store)
    for position in facts.positions:
        symbol, size = position.perp_symbol, -position.contracts
        held = found.get(symbol, ZERO)
        if position.state.final or held == size:
            continue
        if held > size or held - size != beside.expected(symbol, position.created_at):
            yield f"{symbol}: the venue holds {plain(held)}, our books {plain(size)}"


def _venue_coins(facts: Facts) -> Iterator[str]:
    """The coins that our positions own are in the wallet; more may be there, of other people."""
    if facts.truth is None:
        return
    ours: defaultdict[str, Decimal] = defaultdict(lambda: ZERO)
    for position in facts.positions:
        if not position.state.final:
            ours[position.base] += position.spot_owned
    for base, coins in sorted(ours.items()):
        found = facts.truth.wallet.owned(base)
        if found < coins - facts.rules.per_posting:
            yield f"{base}: the wallet owns {plain(found)}, our positions {plain(coins)}"


def strangers_untouched(facts: Facts) -> Iterator[str]:
    """11: a stranger's fill is in no book of ours, unless it was taken over knowingly."""
    taken = {one.fields["symbol"] for one in facts.told("mismatch_repaired")}
    for position in facts.positions:
        for row in facts.executions[position.position_id]:
            mine = row.link_id in facts.intents or row.kind is not ExecKind.TRADE
            if not mine and row.symbol not in taken:
                yield f"{position.position_id}: {row.exec_id} is a stranger's fill of {row.symbol}"
    for link, intent in facts.intents.items():
        position = next(one for one in facts.positions if one.position_id == intent.position_id)
        if intent.symbol not in {position.spot_symbol, position.perp_symbol}:
            yield f"{link} trades {intent.symbol}, which is not its position's"


def nothing_is_stuck(facts: Facts) -> Iterator[str]:
    """Liveness: an order in doubt, or a naked leg, that outlasts its time has been told of."""
    now = facts.store.clock.now()
    owner = {position.position_id: position for position in facts.positions}
    for intent in facts.intents.values():
        late = now - intent.signed_at > facts.rules.lease + _DOUBT
        if intent.state is IntentState.UNCERTAIN and late and not _named(facts, intent):
            yield f"{intent.link_id} is UNCERTAIN since {intent.signed_at:%Y-%m-%d %H:%M} without an alert"
    for one in facts.told("position_changed"):
        position = owner.get(one.fields["position_id"])
        if position is None or position.state is not PositionState.EXPOSED or one.fields["new"] != "EXPOSED":
            continue
        if one.fields["old"] == "REPAIRING":  # the same incident, after an attempt to end it
            continue
        late = now - one.at > facts.rules.t_hedge + facts.rules.t_recover
        if late and not (facts.was_told(position, since=one.at) or _stands(facts, position)):
            yield f"{position.position_id} is EXPOSED since {one.at:%Y-%m-%d %H:%M} without an alert"


def _stands(facts: Facts, position: PositionRecord) -> bool:
    """Whether an incident of before, told once, is still open: what comes back within it is no news."""
    return any(was_told(facts.store, code, subject=position.position_id) for code in NAKED)


def _named(facts: Facts, intent: IntentRecord) -> bool:
    """Whether somebody was told of an order, or of its position since it was signed."""
    return any(
        intent.link_id in str(one.fields.get("subject", ""))
        or (one.at >= intent.signed_at and intent.position_id in one.fields.values())
        for one in facts.messages
    )
