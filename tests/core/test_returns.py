"""The Sharpe ratio and its robust error: known values, what scaling does, and what autocorrelation does."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.returns import FEWEST, lags_for, long_run_variance, sharpe

D = Decimal
BASIS_POINTS = (12, 15, 9, -4, 22, 18, 17, -30, 5, 8, 13, 11, -2, 7, 16, 21, 19, 3, -8, 10)
CALM = [D(item) / 10_000 for item in BASIS_POINTS]
TINY = D("1e-40")
many = st.lists(st.decimals("-0.05", "0.05", places=6), min_size=FEWEST, max_size=40)


def test_known_values() -> None:
    """Mean 8 bp and deviation 11.7 bp a day; the error without lags is that of Mertens, by skewness and
    kurtosis.
    """
    found = sharpe(CALM, lags=0)
    assert found is not None
    mean = sum(CALM, D(0)) / 20
    moments = [sum(((value - mean) ** power for value in CALM), D(0)) / 20 for power in (2, 3, 4)]
    daily = mean / moments[0].sqrt()
    skew, kurtosis = moments[1] / moments[0].sqrt() ** 3, moments[2] / moments[0] ** 2
    error = ((1 - skew * daily + (kurtosis - 1) / 4 * daily**2) / 20).sqrt()
    assert abs(found.ratio - daily * D(365).sqrt()) < TINY
    assert abs(found.error - error * D(365).sqrt()) < TINY
    assert (found.days, found.lags, round(found.ratio, 4)) == (20, 0, D("13.0467"))


def test_long_run_variance_is_newey_and_wests() -> None:
    """What statsmodels makes of these values with two lags (``cov_type="HAC"``)."""
    mean = sum(CALM, D(0)) / 20
    found = long_run_variance([value - mean for value in CALM], 2)
    assert abs(found - D("0.00000119932")) < D("1e-18")


@pytest.mark.parametrize(("days", "lags"), [(10, 2), (29, 3), (100, 4), (365, 5), (1000, 6)])
def test_lags_grow_slowly(days: int, lags: int) -> None:
    """Newey and West's rule of thumb."""
    assert lags_for(days) == lags


@given(many, st.integers(2, 50))
def test_the_ratio_has_no_unit(values: list[Decimal], factor: int) -> None:
    """Returns of a position k times as large have the same ratio and the same error; losses mirror gains."""
    one, other = sharpe(values), sharpe([value * factor for value in values])
    mirrored = sharpe([-value for value in values])
    if one is None:
        assert other is None
        return
    assert other is not None
    assert mirrored is not None
    assert abs(one.ratio - other.ratio) < TINY * 10**6
    assert abs(one.error - other.error) < TINY * 10**6
    assert abs(one.ratio + mirrored.ratio) < TINY * 10**6
    assert one.error >= 0


def test_persistent_returns_are_less_certain() -> None:
    """The same returns in long runs instead of mixed: the same ratio, a larger error, a smaller long-run
    ratio.
    """
    mixed = [D(5 if day % 2 else -3) / 10_000 for day in range(60)]
    mixed[0] = D("0.0001")
    found, runs = sharpe(mixed), sharpe(sorted(mixed))
    assert found is not None
    assert runs is not None
    assert abs(found.ratio - runs.ratio) < TINY
    assert runs.error > found.error
    assert runs.long_run is not None
    assert runs.long_run < runs.ratio


def test_too_few_or_equal_returns_have_no_ratio() -> None:
    """Nine days, or days that are all the same, say nothing about risk."""
    assert sharpe([D(day) / 1000 for day in range(FEWEST - 1)]) is None
    assert sharpe([D("0.001")] * 30) is None


def test_returns_that_cancel_have_no_long_run_ratio() -> None:
    """Where the long-run variance vanishes, only the daily ratio is left."""
    assert long_run_variance([D(0)] * 12, 2) == 0
