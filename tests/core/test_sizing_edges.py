"""Figures exactly on an edge: a value minimum between two steps, a correction that ends on one lot."""

from __future__ import annotations

import pytest

from fundarb.core.correcting import Correction, top_up
from fundarb.core.market import Category
from fundarb.core.orders import Leg, Side
from fundarb.core.position import Book
from fundarb.core.sizing import Frame, lot, min_quantity
from tests.core.make import D, pair


@pytest.mark.parametrize(
    ("price", "least"), [("9", "0.6"), ("30", "0.3"), ("49", "0.3"), ("19.9", "0.3"), ("1", "5")]
)
@pytest.mark.parametrize("category", list(Category))
def test_a_value_minimum_between_two_steps_takes_the_upper_one(
    category: Category, price: str, least: str
) -> None:
    """The smallest order is worth the minimum or more, never a little less: 5 USDT at 9 are 0.6, not 0.5."""
    both = pair(
        spot_qty_step=D("0.1"),
        spot_min_qty=D("0.25"),
        perp_qty_step=D("0.1"),
        perp_min_qty=D("0.25"),
    )
    instrument = both.spot if category is Category.SPOT else both.perp
    found = min_quantity(instrument, D(price))
    assert found == D(least)
    assert found * D(price) >= instrument.min_notional


@pytest.mark.parametrize(("missing", "sent"), [("5.5", True), ("5.4", False)])
def test_a_correction_may_end_on_one_lot_of_the_other_side(missing: str, sent: bool) -> None:
    """The smallest spot order is more than what is missing; it is sent if no more than one lot, that of the
    finer leg, is too much then: exactly one is not.
    """
    of = pair("XRP", spot_qty_step=D("0.1"), spot_min_qty=D("10.5"), perp_qty_step=D(1), perp_min_qty=D(5))
    frame = Frame(pair=of, spot_price=D(1), perp_price=D(1))
    assert lot(of, spot_price=D(1), perp_price=D(1)) == 5
    found = top_up(frame, Book(100 - D(missing), D(100)))
    assert found == (Correction(leg=Leg.SPOT, side=Side.BUY, quantity=D("10.5")) if sent else None)
