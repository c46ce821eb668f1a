"""Delta, drift and neutrality, with the boundary that decides whether the bot trades itself to death."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.position import EMPTY, Book, liquidation_distance, neutral, tolerance

D = Decimal
AMOUNTS = st.decimals(min_value=0, max_value=10**9, places=8)


@pytest.mark.parametrize(
    ("contracts", "expected"), [("98.01", True), ("98.00", True), ("97.99", False), ("100", True)]
)
def test_two_percent_is_two_percent(contracts: str, expected: bool) -> None:
    """1.99 % and 2.00 % of drift are neutral under a limit of 2 %, 2.01 % is not."""
    book = Book(D(100), D(contracts))
    assert neutral(book, D(1), lot=D(0), drift_limit=D("0.02")) is expected


@pytest.mark.parametrize(("owned", "expected"), [("98.01", True), ("98.00", True), ("97.99", False)])
def test_the_limit_is_the_same_on_the_short_side(owned: str, expected: bool) -> None:
    """Too much short is measured against the larger leg as well."""
    assert neutral(Book(D(owned), D(100)), D(1), lot=D(0), drift_limit=D("0.02")) is expected


def test_two_basis_points_are_far_from_two_percent() -> None:
    """Spot 100 against 99.9 short is a drift of 0.001, not of 0.1: nothing to rebalance."""
    book = Book(D(100), D("99.9"))
    assert book.drift(D(1)) == D("0.001")
    assert neutral(book, D(1), lot=D(0), drift_limit=D("0.02"))


def test_delta_counts_coins_not_contracts() -> None:
    """A contract of a multiplied perp hedges as many coins as its multiplier says."""
    book = Book(D(102_500), D(102))
    assert book.delta(D(1000)) == 500
    assert book.size(D(1000)) == 102_500


def test_one_lot_is_neutral_even_beyond_the_drift_limit() -> None:
    """What the finer leg cannot correct counts as neutral, equality included."""
    book = Book(D("0.0011"), D("0.001"))
    assert book.drift(D(1)) > D("0.02")
    assert neutral(book, D(1), lot=D("0.0001"), drift_limit=D("0.02"))
    assert not neutral(book, D(1), lot=D("0.00009"), drift_limit=D("0.02"))


def test_an_empty_book_has_no_drift() -> None:
    """Nothing held is neutral, empty and divides by nothing."""
    assert EMPTY.drift(D(1)) == 0
    assert EMPTY.empty
    assert neutral(EMPTY, D(1), lot=D(0), drift_limit=D(0))


@pytest.mark.parametrize("book", [Book(D("1e-18"), D(0)), Book(D(0), D("1e-18"))])
def test_dust_is_not_nothing(book: Book) -> None:
    """The smallest holding on either leg is not an empty book."""
    assert not book.empty


@given(AMOUNTS, AMOUNTS, st.sampled_from([D(1), D(1000), D(10**6)]))
def test_drift_is_a_fraction_between_zero_and_one(owned: Decimal, contracts: Decimal, m: Decimal) -> None:
    """Whatever the legs, drift stays in [0, 1], and is 1 exactly when one leg is missing."""
    book = Book(owned, contracts)
    drift = book.drift(m)
    assert 0 <= drift <= 1
    assert (drift == 1) == ((owned == 0) != (contracts == 0))


@given(AMOUNTS, AMOUNTS, st.decimals(min_value=0, max_value=10, places=4))
def test_neutral_is_what_tolerance_says(owned: Decimal, contracts: Decimal, lot: Decimal) -> None:
    """The tolerance is never below a lot, and a drift within the limit is always neutral."""
    book, limit = Book(owned, contracts), D("0.02")
    assert tolerance(book, D(1), lot=lot, drift_limit=limit) >= lot
    if book.drift(D(1)) <= limit or abs(book.delta(D(1))) <= lot:
        assert neutral(book, D(1), lot=lot, drift_limit=limit)


def test_liquidation_distance_is_how_far_the_mark_may_rise() -> None:
    """A short at 100 with liquidation at 149 has 49 %; no liquidation price is None and never zero."""
    assert liquidation_distance(D(100), D(149)) == D("0.49")
    assert liquidation_distance(D(150), D(120)) == D("-0.2")
    assert liquidation_distance(D(100), None) is None
