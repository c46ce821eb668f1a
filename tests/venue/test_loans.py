"""Debts: short sales of borrowed coins are bought back, nothing borrowed is sold, and a large forced deal
goes through the book and hurts.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fundarb.core.orders import ExecKind, OrderStatus
from fundarb.markets.coins import catalogue
from fundarb.markets.synthetic import SyntheticMarket
from fundarb.venue.engine import Venue
from tests.venue.test_account import short, ties
from tests.venue.test_orders import BUY, GTC, SELL, limit, sent
from tests.venue.toy import LINEAR, SECOND, SPOT, START, D, ToyFeed, coin, spot, venue


def kinds(at: Venue) -> list[str]:
    """The kinds of the transaction log, oldest first."""
    return [row.kind for row in at.all_transactions()]


def spot_short(quantity: str = "2", **balances: str) -> Venue:
    """A venue where borrowed BTC were sold at 50,000 less a little."""
    at = venue(None, None, **(balances or {"USDT": "30000"}))
    sent(at, limit(SPOT, SELL, quantity, "49000", leverage=True))
    assert at.wallet().coins["BTC"].spot_borrowed == D(quantity)
    return at


def test_a_margin_short_in_spot_is_bought_back() -> None:
    """When the price of a borrowed coin rises the debt is bought at the ask, fee on top, and paid back while
    the account still has something.
    """
    at = spot_short()
    at.world.jump("BTCUSDT", D("1.2"))
    assert at.wallet().mm_rate < 1
    assert at.wallet().coins["BTC"].spot_borrowed == 2
    cash_before = at.wallet().coins["USDT"].wallet
    at.world.jump("BTCUSDT", D("1.07"))
    assert at.wallet().mm_rate == 0
    assert "BTC" not in at.wallet().coins
    assert kinds(at)[-3:] == ["SPOT_REPAYMENT_BUY", "SPOT_REPAYMENT_BUY", "REPAY"]
    asks = [
        (mid * D("1.2") * D("1.07")).quantize(D("0.1"), "ROUND_CEILING") for mid in (D(50_005), D(50_015))
    ]
    paid = sum(asks, D(0)) * D("1.001")
    assert cash_before - at.wallet().coins["USDT"].wallet == paid
    assert not any(row.kind is ExecKind.BUST for row in at.all_fills())
    ties(at)


def test_a_hopeless_short_leaves_an_empty_account() -> None:
    """When the jump is past everything all coins are sold and all cash goes into the debt; what is left is
    owed, and time goes on.
    """
    listed = (spot(), spot("ETHUSDT"))
    at = venue(
        ToyFeed(listed=listed, prices={"BTCUSDT": D(50_000), "ETHUSDT": D(3000)}), USDT="20000", ETH="5"
    )
    sent(at, limit(SPOT, SELL, "1.5", "49000", leverage=True))
    at.world.jump("BTCUSDT", D(3))
    coins = at.wallet().coins
    assert "ETH" not in coins
    assert coins.get("USDT") is None or coins["USDT"].wallet < D("0.01")
    assert D(0) < coins["BTC"].spot_borrowed < D("1.5")
    at.advance(START + timedelta(hours=3))
    ties(at)


def test_positions_go_first_and_then_the_debt() -> None:
    """With a short in both markets the perp is liquidated and the borrowed coins are bought back."""
    at = spot_short("1", USDT="30000")
    sent(at, limit(LINEAR, SELL, "1", "49000"))
    at.world.jump("BTCUSDT", D("1.5"))
    assert at.held() == {}
    assert "LIQUIDATION" in kinds(at)
    assert "SPOT_REPAYMENT_BUY" in kinds(at)
    ties(at)


def test_borrowed_coins_are_given_back_and_not_sold() -> None:
    """Coins that lie borrowed in the wallet go back to the lender before anything is sold."""
    at, _ = short("1", USDT="8000")
    at.world.borrow("BTC", D("0.1"))
    at.world.jump("BTCUSDT", D("1.18"))
    assert at.held() == {}
    assert "BTC" not in at.wallet().coins
    assert "SPOT_REPAYMENT_SELL" not in kinds(at)
    other = venue(BTC="1", USDT="10")
    other.world.borrow("BTC", D("0.2"))
    other.world.auto_repay("BTC", D("0.5"))
    assert (other.wallet().coins["BTC"].spot_borrowed, other.wallet().coins["BTC"].wallet) == (D(0), D("0.5"))
    ties(other)


@pytest.mark.parametrize(
    ("name", "amount"),
    [("BTC", "1e30"), ("BTC", "1000001"), ("BTC", "30"), ("USDT", "1500000"), ("XYZ", "1")],
)
def test_borrowing_is_bounded(name: str, amount: str) -> None:
    """Beyond the coin's limit or the margin, or of a coin that nobody lends, nothing is borrowed."""
    at = venue(USDT="50000")
    with pytest.raises(ValueError, match=r"borrowed|margin"):
        at.world.borrow(name, D(amount))
    assert kinds(at) == ["TRANSFER_IN"]


def test_above_the_limit_a_debt_of_coins_is_bought_back() -> None:
    """A coin owed beyond its limit is bought, not only others sold."""
    feed = ToyFeed()
    feed.coin_rules["BTC"] = replace(coin("BTC", "0.95", rate="0.01"), max_borrow=D(1))
    at = venue(feed, USDT="100000")
    sent(at, limit(SPOT, SELL, "1", "49000", leverage=True))
    at.advance(START + timedelta(hours=3))
    assert "SPOT_REPAYMENT_BUY" in kinds(at)
    assert at.wallet().coins["BTC"].borrowed <= D("1.011")
    rates = [row.fee_rate for row in at.all_transactions() if row.kind == "INTEREST" and row.fee_rate]
    raised = [rate for rate in rates if rate > D("0.01")]
    assert raised
    assert all(rate == rate.quantize(D("1e-12")) for rate in raised)
    ties(at)


def test_a_large_forced_sale_walks_the_book() -> None:
    """Twenty bids of one BTC each, ten apart, then far worse: the price is the average of the walk."""
    at = venue(BTC="30", USDT="10")
    at.world.auto_repay("BTC", D(1))
    visible = sum((D(49_995) - 10 * k for k in range(20)), D(0))
    beyond = 10 * (D(49_995) - 190) * D("0.8")
    assert at.wallet().coins["USDT"].wallet == 10 + (visible + beyond) * D("0.999")
    assert at.all_transactions()[-1].price == ((visible + beyond) / 30).quantize(D("1e-12"))
    assert at.book(SPOT, "BTCUSDT").bids == ()
    ties(at)


def test_a_forced_sale_without_bids_is_not_kind() -> None:
    """Nobody bids: a fifth less than the fair price."""
    at = venue(BTC="1", USDT="10")
    at.world.book(SPOT, "BTCUSDT", bids=(), asks=())
    at.world.auto_repay("BTC", D(1))
    assert at.wallet().coins["USDT"].wallet == 10 + D(50_000) * D("0.8") * D("0.999")


def test_resting_reduce_only_orders_follow_the_position_at_once() -> None:
    """They shrink when it shrinks, and are cancelled in the instant in which it is flat or turned round."""
    at, _ = short("1")
    first = sent(at, limit(LINEAR, BUY, "1", "48000", reduce_only=True, time_in_force=GTC))
    second = sent(at, limit(LINEAR, BUY, "0.3", "48000", reduce_only=True, time_in_force=GTC))
    at.world.manual_order(LINEAR, "BTCUSDT", side=BUY, quantity=D("0.6"))
    assert (first.quantity, first.status) == (D("0.4"), OrderStatus.NEW)
    assert second.quantity == D("0.3")
    at.world.manual_order(LINEAR, "BTCUSDT", side=BUY, quantity=D("0.9"))
    assert first.cancel_type == second.cancel_type == "CancelByReduceOnly"
    assert first.status is second.status is OrderStatus.CANCELLED
    late = sent(at, limit(LINEAR, SELL, "0.8", "52000", reduce_only=True, time_in_force=GTC))
    assert late.quantity == D("0.5")


def test_a_rate_beyond_the_cap_is_refused() -> None:
    """The contract's cap bounds the world's rate; at the cap it is taken."""

    class Capped(ToyFeed):
        def funding(self, symbol, at):  # type: ignore[no-untyped-def]
            return replace(super().funding(symbol, at), cap=D("0.0075"))

    at = venue(Capped())
    with pytest.raises(ValueError, match="cap"):
        at.world.funding_rate("BTCUSDT", D("-0.0076"))
    at.world.funding_rate("BTCUSDT", D("0.0075"))
    assert at.funding("BTCUSDT").rate == D("0.0075")


def test_nobody_quotes_a_delisted_contract() -> None:
    """After the delivery the book is empty, the quotes are gone and the last prices stand still; spot goes
    on.
    """
    feed = ToyFeed()
    at = venue(feed)
    at.world.delist("BTCUSDT", START + SECOND)
    at.advance(START + 2 * SECOND)
    point = at.point(LINEAR, "BTCUSDT")
    assert (point.bid, point.ask) == (None, None)
    book = at.book(LINEAR, "BTCUSDT")
    assert (book.bids, book.asks) == ((), ())
    assert at.point(SPOT, "BTCUSDT").bid is not None


def test_fees_are_deducted_in_mnt_on_the_built_in_market() -> None:
    """The built-in market has the coin and its price: with the deduction on, a fee leaves the MNT."""
    market = SyntheticMarket(1, START, coins=catalogue())
    at = Venue(market, start=START, uid="mnt", balances={"USDT": D(10_000), "MNT": D(100)})
    at.world.fees(SPOT, mnt=True)
    order = at.world.manual_order(SPOT, "BTCUSDT", side=BUY, quantity=D("0.01"))
    assert order.fees.keys() == {"MNT"}
    assert at.wallet().coins["MNT"].wallet == 100 - order.fees["MNT"]
    assert at.wallet().coins["BTC"].wallet == D("0.01")
    at.world.transfer("MNT", D(5))
    ties(at)


@pytest.mark.parametrize("short_too", [False, True], ids=["nothing else", "a short beside it"])
def test_a_resting_leveraged_sale_costs_interest(short_too: bool) -> None:
    """Coins that an order ties up and nobody owns are borrowed from the first hour on, whatever else is held;
    the interest that the wallet cannot pay is owed.
    """
    at = venue()
    sent(at, limit(SPOT, SELL, "1", "60000", leverage=True, time_in_force=GTC))
    if short_too:
        sent(at, limit(LINEAR, SELL, "1", "49000"))
    at.advance(START + timedelta(hours=2))
    coins = at.wallet().coins["BTC"]
    assert coins.wallet == 0
    assert coins.spot_borrowed == D("0.00002")
    assert [row for row in kinds(at) if row in {"BORROW", "INTEREST"}] == ["BORROW", "INTEREST"] * 2
    ties(at)
