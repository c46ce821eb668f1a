"""Tax lots: which coins go first, and that the method loses nothing."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.ledger import Holding
from fundarb.core.lots import Lot, LotMethod, Lots
from fundarb.core.money import cash

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
def test_what_was_not_bought_yet_is_owed(method: LotMethod) -> None:
    """More coins sold than there are: the rest is named as such, not refused, and is the first that later
    purchases make good; what they bring beyond it is held.
    """
    lots = bought(method)
    assert lots.dispose(D(3))[-1] == Lot(None, D(1), D(0), short=True)
    lots.acquire(Lot(START, D("0.25"), D(50)))
    assert list(lots.held) == []
    lots.acquire(Lot(START + DAY, D(1), D(400)))
    assert lots.held == (Lot(START + DAY, D("0.25"), D(100)),)
    assert lots.dispose(D("0.25")) == (Lot(START + DAY, D("0.25"), D(100)),)


@given(steps)
def test_no_method_loses_anything(made: list[tuple[bool, Decimal, Decimal]]) -> None:
    """Cost of what went and cost of what is left add up to the cost of what came, under either method; what
    only makes good what went before has none, and as much is held as came more than went.
    """
    sums = []
    for method in LotMethod:
        lots, gone, came, quantity = Lots(method), D(0), D(0), D(0)
        for number, (buys, amount, cost) in enumerate(made):
            if buys:
                lots.acquire(Lot(START + number * DAY, amount, cost))
                quantity += amount
                came += cash(cost * max(min(amount, quantity), D(0)) / amount)
            else:
                parts = lots.dispose(amount)
                assert sum((part.quantity for part in parts), D(0)) == amount
                gone += sum((part.cost for part in parts), D(0))
                assert sum((part.quantity for part in parts if part.short), D(0)) == min(
                    amount, max(amount - quantity, D(0))
                )
                quantity -= amount
        assert gone + sum((lot.cost for lot in lots.held), D(0)) == came
        assert sum((lot.quantity for lot in lots.held), D(0)) == max(quantity, D(0))
        sums.append(quantity)
    assert sums[0] == sums[1]


def result(method: LotMethod, trades: Sequence[tuple[Decimal, Decimal]], price: Decimal) -> Decimal:
    """Realised and unrealised together: (quantity, value) in turn, value of a purchase its cost."""
    lots, realised = Lots(method), D(0)
    for number, (quantity, value) in enumerate(trades):
        if quantity > 0:
            lots.acquire(Lot(START + number * DAY, quantity, value))
        else:
            realised -= value + sum((part.cost for part in lots.dispose(-quantity)), D(0))
    return realised + sum((lot.quantity * price - lot.cost for lot in lots.held), D(0))


@given(
    st.lists(st.tuples(amounts, st.decimals("1", "999", places=2)), min_size=1, max_size=8),
    st.sampled_from((2, 4, 5)),
    st.decimals("1", "999", places=2),
    st.randoms(use_true_random=False),
)
def test_the_result_depends_on_no_method_order_or_splitting(
    fills: list[tuple[Decimal, Decimal]], parts: int, price: Decimal, dice: random.Random
) -> None:
    """Realised plus unrealised is the same first in first out, at the average, and as the ledger's holdings
    keep it; in whatever order the fills came, in one piece or in many.
    """
    buys = [(quantity, quantity * cost) for quantity, cost in fills]
    sells = [(-quantity / 2, -quantity * cost) for quantity, cost in dice.sample(fills, len(fills))]
    split = [(quantity / parts, value / parts) for quantity, value in (*buys, *sells) for _ in range(parts)]
    shuffled = [*dice.sample(buys, len(buys)), *dice.sample(sells, len(sells))]
    orders = [[*buys, *sells], shuffled, split]
    found = {result(method, trades, price) for method in LotMethod for trades in orders}
    for trades in orders:
        held, gain = Holding(), D(0)
        for quantity, value in trades:
            held, made = held.move(quantity, value)
            gain += made
        found.add(gain + held.unrealised(price))
    assert len(found) == 1
