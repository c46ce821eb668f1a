"""The bare arithmetic of an opportunity: cost, settlements, net yield, break-even. All ratios
are fractions of notional.

Each result keeps its terms. Nothing here knows coins, rankings or limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal

from fundarb.core.account import FeeRates
from fundarb.core.market import Book, FundingRate, Level, Quote, average_price, depth_at
from fundarb.core.money import ONE, ZERO

YEAR = timedelta(days=365)
_NONE = timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """A round trip, term by term: taker fees per leg and direction, and impact against mid (the half-spread
    is in it).
    """

    spot_fee: Decimal
    perp_fee: Decimal
    spot_buy: Decimal
    spot_sell: Decimal
    perp_sell: Decimal
    perp_buy: Decimal

    @property
    def fees(self) -> Decimal:
        """Four taker fees."""
        return 2 * (self.spot_fee + self.perp_fee)

    @property
    def impact(self) -> Decimal:
        """Four times from mid to the average price of the size."""
        return self.spot_buy + self.perp_sell + self.spot_sell + self.perp_buy

    @property
    def total(self) -> Decimal:
        """``C``: the round-trip cost; no basis in it."""
        return self.fees + self.impact


@dataclass(frozen=True, slots=True)
class LegCost:
    """One leg's impact, and the quote value that both of its sides offer within the cap."""

    buy: Decimal
    sell: Decimal
    depth: Decimal


def leg_cost(quote: Quote, book: Book | None, *, quantity: Decimal, cap: Decimal) -> LegCost:
    """Impact of buying and of selling ``quantity`` base units, and the depth within ``cap`` of the best
    prices.

    Without a book, or with a crossed one, the best prices stand for all (impact is half the spread) and the
    best sizes are the depth. A book that holds less than ``quantity`` is averaged as far as it goes; its
    depth then shows the shortfall.
    """
    if book is None or book.crossed:
        half = (quote.ask - quote.bid) / (quote.ask + quote.bid)
        return LegCost(half, half, min(quote.ask * quote.ask_size, quote.bid * quote.bid_size))
    mid = book.mid
    return LegCost(
        _average(book.asks, quantity) / mid - ONE,
        ONE - _average(book.bids, quantity) / mid,
        min(
            depth_at(book.asks, book.asks[0].price * (ONE + cap), buying=True),
            depth_at(book.bids, book.bids[0].price * (ONE - cap), buying=False),
        ),
    )


def _average(levels: tuple[Level, ...], quantity: Decimal) -> Decimal:
    """The average price of ``quantity``, or of everything there is."""
    price = average_price(levels, quantity)
    if price is not None:
        return price
    held = sum((level.quantity for level in levels), ZERO)
    return sum((level.price * level.quantity for level in levels), ZERO) / held


def costs(spot: LegCost, perp: LegCost, *, spot_fees: FeeRates, perp_fees: FeeRates) -> Costs:
    """The round trip of both legs, all taker, the exit assumed like the entry."""
    return Costs(
        spot_fee=spot_fees.taker,
        perp_fee=perp_fees.taker,
        spot_buy=spot.buy,
        spot_sell=spot.sell,
        perp_sell=perp.sell,
        perp_buy=perp.buy,
    )


def basis(*, perp_mid: Decimal, spot_mid: Decimal, multiplier: Decimal) -> Decimal:
    """``mid_perp/(m·mid_spot) − 1``: what the perp stands above the coins it hedges."""
    return perp_mid / (multiplier * spot_mid) - ONE


def settlements(funding: FundingRate, *, now: datetime, horizon: timedelta) -> int:
    """``n(H)``: the settlements in ``(now, now + horizon]``, from the next one on at the *current* interval.

    There is no accrual: a position must exist at the instant.
    """
    left = horizon - (funding.next_time - now)
    return left // funding.interval + 1 if left >= _NONE else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Yield:
    """What holding over the horizon should bring.

    ``net = rate·settlements − cost + basis_gain``, all fractions of notional; ``net_apr`` is on capital,
    simple; ``gross_apr`` is ``rate`` over a year on notional. Break-even is None where the expected rate is
    not positive.
    """

    rate: Decimal
    settlements: int
    funding: Decimal
    cost: Decimal
    basis_gain: Decimal
    net: Decimal
    capital: Decimal
    net_apr: Decimal
    gross_apr: Decimal
    break_even_settlements: int | None
    break_even_after: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """How long capital is tied up, how much of it per unit of notional, and their product (in
    microseconds).
    """

    now: datetime
    horizon: timedelta
    capital: Decimal
    capital_time: Decimal

    @classmethod
    def of(cls, *, now: datetime, horizon: timedelta, leverage: Decimal, buffer: Decimal) -> Holding:
        """Capital ``1 + 1/L + buffer``; the horizon must be positive."""
        capital = ONE + ONE / leverage + buffer
        return cls(
            now=now, horizon=horizon, capital=capital, capital_time=capital * Decimal(horizon // _TICK)
        )


_TICK = timedelta(microseconds=1)
_YEAR_TICKS = Decimal(YEAR // _TICK)


def yield_of(
    rate: Decimal, funding: FundingRate, *, cost: Decimal, basis_gain: Decimal, holding: Holding
) -> Yield:
    """The yield of an expected ``rate`` per settlement; ``basis_gain`` is ``b_in − E[b_out]``."""
    count = settlements(funding, now=holding.now, horizon=holding.horizon)
    earned = rate * count
    net = earned - cost + basis_gain
    needed, after = None, None
    if rate > ZERO:
        needed = max(int((cost / rate).to_integral_value(ROUND_CEILING)), 0)
        after = (needed - 1) * funding.interval + (funding.next_time - holding.now) if needed else _NONE
    return Yield(
        rate=rate,
        settlements=count,
        funding=earned,
        cost=cost,
        basis_gain=basis_gain,
        net=net,
        capital=holding.capital,
        net_apr=net * _YEAR_TICKS / holding.capital_time,
        gross_apr=rate * _YEAR_TICKS / Decimal(funding.interval // _TICK),
        break_even_settlements=needed,
        break_even_after=after,
    )
