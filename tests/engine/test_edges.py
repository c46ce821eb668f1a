"""Limits that lie exactly on an edge: how old a request may be, how many looks prove an absence, from which
rate on the margin is reduced; and signs and units that only show where legs or sizes differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.market import Category
from fundarb.core.orders import Leg, Side
from fundarb.core.position import Book
from fundarb.core.records import BlockKind
from fundarb.core.states import IntentState, PositionState
from fundarb.engine import equity
from fundarb.engine.desk import MISS_SPAN, MISSES
from fundarb.engine.orders import OrderDesk
from fundarb.engine.outcome import Reached
from fundarb.exchange.inprocess import Loss
from tests.daemon.living import make_living
from tests.engine.test_guard import entry
from tests.engine.test_resolve import top_up
from tests.engine.test_trade import opened
from tests.engine.world import SECOND, World, make_world
from tests.proof.market import RoughFeed

D = Decimal
NO_TIME = timedelta()


# ------------------------------------------------------------------------------------------------ the gate


@pytest.mark.parametrize(
    ("waited", "clocks", "sent"),
    [
        ("0.999", "both", True),
        ("1", "both", False),
        ("1.5", "both", False),
        ("1.5", "wall", False),
        ("1.5", "monotonic", False),
    ],
)
def test_a_request_leaves_within_half_its_lease(
    world: World, monkeypatch: pytest.MonkeyPatch, waited: str, clocks: str, sent: bool
) -> None:
    """Half of two seconds after the intent was written nothing is sent any more: by either clock, for the
    monotonic one stands still in a machine that sleeps, and the wall clock may be set back.
    """
    position = opened(world, "5000").position
    draft = replace(entry(position, Leg.PERP, "0.001"), limit_price=D(49_990))
    intent = OrderDesk(world.writer.desk)._write(draft)
    assert not hasattr(intent, "reasons"), intent
    now, monotonic = world.clock.now(), world.clock.monotonic()
    world.clock.sleep(timedelta(seconds=float(waited)))
    if clocks == "wall":
        monkeypatch.setattr(world.clock, "monotonic", lambda: monotonic)
    elif clocks == "monotonic":
        monkeypatch.setattr(world.clock, "now", lambda: now)
    answer = world.exchange.create(intent.request, signed_at=intent.signed_at)
    assert answer.sent is sent
    assert ("waited too long" in answer.message) is not sent


# --------------------------------------------------------------------------------------------------- doubts


def test_absence_takes_three_looks_however_long_ago_the_first_was(world: World) -> None:
    """Two looks half an hour apart prove nothing; the third does."""
    position = opened(world, "5000").position
    world.exchange.lose(Loss.REQUEST)
    OrderDesk(world.writer.desk).place(top_up(position, Leg.PERP))
    states = []
    for _ in range(MISSES):
        world.clock.sleep(60 * MISS_SPAN)
        (found,) = world.writer.resolver.resolve_all(patience=NO_TIME)
        states.append(found.state)
    assert states == [IntentState.UNCERTAIN, IntentState.UNCERTAIN, IntentState.ABSENT]


@pytest.mark.parametrize(("filled", "moved", "coins"), [("0", "0.5", "0.1"), ("0.03", "0.5", "0.07")])
def test_a_doubt_explains_no_more_than_is_left_of_its_order(
    world: World, monkeypatch: pytest.MonkeyPatch, filled: str, moved: str, coins: str
) -> None:
    """Of an order whose fill is known in part only the rest can have moved anything: what is booked already
    does not count twice.
    """
    position = opened(world, "5000").position
    world.exchange.lose(Loss.REQUEST)
    OrderDesk(world.writer.desk).place(entry(position, Leg.SPOT, "0.1"))
    (intent,) = world.writer.store.intents.open()
    monkeypatch.setattr(world.writer.resolver, "unexplained", lambda _intent: D(moved))
    doubts = world.writer.hedger._doubts
    really = doubts._really(position, (replace(intent, filled=D(filled)),))
    assert really == Book(position.spot_owned + D(coins), position.contracts)


# ------------------------------------------------------------------------------------------- units and signs


@pytest.fixture
def rough(tmp_path: Path) -> Iterator[World]:
    """A world with a contract of a thousand coins."""
    made = make_world(tmp_path / "rough.sqlite3", feed=RoughFeed())
    yield made
    made.close()


@pytest.mark.parametrize(("contracts", "back"), [(100, False), (1000, True)])
def test_what_was_given_back_is_counted_in_coins(rough: World, contracts: int, back: bool) -> None:
    """A thousand contracts of a thousand coins each are 10 USDT and were given back; a hundred are less than
    the smallest order.
    """
    rough.writer.trader.open("PEPE", D(1000))
    (position,) = rough.writer.store.positions.active()
    assert position.multiplier == 1000
    before = Book(position.spot_owned, position.contracts + contracts)
    assert rough.writer.hedger.gave_back(position, before) is back


@pytest.mark.parametrize("price", [45_000, 55_000])
def test_where_sizes_differ_the_venues_result_counts(world: World, price: int) -> None:
    """Half of the short was taken and is not booked yet: the account is worth what the venue's wallet and its
    positions are, whether the short is winning or losing.
    """
    opened(world)
    world.feed.prices["BTCUSDT"] = D(price)
    world.clock.sleep(SECOND)
    world.venue.world.adl("BTCUSDT", D("0.5"))
    store, exchange = world.writer.store, world.exchange
    point = equity.measure(store, exchange, trading=exchange, at=world.clock.now())
    wallet, (report,) = exchange.wallet(), exchange.positions()
    assert not point.tied
    assert report.unrealised_pnl
    assert point.equity == wallet.owned("USDT") + wallet.owned("BTC") * price + report.unrealised_pnl


@pytest.mark.parametrize(("left", "sold"), [("0.0001005", False), ("0.0001015", True)])
def test_coins_that_no_sale_would_take_are_dust(world: World, left: str, sold: bool) -> None:
    """The short is gone, and the coins that are left are worth 5.00 at the mid and 4.9995 at the bid, the
    smallest order being 5: no sale is possible, the position is over and nobody is called. A little more is
    sold.
    """
    opened(world, "4000")
    world.writer.reconciler.run()
    world.venue.world.adl("BTCUSDT", D(1))
    world.venue.world.auto_repay("BTC", 1 - D(left) / world.coins())
    before = len(world.venue.all_orders())
    for _ in range(2):
        world.clock.sleep(60 * SECOND)
        assert world.writer.reconciler.run().clean
    assert (len(world.venue.all_orders()) > before) is sold
    (position,) = world.writer.store.positions.all()
    assert position.state is PositionState.CLOSED
    assert world.writer.store.ledger.dust("BTC").quantity == world.coins()
    assert world.writer.store.blocks.get("*", BlockKind.HALT) is None


@pytest.mark.parametrize("emergency", [False, True])
def test_a_long_position_at_the_venue_is_no_short_of_ours(world: World, emergency: bool) -> None:
    """Somebody bought more than our whole short: a close takes over what was ours of it and sells the coins;
    nothing is bought back of what is long.
    """
    opened(world, "5000")
    world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.BUY, quantity=D("0.15"))
    before = len(world.venue.all_orders())
    result = world.writer.trader.close("BTC", emergency=emergency)
    assert getattr(result, "reached", None) is Reached.DONE
    sent = [(order.category, order.side) for order in world.venue.all_orders()[before:]]
    assert set(sent) == {(Category.SPOT, Side.SELL)}
    assert world.short == D("-0.05")


# --------------------------------------------------------------------------------------------------- margin


@pytest.mark.parametrize(("rate", "reduced"), [("0.7", True), ("0.69999999", False)])
def test_the_margin_is_reduced_from_its_limit_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: str, reduced: bool
) -> None:
    """At 70 % both legs shrink; a hair below it a person is warned."""
    living = make_living(tmp_path, specs=())
    living.run("scan_and_open")
    (held,) = living.store.positions.active()
    real = living.exchange.wallet
    monkeypatch.setattr(living.exchange, "wallet", lambda: replace(real(), maintenance_margin_rate=D(rate)))
    living.clock.sleep(60 * SECOND)
    living.run("watch")
    left = living.store.positions.get(held.position_id).contracts
    assert (left < held.contracts) is reduced
    told = living.store.events.after(0, 1000, kind="alert_raised")
    assert any('"margin"' in event.payload for event in told)
    living.close()
