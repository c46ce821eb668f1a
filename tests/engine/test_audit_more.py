"""The audit's later checks: each finds books that were damaged so, and none finds fault with right ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.app.writer import note_limits
from fundarb.config.secrets import stored_forms
from fundarb.core.events import AlertRaised, BlockSet, MismatchRepaired, OrderAnswered
from fundarb.core.market import Category
from fundarb.core.orders import Side
from fundarb.core.records import Block, BlockKind, IntentRecord
from fundarb.engine.audit import Audit, examine
from fundarb.engine.audit_book import BookRules
from fundarb.engine.compare import Choice
from fundarb.exchange.inprocess import Loss
from tests.engine.test_trade import closed, opened
from tests.engine.world import LIMITS, SECOND, World, make_world

D = Decimal
RULES = BookRules(drift_limit=D("0.02"), largest_naked=D("5150"), t_hedge=5 * SECOND, t_recover=37 * SECOND)


@pytest.fixture
def noted(tmp_path: Path) -> Iterator[World]:
    """A writer that has noted its limits, and one open position."""
    made = make_world(tmp_path / "noted.sqlite3")
    note_limits(made.writer.store, made.rules)
    made.clock.sleep(SECOND)
    opened(made, "5000")
    yield made
    made.close()


def looked(world: World, rules: BookRules = RULES) -> Audit:
    """The audit of the books alone, by the settings of now."""
    return examine(world.writer.store, rules)


def broken(world: World, rules: BookRules = RULES) -> dict[str, str]:
    """What does not hold."""
    return {check.id: check.details for check in looked(world, rules).checks if not check.ok}


def sql(world: World, text: str) -> None:
    """Damage the books."""
    world.writer.store.database.execute_sql(text)


def orders(world: World) -> tuple[IntentRecord, ...]:
    """The orders of the one position."""
    return world.writer.store.intents.of_position(world.writer.store.positions.all()[0].position_id)


def test_right_books_hold(noted: World) -> None:
    """Opened, lost and found, reduced by ADL, closed by hand and answered: nothing is found."""
    noted.exchange.lose(Loss.REQUEST, Loss.ANSWER)
    closed(noted, "0.2")
    noted.venue.world.adl("BTCUSDT", D("0.4"))
    noted.writer.reconciler.run()
    noted.venue.world.auto_repay("BTC", D("0.2"))
    noted.writer.reconciler.run()
    noted.venue.world.manual_close("BTCUSDT")
    noted.writer.decider.decide("perp_size:BTCUSDT", Choice.UNWIND)
    assert broken(noted) == {}
    assert "8" not in looked(noted).not_judged


def test_dust_of_one_position_in_the_next_is_no_fault(noted: World) -> None:
    """What one position leaves below the minimum is used by the next: both books add up."""
    closed(noted)
    opened(noted, "5000")
    closed(noted)
    assert broken(noted) == {}


# ---------------------------------------------------------------------------------------------- 4: doubts


def absent(world: World) -> IntentRecord:
    """An order that was proved absent."""
    world.exchange.lose(Loss.REQUEST)
    closed(world, "0.2")
    return next(item for item in orders(world) if item.state == "ABSENT")


def test_4_absent_without_a_proof(noted: World) -> None:
    """An order that somebody called ABSENT by hand."""
    link = orders(noted)[0].link_id
    sql(noted, f"UPDATE intents SET state = 'ABSENT' WHERE link_id = '{link}'")
    assert "nothing says how" in broken(noted)["4"]


def test_4_absent_too_soon(noted: World) -> None:
    """A proof that took less than the lease and three misses over thirty seconds."""
    intent = absent(noted)
    assert broken(noted) == {}
    later = int((intent.signed_at + timedelta(seconds=20)).timestamp() * 1000)
    sql(noted, f"UPDATE intents SET signed_at = {later} WHERE link_id = '{intent.link_id}'")
    assert "was called ABSENT" in broken(noted)["4"]


def test_4_refused_without_a_refusal(noted: World) -> None:
    """REFUSED, though the venue's answer was no refusal."""
    intent = orders(noted)[0]
    sql(noted, f"UPDATE intents SET state = 'REFUSED' WHERE link_id = '{intent.link_id}'")
    noted.writer.store.events.record(
        OrderAnswered(
            link_id=intent.link_id,
            position_id=intent.position_id,
            symbol=intent.symbol,
            outcome="uncertain",
            code=None,
            message="",
        )
    )
    assert "its answer was uncertain" in broken(noted)["4"]


# ---------------------------------------------------------------------------------------------- 6: told


def test_6_an_alert_of_before_excuses_nothing(noted: World) -> None:
    """Only who was told since the leg became naked has been told of it."""
    store = noted.writer.store
    held = store.positions.all()[0]
    rows = store.executions.of_position(held.position_id)
    last = max(rows, key=lambda row: row.link_id[-3:])
    later = int(last.time.timestamp() * 1000) + 120_000
    sql(noted, f"UPDATE executions SET time = {later} WHERE key = '{last.key}'")
    early = AlertRaised(code="unhedged", subject=held.position_id, message="of long ago")
    number = store.events.record(early).id
    sql(
        noted,
        f"UPDATE events SET at = {int(held.created_at.timestamp() * 1000) - 60_000} WHERE id = {number}",
    )
    assert "without an alert" in broken(noted)["6"]


# ---------------------------------------------------------------------------------------------- 7: releases


def test_7_coins_that_nobody_took(noted: World) -> None:
    """Fewer coins in the position's row than its executions and releases leave."""
    noted.venue.world.auto_repay("BTC", D("0.2"))
    noted.writer.reconciler.run()
    assert broken(noted) == {}
    sql(noted, "UPDATE ledger_journals SET key = 'x' || key WHERE key LIKE 'release:%'")
    assert "its executions say" in broken(noted)["7"]


# ---------------------------------------------------------------------------------------------- 8: caps


def test_8_an_entry_above_the_cap(noted: World) -> None:
    """An entry worth more than max_clip with its collar."""
    first = orders(noted)[0]
    sql(noted, f"UPDATE intents SET quantity = '1' WHERE link_id = '{first.link_id}'")
    assert "above the cap" in broken(noted)["8"]


def test_8_too_many_orders_in_a_minute(noted: World) -> None:
    """A limit of one order a minute was in force, and there were more."""
    store = noted.writer.store
    note_limits(store, replace(noted.rules, limits=replace(LIMITS, orders_per_minute=1)))
    noted.clock.sleep(SECOND)
    noted.writer.trader.open("BTC", D(400), add=True)
    noted.writer.trader.open("BTC", D(400), add=True)
    assert "entry order within a minute" in broken(noted)["8"]


def test_8_leverage(noted: World) -> None:
    """More leverage than was allowed."""
    sql(noted, "UPDATE positions SET leverage = '50'")
    assert "has leverage 50" in broken(noted)["8"]


def test_8_limits_of_another_time_do_not_count(noted: World) -> None:
    """An order, and what was naked with it, is judged by the caps of its own time: smaller ones of today
    condemn nothing of before, and larger ones excuse nothing.
    """
    noted.clock.sleep(SECOND)
    tight = replace(noted.rules, limits=replace(LIMITS, max_clip=D(10)))
    note_limits(noted.writer.store, tight)
    assert broken(noted, replace(RULES, largest_naked=D(10))) == {}
    noted.clock.sleep(SECOND)
    noted.writer.trader.open("BTC", D(400), add=True)
    noted.clock.sleep(SECOND)
    note_limits(noted.writer.store, noted.rules)
    found = broken(noted)
    assert "above the cap of 10" in found["8"]
    assert "USDT were naked at once" in found["6"]


@pytest.mark.parametrize("wide", [True, False])
def test_deadlines_are_those_of_their_time(noted: World, wide: bool) -> None:
    """Ten seconds between two legs are right by a ``t_hedge`` of a minute and wrong by one of five seconds,
    and a proof of 34 s is right after a lease of two, whatever is in force today.
    """
    store, hour = noted.writer.store, timedelta(hours=1)
    then, now = (60, 5) if wide else (5, 60)
    note_limits(store, replace(noted.rules, limits=replace(LIMITS, t_hedge=then * SECOND)))
    noted.clock.sleep(hour)
    noted.exchange.lose(Loss.REQUEST)
    noted.writer.trader.open("BTC", D(400), add=True)
    last = max(orders(noted), key=lambda order: order.seq)
    sql(noted, f"UPDATE executions SET time = time + 10000 WHERE link_id = '{last.link_id}'")
    noted.clock.sleep(hour)
    lease = 20 * SECOND
    changed = replace(noted.rules, limits=replace(LIMITS, t_hedge=now * SECOND), recv_window=lease)
    note_limits(store, changed)
    found = broken(noted, replace(RULES, t_hedge=now * SECOND, lease=lease))
    assert "4" not in found
    assert ("6" in found) is not wide


def test_8_is_not_judged_where_nobody_noted_limits(world: World) -> None:
    """Without a note the check is named as not made, never as passed."""
    opened(world, "5000")
    found = looked(world)
    assert "8" in found.not_judged
    assert "8" not in {check.id for check in found.checks}


# ---------------------------------------------------------------------------------------------- 10: blocks


@pytest.mark.parametrize("scope", ["*", "BTC"])
def test_10_an_entry_under_a_block(noted: World, scope: str) -> None:
    """A halt, or a freeze of the coin, that stood before the entry was written."""
    store = noted.writer.store
    event = store.events.record(BlockSet(scope=scope, block="halt", reason="stop", until=None))
    before = int(orders(noted)[0].created_at.timestamp() * 1000) - 500
    sql(noted, f"UPDATE events SET at = {before} WHERE id = {event.id}")
    assert f"under the halt of {scope}" in broken(noted)["10"]


def test_10_hedges_and_exits_are_allowed(noted: World) -> None:
    """Under a block a close goes on, and a block of another coin forbids nothing here."""
    store = noted.writer.store
    now = store.clock.now()
    store.blocks.set(Block(scope="ETH", kind=BlockKind.FREEZE, reason="x", since=now))
    noted.clock.sleep(SECOND)
    noted.writer.trader.open("BTC", D(400), add=True)
    store.blocks.set(Block(scope="*", kind=BlockKind.PAUSE, reason="x", since=now))
    noted.clock.sleep(SECOND)
    closed(noted)
    assert broken(noted) == {}


# ---------------------------------------------------------------------------------------------- 11: strangers


def test_11_a_strangers_fill_in_our_book(noted: World) -> None:
    """A fill of somebody else that was counted as ours without anybody having said so."""
    store = noted.writer.store
    noted.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.BUY, quantity=D("0.01"))
    noted.writer.reconciler.run()
    held = store.positions.all()[0]
    (row,) = store.executions.of_strangers(Category.LINEAR, "BTCUSDT", since=held.created_at)
    sql(
        noted,
        f"UPDATE executions SET position_id = '{held.position_id}', leg = 'perp' WHERE key = '{row.key}'",
    )
    assert "is a stranger's fill" in broken(noted)["11"]
    store.events.record(MismatchRepaired(mismatch="perp_size", symbol="BTCUSDT", action="adopted"))
    assert "11" not in broken(noted)


def test_11_an_order_of_another_symbol(noted: World) -> None:
    """An intent that trades something else than its position's two markets."""
    link = orders(noted)[0].link_id
    sql(noted, f"UPDATE intents SET symbol = 'ETHUSDT' WHERE link_id = '{link}'")
    assert "which is not its position's" in broken(noted)["11"]


# ---------------------------------------------------------------------------------------------- 12: the chain


def test_12_a_hole_in_the_chain(noted: World) -> None:
    """A row of the venue's log that is missing from ours."""
    noted.writer.reconciler.run()
    assert broken(noted) == {}
    sql(
        noted,
        "DELETE FROM ledger_transactions WHERE key = (SELECT key FROM ledger_transactions "
        "WHERE coin = 'USDT' AND state <> 'opening' ORDER BY time, key LIMIT 1)",
    )
    assert "follows" in broken(noted)["12"]


# ---------------------------------------------------------------------------------------------- 14: secrets


def test_14_a_secret_in_the_database(noted: World) -> None:
    """A key that got into a message is found, in any spelling; other secrets are not."""
    store, secret = noted.writer.store, "c4n4ry/s3cret+value"
    found = examine(store, RULES, secrets=stored_forms([secret]))
    assert next(check for check in found.checks if check.id == "14").ok
    encoded = stored_forms([secret])[3]
    store.events.record(AlertRaised(code="x", subject="y", message=f"header {encoded}"))
    found = examine(store, RULES, secrets=stored_forms([secret]))
    check = next(check for check in found.checks if check.id == "14")
    assert not check.ok
    assert secret not in check.details


def test_14_is_not_judged_without_secrets(noted: World) -> None:
    """Nothing to look for is no passed check."""
    assert "14" in looked(noted).not_judged


# ---------------------------------------------------------------------------------------------- liveness


def test_stuck_in_doubt_without_an_alert(noted: World) -> None:
    """An order that stays UNCERTAIN for minutes and nobody was told; once somebody is, it holds."""
    link = orders(noted)[-1].link_id
    sql(noted, f"UPDATE intents SET state = 'UNCERTAIN' WHERE link_id = '{link}'")
    noted.clock.sleep(120 * SECOND)
    assert "is UNCERTAIN since" in broken(noted)["liveness"]
    noted.writer.store.events.record(AlertRaised(code="uncertain_order", subject=link, message="?"))
    assert "liveness" not in broken(noted)


def test_stuck_naked_without_an_alert(noted: World) -> None:
    """A position that stays EXPOSED and nobody was told."""
    noted.venue.world.adl("BTCUSDT", D("0.5"))
    noted.writer.collector.collect()
    from fundarb.engine.lifecycle import settle

    settle(noted.writer.desk, noted.writer.store.positions.all()[0].position_id)
    noted.clock.sleep(300 * SECOND)
    assert "liveness" not in broken(noted)
    sql(noted, "DROP TRIGGER IF EXISTS events_fixed")
    sql(noted, "DELETE FROM events WHERE kind IN ('alert_raised', 'block_set')")
    assert "is EXPOSED since" in broken(noted)["liveness"]


def test_naked_again_within_an_incident_that_was_told(noted: World) -> None:
    """A doubt comes and goes while a position is naked: the alert of before stands, and is not given again;
    once that incident is over an exposure is a new one.
    """
    noted.venue.world.adl("BTCUSDT", D("0.5"))
    noted.writer.collector.collect()
    from fundarb.engine.alerts import NAKED, alert_once, alert_over
    from fundarb.engine.lifecycle import settle

    store, name = noted.writer.store, noted.writer.store.positions.all()[0].position_id
    alert_once(store, "unhedged", subject=name, message="?")
    noted.clock.sleep(20 * SECOND)
    settle(noted.writer.desk, name)
    sql(noted, "DROP TRIGGER IF EXISTS events_fixed")
    sql(noted, "DELETE FROM events WHERE kind IN ('block_set', 'forced_execution')")
    noted.clock.sleep(300 * SECOND)
    assert "liveness" not in broken(noted)
    alert_over(store, NAKED, subject=name)
    assert "is EXPOSED since" in broken(noted)["liveness"]
