"""The golden vectors of cost, settlements, net yield and break-even."""

from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.account import VIP0_LINEAR, VIP0_SPOT, FeeRates
from fundarb.core.market import Book, Category
from fundarb.core.yields import Costs, Holding, LegCost, Yield, basis, costs, leg_cost, settlements, yield_of
from tests.core.make import NOW, D, book, funding, spot_quote

FREE = LegCost(D(0), D(0), D(10**9))
HOUR = timedelta(hours=1)


def golden(
    rate: str, *, days: int = 30, ahead: timedelta = 8 * HOUR, cost: Decimal = D("0.0031"), buffer: str = "0"
) -> Yield:
    """The yield of the golden vectors: leverage 2, eight hours."""
    holding = Holding.of(now=NOW, horizon=timedelta(days=days), leverage=D(2), buffer=D(buffer))
    return yield_of(D(rate), funding(rate, ahead=ahead), cost=cost, basis_gain=D(0), holding=holding)


def percent(fraction: Decimal) -> Decimal:
    """A fraction as percent with three places."""
    return (fraction * 100).quantize(D("0.001"), ROUND_HALF_EVEN)


def test_all_taker_costs_31_basis_points() -> None:
    """VIP0, all taker, no impact: C = 0.0031."""
    cost = costs(FREE, FREE, spot_fees=VIP0_SPOT, perp_fees=VIP0_LINEAR)
    assert (cost.total, cost.fees, cost.impact) == (D("0.0031"), D("0.0031"), D(0))


@pytest.mark.parametrize(
    ("rate", "cost", "expected"),
    [("0.0001", "0.0031", 31), ("0.0003", "0.0031", 11), ("0.0001", "0.0024", 24)],
)
def test_break_even_settlements(rate: str, cost: str, expected: int) -> None:
    """1 bp needs 31 settlements, 3 bp need 11, and 1 bp at the all-maker cost needs 24."""
    assert golden(rate, cost=D(cost)).break_even_settlements == expected


@pytest.mark.parametrize(("ahead", "days"), [(8, "10.33"), (1, "10.04")])
def test_break_even_time(ahead: int, days: str) -> None:
    """Break-even takes 10.33 days with eight hours to the next settlement, 10.04 with one."""
    after = golden("0.0001", ahead=ahead * HOUR).break_even_after
    assert after is not None
    assert (D(after // timedelta(seconds=1)) / 86400).quantize(D("0.01")) == D(days)


@pytest.mark.parametrize(("days", "apr"), [(7, "-3.476"), (30, "4.786"), (90, "6.462")])
def test_net_apr_on_capital(days: int, apr: str) -> None:
    """1 bp per eight hours at leverage 2 without buffer, after a week, a month and three."""
    result = golden("0.0001", days=days)
    assert percent(result.net_apr) == D(apr)
    assert percent(result.gross_apr) == D("10.950")
    assert result.capital == D("1.5")


def test_spreads_are_counted_once() -> None:
    """Spreads of 10 bp on both legs, 1 bp × 90, unchanged market: 39.0 bp = 90 − 31 − 20."""
    wide = spot_quote(price="100", bid=D("99.95"), ask=D("100.05"))
    leg = leg_cost(wide, None, quantity=D(1), cap=D("0.002"))
    cost = costs(leg, leg, spot_fees=VIP0_SPOT, perp_fees=VIP0_LINEAR)
    assert cost.impact == D("0.0020")
    assert golden("0.0001", cost=cost.total).net == D("0.0039")


def test_basis_is_measured_at_mids() -> None:
    """The perp's mid against what its coins cost at mid."""
    assert basis(perp_mid=D("10.01"), spot_mid=D("0.01"), multiplier=D(1000)) == D("0.001")


@pytest.mark.parametrize("rate", ["0", "-0.0001"])
def test_no_break_even_without_income(rate: str) -> None:
    """An expected rate that is not positive never pays the cost back."""
    result = golden(rate)
    assert result.break_even_settlements is None
    assert result.break_even_after is None
    assert result.net == D(rate) * 90 - D("0.0031")


def test_rebates_break_even_at_once() -> None:
    """A round trip that pays needs no settlement."""
    result = golden("0.0001", cost=D("-0.0001"))
    assert (result.break_even_settlements, result.break_even_after) == (0, timedelta())


@pytest.mark.parametrize(
    ("ahead", "interval", "horizon", "expected"),
    [(8, 8, 720, 90), (1, 8, 720, 90), (8, 8, 8, 1), (8, 8, 7, 0), (1, 1, 24, 24), (2, 4, 6, 2)],
)
def test_settlements_within_a_horizon(ahead: int, interval: int, horizon: int, expected: int) -> None:
    """The first is the next one, then one per current interval; one exactly at the horizon counts."""
    running = funding(hours=interval, ahead=ahead * HOUR)
    assert settlements(running, now=NOW, horizon=horizon * HOUR) == expected


def test_a_buffer_ties_up_capital() -> None:
    """The buffer lowers the APR on capital and not the net."""
    assert golden("0.0001", buffer="0.2").capital == D("1.7")
    assert golden("0.0001", buffer="0.2").net_apr < golden("0.0001").net_apr
    assert golden("0.0001", buffer="0.2").net == golden("0.0001").net


def test_impact_is_the_average_price_against_mid() -> None:
    """Walking two levels costs their volume-weighted distance from mid, on each side."""
    orders = book(Category.SPOT, "XUSDT", [("99", "1"), ("98", "9")], [("101", "1"), ("103", "9")])
    leg = leg_cost(spot_quote(), orders, quantity=D(2), cap=D("0.02"))
    assert leg.buy == D("0.02")
    assert leg.sell == D("0.015")
    assert leg.depth == 99 + 9 * 98
    assert leg_cost(spot_quote(), orders, quantity=D(2), cap=D("0.001")).depth == 99


def test_a_short_book_is_averaged_as_far_as_it_goes() -> None:
    """More than the book holds is priced at all it holds, and the depth shows the shortfall."""
    orders = book(Category.SPOT, "XUSDT", [("99", "1")], [("101", "1")])
    leg = leg_cost(spot_quote(), orders, quantity=D(5), cap=D("0.01"))
    assert (leg.buy, leg.sell, leg.depth) == (D("0.01"), D("0.01"), D(99))


@pytest.mark.parametrize(
    "orders",
    [
        None,
        book(Category.SPOT, "XUSDT", [("101", "1")], [("100", "1")]),
        book(Category.SPOT, "XUSDT", [], [("100", "1")]),
    ],
)
def test_without_a_usable_book_the_quote_stands(orders: Book | None) -> None:
    """No book, a crossed or a one-sided one: half the quoted spread and the smaller best size."""
    quote = spot_quote(price="100", bid=D(99), ask=D(101), bid_size=D(2), ask_size=D(3))
    leg = leg_cost(quote, orders, quantity=D(50), cap=D("0.01"))
    assert (leg.buy, leg.sell, leg.depth) == (D("0.01"), D("0.01"), D(198))


FEES = st.decimals("-0.0005", "0.01", places=5)
RATES = st.decimals("-0.01", "0.01", places=6)


@given(rate=RATES, more=st.decimals(0, "0.01", places=6), taker=FEES, extra=st.decimals(0, "0.01", places=5))
def test_net_grows_with_the_rate_and_falls_with_fees(
    rate: Decimal, more: Decimal, taker: Decimal, extra: Decimal
) -> None:
    """Monotone: more funding never means less APR, higher fees never more, and the net adds up."""

    def at(income: Decimal, fee: Decimal) -> Yield:
        rates = FeeRates(taker=fee, maker=fee)
        price = costs(FREE, FREE, spot_fees=rates, perp_fees=VIP0_LINEAR)
        holding = Holding.of(now=NOW, horizon=timedelta(days=30), leverage=D(3), buffer=D("0.2"))
        return yield_of(income, funding(), cost=price.total, basis_gain=D("0.001"), holding=holding)

    here = at(rate, taker)
    assert at(rate + more, taker).net_apr >= here.net_apr
    assert at(rate, taker + extra).net_apr <= here.net_apr
    assert here.net == here.funding - here.cost + here.basis_gain


@given(
    sizes=st.lists(st.decimals("0.1", "10", places=1), min_size=1, max_size=5),
    factor=st.integers(1, 5),
    quantity=st.decimals("0.1", "20", places=1),
)
def test_deeper_books_never_cost_more(sizes: list[Decimal], factor: int, quantity: Decimal) -> None:
    """Multiplying every level's size never raises the impact of a size the thin book held, and never shrinks
    the depth.
    """
    bids = [(str(100 - i), str(size)) for i, size in enumerate(sizes)]
    asks = [(str(101 + i), str(size)) for i, size in enumerate(sizes)]
    deep = [[(p, str(D(q) * factor)) for p, q in side] for side in (bids, asks)]
    wanted = min(quantity, sum(sizes, D(0)))
    thin_leg = leg_cost(
        spot_quote(), book(Category.SPOT, "XUSDT", bids, asks), quantity=wanted, cap=D("0.02")
    )
    deep_leg = leg_cost(spot_quote(), book(Category.SPOT, "XUSDT", *deep), quantity=wanted, cap=D("0.02"))
    assert deep_leg.buy <= thin_leg.buy
    assert deep_leg.sell <= thin_leg.sell
    assert deep_leg.depth >= thin_leg.depth
    assert deep_leg.buy >= 0
    assert deep_leg.sell >= 0


def test_costs_keep_every_term() -> None:
    """Fees twice per leg, impact once per leg and side."""
    cost = Costs(spot_fee=D(1), perp_fee=D(2), spot_buy=D(3), spot_sell=D(5), perp_sell=D(7), perp_buy=D(11))
    assert (cost.fees, cost.impact, cost.total) == (D(6), D(26), D(32))
