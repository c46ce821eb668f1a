"""How far a short is from liquidation, how the account stands after a jump, and how much to reduce.

Prices are per coin. A coin counts as collateral at a ratio between 0 and 1; what is sized must hold without
it (``p*(0)``). When the buffer is low *both legs* shrink together, never one. Nothing here decides when to
act.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from fundarb.core.money import ONE, ZERO

SHOCKS = (Decimal("0.2"), Decimal("0.5"), Decimal(1))
"""The price rises of the stress table, as fractions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hedge:
    """One coin's two legs. ``coins`` owned and ``short`` sold, both in coins; ``entry`` and ``mark`` are the
    perp's, per coin.

    ``maintenance`` is the tier's maintenance margin rate, ``collateral`` the ratio at which the coins count;
    both are fractions.
    """

    coins: Decimal
    short: Decimal
    entry: Decimal
    mark: Decimal
    maintenance: Decimal
    collateral: Decimal = ZERO

    def margin_at(self, price: Decimal, *, collateral: Decimal | None = None) -> Decimal:
        """What this coin adds to the margin balance at ``price``: collateral value and unrealised result."""
        ratio = self.collateral if collateral is None else collateral
        return ratio * self.coins * price + self.short * (self.entry - price)

    def needed_at(self, price: Decimal) -> Decimal:
        """Maintenance margin at ``price``."""
        return self.maintenance * self.short * price


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginAccount:
    """A cross-margined account: ``cash`` in USDT (wallet balance, without unrealised results) and every
    hedge.
    """

    cash: Decimal
    hedges: Sequence[Hedge]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stress:
    """The account after every price rose by ``shock``. ``rate`` = maintenance ÷ balance; None when no balance
    is left.
    """

    shock: Decimal
    balance: Decimal
    maintenance: Decimal

    @property
    def rate(self) -> Decimal | None:
        """The account's maintenance margin rate, a fraction; liquidation at 1."""
        return self.maintenance / self.balance if self.balance > ZERO else None

    @property
    def liquidated(self) -> bool:
        """Whether the account would be liquidated there."""
        return self.maintenance >= self.balance and self.maintenance > ZERO


def cross_liquidation(hedge: Hedge, cash: Decimal, *, collateral: Decimal | None = None) -> Decimal | None:
    """``p*``: the price at which balance equals maintenance, ``(U + Np·e) / (Np·(1 + mmr) − c·Ns)``.

    ``collateral`` overrides the hedge's ratio: ``p*(0)`` is what to size on. None if no price liquidates it.
    """
    ratio = hedge.collateral if collateral is None else collateral
    slope = hedge.short * (ONE + hedge.maintenance) - ratio * hedge.coins
    return (cash + hedge.short * hedge.entry) / slope if slope > ZERO else None


def liquidation_price(
    account: MarginAccount, index: int, *, collateral: Decimal | None = None
) -> Decimal | None:
    """``p*`` of one coin of an account while every other coin stays at its mark; ``collateral`` overrides all
    ratios.
    """
    others = (hedge for at, hedge in enumerate(account.hedges) if at != index)
    spare = sum(
        (
            hedge.margin_at(hedge.mark, collateral=collateral) - hedge.needed_at(hedge.mark)
            for hedge in others
        ),
        ZERO,
    )
    return cross_liquidation(account.hedges[index], account.cash + spare, collateral=collateral)


def worse(*prices: Decimal | None) -> Decimal | None:
    """The lowest of several liquidation prices of a short, ours and the venue's; None where none applies."""
    known = [price for price in prices if price is not None]
    return min(known) if known else None


def stressed(account: MarginAccount, shock: Decimal, *, collateral: Decimal | None = None) -> Stress:
    """The account after every price rose by the fraction ``shock``."""
    rise = ONE + shock
    return Stress(
        shock=shock,
        balance=account.cash
        + sum((h.margin_at(h.mark * rise, collateral=collateral) for h in account.hedges), ZERO),
        maintenance=sum((h.needed_at(h.mark * rise) for h in account.hedges), ZERO),
    )


def stress_table(
    account: MarginAccount, shocks: Sequence[Decimal] = SHOCKS, *, collateral: Decimal | None = None
) -> tuple[Stress, ...]:
    """The account after each shock: +20 %, +50 %, +100 %."""
    return tuple(stressed(account, shock, collateral=collateral) for shock in shocks)


def reduce_fraction(
    account: MarginAccount, target: Decimal, *, cost: Decimal = ZERO, venue_rate: Decimal | None = None
) -> Decimal:
    """The fraction of *both legs* of every hedge to close now so that the margin rate falls to ``target``.

    Closing turns collateral at its ratio into cash at its value and frees maintenance margin; ``cost`` is
    lost, as a fraction of the closed value. ``venue_rate`` replaces our own estimate of the present rate
    where it is worse. Between 0 (fine as it is) and 1.
    """
    now = stressed(account, ZERO)
    needed = now.maintenance
    if venue_rate is not None and now.balance > ZERO:
        needed = max(needed, venue_rate * now.balance)
    excess = needed - target * now.balance
    if excess <= ZERO:
        return ZERO
    freed = sum((h.coins * h.mark * (ONE - h.collateral) for h in account.hedges), ZERO)
    spent = cost * sum((h.short * h.mark for h in account.hedges), ZERO)
    relief = needed + target * (freed - spent)
    return min(excess / relief, ONE) if relief > ZERO else ONE
