"""Holdings at average cost, balanced journals, and the proof of a balance chain."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.account import Transaction
from fundarb.core.ledger import Account, Entry, Holding, Journal, chained, require_balanced
from fundarb.errors import InvariantBroken

D = Decimal
START = datetime(2026, 1, 5, tzinfo=UTC)

quantities = st.decimals("-1000", "1000", places=6).filter(bool)
prices = st.decimals("0.0001", "200000", places=4)
trades = st.lists(st.tuples(quantities, prices), min_size=1, max_size=12)


def walked(steps: list[tuple[Decimal, Decimal]]) -> tuple[Holding, Decimal]:
    """The holding after trades of (quantity, price), and all gains."""
    holding, total = Holding(), D(0)
    for quantity, price in steps:
        holding, gain = holding.move(quantity, quantity * price)
        total += gain
    return holding, total


@given(trades, prices, st.randoms(use_true_random=False))
def test_result_does_not_depend_on_order(
    steps: list[tuple[Decimal, Decimal]], price: Decimal, dice: random.Random
) -> None:
    """Realised + unrealised of the same trades is the same in any order, and is what the cash says."""
    shuffled = steps[:]
    dice.shuffle(shuffled)
    expected = sum((quantity * price - quantity * paid for quantity, paid in steps), D(0))
    for order in (steps, shuffled):
        holding, gain = walked(order)
        assert holding.quantity == sum((quantity for quantity, _ in steps), D(0))
        assert gain + holding.unrealised(price) == expected


@given(trades, st.integers(2, 5), prices)
def test_result_does_not_depend_on_splitting(
    steps: list[tuple[Decimal, Decimal]], parts: int, price: Decimal
) -> None:
    """A trade that comes in parts brings the same realised + unrealised as the whole."""
    split = [
        (piece, paid)
        for quantity, paid in steps
        for piece in [quantity / 10] * (parts - 1) + [quantity - (quantity / 10) * (parts - 1)]
    ]
    whole, gain = walked(steps)
    pieces, gains = walked(split)
    assert pieces.quantity == whole.quantity
    assert gains + pieces.unrealised(price) == gain + whole.unrealised(price)


@given(trades, prices)
def test_flat_means_nothing_left(steps: list[tuple[Decimal, Decimal]], price: Decimal) -> None:
    """Closing everything leaves neither quantity nor cost, whatever was rounded on the way."""
    holding, _ = walked(steps)
    if holding.quantity:
        holding, _ = holding.move(-holding.quantity, -holding.quantity * price)
    assert holding == Holding()


def test_reductions_leave_the_average() -> None:
    """Selling half of 3 coins bought at 100, 110 and 120 realises against their average of 110."""
    holding, _ = walked([(D(1), D(100)), (D(1), D(110)), (D(1), D(120))])
    after, gain = holding.move(D("-1.5"), D("-1.5") * 200)
    assert (after.average, gain) == (D(110), D(135))


def test_trade_through_zero_is_split_there() -> None:
    """A short of 2 at 50 that buys 3 at 40 gains 20 and is long 1 at 40."""
    holding, gain = walked([(D(-2), D(50)), (D(3), D(40))])
    assert (holding, gain) == (Holding(D(1), D(40)), D(20))


def test_moving_nothing_for_money_is_a_cost() -> None:
    """A payment without a quantity changes no holding and is lost."""
    assert Holding(D(1), D(5)).move(D(0), D(3)) == (Holding(D(1), D(5)), D(-3))


def entry(account: Account, coin: str, amount: str, value: str | None = None) -> Entry:
    """An entry; its value is its amount unless told."""
    return Entry(account=account, coin=coin, amount=D(amount), value=D(amount if value is None else value))


def journal(*entries: Entry) -> Journal:
    """A journal of these entries."""
    return Journal(key="k", fact="TEST", at=START, symbol="", entries=entries)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ((entry(Account.WALLET, "USDT", "1"),), "USDT by 1, value by 1"),
        ((entry(Account.WALLET, "BTC", "1", "0"), entry(Account.EXTERNAL, "BTC", "-2", "0")), "BTC by -1"),
        ((entry(Account.WALLET, "BTC", "1", "5"), entry(Account.EXTERNAL, "BTC", "-1", "-4")), "value by 1"),
        ((entry(Account.WALLET, "USDT", "1", "2"), entry(Account.FEES, "USDT", "-1", "-2")), "valued at 2"),
    ],
)
def test_unbalanced_journals_are_refused(entries: tuple[Entry, ...], words: str) -> None:
    """A journal that does not sum to zero in a coin or in value never gets into the books, and says by
    how much.
    """
    with pytest.raises(InvariantBroken, match=words):
        require_balanced(journal(*entries))


def row(number: int, change: Decimal, balance: Decimal, at: datetime) -> Transaction:
    """A row of the log that matters only by its change and balance."""
    return Transaction(
        id=str(number),
        kind="TRADE",
        coin="USDT",
        category="spot",
        symbol="BTCUSDT",
        side=None,
        time=at,
        quantity=D(0),
        size=D(0),
        price=None,
        funding=D(0),
        fee=D(0),
        cash_flow=change,
        change=change,
        balance=balance,
        fee_rate=None,
        trade_id=str(number),
        order_id="",
        link_id="",
    )


def chain(changes: list[int], gaps: list[int]) -> list[Transaction]:
    """Rows whose balances follow from each other, each ``gap`` milliseconds after the one before."""
    rows, balance, at = [], D(100), START
    for number, (change, gap) in enumerate(zip(changes, gaps, strict=True)):
        balance, at = balance + change, at + timedelta(milliseconds=gap)
        rows.append(row(number, D(change), balance, at))
    return rows


histories = st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 2)), min_size=1, max_size=14)


@given(histories, st.randoms(use_true_random=False))
def test_chain_holds_in_any_order_of_one_instant(history: list[tuple[int, int]], dice: random.Random) -> None:
    """Rows of one instant, in whatever order the venue gives them, are put where the chain has no break."""
    rows = chain([change for change, _ in history], [gap for _, gap in history])
    dice.shuffle(rows)
    rows.sort(key=lambda item: item.time)
    ordered, breaks = chained(rows, D(100))
    assert breaks == ()
    assert sorted(item.id for item in ordered) == sorted(item.id for item in rows)
    assert ordered[-1].balance == D(100) + sum(change for change, _ in history)


@given(histories.filter(lambda history: len(history) > 2), st.data())
def test_a_missing_row_is_found(history: list[tuple[int, int]], data: st.DataObject) -> None:
    """Leaving a row out that moved something, anywhere but at the end, breaks the chain exactly once."""
    rows = chain([change or 1 for change, _ in history], [1] * len(history))
    missing = data.draw(st.integers(0, len(rows) - 2))
    _, breaks = chained(rows[:missing] + rows[missing + 1 :], D(100))
    (only,) = breaks
    assert only.key == rows[missing + 1].key
    assert only.found - only.expected == rows[missing].change
    assert only.after == (rows[missing - 1].time if missing else None)


def test_unknown_start_is_taken_from_the_first_row() -> None:
    """Without a known balance before them, rows prove only each other; the first is the one no other
    leads to.
    """
    rows = chain([5, -3, 2], [0, 0, 0])
    ordered, breaks = chained([rows[2], rows[0], rows[1]], None)
    assert ([item.id for item in ordered], breaks) == (["0", "1", "2"], ())


@given(histories, st.randoms(use_true_random=False))
def test_an_unknown_start_breaks_no_whole_chain(history: list[tuple[int, int]], dice: random.Random) -> None:
    """What is proved from any instant on, whose rows may come back to where they began, has no break."""
    rows = chain([change for change, _ in history], [gap for _, gap in history])
    dice.shuffle(rows)
    rows.sort(key=lambda item: item.time)
    for since in {item.time for item in rows}:
        assert chained([item for item in rows if item.time >= since], None)[1] == ()


def test_rows_that_fit_nowhere_are_kept() -> None:
    """Rows of one instant that no trail reaches follow at the end, as a break, and are not lost."""
    rows = chain([5, -3], [0, 0])
    stranger = replace(rows[0], id="x", balance=D(1000))
    ordered, breaks = chained([stranger, *rows], D(100))
    assert [item.id for item in ordered] == ["0", "1", "x"]
    assert [item.key for item in breaks] == [stranger.key]
