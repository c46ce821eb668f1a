"""The process is to end while an order is in doubt: out within the grace, nothing naked that could be given
back, and the next start finds the rest.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from itertools import product
from pathlib import Path

import pytest

from fundarb.core.events import Event
from fundarb.core.states import PositionState
from fundarb.engine.commands import Arguments
from fundarb.exchange.inprocess import Loss
from tests.engine.test_faults import consistent
from tests.engine.test_trade import opened
from tests.engine.world import SECOND, World, make_world
from tests.proof.market import RoughFeed

D = Decimal
GRACE = 12 * SECOND
"""Of the twenty seconds of a process; the rest is for answers that are slow."""
DEEDS: dict[str, tuple[str, Arguments]] = {
    "open": ("open", {"base": "BTC", "notional": "4000"}),
    "add": ("open", {"base": "BTC", "notional": "2000", "add": True}),
    "close": ("close", {"name": "BTC"}),
}
QUICK = {("open", 1, 0), ("open", 0, 2), ("add", 1, 20), ("close", 0, 20), ("close", 1, 2)}
CASES = [
    pytest.param(*case, marks=() if case in QUICK else pytest.mark.proof)
    for case in product(DEEDS, (0, 1), (0, 2, 20))
]
"""What is done, which of its requests is lost, and how many seconds into the doubt the process is to end."""


def asked_to_end(world: World, patch: pytest.MonkeyPatch, *, after: timedelta) -> Callable[[], timedelta]:
    """Whoever waits ``after`` from the first lost answer on finds that the process is to end, as a signal
    would; how long (monotonic) it went on from then.
    """
    clock, sleep = world.clock, world.clock.sleep
    doubt, asked = list[timedelta](), list[timedelta]()

    def look() -> None:
        if doubt and not asked and clock.monotonic() >= doubt[0] + after:
            asked.append(clock.monotonic())
            world.writer.desk.stop.requested = True

    def slept(duration: timedelta) -> None:
        end = clock.monotonic() + duration  # a signal arrives in the middle of a wait, and does not end it
        while clock.monotonic() < end:
            sleep(min(end - clock.monotonic(), SECOND / 10))
            look()

    def heard(_recorded: object, event: Event) -> None:
        if event.kind == "order_answered" and event.payload()["outcome"] == "uncertain" and not doubt:
            doubt.append(clock.monotonic())
            look()

    patch.setattr(clock, "sleep", slept)
    world.writer.store.events.subscribe(heard)
    return lambda: clock.monotonic() - asked[0]


def naked(world: World) -> Decimal:
    """Coins that the venue's own figures call unhedged."""
    return abs(world.coins() - world.short)


def alerts(world: World) -> list[str]:
    """The codes of all alerts so far."""
    rows = world.writer.store.events.after(0, 1000, kind="alert_raised")
    return [json.loads(row.payload)["code"] for row in rows]


@pytest.mark.parametrize(("name", "which", "after"), CASES)
def test_g08_out_in_time_with_an_order_in_doubt(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, which: int, after: int
) -> None:
    """G08, A01: a request of either leg was lost, and then the process is to end, at once or in the middle of
    looking for it: out in time, what the other leg did is given back first (but for the second leg of a
    close, which is itself in doubt), the order is left UNCERTAIN and said to be so, and the next start proves
    it absent.
    """
    stays = D("0.08") if (name, which) == ("close", 1) else D("0.0001")
    if name != "open":
        opened(world, "4000")
    world.exchange.lose(*[None] * which, Loss.REQUEST)
    lasted = asked_to_end(world, monkeypatch, after=after * SECOND)
    answer = world.writer.executor.execute(*DEEDS[name])
    assert lasted() <= GRACE
    assert (answer.exit_code, answer.kind) == (5, "outcome_uncertain")
    assert "interrupted" in {reason.code for reason in answer.reasons}
    (waiting,) = world.writer.store.intents.open()
    assert waiting.link_id in answer.message
    assert naked(world) <= stays
    assert "uncertain_order" in alerts(world)
    monkeypatch.undo()
    world.restart()
    world.writer.reconciler.run()
    assert naked(world) <= D("0.0001")
    assert {item.state for item in world.writer.store.positions.active()} <= {PositionState.HEDGED}
    consistent(world)


def test_g08_a_lost_answer_is_adopted_before_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """G08, A02: the venue took the order and its answer was lost: found at the first look, and the clip is
    whole.
    """
    world.exchange.lose(None, Loss.ANSWER)
    lasted = asked_to_end(world, monkeypatch, after=0 * SECOND)
    answer = world.writer.executor.execute(*DEEDS["open"])
    assert lasted() <= GRACE
    assert world.short > 0
    assert naked(world) <= D("0.0001")
    assert not world.writer.store.intents.open()
    assert answer.exit_code in {0, 130}
    consistent(world)


def test_g08_a_walk_is_left_in_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """G08: asked to end in the recovery that finds an order in flight: it is looked for a little, not until
    its absence is proved.
    """
    world.exchange.lose(None, Loss.REQUEST)
    asked_to_end(world, monkeypatch, after=0 * SECOND)
    world.writer.executor.execute(*DEEDS["open"])
    world.restart()
    began = world.clock.monotonic()
    world.writer.desk.stop.requested = True
    found = world.writer.reconciler.run()
    assert world.clock.monotonic() - began <= GRACE
    assert not found.clean
    world.writer.desk.stop.requested = False
    consistent(world)


def test_g08_an_emergency_of_several_ends_with_the_first_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G08: asked to end while the first of two positions is closed, with an order in doubt: the second one is
    not begun.
    """
    world = make_world(tmp_path / "two.sqlite3", feed=RoughFeed())
    for base in ("BTC", "ADA"):
        assert world.writer.executor.execute("open", {"base": base, "notional": "3000"}).exit_code == 0
    world.exchange.lose(Loss.REQUEST)
    lasted = asked_to_end(world, monkeypatch, after=0 * SECOND)
    held = {item.position_id for item in world.writer.store.positions.active()}
    answer = world.writer.executor.execute("close", {"all": True, "emergency": True})
    assert lasted() <= GRACE
    assert answer.exit_code == 5
    assert {item.position_id for item in world.writer.store.positions.active()} == held
    world.close()
