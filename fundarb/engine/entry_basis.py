"""At which basis a position was entered: that of the coins and contracts whose fills came together.

Basis is ``perp/(m·spot) − 1``. The averages of the two legs tell it only as long as both were filled at one
time: a leg that was closed by hand and restored a day later has an average of another day, and the ratio of
the two would be the market's move. Such a leg has no entry basis. Pure over executions; asks nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from fundarb.core.money import ONE, ZERO
from fundarb.core.orders import Execution, Leg
from fundarb.core.records import PositionRecord

_TOGETHER: Final = timedelta(minutes=1)
"""The second leg of a clip follows within ``t_recover`` (37 s) even if the answer to its order was lost."""


@dataclass(slots=True)
class _Lot:
    """Coins of one leg (contracts times multiplier) and their value; ``since`` None: parted from the other
    leg.
    """

    coins: Decimal
    value: Decimal
    since: datetime | None = None

    def take(self, coins: Decimal) -> Decimal:
        """Take so many coins out; their value."""
        value = self.value * coins / self.coins
        self.coins, self.value = self.coins - coins, self.value - value
        return value


@dataclass(slots=True)
class _Entry:
    """What is held: coins that have their contracts, with the value of either side, and what stands alone."""

    coins: Decimal = ZERO
    value: dict[Leg, Decimal] = field(default_factory=lambda: dict.fromkeys(Leg, ZERO))
    alone: dict[Leg, list[_Lot]] = field(default_factory=lambda: {leg: [] for leg in Leg})

    def grow(self, leg: Leg, coins: Decimal, *, value: Decimal, at: datetime) -> None:
        """A fill that builds a leg: it belongs to what the other leg got a moment ago."""
        lot = _Lot(coins, value, at)
        for other in self.alone[_other(leg)]:
            if lot.coins and other.coins and other.since is not None and at - other.since <= _TOGETHER:
                both = min(lot.coins, other.coins)
                self.value[leg] += lot.take(both)
                self.value[_other(leg)] += other.take(both)
                self.coins += both
        self._keep(leg, lot)

    def shrink(self, leg: Leg, coins: Decimal) -> None:
        """A fill that takes a leg away: what stands alone first, the newest before all."""
        for lot in reversed(self.alone[leg]):
            part = min(coins, lot.coins)
            if part:
                lot.take(part)
                coins -= part
        self.part(leg, coins)

    def part(self, leg: Leg, coins: Decimal) -> None:
        """Coins of one leg are gone: those of the other one stand alone from now on."""
        gone = min(coins, self.coins)
        if gone <= ZERO:
            return
        share = gone / self.coins
        self._keep(_other(leg), _Lot(gone, self.value[_other(leg)] * share))
        for each in Leg:
            self.value[each] -= self.value[each] * share
        self.coins -= gone

    def _keep(self, leg: Leg, lot: _Lot) -> None:
        self.alone[leg] = [item for item in (*self.alone[leg], lot) if item.coins]


def entry_basis(position: PositionRecord, executions: Iterable[Execution]) -> Decimal | None:
    """From all executions of a position, as a fraction; None where nothing that is held was entered with both
    legs together.
    """
    entry = _Entry()
    for fill in sorted(executions, key=lambda item: (item.time, item.exec_id)):
        if not fill.kind.trades:
            continue
        leg = Leg.PERP if fill.category is Leg.PERP.category else Leg.SPOT
        coins = fill.quantity * (position.multiplier if leg is Leg.PERP else ONE)
        if (fill.side.sign > 0) == (leg is Leg.SPOT):
            entry.grow(leg, coins, value=fill.quantity * fill.price, at=fill.time)
        else:
            entry.shrink(leg, coins)
    bought = entry.coins + sum((lot.coins for lot in entry.alone[Leg.SPOT]), ZERO)
    entry.part(Leg.SPOT, bought - position.spot_owned)  # went without a fill: fees, withdrawals
    if entry.coins <= ZERO or entry.value[Leg.SPOT] <= ZERO:
        return None
    return entry.value[Leg.PERP] / entry.value[Leg.SPOT] - ONE


def _other(leg: Leg) -> Leg:
    return Leg.PERP if leg is Leg.SPOT else Leg.SPOT
