"""Randomness with an address: the same whatever was asked before, spread as it should be."""

import statistics
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.markets.ladder import Depth, Grid, Ladder
from fundarb.markets.noise import Drift, Regime, Shocks, Walk, three_units, unit

INDICES = st.lists(st.integers(-5000, 5000), min_size=1, max_size=30)


@given(INDICES)
def test_shocks_do_not_depend_on_the_order_of_questions(indices: list[int]) -> None:
    """Rows asked in any order, from a fresh stream or a used one, are the same."""
    used, ordered = Shocks("key", 2), {}
    for index in sorted(indices):
        ordered[index] = Shocks("key", 2).row(index)
    assert {index: used.row(index) for index in indices} == ordered


@given(INDICES)
def test_walks_do_not_depend_on_the_order_of_questions(indices: list[int]) -> None:
    """A walk is zero at zero and the same at every index, forwards and backwards."""

    def step(index: int) -> float:
        return Shocks("walk", 1).row(index)[0]

    walk = Walk(step)
    for index in indices[:3]:
        bounded = index % 200 - 100
        assert walk.at(bounded) == Walk(step).at(bounded)
        assert abs(walk.at(bounded + 1) - walk.at(bounded) - step(bounded)) < 1e-9
    assert walk.at(0) == 0.0


def test_shocks_are_standard_normal() -> None:
    """Mean 0, standard deviation 1 over ten thousand rows, lanes independent of each other."""
    rows = [Shocks("normal", 2).row(index) for index in range(64)] + [
        row
        for block in range(1, 150)
        for row in (Shocks("normal", 2).row(block * 64 + place) for place in range(0, 64, 8))
    ]
    first, second = [row[0] for row in rows], [row[1] for row in rows]
    assert abs(statistics.fmean(first)) < 0.1
    assert abs(statistics.pstdev(first) - 1) < 0.1
    assert abs(statistics.correlation(first, second)) < 0.1


@given(st.integers(0, 2**64 - 1), st.integers(-(2**40), 2**40))
def test_units_lie_in_the_unit_interval(key: int, index: int) -> None:
    """Every number is in [0, 1)."""
    assert 0.0 <= unit(key, index) < 1.0
    assert all(0.0 <= number < 1.0 for number in three_units(key, index))


def test_units_are_uniform() -> None:
    """Ten buckets of ten thousand numbers hold a tenth each, within noise."""
    for numbers in ([unit(42, n) for n in range(10_000)], [three_units(42, n)[2] for n in range(10_000)]):
        buckets = [0] * 10
        for number in numbers:
            buckets[int(number * 10)] += 1
        assert min(buckets) > 850


def test_drifts_are_smooth_and_regimes_stay() -> None:
    """A drift of 40 hours moves little in an hour; a pinned regime keeps its level for two thirds of its
    stretch.
    """
    drift = Drift("smooth", 40)
    assert max(abs(drift.at(hour + 1) - drift.at(hour)) for hour in range(500)) < 0.35
    regime = Regime("weeks", 240, draw=lambda _: 0.5)
    regime.pin(0, 5.0)
    assert regime.at(0) >= 4.0 or regime.at(-80) == 5.0


STEPS = st.sampled_from(["0.1", "0.01", "0.0001", "0.5", "1", "100", "0.00000001", "0.00025"])


@given(STEPS, STEPS, st.floats(1.0, 5e5), st.integers(0, 10**9))
def test_ladders_stay_on_tick_and_step(tick: str, step: str, ticks: float, moment: int) -> None:
    """Any tick, step and price: quotes and levels are positive exact multiples, ordered, never crossed,
    never with an exponent.
    """
    size = Decimal(tick)
    ladder = Ladder(tick=size, step=Decimal(step), depth=Depth(touch=5e3, density=1e4, spread_bp=2.0), key=7)
    fair = ticks * float(size)
    bid, bid_size, ask, ask_size, last = ladder.quote(fair, moment)
    assert size <= bid < ask
    assert last in {bid, ask}
    bids = ladder.levels(bid, bid_size, upward=False, moment=moment, count=30)
    asks = ladder.levels(ask, ask_size, upward=True, moment=moment, count=30)
    for level in (*bids, *asks):
        assert level.price > 0
        assert level.quantity > 0
        assert level.price % size == 0
        assert level.quantity % Decimal(step) == 0
        assert "E+" not in str(level.quantity)
    assert [level.price for level in bids] == sorted({level.price for level in bids}, reverse=True)
    assert [level.price for level in asks] == sorted({level.price for level in asks})


def test_no_level_tells_of_a_later_moment() -> None:
    """The noise of a deep level is its own: it is not that of any level a moment later."""
    ladder = Ladder(
        tick=Decimal("0.0001"), step=Decimal("0.1"), depth=Depth(touch=5e3, density=1e4, spread_bp=2.0), key=7
    )
    now, later = (
        ladder.levels(Decimal(50), Decimal(1), upward=True, moment=moment, count=1000) for moment in (41, 42)
    )
    far = [level.quantity for level in now[500:]]
    assert len(now) == 1000
    for shift in range(1, 1000 - len(far)):
        same = sum(a == level.quantity for a, level in zip(far, later[shift:], strict=False))
        assert same < len(far) // 4


@pytest.mark.parametrize("density", [1.5e3, 3.5e4, 4e5])
def test_a_deep_book_is_as_dense_far_out_as_near(density: float) -> None:
    """What lies between two distances beyond the hundredth level is what its depth says per bp, within a
    tenth: what was recorded out to 250 bp grew no thinner either.
    """
    ladder = Ladder(
        tick=Decimal("0.0001"), step=Decimal("0.01"),
        depth=Depth(touch=density, density=density, spread_bp=2.0), key=9,
    )  # fmt: skip
    levels = ladder.levels(Decimal(100), Decimal(1), upward=True, moment=3, count=1000)
    far = levels[100:]
    value = sum(float(level.quantity) for level in far) * 100
    reach = float(far[-1].price - far[0].price) / 100 * 1e4
    assert value / reach == pytest.approx(density, rel=0.1)


def test_grids_of_large_steps_have_no_exponent() -> None:
    """A step of 100 counts in plain integers."""
    assert str(Grid.of(Decimal(100)).decimal(18)) == "1800"
