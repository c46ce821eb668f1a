"""The funding rate to expect: shrunk towards what was really settled, never the last print.

``r̂`` is a weighted mean of the running predicted rate and an exponentially weighted mean of settled rates,
clipped to the cap, less its standard error. Everything is counted per hour inside, as intervals change, and
given per settlement of the *current* interval. Each term is kept, so that a person can be shown why. Nothing
here knows prices or costs.

The constants come from the long samples of settled rates: an 8-hour print loses half of what it tells in
about two days, its slow part lives for weeks, and neighbouring prints are correlated at about 0.8.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

from fundarb.core.market import FundingRate, SettledFunding
from fundarb.core.money import ONE, ZERO, seconds

NAIVE_SHARE = Decimal("0.5")
PRINT_HALF_LIFE = timedelta(days=2)
"""How fast the running prediction stops telling anything about later settlements."""
SETTLED_HALF_LIFE = timedelta(days=7)
"""How fast settled rates are forgotten."""
AUTOCORRELATION = Decimal("0.8")
ERROR_MULTIPLE = ONE
"""How many standard errors are taken off."""
PRINT_BAND = Decimal(3)
"""A prediction counts at most so many standard deviations away from the settled mean."""
_LEAST_BAND = Decimal("0.0000125")
"""Per hour (1 bp in 8 h): the deviation assumed at least for the band, so that calm weeks do not mute the
prediction.
"""
_LEAST_HISTORY = 3
_LONGEST_INTERVAL = timedelta(hours=8)
_LN2 = Decimal("0.693147180559945309417232121458176568")
_HOUR = Decimal(3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """An expected rate with its arithmetic. All rates are fractions per settlement of the current interval, +
    = shorts receive.

    ``kind`` is "naive" without history (half of the clipped prediction; the settled terms are None then),
    else "shrunk": ``mean = weight·counted + (1 − weight)·settled_mean``, ``rate = clip(mean) −
    ERROR_MULTIPLE·standard_error``. ``counted`` is the clipped prediction held within the band; ``weight`` is
    its share for this horizon; ``positive_share`` is the share of settlements at which shorts received.
    """

    kind: str
    rate: Decimal
    predicted: Decimal
    counted: Decimal
    weight: Decimal
    mean: Decimal
    settled_mean: Decimal | None = None
    deviation: Decimal | None = None
    standard_error: Decimal = ZERO
    settlements: int = 0
    effective: Decimal = ZERO
    positive_share: Decimal | None = None


def print_weight(horizon: timedelta) -> Decimal:
    """The share of a horizon for which one print is informative: ``τ·(1 − 2^(−H/τ)) / (H·ln 2)``; near 1 for
    short horizons.
    """
    ratio = seconds(horizon) / seconds(PRINT_HALF_LIFE)
    return (ONE - Decimal(2) ** -ratio) / (ratio * _LN2)


def clip(rate: Decimal, cap: Decimal | None) -> Decimal:
    """The rate within ± ``cap``; unchanged where the venue names no cap."""
    return rate if cap is None else max(-cap, min(cap, rate))


def forecast(running: FundingRate, history: Sequence[SettledFunding] = (), *, weight: Decimal) -> Forecast:
    """The expected rate per settlement of the running interval.

    ``history``: settled rates, oldest first; fewer than three are no history, as their intervals cannot be
    told. ``weight`` is ``print_weight`` of the horizon, computed once for a whole market.
    """
    predicted = clip(running.rate, running.cap)
    if len(history) < _LEAST_HISTORY:
        half = NAIVE_SHARE * predicted
        return Forecast(
            kind="naive", rate=half, predicted=predicted, counted=predicted, weight=NAIVE_SHARE, mean=half
        )
    hours = seconds(running.interval) / _HOUR
    past = (history if isinstance(history, RateHistory) else RateHistory(history)).moments(running.interval)
    settled_mean, deviation = past.mean * hours, past.deviation * hours
    band = PRINT_BAND * max(deviation, _LEAST_BAND * hours)
    counted = max(settled_mean - band, min(settled_mean + band, predicted))
    mean = clip(weight * counted + (ONE - weight) * settled_mean, running.cap)
    error = deviation * (weight**2 + (ONE - weight) ** 2 / past.effective).sqrt()
    return Forecast(
        kind="shrunk",
        rate=mean - ERROR_MULTIPLE * error,
        predicted=predicted,
        counted=counted,
        weight=weight,
        mean=mean,
        settled_mean=settled_mean,
        deviation=deviation,
        standard_error=error,
        settlements=len(history),
        effective=past.effective,
        positive_share=Decimal(past.positive) / len(history),
    )


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments of settled rates per hour, how many independent observations they are worth, and at how many
    settlements shorts received.
    """

    mean: Decimal
    deviation: Decimal
    effective: Decimal
    positive: int


class RateHistory(tuple[SettledFunding, ...]):  # noqa: SLOT001 - a tuple takes no slots but empty ones
    """Settled rates of one perp, oldest first, whose moments are worked out once: a market is judged many
    times between two settlements.
    """

    def __init__(self, rows: Iterable[SettledFunding] = ()) -> None:  # noqa: ARG002 - the tuple took them
        """Nothing is worked out yet."""
        self._moments: dict[timedelta, Moments] = {}

    def moments(self, current: timedelta) -> Moments:
        """The moments, for a running interval of ``current`` (which counts where no distance tells one)."""
        known = self._moments.get(current)
        if known is None:
            known = self._moments[current] = _settled(self, current)
        return known


def _settled(history: Sequence[SettledFunding], current: timedelta) -> Moments:
    """Exponentially weighted moments of the rates per hour, each weighted with the hours that it covered."""
    covered: dict[timedelta, Decimal] = {}
    fading: dict[timedelta, Decimal] = {}
    total = squares = weights = weights_squared = ZERO
    before = None
    for row, interval in zip(history, intervals(history, current), strict=True):
        hours = covered.get(interval)
        if hours is None:
            hours = covered[interval] = seconds(interval) / _HOUR
        rate = row.rate / hours
        if before is not None:
            gap = row.time - before
            fade = fading.get(gap)
            if fade is None:
                fade = fading[gap] = Decimal(2) ** (-seconds(gap) / seconds(SETTLED_HALF_LIFE))
            total, squares, weights = total * fade, squares * fade, weights * fade
            weights_squared *= fade * fade
        total += hours * rate
        squares += hours * rate * rate
        weights += hours
        weights_squared += hours * hours
        before = row.time
    mean = total / weights
    independent = weights * weights / weights_squared * (ONE - AUTOCORRELATION) / (ONE + AUTOCORRELATION)
    spread = max(squares / weights - mean * mean, ZERO)
    positive = sum(row.rate > ZERO for row in history)
    return Moments(mean, spread.sqrt(), max(independent, ONE), positive)


def intervals(history: Sequence[SettledFunding], current: timedelta) -> list[timedelta]:
    """The interval that each settled rate was for, told by its distance from the one before.

    A distance above eight hours is a gap in the records: the neighbouring interval stands in, ``current`` if
    there is none. The first row takes the interval of the second.
    """
    known: list[timedelta | None] = [None]
    for older, newer in pairwise(history):
        gap = newer.time - older.time
        known.append(gap if timedelta(0) < gap <= _LONGEST_INTERVAL else None)
    last = next((told for told in known if told is not None), current)
    result = []
    for told in known:
        last = last if told is None else told
        result.append(last)
    return result
