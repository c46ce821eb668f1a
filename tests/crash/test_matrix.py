"""The crash matrix: a real SIGKILL at every named point, on the way in and out, whatever the venue made of
the order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.app.writer import Writer
from fundarb.core.orders import parse_link_id
from fundarb.core.records import CommandState
from fundarb.core.states import PositionState
from fundarb.crash import Point
from fundarb.engine.desk import TradeRules
from fundarb.store.database import Store
from fundarb.store.files import url_of
from tests.crash.scene import NOTIONAL, OUTCOMES, Scene
from tests.engine.world import LIMITS, SECOND, make_writer

D = Decimal
HOURS = 9 * 3600


def go_in(writer: Writer) -> object:
    return writer.trader.open("BTC", NOTIONAL)


def get_out(writer: Writer) -> object:
    held = writer.trader.held()
    return writer.trader.close(held[0].position_id) if held else None


def collect(writer: Writer) -> object:
    return writer.collector.collect()


def through_the_queue(writer: Writer) -> object:
    """A command row, taken and answered as the daemon does it."""
    store = writer.store
    number = store.commands.add("open", '{"base": "BTC", "notional": "4000"}')
    record = store.commands.claim()
    assert record is not None
    assert record.id == number
    answer = writer.executor.execute("open", {"base": "BTC", "notional": "4000"})
    store.commands.finish(number, _state(answer.failed), exit_code=answer.exit_code, result=answer.text())
    return answer


def _state(failed: bool) -> CommandState:
    return CommandState.FAILED if failed else CommandState.DONE


@dataclass(frozen=True)
class Flow:
    """What is done before (undisturbed), and what the victim does."""

    name: str
    work: Callable[[Writer], object]
    before: Callable[[Scene], None] = lambda scene: None
    skip: int = 0
    count: int = 1


def start(scene: Scene, work: Callable[[Writer], object]) -> None:
    """A writer in this very process, from its lock to its end: it is not the one that dies."""
    writer, _ = make_writer(scene.venue, scene.clock, scene.path, TradeRules(limits=LIMITS))
    try:
        writer.reconciler.run()
        work(writer)
    finally:
        writer.lock.release()
        writer.store.close()


def held(scene: Scene) -> None:
    start(scene, go_in)


def held_over_a_settlement(scene: Scene) -> None:
    held(scene)
    scene.clock.sleep(HOURS * SECOND)


OPEN = Flow("open", go_in)
OPEN_SECOND = Flow("open, second leg", go_in, skip=1)
NEVER = Flow("open, one leg never", go_in, skip=1, count=12)
CLOSE = Flow("close", get_out, before=held)
CLOSE_SECOND = Flow("close, second leg", get_out, before=held, skip=1)
COLLECT = Flow("collect", collect, before=held_over_a_settlement)
QUEUE = Flow("queue", through_the_queue)
CASES = (
    *((flow, outcome) for flow in (OPEN, OPEN_SECOND, CLOSE) for outcome in OUTCOMES),
    (CLOSE_SECOND, "partly"),
    (CLOSE_SECOND, "lost"),
    (NEVER, "unfilled"),
    (COLLECT, "filled"),
    (QUEUE, "filled"),
)


@dataclass
class Truth:
    """What must be true once faults have healed and a writer has started; a second start changes nothing."""

    scene: Scene

    def check(self) -> None:
        """Every invariant that a crash could have broken."""
        scene = self.scene
        scene.calm()
        start(scene, lambda writer: None)
        scene.clock.sleep(60 * SECOND)
        with Store.open(url_of(scene.path), clock=scene.clock, readonly=True) as store:
            newest = store.events.newest_id()
            self._orders(store)
            self._books(store)
            start(scene, lambda writer: None)
            kinds = {event.kind for event in store.events.after(newest, 100)}
            assert kinds <= {"writer_started", "writer_stopped"}, "a second start changed something"

    def _orders(self, store: Store) -> None:
        """Nothing is open; every order at the venue is one of our intents, once, with the same fill."""
        assert not store.intents.open()
        intents = {
            i.link_id: i for p in store.positions.all() for i in store.intents.of_position(p.position_id)
        }
        orders = self.scene.venue.all_orders()
        links = Counter(order.link_id for order in orders)
        assert all(count == 1 for count in links.values()), "an order was sent twice"
        for order in orders:
            assert parse_link_id(order.link_id) is not None
            intent = intents[order.link_id]
            assert (intent.symbol, intent.side, intent.quantity) == (order.symbol, order.side, order.quantity)
            assert intent.filled == order.filled

    def _books(self, store: Store) -> None:
        """Hedged or flat, contracts and wallet as the venue has them."""
        active = store.positions.active()
        assert all(p.state is PositionState.HEDGED for p in active)
        owned = sum((p.spot_owned for p in active), D(0))
        short = sum((p.contracts for p in active), D(0))
        assert -sum((p.size for p in self.scene.exchange.positions()), D(0)) == short
        assert abs(owned - short) <= max(D("0.0001"), D("0.02") * max(owned, short))
        wallet = self.scene.exchange.wallet()
        for coin, amount in store.ledger.balances().items():
            assert abs(wallet.owned(coin) - amount) <= D("1e-8"), coin


def prepared(folder: Path, flow: Flow, outcome: str) -> Scene:
    folder.mkdir()
    scene = Scene(folder)
    flow.before(scene)
    scene.arrange(outcome, count=flow.count, skip=flow.skip)
    return scene


@pytest.mark.parametrize(("flow", "outcome"), CASES, ids=lambda item: getattr(item, "name", item))
def test_a_kill_at_any_point_loses_nothing(flow: Flow, outcome: str, place: Path) -> None:
    """Killed at each point that this way passes, the next start finds every order and ends hedged or flat."""
    traced = prepared(place / "traced", flow, outcome)
    assert traced.run(flow.work, trace=True).code == 0
    points = list(dict.fromkeys(traced.passed))
    assert points
    for point in points:
        scene = prepared(place / point, flow, outcome)
        ended = scene.run(flow.work, die=point)
        assert ended.killed, f"{point} was passed, but not again"
        Truth(scene).check()


def test_every_named_point_is_on_some_way(place: Path) -> None:
    """A crash point that no flow of the matrix passes would prove nothing: each of the registry is passed."""
    passed: set[str] = set()
    for number, (flow, outcome) in enumerate(CASES):
        scene = prepared(place / str(number), flow, outcome)
        assert scene.run(flow.work, trace=True).code == 0
        passed |= set(scene.passed)
    assert {point.value for point in Point} - passed == set()
