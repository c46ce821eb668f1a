"""The machine's clock was set while an order is in doubt: how old the doubt is, the venue's clock says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from fundarb.core.orders import Leg
from fundarb.core.states import IntentState
from fundarb.engine.orders import OrderDesk
from fundarb.engine.safety import AT_ONCE
from fundarb.exchange.local import VenueClock
from fundarb.venue.rows import Directive, OrderMatch
from tests.engine.test_faults import hedged
from tests.engine.test_repairs import alerts
from tests.engine.test_resolve import top_up
from tests.engine.test_trade import opened
from tests.engine.world import SECOND, World

D = Decimal
HOUR = timedelta(hours=1)
SetClock = Callable[[timedelta], None]


class Died(BaseException):
    """The process is gone."""


@pytest.fixture
def set_clock(world: World, monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """Sets the machine's clock so far ahead of the venue's (behind: negative)."""

    def put(ahead: timedelta) -> None:
        monkeypatch.setattr(world.exchange, "_clock", VenueClock(world.venue))
        monkeypatch.setattr(world.clock, "now", lambda: world.venue.now + ahead)
        monkeypatch.setattr(type(world.exchange), "clock_offset", property(lambda _: -ahead))

    return put


def dies_in_doubt(world: World) -> None:
    """The first leg trades, the second is acknowledged, trades nothing and is in no list that can be read;
    the process dies when it waits for it.
    """
    create, sleep = world.exchange.create, world.clock.sleep
    sent = list[str]()

    def created(request: Any, *, signed_at: datetime) -> Any:
        sent.append(request.link_id)
        if len(sent) == 2:
            world.venue.force(OrderMatch(link_id=request.link_id), Directive(fill_frac=D(0)))
            world.exchange.read_lag = 10 * HOUR
        return create(request, signed_at=signed_at)

    def slept(duration: timedelta) -> None:
        if len(sent) == 2 and duration >= SECOND / 2:
            raise Died
        sleep(duration)

    world.exchange.create = created  # type: ignore[method-assign]
    world.clock.sleep = slept  # type: ignore[method-assign]
    with pytest.raises(Died):
        opened(world, "4000")
    del world.clock.sleep
    world.restart()
    world.exchange.read_lag = 10 * HOUR


@pytest.mark.parametrize("ahead", [-2 * HOUR, timedelta(), 2 * HOUR])
def test_f03_the_other_leg_is_covered_when_the_doubt_is_old_enough(
    world: World, set_clock: SetClock, ahead: timedelta
) -> None:
    """F03: a leg is naked as the other one's order is in doubt, and the machine comes back with another time:
    nothing is sent before the doubt is as old as one may become, then the leg is reduced, and it is told.
    """
    dies_in_doubt(world)
    set_clock(ahead)
    sent = len(world.venue.all_orders())
    world.writer.reconciler.run(patience=AT_ONCE)
    assert len(world.venue.all_orders()) == sent
    assert not hedged(world)
    world.clock.sleep(world.rules.t_recover)
    world.writer.reconciler.run(patience=AT_ONCE)
    assert hedged(world)
    assert alerts(world) == ["uncertain_order"]


def test_f03_a_clock_that_is_fast_forgets_no_order(
    world: World, monkeypatch: pytest.MonkeyPatch, set_clock: SetClock
) -> None:
    """F03: an acknowledged order that no list shows stays in doubt, though the machine's clock says that a
    day has passed.
    """
    position = opened(world, "5000").position
    for name, empty in (("order_realtime", None), ("order_history", None)):
        monkeypatch.setattr(world.exchange, name, lambda *_, empty=empty, **__: empty)
    draft = replace(top_up(position, Leg.PERP), limit_price=D(49_000))
    placed = OrderDesk(world.writer.desk).place(draft)
    assert placed.intent.order_id  # type: ignore[union-attr]
    set_clock(26 * HOUR)
    (found,) = world.writer.reconciler.run().resolved
    assert found.state is IntentState.UNCERTAIN
