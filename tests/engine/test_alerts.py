"""One alert per incident, and another one for the next."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal

import pytest

from fundarb.core.market import Category
from fundarb.core.orders import OrderRequest, Side
from fundarb.core.records import GLOBAL_SCOPE, BlockKind
from fundarb.engine.alerts import alert_once, alert_over, halt, was_told
from fundarb.exchange.inprocess import spec_of
from tests.engine.test_safety import down
from tests.engine.test_trade import opened
from tests.engine.world import SECOND, World

D = Decimal
HOUR = timedelta(hours=1)


def codes(world: World) -> list[str]:
    """The codes of every alert so far."""
    rows = world.writer.store.events.after(0, 10_000, kind="alert_raised")
    return [json.loads(row.payload)["code"] for row in rows]


def raised(world: World, code: str, after: timedelta = timedelta()) -> None:
    """The cause is seen, after a while."""
    world.clock.sleep(after)
    alert_once(world.writer.store, code, subject="it", message="look")


@pytest.mark.parametrize(("code", "reminded"), [("delisting", 24 * HOUR), ("unhedged", HOUR)])
def test_one_that_lasts_is_told_again_sparingly(world: World, code: str, reminded: timedelta) -> None:
    """Seen again and again it is one alert; a leg that is naked is told again each hour, the rest each
    day.
    """
    raised(world, code)
    for part in (1, 10, 12):
        raised(world, code, reminded * part / 24)
    assert codes(world) == [code]
    raised(world, code, reminded / 24)
    raised(world, code, SECOND)
    assert codes(world) == [code] * 2
    assert was_told(world.writer.store, code, subject="it")


def test_the_next_one_is_told_anew(world: World) -> None:
    """Once its cause is gone an incident is over, and the next is told at once; others are not touched."""
    store = world.writer.store
    raised(world, "delisting")
    alert_over(store, ("delisting", "never_raised"), subject="something else")
    raised(world, "delisting", SECOND)
    assert codes(world) == ["delisting"]
    alert_over(store, ("delisting", "never_raised"), subject="it")
    assert not was_told(store, "delisting", subject="it")
    raised(world, "delisting", SECOND)
    assert codes(world) == ["delisting"] * 2


def test_a_figure_at_its_limit_is_told_once_an_hour(world: World) -> None:
    """A margin rate that crosses its limit to and fro is an alert an hour and not one each time."""
    for _ in range(60):
        raised(world, "margin", 59 * SECOND)
        alert_over(world.writer.store, ("margin",), subject="it")
    assert codes(world) == ["margin"]
    raised(world, "margin", 2 * 60 * SECOND)
    assert codes(world) == ["margin"] * 2


def test_a_halt_that_a_person_lifted_is_told_anew(world: World) -> None:
    """The same halt twice: one alert while it stands, another one after a person has looked."""
    store = world.writer.store
    for _ in range(2):
        halt(store, "unhedged", subject="it", message="naked")
    assert codes(world) == ["unhedged"]
    store.blocks.clear(GLOBAL_SCOPE, BlockKind.HALT)
    halt(store, "unhedged", subject="it", message="naked")
    assert codes(world) == ["unhedged"] * 2


@pytest.mark.parametrize("pause", [SECOND, 2 * HOUR])
def test_each_deleveraging_is_an_incident_of_its_own(world: World, pause: timedelta) -> None:
    """The venue takes from the same position twice: two alerts, however soon after each other."""
    opened(world, "5000")
    for _ in range(2):
        world.venue.world.adl("BTCUSDT", D("0.4"))
        world.writer.reconciler.run()
        world.clock.sleep(pause)
    assert codes(world) == ["adl"] * 2


def test_what_was_naked_twice_is_told_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The venue cannot be seen while a leg is naked, twice on the same position: each time a person is
    told, and it is over when the legs are together again; nobody has to lift a halt for it.
    """
    position = opened(world, "5000").position
    for number in (1, 2):
        world.venue.world.adl("BTCUSDT", D("0.4"))
        with monkeypatch.context() as dark:
            dark.setattr(world.writer.desk.market, "books_or_quotes", down)
            world.writer.reconciler.run()
            world.clock.sleep(15 * SECOND)
            world.writer.reconciler.run()
        assert codes(world).count("hedge_without_market") == number
        assert was_told(world.writer.store, "hedge_without_market", subject=position.position_id)
        world.writer.reconciler.run()
        assert not was_told(world.writer.store, "hedge_without_market", subject=position.position_id)
        assert world.writer.store.blocks.get(GLOBAL_SCOPE, BlockKind.HALT) is None
        world.clock.sleep(120 * SECOND)


def test_one_stranger_is_one_alert(world: World) -> None:
    """Each fill of another fundarb is found and listed by itself; a person hears of that fundarb once, and of
    a second one too.
    """

    def trades(tag: str, numbers: range) -> None:
        for number in numbers:
            request = OrderRequest(
                link_id=f"fa-{tag}-7Q2MX0WA4D-p{number:03}",
                category=Category.LINEAR,
                symbol="BTCUSDT",
                side=Side.SELL if number % 2 else Side.BUY,
                quantity=D("0.02"),
                limit_price=D(49_000) if number % 2 else D(51_000),
                reduce_only=False,
            )
            world.venue.place(spec_of(request))
        world.clock.sleep(timedelta(seconds=1))

    def told() -> int:
        return codes(world).count("second_instance")

    trades("zzzz", range(1, 5))
    assert len(world.writer.reconciler.run().loud) == 4
    assert told() == 1
    trades("zzzz", range(5, 7))
    world.writer.reconciler.run()
    assert told() == 1
    trades("yyyy", range(1, 3))
    assert len(world.writer.reconciler.run().loud) == 8
    assert told() == 2
