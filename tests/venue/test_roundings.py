"""The venue rounds against the account: forced deals, prices that are never kinder than the fair one, the
liquidation price; and the sign of a settlement's rate.
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from fundarb.core.market import Level
from fundarb.core.money import CASH_STEP, ceil_to, floor_to
from fundarb.core.orders import Side
from tests.venue.test_account import ties
from tests.venue.test_orders import BUY, SELL, limit, sent
from tests.venue.toy import HOUR, LINEAR, SPOT, START, D, ToyFeed, perp, spot, venue

FEE = D("0.001")


@pytest.mark.parametrize("fraction", ["0.33333333", "0.00000007", "0.71828183"])
def test_a_forced_sale_brings_no_more_than_it_is_worth(fraction: str) -> None:
    """What is left of the last digit after the fee stays with the venue."""
    at = venue(BTC="1", USDT="10")
    at.world.auto_repay("BTC", D(fraction))
    exact = D(fraction) * D(49_995) * (1 - FEE)
    assert exact != floor_to(exact, CASH_STEP)
    assert at.wallet().coins["USDT"].wallet == 10 + floor_to(exact, CASH_STEP)
    ties(at)


@pytest.mark.parametrize("quantity", ["0.654321", "0.666667"])
def test_a_forced_purchase_costs_no_less_than_it_is_worth(quantity: str) -> None:
    """What is missing of the last digit after the fee is paid by the account."""
    at = venue(USDT="10000")
    sent(at, limit(SPOT, SELL, quantity, "49000", leverage=True))
    before = at.wallet().coins["USDT"].wallet
    at.world.jump("BTCUSDT", D("1.28"))
    assert "BTC" not in at.wallet().coins
    ask = ceil_to(D(50_005) * D("1.28"), D("0.1"))
    exact = D(quantity) * ask * (1 + FEE)
    assert exact != ceil_to(exact, CASH_STEP)
    assert before - at.wallet().coins["USDT"].wallet == ceil_to(exact, CASH_STEP)
    ties(at)


@pytest.mark.parametrize(("bid", "price"), [("60000", "50000"), ("50000", "50000"), ("49000", "49000")])
def test_a_forced_sale_is_never_kinder_than_the_fair_price(bid: str, price: str) -> None:
    """Somebody bids far too much: the venue sells at the fair price all the same; far too little: at that."""
    at = venue(BTC="1", USDT="10")
    at.world.book(SPOT, "BTCUSDT", bids=(Level(D(bid), D(5)),), asks=())
    at.world.auto_repay("BTC", D(1))
    assert at.wallet().coins["USDT"].wallet == 10 + D(price) * (1 - FEE)


@pytest.mark.parametrize("side", [SELL, BUY])
def test_the_liquidation_price_is_the_nearer_tick(side: Side) -> None:
    """Ticks of a hundred: at the price named the account still stands, one tick further it does not."""
    feed = ToyFeed(listed=(spot(), perp(tick_size=D(100))))
    at = venue(feed, USDT="8000")
    sent(at, limit(LINEAR, side, "1", "49000" if side is SELL else "51000"))
    price, tick = at.position("BTCUSDT").liquidation_price, side.sign * D(-100)
    assert price is not None
    assert price % 100 == 0
    at.world.mark("BTCUSDT", price)
    assert D("0.9") < at.wallet().mm_rate < 1
    at.world.mark("BTCUSDT", price + tick)
    assert at.held() == {}


@pytest.mark.parametrize(
    ("rate", "side", "shown"),
    [
        ("0.0001", SELL, "-0.0001"),
        ("0.0001", BUY, "0.0001"),
        ("-0.0005", SELL, "0.0005"),
        ("-0.0005", BUY, "-0.0005"),
    ],
)
def test_the_rate_of_a_settlement_is_that_of_ones_own_side(rate: str, side: Side, shown: str) -> None:
    """The log's rate is + for who pays, as a fee's is: × value it is what was paid."""
    at = venue(ToyFeed(rate=D(rate)))
    sent(at, limit(LINEAR, side, "1", "50005" if side is BUY else "49995"))
    at.advance(START + 8 * HOUR)
    (row,) = [row for row in at.all_transactions() if row.kind == "SETTLEMENT"]
    assert row.fee_rate == D(shown)
    assert row.funding == -row.fee_rate * Decimal(50_000)
