"""What leaving a position at the basis of now costs beyond what it was entered at.

Basis is ``perp/(m·spot) − 1``: short perp and long coins lose what it widens by. At mids everywhere, as money
is counted; the half-spreads are paid on any day.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from fundarb.core.money import BP, ONE, fixed
from fundarb.core.reasons import Reason
from fundarb.core.records import PositionRecord
from fundarb.engine.desk import Desk
from fundarb.engine.entry_basis import entry_basis

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
            f"the basis is {fixed(self.now / BP, 1, sign=True)} bp, "
            f"at the entry it was {fixed(self.entry / BP, 1, sign=True)} bp: "
            f"leaving now costs {self.excess / BP:.1f} bp of it"
        )
        return Reason("exit_basis", text)


def exit_cost(desk: Desk, position: PositionRecord) -> ExitCost | None:
    """From fresh books and the fills of the entry; None where the legs were not entered together.
    ``Unavailable`` without books.
    """
    entry = entry_basis(position, desk.store.executions.of_position(position.position_id))
    if entry is None:
        return None
    books = desk.market.books(desk.market.pair_of(position))
    now = books[1].mid / (position.multiplier * books[0].mid) - ONE
    return ExitCost(now=now, entry=entry)
