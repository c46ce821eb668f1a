"""Profit and loss: its split, its identities, what it yields."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.ledger import Account, Holding
from fundarb.core.pnl import (
    EMPTY,
    Capital,
    CoinTotal,
    Coverage,
    Pnl,
    TieOut,
    days,
    max_drawdown,
    net_apr,
    of_account,
    together,
    unrealised,
    worst,
)

D = Decimal
START = datetime(2026, 1, 5, tzinfo=UTC)
amounts = st.decimals("-100000", "100000", places=8)
results = st.builds(
    Pnl,
    realised=amounts,
    unrealised=amounts,
    funding=amounts,
    interest=amounts,
    slippage=amounts,
    dust=amounts,
    suspense_by_coin=st.dictionaries(
        st.sampled_from(["USDT", "BTC", "MNT"]), st.builds(CoinTotal, amounts, amounts), max_size=3
    ),
    fees_by_coin=st.dictionaries(
        st.sampled_from(["USDT", "BTC", "MNT"]), st.builds(CoinTotal, amounts, amounts), max_size=3
    ),
)


@given(results)
def test_the_split_adds_up(pnl: Pnl) -> None:
    """Net is funding plus what prices brought, less fees and interest; slippage and dust are not added
    again.
    """
    assert pnl.basis_pnl == pnl.realised + pnl.unrealised
    assert pnl.net == pnl.funding + pnl.realised + pnl.unrealised - pnl.fees - pnl.interest


@given(results, results)
def test_sums_are_sums_of_every_figure(one: Pnl, other: Pnl) -> None:
    """The result of two positions is the sum of theirs, and the order does not matter."""
    both = one + other
    assert both == other + one
    assert both.net == one.net + other.net
    assert both.fees == one.fees + other.fees
    assert both.slippage == one.slippage + other.slippage
    assert one + EMPTY == one


@pytest.mark.parametrize(
    ("account", "coin", "expected"),
    [
        (Account.REALISED, "USDT", Pnl(realised=D(-7))),
        (Account.FUNDING, "USDT", Pnl(funding=D(-7))),
        (Account.INTEREST, "USDT", Pnl(interest=D(7))),
        (Account.SUSPENSE, "BTC", Pnl(suspense_by_coin={"BTC": CoinTotal(D(-2), D(-7))})),
        (Account.FEES, "BTC", Pnl(fees_by_coin={"BTC": CoinTotal(D(2), D(7))})),
        (Account.DUST, "USDT", Pnl(dust=D(7))),
        (Account.DUST, "BTC", EMPTY),
        (Account.EXTERNAL, "USDT", EMPTY),
        (Account.LOAN, "USDT", EMPTY),
        (Account.WALLET, "USDT", EMPTY),
    ],
)
def test_each_account_has_its_figure(account: Account, coin: str, expected: Pnl) -> None:
    """A debit is a loss for incomes and a cost for expenses; deposits, loans and the wallet itself are no
    result.
    """
    found = of_account(account, coin, amount=D(2), value=D(7))
    assert (found.net, found.suspense, found.dust) == (expected.net, expected.suspense, expected.dust)
    if account is Account.FEES:
        assert found.fees_by_coin == expected.fees_by_coin


def test_unrealised_of_both_legs() -> None:
    """A coin bought at 100 and a contract sold at 101 have made 0.5 when both are worth 100.5."""
    legs = [(Holding(D(1), D(100)), D("100.5")), (Holding(D(-1), D(-101)), D("100.5"))]
    assert unrealised(legs) == D(1)


def test_apr_is_simple_and_on_capital() -> None:
    """10 gained in 36.5 days on 1000 at leverage 2 with a buffer of 20 % is 100 a year on 1700."""
    capital = Capital(D(1000), D(2), D("0.2")).amount
    assert capital == D(1700)
    assert net_apr(D(10), capital, held=timedelta(days=36, hours=12)) == D(100) / D(1700)
    assert net_apr(D(10), capital, held=timedelta()) is None
    assert net_apr(D(10), D(0), held=timedelta(days=1)) is None


def test_days_are_never_negative() -> None:
    """A span that ends before it begins has no days."""
    assert days(START, START + timedelta(hours=36)) == D("1.5")
    assert days(START, START - timedelta(hours=36)) == D(0)


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ((), Coverage.COMPLETE),
        ((Coverage.COMPLETE, Coverage.COMPLETE), Coverage.COMPLETE),
        ((Coverage.MISSING, Coverage.MISSING), Coverage.MISSING),
        ((Coverage.MISSING, Coverage.COMPLETE), Coverage.PARTIAL),
        ((Coverage.PARTIAL,), Coverage.PARTIAL),
    ],
)
def test_coverage_of_a_sum(parts: tuple[Coverage, ...], whole: Coverage) -> None:
    """A sum is complete or missing only if all its parts are."""
    assert worst(parts) is whole


def test_tie_out_is_what_remains() -> None:
    """What the equity did beyond everything booked is unexplained."""
    found = TieOut(
        equity_start=D(1000),
        equity_end=D(1100),
        realised=D(5),
        funding=D(7),
        fees=D(3),
        interest=D(1),
        external=D(80),
        unrealised_change=D(2),
        suspense=D(4),
    )
    assert (found.explained, found.unexplained) == (D(94), D(6))


@pytest.mark.parametrize(
    ("curve", "fall"),
    [
        ((), None),
        ((D(100),), D(0)),
        ((D(100), D(120), D(90), D(130), D(117)), D("0.25")),
        ((D(-5), D(-9)), None),
    ],
)
def test_drawdown_is_from_the_peak(curve: tuple[Decimal, ...], fall: Decimal | None) -> None:
    """The largest fall counts from the highest value before it; without a positive equity there is none."""
    assert max_drawdown(curve) == fall


def test_fees_stand_in_the_order_of_their_coins() -> None:
    """Whatever order a database gives them in, two reports of the same books are equal to the letter."""
    parts = [of_account(Account.FEES, coin, amount=D(1), value=D(1)) for coin in ("USDT", "BTC", "MNT")]
    assert (
        list(together(parts).fees_by_coin)
        == list(together(parts[::-1]).fees_by_coin)
        == ["BTC", "MNT", "USDT"]
    )
