"""Tax lots: which coins go first, and that the method loses nothing."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.lots import Lot, LotMethod, Lots

D = Decimal
START = datetime(2026, 1, 5, tzinfo=UTC)
DAY = timedelta(days=1)
amounts = st.decimals("0.001", "5", places=3)
steps = st.lists(
    st.tuples(st.booleans(), amounts, st.decimals("1", "999", places=2)), min_size=1, max_size=20
)


def bought(method: LotMethod) -> Lots:
    """One coin at 100, a day later one at 200."""
    lots = Lots(method)
    lots.acquire(Lot(START, D(1), D(100)))
    lots.acquire(Lot(START + DAY, D(1), D(200)))
    return lots


def test_the_oldest_goes_first() -> None:
    """Of one and a half coins sold, one is the first, half is of the second."""
    lots = bought(LotMethod.FIFO)
    assert lots.dispose(D("1.5")) == (Lot(START, D(1), D(100)), Lot(START + DAY, D("0.5"), D(100)))
    assert lots.held == (Lot(START + DAY, D("0.5"), D(100)),)


def test_all_have_the_average_cost() -> None:
    """One and a half coins of two that cost 300 cost 225, and have no single date."""
    lots = bought(LotMethod.AVERAGE)
    assert lots.dispose(D("1.5")) == (Lot(None, D("1.5"), D(225)),)
    assert lots.held == (Lot(None, D("0.5"), D(75)),)


@pytest.mark.parametrize("method", list(LotMethod))
def test_what_was_never_bought_has_no_cost(method: LotMethod) -> None:
    """Coins from before the books: named as such, not refused."""
    lots = bought(method)
    assert lots.dispose(D(3))[-1] == Lot(None, D(1), D(0))
    assert lots.held == ()


@given(steps)
def test_no_method_loses_anything(made: list[tuple[bool, Decimal, Decimal]]) -> None:
    """Cost of what went and cost of what is left add up to the cost of what came, under either method."""
    sums = []
    for method in LotMethod:
        lots, gone, came, quantity = Lots(method), D(0), D(0), D(0)
        for number, (buys, amount, cost) in enumerate(made):
            if buys:
                lots.acquire(Lot(START + number * DAY, amount, cost))
                came += cost
                quantity += amount
            else:
                parts = lots.dispose(amount)
                assert sum((part.quantity for part in parts), D(0)) == amount
                gone += sum((part.cost for part in parts), D(0))
                quantity = max(quantity - amount, D(0))
        assert gone + sum((lot.cost for lot in lots.held), D(0)) == came
        assert sum((lot.quantity for lot in lots.held), D(0)) == quantity
        sums.append(quantity)
    assert sums[0] == sums[1]
