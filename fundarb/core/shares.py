"""A row of the venue of which only a part was ours: the part, and the rest as a row of its own. Pure."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Final

from fundarb.core.money import cash
from fundarb.core.orders import Execution

_REST: Final = ":rest"
"""Marks the part of a venue's row that was a stranger's."""


def shared_out(row: Execution, ours: Decimal) -> tuple[Execution, Execution | None]:
    """An execution as far as it is ours, at most ``ours`` (contracts, positive), and the rest of it, which is
    a stranger's; None if nothing is left. Value and fee go by size, and add up to the venue's own.
    """
    if row.quantity <= ours:
        return row, None
    part = ours / row.quantity
    mine = replace(row, quantity=ours, value=cash(row.value * part), fee=cash(row.fee * part))
    rest = replace(
        row,
        exec_id=f"{row.exec_id}{_REST}",
        quantity=row.quantity - mine.quantity,
        value=row.value - mine.value,
        fee=row.fee - mine.fee,
    )
    return mine, rest
