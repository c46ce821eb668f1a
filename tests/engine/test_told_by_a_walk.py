"""What a walk says: of its differences no figure of the venue's that nobody read, and why nobody did; what
the venue took, and what it has announced.
"""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal

import pytest

from fundarb.core.orders import Outcome, WriteAnswer
from fundarb.engine.commands import recovered
from fundarb.engine.compare import Mismatch
from fundarb.engine.lifecycle import prices
from fundarb.engine.remembered import Remembered
from fundarb.engine.views import concerns, position_views
from fundarb.errors import Unavailable
from fundarb.exchange.inprocess import Loss
from tests.engine.test_faults_legs import blind
from tests.engine.test_trade import opened
from tests.engine.world import World

D = Decimal
HOUR = timedelta(hours=1)
BAN = "no request is sent for another 538 s"


def shut(*_: object, **__: object) -> object:
    """A read of a venue that has shut us out."""
    raise Unavailable(BAN)


def test_nobody_has_seen_an_order_in_doubt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order in doubt: the venue's side is not known, in JSON, in the sentence and in the event; what was
    wished is no figure of the venue's, and why nothing was compared is said with what to do.
    """
    world.exchange.lose(Loss.ANSWER)
    blind(world, monkeypatch)
    opened(world, "5000")
    for name in ("positions", "wallet", "open_orders", "executions", "transactions"):
        monkeypatch.setattr(world.exchange, name, shut)
    answer = world.writer.executor.execute("reconcile", {})
    (row,) = answer.data["mismatches"]
    assert (row["kind"], row["expected"]) == ("uncertain_order", "0")
    assert (row["found"], row["difference"]) == (None, None)
    (doubt, unread) = answer.reasons
    assert "the venue not known" in doubt.message
    assert unread.code == "not_compared"
    assert answer.exit_code == 6
    assert answer.message.startswith("1 difference stays; ")
    assert BAN in answer.message
    assert "run `fundarb reconcile` again" in answer.message
    assert BAN in answer.data["not_compared"]


def test_a_doubt_that_is_compared_is_noted_without_a_figure(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole walk beside an order in doubt: its event has no figure of the venue's either."""
    world.exchange.lose(Loss.ANSWER)
    blind(world, monkeypatch)
    opened(world, "5000")
    found = world.writer.reconciler.run()
    assert found.unread is None
    assert world.writer.executor.execute("reconcile", {}).data["not_compared"] is None
    told = [json.loads(item.payload) for item in world.writer.store.events.last(50, kind="mismatch_found")]
    assert {item["found"] for item in told if item["mismatch"] == "uncertain_order"} == {None}


def test_legs_that_do_not_match_are_both_of_our_books(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A naked leg: the sentence calls neither of the two figures the venue's."""
    book, create = world.exchange.book, world.exchange.create
    calls = {"left": 4}  # two books of the plan, two of the first clip

    def failing(*args: object, **named: object) -> object:
        calls["left"] -= 1
        return book(*args, **named) if calls["left"] >= 0 else shut()  # type: ignore[arg-type]

    def refuse_second(*args: object, **named: object) -> object:
        if world.venue.all_orders():
            return WriteAnswer(outcome=Outcome.REFUSED, code=110007, message="not enough")
        return create(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(world.exchange, "book", failing)
    monkeypatch.setattr(world.exchange, "create", refuse_second)
    position = opened(world, "5000").position
    answer = world.writer.executor.execute("reconcile", {})
    (row,) = answer.data["mismatches"]
    assert row["kind"] == "unhedged"
    assert row["from_books"] is True
    (reason,) = answer.reasons
    assert f"in our books {row['found']} against {row['expected']} short" in reason.message
    assert "the venue" not in reason.message
    assert (position.spot_owned, position.contracts) == (D(row["found"]), D(row["expected"]))


def test_an_unknown_size_is_never_what_a_person_left_alone(world: World) -> None:
    """A difference that nobody could measure is not taken for one that was answered, nor the answer to it
    for one to a measured one.
    """
    remembered = Remembered(world.writer.store)
    unknown = Mismatch(kind="k", symbol="s", expected=D(0), found=None, action="")
    measured = Mismatch(kind="k", symbol="s", expected=D(0), found=D(1), action="")
    assert remembered.of((unknown,)) == frozenset()
    remembered.ignore(measured)
    assert remembered.of((unknown,)) == frozenset()
    remembered.ignore(unknown)
    assert remembered.of((unknown,)) == {unknown.id}
    assert remembered.of((measured,)) == frozenset()


def test_a_walk_says_what_the_venue_took(world: World) -> None:
    """A deleveraging is said by the walk that books it, as a warning where the walk was only the beginning of
    a command, and by no later one.
    """
    opened(world)
    world.venue.world.adl("BTCUSDT", D("0.4"))
    answer = world.writer.executor.execute("reconcile", {})
    assert answer.exit_code == 0
    (row,) = answer.data["taken"]
    assert row["code"] == "adl"
    assert "took" in row["message"]
    assert world.writer.executor.execute("reconcile", {}).data["taken"] == []
    world.venue.world.liquidate("BTCUSDT")
    world.restart()
    found = world.writer.reconciler.run()
    assert [item.code for item in recovered(found)] == ["liquidation", "repaired"]
    assert [item.code for item in recovered(world.writer.reconciler.run())] == []


def test_an_announced_end_is_told_by_whoever_reads_it(world: World) -> None:
    """A held coin whose perp is to be delisted: a walk and the list of positions say so, without a watch."""
    opened(world)
    assert world.writer.executor.execute("reconcile", {}).warnings == ()
    world.venue.world.delist("BTCUSDT", world.clock.now() + 3 * HOUR)
    world.restart()  # what reads the instruments anew
    (said,) = world.writer.executor.execute("reconcile", {}).warnings
    assert said.code == "delisting"
    assert "`fundarb close BTC`" in said.message
    store, exchange = world.writer.store, world.exchange
    views = position_views(store, exchange, trading=exchange)
    assert [item.delisted_at for item in views] == [world.clock.now() + 3 * HOUR]
    assert said in concerns(store, views)
    assert world.writer.executor.execute("close", {"name": "BTC"}).exit_code == 0
    assert world.writer.executor.execute("reconcile", {}).warnings == ()


def test_prices_that_cannot_be_had_are_named_with_the_reason(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be read: which market is meant by each name, and why there are no prices."""
    position = opened(world).position
    world.restart()
    for name in ("snapshot", "book"):
        monkeypatch.setattr(world.exchange, name, shut)
    with pytest.raises(Unavailable) as caught:
        prices(world.writer.desk, position)
    assert str(caught.value).startswith("no usable prices for spot BTCUSDT and perp BTCUSDT: ")
    assert BAN in str(caught.value)
