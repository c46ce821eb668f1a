"""Reads that lag longer than the proof of absence takes: what the venue has acknowledged is never called
ABSENT; nothing is sent in its place, and somebody is told.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from fundarb.core.orders import Leg
from fundarb.core.states import IntentState, PositionState
from fundarb.engine.orders import OrderDesk
from fundarb.exchange.inprocess import Loss
from tests.engine.lagging import Past
from tests.engine.test_faults import consistent
from tests.engine.test_resolve import alerts, in_doubt, top_up
from tests.engine.test_trade import closed, opened
from tests.engine.world import World

D = Decimal
LONG = timedelta(minutes=2)


@pytest.fixture
def past(world: World, monkeypatch: pytest.MonkeyPatch) -> Past:
    """The past of the test's world."""
    return Past(world, monkeypatch)


@pytest.mark.parametrize("lag", [timedelta(seconds=36), timedelta(seconds=45), LONG])
def test_an_acknowledged_order_is_never_absent(world: World, past: Past, lag: timedelta) -> None:
    """Every create is acknowledged and every private read lags: one order is sent and stays in doubt, a
    person is told within the time of a hedge and a recovery; when the reads catch up it is adopted.
    """
    past.lag(lag)
    began, rules = world.clock.now(), world.rules
    result = opened(world, "5000")
    link = world.venue.all_orders()[0].link_id
    if lag == LONG:
        assert world.clock.now() - began <= rules.t_hedge + rules.t_recover + 3 * rules.patience
        assert result.position.state is PositionState.UNCERTAIN
        assert len(world.venue.all_orders()) == 1
        assert alerts(world) == [("uncertain_order", result.position.position_id)]
    states = {intent.state for intent in world.writer.store.intents.of_position(result.position.position_id)}
    assert IntentState.ABSENT not in states
    world.clock.sleep(LONG)
    past.lag(timedelta())
    world.writer.reconciler.run()
    assert world.writer.store.intents.get(link).state is IntentState.DONE
    consistent(world)


def test_a_close_is_not_sent_twice(world: World, past: Past) -> None:
    """The same on the way out: three closes in a row send nothing beside the order in doubt."""
    opened(world, "5000")
    world.clock.sleep(2 * LONG)
    past.lag(LONG)
    sent = len(world.venue.all_orders())
    for _ in range(3):
        closed(world)
        assert len(world.venue.all_orders()) == sent + 1
    world.clock.sleep(LONG)
    past.lag(timedelta())
    world.writer.reconciler.run()
    consistent(world)


def test_lists_that_lack_the_last_order_prove_nothing(world: World, past: Past) -> None:
    """The first leg is known, then everything lags for a minute and the second leg's answer is lost: the
    lists do not show the first one any more, so that they lack the second is no miss.
    """

    def trouble() -> None:
        past.lag(timedelta(minutes=1))
        world.exchange.lose(Loss.ANSWER)

    past.before_create(2, trouble)
    result = opened(world, "5000")
    intents = world.writer.store.intents.of_position(result.position.position_id)
    assert IntentState.ABSENT not in {intent.state for intent in intents}
    world.clock.sleep(LONG)
    past.lag(timedelta())
    world.writer.reconciler.run()
    consistent(world)
    assert all(order.status.final for order in world.venue.all_orders())


def test_lists_that_show_the_last_order_prove_absence(world: World, past: Past) -> None:
    """A lag that is shorter than the last order is old hides nothing: a lost request is proved absent."""
    position = opened(world, "5000").position
    world.clock.sleep(LONG)
    past.lag(timedelta(seconds=10))
    world.exchange.lose(Loss.REQUEST)
    OrderDesk(world.writer.desk).place(top_up(position, Leg.PERP))
    (found,) = world.writer.reconciler.run().resolved
    assert found.state is IntentState.ABSENT
    past.lag(timedelta())
    consistent(world)


def test_a_persons_word_needs_lists_of_now(world: World, past: Past) -> None:
    """While the lists lag behind an order that is known, nobody's word makes another one absent."""
    position = opened(world, "5000").position
    past.lag(LONG)
    world.exchange.lose(Loss.REQUEST)
    intent = OrderDesk(world.writer.desk).place(top_up(position, Leg.PERP)).intent  # type: ignore[union-attr]
    world.clock.sleep(timedelta(seconds=30))
    assert "lag" in world.writer.resolver.against_absence(intent)
    world.clock.sleep(LONG)
    assert world.writer.resolver.against_absence(intent) == ""


def test_an_acknowledged_order_that_is_forgotten_traded_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Acknowledged, cancelled unfilled, and in no list a day later (the venue forgets such orders): it ended
    with nothing, and was not absent.
    """
    position = opened(world, "5000").position
    for name, empty in (("order_realtime", None), ("order_history", None)):
        monkeypatch.setattr(world.exchange, name, lambda *_, empty=empty, **__: empty)
    draft = replace(top_up(position, Leg.PERP), limit_price=D(49_000))
    intent = OrderDesk(world.writer.desk).place(draft).intent  # type: ignore[union-attr]
    assert intent.state is IntentState.UNCERTAIN
    assert intent.order_id
    world.clock.sleep(timedelta(hours=1))
    (found,) = world.writer.reconciler.run().resolved
    assert found.state is IntentState.UNCERTAIN
    world.clock.sleep(timedelta(hours=25))
    (found,) = world.writer.reconciler.run().resolved
    assert (found.state, found.filled) == (IntentState.DONE, D(0))


def test_a_size_of_the_past_is_nobodys_contracts(world: World, past: Past) -> None:
    """A comparison right after a partial close sees the size of before it, which no trade explains: that is
    not taken for what stands beside us, so an order whose request is lost then is proved absent in time.
    """
    opened(world)
    world.clock.sleep(LONG)
    closed(world, "0.5")
    past.lag(timedelta(seconds=20))
    assert "perp_size" in {item.kind for item in world.writer.reconciler.run(patience=timedelta()).loud}
    past.lag(timedelta())
    world.exchange.lose(Loss.REQUEST)
    link = in_doubt(world, world.writer.store.positions.active()[0])
    world.clock.sleep(LONG)
    world.writer.reconciler.run()
    assert world.writer.store.intents.get(link).state is IntentState.ABSENT
    consistent(world)
