"""Distance to liquidation, the stress table, and how much to reduce both legs: golden figures and
properties.
"""

from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.margin import (
    Hedge,
    MarginAccount,
    cross_liquidation,
    liquidation_price,
    reduce_fraction,
    stress_table,
    stressed,
    worse,
)
from tests.core.make import D

ONE_PERCENT = D("0.01")


def hedge(collateral: str = "0.9", *, coins: str = "1", short: str = "1", mark: str = "100") -> Hedge:
    """One coin hedged at 100 with a maintenance rate of 1 %."""
    return Hedge(
        coins=D(coins),
        short=D(short),
        entry=D(100),
        mark=D(mark),
        maintenance=ONE_PERCENT,
        collateral=D(collateral),
    )


@pytest.mark.parametrize(
    ("collateral", "price"),
    [(".95", "2500"), (".90", "1364"), (".80", "714"), (".50", "294"), ("0", "148.5")],
)
def test_cross_liquidation_depends_on_the_collateral(collateral: str, price: str) -> None:
    """N = 1, e = 100, U = 50, mmr = 1 %: c = .95 → 2500, .90 → 1364, .80 → 714, .50 → 294, 0 → 148.5."""
    found = cross_liquidation(hedge(collateral), D(50))
    assert found is not None
    assert found.quantize(D(price), ROUND_HALF_EVEN) == D(price)


def test_what_is_sized_counts_no_collateral() -> None:
    """p*(0) overrides whatever ratio the coin has today."""
    assert cross_liquidation(hedge("0.95"), D(50), collateral=D(0)) == cross_liquidation(hedge("0"), D(50))


def test_more_coins_than_short_may_never_be_liquidated() -> None:
    """Where rising prices add more collateral than the short loses there is no liquidation price."""
    assert cross_liquidation(hedge("0.95", coins="2"), D(50)) is None


def test_other_coins_of_the_account_carry_along() -> None:
    """The price of one coin is found with the others at their marks: an idle account is the single case."""
    alone = MarginAccount(cash=D(50), hedges=[hedge("0.5")])
    assert liquidation_price(alone, 0) == cross_liquidation(hedge("0.5"), D(50))
    losing = MarginAccount(cash=D(50), hedges=[hedge("0.5"), hedge("0", mark="120")])
    risky, safe = liquidation_price(losing, 0), liquidation_price(alone, 0)
    assert risky is not None
    assert safe is not None
    assert risky < safe
    assert liquidation_price(losing, 0, collateral=D(0)) == cross_liquidation(
        hedge("0"), D(50) - 20 - D("1.2")
    )


@pytest.mark.parametrize(
    ("prices", "expected"),
    [((D(150), D(120)), 120), ((None, D(120)), 120), ((D(150), None), 150), ((None, None), None), ((), None)],
)
def test_the_worse_liquidation_price_counts(prices: tuple[Decimal | None, ...], expected: int | None) -> None:
    """The lower one for a short; not applicable is skipped, not taken for zero."""
    assert worse(*prices) == expected


def test_the_stress_table() -> None:
    """Cash 50 and one coin at c = 0: 4 % after +20 %, liquidated at +50 %, nothing left at +100 %."""
    table = stress_table(MarginAccount(cash=D(50), hedges=[hedge("0")]))
    assert [row.shock for row in table] == [D("0.2"), D("0.5"), D(1)]
    assert table[0].rate == D("1.2") / 30
    assert [row.liquidated for row in table] == [False, True, True]
    assert table[1].rate is None
    assert (table[2].balance, table[2].maintenance) == (D(-50), D(2))


def test_collateral_softens_the_stress() -> None:
    """The same account with the coin at 90 % survives the doubling; at zero by override it does not."""
    account = MarginAccount(cash=D(50), hedges=[hedge("0.9")])
    assert not any(row.liquidated for row in stress_table(account))
    assert stress_table(account, collateral=D(0))[2].liquidated


def test_an_account_without_positions_is_never_liquidated() -> None:
    """Nothing held needs no margin, even without cash."""
    empty = stressed(MarginAccount(cash=D(0), hedges=[]), D(1))
    assert not empty.liquidated
    assert empty.rate is None


def test_a_healthy_account_is_not_reduced() -> None:
    """At or below the target rate nothing is closed."""
    account = MarginAccount(cash=D(50), hedges=[hedge("0.9")])
    rate = stressed(account, D(0)).rate
    assert rate is not None
    assert reduce_fraction(account, rate) == 0
    assert reduce_fraction(account, D("0.5")) == 0


def test_reducing_both_legs_reaches_the_target_exactly() -> None:
    """After closing the fraction of both legs at the mark, the margin rate is the target."""
    tight = MarginAccount(cash=D("20.9"), hedges=[hedge("0", mark="120")])
    target = D("0.3")
    fraction = reduce_fraction(tight, target)
    assert 0 < fraction < 1
    after = MarginAccount(
        cash=tight.cash + fraction * 120 - fraction * 20,
        hedges=[hedge("0", mark="120", coins=str(1 - fraction), short=str(1 - fraction))],
    )
    rate = stressed(after, D(0)).rate
    assert rate is not None
    assert abs(rate - target) < D("1e-25")


def test_costs_and_the_venues_rate_ask_for_more() -> None:
    """Lost fees and a worse rate at the venue both raise the fraction; a better rate changes nothing."""
    tight = MarginAccount(cash=D("20.9"), hedges=[hedge("0.5", mark="120")])
    target = D("0.019")
    plain = reduce_fraction(tight, target)
    assert 0 < plain < reduce_fraction(tight, target, cost=D("0.005")) < 1
    assert plain < reduce_fraction(tight, target, venue_rate=D("0.5"))
    assert plain == reduce_fraction(tight, target, venue_rate=D("0.001"))


def test_what_no_reduction_can_mend_is_closed() -> None:
    """When closing frees nothing, or no balance is left, everything is closed."""
    lost = MarginAccount(cash=D(0), hedges=[hedge("1", coins="0", mark="150")])
    assert reduce_fraction(lost, D("0.5"), venue_rate=D("0.9")) == 1
    costly = MarginAccount(cash=D(1), hedges=[hedge("1")])
    assert reduce_fraction(costly, D("0.001"), cost=D(20)) == 1


@given(
    cash=st.decimals(0, 200, places=2),
    mark=st.decimals(50, 400, places=2),
    ratio=st.decimals(0, 1, places=2),
    target=st.decimals("0.05", "0.9", places=2),
    share=st.decimals(0, 1, places=2),
)
def test_a_reduction_is_a_fraction_and_suffices(
    *, cash: Decimal, mark: Decimal, ratio: Decimal, target: Decimal, share: Decimal
) -> None:
    """Always within [0, 1]; unless it is everything, the rate afterwards is at most the target."""
    account = MarginAccount(cash=cash, hedges=[hedge(str(ratio), mark=str(mark)), hedge(str(share))])
    fraction = reduce_fraction(account, target)
    assert 0 <= fraction <= 1
    kept = 1 - fraction
    after = MarginAccount(
        cash=cash + sum(fraction * (h.coins * h.mark + h.short * (h.entry - h.mark)) for h in account.hedges),
        hedges=[
            hedge(str(h.collateral), mark=str(h.mark), coins=str(kept), short=str(kept))
            for h in account.hedges
        ],
    )
    result = stressed(after, D(0))
    if fraction < 1:
        assert result.maintenance <= target * result.balance + D("1e-20")


@given(ratio=st.decimals(0, "0.99", places=2), cash=st.decimals(1, 500, places=2))
def test_at_the_liquidation_price_the_rate_is_one(ratio: Decimal, cash: Decimal) -> None:
    """p* is exactly where maintenance equals the balance."""
    price = cross_liquidation(hedge(str(ratio)), cash)
    assert price is not None
    there = stressed(MarginAccount(cash=cash, hedges=[hedge(str(ratio))]), price / 100 - 1)
    assert abs(there.balance - there.maintenance) < D("1e-30") * price
