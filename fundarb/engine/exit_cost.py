"""What leaving a position at the basis of now costs beyond what it was entered at.

Basis is ``perp/(m·spot) − 1``: short perp and long coins lose what it widens by. At mids everywhere, as money
is counted; the half-spreads are paid on any day.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from fundarb.core.money import BP, ONE, ZERO
from fundarb.core.orders import Leg
from fundarb.core.postings import holding_key
from fundarb.core.reasons import Reason
from fundarb.core.records import PositionRecord
from fundarb.engine.desk import Desk

WORTH_WAITING = 20 * BP
"""A basis that is wider than at the entry by no more is no reason to wait."""


@dataclass(frozen=True, slots=True)
class ExitCost:
    """The basis of ``now`` and that of the ``entry``, both fractions."""

    now: Decimal
    entry: Decimal

    @property
    def excess(self) -> Decimal:
        """What leaving now costs beyond the entry's basis, as a fraction of notional; negative: it brings."""
        return self.now - self.entry

    @property
    def bad(self) -> bool:
        """Whether somebody who need not leave now would wait."""
        return self.excess > WORTH_WAITING

    @property
    def reason(self) -> Reason:
        """The cost in words."""
        text = (
            f"the basis is {self.now / BP:+.1f} bp, at the entry it was {self.entry / BP:+.1f} bp: "
            f"leaving now costs {self.excess / BP:.1f} bp of it"
        )
        return Reason("exit_basis", text)


def exit_cost(desk: Desk, position: PositionRecord) -> ExitCost | None:
    """From fresh books and the average entry prices; None without an entry. ``Unavailable`` without books."""
    ledger = desk.store.ledger.read
    spot, perp = (ledger.holding(holding_key(position, leg)).average for leg in (Leg.SPOT, Leg.PERP))
    if spot is None or perp is None or spot <= ZERO:
        return None
    books = desk.market.books(desk.market.pair_of(position))
    now = books[1].mid / (position.multiplier * books[0].mid) - ONE
    return ExitCost(now=now, entry=perp / (position.multiplier * spot) - ONE)
