"""The ledger in the store: each fact once, append-only, all or nothing, exact sums."""

import random
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fundarb.core.account import CoinBalance, Transaction, Wallet
from fundarb.core.ledger import DUST, POOL, Account, Holding, HoldingKey
from fundarb.core.money import cash
from fundarb.core.orders import ExecKind, Execution, Leg, Side
from fundarb.core.records import PositionRecord
from fundarb.errors import InvariantBroken, StateUnavailable
from fundarb.store.database import Store
from fundarb.store.ledger_log import Settlement
from fundarb.store.ledger_tables import RowState
from tests.store.make import NOW, opened, position, server_in_proof

D = Decimal


@pytest.fixture
def plan(store: Store) -> PositionRecord:
    """A position to book for."""
    return store.positions.add(position())


def execution(name: str, leg: Leg = Leg.SPOT, side: Side = Side.BUY, **changes: Any) -> Execution:
    """0.01 BTC at 60,000 without a fee."""
    made = Execution(
        exec_id=name,
        order_id="o",
        link_id="",
        category=leg.category,
        symbol="BTCUSDT",
        side=side,
        price=D(60000),
        quantity=D("0.01"),
        value=D(600),
        fee=D(0),
        fee_coin="USDT",
        kind=ExecKind.TRADE,
        raw_kind="Trade",
        time=NOW,
    )
    return replace(made, **changes)


def row(
    name: str, kind: str = "TRANSFER_IN", coin: str = "USDT", change: str = "10", **changes: Any
) -> Transaction:
    """A row of the log that moves ``change``."""
    made = Transaction(
        id=name,
        kind=kind,
        coin=coin,
        category="spot",
        symbol="",
        side=None,
        time=NOW,
        quantity=D(0),
        size=D(0),
        price=None,
        funding=D(0),
        fee=D(0),
        cash_flow=D(change),
        change=D(change),
        balance=D(0),
        fee_rate=None,
        trade_id="",
        order_id="",
        link_id="",
    )
    return replace(made, **changes)


def wallet(**coins: str) -> Wallet:
    """A wallet of these balances."""
    return Wallet(
        total_equity=D(0),
        margin_balance=None,
        available=None,
        initial_margin_rate=None,
        maintenance_margin_rate=None,
        coins={coin: balance(coin, D(amount)) for coin, amount in coins.items()},
    )


def balance(coin: str, amount: Decimal, borrowed: Decimal = D(0)) -> CoinBalance:
    """One coin."""
    return CoinBalance(
        coin=coin,
        wallet=amount,
        locked=D(0),
        borrowed=borrowed,
        spot_borrowed=borrowed,
        accrued_interest=D(0),
        equity=amount - borrowed,
        usd_value=None,
        unrealised_pnl=D(0),
        collateral=True,
    )


def test_an_execution_is_booked_once(store: Store, plan: PositionRecord) -> None:
    """The second time is a no-op that says so."""
    assert store.ledger.post_execution(execution("1"), position=plan, leg=Leg.SPOT)
    assert not store.ledger.post_execution(execution("1"), position=plan, leg=Leg.SPOT)
    assert store.ledger.balances() == {"BTC": D("0.01"), "USDT": D(-600)}
    assert store.ledger.count() == 4


def test_nobodys_and_motionless_executions_are_not_booked(store: Store, plan: PositionRecord) -> None:
    """A stranger's execution and a funding row move nothing here: their source is the transaction log."""
    assert not store.ledger.post_execution(execution("1"), position=None, leg=None)
    funding = execution("2", Leg.PERP, kind=ExecKind.FUNDING, raw_kind="Funding")
    assert not store.ledger.post_execution(funding, position=plan, leg=Leg.PERP)
    assert store.ledger.count() == 0


def test_a_row_is_booked_once(store: Store) -> None:
    """The same row of the log has one effect; another row with the same venue id is another fact."""
    assert store.ledger.post_transaction(row("1"))
    assert not store.ledger.post_transaction(row("1"))
    assert store.ledger.post_transaction(row("1", coin="USDC"))
    assert store.ledger.balances() == {"USDT": D(10), "USDC": D(10)}
    assert store.ledger.log.state(row("1").key) is RowState.POSTED


def test_what_is_undone_never_happened(store: Store, plan: PositionRecord) -> None:
    """A transaction that fails after the posting leaves no journal, no entry and no holding."""

    def booked_and_failed() -> None:
        with store.transaction():
            store.ledger.post_execution(execution("1"), position=plan, leg=Leg.SPOT)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        booked_and_failed()
    assert (store.ledger.count(), store.ledger.read.holdings()) == (0, {})
    assert store.ledger.post_execution(execution("1"), position=plan, leg=Leg.SPOT)


@pytest.mark.parametrize(
    "statement", ["UPDATE ledger_entries SET amount = '1'", "DELETE FROM ledger_entries"]
)
def test_entries_cannot_be_changed(store: Store, statement: str) -> None:
    """The database itself refuses to change or remove an entry."""
    store.ledger.post_transaction(row("1"))
    with pytest.raises(Exception, match="append-only"):
        store.database.execute_sql(statement)
    assert store.ledger.balances() == {"USDT": D(10)}


def test_tampering_is_seen(store: Store) -> None:
    """A journal that does not sum to zero, put in by another hand, is named by its key."""
    store.ledger.post_transaction(row("1"))
    store.ledger.post_transaction(row("2"))
    assert store.ledger.read.unbalanced() == ()
    columns = "journal_id, account, coin, amount, value"
    store.database.execute_sql(
        f"INSERT INTO ledger_entries ({columns}) VALUES (2, 'wallet', 'USDT', '5', '5')"
    )
    assert store.ledger.read.unbalanced() == (row("2").key,)


def test_reading_gives_back_what_was_written(store: Store, plan: PositionRecord) -> None:
    """Journals come back entry by entry, in the order of booking, by span and by position."""
    store.ledger.post_transaction(row("1"))
    later = execution("2", time=NOW + timedelta(hours=1))
    store.ledger.post_execution(later, position=plan, leg=Leg.SPOT, mid=D(59990))
    every = list(store.ledger.read.journals())
    assert [item.key for item in every] == [row("1").key, later.key]
    assert every[1] == store.ledger.read.journal(later.key)
    assert (every[1].slippage, every[1].leg, every[1].position_id) == (D("0.1"), Leg.SPOT, plan.position_id)
    assert [entry.account for entry in every[0].entries] == [Account.WALLET, Account.EXTERNAL]
    assert list(store.ledger.read.journals(until=NOW + timedelta(hours=1))) == every[:1]
    assert list(store.ledger.read.journals(since=NOW + timedelta(hours=1))) == every[1:]
    assert list(store.ledger.read.journals(position_id=plan.position_id)) == every[1:]
    assert store.ledger.read.slippage() == {plan.position_id: D("0.1")}
    today = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    assert store.ledger.read.slippage_by_day(since=NOW) == ((today, D("0.1")),)


@server_in_proof
def test_many_journals_are_read_page_by_page(store: Store) -> None:
    """More journals than one page holds come back complete and in order."""
    with store.transaction():
        for number in range(450):
            store.ledger.post_transaction(row(str(number), change="1"))
    found = [journal.key for journal in store.ledger.read.journals()]
    assert found == [row(str(number)).key for number in range(450)]
    assert store.ledger.balances() == {"USDT": D(450)}


def test_opening_balances(store: Store) -> None:
    """The books open once, with what the wallet holds, coins at their price."""
    held = wallet(USDT="1000", BTC="0.5")
    assert store.ledger.opened_at is None
    assert store.ledger.post_opening(held, NOW, prices={"BTC": D(60000)})
    assert not store.ledger.post_opening(wallet(USDT="5"), NOW)
    assert store.ledger.opened_at == NOW
    assert store.ledger.opening_id == store.ledger.read.last_id()
    assert store.ledger.balances() == {"USDT": D(1000), "BTC": D("0.5")}
    assert store.ledger.read.holdings() == {HoldingKey(POOL, "BTC"): Holding(D("0.5"), D(30000))}


def test_a_late_opening_counts_only_what_is_new(store: Store, plan: PositionRecord) -> None:
    """What was booked before the opening is not counted a second time."""
    store.ledger.post_execution(execution("1"), position=plan, leg=Leg.SPOT)
    store.ledger.post_opening(wallet(USDT="400", BTC="0.01"), NOW)
    assert store.ledger.balances() == {"USDT": D(400), "BTC": D("0.01")}
    assert store.ledger.read.balances()[Account.EXTERNAL, "USDT"] == D(-1000)


def test_borrowed_coins_are_not_owned(store: Store) -> None:
    """What the venue lent is in the wallet but not in what we own."""
    held = replace(wallet(USDT="1000"), coins={"USDT": balance("USDT", D(1000), D(300))})
    store.ledger.post_opening(held, NOW)
    assert store.ledger.balances() == {"USDT": D(700)}
    assert store.ledger.read.wallet() == {"USDT": D(1000)}
    store.ledger.post_transaction(row("1", "REPAY", change="-300"))
    assert store.ledger.balances() == {"USDT": D(700)}


def test_trade_rows_are_matched(store: Store, plan: PositionRecord) -> None:
    """A trade row that agrees adds nothing; one that is off by a rounding leaves exactly that in suspense."""
    bought = execution("1")
    store.ledger.post_execution(bought, position=plan, leg=Leg.SPOT)
    assert store.ledger.match_trade(row("a", "TRADE", change="-600", trade_id="1"), bought.key) == 0
    assert store.ledger.match_trade(row("b", "TRADE", "BTC", "0.01", trade_id="1"), bought.key) == 0
    assert store.ledger.count() == 4
    sold = execution("2", side=Side.SELL)
    store.ledger.post_execution(sold, position=plan, leg=Leg.SPOT)
    off = row("c", "TRADE", change="599.99999999", trade_id="2")
    assert store.ledger.match_trade(off, sold.key) == D("-1e-8")
    assert store.ledger.balances() == {"USDT": D("-1e-8")}
    assert store.ledger.read.balances()[Account.SUSPENSE, "USDT"] == D("1e-8")
    assert store.ledger.log.state(off.key) is RowState.MATCHED


def test_a_strangers_trade_that_becomes_ours(store: Store, plan: PositionRecord) -> None:
    """Booked as a stranger's from the log, then adopted: taken back, booked as ours, and matched again
    without a rest.
    """
    theirs = row("a", "TRADE", change="-600", trade_id="1", symbol="BTCUSDT")
    coins = row("a", "TRADE", "BTC", "0.01", trade_id="1", symbol="BTCUSDT", price=D(60000))
    for item in (theirs, coins):
        assert store.ledger.match_trade(item, None) == 0
    assert store.ledger.read.balances()[Account.REALISED, "USDT"] == D(600)
    before = store.ledger.balances()
    bought = execution("1")
    assert store.ledger.post_execution(bought, position=plan, leg=Leg.SPOT)
    assert store.ledger.balances() == before
    assert (Account.REALISED, "USDT") not in store.ledger.read.balances()
    assert {item.key for item in store.ledger.log.waiting()} == {theirs.key, coins.key}
    for item in (theirs, coins):
        assert store.ledger.match_trade(item, bought.key) == 0
    assert store.ledger.log.waiting() == ()
    owner = HoldingKey(plan.position_id, "BTC")
    assert store.ledger.read.holdings() == {owner: Holding(D("0.01"), D(600))}


def test_a_trade_that_went_to_suspense_and_becomes_ours(store: Store, plan: PositionRecord) -> None:
    """Its execution came too late and its rows are in suspense: when it does come they are taken back, so
    that nothing counts twice.
    """
    theirs = row("a", "TRADE", change="-600", trade_id="1", symbol="BTCUSDT")
    coins = row("a", "TRADE", "BTC", "0.01", trade_id="1", symbol="BTCUSDT", price=D(60000))
    for item in (theirs, coins):
        assert store.ledger.post_transaction(item)
    assert store.ledger.read.balances()[Account.SUSPENSE, "USDT"] == D(600)
    before = store.ledger.balances()
    bought = execution("1")
    assert store.ledger.post_execution(bought, position=plan, leg=Leg.SPOT)
    assert store.ledger.balances() == before
    assert not [key for key in store.ledger.read.balances() if key[0] is Account.SUSPENSE]
    assert [store.ledger.match_trade(item, bought.key) for item in store.ledger.log.waiting()] == [0, 0]
    owner = HoldingKey(plan.position_id, "BTC")
    assert store.ledger.read.holdings() == {owner: Holding(D("0.01"), D(600))}


def test_what_was_booked_anew_came_into_the_books_once(store: Store, plan: PositionRecord) -> None:
    """Of a stranger's trade that becomes ours, everything that was booked of it is told with the journal by
    which it came first, and comes to the same in sum; of trades that keep their owner nothing is.
    """
    keeps = row("b", "TRADE", change="-7", trade_id="2", symbol="BTCUSDT")
    theirs = row("a", "TRADE", change="49.5", trade_id="1", symbol="BTCUSDT", category="linear", fee=D("0.5"))
    theirs = replace(theirs, cash_flow=D(50))
    sold = execution("0", Leg.PERP, Side.SELL, value=D(650))
    assert store.ledger.post_execution(sold, position=plan, leg=Leg.PERP)
    for item in (keeps, theirs):
        assert store.ledger.match_trade(item, None) == 0
    first = store.ledger.read.last_id()
    assert store.ledger.read.anew() == ()
    bought = execution("1", Leg.PERP, fee=D("0.5"))
    assert store.ledger.post_execution(bought, position=plan, leg=Leg.PERP)
    found = store.ledger.read.anew()
    assert {item.first_id for item in found} == {first}
    assert {item.journal_id for item in found} == {first, first + 1, first + 2}
    assert {item.position_id for item in found if item.journal_id > first + 1} == {plan.position_id}
    assert sum(item.value for item in found if item.journal_id > first) == 0
    assert {item.account for item in found} == {Account.REALISED, Account.FEES}


def test_dust_is_put_aside(store: Store, plan: PositionRecord) -> None:
    """What a position still owns goes to the dust at cost; the wallet does not move; nothing to put aside
    is fine.
    """
    store.ledger.post_execution(execution("1"), position=plan, leg=Leg.SPOT)
    sale = execution("2", side=Side.SELL, quantity=D("0.0099"), value=D(594))
    store.ledger.post_execution(sale, position=plan, leg=Leg.SPOT)
    before = store.ledger.balances()
    assert store.ledger.put_dust_aside(plan, NOW) == D("0.0001")
    assert store.ledger.put_dust_aside(plan, NOW) == D(0)
    assert store.ledger.dust("BTC") == Holding(D("0.0001"), D(6))
    assert store.ledger.balances() == before
    store.ledger.move_dust(plan, D("-0.00004"), at=NOW)
    assert store.ledger.dust("BTC") == Holding(D("0.00006"), D("3.6"))
    owners = {key.owner for key in store.ledger.read.holdings()}
    assert owners == {plan.position_id, DUST}


def test_fees_in_other_coins_have_the_last_known_price(store: Store, plan: PositionRecord) -> None:
    """A fee in MNT is valued at the price told last, in quote."""
    store.ledger.set_price("MNT", D("0.8"))
    paid = execution("1", fee=D(2), fee_coin="MNT")
    store.ledger.post_execution(paid, position=plan, leg=Leg.SPOT)
    (fee,) = [item for item in store.ledger.read.sums() if item.account is Account.FEES]
    assert (fee.coin, fee.amount, fee.value, fee.position_id) == ("MNT", D(2), D("1.6"), plan.position_id)


def test_sums_can_be_cut_by_time_and_by_booking(store: Store) -> None:
    """By the time of the fact, and by the order of booking, which differ for late facts."""
    for number, hours in enumerate((2, 0, 1)):
        store.ledger.post_transaction(
            row(str(number), change=str(10**number), time=NOW + timedelta(hours=hours))
        )
    after = NOW + timedelta(hours=1)

    def external(**cut: Any) -> Decimal:
        return -sum((item.value for item in store.ledger.read.sums(**cut)), D(0))

    assert external() == D(111)
    assert external(since=after) == D(101)
    assert external(until=after) == D(10)
    assert external(booked_after=1) == D(110)
    assert external(booked_until=1) == D(1)
    (day,) = store.ledger.read.by_day(since=after)
    assert (day.account, day.coin, day.value) == (Account.EXTERNAL, "USDT", D(-101))


def test_chain_is_proved_from_the_opening(store: Store) -> None:
    """Rows before the opening do not count; a hole is found from the opening on, and from any later row
    on.
    """
    store.ledger.post_opening(wallet(USDT="100"), NOW)
    store.ledger.log.keep(row("0", balance=D(100)), RowState.OPENING)
    hour = timedelta(hours=1)
    store.ledger.post_transaction(row("1", balance=D(110), time=NOW + hour))
    store.ledger.post_transaction(row("3", balance=D(130), time=NOW + 3 * hour))
    (gap,) = store.ledger.chain_breaks()
    assert (gap.expected, gap.found, gap.after) == (D(120), D(130), NOW.replace(microsecond=123000) + hour)
    assert store.ledger.chain_breaks(["USDT"], since=NOW + 2 * hour) == (replace(gap),)
    assert store.ledger.chain_breaks(["USDC"]) == ()
    store.ledger.post_transaction(row("2", balance=D(120), time=NOW + 2 * hour))
    assert store.ledger.chain_breaks() == ()


def test_settlements_are_pending_until_paid(store: Store, plan: PositionRecord) -> None:
    """A settlement without a payment is pending; written again it is replaced."""
    at = NOW.replace(microsecond=0)
    waiting = Settlement(position_id=plan.position_id, symbol="BTCUSDT", settled_at=at, contracts=D("-0.01"))
    store.ledger.log.put_settlement(waiting)
    assert store.ledger.log.pending_settlements() == (waiting,)
    assert waiting.difference is None
    paid = replace(waiting, expected=D("0.06"), received=D("0.05"), source_id="tx")
    store.ledger.log.put_settlement(paid)
    assert store.ledger.log.settlements(since=at, until=at + timedelta(hours=1)) == (paid,)
    assert store.ledger.log.settlement(plan.position_id, at) == paid
    assert store.ledger.log.pending_settlements() == ()
    assert paid.difference == D("-0.01")
    assert store.ledger.log.settlements(position_id="p-OTHER") == ()


def test_settlements_are_unvalued_until_rate_and_expectation_are_known(
    store: Store, plan: PositionRecord
) -> None:
    """Whatever lacks its rate or its expectation is found again from an instant on; what has both is not."""
    at = NOW.replace(microsecond=0)
    bare = Settlement(position_id=plan.position_id, symbol="BTCUSDT", settled_at=at, contracts=D("-1"))
    rated = replace(bare, settled_at=at + timedelta(hours=8), rate=D("0.0001"))
    whole = replace(rated, settled_at=at + timedelta(hours=16), mark=D(100), expected=D("0.01"))
    for item in (bare, rated, whole):
        store.ledger.log.put_settlement(item)
    unvalued = store.ledger.log.unvalued_settlements
    assert unvalued(plan.position_id, since=at) == (bare, rated)
    assert unvalued(plan.position_id, since=rated.settled_at) == (rated,)
    assert unvalued("p-OTHER", since=at) == ()


def test_a_reader_cannot_post(store: Store, url: str) -> None:
    """A store that was opened for reading refuses before anything happens."""
    store.ledger.post_transaction(row("1"))
    with opened(url, readonly=True) as reader:
        assert reader.ledger.balances() == {"USDT": D(10)}
        with pytest.raises((InvariantBroken, StateUnavailable)):
            reader.ledger.post_transaction(row("2"))


facts = st.lists(
    st.tuples(
        st.sampled_from([Leg.SPOT, Leg.PERP]),
        st.sampled_from(list(Side)),
        st.decimals("0.001", "2", places=3),
        st.decimals("10", "90000", places=2),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=15)
@given(facts, st.randoms(use_true_random=False))
def test_shuffled_and_repeated_facts_leave_the_same_books(steps: list[Any], dice: random.Random) -> None:
    """Whatever the order and however often facts arrive: the same quantities, and the same worth at any
    price.
    """
    made = [
        execution(str(number), leg, side, quantity=quantity, price=price, value=cash(quantity * price))
        for number, (leg, side, quantity, price) in enumerate(steps)
    ]
    shuffled = [*made, *made[: len(made) // 2]]
    dice.shuffle(shuffled)
    results = []
    for order in (made, shuffled):
        with TemporaryDirectory() as folder, opened(Path(folder) / "a.db") as store:
            plan = store.positions.add(position())
            with store.transaction():
                for item in order:
                    leg = Leg.SPOT if item.category is Leg.SPOT.category else Leg.PERP
                    store.ledger.post_execution(item, position=plan, leg=leg)
            held = store.ledger.read.holdings()
            worth = sum((holding.unrealised(D(1234)) for holding in held.values()), D(0))
            realised = -sum((item.value for item in store.ledger.read.sums()), D(0))
            assert store.ledger.read.unbalanced() == ()
            results.append(
                (
                    {key: holding.quantity for key, holding in held.items() if holding.quantity},
                    worth + realised,
                )
            )
    assert results[0] == results[1]
