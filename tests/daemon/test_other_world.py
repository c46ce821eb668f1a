"""The venue behind the same address and key becomes another account while a writer is at work: nothing is
booked and nothing is sent, whatever is asked for first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.app import reading, unattended, worlds
from fundarb.app.sandboxes import SandboxPlan, sandbox_options
from fundarb.app.truth import hang_up
from fundarb.app.writer import introduce
from fundarb.clock import SystemClock
from fundarb.engine.guard import GateSlot
from fundarb.engine.office import Office
from fundarb.engine.report_rows import ReportQuery
from fundarb.errors import OtherAccount
from fundarb.sandbox.server import Running, start_in_thread
from tests.engine.world import make_world


@dataclass
class Door:
    """One address, behind which worlds come and go."""

    running: Running

    def another(self, seed: int) -> None:
        """The world that was there ends, and another one begins."""
        port = int(self.running.url.rpartition(":")[2])
        self.running.stop()
        self.running = start_in_thread(sandbox_options(SandboxPlan(port=port, seed=seed)))


@pytest.fixture
def door() -> Iterator[Door]:
    """A world with seed 1."""
    made = Door(start_in_thread(sandbox_options(SandboxPlan(port=0, seed=1))))
    yield made
    made.running.stop()


def test_a_report_does_not_end_by_the_clock_of_another_world(door: Door, tmp_path: Path) -> None:
    """A report over books that the venue refuses to own ends where the books do, whatever time it is there;
    over its own it ends now.
    """
    settings = worlds.settings_in(door.running.url, tmp_path / "home")
    with unattended.office(settings, SystemClock()) as office:
        office.recover()
    with reading.reading(settings, SystemClock()) as store:
        last = store.events.last(1)[-1].at
    with reading.reporter(settings, SystemClock()) as ours:
        assert ours.at > last
    door.another(2)
    with reading.reporter(settings, SystemClock()) as foreign:
        assert foreign.at == last
        assert any("belongs to account" in text for text in foreign.pnl(ReportQuery()).warnings)


@pytest.fixture
def office(door: Door, tmp_path: Path) -> Iterator[Office]:
    """A daemon's office that has recovered and holds nothing."""
    settings = worlds.settings_in(door.running.url, tmp_path / "home")
    with ExitStack() as stack:
        made = stack.enter_context(unattended.office(settings, SystemClock()))
        made.recover()
        yield made


def booked(office: Office) -> tuple[int, int, int]:
    """Ledger rows, executions and intents: what must not change."""
    store = office.desk.store
    return store.ledger.count(), len(store.positions.all()), store.intents.open_count()


def do(office: Office, what: str) -> None:
    """A queued command, or a job."""
    if what == "open":
        office.commands.execute("open", {"base": "LTC", "notional": "100", "add": False})
    else:
        office.jobs.run(what, {})


@pytest.mark.parametrize("first", ["open", "scan_and_open", "collect_funding", "reconcile", "snapshot"])
def test_nothing_is_done_in_another_world(door: Door, office: Office, first: str) -> None:
    """Whatever comes first after the change, a queued command or a job: it ends as ``OtherAccount``, the
    books are as they were, and the new world never saw an order.
    """
    before = booked(office)
    door.another(seed=9)
    for name in (first, "open", "collect_funding"):
        with pytest.raises(OtherAccount, match="belongs to account"):
            do(office, name)
    assert booked(office) == before
    assert door.running.house is not None
    assert not door.running.house.venue.all_orders()


def test_a_connection_that_was_lost_costs_one_question(door: Door, office: Office) -> None:
    """The same world after a lost connection: one question more, whoever asks first, and none after it."""
    exchange = office.desk.exchange
    exchange.wallet()
    hang_up(exchange)
    before = exchange.requests_made
    exchange.wallet()
    assert exchange.requests_made - before == 2
    exchange.wallet()
    assert exchange.requests_made - before == 3


def test_an_unconfirmed_account_forbids_entries_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a connection was lost and nobody has confirmed the account since, the gate lets no order out that
    adds exposure; what is held is closed all the same.
    """
    world = make_world(tmp_path / "fundarb.sqlite3")
    world.writer.trader.open("BTC", Decimal(1000))
    monkeypatch.setattr(world.exchange, "sure", lambda: False)
    slot = GateSlot()
    world.writer = introduce(world.writer.desk, world.writer.lock, slot=slot)
    monkeypatch.setattr(world.exchange, "_gate", slot)
    sent = len(world.venue.all_orders())
    refused = world.writer.trader.open("BTC", Decimal(1000), add=True)
    assert "whose account" in str(refused)
    assert len(world.venue.all_orders()) == sent
    world.writer.trader.close("BTC")
    assert world.short == 0
    assert not world.writer.store.positions.active()
    world.close()
