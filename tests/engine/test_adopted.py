"""What a hand did to a leg is known by its fills: orders in doubt are judged beside it, and nothing is
completed for what is gone.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest

from fundarb.core.market import Book, Category, Level
from fundarb.core.orders import Leg, OrderRequest, Side, WriteAnswer
from fundarb.core.states import IntentState
from fundarb.engine.beside import Beside
from fundarb.engine.compare import Choice
from fundarb.exchange.inprocess import Loss
from fundarb.exchange.strict import NoAnswer
from tests.engine.test_banned import told_at
from tests.engine.test_faults import consistent, hedged
from tests.engine.test_repairs import PERP, alerts, decide
from tests.engine.test_trade import opened
from tests.engine.world import SECOND, World
from tests.venue.toy import ToyFeed

D = Decimal
LEGS = {"perp": Category.LINEAR, "spot": Category.SPOT}


def by_hand(world: World, category: Category, *, share: Decimal) -> None:
    """Somebody closes a share of what is held in a market."""
    spot = category is Category.SPOT
    quantity = (world.coins() if spot else world.short) * share
    world.venue.world.manual_order(
        category, "BTCUSDT", side=Side.SELL if spot else Side.BUY, quantity=quantity.quantize(D("0.001"))
    )


def beside(world: World) -> Decimal:
    """What should stand beside our contracts."""
    return Beside(world.writer.store).expected("BTCUSDT", world.clock.now())


# ------------------------------------------------------------------------------ (1) fills that become ours


@pytest.mark.parametrize("choice", [Choice.UNWIND, Choice.REHEDGE])
def test_what_becomes_ours_stands_beside_ours_no_more(world: World, choice: Choice) -> None:
    """A hand's fills are noted as a stranger's by the walk that asks; the answer makes them ours, and only
    what was noted of them leaves the note.
    """
    opened(world, "5000")
    by_hand(world, Category.LINEAR, share=D("0.2"))
    world.clock.sleep(60 * SECOND)
    world.writer.reconciler.run()
    assert beside(world) == D("0.02")
    world.clock.sleep(60 * SECOND)
    why = world.writer.reconciler.repairer.explain_now()
    world.writer.reconciler.repairer.book_known(why, policy=choice)
    assert beside(world) == 0
    world.writer.reconciler.run()
    by_hand(world, Category.LINEAR, share=D("0.25"))
    world.writer.collector.collect()
    fresh = beside(world)
    assert fresh == (D("0.02") if choice is Choice.UNWIND else D("0.025"))
    why = world.writer.reconciler.repairer.explain_now()
    world.writer.reconciler.repairer.book_known(why, policy=choice)
    assert beside(world) == 0


@pytest.mark.parametrize("order", [1, 2])
def test_an_order_lost_after_a_hand_was_adopted_ends(world: World, order: int) -> None:
    """H03, A01 (seed 3612): a close takes over what a walk has noted as a stranger's, and the request of one
    of its orders is lost: it is proved absent, and everything is closed.
    """
    opened(world, "5000")
    by_hand(world, Category.LINEAR, share=D("0.2"))
    world.clock.sleep(60 * SECOND)
    world.writer.reconciler.run()
    world.clock.sleep(60 * SECOND)
    world.exchange.lose(*[None] * order, Loss.REQUEST)
    world.writer.executor.execute("close", {"name": "BTC", "emergency": True})
    world.writer.reconciler.run()
    assert not world.writer.store.intents.open()
    assert "unexplained_change" not in alerts(world)
    world.writer.executor.execute("close", {"name": "BTC", "emergency": True})
    assert world.short == 0
    consistent(world)


# ------------------------------------------------------------------ (2) nothing is completed for what is gone


class Died(BaseException):
    """The process ends here."""


def dies_between_the_legs(world: World, patch: pytest.MonkeyPatch, *, first: Category) -> None:
    """An open that has traded its first leg, in the market named, and dies at the order of the other."""
    real, create = ToyFeed.book, world.exchange.create

    def book(feed: ToyFeed, category: Category, symbol: str, at: datetime, depth: int) -> Book:
        return real(feed, category, symbol, at, min(depth, 2) if category is first else depth)

    def dying(request: OrderRequest, *, signed_at: datetime) -> WriteAnswer:
        if request.category is not first:
            raise Died
        return create(request, signed_at=signed_at)

    patch.setattr(ToyFeed, "book", book)
    patch.setattr(world.exchange, "create", dying)
    with pytest.raises(Died):
        opened(world, "5000")
    patch.undo()


@pytest.mark.parametrize("first", LEGS)
def test_nothing_is_completed_for_a_leg_that_is_gone(
    world: World, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """H03, A01 (seed 2244): a hand closes the only leg that an open has traded before it died: the recovery
    buys no coins for a short that is gone, and shorts nothing for coins that are gone; a person is asked.
    """
    dies_between_the_legs(world, monkeypatch, first=LEGS[first])
    by_hand(world, LEGS[first], share=D(1))
    orders = len(world.venue.all_orders())
    world.restart()
    asked = world.writer.reconciler.run()
    assert len(world.venue.all_orders()) == orders
    assert world.short == 0
    assert world.coins() < D("0.001")
    assert [item.kind for item in asked.loud if item.kind != "unhedged"] == [
        "perp_size" if first == "perp" else "spot_short"
    ]
    assert decide(world, asked.loud[0].id, Choice.UNWIND).clean
    assert not world.writer.store.positions.active()


def test_only_what_is_left_of_a_leg_is_completed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hand closes 40 % of the short: coins for the other 60 % are bought, and nothing of the short is
    bought back a second time.
    """
    dies_between_the_legs(world, monkeypatch, first=Category.LINEAR)
    by_hand(world, Category.LINEAR, share=D("0.4"))
    left = world.short
    world.restart()
    world.writer.reconciler.run()
    assert world.short == left > 0
    assert hedged(world)
    decide(world, PERP, Choice.UNWIND)
    assert world.short == left
    consistent(world)


@pytest.mark.parametrize("first", LEGS)
def test_lists_that_lack_our_newest_fill_do_not_keep_it_naked(
    world: World, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """No stranger traded: a position list or wallet without our newest fill is late, and the other leg is
    completed.
    """
    empty = world.exchange.wallet()
    dies_between_the_legs(world, monkeypatch, first=LEGS[first])
    world.restart()
    if first == "perp":
        monkeypatch.setattr(world.exchange, "positions", lambda: ())
    else:
        monkeypatch.setattr(world.exchange, "wallet", lambda: empty)
    world.writer.reconciler.run()
    monkeypatch.undo()
    assert world.short == D("0.05")
    assert hedged(world)
    consistent(world)


# ------------------------------------------------------------------------------- (3) a ban met in a repair


def test_f01_a_ban_met_in_a_repair_that_can_do_without_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F01 (seed 3324): the books by which a repair notes its mids are answered by HTTP 403: the repair goes
    on as soon as they can be read, and a person is told although the ban is over by then.
    """
    dies_between_the_legs(world, monkeypatch, first=Category.LINEAR)
    world.restart()
    real, ends = world.exchange.book, list[datetime]()

    def banned_until(_: object) -> datetime | None:
        return ends[0] if ends and world.clock.now() < ends[0] else None

    def book(category: Category, symbol: str, *, depth: int = 50) -> Book:
        if not ends:
            ends.append(world.clock.now() + SECOND)
            raise NoAnswer("HTTP 403", sent=False, repeat=False, status=403)
        return real(category, symbol, depth=depth)

    monkeypatch.setattr(type(world.exchange), "banned_until", property(banned_until))
    monkeypatch.setattr(world.exchange, "book", book)
    world.writer.reconciler.run()
    assert len(told_at(world, "ban")) == len(ends) == 1
    assert hedged(world)


def test_a_list_that_lacks_a_strangers_newest_fill_is_not_noted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hand closes the short, and a comparison still reads the size of before: an order that is lost then is
    proved absent, as nothing moved that no row explains.
    """
    position = opened(world, "5000").position
    world.clock.sleep(60 * SECOND)
    positions = world.exchange.positions
    before, until = positions(), world.clock.now() + 10 * SECOND
    world.venue.world.manual_close("BTCUSDT")
    world.exchange.positions = lambda: before if world.clock.now() < until else positions()  # type: ignore[method-assign]
    monkeypatch.setattr(world.exchange, "transactions", lambda *_: ())
    world.writer.reconciler.run()
    world.exchange.lose(Loss.REQUEST)
    book = {"bids": (Level(D(49_995), D(1)),), "asks": (Level(D(50_005), D(1)),)}
    world.venue.world.book(Category.LINEAR, "BTCUSDT", **book)
    world.writer.trader.close("BTC", emergency=True)
    for _ in range(2):
        world.clock.sleep(60 * SECOND)
        world.writer.reconciler.run()
    orders = world.writer.store.intents.of_position(position.position_id)
    assert (Leg.PERP, IntentState.ABSENT) in {(order.leg, order.state) for order in orders}
    assert not world.writer.store.intents.open()
