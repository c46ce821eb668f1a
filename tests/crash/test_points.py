"""Every durable step and every write on the wire lies between two crash points: seen at run time, statement
by statement and request by request.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fundarb import crash
from fundarb.core.market import Category
from fundarb.core.records import Block, BlockKind
from fundarb.crash import Point
from fundarb.exchange.bybit import SANDBOX_CREDENTIALS, BybitSettings, connect
from fundarb.exchange.connection import Connection
from fundarb.exchange.sandbox_clock import SandboxClock
from tests.e2e.stage import Stage
from tests.engine.world import SECOND, make_world

D = Decimal
WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")
BEFORE_A_POST = {Point.WIRE_BEFORE_SEND, Point.WIRE_BEFORE_WRITE}
AFTER_A_POST = {Point.WIRE_AFTER_SEND, Point.WIRE_AFTER_WRITE}


class Trail:
    """Points and steps in the order in which they happen; sits where an armed point would."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.name = self
        self.steps: list[object] = []

    def __eq__(self, point: object) -> bool:
        self.steps.append(point)
        return False

    __hash__ = None  # type: ignore[assignment]


@contextmanager
def watched() -> Iterator[Trail]:
    """The trail of everything that passes a point in here."""
    trail = Trail()
    crash._armed[:] = [trail]  # type: ignore[list-item]
    try:
        yield trail
    finally:
        crash.disarm()


def test_every_commit_lies_between_two_points(tmp_path: Path) -> None:
    """Of a whole trade with faults: nothing is written outside a transaction, and each that wrote something
    passes a point right before and right after its commit.
    """
    world = make_world(tmp_path / "fundarb.sqlite3")
    store: Any = world.writer.store
    with watched() as trail:
        store.database.connection().set_trace_callback(trail.steps.append)
        world.writer.reconciler.run()
        world.writer.trader.open("BTC", D(4000))
        world.clock.sleep(9 * 3600 * SECOND)
        world.writer.collector.collect()
        number = store.commands.add("close", '{"name": "BTC"}')
        store.commands.claim()
        world.writer.executor.execute("close", {"name": "BTC"})
        assert store.commands.get(number)
        block = Block(scope="BTC", kind=BlockKind.PAUSE, reason="test", since=world.clock.now())
        store.blocks.set(block)
        store.database.connection().set_trace_callback(None)
    commits = wrote = 0
    inside = False
    steps = [step if isinstance(step, Point) else str(step).strip().upper() for step in trail.steps]
    for before, step, after in zip(steps, steps[1:], steps[2:], strict=False):
        if isinstance(step, Point):
            continue
        if step.startswith("BEGIN"):
            inside, wrote = True, 0
        elif step.startswith(WRITES):
            assert inside, f"written outside a transaction: {step}"
            wrote += 1
        elif step.startswith(("COMMIT", "ROLLBACK")) and "TO" not in step:
            inside = False
            if wrote and step.startswith("COMMIT"):
                assert isinstance(before, Point), "a commit without a point before it"
                assert isinstance(after, Point), "a commit without a point after it"
                commits += 1
    assert commits > 15
    world.close()


def test_every_post_lies_between_two_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over real HTTP: creates, a change of leverage, a cancel: each request that writes passes a point right
    before and right after it leaves.
    """
    stage = Stage(tmp_path / "home")
    real = Connection.sendall
    with watched() as trail:

        def noted(connection: Connection, data: bytes) -> None:
            trail.steps.append(data.split(b" ", 2)[:2])
            real(connection, data)

        monkeypatch.setattr(Connection, "sendall", noted)
        assert stage.open().code == 0
        assert stage.close().code == 0
        settings = BybitSettings(venue="sandbox", url=stage.url)
        exchange = connect(settings, clock=SandboxClock(stage.url), credentials=SANDBOX_CREDENTIALS)
        exchange.cancel(Category.SPOT, "BTCUSDT", link_id="fa-aaaa-AAAAAAAAAA-s001")
        exchange.prepare_symbol("ETHUSDT", D(3))
        exchange.close()
    stage.stop()
    posts = set()
    for before, step, after in zip(trail.steps, trail.steps[1:], trail.steps[2:], strict=False):
        if isinstance(step, list) and step[0] == b"POST" and not step[1].startswith(b"/sandbox"):
            assert before in BEFORE_A_POST, step
            assert after in AFTER_A_POST, step
            posts.add(step[1])
    wanted = {b"/v5/order/create", b"/v5/order/cancel", b"/v5/position/set-leverage"}
    assert wanted <= posts
