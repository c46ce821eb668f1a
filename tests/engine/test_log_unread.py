"""The transaction log cannot be read: sizes still tell that a leg is gone, and a person hears of it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fundarb.core.market import Category
from fundarb.core.orders import Side
from fundarb.core.records import BlockKind
from fundarb.core.states import PositionState
from fundarb.engine.desk import TradeRules
from fundarb.errors import Unavailable
from tests.daemon.living import SECOND, Living, make_living
from tests.engine.test_faults import consistent, hedged, partly
from tests.engine.test_faults_legs import blind
from tests.engine.test_jobs import alerts
from tests.engine.test_repairs import alerts as alerts_of
from tests.engine.test_repairs import tied
from tests.engine.test_trade import opened
from tests.engine.world import LIMITS, make_world

D = Decimal


@pytest.fixture
def living(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Living]:
    """An office that holds BTC, at a venue whose log is away; ``monkeypatch.undo`` brings it back."""
    made = make_living(tmp_path, specs=())
    made.run("scan_and_open")
    made.run("watch")

    def away(*_: object) -> None:
        raise Unavailable("an HTML page instead of JSON")

    monkeypatch.setattr(made.exchange, "transactions", away)
    yield made
    made.close()


def look(living: Living, times: int = 3) -> None:
    """So many watches, none of which comes to its end."""
    for _ in range(times):
        living.clock.sleep(15 * SECOND)
        with pytest.raises(Unavailable) as caught:
            living.run("watch")
        assert "positions:" not in str(caught.value)  # which were read


def frozen(living: Living) -> bool:
    """Whether the coin is."""
    return living.store.blocks.get("BTC", BlockKind.FREEZE) is not None


def test_a_short_closed_by_hand_is_told_once(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """The coin is frozen and one alert raised, by the first watch; when the log is back the difference is the
    same incident, and the way out of it is open.
    """
    living.venue.world.manual_close("BTCUSDT")
    look(living)
    assert alerts(living).count("perp_size") == 1
    assert frozen(living)
    monkeypatch.undo()
    living.clock.sleep(15 * SECOND)
    living.run("watch")
    assert alerts(living).count("perp_size") == 1
    assert frozen(living)
    answer = living.office.commands.execute("resolve", {"id": "perp_size:BTCUSDT", "answer": "rehedge"})
    assert answer.exit_code == 0, answer
    assert not frozen(living)
    (position,) = living.store.positions.active()
    assert position.state is PositionState.HEDGED


@pytest.mark.parametrize("choice", ["rehedge", "unwind"])
def test_a_policy_does_not_wait_for_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choice: str
) -> None:
    """Executions prove the hand and the coins are all there: the leg is restored, or the coins follow, and
    once the log is back the books tie.
    """
    world = make_world(tmp_path / "ruled", rules=TradeRules(limits=LIMITS, manual_close=choice))
    opened(world, "4000")
    world.venue.world.manual_close("BTCUSDT")
    blind(world, monkeypatch, "transactions")
    result = world.writer.reconciler.run(repair=True)
    assert result.unread is not None
    assert result.loud == ()
    (position,) = world.writer.store.positions.all()
    assert position.state is (PositionState.HEDGED if choice == "rehedge" else PositionState.CLOSED)
    assert alerts_of(world) == ["perp_size"]
    monkeypatch.undo()
    consistent(world)
    tied(world)
    world.close()


def test_a_policy_waits_for_the_log_where_coins_went(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both legs were closed by hand: only the log tells where coins are, and nothing is sold meanwhile."""
    world = make_world(tmp_path / "ruled", rules=TradeRules(limits=LIMITS, manual_close="unwind"))
    opened(world, "4000")
    world.venue.world.manual_close("BTCUSDT")
    world.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=Side.SELL, quantity=D("0.03"))
    blind(world, monkeypatch, "transactions")
    orders = len(world.venue.all_orders())
    result = world.writer.reconciler.run(repair=True)
    assert [item.kind for item in result.loud] == ["perp_size", "spot_short"]
    assert len(world.venue.all_orders()) == orders
    monkeypatch.undo()
    assert world.writer.reconciler.run(repair=True).clean
    (position,) = world.writer.store.positions.all()
    assert position.state is PositionState.CLOSED
    tied(world)
    world.close()


def test_coins_sold_by_hand_are_told_once(living: Living) -> None:
    """The same of the other leg."""
    living.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=Side.SELL, quantity=D("0.01"))
    look(living)
    assert alerts(living).count("spot_short") == 1
    assert frozen(living)


def test_what_came_back_by_itself_is_free_again(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    """A freeze for a size that was seen in the dark ends with the first whole walk that finds none."""
    living.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.BUY, quantity=D("0.01"))
    look(living, 1)
    assert frozen(living)
    living.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.SELL, quantity=D("0.01"))
    monkeypatch.undo()
    living.clock.sleep(15 * SECOND)
    living.run("reconcile")
    assert not frozen(living)


def test_an_unread_log_alone_accuses_nobody(living: Living) -> None:
    """Balances that only the log could explain are no difference while it cannot be read."""
    living.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=Side.BUY, quantity=D("0.01"))
    look(living)
    assert alerts(living) == []
    assert not frozen(living)


def test_a_log_that_fails_once_more_keeps_no_leg_naked(tmp_path: Path) -> None:
    """D05: a walk books the coins that the venue took, and the log fails when it is read again: the short
    that they covered is bought back by the same walk.
    """
    world = make_world(tmp_path / "once.sqlite3")
    opened(world)
    world.venue.world.auto_repay("BTC", D("0.4"))
    real, asked = world.exchange.transactions, list[int]()

    def transactions(*args: Any) -> Any:
        asked.append(1)
        if len(asked) == 2:
            raise Unavailable("transactions: no answer")
        return real(*args)

    world.exchange.transactions = transactions  # type: ignore[method-assign,assignment]
    result = world.writer.reconciler.run()
    assert isinstance(result.unread, Unavailable)
    assert {item.kind for item in result.repaired} == {"spot_short", "unhedged"}
    assert hedged(world)
    assert alerts_of(world) == ["coins_taken"]
    consistent(world)
    world.close()


def test_a_hedge_that_helps_in_part_is_no_difference(tmp_path: Path) -> None:
    """D01, C03: of a deleveraged position's coins only a part can be sold: the walk compares what is there
    after its own orders, and finds the naked leg alone.
    """
    world = make_world(tmp_path / "part.sqlite3")
    opened(world)
    world.venue.world.adl("BTCUSDT", D("0.4"))
    partly(world, Category.SPOT, "0.1", *["0"] * 20)
    result = world.writer.reconciler.run()
    assert {item.kind for item in result.mismatches} == {"unhedged"}
    world.close()
