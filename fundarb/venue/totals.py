"""The figures of a whole account in USD, and what follows from them alone: available, rates, distance to a
liquidation (Bybit V5 API). Nothing is looked up here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from fundarb.core.money import ONE, ZERO

_HOPELESS = Decimal(999)
"""The margin rate of an account that needs margin and has none."""


@dataclass(slots=True)
class Totals:
    """Account figures in USD while they are being summed."""

    equity: Decimal = ZERO
    wallet: Decimal = ZERO
    balance: Decimal = ZERO
    reserved: Decimal = ZERO
    """What open orders would take off the balance by filling: haircut of spot buys, losses of bad prices."""
    unrealised: Decimal = ZERO
    initial: Decimal = ZERO
    maintenance: Decimal = ZERO
    gross: Decimal = ZERO
    """Value of everything whose price can turn against the account, hedged or not."""
    unrealised_by_coin: dict[str, Decimal] = field(default_factory=dict)
    """Unrealised profit of perps by settle coin, in that coin."""

    @property
    def available(self) -> Decimal:
        """Margin balance neither reserved for open orders nor needed as initial margin; may be negative."""
        return self.balance - self.reserved - self.initial

    @property
    def liquidable(self) -> bool:
        """Whether maintenance is no longer covered (a rate of 100 % or more)."""
        return self.rate(self.maintenance) >= ONE

    @property
    def distance(self) -> Decimal:
        """By which fraction at least prices must move until maintenance is no longer covered: as if every one
        of them went the wrong way.
        """
        free = self.balance - self.reserved - self.maintenance
        return max(free, ZERO) / self.gross if self.gross else _HOPELESS

    def rate(self, need: Decimal) -> Decimal:
        """A need as a fraction of the margin balance less what is reserved."""
        if need <= 0:
            return ZERO
        base = self.balance - self.reserved
        return min(need / base, _HOPELESS) if base > 0 else _HOPELESS
