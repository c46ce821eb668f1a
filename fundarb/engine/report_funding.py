"""Why a payment of funding was not what was expected: another rate, another mark, or something else.

Expected is our contracts at the instant × the settled rate that the market publishes × the mark of the
venue's funding row. What the venue says on the row that it paid by is compared with that, factor by factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from fundarb.core.account import Transaction
from fundarb.core.money import CASH_STEP, ZERO, cash
from fundarb.engine.funding import rate_of
from fundarb.store.ledger_log import Settlement


@dataclass(frozen=True, slots=True)
class Why:
    """The parts of received − expected: by a rate that changed in the last minute, by the mark, and what
    neither explains.
    """

    rate: Decimal = ZERO
    mark: Decimal = ZERO
    rest: Decimal = ZERO


def why(settlement: Settlement, row: Transaction | None) -> Why | None:
    """The parts of a settlement's difference by the row that paid it; None while the difference is unknown.

    A rounding needs no reason. A factor is a reason only where it brings the two closer: a rate that the
    venue prints with fewer digits is none.
    """
    left = settlement.difference
    if left is None or settlement.mark is None or settlement.rate is None:
        return None
    if abs(left) <= CASH_STEP or row is None:
        return Why(rest=left)
    paid_rate = rate_of(row)
    rate = settlement.rate if paid_rate is None else paid_rate
    by_rate = _closer(left, -settlement.contracts * settlement.mark * (rate - settlement.rate))
    left -= by_rate
    moved = (row.price or settlement.mark) - settlement.mark
    by_mark = _closer(left, -settlement.contracts * moved * rate)
    return Why(rate=by_rate, mark=by_mark, rest=left - by_mark)


def _closer(left: Decimal, part: Decimal) -> Decimal:
    """A part as far as it makes what is left smaller, else nothing."""
    return cash(part) if abs(left - part) < abs(left) else ZERO
