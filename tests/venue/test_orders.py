"""Orders: every refusal with its code, order types, bands, reduce-only, partial fills, the book's memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from fundarb.core.market import Category, Level
from fundarb.core.orders import OrderStatus, Side, TimeInForce
from fundarb.errors import Rejected
from fundarb.venue.engine import Rules, Venue
from fundarb.venue.rows import Directive, MarketUnit, Order, OrderMatch, OrderSpec, OrderType
from tests.venue.toy import LINEAR, SECOND, SPOT, START, D, ToyFeed, perp, spot, venue

BUY, SELL = Side.BUY, Side.SELL
IOC, GTC = TimeInForce.IOC, TimeInForce.GTC


def limit(category: Category, side: Side, quantity: str, price: str, **more: object) -> OrderSpec:
    """A limit order of BTCUSDT, IOC unless said otherwise."""
    spec = OrderSpec(
        category=category,
        symbol="BTCUSDT",
        side=side,
        quantity=D(quantity),
        price=D(price),
        time_in_force=IOC,
    )
    return replace(spec, **more)  # type: ignore[arg-type]


def market(category: Category, side: Side, quantity: str, **more: object) -> OrderSpec:
    """A market order of BTCUSDT."""
    return replace(limit(category, side, quantity, "1"), price=None, order_type=OrderType.MARKET, **more)  # type: ignore[arg-type]


def sent(at: Venue, spec: OrderSpec, directive: Directive | None = None) -> Order:
    """Place and match at once."""
    ack = at.place(spec, directive)
    at.advance(at.now)
    order = at.find_order(spec.category, order_id=ack.order_id)
    assert order is not None
    return order


def code_of(at: Venue, spec: OrderSpec) -> int | None:
    """The code of the refusal; the venue is unchanged by it."""
    before = at.snapshot()
    with pytest.raises(Rejected) as caught:
        at.place(spec)
    assert at.snapshot() == before
    return caught.value.code


REFUSALS = [
    ("perp quantity off the step", limit(LINEAR, BUY, "0.0015", "50000"), 10001),
    ("perp quantity below the minimum", limit(LINEAR, BUY, "0", "50000"), 10001),
    ("perp quantity above the limit maximum", limit(LINEAR, BUY, "1001", "50000"), 10001),
    ("perp quantity above the market maximum", market(LINEAR, BUY, "501"), 10001),
    ("perp price off the tick", limit(LINEAR, BUY, "1", "50000.05"), 10001),
    ("perp limit without a price", replace(limit(LINEAR, BUY, "1", "1"), price=None), 10001),
    ("perp balance", limit(LINEAR, SELL, "19.9", "50000"), 110007),
    ("perp reduce-only without a position", limit(LINEAR, BUY, "1", "50000", reduce_only=True), 110017),
    ("perp unknown", replace(limit(LINEAR, BUY, "1", "50000"), symbol="NOUSDT"), 10001),
    ("link id too long", limit(LINEAR, BUY, "1", "50000", link_id="x" * 37), 10001),
    ("link id with a blank", limit(SPOT, BUY, "1", "50000", link_id="a b"), 10001),
    ("spot unknown", replace(limit(SPOT, BUY, "1", "50000"), symbol="NOUSDT"), 170121),
    ("spot notional below the minimum", limit(SPOT, BUY, "0.00005", "50000"), 170140),
    ("spot market by value below the minimum", market(SPOT, BUY, "4.99"), 170140),
    ("spot quantity decimals", limit(SPOT, BUY, "0.0000015", "50000"), 170137),
    ("spot quantity above the maximum", limit(SPOT, BUY, "1001", "50000"), 170135),
    ("spot price decimals", limit(SPOT, BUY, "0.1", "50000.05"), 170134),
    ("spot price above the band", limit(SPOT, BUY, "0.1", "52500.1"), 170193),
    ("spot price below the band", limit(SPOT, SELL, "0.1", "47499.9"), 170194),
    ("spot buy beyond the balance", limit(SPOT, BUY, "2.1", "50000"), 170131),
    ("spot sell of coins not owned", limit(SPOT, SELL, "0.1", "50000"), 170131),
    ("spot reduce-only", limit(SPOT, BUY, "0.1", "50000", reduce_only=True), 10001),
]


@pytest.mark.parametrize(("what", "spec", "code"), REFUSALS)
def test_refusals_carry_the_venue_s_code_and_change_nothing(what: str, spec: OrderSpec, code: int) -> None:
    """Each rule refuses with Bybit's own code and leaves the venue as it was."""
    assert code_of(venue(), spec) == code, what


def test_notional_below_the_minimum_of_a_perp() -> None:
    """110094 for a perp order worth less than minNotionalValue: at its price, a market order at the mark."""
    at = venue(ToyFeed(listed=(spot(), perp(min_notional=D(51)))))
    assert code_of(at, limit(LINEAR, BUY, "0.001", "50000")) == 110094
    assert code_of(at, market(LINEAR, BUY, "0.001")) == 110094
    sent(at, market(LINEAR, BUY, "0.002"))


def test_leverage_caps_the_position_value() -> None:
    """110090 for a value whose tier allows less leverage than is set; with less leverage it is only a
    matter of funds.
    """
    at = venue()
    at.set_leverage("BTCUSDT", D(50))
    assert code_of(at, limit(LINEAR, SELL, "21", "50000")) == 110090
    at.set_leverage("BTCUSDT", D(25))
    sent(at, limit(LINEAR, SELL, "21", "50000"))


def test_spot_quantity_below_the_minimum() -> None:
    """170136 where the pair still has a quantity minimum."""
    at = venue(ToyFeed(listed=(spot(min_qty=D("0.01")), perp())))
    assert code_of(at, limit(SPOT, BUY, "0.009", "50000")) == 170136


@pytest.mark.parametrize(("category", "code"), [(SPOT, 170141), (LINEAR, 110072)])
def test_a_link_id_is_used_once(category: Category, code: int) -> None:
    """A second order under a link id is refused even after the first is closed, and the first stays alone."""
    at = venue()
    sent(at, limit(category, BUY, "0.1", "50005", link_id="twice"))
    assert code_of(at, limit(category, BUY, "0.1", "50005", link_id="twice")) == code
    assert len(at.all_orders()) == 1


def test_spot_buy_pays_its_fee_in_the_base_coin() -> None:
    """Buy Q at 0.1 %: own Q·(1 − f), the cash flow is exactly the value."""
    at = venue()
    order = sent(at, limit(SPOT, BUY, "0.5", "50005"))
    assert order.status is OrderStatus.FILLED
    assert order.fees == {"BTC": D("0.0005")}
    assert at.wallet().coins["BTC"].wallet == D("0.4995")
    assert at.wallet().coins["USDT"].wallet == D(100_000) - D("0.5") * 50_005


def test_spot_sell_pays_its_fee_in_quote() -> None:
    """Sell: all base coins leave, the fee comes off the proceeds."""
    at = venue(BTC="1", USDT="100")
    order = sent(at, limit(SPOT, SELL, "0.5", "49995"))
    value = D("0.5") * 49_995
    assert order.fees == {"USDT": value / 1000}
    assert at.wallet().coins["USDT"].wallet == 100 + value - value / 1000


def test_fee_deduction_in_mnt_delivers_the_full_quantity() -> None:
    """With MNT deduction on, a spot buy delivers Q and the fee is MNT worth value × rate."""
    feed = ToyFeed(listed=(spot(), perp(), spot("MNTUSDT")), prices={"BTCUSDT": D(50_000), "MNTUSDT": D(2)})
    at = venue(feed, USDT="100000", MNT="1000")
    at.world.fees(SPOT, mnt=True)
    at.world.fees(LINEAR, mnt=True)
    bought = sent(at, limit(SPOT, BUY, "0.5", "50005"))
    sold = sent(at, limit(LINEAR, SELL, "0.5", "49995"))
    assert bought.fees == {"MNT": D("0.5") * 50_005 / 1000 / 2}
    assert at.wallet().coins["BTC"].wallet == D("0.5")
    assert sold.fees == {"MNT": D("0.5") * 49_995 * D("0.00055") / 2}
    assert at.wallet().coins["MNT"].wallet == 1000 - bought.fees["MNT"] - sold.fees["MNT"]


def test_mnt_that_does_not_suffice_is_left_alone() -> None:
    """Without enough MNT the fee falls back to the ordinary coin."""
    feed = ToyFeed(listed=(spot(), spot("MNTUSDT")), prices={"BTCUSDT": D(50_000), "MNTUSDT": D(2)})
    at = venue(feed, USDT="100000", MNT="1")
    at.world.fees(SPOT, mnt=True)
    assert sent(at, limit(SPOT, BUY, "0.5", "50005")).fees == {"BTC": D("0.0005")}


def test_a_fee_is_not_taken_from_the_mnt_that_is_sold() -> None:
    """Who sells all MNT pays in the quote coin; who keeps enough pays in MNT."""
    prices = {"BTCUSDT": D(50_000), "MNTUSDT": D(2)}
    feed = ToyFeed(listed=(spot(), spot("MNTUSDT")), prices=prices, gap=D("0.1"), size=D(1000))
    at = venue(feed, USDT="1000", MNT="100")
    at.world.fees(SPOT, mnt=True)
    kept = sent(at, replace(limit(SPOT, SELL, "60", "1.9"), symbol="MNTUSDT"))
    assert kept.fees == {"MNT": 60 * D("1.95") / 1000 / 2}
    left = at.wallet().coins["MNT"].wallet
    assert left == 40 - kept.fees["MNT"]
    rest = sent(at, replace(limit(SPOT, SELL, str(left), "1.9"), symbol="MNTUSDT"))
    assert rest.fees.keys() == {"USDT"}
    assert "MNT" not in at.wallet().coins


def test_an_order_eats_levels_and_pays_the_impact() -> None:
    """1.5 BTC over levels of 1 at 50,005 and 50,015 fill as two executions at their prices."""
    at = venue()
    order = sent(at, limit(SPOT, BUY, "1.5", "50100"))
    assert [(row.price, row.quantity) for row in at.fills_of(order)] == [
        (D(50_005), D(1)),
        (D(50_015), D("0.5")),
    ]
    assert order.average_price == (D(50_005) + D(50_015) / 2) / D("1.5")


def test_taken_liquidity_is_missing_and_comes_back() -> None:
    """A second clip in the same instant starts where the first ended; half a recovery later half is back."""
    at = venue(rules=Rules(recovery=timedelta(seconds=30)))
    sent(at, limit(LINEAR, SELL, "1.5", "49900"))
    book = at.book(LINEAR, "BTCUSDT")
    assert book.bids[0] == Level(D(49_985), D("0.5"))
    assert at.point(LINEAR, "BTCUSDT").bid == D(49_985)
    assert at.points(LINEAR)["BTCUSDT"].bid_size == D("0.5")
    at.advance(START + 15 * SECOND)
    assert at.book(LINEAR, "BTCUSDT").bids[0] == Level(D(49_995), D("0.25"))
    at.advance(START + 30 * SECOND)
    assert at.book(LINEAR, "BTCUSDT").bids[0] == Level(D(49_995), D(1))


def test_liquidity_comes_back_in_whole_steps() -> None:
    """While it recovers, a level shows a quantity that could be ordered, never more than is really back."""
    at = venue(rules=Rules(recovery=timedelta(seconds=30)))
    sent(at, limit(LINEAR, SELL, "1.5", "49900"))
    at.advance(START + 16 * SECOND + timedelta(milliseconds=7))
    assert at.book(LINEAR, "BTCUSDT").bids[0] == Level(D(49_995), D("0.300"))
    assert at.point(LINEAR, "BTCUSDT").bid_size == D("0.300")


def test_ioc_fills_what_it_can_and_cancels_the_rest() -> None:
    """Spot ends PartiallyFilledCanceled, linear Cancelled with a fill; without any fill
    EC_NoImmediateQtyToFill.
    """
    at = venue()
    partly = sent(at, limit(SPOT, BUY, "1.5", "50005"))
    assert (partly.status, partly.filled) == (OrderStatus.PARTIALLY_FILLED_CANCELED, D(1))
    other = sent(at, limit(LINEAR, BUY, "1.5", "50005"))
    assert (other.status, other.filled, other.reject_reason) == (
        OrderStatus.CANCELLED,
        D(1),
        "EC_CancelForNoFullFill",
    )
    none = sent(at, limit(LINEAR, BUY, "1", "49000"))
    assert (none.status, none.filled, none.reject_reason) == (
        OrderStatus.CANCELLED,
        D(0),
        "EC_NoImmediateQtyToFill",
    )
    assert at.wallet().coins["USDT"].locked == 0


def test_fok_fills_wholly_or_not_at_all() -> None:
    """1.5 at the best price only cannot be filled wholly: nothing is."""
    at = venue()
    missed = sent(at, limit(SPOT, BUY, "1.5", "50005", time_in_force=TimeInForce.FOK))
    assert (missed.status, missed.filled) == (OrderStatus.CANCELLED, D(0))
    done = sent(at, limit(SPOT, BUY, "1.5", "50015", time_in_force=TimeInForce.FOK))
    assert (done.status, done.filled) == (OrderStatus.FILLED, D("1.5"))


def test_post_only_never_takes() -> None:
    """A PostOnly order that would take is cancelled; one that does not rests and earns the maker rate."""
    feed = ToyFeed()
    at = venue(feed)
    taker = sent(at, limit(LINEAR, BUY, "1", "50005", time_in_force=TimeInForce.POST_ONLY))
    assert taker.reject_reason == "EC_PostOnlyWillTakeLiquidity"
    maker = sent(at, limit(LINEAR, BUY, "1", "49900", time_in_force=TimeInForce.POST_ONLY))
    assert not maker.status.final
    feed.prices["BTCUSDT"] = D(49_890)
    at.advance(START + SECOND)
    assert maker.status is OrderStatus.FILLED
    (row,) = at.fills_of(maker)
    assert (row.price, row.maker, row.fee) == (D(49_900), True, D(49_900) * D("0.0002"))


def test_a_resting_order_locks_and_a_cancel_unlocks() -> None:
    """A GTC buy ties quote coins until it is cancelled; a second cancel is refused with the market's code."""
    at = venue()
    order = sent(at, limit(SPOT, BUY, "1", "49000", time_in_force=GTC, link_id="rest"))
    assert at.wallet().coins["USDT"].locked == 49_000
    assert at.open_orders(SPOT) == (order,)
    at.cancel(SPOT, "BTCUSDT", link_id="rest")
    at.advance(at.now)
    assert (order.status, order.cancel_type) == (OrderStatus.CANCELLED, "CancelByUser")
    assert at.wallet().coins["USDT"].locked == 0
    with pytest.raises(Rejected) as caught:
        at.cancel(SPOT, "BTCUSDT", link_id="rest")
    assert caught.value.code == 170142
    with pytest.raises(Rejected) as caught:
        at.cancel(LINEAR, "BTCUSDT", link_id="rest")
    assert caught.value.code == 110001


def test_amend_moves_price_and_lock() -> None:
    """A resting buy moved to the ask fills; its lock follows the new price."""
    at = venue()
    order = sent(at, limit(SPOT, BUY, "1", "49000", time_in_force=GTC))
    at.amend(SPOT, order_id=order.order_id, price=D(49_500))
    at.advance(at.now)
    assert at.wallet().coins["USDT"].locked == 49_500
    at.amend(SPOT, order_id=order.order_id, price=D(50_005))
    at.advance(at.now)
    assert order.status is OrderStatus.FILLED
    assert at.wallet().coins["USDT"].locked == 0


def test_linear_prices_are_clamped_to_the_band_and_spot_prices_refused() -> None:
    """A perp buy at twice the mark is moved to mark × (1 + x), where spot refuses (tested above)."""
    at = venue()
    order = sent(at, limit(LINEAR, BUY, "0.1", "100000"))
    assert order.price == D(52_500)
    assert at.price_limits(LINEAR, "BTCUSDT") == (D(52_500), D(47_500))


def test_market_orders_are_ioc_limits_at_the_band() -> None:
    """A thin book fills a market order partly: what lies beyond the band is cancelled."""
    feed = ToyFeed(gap=D(1000))
    at = venue(feed, USDT="1000000")
    order = sent(at, market(LINEAR, BUY, "5"))
    assert (order.price, order.filled, order.status) == (D(52_500), D(3), OrderStatus.CANCELLED)


def test_a_spot_market_buy_counts_quote_unless_told_otherwise() -> None:
    """Qty 1000 buys for 1000 USDT, rounded down to the step: PartiallyFilledCanceled with a tiny rest."""
    at = venue()
    by_value = sent(at, market(SPOT, BUY, "1000"))
    assert by_value.status is OrderStatus.PARTIALLY_FILLED_CANCELED
    assert by_value.filled == D("0.019998")
    assert 0 <= 1000 - by_value.filled_value < D("0.06")
    by_base = sent(at, market(SPOT, BUY, "0.02", market_unit=MarketUnit.BASE))
    assert by_base.filled == D("0.02")
    assert at.wallet().coins["USDT"].locked == 0


def test_reduce_only_never_flips() -> None:
    """A reduce-only buy of 3 against a short of 1 closes 1 and is cancelled by the reduce-only rule."""
    at = venue()
    sent(at, limit(LINEAR, SELL, "1", "49900"))
    order = sent(at, limit(LINEAR, BUY, "3", "50200", reduce_only=True))
    assert (order.filled, order.cancel_type) == (D(1), "CancelByReduceOnly")
    assert at.position("BTCUSDT").size == 0
    assert code_of(at, limit(LINEAR, BUY, "1", "50200", reduce_only=True)) == 110017


def test_a_whole_position_below_the_minimum_value_can_be_closed() -> None:
    """The minimum order value does not lock a small position in."""
    at = venue(ToyFeed(listed=(spot(), perp(min_notional=D(60)))))
    sent(at, limit(LINEAR, SELL, "0.002", "49900"))
    sent(at, limit(LINEAR, BUY, "0.002", "50200", reduce_only=True))
    sent(at, limit(LINEAR, SELL, "0.003", "49900"))
    sent(at, limit(LINEAR, BUY, "0.002", "50200", reduce_only=True))
    assert at.position("BTCUSDT").size == D("-0.001")
    sent(at, limit(LINEAR, BUY, "0.001", "50200", reduce_only=True))
    assert at.held() == {}


def test_close_on_trigger_with_quantity_zero_closes_all() -> None:
    """The wire's qty "0" with reduceOnly and closeOnTrigger closes the position."""
    at = venue()
    sent(at, limit(LINEAR, SELL, "1", "49900"))
    sent(at, limit(LINEAR, BUY, "0", "50200", reduce_only=True, close_on_trigger=True))
    assert at.held() == {}


def test_matching_waits_for_the_delay() -> None:
    """An acknowledged order is New until the delay is over, then matched against the book of that moment."""
    feed = ToyFeed()
    at = venue(feed, rules=Rules(match_delay=timedelta(milliseconds=300)))
    order = sent(at, limit(SPOT, BUY, "1", "50005"))
    assert order.status is OrderStatus.NEW
    assert at.next_due() == START + timedelta(milliseconds=300)
    feed.prices["BTCUSDT"] = D(49_000)
    at.advance(START + SECOND)
    (row,) = at.fills_of(order)
    assert (row.price, row.time) == (D(49_005), START + timedelta(milliseconds=300))


def test_forced_fractions_and_late_rejections() -> None:
    """Armed directives hit the next orders that fit, one each: 37 %, then a rejection by matching, then
    nothing.
    """
    at = venue()
    at.force(
        OrderMatch(category=SPOT, side=BUY),
        Directive(fill_frac=D("0.37")),
        Directive(reject_reason="EC_PerCancelRequest"),
    )
    untouched = sent(at, limit(LINEAR, SELL, "0.5", "49900"))
    first = sent(at, limit(SPOT, BUY, "0.5", "50100"))
    second = sent(at, limit(SPOT, BUY, "0.5", "50100"))
    third = sent(at, limit(SPOT, BUY, "0.5", "50100"))
    assert untouched.status is third.status is OrderStatus.FILLED
    assert first.filled == D("0.185")
    assert (second.status, second.filled, second.reject_reason) == (
        OrderStatus.REJECTED,
        D(0),
        "EC_PerCancelRequest",
    )
