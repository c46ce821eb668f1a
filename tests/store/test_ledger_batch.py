"""Postings in a batch: the very books that single postings make, all or nothing, and nothing read stale."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fundarb.core.ledger import POOL, Account, Holding, HoldingKey
from fundarb.core.money import dec, plain
from fundarb.core.orders import Leg, Side
from fundarb.core.records import PositionRecord
from fundarb.core.transactions import Share
from fundarb.errors import InvariantBroken
from fundarb.store.database import Store
from fundarb.store.ledger_log import Settlement
from fundarb.store.ledger_sql import money
from fundarb.store.ledger_tables import RowState
from tests.store.make import NOW, opened, position
from tests.store.test_ledger import execution, plan, row

D = Decimal
__all__ = ["plan"]


def live(store: Store, owner: PositionRecord, *, between: Callable[[], object]) -> list[object]:
    """A little of everything, with something done between the facts; what each posting answered."""
    ledger, said = store.ledger, []
    bought = execution("1", fee=D("0.00001"), fee_coin="BTC")
    sold = execution("2", side=Side.SELL, quantity=D("0.004"), value=D(244))
    short = execution("3", Leg.PERP, Side.SELL, fee=D("0.33"))
    theirs = row("t", "TRADE", change="-600", trade_id="4", symbol="BTCUSDT")
    coins = row("t", "TRADE", "BTC", "0.01", trade_id="4", symbol="BTCUSDT", price=D(60000))
    paid = row("f", "SETTLEMENT", change="0.25", symbol="BTCUSDT", funding=D("0.25"), cash_flow=D(0))
    deeds: list[Callable[[], object]] = [
        lambda: ledger.post_execution(bought, position=owner, leg=Leg.SPOT, mid=D(59990)),
        lambda: ledger.post_execution(sold, position=owner, leg=Leg.SPOT),
        lambda: ledger.post_execution(bought, position=owner, leg=Leg.SPOT),
        lambda: ledger.post_execution(short, position=owner, leg=Leg.PERP),
        lambda: ledger.match_trade(row("a", "TRADE", change="-600.00000001", trade_id="1"), bought.key),
        lambda: ledger.post_transaction(paid, share=Share(owner, D("-0.01"), D("-0.03"))),
        lambda: ledger.post_transaction(paid, share=Share(owner, D("-0.01"), D("-0.03"))),
        lambda: ledger.post_transaction(row("5", "AIRDROP", "NEW", "5"), price=D(2)),
        lambda: ledger.post_transaction(row("6", "CONVERT", "NEW", "-2")),
        lambda: ledger.log.keep(row("7"), RowState.WAITING),
        lambda: ledger.post_transaction(row("7")),
        lambda: ledger.match_trade(theirs, None),
        lambda: ledger.match_trade(coins, None),
        lambda: ledger.post_execution(execution("4"), position=owner, leg=Leg.SPOT),
        lambda: [ledger.match_trade(item, execution("4").key) for item in ledger.log.waiting()],
        lambda: ledger.put_dust_aside(owner, NOW),
        lambda: ledger.move_dust(owner, D("-0.0001"), at=NOW),
    ]
    for deed in deeds:
        said.append(deed())
        between()
    return said


def books(store: Store) -> tuple[Any, ...]:
    """Everything that the ledger's tables say."""
    read = store.ledger.read
    log = {item.key: store.ledger.log.state(item.key) for item in store.ledger.log.of_coin("USDT")}
    assert (read.unbalanced(), read.drifted()) == ((), ())
    return (list(read.journals()), read.holdings(), sorted(read.totals(), key=str), log, read.digest())


@pytest.mark.parametrize("told", [False, True], ids=["asked for each", "told which rows"])
@pytest.mark.parametrize("reads", [False, True], ids=["written at the end", "read after each fact"])
def test_a_batch_makes_the_books_of_single_postings(anew: Callable[[], str], reads: bool, told: bool) -> None:
    """The same journals in the same order, holdings, totals, states and hash, whether somebody reads between
    the facts or not, whether the batch was told its rows or not; and each posting answers the same.
    """
    with opened(anew()) as store:
        owner = store.positions.add(position())
        expected = live(store, owner, between=lambda: None), books(store)
    with opened(anew()) as store:
        owner = store.positions.add(position())
        with store.ledger.batch([row(name).key for name in "atf567"] if told else ()):
            said = live(store, owner, between=lambda: store.ledger.read.count() if reads else None)
        assert (said, books(store)) == expected


def test_a_batch_knows_the_rows_that_were_there(store: Store) -> None:
    """A row that was booked before the batch is not booked again, nor is one forgotten that waited."""
    store.ledger.post_transaction(row("1"))
    store.ledger.log.keep(row("2"), RowState.WAITING)
    with store.ledger.batch(row(name).key for name in "123"):
        assert [store.ledger.post_transaction(row(name)) for name in "1233"] == [False, True, True, False]
    assert [store.ledger.log.state(row(name).key) for name in "123"] == [RowState.POSTED] * 3
    assert len(list(store.ledger.read.journals())) == 3


def test_a_batch_writes_nothing_before_its_end(store: Store, plan: PositionRecord, url: str) -> None:
    """What is posted in a batch is durable with it: another reader sees nothing until then, and all after."""
    with opened(url, readonly=True) as reader:
        with store.ledger.batch():
            store.ledger.post_execution(execution("1"), position=plan, leg=Leg.SPOT)
            store.ledger.post_transaction(row("1"))
            assert store.ledger.balances() == {"BTC": D("0.01"), "USDT": D(-590)}
            assert (reader.ledger.count(), reader.ledger.log.state(row("1").key)) == (0, None)
        assert reader.ledger.balances() == {"BTC": D("0.01"), "USDT": D(-590)}


def test_a_batch_that_fails_never_happened(store: Store, plan: PositionRecord) -> None:
    """Everything is undone with its transaction, what was read meanwhile included; it can be posted again."""

    def failing() -> None:
        with store.ledger.batch():
            store.ledger.post_execution(execution("1"), position=plan, leg=Leg.SPOT)
            assert store.ledger.count() == 4
            store.ledger.post_transaction(row("1"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert (store.ledger.count(), store.ledger.read.holdings()) == (0, {})
    assert store.ledger.log.state(row("1").key) is None
    with store.ledger.batch():
        assert store.ledger.post_execution(execution("1"), position=plan, leg=Leg.SPOT)
        assert store.ledger.post_transaction(row("1"))
    assert store.ledger.balances() == {"BTC": D("0.01"), "USDT": D(-590)}


def test_half_a_posting_spoils_the_batch(store: Store, plan: PositionRecord) -> None:
    """A posting that breaks off, even if somebody swallows its error, leaves a batch that cannot be kept."""
    no_number: Any = "no number"
    broken = replace(execution("2"), price=no_number)

    def spoilt() -> None:
        with store.ledger.batch():
            store.ledger.post_transaction(row("1"))
            with pytest.raises(TypeError):
                store.ledger.post_execution(broken, position=plan, leg=Leg.SPOT, mid=D(1))

    with pytest.raises(InvariantBroken, match="none of it can be kept"):
        spoilt()
    assert store.ledger.count() == 0


@pytest.mark.parametrize(
    "deed",
    [
        lambda store: store.ledger.post_transaction(row("2")),
        lambda store: store.ledger.balances(),
        lambda store: store.ledger.log.waiting(),
    ],
    ids=["post", "read", "read the log"],
)
def test_a_block_inside_a_batch_has_no_part_in_it(store: Store, deed: Callable[[Store], object]) -> None:
    """A block that could be undone alone neither posts nor makes the batch write: refused by name."""

    def inside() -> None:
        with store.ledger.batch():
            store.ledger.post_transaction(row("1"))
            with store.transaction():
                deed(store)

    with pytest.raises(InvariantBroken, match="block inside a batch"):
        inside()
    assert store.ledger.count() == 0


def test_batches_do_not_nest_and_stand_in_any_transaction(store: Store) -> None:
    """A batch inside a batch is refused; inside a transaction it is undone with it, or alone."""
    with pytest.raises(InvariantBroken, match="inside another"), store.ledger.batch(), store.ledger.batch():
        pass

    def half() -> None:
        with store.ledger.batch():
            store.ledger.post_transaction(row("2"))
            raise RuntimeError

    with store.transaction():
        with store.ledger.batch():
            store.ledger.post_transaction(row("1"))
        with pytest.raises(RuntimeError):
            half()
        store.ledger.post_transaction(row("3"))
    assert [item.key for item in store.ledger.read.journals()] == [row("1").key, row("3").key]


def test_other_work_goes_on_in_a_batch(store: Store, plan: PositionRecord) -> None:
    """Blocks that leave the ledger alone (a settlement, a price, an execution) stand in a batch as
    anywhere.
    """
    at = NOW.replace(microsecond=0)
    due = Settlement(position_id=plan.position_id, symbol="BTCUSDT", settled_at=at, contracts=D(-1))
    with store.ledger.batch():
        store.ledger.post_transaction(row("1"))
        store.ledger.log.put_settlement(due)
        store.ledger.set_price("MNT", D("0.8"))
        assert store.executions.add(execution("1"), position_id=plan.position_id, leg=Leg.SPOT)
        assert store.ledger.log.settlement(plan.position_id, at) == due
        assert store.ledger.price("MNT") == D("0.8")
        assert store.ledger.post_execution(execution("1"), position=plan, leg=Leg.SPOT)
    assert store.ledger.count() == 6


def test_another_thread_sees_nothing_of_a_batch(store: Store) -> None:
    """What a batch holds back belongs to its thread: another one reads what is durable, and writes nothing
    of it.
    """
    seen: list[object] = []
    with store.ledger.batch():
        store.ledger.post_transaction(row("1"))
        other = threading.Thread(target=lambda: seen.extend((store.ledger.count(), store.ledger.balances())))
        other.start()
        other.join()
        assert seen == [0, {}]
    assert store.ledger.count() == 2


def test_many_facts_of_all_sizes_of_a_statement(store: Store) -> None:
    """However many rows are left for the last statements of a batch, each is written once, in order."""
    number = 0
    for size in (1, 3, 5, 16, 17, 63, 64, 65, 90):
        with store.ledger.batch():
            for _ in range(size):
                number += 1
                later = NOW + timedelta(seconds=number)
                store.ledger.post_transaction(row(str(number), change="1", time=later))
    keys = [item.key for item in store.ledger.read.journals()]
    assert keys == [item.key for item in store.ledger.log.of_coin("USDT")]
    assert len(keys) == number
    assert store.ledger.read.balances()[Account.EXTERNAL, "USDT"] == -number


def test_an_empty_batch_and_an_empty_fact(store: Store) -> None:
    """A batch without a fact changes nothing; a fact that moves nothing is there, without entries."""
    with store.ledger.batch():
        pass
    with store.ledger.batch():
        assert store.ledger.post_transaction(row("1", change="0"))
        assert not store.ledger.post_transaction(row("1", change="0"))
    assert [item.entries for item in store.ledger.read.journals()] == [()]
    assert store.ledger.count() == 0


def test_holdings_follow_within_a_batch(store: Store) -> None:
    """The second fact of a coin builds on the first one, not on what stood in the database before."""
    with store.ledger.batch():
        store.ledger.post_transaction(row("1", "AIRDROP", "NEW", "5"), price=D(2))
        store.ledger.post_transaction(row("2", "AIRDROP", "NEW", "5"), price=D(4))
    assert store.ledger.read.holding(HoldingKey(POOL, "NEW")) == Holding(D(10), D(30))


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**50), max_value=10**50))
@example(D("-0.00"))
@example(D("1E+3"))
@example(D("-1E-50"))
@example(D("1.10E-7"))
@example(D("100"))
def test_money_is_stored_as_it_is_printed(amount: Decimal) -> None:
    """The quick way to the text of an amount gives the plain notation, and refuses what is no sane number."""
    try:
        expected = plain(dec(amount))
    except ValueError:
        with pytest.raises(ValueError, match="not a"):
            money(amount)
    else:
        assert money(amount) == expected


@pytest.mark.parametrize("wrong", [D("NaN"), D("sNaN12"), D("-Infinity"), D("1E+60"), True, 1.5])
def test_no_number_is_no_amount(wrong: Any) -> None:
    """Whatever is no finite exact number of sane size is refused on its way in."""
    with pytest.raises(ValueError, match="not a"):
        money(wrong)
