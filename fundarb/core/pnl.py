"""Profit and loss of a position, split so that a person can see where it comes from; identities stand in the
docstrings.

Everything is in quote. Costs (fees, interest, slippage) are positive when they cost; funding is positive when
received. A source that is incomplete makes a figure None ("pending"), never zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from fundarb.core.ledger import QUOTE_COINS, Account, Holding
from fundarb.core.money import ONE, ZERO, years


class Coverage(StrEnum):
    """How much of a source's facts has been seen: all that is due, some, or nothing."""

    COMPLETE = "complete"
    PARTIAL = "partial"
    MISSING = "missing"


def worst(coverages: Iterable[Coverage]) -> Coverage:
    """The coverage of a sum: complete or missing if all its parts are, else partial."""
    found = set(coverages)
    if len(found) == 1:
        return found.pop()
    return Coverage.PARTIAL if found else Coverage.COMPLETE


class Valuation(StrEnum):
    """At which prices something unrealised is valued: what a close would get now, or mid and mark."""

    EXECUTABLE = "executable"
    MARK = "mark"


@dataclass(frozen=True, slots=True)
class CoinTotal:
    """An amount of one coin, and its value in quote when it was booked: fees in the coin they were charged in
    (+ = expense), or what stands in suspense (+ = came).
    """

    amount: Decimal
    value: Decimal

    def __add__(self, other: CoinTotal) -> CoinTotal:
        """Both."""
        return CoinTotal(self.amount + other.amount, self.value + other.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pnl:
    """The result of one position (or of anything that sums positions).

    Identities: ``basis_pnl = realised + unrealised``; ``net = funding + basis_pnl − fees − interest``.
    ``realised`` is the price result of what was closed, of both legs; ``unrealised`` that of what is still
    held. ``slippage`` (against the decision mids, + = cost) is contained in ``basis_pnl`` and stands beside
    the sum, as does ``dust``, the cost of coins put aside. ``gross`` is the result before all costs: what
    funding and prices would have brought with each fill at its decision's mid and nothing charged;
    ``net = gross − slippage − fees − interest``.
    """

    realised: Decimal = ZERO
    unrealised: Decimal = ZERO
    funding: Decimal = ZERO
    interest: Decimal = ZERO
    slippage: Decimal = ZERO
    dust: Decimal = ZERO
    suspense_by_coin: Mapping[str, CoinTotal] = field(default_factory=dict)
    fees_by_coin: Mapping[str, CoinTotal] = field(default_factory=dict)

    @property
    def suspense(self) -> Decimal:
        """What nobody has explained, in quote, + = came; coins and money that went for each other cancel."""
        return sum((item.value for item in self.suspense_by_coin.values()), ZERO)

    @property
    def fees(self) -> Decimal:
        """All fees in quote, + = expense."""
        return sum((fee.value for fee in self.fees_by_coin.values()), ZERO)

    @property
    def basis_pnl(self) -> Decimal:
        """What the prices of the two legs brought: realised + unrealised."""
        return self.realised + self.unrealised

    @property
    def net(self) -> Decimal:
        """``funding + basis_pnl − fees − interest``."""
        return self.funding + self.basis_pnl - self.fees - self.interest

    @property
    def gross(self) -> Decimal:
        """``funding + basis_pnl + slippage``: the costs are those of a forecast, fees and impact on mid."""
        return self.funding + self.basis_pnl + self.slippage

    def __add__(self, other: Pnl) -> Pnl:
        """The result of both; every figure is the sum of the two."""
        return together((self, other))


EMPTY = Pnl()


def together(parts: Sequence[Pnl]) -> Pnl:
    """The result of all: what adding one to the other gives, in one go."""
    if len(parts) == 1:
        return parts[0]
    return Pnl(
        realised=sum([part.realised for part in parts], ZERO),
        unrealised=sum([part.unrealised for part in parts], ZERO),
        funding=sum([part.funding for part in parts], ZERO),
        interest=sum([part.interest for part in parts], ZERO),
        slippage=sum([part.slippage for part in parts], ZERO),
        dust=sum([part.dust for part in parts], ZERO),
        suspense_by_coin=_by_coin([part.suspense_by_coin for part in parts]),
        fees_by_coin=_by_coin([part.fees_by_coin for part in parts]),
    )


def _by_coin(parts: Iterable[Mapping[str, CoinTotal]]) -> dict[str, CoinTotal]:
    """The sum of all by coin, in the order of coins, in whatever order they were read."""
    found: dict[str, CoinTotal] = {}
    for part in parts:
        for coin, item in part.items():
            known = found.get(coin)
            found[coin] = item if known is None else known + item
    return dict(sorted(found.items())) if len(found) > 1 else found


def of_account(account: Account, coin: str, *, amount: Decimal, value: Decimal) -> Pnl:
    """What entries on one account contribute (amount in the coin, value in quote, both debit +); external
    flows: nothing.
    """
    return Pnl(
        realised=-value if account is Account.REALISED else ZERO,
        funding=-value if account is Account.FUNDING else ZERO,
        interest=value if account is Account.INTEREST else ZERO,
        suspense_by_coin={coin: CoinTotal(-amount, -value)} if account is Account.SUSPENSE else {},
        # the quote side of a dust move is the coins' cost; their own side repeats it as −
        dust=value if account is Account.DUST and coin in QUOTE_COINS else ZERO,
        fees_by_coin={coin: CoinTotal(amount, value)} if account is Account.FEES else {},
    )


def unrealised(holdings: Iterable[tuple[Holding, Decimal]]) -> Decimal:
    """Σ quantity · price − cost over holdings with the price at which each is valued; before fees of
    closing.
    """
    return sum((holding.unrealised(price) for holding, price in holdings), ZERO)


@dataclass(frozen=True, slots=True)
class Capital:
    """What a position ties up: ``notional · (1 + 1/leverage + buffer)``; ``buffer`` is a fraction of
    notional.
    """

    notional: Decimal
    leverage: Decimal
    buffer: Decimal = ZERO

    @property
    def amount(self) -> Decimal:
        """In quote."""
        return self.notional * (ONE + ONE / self.leverage + self.buffer)


def net_apr(net: Decimal, capital: Decimal, *, held: timedelta) -> Decimal | None:
    """``net ÷ capital ÷ years``, simple, a fraction; None without capital or time. Never shown without the
    days beside it.
    """
    if capital <= 0 or held <= timedelta():
        return None
    return net / capital / years(held)


def days(since: datetime, until: datetime) -> Decimal:
    """The time between two instants in days, never negative."""
    return max(years(until - since) * 365, ZERO)


@dataclass(frozen=True, slots=True, kw_only=True)
class TieOut:
    """The equity identity over a span: what the equity did, and what the ledger explains of it.

    ``explained = realised + funding − fees − interest + external + Δunrealised + suspense`` over everything
    booked in between. ``pending`` is what the venue's wallet holds already and the log shows, but whose
    booking waits for another row. ``unexplained = equity_end − equity_start − explained − pending`` is zero
    exactly when the venue's wallet and positions are what the ledger says, for both ends are valued at the
    same prices.
    """

    equity_start: Decimal
    equity_end: Decimal
    realised: Decimal
    funding: Decimal
    fees: Decimal
    interest: Decimal
    external: Decimal
    unrealised_change: Decimal
    suspense: Decimal
    pending: Decimal = ZERO

    @property
    def explained(self) -> Decimal:
        """What the ledger knows of the change."""
        return (
            self.realised
            + self.funding
            - self.fees
            - self.interest
            + self.external
            + self.unrealised_change
            + self.suspense
        )

    @property
    def unexplained(self) -> Decimal:
        """What nobody has booked."""
        return self.equity_end - self.equity_start - self.explained - self.pending


def max_drawdown(equity: Iterable[Decimal]) -> Decimal | None:
    """The largest fall from a peak as a fraction of that peak, 0 or positive; None without a positive
    equity.
    """
    peak: Decimal | None = None
    deepest: Decimal | None = None
    for value in equity:
        peak = value if peak is None else max(peak, value)
        if peak > 0:
            deepest = max(deepest or ZERO, (peak - value) / peak)
    return deepest
