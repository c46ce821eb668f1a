"""The expected rate: shrunk towards what was settled, with the current interval, never the last print."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.forecast import RateHistory, clip, forecast, intervals, print_weight
from fundarb.core.market import SettledFunding
from tests.core.make import EIGHT_HOURS, NOW, D, funding

MONTH = print_weight(timedelta(days=30))
HOUR = timedelta(hours=1)


def settled(
    *rates: str | Decimal, step: timedelta = EIGHT_HOURS, until: datetime = NOW
) -> tuple[SettledFunding, ...]:
    """Settled rates, oldest first, the last one at ``until``."""
    return tuple(
        SettledFunding(symbol="BTCUSDT", rate=D(rate), time=until - step * (len(rates) - 1 - i))
        for i, rate in enumerate(rates)
    )


@pytest.mark.parametrize("count", [0, 1, 2])
def test_without_history_half_of_the_prediction_counts(count: int) -> None:
    """Fewer than three settlements are no history: naive, half, and no share of positive ones."""
    outlook = forecast(funding("0.0003"), settled(*["0.0001"] * count), weight=MONTH)
    assert (outlook.kind, outlook.rate, outlook.mean) == ("naive", D("0.00015"), D("0.00015"))
    assert outlook.positive_share is None
    assert outlook.settled_mean is None


@pytest.mark.parametrize(
    ("rate", "cap", "expected"),
    [("0.02", "0.01", "0.01"), ("-0.02", "0.01", "-0.01"), ("0.005", "0.01", "0.005"), ("9", None, "9")],
)
def test_rates_are_clipped_to_the_cap(rate: str, cap: str | None, expected: str) -> None:
    """A prediction beyond the venue's cap counts as the cap; without a cap it stands."""
    assert clip(D(rate), D(cap) if cap else None) == D(expected)
    assert forecast(funding(rate, cap=D(cap) if cap else None), weight=MONTH).predicted == D(expected)


def test_a_steady_rate_is_expected_as_it_is() -> None:
    """When every settlement and the prediction agree there is nothing to shrink and no error."""
    outlook = forecast(funding("0.0001"), settled(*["0.0001"] * 30), weight=MONTH)
    assert outlook.kind == "shrunk"
    assert outlook.rate == pytest.approx(D("0.0001"), abs=D("1e-30"))
    assert outlook.standard_error == pytest.approx(D(0), abs=D("1e-25"))
    assert outlook.positive_share == 1
    assert outlook.settlements == 30


def test_the_terms_add_up() -> None:
    """Mean, error and rate follow from the terms that are shown."""
    outlook = forecast(funding("0.0004"), settled("0.0001", "0.0003", "-0.0001", "0.0002"), weight=MONTH)
    assert outlook.settled_mean is not None
    mixed = outlook.weight * outlook.counted + (1 - outlook.weight) * outlook.settled_mean
    assert outlook.mean == mixed
    assert outlook.rate == outlook.mean - outlook.standard_error
    assert outlook.rate < outlook.mean
    assert outlook.positive_share == D("0.75")
    assert outlook.effective == 1


def test_ten_disappointments_leave_little_to_expect() -> None:
    """A prediction of 30 % a year after ten settlements at zero does not pay a round trip within a month."""
    outlook = forecast(funding("0.000274"), settled(*["0"] * 10), weight=MONTH)
    assert 0 < outlook.rate * 90 < D("0.0031")


def test_an_extreme_print_counts_only_within_its_band() -> None:
    """An hourly rate at a 2 % cap does not make the forecast: it counts three deviations from the settled
    mean.
    """
    calm = settled(*["0.0001"] * 60)
    outlook = forecast(funding("0.02", hours=1, ahead=HOUR, cap=D("0.02")), calm, weight=MONTH)
    assert outlook.predicted == D("0.02")
    assert outlook.counted == pytest.approx(D("0.00005"), abs=D("1e-12"))
    assert outlook.rate < D("0.00002")


def test_the_forecast_is_per_current_interval() -> None:
    """Rates settled every eight hours are divided by eight when the interval becomes one hour."""
    eight = forecast(funding("0.0008"), settled(*["0.0008"] * 10), weight=MONTH)
    one = forecast(funding("0.0001", hours=1), settled(*["0.0008"] * 10), weight=MONTH)
    assert one.rate == pytest.approx(eight.rate / 8, abs=D("1e-20"))


def test_recent_settlements_weigh_more() -> None:
    """The same rates in rising order promise more than in falling order."""
    rates = [D(i) / 10**5 for i in range(30)]
    rising = forecast(funding("0.0001"), settled(*rates), weight=MONTH)
    falling = forecast(funding("0.0001"), settled(*reversed(rates)), weight=MONTH)
    assert rising.mean > falling.mean


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        ([0, 8, 16, 24], [8, 8, 8, 8]),
        ([0, 8, 16, 17, 18], [8, 8, 8, 1, 1]),
        ([0, 8, 40, 48], [8, 8, 8, 8]),
        ([0, 100, 101], [1, 1, 1]),
        ([0, 100, 200], [4, 4, 4]),
        ([0, 0, 4], [4, 4, 4]),
    ],
)
def test_intervals_are_told_by_distances(hours: list[int], expected: list[int]) -> None:
    """A gap in the records takes the neighbouring interval, and the current one where there is no
    neighbour.
    """
    rows = [SettledFunding(symbol="X", rate=D(0), time=NOW + hour * HOUR) for hour in hours]
    assert intervals(rows, 4 * HOUR) == [hour * HOUR for hour in expected]


def test_a_print_tells_more_about_a_short_horizon() -> None:
    """The weight of one print falls with the horizon and approaches one for none."""
    weights = [print_weight(timedelta(hours=h)) for h in (1, 24, 168, 720, 8760)]
    assert weights == sorted(weights, reverse=True)
    assert D("0.99") < weights[0] < 1
    assert D("0.37") < weights[2] < D("0.38")
    assert weights[-1] > 0


@given(
    rate=st.decimals("-0.01", "0.01", places=6),
    more=st.decimals(0, "0.01", places=6),
    history=st.lists(st.decimals("-0.003", "0.003", places=6), max_size=12),
    hours=st.sampled_from([1, 4, 8]),
)
def test_a_higher_prediction_never_promises_less(
    rate: Decimal, more: Decimal, history: list[Decimal], hours: int
) -> None:
    """The expected rate is monotone in the running rate, with and without history."""
    past = settled(*history)
    lower = forecast(funding(str(rate), hours=hours, cap=D("0.0075")), past, weight=MONTH)
    higher = forecast(funding(str(rate + more), hours=hours, cap=D("0.0075")), past, weight=MONTH)
    assert higher.rate >= lower.rate


@given(history=st.lists(st.decimals("-0.003", "0.003", places=6), min_size=3, max_size=40))
def test_the_mean_lies_between_what_was_seen(history: list[Decimal]) -> None:
    """The weighted mean never leaves the range of settled rates and the counted prediction."""
    outlook = forecast(funding("0.0001"), settled(*history), weight=MONTH)
    low, high = min(*history, outlook.counted), max(*history, outlook.counted)
    assert low - D("1e-30") <= outlook.mean <= high + D("1e-30")
    assert outlook.standard_error >= 0
    assert outlook.effective >= 1


@given(
    gaps=st.lists(
        st.tuples(st.sampled_from([1, 4, 8, 20]), st.decimals("-0.003", "0.003", places=6)), max_size=30
    ),
    asked=st.lists(st.sampled_from([1, 4, 8]), min_size=1, max_size=4),
)
def test_what_was_worked_out_once_stays_true(gaps: list[tuple[int, Decimal]], asked: list[int]) -> None:
    """A history that is asked many times, for any running interval, says to the digit what fresh rows say."""
    at, rows = NOW, []
    for hours, rate in gaps:
        at += hours * HOUR
        rows.append(SettledFunding(symbol="X", rate=rate, time=at))
    kept = RateHistory(rows)
    assert kept == tuple(rows)
    for hours in (*asked, *asked):
        running = funding("0.0002", hours=hours)
        assert forecast(running, kept, weight=MONTH) == forecast(running, list(rows), weight=MONTH)
