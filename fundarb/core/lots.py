"""Tax lots: which coins are sold first. First in, first out, or all of them at their average cost.

The method moves gains between disposals and years and changes nothing of their sum: what was gained and what
is still held at cost add up to the same.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from fundarb.core.money import ZERO, cash


class LotMethod(StrEnum):
    """How coins that are sold are matched with coins that were bought."""

    FIFO = "fifo"
    AVERAGE = "average"


@dataclass(frozen=True, slots=True)
class Lot:
    """Coins of one purchase: when (None: of several, or unknown), how many, at what cost in quote. ``short``:
    they went before they came, so what they cost is not known (yet). ``unknown``: nobody knows what they were
    worth when they came, and the cost says nothing.
    """

    acquired: datetime | None
    quantity: Decimal
    cost: Decimal
    short: bool = False
    unknown: bool = False

    @property
    def known_cost(self) -> Decimal | None:
        """The cost, None where nobody knows it."""
        return None if self.unknown else self.cost


class Lots:
    """The coins of one kind that an account holds."""

    def __init__(self, method: LotMethod) -> None:
        """Nothing is held yet."""
        self._method = method
        self._lots: deque[Lot] = deque()
        self._missing = ZERO

    @property
    def held(self) -> tuple[Lot, ...]:
        """What is left, oldest first."""
        return tuple(self._lots)

    def acquire(self, lot: Lot) -> None:
        """Coins come in: first they make good what went beyond what there was."""
        if self._missing:
            covered = min(self._missing, lot.quantity)
            self._missing -= covered
            if covered == lot.quantity:
                return
            rest = lot.quantity - covered
            lot = replace(lot, quantity=rest, cost=cash(lot.cost * rest / lot.quantity))
        if self._method is LotMethod.AVERAGE and self._lots:
            known = self._lots.pop()
            lot = Lot(
                None,
                known.quantity + lot.quantity,
                known.cost + lot.cost,
                unknown=known.unknown or lot.unknown,
            )
        self._lots.append(lot)

    def dispose(self, quantity: Decimal) -> tuple[Lot, ...]:
        """Coins go out: the lots that they come from. Where more goes than there is, the rest is ``short``:
        no date, no cost, and the next coins that come make it good.
        """
        taken = []
        while quantity > ZERO and self._lots:
            lot = self._lots.popleft()
            if lot.quantity <= quantity:
                part = lot
            else:
                part = replace(lot, quantity=quantity, cost=cash(lot.cost * quantity / lot.quantity))
                left = replace(lot, quantity=lot.quantity - quantity, cost=lot.cost - part.cost)
                self._lots.appendleft(left)
            taken.append(part)
            quantity -= part.quantity
        if quantity > ZERO:
            self._missing += quantity
            taken.append(Lot(None, quantity, ZERO, short=True))
        return tuple(taken)
