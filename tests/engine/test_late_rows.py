"""Rows that come late, long after, or under a clock that was wrong: found, ours once, never a stranger's."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fundarb.core.account import Transaction
from fundarb.core.ledger import Account
from fundarb.core.market import Category
from fundarb.core.orders import ExecKind, Leg, Purpose, Side
from fundarb.core.pnl import Coverage
from fundarb.core.postings import holding_key
from fundarb.core.records import GLOBAL_SCOPE, BlockKind
from fundarb.core.states import IntentState
from fundarb.engine.orders import OrderDesk
from fundarb.engine.report import Reporter
from fundarb.engine.report_rows import ReportQuery
from fundarb.exchange.inprocess import Loss
from tests.engine.test_faults import consistent
from tests.engine.test_repairs import tied
from tests.engine.test_resolve import alerts, top_up
from tests.engine.test_trade import closed, opened
from tests.engine.world import World, make_world
from tests.venue.toy import ToyFeed

D = Decimal
MINUTE = timedelta(minutes=1)


def suspense(world: World) -> dict[str, Decimal]:
    """What stands in suspense, by coin."""
    found = world.writer.store.ledger.read.balances()
    return {
        coin: amount for (account, coin), amount in found.items() if account is Account.SUSPENSE and amount
    }


def test_an_order_that_only_the_log_shows_is_never_absent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orders and executions lag for half an hour, the wallet and the log do not: a log row under the link of
    an order in doubt is proof that it traded; it is no stranger's, and the order is adopted in the end.
    """
    position = opened(world, "5000").position
    for name, empty in (
        ("executions", ()),
        ("executions_of", ()),
        ("order_realtime", None),
        ("order_history", None),
    ):
        monkeypatch.setattr(world.exchange, name, _nothing(empty))
    world.exchange.lose(Loss.ANSWER)
    link = OrderDesk(world.writer.desk).place(top_up(position, Leg.SPOT)).intent.link_id  # type: ignore[union-attr]
    for _ in range(20):
        found = world.writer.reconciler.run()
        assert {item.state for item in found.resolved} == {IntentState.UNCERTAIN}
        assert not found.clean
        world.clock.sleep(MINUTE)
    intent = world.writer.store.intents.get(link)
    assert "log" in world.writer.resolver.against_absence(intent)
    assert not suspense(world)
    monkeypatch.undo()
    for _ in range(2):
        world.writer.reconciler.run()
    assert world.writer.store.intents.get(link).state is IntentState.DONE
    consistent(world)


def _nothing(empty: object) -> Callable[..., object]:
    """A read that shows nothing."""
    return lambda *_, **__: empty


def test_a_forced_fill_that_is_listed_late_is_ours(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The execution row of a deleveraging appears an hour after the log's: looked for until it is found, it
    is booked once, told, and the coins follow.
    """
    opened(world, "5000")
    real = world.exchange.executions
    monkeypatch.setattr(
        world.exchange,
        "executions",
        lambda *a, **k: tuple(row for row in real(*a, **k) if row.kind is not ExecKind.ADL),
    )
    world.venue.world.adl("BTCUSDT", D("0.4"))
    for _ in range(6):
        assert not world.writer.reconciler.run().clean
        world.clock.sleep(10 * MINUTE)
    assert suspense(world)
    monkeypatch.undo()
    assert world.writer.reconciler.run().clean
    assert world.short == D("0.06")
    assert abs(world.coins() - world.short) < D("0.0001")
    assert not suspense(world)
    assert "adl" in [code for code, _ in alerts(world)]
    consistent(world)


def test_everything_of_forty_days_is_read(tmp_path: Path) -> None:
    """Nobody was at work for forty days: every settlement since then is booked."""
    world = make_world(tmp_path / "f.sqlite3", feed=ToyFeed(rate=D("0.0001")))
    opened(world, "10000")
    world.writer.collector.collect()
    world.clock.sleep(timedelta(days=40))
    world.restart()
    assert world.writer.reconciler.run().clean
    rows = world.exchange.transactions(world.venue.started, world.clock.now())
    assert sum(row.kind == "SETTLEMENT" for row in rows) == 120
    assert len(world.writer.store.ledger.log.settlements()) == 120
    consistent(world)
    world.close()


def test_funding_is_ours_whatever_our_clock_said(tmp_path: Path) -> None:
    """Our clock was an hour behind when the position was closed, right after a settlement: the payment is the
    position's, for its executions carry the venue's time.
    """
    world = make_world(tmp_path / "f.sqlite3", feed=ToyFeed(rate=D("0.001")))
    position = opened(world, "10000").position
    world.clock.sleep(timedelta(hours=8))
    closed(world)
    with sqlite3.connect(world.path) as database:
        database.execute("UPDATE positions SET closed_at = closed_at - 3600000")
    database.close()
    world.restart()
    world.writer.collector.collect()
    settled = world.writer.store.ledger.log.settlements()
    assert [(item.position_id, item.received) for item in settled] == [(position.position_id, D(10))]
    world.close()


def test_a_size_without_a_sign_is_split_by_its_side(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger is short beside us and the row says the size unsigned: our part has our sign."""
    position = opened(world, "5000").position
    world.venue.world.manual_order(Category.LINEAR, "BTCUSDT", side=Side.SELL, quantity=D("0.1"))
    real = world.exchange.transactions

    def unsigned(*a: object, **k: object) -> tuple[Transaction, ...]:
        return tuple(replace(row, size=abs(row.size)) for row in real(*a, **k))  # type: ignore[arg-type]

    monkeypatch.setattr(world.exchange, "transactions", unsigned)
    world.clock.sleep(timedelta(hours=8))
    world.writer.collector.collect()
    row = next(item for item in unsigned(world.venue.started, world.clock.now()) if item.kind == "SETTLEMENT")
    [settled] = world.writer.store.ledger.log.settlements(position_id=position.position_id)
    assert row.funding
    assert settled.received == row.funding / 2


def test_a_strangers_purchase_in_our_symbol_freezes_the_coin(world: World) -> None:
    """Somebody buys a coin that we hold: left alone, frozen until a person has looked, told once."""
    opened(world, "5000")
    world.venue.world.manual_order(Category.SPOT, "BTCUSDT", side=Side.BUY, quantity=D("0.05"))
    for _ in range(2):
        assert world.writer.reconciler.run().clean
    block = world.writer.store.blocks.get("BTC", BlockKind.FREEZE)
    assert block is not None
    assert block.needs_person
    assert [code for code, _ in alerts(world)] == ["foreign_trade"]
    assert closed(world).position.spot_owned == 0
    assert world.coins() > D("0.049")


def test_missing_cash_forbids_every_entry(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """USDT that nothing explains: nothing at all is opened until it is explained."""
    opened(world, "5000")
    real = world.exchange.transactions
    monkeypatch.setattr(
        world.exchange,
        "transactions",
        lambda *a, **k: tuple(row for row in real(*a, **k) if row.kind != "TRANSFER_OUT"),
    )
    world.venue.world.transfer("USDT", D(-20_000))
    assert not world.writer.reconciler.run().clean
    assert world.writer.store.blocks.get(GLOBAL_SCOPE, BlockKind.FREEZE) is not None
    monkeypatch.undo()
    assert world.writer.reconciler.run().clean
    assert world.writer.store.blocks.get(GLOBAL_SCOPE, BlockKind.FREEZE) is None


def test_a_forced_fill_that_is_known_after_a_later_one_leaves_nothing_unexplained(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deleveraging becomes known after a fill of ours that came later, at another price: the venue realised
    it against the average of before. Our average moves to the venue's; nothing stands in suspense, nobody is
    told of a difference, and the end is flat to the last digit.
    """
    position = opened(world, "5000").position
    world.feed.prices["BTCUSDT"] = D(51_000)
    world.clock.sleep(MINUTE)
    real = {name: getattr(world.exchange, name) for name in ("executions", "transactions")}
    world.venue.world.adl("BTCUSDT", D("0.4"))
    taken = world.clock.now()
    world.clock.sleep(MINUTE)
    for name, read in real.items():
        monkeypatch.setattr(world.exchange, name, _without(read, taken))
    world.writer.desk.market.refresh()
    more = replace(
        top_up(position, Leg.PERP),
        purpose=Purpose.ENTER,
        side=Side.SELL,
        limit_price=D(50_900),
        reduce_only=False,
    )
    sold = OrderDesk(world.writer.desk).place(more)
    assert getattr(sold, "filled", None) == D("0.01")
    monkeypatch.undo()
    assert world.writer.reconciler.run().clean
    assert [code for code, _ in alerts(world)] == ["adl"]
    (held,) = world.writer.store.positions.active()
    average = world.writer.store.ledger.read.holding(holding_key(held, Leg.PERP)).average
    shown = next(report for report in world.exchange.positions() if report.symbol == "BTCUSDT")
    assert average is not None
    assert shown.average_price is not None
    assert abs(average - shown.average_price) < D("1e-6")
    closed(world)
    assert world.writer.reconciler.run().clean
    assert not suspense(world)
    consistent(world)


def _without(read: Callable[..., tuple[Any, ...]], taken: datetime) -> Callable[..., tuple[Any, ...]]:
    """A read that does not show what happened at an instant."""
    return lambda *a, **k: tuple(row for row in read(*a, **k) if row.time != taken)


def _up_to(read: Callable[..., tuple[Any, ...]], last: datetime) -> Callable[..., tuple[Any, ...]]:
    """A read that shows nothing later."""
    return lambda *a, **k: tuple(row for row in read(*a, **k) if row.time <= last)


@pytest.mark.parametrize("category", list(Category))
def test_a_strangers_trade_whose_execution_comes_late_is_booked_as_if_it_came_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, category: Category
) -> None:
    """For 45 minutes the log shows what a hand traded and the executions do not: its rows go to suspense,
    come back out of it once the executions are listed, and the books are those of a life without the delay.
    """
    hashes = []
    for late in (False, True):
        world = make_world(tmp_path / f"{late}.sqlite3")
        opened(world, "5000")
        world.clock.sleep(MINUTE)
        world.writer.collector.collect()
        if late:
            shown = _up_to(world.exchange.executions, world.clock.now())
            monkeypatch.setattr(world.exchange, "executions", shown)
        for number, side in enumerate((Side.BUY, Side.BUY, Side.SELL)):
            world.feed.prices["BTCUSDT"] = D(50_000 + 1_000 * number)
            world.clock.sleep(MINUTE)
            world.venue.world.manual_order(category, "BTCUSDT", side=side, quantity=D("0.02"))
            world.clock.sleep(14 * MINUTE)
            world.writer.collector.collect()
        assert bool(suspense(world)) is late
        monkeypatch.undo()
        for _ in range(2):
            world.writer.collector.collect()
            assert not suspense(world)
        tied(world)
        hashes.append(world.writer.store.ledger.read.digest())
        told = Reporter(world.writer.store, world.clock).tax(ReportQuery())
        assert (told.unknown, told.coverage) == (0, Coverage.COMPLETE)
        assert not world.writer.store.meta.get("collect.parked")
        world.close()
    assert hashes[0] == hashes[1]
