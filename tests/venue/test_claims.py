"""Several orders against one margin: what open orders claim counts before they fill, whatever their side and
market, and a sequence of admitted ones never leaves more initial margin than there is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fundarb.core.market import Level
from fundarb.core.orders import OrderStatus, Side, TimeInForce
from fundarb.errors import Rejected
from fundarb.venue.engine import Venue
from fundarb.venue.rows import MarketUnit, OrderSpec, OrderType
from tests.venue.test_orders import BUY, GTC, SELL, code_of, limit, market, sent
from tests.venue.toy import LINEAR, SPOT, D, ToyFeed, coin, perp, spot, venue


def refusal(act: Callable[[], object]) -> int | None:
    """The code of a refused act."""
    with pytest.raises(Rejected) as caught:
        act()
    return caught.value.code


# ---------------------------------------------------------------------------------------------- contracts


@pytest.mark.parametrize("kind", [OrderType.LIMIT, OrderType.MARKET])
def test_several_orders_cannot_each_turn_the_same_position(kind: OrderType) -> None:
    """With a long of 1 BTC the first sell of 2 needs nothing more, the fourth finds no margin left; twenty at
    once leave the account able to hold what they come to.
    """
    feed = ToyFeed(size=D(1000))
    at = venue(feed, None, USDT="30000")
    sent(at, market(LINEAR, BUY, "1"))
    spec = limit(LINEAR, SELL, "2", "51000", time_in_force=GTC)
    if kind is OrderType.MARKET:
        spec = market(LINEAR, SELL, "2")
    codes = []
    for _ in range(20):
        try:
            at.place(spec)
            codes.append(0)
        except Rejected as error:
            codes.append(error.code or 0)
    assert codes[:2] == [0, 0]
    assert codes[3:] == [110007] * 17
    at.advance(at.now)
    feed.prices["BTCUSDT"] = D(51_100)
    at.world.mark("BTCUSDT", D(50_000))
    assert abs(at.held()["BTCUSDT"]) >= 3
    assert at.wallet().im_rate <= 1


def test_an_amend_looks_at_the_other_orders_too() -> None:
    """A sell beside a long that grows by an amend needs the margin of all of it."""
    at = venue()
    sent(at, limit(LINEAR, BUY, "5", "51000"))
    small = sent(at, limit(LINEAR, SELL, "0.01", "51000", time_in_force=GTC))
    sent(at, limit(LINEAR, SELL, "20", "51000", time_in_force=GTC))
    assert refusal(lambda: at.amend(LINEAR, order_id=small.order_id, quantity=D(10))) == 110007
    at.amend(LINEAR, order_id=small.order_id, quantity=D("0.02"))


def test_closing_needs_no_margin() -> None:
    """An account without any margin left may still close, with a reduce-only order or without."""
    at = venue(None, None, USDT="10000")
    sent(at, limit(LINEAR, BUY, "1.9", "50100"))
    assert code_of(at, market(LINEAR, BUY, "0.2")) == 110007
    at.world.mark("BTCUSDT", D(47_000))
    assert at.wallet().available == 0
    sent(at, market(LINEAR, SELL, "1"))
    sent(at, market(LINEAR, SELL, "0.9", reduce_only=True))
    assert not at.held()


def test_the_largest_market_order_is_covered() -> None:
    """What a market order loses in the book and pays in fees is part of its price: the largest one admitted
    leaves the account able to hold it.
    """
    at = venue(ToyFeed(size=D("0.5")), None, USDT="10000")
    at.set_leverage("BTCUSDT", D(50))
    low, high = D("0.001"), D(20)
    while high - low > D("0.001"):
        middle = ((low + high) / 2).quantize(D("0.001"))
        try:
            at.check(market(LINEAR, SELL, str(middle)))
            low = middle
        except Rejected:
            high = middle
    sent(at, market(LINEAR, SELL, str(low)))
    wallet = at.wallet()
    assert D("0.9") < wallet.im_rate <= 1


def test_a_bad_limit_price_reserves_its_loss() -> None:
    """A sell 4 % below the mark takes the 4 % off what is available, and the rate grows with it."""
    at = venue()
    at.place(limit(LINEAR, SELL, "1", "48000"))
    wallet = at.wallet()
    assert wallet.margin_balance == 100_000
    assert wallet.available == 100_000 - wallet.initial_margin - 2000
    assert wallet.im_rate == wallet.initial_margin / 98_000


def test_the_risk_limit_counts_open_orders() -> None:
    """Two orders of nine tenths of the last tier each: the second is 110090, on the other side it is not."""
    at = venue(ToyFeed(size=D(10_000)), None, USDT="90000000")
    spec = limit(LINEAR, BUY, "900", "49000", time_in_force=GTC)
    sent(at, spec)
    assert code_of(at, spec) == 110090
    sent(at, limit(LINEAR, SELL, "900", "51000", time_in_force=GTC))


def test_margin_is_of_the_tier_that_orders_can_reach() -> None:
    """Four orders of 700,000 at 50 x cost the 4 % of the second tier together, not the 2 % of the first."""
    at = venue(ToyFeed(size=D(10_000)), None, USDT="1000000")
    at.set_leverage("BTCUSDT", D(25))
    for _ in range(4):
        sent(at, limit(LINEAR, BUY, "14", "49000", time_in_force=GTC))
    assert at.wallet().initial_margin >= 4 * 14 * 50_000 * D("0.04")
    at = venue(ToyFeed(size=D(10_000)), None, USDT="1000000")
    at.set_leverage("BTCUSDT", D(50))
    sent(at, limit(LINEAR, BUY, "14", "49000", time_in_force=GTC))
    assert code_of(at, limit(LINEAR, BUY, "14", "49000", time_in_force=GTC)) == 110090


def test_orders_that_a_close_leaves_uncovered_are_cancelled() -> None:
    """Sells that turn a long need nothing while it is there; closed by another order, it no longer covers
    them, and what is not affordable goes, newest first.
    """
    at = venue(ToyFeed(size=D(1000)), None, USDT="65000")
    sent(at, market(LINEAR, BUY, "10"))
    older, newer = (sent(at, limit(LINEAR, SELL, "9", "51000", time_in_force=GTC)) for _ in range(2))
    closing = sent(at, limit(LINEAR, SELL, "10", "52000", time_in_force=GTC, reduce_only=True))
    sent(at, market(LINEAR, SELL, "10", reduce_only=True))
    assert not at.held()
    assert (newer.status, newer.cancel_type) == (OrderStatus.CANCELLED, "CancelByCannotAffordOrderCost")
    assert older.status is OrderStatus.NEW
    assert closing.cancel_type == "CancelByReduceOnly"
    assert at.wallet().im_rate <= 1


# ---------------------------------------------------------------------------------------------- leverage


def test_leverage_is_limited_by_the_tier_of_the_value() -> None:
    """A position of two million, or orders for it, stand in the second tier: 25 is the most (110013)."""
    at = venue(ToyFeed(size=D(10_000)), None, USDT="1000000")
    sent(at, market(LINEAR, BUY, "40"))
    assert refusal(lambda: at.set_leverage("BTCUSDT", D(50))) == 110013
    at.set_leverage("BTCUSDT", D(25))
    at = venue(ToyFeed(size=D(10_000)), None, USDT="1000000")
    sent(at, limit(LINEAR, BUY, "40", "49000", time_in_force=GTC))
    assert refusal(lambda: at.set_leverage("BTCUSDT", D(50))) == 110013


def test_leverage_cannot_be_lowered_beyond_the_margin() -> None:
    """A short of 450,000 on 100,000 cannot be held at a leverage of 1 (110044), at 5 it can."""
    at = venue()
    sent(at, limit(LINEAR, SELL, "9", "49000"))
    before = at.snapshot()
    assert refusal(lambda: at.set_leverage("BTCUSDT", D(1))) == 110044
    assert at.snapshot() == before
    at.set_leverage("BTCUSDT", D(5))
    assert at.wallet().im_rate <= 1


# ---------------------------------------------------------------------------------------------- spot


def poor_coin() -> ToyFeed:
    """ONDO counts for nothing as collateral and is not lent; ETH counts for three quarters."""
    feed = ToyFeed(
        listed=(spot(), perp(), spot("ETHUSDT"), spot("ONDOUSDT", margin_trading="none")),
        prices={"BTCUSDT": D(50_000), "ETHUSDT": D(3000), "ONDOUSDT": D(100)},
        size=D(1000),
    )
    feed.coin_rules["ETH"] = coin("ETH", "0.75")
    return feed


def test_the_haircut_of_open_buys_adds_up() -> None:
    """Under a short, buys of a coin that is no collateral are admitted only as far as all of them together
    leave the initial margin covered.
    """
    at = venue(poor_coin())
    sent(at, limit(LINEAR, SELL, "15", "49000"))
    available = at.wallet().available
    spec = limit(SPOT, BUY, "100", "98", symbol="ONDOUSDT", time_in_force=GTC)
    admitted = 0
    while admitted * 9800 + 9800 <= available:
        at.place(spec)
        admitted += 1
    assert admitted >= 1
    assert code_of(at, spec) == 170131
    assert at.wallet().available == available - admitted * 9800


def test_a_loan_is_only_for_pairs_that_lend() -> None:
    """A leveraged order of a pair whose marginTrading is none is 170037, needed or not."""
    at = venue(poor_coin())
    for quantity in ("1", "999"):
        spec = limit(SPOT, BUY, quantity, "101", symbol="ONDOUSDT", leverage=True)
        assert code_of(at, spec) == 170037


@pytest.mark.parametrize(("quantity", "good"), [("33", True), ("100", True), ("130", False), ("300", False)])
def test_a_leveraged_buy_needs_margin_for_loan_and_haircut(quantity: str, good: bool) -> None:
    """100,000 USDT carry coins of ratio 0.75 for about 314,000: the haircut of all and 10 % of the loan."""
    at = venue(poor_coin())
    spec = limit(SPOT, BUY, quantity, "3010", symbol="ETHUSDT", leverage=True)
    if not good:
        assert code_of(at, spec) == 170033
        return
    sent(at, spec)
    assert at.wallet().im_rate <= 1
    assert at.wallet().coins["ETH"].wallet > 0


def test_a_market_buy_by_value_has_an_upper_limit() -> None:
    """More value than the largest market quantity costs is 170124."""
    at = venue(ToyFeed(size=D(10_000)), None, USDT="90000000")
    most = D(500) * D("50000.5")
    spec = market(SPOT, BUY, "1", market_unit=MarketUnit.QUOTE)
    assert code_of(at, replace(spec, quantity=most * D("1.1"))) == 170124
    sent(at, replace(spec, quantity=most * D("0.9")))


def test_the_band_follows_the_smaller_ratio() -> None:
    """With Y below X the band is ± Y: ``min(max(index, mark × (1 + x)), mark × (1 + y))``."""
    at = venue()
    at.world.filters(LINEAR, "BTCUSDT", fields={"priceLimitRatioX": "0.05", "priceLimitRatioY": "0.01"})
    assert at.price_limits(LINEAR, "BTCUSDT") == (D(50_500), D(49_500))


# ---------------------------------------------------------------------------------------------- the law


SYMBOLS = {"BTCUSDT": D(50_000), "ETHUSDT": D(3000), "ONDOUSDT": D(100)}


def still() -> Venue:
    """Three coins whose prices never move, deep books, one coin that is no collateral."""
    feed = ToyFeed(
        listed=(spot(), perp(), spot("ETHUSDT"), perp("ETHUSDT"), spot("ONDOUSDT", margin_trading="none")),
        prices=dict(SYMBOLS),
        size=D("0.7"),
        levels=400,
        gap=D("0.2"),
    )
    feed.coin_rules["ETH"] = coin("ETH", "0.75")
    return venue(feed, None, USDT="60000", BTC="0.3", ETH="2")


@st.composite
def any_order(draw: st.DrawFn) -> OrderSpec:
    """An order of up to some five times what the account can carry."""
    category = draw(st.sampled_from((LINEAR, LINEAR, SPOT)))
    symbol = draw(st.sampled_from(tuple(SYMBOLS) if category is SPOT else ("BTCUSDT", "ETHUSDT")))
    value = D(draw(st.sampled_from((20, 3000, 15_000, 60_000, 200_000, 700_000, 2_000_000))))
    price = SYMBOLS[symbol]
    kind = draw(st.sampled_from(OrderType))
    return OrderSpec(
        category=category,
        symbol=symbol,
        side=draw(st.sampled_from(Side)),
        quantity=(value / price).quantize(D("0.001")),
        order_type=kind,
        price=(price * draw(st.integers(960, 1040)) / 1000).quantize(D("0.1")),
        time_in_force=draw(st.sampled_from((GTC, GTC, TimeInForce.IOC, TimeInForce.POST_ONLY))),
        reduce_only=category is LINEAR and draw(st.sampled_from((False, False, False, True))),
        leverage=category is SPOT and draw(st.booleans()),
        market_unit=MarketUnit.BASE if kind is OrderType.MARKET and category is SPOT else None,
    )


Deed = Callable[[Venue], object]


def _amend(quantity: int, percent: int) -> Deed:
    def act(at: Venue) -> object:
        found = [order for kind in (LINEAR, SPOT) for order in at.open_orders(kind)][-1]
        price = ((found.price or D(1)) * percent / 100).quantize(D("0.1"))
        return at.amend(
            found.category,
            order_id=found.order_id,
            quantity=found.quantity * quantity,
            price=price,
        )

    return act


def _batch(specs: list[OrderSpec]) -> Deed:
    def act(at: Venue) -> None:
        for spec in specs:
            tried(at, lambda venue_, spec=spec: venue_.place(spec))  # type: ignore[misc]

    return act


def tried(at: Venue, act: Deed) -> None:
    """Do it, refused or not."""
    try:
        act(at)
    except (Rejected, IndexError, ValueError):  # the venue's no, no open order, no position
        return


def _close(symbol: str) -> Deed:
    """The whole position is closed at market, whatever else is open."""
    return lambda at: at.world.manual_close(symbol)


def _through(symbol: str) -> Deed:
    """Every resting order of a contract becomes marketable, the mark stays where it is."""

    def act(at: Venue) -> None:
        mid = SYMBOLS[symbol]
        for away in (D("0.94"), D("1.06")):
            level = (Level(mid * away, D(10_000)),)
            far = (Level(mid * (2 if away > 1 else D("0.5")), D(1)),)
            bids, asks = (level, far) if away > 1 else (far, level)
            at.world.book(LINEAR, symbol, bids=bids, asks=asks)
        at.world.book(LINEAR, symbol)

    return act


DEEDS = st.one_of(
    any_order().map(lambda spec: _batch([spec])),
    st.lists(any_order(), min_size=2, max_size=6).map(_batch),
    st.builds(lambda spec, count: _batch([spec] * count), any_order(), st.integers(2, 8)),
    st.builds(_amend, st.integers(1, 9), st.integers(97, 103)),
    st.builds(
        lambda symbol, leverage: lambda at: at.set_leverage(symbol, D(leverage)),
        st.sampled_from(("BTCUSDT", "ETHUSDT")),
        st.sampled_from((1, 2, 5, 10, 25, 50)),
    ),
    st.sampled_from(("BTCUSDT", "ETHUSDT")).map(_through),
    st.sampled_from(("BTCUSDT", "ETHUSDT")).map(_close),
)


def lived(deeds: list[Deed]) -> None:
    """After each deed, at unchanged prices, initial margin exceeds the margin balance by fees and slippage
    at the most.
    """
    at = still()
    start = equity(at)
    for deed in deeds:
        tried(at, deed)
        at.advance(at.now)
        spent = max(start - equity(at), D(0))
        wallet = at.wallet()
        assert wallet.initial_margin <= wallet.margin_balance + spent


def equity(at: Venue) -> Decimal:
    """What the account is worth; at still prices it falls by fees and slippage alone."""
    return at.wallet().total_equity


@settings(max_examples=60, deadline=None)
@given(st.lists(DEEDS, min_size=2, max_size=10))
def test_no_sequence_of_admitted_acts_outgrows_the_margin(deeds: list[Deed]) -> None:
    """Orders, amends, batches and leverage, admitted one by one: all together they stay within the margin."""
    lived(deeds)


@pytest.mark.proof
@settings(max_examples=300, deadline=None)
@given(st.lists(DEEDS, min_size=8, max_size=25))
def test_no_long_life_outgrows_the_margin(deeds: list[Deed]) -> None:
    """The same over lives of up to twenty-five acts."""
    lived(deeds)
