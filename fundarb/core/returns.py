"""Statistics of an equity curve: time-weighted returns, and the Sharpe ratio with a standard error that holds
under autocorrelation, in exact arithmetic.

A return must not depend on when money was put in or taken out, so the returns between the points of a curve
are chained: the time-weighted rate of return (Bank Administration Institute, "Measuring the Investment
Performance of Pension Funds", 1968; Bacon, "Practical Portfolio Performance Measurement and Attribution",
2008, on time-weighted returns).

Carry returns are autocorrelated, for funding rates are, so the textbook error of a Sharpe ratio is far too
small. Sources: Lo, "The Statistics of Sharpe Ratios", Financial Analysts Journal 58(4), 2002, equations 10 to
16 (the ratio as a function of two moments, its error by the delta method); Newey and West, Econometrica
55(3), 1987 (the Bartlett kernel), and Review of Economic Studies 61(4), 1994 (how many lags).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from fundarb.core.money import ONE, ZERO

DAYS: Final = 365
"""Markets of coins never close: returns are annualised over all days of a year."""
FEWEST: Final = 10
"""Below so many full days no ratio is shown."""
_RATE_CONSTANT: Final = Decimal(4)
_RATE_POWER: Final = Decimal(2) / Decimal(9)


def growth(equity: Decimal, *, flow: Decimal, gain: Decimal) -> Decimal | None:
    """By which factor money grew between two points: 1 + gain ÷ (equity before + flow).

    ``flow`` is what was deposited less what was withdrawn in between, taken for there from the beginning on;
    ``gain`` what the equity changed beyond it. None where there was nothing to grow: that is no return of
    zero. Nothing gained on nothing leaves a chain as it is.
    """
    base = equity + flow
    if base > ZERO:
        return ONE + gain / base
    return ONE if not base and not gain else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharpe:
    """``ratio`` = √365 · mean ÷ standard deviation of the daily returns, risk-free rate zero; ``error`` its
    standard error, robust against autocorrelation and unequal variance; ``long_run`` the same ratio with the
    long-run deviation in place of the daily one, which is what a year of autocorrelated days amounts to.
    """

    ratio: Decimal
    error: Decimal
    long_run: Decimal | None
    days: int
    lags: int


def sharpe(returns: Sequence[Decimal], *, lags: int | None = None) -> Sharpe | None:
    """Of daily returns as fractions, oldest first; None of too few, or where they do not vary. ``lags`` None:
    as many as such a number of days asks for.
    """
    count = len(returns)
    if count < FEWEST:
        return None
    mean = statistics.mean(returns)
    variance = statistics.pvariance(returns, mean)
    if variance <= ZERO:
        return None
    lags = lags_for(count) if lags is None else lags
    deviation = variance.sqrt()
    moved = [value - mean for value in returns]
    spread = [value * value - variance for value in moved]
    # ∂(μ/σ)/∂μ = 1/σ, ∂(μ/σ)/∂σ² = −μ/(2σ³): each day's part in the error of the ratio
    influence = [
        one / deviation - mean * two / (2 * variance * deviation)
        for one, two in zip(moved, spread, strict=True)
    ]
    year = Decimal(DAYS).sqrt()
    whole = long_run_variance(moved, lags)
    return Sharpe(
        ratio=year * mean / deviation,
        error=year * (max(long_run_variance(influence, lags), ZERO) / count).sqrt(),
        long_run=year * mean / whole.sqrt() if whole > ZERO else None,
        days=count,
        lags=lags,
    )


def lags_for(count: int) -> int:
    """How many lags matter in so many days: ⌊4 · (days/100)^(2/9)⌋."""
    return int(_RATE_CONSTANT * (Decimal(count) / 100) ** _RATE_POWER)


def long_run_variance(values: Sequence[Decimal], lags: int) -> Decimal:
    """Newey and West's estimate for values of mean zero: γ₀ + 2 Σ (1 − l/(lags+1)) γₗ; never negative."""
    count = len(values)
    total = _covariance(values, 0)
    for lag in range(1, min(lags, count - 1) + 1):
        total += 2 * (ONE - Decimal(lag) / (lags + 1)) * _covariance(values, lag)
    return total


def _covariance(values: Sequence[Decimal], lag: int) -> Decimal:
    """γ of a lag, divided by the whole count."""
    pairs = zip(values[lag:], values, strict=False)
    return sum((one * other for one, other in pairs), ZERO) / len(values)
