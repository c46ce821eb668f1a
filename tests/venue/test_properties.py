"""Whatever is done to a venue, money is conserved, the log ties, reduce-only never flips, and it happens
the same way again.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fundarb.core.market import Category, Level
from fundarb.core.money import CASH_STEP, cash, is_multiple
from fundarb.core.orders import ExecKind, Side, TimeInForce
from fundarb.errors import Rejected
from fundarb.venue.book import Want, scaled, skip, take
from fundarb.venue.codec import encode
from fundarb.venue.engine import Rules, Venue
from fundarb.venue.rows import Directive, OrderSpec, OrderType
from tests.venue.test_account import ties
from tests.venue.toy import LINEAR, SPOT, D, ToyFeed, perp, spot, venue

SYMBOLS = ("BTCUSDT", "ETHUSDT")
Step = Callable[["Bench"], None]


@dataclass
class Bench:
    """A venue with its feed."""

    at: Venue
    feed: ToyFeed


def bench() -> Bench:
    """Two coins, a fee that does not come out even, a matching delay."""
    feed = ToyFeed(
        listed=(spot(), perp(), spot("ETHUSDT"), perp("ETHUSDT"), spot("MNTUSDT")),
        prices={"BTCUSDT": D(50_000), "ETHUSDT": D(3000), "MNTUSDT": D(2000)},
        size=D("0.777"),
    )
    at = venue(
        feed, Rules(match_delay=timedelta(milliseconds=200)), USDT="60000", BTC="0.5", ETH="3", MNT="0.1"
    )
    at.world.fees(SPOT, taker=D("0.0018"), maker=D("0.00067"))
    return Bench(at, feed)


@st.composite
def orders(draw: st.DrawFn) -> Step:
    """Any order, legal or not."""
    category = draw(st.sampled_from(Category))
    symbol = draw(st.sampled_from(SYMBOLS))
    price = D(50_000) if symbol == "BTCUSDT" else D(3000)
    spec = OrderSpec(
        category=category,
        symbol=symbol,
        side=draw(st.sampled_from(Side)),
        quantity=draw(st.integers(1, 3000)) * D("0.001"),
        order_type=draw(st.sampled_from(OrderType)),
        price=(price * draw(st.integers(940, 1060)) / 1000).quantize(D("0.1")),
        time_in_force=draw(st.sampled_from(TimeInForce)),
        reduce_only=category is LINEAR and draw(st.booleans()),
        leverage=category is SPOT and draw(st.booleans()),
    )
    fraction = draw(st.sampled_from((None, D("0.37"), D(0))))

    def act(on: Bench) -> None:
        size = on.at.held().get(symbol, D(0))
        try:
            on.at.place(spec, Directive(fill_frac=fraction))
        except Rejected:
            return
        on.at.advance(on.at.now + timedelta(milliseconds=200))
        if spec.reduce_only:
            after = on.at.held().get(symbol, D(0))
            assert abs(after) <= abs(size)
            assert after * size >= 0

    return act


def _wait(minutes: int) -> Step:
    return lambda on: on.at.advance(on.at.now + timedelta(minutes=minutes))


def _move(symbol: str, percent: int) -> Step:
    def act(on: Bench) -> None:
        on.feed.prices[symbol] = (on.feed.prices[symbol] * percent / 100).quantize(D("0.1"))
        on.at.advance(on.at.now + timedelta(seconds=1))

    return act


def _verb(act: Callable[[Venue], object]) -> Step:
    def step(on: Bench) -> None:
        try:
            act(on.at)
        except (ValueError, Rejected):
            return

    return step


VERBS = (
    lambda at: at.world.adl("BTCUSDT", D("0.4")),
    lambda at: at.world.settle("ETHUSDT"),
    lambda at: at.world.interval("BTCUSDT", 1),
    lambda at: at.world.funding_rate("ETHUSDT", D("-0.00123")),
    lambda at: at.world.borrow("USDT", D("1234.56789")),
    lambda at: at.world.auto_repay("BTC", D("0.1")),
    lambda at: at.world.transfer("USDT", D("-777.00000001")),
    lambda at: at.world.manual_order(LINEAR, "ETHUSDT", side=Side.SELL, quantity=D("1.5")),
    lambda at: at.world.manual_close("BTCUSDT"),
    lambda at: at.world.jump("BTCUSDT", D("1.35")),
    lambda at: at.world.delist("ETHUSDT", at.now + timedelta(hours=1)),
    lambda at: at.world.liquidate("ETHUSDT"),
    lambda at: at.world.adl("ETHUSDT", D(1)),
    lambda at: at.world.fees(SPOT, mnt=True),
    lambda at: at.world.fees(LINEAR, maker=D("-0.0001"), mnt=True),
    lambda at: at.world.collateral("BTC", on=False),
    lambda at: at.world.collateral("ETH", on=True, ratio=D("0.4")),
    lambda at: at.world.transfer("BTC", D("0.12345678")),
    lambda at: at.world.usd(D("0.93")),
    lambda at: at.world.mark("BTCUSDT", D(71_234)),
    lambda at: at.world.mark("BTCUSDT", None),
    lambda at: at.world.freeze("ETHUSDT", on=True),
    lambda at: at.world.halt(LINEAR, "BTCUSDT", on=True),
    lambda at: at.world.halt(LINEAR, "BTCUSDT", on=False),
    lambda at: at.world.filters(LINEAR, "ETHUSDT", fields={"qtyStep": "0.1", "minNotionalValue": "50"}),
    lambda at: at.world.book(SPOT, "ETHUSDT", bids=(Level(D(2900), D(2)),), asks=()),
    lambda at: at.set_leverage("BTCUSDT", D(3)),
    lambda at: at.set_collateral_switch("BTC", on=False),
    lambda at: at.cancel_all(SPOT),
    lambda at: at.cancel_all(LINEAR, "BTCUSDT"),
)


@st.composite
def amendments(draw: st.DrawFn) -> Step:
    """Another quantity and price for the latest open order of a market."""
    category = draw(st.sampled_from(Category))
    quantity = draw(st.none() | st.integers(1, 3000).map(lambda n: n * D("0.001")))
    percent = draw(st.none() | st.integers(94, 106))

    def act(on: Bench) -> None:
        found = on.at.open_orders(category)
        if not found:
            return
        price = None if percent is None or found[0].price is None else found[0].price * percent / 100
        if price is not None:
            price = price.quantize(D("0.1"))
        _verb(lambda at: at.amend(category, order_id=found[0].order_id, quantity=quantity, price=price))(on)

    return act


STEP = st.one_of(
    orders(),
    amendments(),
    st.builds(_wait, st.integers(1, 700)),
    st.builds(_move, st.sampled_from(SYMBOLS), st.integers(80, 125)),
    st.sampled_from(VERBS).map(_verb),
)
STEPS = st.lists(STEP, min_size=1, max_size=14)


@settings(max_examples=60)
@given(STEPS)
def test_money_is_conserved_and_every_log_ties(steps: list[Step]) -> None:
    """After any sequence the chains tie, bookings are cash, locks equal open orders, and executions explain
    positions.
    """
    conserved(steps)


@pytest.mark.proof
@settings(max_examples=600, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEP, min_size=15, max_size=40))
def test_money_is_conserved_over_long_lives(steps: list[Step]) -> None:
    """The same over lives of up to forty acts."""
    conserved(steps)


def conserved(steps: list[Step]) -> None:
    """Live through the steps; the books tie at the end, and the venue audits itself after each event."""
    on = bench()
    for step in steps:
        step(on)
        locked: dict[str, Decimal] = defaultdict(Decimal)
        for order in (*on.at.open_orders(SPOT), *on.at.open_orders(LINEAR)):
            locked[order.locked_coin] += order.locked
        for name, coin in on.at.wallet().coins.items():
            assert coin.locked == locked[name] >= 0
    ties(on.at)
    sizes: dict[str, Decimal] = defaultdict(Decimal)
    for row in on.at.all_fills():
        if row.category is LINEAR and row.kind.trades:
            sizes[row.symbol] += row.quantity * row.side.sign
        assert row.value == cash(row.price * row.quantity)
    assert {name: size for name, size in sizes.items() if size} == dict(on.at.held())
    assert all(is_multiple(row.change, CASH_STEP) for row in on.at.all_transactions())


@settings(max_examples=60)
@given(STEPS)
def test_both_sources_of_funding_agree(steps: list[Step]) -> None:
    """Σ −execFee of Funding executions = Σ funding of SETTLEMENT rows, after anything."""
    on = bench()
    for step in steps:
        step(on)
    paid = sum((row.fee for row in on.at.all_fills() if row.kind is ExecKind.FUNDING), D(0))
    assert -paid == sum((row.funding for row in on.at.all_transactions() if row.kind == "SETTLEMENT"), D(0))


@settings(max_examples=40)
@given(STEPS)
def test_realised_profit_is_what_the_executions_say(steps: list[Step]) -> None:
    """Per contract: realised − remaining cost = Σ of sold value − bought value, to the last digit."""
    on = bench()
    for step in steps:
        step(on)
    flows: dict[str, Decimal] = defaultdict(Decimal)
    for row in on.at.all_fills():
        if row.category is LINEAR and row.kind.trades:
            flows[row.symbol] -= row.value * row.side.sign
    booked: dict[str, Decimal] = defaultdict(Decimal)
    for entry in on.at.all_transactions():
        if entry.category == "linear" and entry.coin == "USDT":
            booked[entry.symbol] += entry.cash_flow
    for symbol, flow in flows.items():
        position = on.at.position(symbol)
        cost = position.value * (1 if position.size > 0 else -1) if position.size else D(0)
        assert booked[symbol] == flow + cost


@settings(max_examples=30)
@given(STEPS, st.integers(0, 13))
def test_the_same_calls_give_the_same_log_with_or_without_a_restart(steps: list[Step], cut: int) -> None:
    """State and event stream byte for byte, also when the venue is written down and restored on the way."""
    one, two = bench(), bench()
    told: tuple[list[str], list[str]] = ([], [])
    one.at.subscribe(lambda notice: told[0].append(json.dumps(encode(notice))))
    two.at.subscribe(lambda notice: told[1].append(json.dumps(encode(notice))))
    for number, step in enumerate(steps):
        step(one)
        step(two)
        if number == cut:
            two.at = Venue.restore(two.feed, json.loads(json.dumps(two.at.snapshot())))
            two.at.subscribe(lambda notice: told[1].append(json.dumps(encode(notice))))
    assert json.dumps(one.at.snapshot()) == json.dumps(two.at.snapshot())
    assert told[0] == told[1]


quantities = st.integers(1, 5000).map(lambda n: n * D("0.001"))


@given(quantities, quantities, st.booleans())
def test_two_takes_are_one(first: Decimal, second: Decimal, buying: bool) -> None:
    """Taking a and then b from what is left costs what taking a + b costs."""
    feed = ToyFeed(size=D("0.5"), levels=30)
    book = venue(feed).book(SPOT, "BTCUSDT", depth=30)
    levels = book.asks if buying else book.bids
    limit = D(10**6) if buying else D(1)

    def cost(side: tuple, quantity: Decimal) -> Decimal:  # type: ignore[type-arg]
        rows = take(side, Want(buying, limit, D("0.001"), quantity=quantity))
        return sum((row.price * row.quantity for row in rows), D(0))

    assert cost(levels, first) + cost(skip(levels, first), second) == cost(levels, first + second)


@given(st.integers(50, 200), st.booleans())
def test_scaling_keeps_sides_apart_and_quantities_whole(percent: int, up: bool) -> None:
    """Bids round down, asks up; the whole quantity stays; prices stay sorted and on the tick."""
    book = venue().book(SPOT, "BTCUSDT", depth=20)
    factor = D(percent) / 100
    levels = book.asks if up else book.bids
    result = scaled(levels, factor, tick=D(7), up=up)
    assert sum(level.quantity for level in result) == sum(level.quantity for level in levels)
    prices = [level.price for level in result]
    assert prices == sorted(set(prices), reverse=not up)
    assert all(is_multiple(price, D(7)) for price in prices)
    best = levels[0].price * factor
    assert prices[0] >= best if up else prices[0] <= best
