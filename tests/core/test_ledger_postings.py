"""From facts to journals: every one sums to zero per coin, and moves the wallet as the venue did."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.account import Transaction
from fundarb.core.ledger import DUST, POOL, Account, Booked, Holding, HoldingKey, Journal, balances
from fundarb.core.money import cash
from fundarb.core.orders import ExecKind, Execution, Leg, Side
from fundarb.core.postings import (
    DustMove,
    Fill,
    OpeningBalance,
    dust_journal,
    execution_journal,
    holding_key,
    opening_journal,
    quote_coin,
    reversal_journal,
    settle_coin,
)
from fundarb.core.records import Goal, PositionRecord
from fundarb.core.states import PositionState
from fundarb.core.transactions import (
    Share,
    account_of,
    foreign_trade_journal,
    match_journal,
    price_of,
    transaction_journal,
)

D = Decimal
START = datetime(2026, 1, 5, tzinfo=UTC)
Holdings = dict[HoldingKey, Holding]

POSITION = PositionRecord(
    position_id="p-ABCDEFGHJK",
    base="BTC",
    spot_symbol="BTCUSDT",
    perp_symbol="BTCUSDT",
    multiplier=D(1),
    state=PositionState.OPENING,
    goal=Goal.OPEN,
    notional=D(1000),
    target_contracts=D("0.02"),
    spot_owned=D(0),
    contracts=D(0),
    leverage=D(2),
    decision_spot_mid=D(50000),
    decision_perp_mid=D(50010),
    created_at=START,
)
SPOT, PERP = holding_key(POSITION, Leg.SPOT), holding_key(POSITION, Leg.PERP)
MNT = HoldingKey(POOL, "MNT")


def execution(leg: Leg, side: Side, quantity: str, price: str, **changes: Any) -> Execution:
    """One execution without a fee."""
    made = Execution(
        exec_id=f"{leg}{side}{quantity}{price}",
        order_id="o",
        link_id="",
        category=leg.category,
        symbol="BTCUSDT",
        side=side,
        price=D(price),
        quantity=D(quantity),
        value=cash(D(quantity) * D(price)),
        fee=D(0),
        fee_coin="USDT",
        kind=ExecKind.TRADE,
        raw_kind="Trade",
        time=START,
    )
    return replace(made, **changes)


def book(holdings: Holdings, leg: Leg, made: Execution, **options: Any) -> Journal:
    """Book a fill and keep the holdings after it."""
    booked = execution_journal(Fill(execution=made, position=POSITION, leg=leg, **options), holdings)
    holdings |= booked.holdings
    return booked.journal


def row(kind: str, coin: str = "USDT", **changes: Any) -> Transaction:
    """A row of the transaction log whose change is what its parts say, unless told otherwise."""
    amounts = {name: changes.pop(name, D(0)) for name in ("cash_flow", "funding", "fee")}
    made = Transaction(
        id="1",
        kind=kind,
        coin=coin,
        category="linear",
        symbol="",
        side=None,
        time=START,
        quantity=D(0),
        size=D(0),
        price=None,
        change=amounts["cash_flow"] + amounts["funding"] - amounts["fee"],
        balance=D(0),
        fee_rate=None,
        trade_id="t1",
        order_id="",
        link_id="",
        **amounts,
    )
    return replace(made, **changes)


def sums(journal: Journal) -> dict[str, Decimal]:
    """Account and coin against amount, zero left out."""
    return {
        f"{account}:{coin}": total for (account, coin), total in balances(journal.entries).items() if total
    }


# ---------------------------------------------------------------------------------------------- executions


def test_spot_buy_pays_its_fee_in_coins() -> None:
    """A buy of 0.01 at 50,000 with a fee of 0.1 % in the coin: both wallets move, the fee is 0.00001 BTC
    worth 0.5.
    """
    holdings: Holdings = {}
    journal = book(
        holdings, Leg.SPOT, execution(Leg.SPOT, Side.BUY, "0.01", "50000", fee=D("0.00001"), fee_coin="BTC")
    )
    assert sums(journal) == {
        "wallet:BTC": D("0.00999"),
        "position_cost:BTC": D("-0.01"),
        "fees:BTC": D("0.00001"),
        "wallet:USDT": D(-500),
        "position_cost:USDT": D(500),
    }
    assert [entry.value for entry in journal.entries if entry.account is Account.FEES] == [D("0.5")]
    assert holdings == {SPOT: Holding(D("0.00999"), D("499.5"))}


def test_spot_sale_realises_against_average_cost() -> None:
    """Half of what cost 499.5 sold for 260 with a fee in USDT: realised 10.25, the fee beside it."""
    holdings: Holdings = {SPOT: Holding(D("0.00999"), D("499.5"))}
    sale = execution(Leg.SPOT, Side.SELL, "0.004995", "50000", value=D(260), fee=D("0.26"))
    journal = book(holdings, Leg.SPOT, sale)
    assert sums(journal) == {
        "wallet:BTC": D("-0.004995"),
        "position_cost:BTC": D("0.004995"),
        "wallet:USDT": D("259.74"),
        "position_cost:USDT": D("-249.75"),
        "realised:USDT": D("-10.25"),
        "fees:USDT": D("0.26"),
    }
    assert holdings[SPOT] == Holding(D("0.004995"), D("249.75"))


def test_perp_moves_cash_only_when_it_reduces() -> None:
    """Selling short moves the fee alone; buying back moves the gain against the average entry."""
    holdings: Holdings = {}
    first = book(holdings, Leg.PERP, execution(Leg.PERP, Side.SELL, "0.01", "50000", fee=D("0.275")))
    assert sums(first) == {"wallet:USDT": D("-0.275"), "fees:USDT": D("0.275")}
    second = book(holdings, Leg.PERP, execution(Leg.PERP, Side.SELL, "0.03", "52000"))
    assert sums(second) == {}
    third = book(holdings, Leg.PERP, execution(Leg.PERP, Side.BUY, "0.02", "51000"))
    assert sums(third) == {"wallet:USDT": D(10), "realised:USDT": D(-10)}
    assert holdings == {PERP: Holding(D("-0.02"), D(-1030))}


def test_fee_in_a_third_coin_is_disposed_of_at_cost() -> None:
    """A fee of 2 MNT, bought for 0.5 each and worth 0.8 now: an expense of 1.6, of which 0.6 was gained
    by holding MNT.
    """
    holdings: Holdings = {MNT: Holding(D(10), D(5))}
    buy = execution(Leg.SPOT, Side.BUY, "0.01", "50000", fee=D(2), fee_coin="MNT")
    journal = book(holdings, Leg.SPOT, buy, fee_price=D("0.8"))
    values = {(entry.account, entry.coin): entry.value for entry in journal.entries if entry.coin == "MNT"}
    assert values == {
        (Account.WALLET, "MNT"): D(-1),
        (Account.FEES, "MNT"): D("1.6"),
        (Account.REALISED, "MNT"): D("-0.6"),
    }
    assert holdings[SPOT] == Holding(D("0.01"), D(500))
    assert holdings[MNT] == Holding(D(8), D(4))


@pytest.mark.parametrize(
    ("leg", "side", "coin"),
    [(Leg.SPOT, Side.BUY, "MNT"), (Leg.PERP, Side.SELL, "MNT"), (Leg.SPOT, Side.SELL, "BTC")],
)
def test_what_a_fee_coin_gained_is_the_accounts(leg: Leg, side: Side, coin: str) -> None:
    """What coins of the pool gained until they paid a fee is the account's result, not the position's; the
    position bears the fee at its worth.
    """
    pool = HoldingKey(POOL, coin)
    holdings: Holdings = {pool: Holding(D(10), D(5)), SPOT: Holding(D(1), D(50000))}
    made = execution(leg, side, "0.01", "50000", fee=D("0.001"), fee_coin=coin)
    journal = book(holdings, leg, made, fee_price=D(50000))
    owners = {
        entry.account: (entry.position_id, entry.leg, entry.value)
        for entry in journal.entries
        if entry.coin == coin and entry.account in {Account.FEES, Account.REALISED}
    }
    assert owners == {
        Account.FEES: (journal.position_id, leg, D(50)),
        Account.REALISED: (None, None, D("-49.9995")),
    }
    assert journal.position_id is not None


def test_fee_in_a_third_coin_without_a_price_is_valued_at_cost() -> None:
    """Without a price the expense is what the coins had cost, and nothing is gained."""
    holdings: Holdings = {MNT: Holding(D(10), D(5))}
    journal = book(
        holdings, Leg.PERP, execution(Leg.PERP, Side.SELL, "0.01", "50000", fee=D(2), fee_coin="MNT")
    )
    assert [entry.value for entry in journal.entries] == [D(-1), D(1)]


def test_rebate_in_coins_adds_to_the_holding() -> None:
    """A maker's sale with a rebate in the coin: the coins come in at the fill price, the fee account is
    credited.
    """
    holdings: Holdings = {SPOT: Holding(D("0.02"), D(1000))}
    sale = execution(Leg.SPOT, Side.SELL, "0.01", "50000", fee=D("-0.000001"), fee_coin="BTC")
    journal = book(holdings, Leg.SPOT, sale)
    assert sums(journal)["fees:BTC"] == D("-0.000001")
    assert holdings[SPOT] == Holding(D("0.010001"), D("500.05"))


def test_fee_coin_left_empty_means_the_settlement_coin() -> None:
    """Old rows name no fee coin; then it is what the contract settles in."""
    holdings: Holdings = {}
    made = execution(Leg.PERP, Side.SELL, "0.01", "50000", fee=D("0.275"), fee_coin="")
    assert sums(book(holdings, Leg.PERP, made)) == {"wallet:USDT": D("-0.275"), "fees:USDT": D("0.275")}


@pytest.mark.parametrize(
    ("side", "price", "cost"),
    [(Side.BUY, "50100", D("1")), (Side.SELL, "50100", D("-1")), (Side.BUY, "49900", D("-1"))],
)
def test_slippage_is_a_cost_against_the_mid(side: Side, price: str, cost: Decimal) -> None:
    """Buying above and selling below the decision's mid costs; without a decision there is no slippage."""
    made = execution(Leg.SPOT, side, "0.01", price)
    assert book({}, Leg.SPOT, made, mid=D(50000)).slippage == cost
    assert book({}, Leg.SPOT, made).slippage is None


fees = st.tuples(st.decimals("-0.001", "0.002", places=8), st.sampled_from(["BTC", "USDT", "USDC", "MNT"]))
fills = st.lists(
    st.tuples(
        st.sampled_from(list(Leg)),
        st.sampled_from(list(Side)),
        st.decimals("0.000001", "5", places=6),
        st.decimals("1", "100000", places=2),
        fees,
    ),
    min_size=1,
    max_size=10,
)


@given(fills, st.one_of(st.none(), st.decimals("0.1", "2", places=3)))
def test_wallets_move_as_the_venue_moves_them(steps: list[Any], mnt_price: Decimal | None) -> None:
    """Whatever is traded: coins ± quantity, quote ∓ value, gains of the perp and each fee in its coin;
    nothing else.
    """
    holdings: Holdings = {MNT: Holding(D(1000), D(600))}
    journals, expected = [], {"BTC": D(0), "USDT": D(0), "USDC": D(0), "MNT": D(0)}
    perp = Holding()
    for number, (leg, side, quantity, price, (fee, coin)) in enumerate(steps):
        made = execution(leg, side, str(quantity), str(price), fee=fee, fee_coin=coin, exec_id=str(number))
        journals.append(book(holdings, leg, made, fee_price=mnt_price if coin == "MNT" else None))
        expected[coin] -= fee
        if leg is Leg.SPOT:
            expected["BTC"] += side.sign * quantity
            expected["USDT"] -= side.sign * made.value
        else:
            perp, gain = perp.move(side.sign * quantity, side.sign * made.value)
            expected["USDT"] += gain
    found = {coin: sum((journal.wallet_change(coin) for journal in journals), D(0)) for coin in expected}
    assert found == expected


@given(fills, st.decimals("1", "100000", places=2))
def test_value_explains_what_is_owned(steps: list[Any], price: Decimal) -> None:
    """Wallet at cost + unrealised = wallet at the price: the books and the market differ by nothing else."""
    holdings: Holdings = {}
    journals = []
    for number, (leg, side, quantity, paid, (fee, coin)) in enumerate(steps):
        if coin != "MNT":
            made = execution(leg, side, str(quantity), str(paid), fee=fee, fee_coin=coin, exec_id=str(number))
            journals.append(book(holdings, leg, made))
    entries = [entry for journal in journals for entry in journal.entries]
    at_cost = sum((entry.value for entry in entries if entry.account is Account.WALLET), D(0))
    coins = sum(
        (entry.amount for entry in entries if entry.account is Account.WALLET and entry.coin == "BTC"), D(0)
    )
    quote = sum(
        (entry.amount for entry in entries if entry.account is Account.WALLET and entry.coin != "BTC"), D(0)
    )
    unrealised = sum((held.unrealised(price) for key, held in holdings.items() if key.asset == "BTC"), D(0))
    assert at_cost + unrealised == quote + coins * price
    assert sum((entry.value for entry in entries if entry.account is Account.POSITION_COST), D(0)) == 0


def test_coins_of_the_legs() -> None:
    """USDC contracts settle in USDC, everything else linear in USDT; a spot leg is quoted in what follows
    its base.
    """
    assert (settle_coin("BTCPERP"), settle_coin("1000PEPEUSDT")) == ("USDC", "USDT")
    on_usdc = replace(POSITION, spot_symbol="BTCUSDC", perp_symbol="BTCPERP")
    assert (quote_coin(on_usdc, Leg.SPOT), quote_coin(on_usdc, Leg.PERP)) == ("USDC", "USDC")


# ----------------------------------------------------------------------------------------- transaction log


@pytest.mark.parametrize(
    ("kind", "account"),
    [
        ("INTEREST", Account.INTEREST),
        ("TRANSFER_IN", Account.EXTERNAL),
        ("TRANSFER_OUT", Account.EXTERNAL),
        ("TRANSFER_IN_INS_LOAN", Account.EXTERNAL),
        ("AIRDROP", Account.EXTERNAL),
        ("BONUS", Account.EXTERNAL),
        ("BONUS_RECOLLECT", Account.EXTERNAL),
        ("AUTO_DEDUCTION", Account.EXTERNAL),
        ("CONVERT", Account.REALISED),
        ("CURRENCY_BUY", Account.REALISED),
        ("CURRENCY_SELL", Account.REALISED),
        ("SPOT_REPAYMENT_SELL", Account.REALISED),
        ("BORROW", Account.LOAN),
        ("REPAY", Account.LOAN),
        ("FEE_REFUND", Account.FEES),
        ("TRADE", Account.SUSPENSE),
        ("SOMETHING_NEW", Account.SUSPENSE),
    ],
)
def test_each_kind_has_its_account(kind: str, account: Account) -> None:
    """Every kind is booked against its account; one that nobody described, or a trade without execution,
    to suspense.
    """
    assert account_of(kind) is account
    journal = transaction_journal(row(kind, cash_flow=D("-1.5")), {}).journal
    assert sums(journal) == {"wallet:USDT": D("-1.5"), f"{account}:USDT": D("1.5")}


def test_funding_alone_is_ours_to_the_last_digit() -> None:
    """A settlement of our whole size is booked as the venue reports it, with digits that no cash has."""
    paid = D("7.123456789012")
    settled = row("SETTLEMENT", symbol="BTCUSDT", funding=paid, size=D("-0.02"))
    journal = transaction_journal(settled, {}, share=Share(POSITION, D("-0.02"), D("-0.02"))).journal
    assert sums(journal) == {"wallet:USDT": paid, "funding:USDT": -paid}
    assert {(entry.position_id, entry.leg) for entry in journal.entries} == {(POSITION.position_id, Leg.PERP)}


@pytest.mark.parametrize(
    ("total", "ours", "others"), [("-0.05", "4", "6"), ("-0.01", "20", "-10"), ("0.02", "-10", "20")]
)
def test_funding_is_split_by_size(total: str, ours: str, others: str) -> None:
    """Of 10 received, our 0.02 short has its part of the account's whole size; the rest, maybe negative,
    is of no position.
    """
    settled = row("SETTLEMENT", symbol="BTCUSDT", funding=D(10), size=D(total))
    journal = transaction_journal(settled, {}, share=Share(POSITION, D("-0.02"), D(total))).journal
    parts = {
        entry.position_id: -entry.amount for entry in journal.entries if entry.account is Account.FUNDING
    }
    assert parts == {POSITION.position_id: D(ours), None: D(others)}
    assert sums(journal) == {"wallet:USDT": D(10), "funding:USDT": D(-10)}


def test_settlement_of_strangers_is_the_accounts() -> None:
    """Where none of ours was held, funding is the account's own: no position's, and no deposit."""
    journal = transaction_journal(row("SETTLEMENT", symbol="ETHUSDT", funding=D(3)), {}).journal
    assert sums(journal) == {"wallet:USDT": D(3), "funding:USDT": D(-3)}
    assert {entry.position_id for entry in journal.entries} == {None}


def test_session_profit_moves_the_entry() -> None:
    """A USDC session pays 20 out to a short and moves its entry: closing at the session's price gains
    nothing more.
    """
    holdings: Holdings = {PERP: Holding(D("-0.02"), D(-1000))}
    settled = row("SETTLEMENT", "USDC", symbol="BTCUSDT", cash_flow=D(20), funding=D(1), size=D("-0.02"))
    booked = transaction_journal(settled, holdings, share=Share(POSITION, D("-0.02"), D("-0.02")))
    assert sums(booked.journal) == {"wallet:USDC": D(21), "realised:USDC": D(-20), "funding:USDC": D(-1)}
    assert booked.holdings[PERP].unrealised(D(49000)) == 0


def test_a_change_that_is_not_its_parts_goes_to_suspense() -> None:
    """Should a row's change differ from cashFlow + funding − fee, the wallet follows the change, suspense
    takes the rest.
    """
    journal = transaction_journal(row("TRANSFER_IN", cash_flow=D(10), change=D("9.9")), {}).journal
    assert sums(journal) == {
        "wallet:USDT": D("9.9"),
        "external:USDT": D(-10),
        "suspense:USDT": D("0.1"),
    }


def test_fee_of_a_row_is_a_fee() -> None:
    """A fee inside a row of another kind is booked as a fee."""
    journal = transaction_journal(row("CONVERT", cash_flow=D(-5), fee=D("0.1")), {}).journal
    assert sums(journal) == {"wallet:USDT": D("-5.1"), "realised:USDT": D(5), "fees:USDT": D("0.1")}


def sol(kind: str, amount: str, before: Holdings, *, price: int | None) -> Booked:
    """A row that moves SOL."""
    known = None if price is None else D(price)
    return transaction_journal(row(kind, "SOL", cash_flow=D(amount)), before, price=known)


def values(booked: Booked) -> list[tuple[Account, Decimal]]:
    """What each entry of a journal is worth."""
    return [(entry.account, entry.value) for entry in booked.journal.entries]


@pytest.mark.parametrize(
    "kind", ["TRANSFER_OUT", "AUTO_DEDUCTION", "BONUS_RECOLLECT", "INTEREST", "FEE_REFUND", "NEVER_HEARD_OF"]
)
def test_coins_come_in_at_their_price_and_leave_at_their_worth(kind: str) -> None:
    """A deposit of 2 at 100, and 1 that goes when the price is 150, outside, as a payment or unexplained: it
    was worth 150, and 50 of it were gained by holding it.
    """
    came = sol("TRANSFER_IN", "2", {}, price=100)
    went = sol(kind, "-1", dict(came.holdings), price=150)
    assert went.holdings == {HoldingKey(POOL, "SOL"): Holding(D(1), D(100))}
    assert values(went) == [
        (Account.WALLET, D(-100)),
        (account_of(kind), D(150)),
        (Account.REALISED, D(-50)),
    ]
    assert [entry.amount for entry in went.journal.entries] == [D(-1), D(1), D(0)]


@pytest.mark.parametrize("kind", ["CONVERT", "SPOT_REPAYMENT_SELL", "REPAY"])
def test_coins_that_are_exchanged_or_given_back_go_at_cost(kind: str) -> None:
    """What they bring, or what debt they end, stands in another entry: none of their own says a gain."""
    came = sol("TRANSFER_IN", "2", {}, price=100)
    went = sol(kind, "-1", dict(came.holdings), price=150)
    assert values(went) == [(Account.WALLET, D(-100)), (account_of(kind), D(100))]


def test_coins_of_unknown_worth_leave_at_cost() -> None:
    """Where nobody knows the price no gain is made up."""
    came = sol("TRANSFER_IN", "2", {}, price=100)
    went = sol("TRANSFER_OUT", "-1", dict(came.holdings), price=None)
    assert values(went) == [(Account.WALLET, D(-100)), (Account.EXTERNAL, D(100))]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["TRANSFER_IN", "TRANSFER_OUT", "INTEREST", "NEVER_HEARD_OF"]),
            st.decimals("-3", "3", places=4),
            st.integers(1, 999),
        ),
        max_size=8,
    ),
    st.integers(1, 999),
)
def test_the_order_of_what_comes_and_goes_changes_no_result(
    steps: list[tuple[str, Decimal, int]], price: int
) -> None:
    """Forwards and backwards, through zero too: each fact has the same value, and what is realised and
    unrealised adds up to the same.
    """
    made = []
    for way in (steps, steps[::-1]):
        holdings: Holdings = {}
        told: dict[Account, Decimal] = {}
        for kind, amount, then in way:
            booked = sol(kind, str(amount), holdings, price=then)
            holdings |= booked.holdings
            for account, value in values(booked):
                told[account] = told.get(account, D(0)) - value
        pool = holdings.get(HoldingKey(POOL, "SOL"), Holding())
        gained = told.pop(Account.REALISED, D(0)) + pool.unrealised(D(price))
        told.pop(Account.WALLET, None)
        made.append((gained, told))
    assert made[0] == made[1]


def test_matching_books_only_the_rounding() -> None:
    """A trade row that moved 1e-8 more than we booked leaves exactly that in suspense, under a key of its
    own.
    """
    traded = row("TRADE", cash_flow=D("-500.00000001"))
    booked = match_journal(traded, {}, posted=D(-500))
    assert sums(booked.journal) == {"wallet:USDT": D("-0.00000001"), "suspense:USDT": D("0.00000001")}
    assert booked.journal.key == f"match:{traded.key}"


def test_a_strangers_trade_is_the_accounts_and_can_be_taken_back() -> None:
    """Somebody's trade is an exchange and a fee of no position; reversing it leaves no trace in any balance
    or holding.
    """
    bought = row("TRADE", "BTC", symbol="BTCUSDT", price=D(50000), cash_flow=D("0.1"), fee=D("0.001"))
    booked = foreign_trade_journal(bought, {}, price=D(50000))
    assert sums(booked.journal) == {
        "wallet:BTC": D("0.099"),
        "realised:BTC": D("-0.1"),
        "fees:BTC": D("0.001"),
    }
    assert booked.holdings == {HoldingKey(POOL, "BTC"): Holding(D("0.099"), D(4950))}
    back = reversal_journal(booked.journal, booked.holdings)
    assert not any(balances([*booked.journal.entries, *back.journal.entries]).values())
    assert back.holdings == {HoldingKey(POOL, "BTC"): Holding()}
    assert back.journal.key == f"reversal:{bought.key}"


@pytest.mark.parametrize(
    ("symbol", "coin", "known"),
    [
        ("BTCUSDT", "BTC", True),
        ("BTCUSDC", "BTC", True),
        ("BTCEUR", "BTC", False),
        ("ETHBTC", "ETH", False),
        ("ETHBTC", "BTC", False),
        ("ETHWUSDT", "ETH", False),
    ],
)
def test_a_price_is_a_coins_own_only_in_a_quote_coin(symbol: str, coin: str, known: bool) -> None:
    """The price of a trade in euro or bitcoin values nothing in quote, nor does that of a longer name."""
    assert price_of(row("TRADE", coin, symbol=symbol, price=D(7))) == (D(7) if known else None)


# ------------------------------------------------------------------------------------------ opening, dust


def test_opening_balance_comes_from_outside() -> None:
    """What was there at the start is external, what was borrowed is a loan."""
    opening = OpeningBalance(coin="USDT", amount=D(1000), borrowed=D(100))
    journal = opening_journal(opening, {}, at=START).journal
    assert sums(journal) == {"wallet:USDT": D(1000), "external:USDT": D(-900), "loan:USDT": D(-100)}
    assert journal.key == "opening:USDT"


@given(st.decimals("0.000001", "0.01", places=6), st.decimals("0.1", "1", places=1))
def test_dust_moves_at_cost_and_comes_back(quantity: Decimal, part: Decimal) -> None:
    """Dust keeps its cost, no cash moves, and taking it back restores the holding."""
    holding = Holding(quantity, cash(quantity * 50001))
    before: Holdings = {SPOT: holding}
    aside = (quantity * part).quantize(D("1e-9"))
    there = move(before, aside, 1)
    assert there.journal.wallet_change("BTC") == 0
    dust = HoldingKey(DUST, "BTC")
    assert there.holdings[dust].quantity == aside
    assert there.holdings[dust].cost + there.holdings[SPOT].cost == holding.cost
    back = move(dict(there.holdings), -aside, 2)
    assert back.holdings == {SPOT: holding, dust: Holding()}
    assert not any(balances([*there.journal.entries, *back.journal.entries]).values())


def move(before: Holdings, quantity: Decimal, sequence: int) -> Booked:
    """Move dust out of the position or into it."""
    at = START + timedelta(hours=sequence)
    return dust_journal(DustMove(position=POSITION, quantity=quantity, at=at, sequence=sequence), before)
