"""What the venue's smallest orders allow."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.market import Pair
from fundarb.core.minimums import sellable_again, tradable, worthwhile
from fundarb.core.orders import Side
from fundarb.core.sizing import Frame
from tests.core.make import perp, spot

D = Decimal


def frame(price: str = "50000", *, step: str = "0.000001", fee: str = "0.001") -> Frame:
    """BTC's steps, or a coarse spot step."""
    pair = Pair(base="BTC", spot=spot(qty_step=D(step)), perp=perp(), multiplier=D(1))
    return Frame(pair=pair, spot_price=D(price), perp_price=D(price), fee=D(fee))


@pytest.mark.parametrize(
    ("contracts", "step", "expected"),
    [
        ("0.001", "0.000001", True),
        ("0.0009", "0.000001", False),
        ("1.5", "1", True),
        ("0.9", "1", False),
    ],
)
def test_a_rest_is_tradable_if_both_legs_take_it(contracts: str, step: str, expected: bool) -> None:
    """A step of the perp with its coins is; less than that, or less than a coarse spot step, is not."""
    assert tradable(frame(step=step), D(contracts)) is expected


def test_a_rest_worth_less_than_the_least_value_is_not_tradable() -> None:
    """A thousandth of a coin at four dollars is below every venue's least value."""
    assert not tradable(frame("4"), D("0.001"))


@pytest.mark.parametrize(
    ("side", "quantity", "best", "expected"),
    [
        (Side.BUY, "0.0001", "50000", "49900"),
        (Side.SELL, "1", "50000", "49900"),
        (Side.SELL, "0.0001001", "50000", "49950.1"),
        (Side.SELL, "0.0001", "49999", "49900"),
    ],
    ids=["a purchase", "a large sale", "a small sale", "a sale that nothing helps"],
)
def test_a_small_sale_is_capped_where_it_still_counts(
    side: Side, quantity: str, best: str, expected: str
) -> None:
    """The limit moves up to where the sale has the least value of five dollars, never above the best bid."""
    limit = worthwhile(spot(), side=side, quantity=D(quantity), best=D(best), limit=D(49_900))
    assert limit == D(expected)


@given(st.integers(1, 10_000_000), st.integers(1, 500))
def test_the_moved_limit_is_worth_the_least_value(steps: int, cap: int) -> None:
    """Wherever it moves, quantity × limit reaches the minimum, on the tick, between cap and best bid."""
    instrument, best = spot(), D(50_000)
    quantity = steps * instrument.qty_step
    limit = (best * (1 - D(cap) / 10_000)).quantize(instrument.tick_size)
    moved = worthwhile(instrument, side=Side.SELL, quantity=quantity, best=best, limit=limit)
    assert limit <= moved <= best
    assert moved == limit or moved * quantity >= instrument.min_notional
    assert moved % instrument.tick_size == 0


def test_what_a_sale_would_send_beside_the_least_that_is_taken() -> None:
    """Whole steps of the coins, and the least quantity at a price."""
    found = sellable_again(spot(qty_step=D("0.001")), D("0.0029"), price=D(1000))
    assert found == (D("0.002"), D("0.005"))
