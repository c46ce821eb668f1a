"""When to leave a position: a decision about the future, confirmed over several settlements, never a reaction
to one print.

The exit cost is sunk (it is paid now or later) and so has no place in the comparison; nor has the basis: a
widening one alone is no reason. What the decision remembers is handed in and handed back. Nothing here sends
anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from fundarb.core.forecast import Forecast
from fundarb.core.instants import iso
from fundarb.core.market import FundingRate, PerpInstrument, PerpQuote
from fundarb.core.money import ZERO
from fundarb.core.reasons import Reason
from fundarb.core.yields import settlements


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitRules:
    """``horizon`` over which an open was reckoned, ``min_hold`` from the opening, ``confirm`` settlements
    that must agree.
    """

    horizon: timedelta
    min_hold: timedelta
    confirm: int


@dataclass(frozen=True, slots=True)
class ExitMemory:
    """What one decision hands to the next: in how many settlement periods running holding on looked bad, and
    the last of them.

    ``period`` is that period's settlement; a period counts once however often it is looked at.
    """

    against: int = 0
    period: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitDecision:
    """The answer with its arithmetic: ``expected = rate·settlements`` over ``remaining``, a fraction of
    notional.

    ``memory`` goes into the next decision whatever the answer. ``reason`` is a sentence for the audit trail.
    """

    leave: bool
    reason: Reason
    memory: ExitMemory
    rate: Decimal
    settlements: int
    remaining: timedelta
    expected: Decimal
    held: timedelta


def decide_exit(
    forecast: Forecast,
    running: FundingRate,
    *,
    now: datetime,
    opened_at: datetime,
    memory: ExitMemory,
    rules: ExitRules,
) -> ExitDecision:
    """Leave if holding on is expected to cost, ``confirm`` settlement periods in a row, after ``min_hold``.

    The rate is the forecast's *mean*, not reduced by its error: an open needs the reduced rate to pay, a
    close needs the mean to lose, and what lies between is left alone. One period that looks better starts the
    count again. The remaining horizon is what is left of the planned one, but never less than ``min_hold``
    nor than the next settlement.
    """
    held = now - opened_at
    remaining = max(rules.horizon - held, rules.min_hold, running.next_time - now)
    count = settlements(running, now=now, horizon=remaining)
    expected = forecast.mean * count
    kept = _remember(memory, running.next_time, against=expected < ZERO)
    confirmed, old_enough = kept.against >= rules.confirm, held >= rules.min_hold
    return ExitDecision(
        leave=confirmed and old_enough,
        reason=_reason(expected, kept, rules=rules, old_enough=old_enough),
        memory=kept,
        rate=forecast.mean,
        settlements=count,
        remaining=remaining,
        expected=expected,
        held=held,
    )


def _remember(memory: ExitMemory, period: datetime, *, against: bool) -> ExitMemory:
    """The memory after looking at a period: counted once, forgotten at the first look that is not against."""
    if not against:
        return ExitMemory()
    if memory.against and memory.period == period:
        return memory
    return ExitMemory(memory.against + 1, period)


def _reason(expected: Decimal, kept: ExitMemory, *, rules: ExitRules, old_enough: bool) -> Reason:
    figure = f"{expected * 10000:.2f} bp of funding expected over the remaining horizon"
    if expected >= ZERO:
        return Reason("holding_pays", figure)
    if kept.against < rules.confirm:
        return Reason(
            "exit_unconfirmed", f"{figure}, in {kept.against} of {rules.confirm} settlements so far"
        )
    if not old_enough:
        return Reason("min_hold", f"{figure}, but the position is younger than the minimum hold")
    return Reason("holding_costs", f"{figure}, in {kept.against} settlements running")


def worth_switching(held: Decimal, offered: Decimal, *, gain: Decimal) -> bool:
    """Whether another coin is worth the place of a held one: what it ``offered`` over the horizon, net of its
    whole round trip, is more by the share ``gain`` than the funding expected of what is ``held``.

    All fractions of notional. The exit of the held one is paid now or later and has no place here.
    """
    return offered > ZERO and offered > held + gain * max(held, ZERO)


def leave_at_once(
    perp: PerpInstrument | None,
    quote: PerpQuote | None,
    *,
    margin_rate: Decimal | None,
    margin_limit: Decimal,
) -> tuple[Reason, ...]:
    """What closes a position without waiting or confirming: a delisting, a market that is gone, the margin
    limit.

    ``perp`` None: the instrument is not listed any more. ``margin_rate`` is the account's maintenance margin
    rate.
    """
    reasons = []
    delivery = quote.delivery_time if quote is not None else None
    if perp is None:
        reasons.append(Reason("not_listed", "the perp is not listed any more"))
    else:
        delivery = perp.delivery_time or delivery
        if not perp.trading:
            reasons.append(Reason("not_trading", f"{perp.symbol} has status {perp.status}"))
    if delivery is not None:
        reasons.append(Reason("delisting", f"the perp is delisted at {iso(delivery)}"))
    if margin_rate is not None and margin_rate >= margin_limit:
        text = f"the margin rate of {margin_rate * 100:.1f} % reached {margin_limit * 100:.1f} %"
        reasons.append(Reason("margin", text))
    return tuple(reasons)
