"""How like the real market the synthetic one is: every figure within its stated tolerance, over three
seeds.
"""

from __future__ import annotations

import statistics
from datetime import UTC, datetime

import pytest

from tests.markets.likeness import SEEDS, Target, measure, table

START = datetime(2025, 1, 6, tzinfo=UTC)

TARGETS = (
    # returns (hourly; mostly Bybit perps 2024-05..08 by tier, else longer windows)
    Target("hourly sd, BTC, %", "0.53; by year 0.46 to 0.92", 0.42, 0.80),
    Target("hourly sd, alts, %", "0.88 to 0.96 (0.6 to 1.6)", 0.80, 1.30),
    Target("excess kurtosis", "5 to 21; 22 to 56 over five years", 4.0, 56.0),
    Target("Hill tail index", "2.7 to 3.7", 2.5, 4.2),
    Target("ACF of |r| at 1 h", "0.2 to 0.35", 0.15, 0.35),
    Target("ACF of |r| at 24 h", "0.1 to 0.2", 0.04, 0.20),
    Target("correlation with BTC", "0.66 to 0.72 (0.44 to 0.85)", 0.55, 0.80),
    Target("beta to BTC", "1.07 to 1.13 (0.8 to 2.1)", 0.95, 1.40),
    Target("correlation of two alts", "0.63", 0.53, 0.73),
    # funding (per eight hours; Bybit 2024-05..08 by tier, runs over longer windows)
    Target("rate = default, tier A, %", "45", 30, 65),
    Target("rate = default, tier B, %", "63", 40, 75),
    Target("rate = default, tier C, %", "51", 40, 70),
    Target("rate = default, tier D, %", "65", 55, 80),
    Target("rate = default, tier E, %", "79", 70, 90),
    Target("rate < 0, tier A, %", "18", 10, 28),
    Target("rate < 0, tier B, %", "8 to 32", 8, 28),
    Target("rate < 0, tier C, %", "21", 18, 28),
    Target("rate < 0, tier D, %", "14", 8, 24),
    Target("rate < 0, tier E, %", "9", 4, 16),
    Target("mean rate, tier A, bp", "0.6 (by year 0.2 to 3.9)", 0.2, 1.2),
    Target("mean rate, tier B, bp", "0.1 to 1.4", 0.2, 1.6),
    Target("mean rate, tier C, bp", "0.44 (-0.7 to 0.8)", 0.1, 0.5),
    Target("mean rate, tier D, bp", "0.62", 0.1, 1.1),
    Target("mean rate, tier E, bp", "0.61", 0.1, 1.1),
    Target("sd of rates, tier A, bp", "0.67; 0.55 to 1.7 by year", 0.5, 1.7),
    Target("sd of rates, tier B, bp", "0.55 to 2.2 (WIF 5.7)", 0.8, 3.0),
    Target("sd of rates, tier C, bp", "1.1", 0.7, 2.3),
    Target("sd of rates, tier D, bp", "1.1", 0.7, 2.3),
    Target("sd of rates, tier E, bp", "4.0", 1.5, 6.0),
    Target("AR(1) of rates, winsorised", "0.4 to 0.7 within months", 0.40, 0.75),
    Target("ACF of rates at 1 day", "0.19 to 0.48", 0.15, 0.50),
    Target("ACF of rates at 7 days", "0.01 to 0.18", -0.05, 0.25),
    Target("P(- after -), %", "20 to 66", 35, 66),
    Target("mean negative run", "1.3 to 3", 1.5, 3.0),
    Target("95 % of negative runs", "4 to 10", 4, 10),
    Target("correlation of two coins' rates", "0.17 (0.17 to 0.34 in calm years)", 0.08, 0.35),
    Target("rates <= -30 bp, tiers D and E, per mille", "1.1 (SKL 4.4)", 0.3, 4.5),
    Target("carry a year, median coin, %", "7.9; 0.8 to 13.9 by year", 3.0, 12.0),
    Target("coins with carry above 0, %", "89 to 94", 80, 100),
    Target("perps at 4 h or less, %", "18 (7 of 39)", 8, 25),
    # basis: perp by spot, less one
    Target("mean basis, majors, bp", "-4.3 to +1", -5.0, 2.0),
    Target("sd of basis, majors, bp", "2.2 to 7.2", 2.0, 7.0),
    Target("sd of basis, tiers B and C, bp", "5 to 7", 2.5, 8.0),
    Target("ACF of basis at 1 h", "0.83 to 0.96", 0.83, 0.985),
    Target("ACF of basis at 24 h", "0.55 to 0.89", 0.50, 0.90),
    Target("half-life of basis, h", "34 to 143 (from the ACF at 24 h)", 30, 150),
    Target("rank correlation of rate and basis", "0.74 to 0.95", 0.74, 0.97),
    # books of perps (recorded minutes of single days: orders of size)
    Target("spread of perps, tier A, bp", "0.02 to 0.3", 0.02, 0.30),
    Target("spread of perps, tier B, bp", "0.5 to 0.7", 0.4, 1.3),
    Target("spread of perps, tier C, bp", "0.2 to 1.3", 0.5, 2.5),
    Target("spread of perps, tier D, bp", "0.3 to 4, one tick", 1.5, 4.0),
    Target("spread of perps, tier E, bp", "1.4 to 8, one tick", 3.0, 8.0),
    Target("cost of 10 k USD, tier A, bp", "0.01 to 0.2", 0.01, 0.2),
    Target("cost of 10 k USD, tier B, bp", "0.3 to 0.5", 0.3, 1.2),
    Target("cost of 10 k USD, tier C, bp", "0.5 to 1.0", 0.5, 2.0),
    Target("cost of 10 k USD, tier D, bp", "0.4", 0.4, 5.0),
    Target("cost of 10 k USD, tier E, bp", "2.8", 2.0, 9.0),
    Target("cost of 100 k USD, tier A, bp", "0.01 to 0.9", 0.05, 0.9),
    Target("cost of 100 k USD, tier B, bp", "1.7 to 3.7", 1.2, 4.0),
    Target("cost of 100 k USD, tier C, bp", "1.2 to 3.6", 1.2, 8.0),
    # instruments (606 perps, 724 spot pairs)
    Target("tick of perps, bp", "1.7 (0.5 to 4.2)", 0.7, 3.0),
    Target("tick of spot, bp", "2.7 (0.5 to 9.6)", 1.0, 5.0),
    Target("step of perps, USD", "0.28 (0.02 to 2.1)", 0.1, 1.0),
    Target("step of spot, USD", "0.010 (0.001 to 0.108)", 0.002, 0.05),
    Target("perp step / spot step", "100 (10 to 100)", 10, 100),
    Target("perp step is the coarser one, %", "92", 85, 100),
    Target("perps with a spot pair, %", "56; here a market for carry", 80, 95),
)
"""What the synthetic market has to look like. The real figures are of Bybit to August 2025 where it was
recorded.
"""


def beyond(found: list[dict[str, float]]) -> list[tuple[str, list[float]]]:
    """Figures whose mean is outside the bounds, or of which one seed is off by more than half their
    distance.
    """
    wrong = []
    for target in TARGETS:
        values = [row[target.name] for row in found]
        slack = (target.high - target.low) / 2
        near = target.low - slack <= min(values) <= max(values) <= target.high + slack
        if not near or (len(found) > 1 and not target.low <= statistics.fmean(values) <= target.high):
            wrong.append((target.name, values))
    return wrong


@pytest.mark.proof
def test_one_seed_looks_like_the_real_market(capsys: pytest.CaptureFixture[str]) -> None:
    """Three months of one seed: nothing is off by more than half the width of its tolerance; prints the
    table.
    """
    found = [measure(1, START, days=90)]
    with capsys.disabled():
        print("\n" + table(TARGETS, found))  # noqa: T201 - the table is what this test is for
    assert {target.name for target in TARGETS} == set(found[0])
    assert beyond(found) == []


@pytest.mark.proof
def test_several_seeds_look_like_the_real_market(capsys: pytest.CaptureFixture[str]) -> None:
    """Half a year of six seeds: the mean of every figure is within its tolerance, and no seed is far off."""
    found = [measure(seed, START) for seed in SEEDS]
    with capsys.disabled():
        print("\n" + table(TARGETS, found))  # noqa: T201 - as above
    assert beyond(found) == []


def test_the_measures_measure() -> None:
    """Series whose figures are known."""
    from tests.markets.likeness import autocorrelation, half_life, hill, kurtosis, negative_runs

    assert negative_runs([1, -1, -2, 3, -1]) == [2, 1]
    assert autocorrelation([1.0, -1.0] * 50, 1) < -0.9
    assert abs(half_life([0.5 ** (n / 24) for n in range(24 * 40)]) - 24) < 2
    assert kurtosis([1.0, -1.0] * 50) == -2
    assert hill([(n / 1000) ** -0.5 for n in range(1, 1001)]) > 1.5
