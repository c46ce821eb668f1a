"""The crash matrix: a real SIGKILL at every named point, on the way in and out, whatever the venue made of
the order.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.orders import parse_link_id
from fundarb.core.states import PositionState
from fundarb.crash import Point
from fundarb.engine.audit import VenueOrder, VenueTruth, audit
from fundarb.engine.audit_book import BookRules
from fundarb.store.database import Store
from fundarb.store.files import url_of
from tests.crash.scene import Scene
from tests.crash.ways import CASES, QUICK, Way, nothing, start
from tests.engine.world import LIMITS, SECOND

D = Decimal
RULES = BookRules(
    drift_limit=D("0.02"),
    largest_naked=LIMITS.max_clip * D("1.03"),
    t_hedge=5 * SECOND,
    t_recover=37 * SECOND,
)
LEAST_POINTS = 35
TRACED = "traced"
COUNTED = "counted.json"
RICH = ("coins sold after the short", "queue", "open, one leg never")
"""Ways that pass many points: looked at first."""


@dataclass
class Truth:
    """What must be true once faults have healed and a writer has started; a second start changes nothing."""

    scene: Scene
    way: Way
    found: Counter[str] = field(default_factory=Counter)
    """What was counted: orders, and of each kind of wrong how many."""

    def check(self) -> None:
        """Every invariant that a crash could have broken; what was counted is left in a file."""
        scene = self.scene
        scene.calm()
        start(scene, self.way.after)
        scene.clock.sleep(60 * SECOND)
        with Store.open(url_of(scene.path), clock=scene.clock, readonly=True) as store:
            newest = store.events.newest_id()
            self._orders(store)
            self._books(store)
            self._audited(store)
            start(scene, nothing)
            kinds = {event.kind for event in store.events.after(newest, 100)}
            assert kinds <= {"writer_started", "writer_stopped"}, f"a second start changed something: {kinds}"
        counted = scene.path.with_name(COUNTED)
        counted.write_text(json.dumps(self.found), encoding="ascii")

    def _orders(self, store: Store) -> None:
        """Nothing is open; every order of ours at the venue is one intent, once, with the same fill."""
        assert not store.intents.open()
        intents = {
            i.link_id: i for p in store.positions.all() for i in store.intents.of_position(p.position_id)
        }
        orders = [
            order for order in self.scene.venue.all_orders() if parse_link_id(order.link_id) is not None
        ]
        links = Counter(order.link_id for order in orders)
        self.found["orders"] += len(orders)
        self.found["twice"] += len(orders) - len(links)
        assert not self.found["twice"], "an order was sent twice"
        for order in orders:
            intent = intents[order.link_id]
            assert (intent.symbol, intent.side, intent.quantity) == (order.symbol, order.side, order.quantity)
            assert intent.filled == order.filled

    def _audited(self, store: Store) -> None:
        """Every invariant over the books and against what the venue really has: nothing naked beyond one
        clip, nothing unexplained.
        """
        exchange = self.scene.exchange
        truth = VenueTruth(
            wallet=exchange.wallet(),
            positions=exchange.positions(),
            orders=tuple(VenueOrder(report=order.report()) for order in self.scene.venue.all_orders()),
            complete=True,
        )
        wrong = [check for check in audit(store, RULES, truth=truth) if not check.ok]
        self.found["unexplained"] += len(wrong)
        assert not wrong, wrong

    def _books(self, store: Store) -> None:
        """Hedged or flat, contracts and wallet as the venue has them."""
        active = store.positions.active()
        self.found["naked"] += sum(p.state is not PositionState.HEDGED for p in active)
        assert not self.found["naked"]
        owned = sum((p.spot_owned for p in active), D(0))
        short = sum((p.contracts for p in active), D(0))
        assert -sum((p.size for p in self.scene.exchange.positions()), D(0)) == short
        assert abs(owned - short) <= max(D("0.0001"), D("0.02") * max(owned, short))
        wallet = self.scene.exchange.wallet()
        for coin, amount in store.ledger.balances().items():
            assert abs(wallet.owned(coin) - amount) <= D("1e-8"), coin


def prepared(folder: Path, way: Way, outcome: str) -> Scene:
    """The world before the deed, with the fate of its order arranged."""
    folder.mkdir()
    scene = Scene(folder)
    way.before(scene)
    scene.arrange(outcome, count=way.count, skip=way.skip)
    return scene


def traced(scene: Scene, way: Way) -> Counter[str]:
    """How often a victim that lives passes each point."""

    def live(copy: Scene) -> None:
        assert copy.run(way.work, trace=True).code == 0

    scene.apart(TRACED, live)
    return Counter(scene.trail_of(TRACED))


def cells(place: Path, way: Way, outcome: str, *, hits: int) -> Counter[str]:
    """Every point that this way passes, struck at its first ``hits`` passings; how many deaths there were,
    and what was counted after them.
    """
    scene = prepared(place / "base", way, outcome)
    passed = traced(scene, way)
    assert passed
    deaths = [(point, hit) for point, times in passed.items() for hit in range(1, min(times, hits) + 1)]
    for point, hit in deaths:

        def die(copy: Scene, point: str = point, hit: int = hit) -> None:
            ended = copy.run(way.work, die=point, hits=hit)
            assert ended.killed, f"{point} was passed {passed[point]} times, but not a {hit}. time again"
            Truth(copy, way).check()

        scene.apart(f"{point}-{hit}", die)
    found = Counter(deaths=len(deaths))
    for point, hit in deaths:
        counted = scene.path.parent.with_name(f"{point}-{hit}") / COUNTED
        found.update(json.loads(counted.read_text(encoding="ascii")))
    return found


@pytest.mark.parametrize(("way", "outcome"), QUICK, ids=lambda item: getattr(item, "name", item))
def test_a_kill_at_any_point_loses_nothing(way: Way, outcome: str, tmp_path: Path) -> None:
    """Killed at each point that this way passes, the next start finds every order and ends hedged or flat."""
    found = cells(tmp_path, way, outcome, hits=1)
    assert found["deaths"] > 4
    assert found["orders"]


@pytest.mark.proof
@pytest.mark.parametrize(("way", "outcome"), CASES, ids=lambda item: getattr(item, "name", item))
def test_a_kill_at_any_passing_loses_nothing(
    way: Way, outcome: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The same at the first three passings of each point, on every way, whatever became of the order."""
    found = cells(tmp_path, way, outcome, hits=3)
    wrong = ", ".join(f"{name} {found[name]}" for name in ("twice", "naked", "unexplained"))
    text = f"{way.name}, {outcome}: {found['orders']} orders: {wrong}"
    request.node.user_properties += [("deaths", found["deaths"]), ("measured", text)]


def test_every_named_point_is_on_some_way(tmp_path: Path) -> None:
    """A crash point that no way of the matrix passes would prove nothing: each of the registry is passed."""
    passed: set[str] = set()
    points = {point.value for point in Point}
    cases = sorted(CASES, key=lambda case: (case[0].name not in RICH, case[1] != "lost"))
    for number, (way, outcome) in enumerate(cases):
        (tmp_path / str(number)).mkdir()
        passed |= set(traced(prepared(tmp_path / str(number) / "base", way, outcome), way))
        if points <= passed:
            break
    assert points <= passed, points - passed


def test_the_registry_is_large() -> None:
    """No fewer points than were promised."""
    assert len(Point) >= LEAST_POINTS
