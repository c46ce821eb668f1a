"""The audit finds each figure of a report that was changed where it is kept, beside the ledger's entries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.market import Category
from fundarb.core.orders import Side
from fundarb.engine.audit import VenueTruth, audit
from fundarb.engine.audit_book import BookRules
from fundarb.engine.compare import Choice
from tests.engine.month import collect, market, snapshot
from tests.engine.world import World, make_world

D = Decimal
HOUR = timedelta(hours=1)
RULES = BookRules(drift_limit=D("0.02"), largest_naked=D(5_150), t_hedge=HOUR, t_recover=HOUR)
SPOT, PERP = (
    "category = 'spot' AND leg IS NOT NULL",
    "category = 'linear' AND kind != 'Funding' AND leg IS NOT NULL",
)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A position with settlements, fees in a coin of its own and in money, a deposit, a stranger's trade, and
    two points of the curve.
    """
    made = make_world(tmp_path / "rows.sqlite3", feed=market())
    made.writer.trader.open("BTC", D(2_000))
    made.venue.world.transfer("MNT", D(100))
    made.venue.world.manual_order(Category.SPOT, "MNTUSDT", side=Side.BUY, quantity=D(50))
    for _ in range(2):
        made.clock.sleep(9 * HOUR)
        collect(made)
        snapshot(made)
    yield made
    made.close()


def said(world: World, truth: VenueTruth | None = None) -> str:
    """What contradicts the invariant about the ledger; nothing in right books."""
    (found,) = (one for one in audit(world.writer.store, RULES, truth=truth) if one.id == "12")
    return "" if found.ok else found.details


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (f"executions SET value = value * 2 WHERE {SPOT}", "moved"),
        (f"executions SET quantity = quantity * 2 WHERE {SPOT}", "moved"),
        (f"executions SET fee_coin = 'MNT' WHERE {PERP}", "a fee of"),
        (f"executions SET raw_kind = 'AdlTrade' WHERE {PERP}", "is a AdlTrade of"),
        ("ledger_transactions SET cash_flow = '5' WHERE kind = 'TRANSFER_IN'", "does not say"),
        (
            "ledger_transactions SET cash_flow = '-5' WHERE symbol = 'MNTUSDT' AND coin = 'USDT'",
            "does not say",
        ),
        ("ledger_transactions SET funding = '5' WHERE kind = 'SETTLEMENT'", "does not say"),
        ("ledger_transactions SET fee = '5' WHERE kind = 'SETTLEMENT'", "does not say"),
        ("ledger_journals SET fact = 'AIRDROP' WHERE fact = 'TRANSFER_IN'", "is booked as a AIRDROP"),
        ("ledger_settlements SET expected = '5'", "expected of BTCUSDT"),
        ("ledger_settlements SET rate = '0.5'", "expected of BTCUSDT"),
        (
            "snapshots SET equity = '123' WHERE id = (SELECT min(id) FROM snapshots WHERE kind = 'equity')",
            "are not explained",
        ),
        ("meta SET value = '0' WHERE key = 'ledger.opening_id'", "noted to end with 0"),
    ],
)
def test_a_figure_that_is_not_what_was_booked(world: World, change: str, says: str) -> None:
    """Whatever a report shows beside the ledger's entries is held against them."""
    assert said(world) == ""
    database = world.writer.store.database
    for (name,) in database.rows("SELECT name FROM sqlite_master WHERE type = 'trigger'", ()):
        database.execute_sql(f"DROP TRIGGER {name}")
    database.execute_sql(f"UPDATE {change}")
    assert database.rows("SELECT changes()", ()) != [(0,)]
    assert says in said(world)


def test_what_was_read_of_a_time_to_come(world: World) -> None:
    """A cursor that stands in the future keeps everything until then from being read; whose clock it is, only
    the venue can tell.
    """
    ahead = world.clock.now() + timedelta(days=1)
    world.writer.store.meta.set("collect.linear", ahead.isoformat())
    assert said(world) == ""
    there = VenueTruth(
        wallet=world.exchange.wallet(),
        positions=world.exchange.positions(),
        orders=(),
        at=world.exchange.stamp(),
    )
    assert "linear is noted as read until" in said(world, there)
    assert said(world, replace(there, at=ahead)) == "", "our own clock may be late"


@pytest.mark.parametrize("answer", ["adopt", "unwind"])
def test_what_was_booked_anew_is_right(world: World, answer: str) -> None:
    """A row that was booked as a stranger's, taken back and booked as ours is no contradiction."""
    world.venue.world.manual_close("BTCUSDT")
    world.clock.sleep(HOUR)
    collect(world)
    world.writer.reconciler.run(repair=False)
    assert said(world) == ""
    world.writer.decider.decide("perp_size:BTCUSDT", Choice(answer))
    world.clock.sleep(HOUR)
    collect(world)
    snapshot(world)
    assert said(world) == ""
