"""The corners: limits on open orders, orders that die before they match, invariants that stop, exact state
on disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import pytest

from fundarb.core.market import SettledFunding
from fundarb.core.orders import ExecKind, OrderStatus
from fundarb.errors import InvariantBroken, Rejected
from fundarb.venue.account import Account, Entry
from fundarb.venue.codec import decode, encode
from fundarb.venue.engine import Rules, Venue
from fundarb.venue.feed import CoinRules
from fundarb.venue.rows import MarketUnit
from fundarb.venue.state import State
from tests.venue.test_account import short, ties
from tests.venue.test_orders import BUY, GTC, SELL, code_of, limit, market, sent
from tests.venue.toy import HOUR, LINEAR, SECOND, SPOT, START, D, ToyFeed, perp, spot, venue


def account() -> Account:
    """Books on their own."""
    return Account(State(uid="x", start=START, now=START, next_interest=START, next_risk=START))


def test_an_amount_that_is_no_cash_stops_the_venue() -> None:
    """Nothing finer than 1e-8 is ever booked."""
    with pytest.raises(InvariantBroken):
        account().post(Entry(kind="TRANSFER_IN", coin="USDT", cash_flow=D("1e-9")))


def test_a_wallet_that_was_tampered_with_stops_the_venue() -> None:
    """The next entry notices that the two sides no longer agree."""
    books = account()
    books.post(Entry(kind="TRANSFER_IN", coin="USDT", cash_flow=D(5)))
    books.coin("USDT").wallet += 1
    with pytest.raises(InvariantBroken, match="tie"):
        books.post(Entry(kind="TRANSFER_IN", coin="USDT", cash_flow=D(5)))


def test_a_position_closed_in_parts_keeps_every_digit() -> None:
    """A third, a third and the rest: realised profit is exactly what came in minus what went out."""
    books = account()
    books.trade("BTCUSDT", BUY, quantity=D(3), value=D("100"))
    booked = [
        books.trade("BTCUSDT", SELL, quantity=D(1), value=value)[0]
        for value in (D(30), D(35), D("33.33333333"))
    ]
    assert sum(booked) == D("98.33333333") - 100
    assert books.position("BTCUSDT").cost == 0


def test_a_trade_through_zero_closes_and_opens() -> None:
    """Long 1, sell 3: the first realises, the other two open a short at their price."""
    books = account()
    books.trade("BTCUSDT", BUY, quantity=D(1), value=D(100))
    pnl, closed = books.trade("BTCUSDT", SELL, quantity=D(3), value=D(330))
    position = books.position("BTCUSDT")
    assert (pnl, closed, position.size, position.cost) == (D(10), D(1), D(-2), D(-220))


@pytest.mark.proof
def test_no_more_than_five_hundred_open_orders() -> None:
    """Per symbol in linear, in all for spot."""
    at = venue(USDT="10000000", BTC="10")
    for _ in range(500):
        at.place(limit(LINEAR, BUY, "0.001", "48000", time_in_force=GTC))
        at.place(limit(SPOT, BUY, "0.001", "48000", time_in_force=GTC))
    assert code_of(at, limit(LINEAR, BUY, "0.001", "48000")) == 110020
    assert code_of(at, limit(SPOT, BUY, "0.001", "48000")) == 170810


def test_spot_orders_by_value_in_both_directions() -> None:
    """A sell for a value locks base coins and brings about that value; wrong decimals are 170148."""
    at = venue(BTC="1", USDT="100")
    order = sent(at, market(SPOT, SELL, "1000", market_unit=MarketUnit.QUOTE))
    assert 0 <= 1000 - order.filled_value < D("0.06")
    assert at.wallet().coins["BTC"].locked == 0
    assert code_of(at, market(SPOT, BUY, "10.123456789")) == 170148


def test_prices_and_quantities_that_are_none() -> None:
    """Zero price, below the minimum quantity, a quantity finer than what can be booked."""
    fine = spot(qty_step=D("1e-10"))
    at = venue(ToyFeed(listed=(fine, perp(min_qty=D("0.01")))))
    assert code_of(at, limit(SPOT, BUY, "0.1", "0")) == 10001
    assert code_of(at, limit(SPOT, BUY, "0.1000000001", "50000")) == 170137
    assert code_of(at, limit(LINEAR, BUY, "0.009", "50000")) == 10001


def test_borrowing_beyond_the_margin_is_refused() -> None:
    """A leveraged spot order needs initial margin for what it borrows: 170033."""
    at = venue(USDT="100")
    assert code_of(at, limit(SPOT, BUY, "1", "50005", leverage=True)) == 170033


def test_a_reduce_only_order_dies_with_its_position() -> None:
    """Resting or still unmatched, it is cancelled by the reduce-only rule, not filled."""
    at, feed = short("1")
    resting = sent(at, limit(LINEAR, BUY, "1", "48000", reduce_only=True, time_in_force=GTC))
    waiting = at.place(limit(LINEAR, BUY, "1", "50100", reduce_only=True))
    at.world.manual_close("BTCUSDT")
    feed.prices["BTCUSDT"] = D(47_000)
    at.advance(START + SECOND)
    unmatched = at.find_order(LINEAR, order_id=waiting.order_id)
    assert unmatched is not None
    assert resting.cancel_type == unmatched.cancel_type == "CancelByReduceOnly"
    assert at.held() == {}


def test_a_cancel_can_come_too_late_or_early() -> None:
    """With a matching delay a cancel asked in the same instant loses against the match; a matched order is
    final.
    """
    at = venue(rules=Rules(match_delay=SECOND))
    ack = at.place(limit(SPOT, BUY, "0.1", "50005"))
    at.cancel(SPOT, "BTCUSDT", order_id=ack.order_id)
    at.advance(START + 2 * SECOND)
    order = at.find_order(SPOT, order_id=ack.order_id)
    assert order is not None
    assert order.status is OrderStatus.FILLED
    with pytest.raises(Rejected) as caught:
        at.cancel(SPOT, "BTCUSDT", order_id=ack.order_id)
    assert caught.value.code == 170139
    with pytest.raises(Rejected) as caught:
        at.amend(SPOT, order_id=ack.order_id, price=D(1))
    assert caught.value.code == 170139


def test_amendments_that_cannot_be() -> None:
    """Nothing changed, less than what is filled, a price off the tick: refused, the order stays."""
    at = venue(ToyFeed(size=D("0.1"), levels=1))
    order = sent(at, limit(LINEAR, BUY, "0.5", "50005", time_in_force=GTC))
    assert order.filled == D("0.1")
    for quantity, price in ((None, None), (D("0.1"), None), (None, D("50005.05"))):
        with pytest.raises(Rejected) as caught:
            at.amend(LINEAR, order_id=order.order_id, quantity=quantity, price=price)
        assert caught.value.code == 10001
    at.amend(LINEAR, order_id=order.order_id, quantity=D("0.2"))
    at.advance(at.now)
    assert order.quantity == D("0.2")
    spot_order = sent(at, limit(SPOT, BUY, "0.5", "48000", time_in_force=GTC))
    with pytest.raises(Rejected):
        at.amend(SPOT, order_id=spot_order.order_id, price=D("48000.05"))
    assert at.wallet().coins["USDT"].locked == 24_000


def test_cancelled_spot_orders_say_so() -> None:
    """A cancelled linear order is 110001 like an unknown one, in spot there is a code of its own."""
    at = venue()
    order = sent(at, limit(LINEAR, BUY, "1", "49000"))
    with pytest.raises(Rejected) as caught:
        at.cancel(LINEAR, "BTCUSDT", order_id=order.order_id)
    assert caught.value.code == 110001


def test_settling_without_a_position_is_history_only() -> None:
    """The forced settlement of a symbol nobody holds pays nobody."""
    at = venue()
    at.advance(START + SECOND)
    at.world.settle("BTCUSDT")
    assert at.all_fills() == ()
    assert len(at.settled_funding("BTCUSDT", START, until=at.now)) == 1
    assert not at.settle_late(SettledFunding(symbol="BTCUSDT", rate=D("0.0001"), time=START))


def test_a_settlement_is_not_booked_twice_when_it_is_late() -> None:
    """The regular settlement at the same instant wins."""
    at, _ = short("1")
    at.advance(START + 9 * HOUR)
    assert not at.settle_late(SettledFunding(symbol="BTCUSDT", rate=D("0.0001"), time=START + 8 * HOUR))
    ties(at)


def test_a_listed_delivery_time_is_kept() -> None:
    """A contract that is listed with a delivery time is delivered then; dated futures are no perpetuals."""
    dated = perp("BTCUSDT", delivery_time=START + 2 * HOUR, contract_type="LinearFutures")
    at = venue(ToyFeed(listed=(spot(), dated)))
    sent(at, limit(LINEAR, SELL, "1", "49900"))
    at.advance(START + 2 * HOUR)
    assert at.all_fills()[-1].kind is ExecKind.DELIVERY


def test_modes_and_switches_of_the_account() -> None:
    """Delta neutral mode is kept; a coin's own collateral switch counts; stable coins cannot be switched."""
    at = venue(BTC="1", USDT="10")
    at.delta_mode = True
    at.set_collateral_switch("BTC", on=False)
    twin = Venue.restore(ToyFeed(), at.snapshot())
    assert twin.delta_mode
    assert twin.wallet().margin_balance == 10
    with pytest.raises(Rejected):
        at.set_collateral_switch("USDT", on=False)
    assert at.tier("BTCUSDT").max_leverage == 50
    assert at.leverage("BTCUSDT") == 10


def test_coins_without_a_market_are_worth_nothing() -> None:
    """An airdropped coin that is not listed counts zero, in value and margin."""
    at = venue(USDT="10", AIR="1000000")
    assert at.wallet().total_equity == 10
    assert at.usd_price("AIR") == 0


def test_beyond_the_last_tier_the_last_one_counts() -> None:
    """Coins above all limits of a table that ends count nothing."""
    feed = ToyFeed()
    feed.coin_rules["BTC"] = CoinRules(coin="BTC", tiers=feed.coin_rules["BTC"].tiers[:0])
    at = venue(feed, BTC="1", USDT="0")
    assert at.wallet().margin_balance == 0


def test_a_bankrupt_account_ends_without_coins_or_positions() -> None:
    """A gap that eats everything leaves a debt, no endless loop, and books that tie."""
    at, feed = short("1", USDT="6500")
    feed.prices["BTCUSDT"] = D(150_000)
    at.advance(START + HOUR)
    assert at.held() == {}
    assert at.wallet().total_equity < 0
    at.advance(START + 10 * HOUR)
    ties(at)


@dataclass
class Sample:
    """Every kind of value that a state may hold."""

    number: Decimal
    at: timedelta
    names: tuple[str, ...]
    table: dict[str, list[int]]
    maybe: Decimal | None = None


def test_the_codec_is_exact() -> None:
    """What is written is read back equal, with the same digits."""
    sample = Sample(D("1.500"), timedelta(microseconds=7), ("a",), {"x": [1, 2]})
    assert decode(Sample, encode(sample)) == sample
    assert encode(sample)["number"] == "1.500"
    with pytest.raises(TypeError):
        encode(object())


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("number", 1, "str expected"),
        ("number", "NaN", "finite"),
        ("at", True, "int expected"),
        ("names", "a", "list expected"),
        ("table", {"x": ["1"]}, "int expected"),
        ("other", 1, "no other"),
    ],
)
def test_what_does_not_fit_is_named(name: str, value: object, words: str) -> None:
    """A wrong type says which field and what was expected."""
    good = encode(Sample(D(1), timedelta(), (), {}))
    with pytest.raises(ValueError, match=words):
        decode(Sample, {**good, name: value})
    with pytest.raises(ValueError, match="missing"):
        decode(Sample, {})
