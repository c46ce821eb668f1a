"""Measures a synthetic market as the recorded one was measured: the same definitions, the same units.

``measure`` gives one number for each line of the table; the figures of the real market and how far from them
the synthetic one may be stand in ``TARGETS``. Rates and basis are in basis points, returns hourly and in
percent.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from math import log

from fundarb.core.market import Category, average_price
from fundarb.markets.faces import Face
from fundarb.markets.synthetic import SyntheticMarket, synthetic

HOUR = timedelta(hours=1)
SEEDS = (1, 2, 3, 4, 5, 6)
DAYS = 180
"""Measured is the time before the start: afterwards the script's accidents would count."""


@dataclass(frozen=True, slots=True)
class Target:
    """One line: what is measured, what the real market has (text), between which figures this one must
    lie.
    """

    name: str
    real: str
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One perp over the measured time; ``rates`` per settlement and scaled to eight hours."""

    symbol: str
    tier: str
    hours: int
    returns: list[float]
    basis: list[float]
    rates: list[float]

    @property
    def winsorised(self) -> list[float]:
        """Rates with the outer 1 % on both sides set to these quantiles."""
        ordered = sorted(self.rates)
        low, high = ordered[len(ordered) // 100], ordered[-1 - len(ordered) // 100]
        return [min(max(rate, low), high) for rate in self.rates]


def series_of(market: SyntheticMarket, start: datetime, *, days: int = DAYS) -> list[Series]:
    """Every carriable perp (spot and perp of one coin), with its history before the start."""
    found = []
    for symbol, face in market._faces[Category.LINEAR].items():
        coin = face.model.coin
        if not coin.spot or coin.symbol_type or coin.prelaunch:
            continue
        span = range(-24 * days, 1)
        logs = [face.model.log_price(hour) for hour in span]
        rows = market.settlements(symbol, start - 24 * days * HOUR, until=start)
        found.append(
            Series(
                symbol=symbol,
                tier=coin.tier,
                hours=coin.hours,
                returns=[100 * (b - a) for a, b in pairwise(logs)],
                basis=[1e4 * face.model.premium(hour) for hour in span],
                rates=[float(row.rate) * 1e4 * 8 / coin.hours for row in rows],
            )
        )
    return found


# ------------------------------------------------------------------------------------------------ arithmetic


def autocorrelation(values: Sequence[float], lag: int) -> float:
    """Sample autocorrelation; zero for a constant."""
    mean = statistics.fmean(values)
    total = sum((value - mean) ** 2 for value in values)
    top = sum((a - mean) * (b - mean) for a, b in zip(values, values[lag:], strict=False))
    return top / total if total else 0.0


def kurtosis(values: Sequence[float]) -> float:
    """Excess kurtosis."""
    mean = statistics.fmean(values)
    square = statistics.fmean([(value - mean) ** 2 for value in values])
    return statistics.fmean([(value - mean) ** 4 for value in values]) / square**2 - 3


def hill(values: Iterable[float]) -> float:
    """Hill tail index from the top 1 % of absolute values."""
    ordered = sorted((abs(value) for value in values), reverse=True)
    count = max(10, len(ordered) // 100)
    return count / sum(log(value / ordered[count]) for value in ordered[:count])


def negative_runs(rates: Iterable[float]) -> list[int]:
    """Lengths of the maximal rows of rates below zero."""
    runs, length = [], 0
    for rate in (*rates, 1.0):
        if rate < 0:
            length += 1
        elif length:
            runs.append(length)
            length = 0
    return runs


def share(flags: Iterable[bool]) -> float:
    """Percent of true ones."""
    found = list(flags)
    return 100 * sum(found) / len(found)


def half_life(values: Sequence[float]) -> float:
    """Hours until a deviation is halved, from the correlation over one day."""
    over_a_day = min(max(autocorrelation(values, 24), 1e-6), 0.999)
    return 24 * log(0.5) / log(over_a_day)


def _median(values: Iterable[float]) -> float:
    return statistics.median(list(values))


def _correlations(columns: Sequence[Sequence[float]]) -> float:
    """Mean correlation of all pairs: from the variance of the sum of the standardised columns."""
    moving = [column for column in columns if len(set(column)) > 1]
    count, length = len(moving), len(moving[0])
    total = [0.0] * length
    for column in moving:
        mean, sd = statistics.fmean(column), statistics.pstdev(column)
        total = [so_far + (value - mean) / sd for so_far, value in zip(total, column, strict=True)]
    variance = sum(value * value for value in total) / length
    return (variance - count) / (count * (count - 1))


def _ranks(values: Sequence[float]) -> list[float]:
    """Ranks, ties by their mean."""
    order = sorted(range(len(values)), key=lambda place: values[place])
    ranks = [0.0] * len(values)
    first = 0
    for last in range(1, len(order) + 1):
        if last == len(order) or values[order[last]] != values[order[first]]:
            for place in order[first:last]:
                ranks[place] = (first + last - 1) / 2
            first = last
    return ranks


# ------------------------------------------------------------------------------------------------ measures


def of_prices(series: list[Series]) -> dict[str, float]:
    """Returns: size, tails, clustering, common movement."""
    btc = next(item for item in series if item.symbol == "BTCUSDT")
    alts = [item for item in series if item.tier in {"C", "D", "E"}]
    quiet = [[abs(value) for value in item.returns] for item in series]
    return {
        "hourly sd, BTC, %": statistics.pstdev(btc.returns),
        "hourly sd, alts, %": _median(statistics.pstdev(item.returns) for item in alts),
        "excess kurtosis": _median(kurtosis(item.returns) for item in series),
        "Hill tail index": _median(hill(item.returns) for item in series),
        "ACF of |r| at 1 h": _median(autocorrelation(item, 1) for item in quiet),
        "ACF of |r| at 24 h": _median(autocorrelation(item, 24) for item in quiet),
        "correlation with BTC": _median(statistics.correlation(btc.returns, item.returns) for item in alts),
        "beta to BTC": _median(
            statistics.covariance(btc.returns, item.returns) / statistics.variance(btc.returns)
            for item in alts
        ),
        "correlation of two alts": _correlations([item.returns for item in alts]),
    }


def of_funding(series: list[Series]) -> dict[str, float]:
    """Rates: the lump at the default, signs, persistence, common movement."""
    found: dict[str, float] = {}
    for tier in "ABCDE":
        rates = [rate for item in series if item.tier == tier and item.hours == 8 for rate in item.rates]
        found[f"rate = default, tier {tier}, %"] = share(abs(rate - 1) < 1e-6 for rate in rates)
        found[f"rate < 0, tier {tier}, %"] = share(rate < 0 for rate in rates)
        found[f"mean rate, tier {tier}, bp"] = statistics.fmean(rates)
        found[f"sd of rates, tier {tier}, bp"] = statistics.pstdev(rates)
    eight = [item for item in series if item.hours == 8]
    runs = [length for item in eight for length in negative_runs(item.rates)]
    after = [b < 0 for item in eight for a, b in pairwise(item.rates) if a < 0]
    found |= {
        "AR(1) of rates, winsorised": _median(autocorrelation(item.winsorised, 1) for item in eight),
        "ACF of rates at 1 day": _median(autocorrelation(item.winsorised, 3) for item in eight),
        "ACF of rates at 7 days": _median(autocorrelation(item.winsorised, 21) for item in eight),
        "P(- after -), %": share(after),
        "mean negative run": statistics.fmean(runs),
        "95 % of negative runs": float(sorted(runs)[len(runs) * 95 // 100]),
        "correlation of two coins' rates": _correlations([item.winsorised for item in eight]),
        "rates <= -30 bp, tiers D and E, per mille": 10
        * share(rate <= -30 for item in eight if item.tier in "DE" for rate in item.rates),
        "carry a year, median coin, %": _median(
            sum(item.rates) / len(item.rates) * 3 * 365 / 100 for item in series
        ),
        "coins with carry above 0, %": share(sum(item.rates) > 0 for item in series),
        "perps at 4 h or less, %": share(item.hours < 8 for item in series),
    }
    return found


def of_basis(series: list[Series]) -> dict[str, float]:
    """Perp against spot."""
    majors = [item for item in series if item.tier == "A"]
    alts = [item for item in series if item.tier in {"B", "C"}]
    linked = []
    for item in (*majors, *alts):
        span = item.hours
        means = [
            statistics.fmean(item.basis[n - span + 1 : n + 1]) for n in range(span, len(item.basis), span)
        ]
        rates = item.rates[-len(means) :]
        linked.append(statistics.correlation(_ranks(means[-len(rates) :]), _ranks(rates)))
    return {
        "mean basis, majors, bp": _median(statistics.fmean(item.basis) for item in majors),
        "sd of basis, majors, bp": _median(statistics.pstdev(item.basis) for item in majors),
        "sd of basis, tiers B and C, bp": _median(statistics.pstdev(item.basis) for item in alts),
        "ACF of basis at 1 h": _median(autocorrelation(item.basis, 1) for item in majors),
        "ACF of basis at 24 h": _median(autocorrelation(item.basis, 24) for item in majors),
        "half-life of basis, h": _median(half_life(item.basis) for item in majors),
        "rank correlation of rate and basis": _median(linked),
    }


def of_books(market: SyntheticMarket, start: datetime) -> dict[str, float]:
    """Spreads and the cost of market orders at some instants, perps of a tier pooled."""
    spreads: dict[str, list[float]] = {}
    costs: dict[tuple[str, int], list[float]] = {}
    for number in range(10):
        at = start - number * 61 * HOUR + timedelta(seconds=17)
        for symbol, face in market._faces[Category.LINEAR].items():
            tier = face.model.coin.tier
            book = market.book(Category.LINEAR, symbol, at=at, depth=100)
            spread = float((book.asks[0].price - book.bids[0].price) / book.mid) * 1e4
            spreads.setdefault(tier, []).append(spread)
            for money in (10_000, 100_000):
                paid = average_price(book.asks, Decimal(money) / book.mid)
                if paid is not None:
                    costs.setdefault((tier, money), []).append(float(paid / book.mid - 1) * 1e4)
    found = {f"spread of perps, tier {tier}, bp": _median(spreads[tier]) for tier in "ABCDE"}
    found |= {f"cost of 10 k USD, tier {tier}, bp": _median(costs[tier, 10_000]) for tier in "ABCDE"}
    found |= {f"cost of 100 k USD, tier {tier}, bp": _median(costs[tier, 100_000]) for tier in "ABC"}
    return found


def of_filters(market: SyntheticMarket) -> dict[str, float]:
    """Ticks and steps in money, and how spot and perp of a coin fit together."""
    faces: dict[Category, dict[str, Face]] = market._faces
    tick: dict[Category, list[float]] = {kind: [] for kind in Category}
    step: dict[Category, list[float]] = {kind: [] for kind in Category}
    for kind in Category:
        for face in faces[kind].values():
            price = face.model.base * face.multiplier
            tick[kind].append(1e4 * face.ladder.tick.size / price)
            step[kind].append(face.ladder.step.size * price)
    spots = {face.model.coin.name: face for face in faces[Category.SPOT].values()}
    ratios = [
        face.ladder.step.size * face.multiplier / spots[face.model.coin.name].ladder.step.size
        for face in faces[Category.LINEAR].values()
        if face.model.coin.name in spots
    ]
    return {
        "tick of perps, bp": _median(tick[Category.LINEAR]),
        "tick of spot, bp": _median(tick[Category.SPOT]),
        "step of perps, USD": _median(step[Category.LINEAR]),
        "step of spot, USD": _median(step[Category.SPOT]),
        "perp step / spot step": _median(ratios),
        "perp step is the coarser one, %": share(ratio > 1.001 for ratio in ratios),
        "perps with a spot pair, %": share(
            face.model.coin.name in spots for face in faces[Category.LINEAR].values()
        ),
    }


def measure(seed: int, start: datetime, *, days: int = DAYS) -> dict[str, float]:
    """Every line of the table for one seed."""
    market = synthetic(seed, start)
    series = series_of(market, start, days=days)
    parts: tuple[Callable[[list[Series]], dict[str, float]], ...] = (of_prices, of_funding, of_basis)
    found = of_books(market, start) | of_filters(market)
    for part in parts:
        found |= part(series)
    return found


def table(targets: Sequence[Target], found: Sequence[dict[str, float]]) -> str:
    """The table of the documentation: name, real market, tolerance, and the mean and range over the seeds."""
    lines = [
        "| figure | recorded market | tolerance | synthetic (range of seeds) |",
        "| --- | --- | --- | --- |",
    ]
    for target in targets:
        values = [row[target.name] for row in found]
        shown = f"{statistics.fmean(values):.3g} ({min(values):.3g} to {max(values):.3g})"
        lines.append(f"| {target.name} | {target.real} | {target.low:g} to {target.high:g} | {shown} |")
    return "\n".join(lines)
