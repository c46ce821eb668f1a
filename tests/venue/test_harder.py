"""Where a simulation is easily kinder than the exchange: halts, delistings, thin books, debts,
withdrawals.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fundarb.core.orders import ExecKind, OrderStatus, TimeInForce
from fundarb.venue.feed import CoinRules
from tests.venue.test_account import short, ties
from tests.venue.test_orders import BUY, GTC, SELL, code_of, limit, market, sent
from tests.venue.toy import HOUR, LINEAR, SECOND, SPOT, START, D, ToyFeed, coin, perp, spot, venue


def test_a_resting_order_does_not_fill_in_a_halt() -> None:
    """The price runs through it while trading stands still; it fills after the release."""
    feed = ToyFeed()
    at = venue(feed)
    order = sent(at, limit(LINEAR, BUY, "1", "49000", time_in_force=GTC))
    at.world.halt(LINEAR, "BTCUSDT", on=True)
    feed.prices["BTCUSDT"] = D(48_000)
    at.advance(START + 60 * SECOND)
    assert not order.filled
    at.world.halt(LINEAR, "BTCUSDT", on=False)
    at.advance(START + 120 * SECOND)
    assert order.status is OrderStatus.FILLED


def test_a_resting_order_fills_only_what_the_book_shows() -> None:
    """3 wanted, 1 shown at the price: partly filled; more only as the book fills up again."""
    feed = ToyFeed()
    at = venue(feed)
    order = sent(at, limit(LINEAR, BUY, "3", "49000", time_in_force=GTC))
    feed.prices["BTCUSDT"] = D(48_995)
    at.advance(START + SECOND)
    assert (order.filled, order.status) == (D(1), OrderStatus.PARTIALLY_FILLED)
    at.advance(START + 6 * SECOND)
    assert D(1) < order.filled < 2


def test_no_fill_inside_the_spread() -> None:
    """A resting buy above the best bid is not filled by anything but an ask at its price."""
    feed = ToyFeed()
    at = venue(feed)
    order = sent(at, limit(LINEAR, BUY, "1", "50004.9", time_in_force=GTC))
    at.advance(START + HOUR)
    assert not order.filled


def test_close_only_before_a_delisting() -> None:
    """In the last half hour a contract takes no new positions (30228); closing goes on."""
    at, _ = short("1")
    at.world.delist("BTCUSDT", START + HOUR)
    assert sent(at, limit(LINEAR, SELL, "0.1", "49000")).filled
    at.advance(START + timedelta(minutes=30))
    assert code_of(at, limit(LINEAR, SELL, "0.1", "49000")) == 30228
    assert sent(at, limit(LINEAR, BUY, "0.1", "51000")).filled


def test_a_market_order_needs_somebody_to_trade_with() -> None:
    """Nothing on the other side of a contract's book: 110118."""
    at = venue()
    at.world.book(LINEAR, "BTCUSDT", bids=(), asks=())
    assert code_of(at, market(LINEAR, BUY, "1")) == 110118
    assert code_of(at, market(LINEAR, SELL, "1")) == 110118


def test_post_only_has_a_maximum_of_its_own() -> None:
    """170135 above postOnlyMaxLimitOrderSize although a plain limit order may be larger."""
    at = venue(ToyFeed(listed=(replace(spot(), postonly_max_qty=D("0.5")), perp())))
    spec = limit(SPOT, BUY, "0.6", "49000", time_in_force=TimeInForce.POST_ONLY)
    assert code_of(at, spec) == 170135
    assert not sent(at, replace(spec, time_in_force=GTC)).status.final


def test_a_forced_sale_pays_the_loan_back() -> None:
    """What the venue sells of the coins reduces the debt, and the log says so."""
    at = venue(BTC="1", USDT="10")
    at.world.borrow("USDT", D(20_000))
    at.world.transfer("USDT", D(-10))
    at.world.auto_repay("BTC", D("0.1"))
    usdt = at.wallet().coins["USDT"]
    assert usdt.spot_borrowed == 0
    assert usdt.wallet == D("0.1") * 49_995 * D("0.999")  # the bid, less the fee
    assert at.all_transactions()[-1].kind == "REPAY"
    ties(at)


def test_above_the_limit_interest_is_punished_and_the_excess_repaid_by_force() -> None:
    """A debt (here a loss) of twice the limit costs eight times the rate, and coins are sold until the limit
    holds.
    """
    feed = ToyFeed()
    feed.coin_rules["USDT"] = CoinRules(
        coin="USDT", tiers=coin("USDT", "1").tiers, hourly_borrow_rate=D("0.00001"), max_borrow=D(10_000)
    )
    at = venue(feed, BTC="2", USDT="10")
    sent(at, limit(LINEAR, SELL, "1", "49000"))
    feed.prices["BTCUSDT"] += 20_000 + at.wallet().coins["USDT"].equity
    at.advance(START + timedelta(minutes=5))
    rows = at.all_transactions()
    interest = next(row for row in rows if row.kind == "INTEREST")
    assert interest.change == -20_000 * D("0.00008")
    assert any(row.kind == "SPOT_REPAYMENT_SELL" for row in rows)
    assert at.wallet().coins["USDT"].borrowed <= 10_003  # the hour's interest and the spread are left over
    ties(at)


def test_borrowing_is_bounded_by_the_coin_s_limit() -> None:
    """A leveraged spot order beyond the limit is refused, whatever the margin."""
    feed = ToyFeed()
    feed.coin_rules["USDT"] = replace(coin("USDT", "1"), max_borrow=D(1000))
    at = venue(feed, USDT="50000", BTC="5")
    assert code_of(at, limit(SPOT, BUY, "1.1", "50005", leverage=True)) == 170033


def test_coins_in_orders_do_not_cover_losses() -> None:
    """What a spot order ties up counts as borrowed when the perp's loss needs it (and costs interest)."""
    at, feed = short("1", USDT="30000", BTC="2")
    sent(at, limit(SPOT, BUY, "0.5", "48000", time_in_force=GTC))
    assert at.wallet().coins["USDT"].borrowed == 0
    feed.prices["BTCUSDT"] = D(60_000)
    at.advance(START + SECOND)
    equity = at.wallet().coins["USDT"].equity
    assert at.wallet().coins["USDT"].borrowed == 24_000 - equity > 0


def test_margin_cannot_be_withdrawn() -> None:
    """Of 10,000 USDT under a short only what no margin rests on may leave; of the coins likewise."""
    at, feed = short("1", USDT="10000", BTC="1")
    feed.prices["BTCUSDT"] = D(55_000)
    at.advance(START + SECOND)
    available = at.wallet().available
    for name, amount in (("USDT", D(-5000)), ("BTC", -available / 50_000)):
        with pytest.raises(ValueError, match="free"):
            at.world.transfer(name, amount.quantize(D("0.00000001")))
    at.world.transfer("USDT", D(-4000))
    ties(at)


def test_adl_costs_more_than_the_mark() -> None:
    """The other side is bankrupt: its price is worse than the market, for a short and for a long."""
    at, _ = short("1")
    at.world.adl("BTCUSDT", D("0.5"))
    assert at.all_fills()[-1].price == D(50_500)
    long = venue()
    sent(long, limit(LINEAR, BUY, "1", "50100"))
    long.world.adl("BTCUSDT", D("0.5"))
    assert (long.all_fills()[-1].price, long.all_fills()[-1].kind) == (D(49_500), ExecKind.ADL)
