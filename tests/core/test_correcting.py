"""Buying back a short that is too large: nothing is left that no order could buy back."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.correcting import Correction, corrected, trim
from fundarb.core.orders import Leg, Side
from fundarb.core.position import Book
from fundarb.core.sizing import Frame, flat, min_quantity
from tests.core.make import D, pair

ETHER = Frame(
    pair=pair(
        "ETH",
        spot_qty_step=D("0.00001"),
        spot_min_notional=D(5),
        perp_qty_step=D("0.001"),
        perp_min_qty=D("0.001"),
        perp_min_notional=D(5),
    ),
    spot_price=D(2500),
    perp_price=D(2500),
    fee=D("0.001"),
)


@pytest.mark.parametrize(
    ("owned", "short", "bought"),
    [
        ("0.00000088", "0.120", "0.120"),  # nothing covers any of it
        ("0.00000088", "0.048", "0.048"),
        ("0.0015", "0.120", "0.120"),  # the coins are dust
        ("0.0025", "0.120", "0.117"),  # 0.003 are an order of their own: rounded down
        ("0.0605", "0.120", "0.059"),
        ("0.00000088", "0.001", "0.001"),  # below the smallest order: only as the end of the position
    ],
)
def test_no_stub_is_left(owned: str, short: str, bought: str) -> None:
    """A short is reduced to what is an order of its own and has its coins, else bought back whole."""
    expected = Correction(leg=Leg.PERP, side=Side.BUY, quantity=D(bought))
    assert trim(ETHER, Book(D(owned), D(short))) == expected


@given(owned=st.decimals(0, "0.2", places=8), short=st.decimals("0.002", "0.2", places=3))
def test_what_is_left_can_be_bought_back(owned: Decimal, short: Decimal) -> None:
    """Whatever is trimmed of a short that is an order: what stays is an order, or nothing; where nothing
    stays the coins are dust.
    """
    held = Book(owned, short)
    order = trim(ETHER, held)
    if order is None or order.leg is Leg.SPOT:
        return
    after = corrected(ETHER, held, order=order)
    assert not after.contracts or after.contracts >= min_quantity(ETHER.pair.perp, ETHER.perp_price)
    assert not after.lopsided(D(1))
    assert after.contracts or flat(ETHER.pair, after, spot_price=ETHER.spot_price)
