"""Whether books may be trusted: how old they are, and whether they are of one market."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.freshness import FROZEN_AFTER, frozen, implausible
from fundarb.core.market import Book, Category
from tests.core.make import NOW, D, book

COLLAR = D("0.02")


def flat(price: str) -> Book:
    """A book of one price."""
    return book(Category.SPOT, "BTCUSDT", [(price, "1")], [(price, "1")])


@pytest.mark.parametrize(
    ("price", "found"),
    [("102000", []), ("98000", []), ("102001", ["basis_implausible"]), ("97999", ["basis_implausible"])],
)
def test_a_basis_beyond_the_collar_is_implausible(price: str, found: list[str]) -> None:
    """At the collar itself a basis is still believed, on either side; beyond it, it is not."""
    spot, perp = flat("100000"), flat(price)
    reasons = implausible(spot, perp, multiplier=D(1), collar=COLLAR)
    assert [reason.code for reason in reasons] == found


@given(st.sampled_from([1, 10, 1000, 10**6]))
def test_the_multiplier_belongs_to_the_basis(multiplier: int) -> None:
    """A contract of many coins is compared with the price of as many coins."""
    reasons = implausible(flat("2"), flat(str(2 * multiplier)), multiplier=Decimal(multiplier), collar=COLLAR)
    assert not reasons


def test_the_text_names_the_distance_and_the_collar() -> None:
    """A person reads by how much the books differ, and what would be allowed."""
    (reason,) = implausible(flat("100"), flat("110"), multiplier=D(1), collar=COLLAR)
    assert reason.message == "perp and spot books are 10.00 % apart, the collar is 2.00 %"


@pytest.mark.parametrize(("late", "found"), [(timedelta(), 0), (timedelta(milliseconds=1), 1)])
def test_a_book_that_stood_still_for_too_long_is_frozen(late: timedelta, found: int) -> None:
    """Exactly at the limit a book still counts; a millisecond later it does not."""
    assert len(frozen(flat("100"), now=NOW + FROZEN_AFTER + late)) == found
