"""A venue that is slower than the time in which an order's fate must be known: one way out, never a swing
from leg to leg.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.market import Category
from fundarb.core.orders import Outcome, WriteAnswer
from fundarb.core.records import BlockKind
from fundarb.core.states import IntentState, PositionState
from fundarb.engine.safety import AT_ONCE
from fundarb.exchange.inprocess import Loss
from fundarb.venue.engine import Rules
from tests.engine.lagging import Past
from tests.engine.test_faults import consistent
from tests.engine.test_faults_legs import blind_after
from tests.engine.test_trade import opened
from tests.engine.world import SECOND, World, make_world

D = Decimal
_LOOKS = 100
"""Looks a quarter of a minute apart, as ``watch`` looks."""


@pytest.fixture(params=[45, 60, 120])
def slow(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A world whose venue matches every order so many seconds after it came."""
    made = make_world(tmp_path / "slow.sqlite3", venue_rules=Rules(match_delay=request.param * SECOND))
    yield made
    made.close()


def watched(world: World, looks: int = _LOOKS) -> None:
    """A daemon looks at the account again and again, and never waits."""
    for _ in range(looks):
        world.writer.reconciler.run(patience=AT_ONCE)
        world.clock.sleep(15 * SECOND)


def told(world: World, kind: str) -> list[str]:
    """What events of a kind were about: an alert's code, an unwind's coin."""
    found = [json.loads(event.payload) for event in world.writer.store.events.after(0, 10_000, kind=kind)]
    return [str(one.get("code", one.get("base"))) for one in found]


def went_one_way(world: World) -> None:
    """In, out and nothing between: one alert for all its doubts, an unwind that counts like any other (so the
    coin rests, and the third within an hour freezes it), books that agree.

    Where both legs traded late after all, the way out was naked for a while, and that is told once.
    """
    assert len(world.venue.all_orders()) <= 4
    assert told(world, "alert_raised") in (["uncertain_order"], ["uncertain_order", "naked_long"])
    assert told(world, "position_unwound") == ["BTC"]
    assert world.writer.store.blocks.get("BTC", BlockKind.COOL_DOWN) is not None
    assert world.writer.store.positions.active() == ()
    consistent(world)


def test_orders_that_match_late_end_in_one_unwind(slow: World) -> None:
    """Each order stays New for longer than it may be in doubt: what it was to hedge is given back once."""
    opened(slow, "4000")
    watched(slow)
    went_one_way(slow)


def test_repairs_that_end_in_doubt_are_spaced(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five repairs in a row of which nobody knew what became: the next one rests, then it is tried."""
    position_id = opened(world, "4000").position.position_id
    world.venue.world.adl("BTCUSDT", D("0.5"))
    world.writer.collector.collect()
    for _ in range(5):
        world.exchange.lose(Loss.REQUEST)
        with monkeypatch.context() as blinded:
            blind_after(world, blinded, Category.SPOT)
            assert world.writer.hedger.repair(position_id).state is PositionState.UNCERTAIN
        (found,) = world.writer.resolver.resolve_all(patience=2 * world.rules.t_recover)
        assert found.state is IntentState.ABSENT
    sent = world.writer.store.intents.next_seq(position_id)
    assert world.writer.hedger.repair(position_id).state is PositionState.EXPOSED
    assert world.writer.store.intents.next_seq(position_id) == sent
    world.clock.sleep(60 * SECOND)
    assert world.writer.hedger.repair(position_id).state is PositionState.HEDGED
    consistent(world)


def test_another_book_waits_for_no_rest(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The repairs of one book rest as nobody takes what it has too much of; when more of the position is
    gone, what that makes naked is tried at once.
    """
    position_id = opened(world, "4000").position.position_id
    world.venue.world.adl("BTCUSDT", D("0.4"))
    world.writer.collector.collect()
    refusal = WriteAnswer(outcome=Outcome.REFUSED, code=170131, message="Balance insufficient.")
    with monkeypatch.context() as refusing:
        refusing.setattr(world.exchange, "create", lambda *_, **__: refusal)
        for _ in range(5):
            assert world.writer.hedger.repair(position_id).state is PositionState.EXPOSED
    sent = world.writer.store.intents.next_seq(position_id)
    assert world.writer.hedger.repair(position_id).state is PositionState.EXPOSED
    assert world.writer.store.intents.next_seq(position_id) == sent
    world.venue.world.adl("BTCUSDT", D("0.4"))
    world.writer.collector.collect()
    assert world.writer.hedger.repair(position_id).state is PositionState.HEDGED
    consistent(world)


@pytest.mark.parametrize("lag", [45, 60, 120])
def test_reads_that_lag_end_in_one_unwind(world: World, monkeypatch: pytest.MonkeyPatch, lag: int) -> None:
    """The same where everything private is read as it was so many seconds ago."""
    past = Past(world, monkeypatch)
    world.clock.sleep(300 * SECOND)
    past.lag(lag * SECOND)
    opened(world, "4000")
    watched(world)
    past.lag(0 * SECOND)
    went_one_way(world)
