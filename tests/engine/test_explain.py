"""What others did, as far as rows tell: the fills that are a difference, the rows by which coins went."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fundarb.core.account import Transaction
from fundarb.core.market import Category
from fundarb.core.orders import ExecKind, Execution, Side
from fundarb.engine.explain import Explained, outflow_of, run_of

D = Decimal
AT = datetime(2026, 1, 5, tzinfo=UTC)
FILL = Execution(
    exec_id="1",
    order_id="1",
    link_id="",
    category=Category.LINEAR,
    symbol="BTCUSDT",
    side=Side.BUY,
    price=D(50_000),
    quantity=D(1),
    value=D(50_000),
    fee=D(0),
    fee_coin="USDT",
    kind=ExecKind.TRADE,
    raw_kind="Trade",
    time=AT,
)
ROW = Transaction(
    id="1",
    kind="TRADE",
    coin="BTC",
    category="spot",
    symbol="BTCUSDT",
    side=Side.SELL,
    time=AT,
    quantity=D(-1),
    size=D(0),
    price=D(50_000),
    funding=D(0),
    fee=D(0),
    cash_flow=D(-1),
    change=D(-1),
    balance=D(0),
    fee_rate=None,
    trade_id="t",
    order_id="",
    link_id="",
)


def fills(*signed: int) -> list[Execution]:
    """Bought (+) and sold (−) quantities, one second apart."""
    return [
        replace(
            FILL,
            exec_id=str(number),
            side=Side.BUY if amount > 0 else Side.SELL,
            quantity=D(abs(amount)),
            time=AT + timedelta(seconds=number),
        )
        for number, amount in enumerate(signed)
    ]


def row(kind: str, change: str, *, second: int, price: str | None = "50000") -> Transaction:
    """One row of the log."""
    return replace(
        ROW,
        kind=kind,
        change=D(change),
        time=AT + timedelta(seconds=second),
        price=None if price is None else D(price),
    )


def signed(row: Execution) -> int:
    """Contracts bought (+) or sold (−)."""
    return int(row.side.sign * row.quantity)


@pytest.mark.parametrize(
    ("amounts", "difference", "ours", "rest"),
    [
        ((5,), 5, [5], []),
        ((2, 3), 5, [2, 3], []),
        ((5, 5), 5, [5], []),
        ((-2, 7), 5, [-2, 7], []),
        ((7,), 5, [], []),
        ((-3,), -3, [-3], []),
        ((4, -4), 5, [], []),
        ((), 5, [], []),
        ((7,), 7, [5], [2]),
        ((7, -2), 5, [5], [2]),
        ((7, -4), 3, [5, -2], [2, -2]),
        ((3, 5), 8, [3, 2], [3]),
        ((7, 1), 8, [5], [2]),
        ((9, -12), -3, [5, -8], [4, -4]),
    ],
)
def test_the_run_of_fills(
    amounts: tuple[int, ...], difference: int, ours: list[int], rest: list[int]
) -> None:
    """The latest successive fills that are exactly the difference, as far as they were traded against a short
    of five, and what is left of them for their owner; or none at all.
    """
    run = run_of(fills(*amounts), D(difference), contracts=D(5))
    assert [signed(mine) for mine, _ in run] == ours
    assert [signed(other) for _, other in run if other is not None] == rest


@given(st.lists(st.integers(-9, 9).filter(bool), max_size=12), st.integers(-20, 20).filter(bool))
@settings(max_examples=150, deadline=None)
def test_a_run_is_always_the_difference(amounts: list[int], difference: int) -> None:
    """Whatever was traded: what is ours of a run sums to the difference, never takes more than is short, and
    is with its rest what the venue shows.
    """
    contracts, rows = 10, {row.exec_id: row for row in fills(*amounts)}
    run = run_of(tuple(rows.values()), D(difference), contracts=D(contracts))
    total = 0
    for mine, rest in run:
        total += signed(mine)
        assert total <= contracts
        whole, other = rows[mine.exec_id], () if rest is None else (rest,)
        for name in ("quantity", "value", "fee"):
            assert sum(getattr(row, name) for row in (mine, *other)) == getattr(whole, name)
    assert not run or total == min(difference, contracts)


def test_funding_is_no_fill() -> None:
    """A funding row moves no contracts."""
    assert run_of([replace(FILL, kind=ExecKind.FUNDING)], D(1), contracts=D(1)) == ()


def test_the_venue_took_them() -> None:
    """A forced repayment, at its price and under its word."""
    found = outflow_of([row("SPOT_REPAYMENT_SELL", "-0.01", second=1, price="48000")], D("0.01"))
    assert (found.forced, found.by_hand, found.price) == (D("0.01"), D(0), D(48_000))
    assert found.words == ("SPOT_REPAYMENT_SELL",)


def test_somebody_sold_them() -> None:
    """A stranger's trade and a withdrawal are hands."""
    rows = [row("TRADE", "-0.01", second=1), row("TRANSFER_OUT", "-0.02", second=2, price=None)]
    found = outflow_of(rows, D("0.03"))
    assert (found.forced, found.by_hand, found.price) == (D(0), D("0.03"), D(50_000))
    assert found.words == ("TRANSFER_OUT", "sold by hand")
    assert found.at == AT + timedelta(seconds=2)


def test_only_what_fell_below_ours_counts() -> None:
    """Somebody sold coins of his own before; what the venue took later is the venue's."""
    rows = [row("TRADE", "-5", second=1), row("SPOT_REPAYMENT_SELL", "-0.5", second=2)]
    found = outflow_of(rows, D("0.5"))
    assert (found.forced, found.by_hand) == (D("0.5"), D(0))


def test_coins_that_came_in_between_count_against_it() -> None:
    """Taken, brought back in part, taken again: both outflows are the cause."""
    rows = [
        row("TRADE", "-1", second=1),
        row("TRANSFER_IN", "0.6", second=2),
        row("INTEREST", "-0.1", second=3, price=None),
    ]
    found = outflow_of(rows, D("0.5"))
    assert (found.by_hand, found.forced) == (D("0.5"), D(0))


def test_what_is_booked_of_the_venue_is_not_booked_again() -> None:
    """A hand sold, then the venue took, and that is booked: what is missing still is the hand's."""
    rows = [row("TRADE", "-1", second=1), row("SPOT_REPAYMENT_SELL", "-0.5", second=2)]
    assert (outflow_of(rows, D("1.5")).forced, outflow_of(rows, D("1.5")).by_hand) == (D("0.5"), D(1))
    found = outflow_of(rows, D(1), settled=AT + timedelta(seconds=2))
    assert (found.forced, found.by_hand) == (D(0), D(1))
    rows.append(row("INTEREST", "-0.2", second=3))
    later = outflow_of(rows, D("1.2"), settled=AT + timedelta(seconds=2))
    assert (later.forced, later.by_hand) == (D("0.2"), D(1))


def test_what_no_row_tells_is_the_venues() -> None:
    """Fees of our own orders charged in this coin stand in no row of their own."""
    found = outflow_of([], D("0.001"))
    assert (found.forced, found.price, found.words, found.at) == (D("0.001"), None, (), None)


def test_a_fill_of_a_fundarb_is_an_orphans() -> None:
    """A link id with the prefix of fundarb is never a person's."""
    orphan = replace(FILL, link_id="fa-k3f9-7Q2MX0WA4D-p001")
    assert Explained(run=((FILL, None), (orphan, None))).orphaned
    assert not Explained(run=((FILL, None),)).orphaned
