"""Fields, account rows, orders and executions: strict, eager, exact."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fundarb.core.market import Category
from fundarb.core.orders import ExecKind, OrderStatus, Side
from fundarb.exchange import parse, parse_account, parse_market, parse_orders
from fundarb.exchange.parse import ParseError
from fundarb.exchange.strict import Answer, read_answer
from tests.exchange.server import TIME_MS, envelope, listing
from tests.exchange.test_bybit_market import linear, spot
from tests.exchange.test_bybit_trading import execution_row, order_row, position_row, transaction_row
from tests.exchange.test_tickers import values


def answer(result: object) -> Answer:
    """A result as it comes off the wire."""
    return read_answer(200, envelope(result))


# ---------------------------------------------------------------------------------------------- fields


@pytest.mark.parametrize(
    "value", [None, "", "NaN", "Infinity", "1_0", " 1", "٣", "x", True, [], {}, 1.5, "1e18"]
)
def test_a_number_is_exact_finite_and_sane(value: object) -> None:
    """Everything else is refused with the field's name, floats included."""
    with pytest.raises(ParseError, match="price"):
        parse.number({"price": value}, "price")


def test_not_applicable_is_none_and_never_zero() -> None:
    """Empty, null and missing say nothing; zero says zero."""
    assert [parse.optional_number(row, "a") for row in ({}, {"a": ""}, {"a": None})] == [None, None, None]
    assert parse.optional_number({"a": "0"}, "a") == 0
    assert parse.optional_price({"a": "0"}, "a") is None
    assert parse.amount({"a": ""}, "a") == 0


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (parse.positive, "0"),
        (parse.positive, "-1"),
        (parse.positive, "1e-30"),
        (parse.not_negative, "-0.1"),
        (parse.optional_price, "-1"),
        (parse.integer, "1.5"),
        (parse.integer, None),
        (parse.instant, "0"),
        (parse.instant, "1700000000"),
        (parse.instant, "171578403437"),
        (parse.minutes, "-1"),
        (parse.minutes, "1000000"),
        (parse.text, ""),
        (parse.text, 5),
        (parse.flag, "maybe"),
        (parse.flag, []),
        (parse.child, "x"),
    ],
)
def test_a_field_out_of_its_range_is_refused(read: Callable[[Any, str], object], value: object) -> None:
    """Each reader refuses what its field cannot be; a time of 12 digits is not 1975."""
    with pytest.raises(ParseError, match="field"):
        read({"field": value}, "field")


def test_a_long_value_is_cut_in_the_message() -> None:
    """A message stays readable whatever was sent."""
    with pytest.raises(ParseError) as caught:
        parse.number({"a": "x" * 1000}, "a")
    assert len(str(caught.value)) < 80


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), ("1", True), (1, True), ("ON", True), ("", False), (None, False), ("0", False)],
)
def test_a_flag_is_read_in_every_spelling(value: object, *, expected: bool) -> None:
    """Booleans, digits and words."""
    assert parse.flag({"a": value}, "a") is expected


# ---------------------------------------------------------------------------------------------- rows


def test_a_position_is_signed() -> None:
    """Short is negative; a size without a side is a contradiction; flat needs neither mark nor profit."""
    assert parse_account.position(position_row()).size == Decimal("-0.01")
    assert parse_account.position(position_row(side="Buy")).size == Decimal("0.01")
    flat = parse_account.position(
        position_row(side="", size="0", markPrice="", unrealisedPnl="", leverage="")
    )
    assert (flat.size, flat.leverage, flat.average_price) == (Decimal(0), None, Decimal(64000))
    for changes in ({"side": ""}, {"side": "None"}, {"size": "-1"}, {"markPrice": ""}, {"unrealisedPnl": ""}):
        with pytest.raises(ParseError):
            parse_account.position(position_row(**changes))


ACCOUNT = {"accountType": "UNIFIED", "totalEquity": "100", "totalMarginBalance": "", "accountIMRate": "0.1"}
COIN = {
    "coin": "USDT",
    "walletBalance": "10",
    "locked": "2",
    "spotBorrow": "3",
    "equity": "9",
    "usdValue": "",
}


def test_a_wallet_counts_what_is_ours() -> None:
    """Owned is the balance less what was borrowed, free what is not in orders; "" is None on the account."""
    wallet = parse_account.wallet(answer({"list": [ACCOUNT | {"coin": [COIN]}]}))
    assert (wallet.owned("USDT"), wallet.free("USDT"), wallet.free("BTC")) == (
        Decimal(7),
        Decimal(5),
        Decimal(0),
    )
    assert (wallet.margin_balance, wallet.initial_margin_rate) == (None, Decimal("0.1"))
    assert wallet.coins["USDT"].usd_value is None


@pytest.mark.parametrize(
    "accounts",
    [
        [],
        [ACCOUNT],
        [ACCOUNT | {"coin": [COIN, COIN]}],
        [ACCOUNT | {"coin": [None]}],
        [ACCOUNT | {"coin": [COIN | {"walletBalance": ""}]}],
        [ACCOUNT | {"coin": [COIN], "accountType": "CONTRACT"}],
        [ACCOUNT | {"coin": []}, ACCOUNT | {"coin": []}],
        [ACCOUNT | {"coin": [], "totalEquity": ""}],
    ],
)
def test_a_wallet_that_is_not_whole_is_refused(accounts: list[object]) -> None:
    """No account, two accounts, no coins, a coin without a balance: never an empty wallet."""
    with pytest.raises(ParseError):
        parse_account.wallet(answer({"list": accounts}))


def test_a_transaction_keeps_its_signs() -> None:
    """Funding + received, "" in a flow is nothing, the balance after it must be there."""
    row = parse_account.transaction(transaction_row(side="None"))
    assert (row.side, row.funding, row.fee, row.change) == (
        None,
        Decimal("0.064"),
        Decimal(0),
        Decimal("0.064"),
    )
    for missing in ("id", "type", "currency", "change", "cashBalance", "transactionTime"):
        with pytest.raises(ParseError, match=missing):
            parse_account.transaction(transaction_row() | {missing: ""})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", None),
        ("1970-01-01T00:00:00Z", None),
        ("2027-01-02T03:04:05Z", datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2027-01-02T03:04:05", datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ],
)
def test_a_key_expires_when_the_venue_says(value: str, expected: datetime | None) -> None:
    """1970 is the venue's way of saying never."""
    result = {"userID": 1, "readOnly": 1, "permissions": {}, "expiredAt": value, "ips": None, "unified": 1}
    key = parse_account.key_info(answer(result))
    assert (key.expires, key.read_only, key.unified, key.addresses) == (expected, True, True, ())


@pytest.mark.parametrize(
    "changes",
    [
        {"permissions": None},
        {"permissions": {"Spot": "all"}},
        {"ips": [1]},
        {"expiredAt": "soon"},
        {"userID": None},
    ],
)
def test_a_key_that_cannot_be_read_is_refused(changes: dict[str, object]) -> None:
    """Nothing about a key is guessed."""
    result = {"userID": 1, "readOnly": 1, "permissions": {}, "expiredAt": "", "ips": []} | changes
    with pytest.raises(ParseError):
        parse_account.key_info(answer(result))


def test_an_order_says_what_was_filled() -> None:
    """The average from the venue, else from its value; none without a fill; a new status is kept as
    unknown.
    """
    report = parse_orders.order(order_row(avgPrice=None, price="0", orderStatus="Sleeping"), Category.LINEAR)
    assert (report.average_price, report.limit_price, report.status) == (None, None, OrderStatus.UNKNOWN)
    filled = order_row(cumExecQty="2", avgPrice="", cumExecValue="10")
    assert parse_orders.order(filled, Category.SPOT).average_price == 5
    assert parse_orders.order(filled | {"cumExecValue": ""}, Category.SPOT).average_price is None
    with pytest.raises(ParseError, match="side"):
        parse_orders.order(order_row(side="buy"), Category.SPOT)


@pytest.mark.parametrize(
    ("category", "changes", "coin"),
    [
        (Category.LINEAR, {}, "USDT"),
        (Category.LINEAR, {"symbol": "BTCPERP"}, "USDC"),
        (Category.LINEAR, {"symbol": "BTCUSDT-21FEB25"}, "USDT"),
        (Category.SPOT, {"side": "Buy"}, "BTC"),
        (Category.SPOT, {"side": "Sell"}, "USDT"),
        (Category.SPOT, {"side": "Buy", "execFee": "-0.1"}, "USDT"),
        (Category.SPOT, {"side": "Sell", "execFee": "-0.1"}, "BTC"),
        (Category.SPOT, {"side": "Sell", "symbol": "ETHBTC"}, "BTC"),
        (Category.SPOT, {"feeCurrency": "MNT"}, "MNT"),
    ],
)
def test_a_fee_has_a_coin(category: Category, changes: dict[str, object], coin: str) -> None:
    """The venue's word if there is one, else its rule: base for a buy, quote for a sell, turned round by a
    rebate.
    """
    row = execution_row(feeCurrency="") | changes
    assert parse_orders.execution(row, category).fee_coin == coin


def test_a_fee_whose_coin_cannot_be_told_is_refused() -> None:
    """An amount never travels without its coin."""
    with pytest.raises(ParseError, match="no coin"):
        parse_orders.execution(execution_row(feeCurrency="", symbol="ABCXYZ"), Category.SPOT)


def test_recorded_executions_keep_the_venues_signs(recorded: Callable[[str], bytes]) -> None:
    """Fourteen settlements of a long: a positive fee was paid, a negative one received, each as it was
    booked.
    """
    rows = parse.rows(read_answer(200, recorded("execution-list.linear-funding-long-fourteen")))
    found = [parse_orders.execution(row, Category.LINEAR) for row in rows]
    assert len(found) == 14
    assert {(row.kind, row.side, row.fee_coin) for row in found} == {(ExecKind.FUNDING, Side.BUY, "USDT")}
    assert [row.fee for row in found] == [Decimal(raw["execFee"]) for raw in rows]
    assert min(row.fee for row in found) < 0 < max(row.fee for row in found)


def test_recorded_orders_and_fills_come_through(recorded: Callable[[str], bytes]) -> None:
    """Nulls, protective limits, a spot buy by value, fees in the base coin."""
    history = read_answer(200, recorded("order-history.linear-open-and-reduce-only-close"))
    orders = [parse_orders.order(row, Category.LINEAR) for row in parse.rows(history)]
    assert {order.reduce_only for order in orders} == {True, False}
    assert all(order.average_price not in {None, order.limit_price} for order in orders)
    cancelled = read_answer(200, recorded("order-history.linear-cancelled-nulls"))
    assert parse_orders.order(parse.rows(cancelled)[0], Category.LINEAR).average_price is None
    partial = read_answer(200, recorded("order-realtime.spot-market-buy-partially-filled-canceled"))
    report = parse_orders.order(parse.rows(partial)[0], Category.SPOT)
    assert (report.status, report.status.final) == (OrderStatus.PARTIALLY_FILLED_CANCELED, True)
    bought = read_answer(200, recorded("execution-list.spot-market-buy-base-unit"))
    execution = parse_orders.execution(parse.rows(bought)[0], Category.SPOT)
    assert (execution.fee, execution.fee_coin) == (Decimal("0.000001"), "ETH")


def test_recorded_wallets_and_info_come_through(recorded: Callable[[str], bytes]) -> None:
    """Older answers lack fields that came later."""
    borrowed = parse_account.wallet(read_answer(200, recorded("account-wallet-balance.unified-with-borrow")))
    assert (borrowed.owned("ETH"), borrowed.free("ETH")) == (Decimal("-0.06142"), Decimal(0))
    assert parse_account.wallet(read_answer(200, recorded("account-wallet-balance.unified-one-coin"))).coins
    info = parse_account.account_info(
        read_answer(200, recorded("account-info.regular-margin")), None, uid="7"
    )
    assert (info.uid, info.unified_status, info.delta_neutral_mode) == ("7", 4, None)
    rates = parse_account.fee_rates(read_answer(200, recorded("account-fee-rate.linear-eth")), "ETHUSDT")
    assert (rates.taker, rates.source) == (Decimal("0.0006"), "account")


def test_old_instruments_have_the_venues_defaults(recorded: Callable[[str], bytes]) -> None:
    """Fields that did not exist yet: the minimum value is the venue's, the largest market order the largest
    one.
    """
    contract = parse.rows(read_answer(200, recorded("market-instruments-info.linear-btc-2022")))[0]
    perp = parse_market.perp_instrument(contract)
    assert (perp.min_notional, perp.max_market_qty, perp.perpetual) == (Decimal(5), perp.max_limit_qty, True)
    pair = parse.rows(read_answer(200, recorded("market-instruments-info.spot-btc-2022")))[0]
    assert parse_market.spot_instrument(pair).max_market_qty == Decimal("71.73956243")


def test_an_announced_delisting_is_a_time() -> None:
    """Zero is a healthy perpetual."""
    assert parse_market.perp_instrument(linear()).delivery_time is None
    leaving = parse_market.perp_instrument(linear(deliveryTime=str(TIME_MS)))
    assert leaving.delivery_time is not None
    assert parse_market.perp_instrument(linear(fundingInterval=None)).listed_interval == timedelta()


READERS: list[tuple[dict[str, object], Callable[[Any], object]]] = [
    (linear(), parse_market.perp_instrument),
    (spot(), parse_market.spot_instrument),
    (position_row(), parse_account.position),
    (transaction_row(), parse_account.transaction),
    (order_row(cumExecQty="1"), lambda row: parse_orders.order(row, Category.LINEAR)),
    (execution_row(feeCurrency=""), lambda row: parse_orders.execution(row, Category.SPOT)),
    (dict(COIN), parse_account._coin),
    (ACCOUNT | {"coin": [COIN]}, lambda row: parse_account.wallet(answer({"list": [row]}))),
]


@pytest.mark.parametrize(("row", "read"), READERS)
@settings(max_examples=60)
@given(data=st.data())
def test_any_change_of_a_row_is_read_or_refused(
    data: st.DataObject, row: dict[str, object], read: Callable[[Any], object]
) -> None:
    """Whatever stands in a field, the reader gives a value or a ``ParseError``, nothing else."""
    changes = data.draw(st.dictionaries(st.sampled_from(sorted(row)), values, max_size=3))
    removed = data.draw(st.sets(st.sampled_from(sorted(row)), max_size=2))
    wire = json.loads(json.dumps(row | changes), parse_float=Decimal)
    for name in removed:
        wire.pop(name, None)
    with contextlib.suppress(ParseError):
        assert read(wire) is not None


def test_a_list_must_be_there() -> None:
    """A missing list is never an empty one."""
    for result in ({}, {"list": None}, {"list": "x"}, {"list": [1]}):
        with pytest.raises(ParseError):
            parse.rows(answer(result))
    assert parse.rows(read_answer(200, listing())) == []
