"""Coins of nobody's that gained or lost before they left the account, or paid for something."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.ledger import Account
from fundarb.core.lots import LotMethod
from fundarb.core.pnl import Coverage
from fundarb.engine import daybook, equity_points
from fundarb.engine.report import Reporter
from fundarb.engine.report_rows import ACCOUNT_ROW, By, PnlRow, ReportQuery
from tests.engine.world import World, make_world
from tests.venue.toy import ToyFeed, coin, perp, spot

D = Decimal
HOUR = timedelta(hours=1)
EVERYTHING = ReportQuery()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Two ETH at 2,500 beside the money, and the books opened."""
    eth = spot("ETHUSDT", tick_size=D("0.01"))
    feed = ToyFeed(listed=(spot(), perp(), eth), prices={"BTCUSDT": D(50_000), "ETHUSDT": D(2_500)})
    feed.coin_rules |= {"ETH": coin("ETH", "0.9")}
    made = make_world(tmp_path / "gone.sqlite3", feed=feed)
    made.venue.world.transfer("ETH", D(2))
    seen(made)
    yield made
    made.close()


def seen(world: World) -> None:
    """The books brought up to date, and a point of the equity curve."""
    world.writer.collector.collect()
    store = world.writer.store
    equity_points.take_snapshot(store, world.exchange, trading=world.exchange, at=world.clock.now())


def priced(world: World, price: int) -> None:
    """An hour later ETH is at another price, and somebody has looked."""
    world.clock.sleep(HOUR)
    world.feed.prices["ETHUSDT"] = D(price)
    world.clock.sleep(HOUR)
    seen(world)


def gone(world: World, amount: str) -> datetime:
    """ETH leaves; when."""
    world.clock.sleep(HOUR)
    at = world.clock.now()
    world.venue.world.transfer("ETH", D(amount))
    return at


def reporter(world: World, *, live: bool = True) -> Reporter:
    """Reports, of this moment or of what is stored."""
    account = world.exchange if live else None
    return Reporter(world.writer.store, world.clock, market=account, trading=account)


@pytest.mark.parametrize("price", [2_700, 2_300], ids=["gained", "lost"])
def test_a_withdrawal_is_no_gain_or_loss(world: World, price: int) -> None:
    """Coins that gained (or lost) since they came are withdrawn: what they had made is realised by the
    account and stays in every report, the curve does not move with the withdrawal, and the day lost nothing
    by it; nothing is sold.
    """
    priced(world, price)
    before = reporter(world).equity(EVERYTHING)
    gone(world, "-2")
    seen(world)
    made = D(2 * (price - 2_500))
    for by in By:
        found = reporter(world).pnl(ReportQuery(by=by))
        assert (found.total.realised, found.total.unrealised, found.total.net) == (made, D(0), made)
        assert (found.tie_out.unexplained, found.total.coverage) == (D(0), Coverage.COMPLETE)
        parts = found.tie_out.parts
        assert parts is not None
        assert parts.external == 2 * 2_500 - 2 * price
    after = reporter(world).equity(EVERYTHING)
    assert after.total_return == before.total_return
    assert after.max_drawdown == before.max_drawdown
    assert after.rows[-1].result - after.rows[0].result == made
    today = daybook.since(world.writer.store, world.venue.started)
    assert today is not None
    assert today.profit == made
    for method in LotMethod:
        told = reporter(world).tax(EVERYTHING, method)
        assert {(row.kind, row.gain) for row in told.rows} == {("transfer", D(0))}
        assert {(lot.outside, lot.cost) for lot in told.held if lot.asset == "ETH"} == {(True, D(5_000))}


def test_a_day_sees_only_what_prices_did(world: World) -> None:
    """Coins that gained yesterday and leave today are no loss of today, nor do they hide one."""
    priced(world, 2_700)
    start = world.clock.now()
    gone(world, "-1")
    seen(world)
    priced(world, 2_690)
    today = daybook.since(world.writer.store, start)
    assert today is not None
    assert today.profit == -10


def test_interest_is_paid_at_the_coins_worth(world: World) -> None:
    """Interest in a coin that has doubled since it came costs what the coin is worth then; the rest is what
    holding it made. The tax export disposes of it at that worth.
    """
    world.venue.world.borrow("ETH", D(1))
    priced(world, 5_000)
    world.clock.sleep(HOUR)
    seen(world)
    paid = [
        entry
        for journal in world.writer.store.ledger.read.journals()
        for entry in journal.entries
        if entry.account is Account.INTEREST and entry.coin == "ETH"
    ]
    assert len(paid) > 1
    dear = [entry for entry in paid if entry.value == (entry.amount * 5_000).quantize(D("1e-8"))]
    assert dear, "no interest was charged after the price had doubled"
    assert len(dear) + sum(
        entry.value == (entry.amount * 2_500).quantize(D("1e-8")) for entry in paid
    ) == len(paid)
    found = reporter(world).pnl(EVERYTHING)
    assert found.total.interest == sum(entry.value for entry in paid)
    assert found.tie_out.unexplained == 0
    told = reporter(world).tax(EVERYTHING, LotMethod.FIFO)
    brought = [row.proceeds for row in told.rows if row.kind == "interest" and row.quantity]
    assert sum(one for one in brought if one is not None) == found.total.interest


@pytest.mark.parametrize("cut", [False, True], ids=["offline", "until"])
def test_what_went_after_the_last_point_counts_once(world: World, cut: bool) -> None:
    """Without the account to look at, what was realised after the last point was unrealised there: it is one
    gain, and spans that adjoin there add up.
    """
    priced(world, 2_700)
    at = gone(world, "-2")
    world.clock.sleep(HOUR)
    world.writer.collector.collect()
    edge = at + timedelta(minutes=1)
    if cut:
        seen(world)
    first = reporter(world, live=cut).pnl(ReportQuery(until=edge))
    row = next(row for row in first.rows if row.key == ACCOUNT_ROW)
    assert (row.realised, row.unrealised, row.net) == (D(400), D(0), D(400))
    assert first.tie_out.equity_end == first.tie_out.equity_start == D(100_000)
    assert first.tie_out.unexplained == 0
    for by in By:
        part = reporter(world, live=cut).pnl(ReportQuery(by=by, until=edge))
        assert (part.total.realised, part.total.net) == (D(400), D(400))
        if cut:
            rest = reporter(world).pnl(ReportQuery(by=by, since=edge))
            assert (rest.total.realised, rest.total.unrealised, rest.total.net) == (D(0), D(0), D(0))


def moved(world: World, kind: str, amount: int, *, price: int | None = None) -> None:
    """A row of a coin of which no market says anything."""
    world.clock.sleep(HOUR)
    base = max(world.exchange.transactions(world.venue.started, world.clock.now()), key=lambda row: row.time)
    made = replace(
        base,
        id=f"{kind}{amount}",
        kind=kind,
        coin="NEW",
        time=world.clock.now(),
        cash_flow=D(amount),
        change=D(amount),
        balance=D(0),
    )
    world.writer.store.ledger.post_transaction(made, price=None if price is None else D(price))


def total(world: World) -> PnlRow:
    """The sum of all rows, after the log was read."""
    world.writer.collector.collect()
    return reporter(world, live=False).pnl(EVERYTHING).total


def test_what_left_at_an_unknown_worth_has_no_result(world: World) -> None:
    """A coin whose price nobody knows when it is withdrawn goes at cost, so that the day sees no loss; what
    it had gained is null, and the tax export, which sells nothing, misses nothing.
    """
    moved(world, "TRANSFER_IN", 10, price=5)
    moved(world, "TRANSFER_OUT", -10)
    (told,) = world.writer.store.ledger.unvalued.all()
    assert (told.account, told.coin) == (Account.EXTERNAL, "NEW")
    row = total(world)
    assert (row.realised, row.net, row.coverage) == (None, None, Coverage.PARTIAL)
    assert reporter(world, live=False).tax(EVERYTHING).coverage is Coverage.COMPLETE


def test_a_gain_on_coins_that_came_at_an_unknown_worth_is_not_told(world: World) -> None:
    """Coins that came before anybody knew their price did not gain all that they are worth when they go."""
    moved(world, "AIRDROP", 10)
    moved(world, "TRANSFER_OUT", -10, price=5)
    told = {(item.account, item.coin) for item in world.writer.store.ledger.unvalued.all()}
    assert told == {(Account.EXTERNAL, "NEW"), (Account.REALISED, "NEW")}
    row = total(world)
    assert (row.realised, row.net, row.coverage) == (None, None, Coverage.PARTIAL)


def test_what_nobody_saw_for_days_has_no_worth(world: World) -> None:
    """Coins come, are lent and cost interest while nobody looks for three days: at the price of today they
    make no jump in the equity, but that was not their worth, so what they made is null from then on.
    """
    start = world.clock.now()
    world.clock.sleep(30 * HOUR)
    world.venue.world.transfer("ETH", D(10))
    world.venue.world.borrow("ETH", D(1))
    world.clock.sleep(72 * HOUR)
    world.feed.prices["ETHUSDT"] = D(3_000)
    world.clock.sleep(HOUR)
    seen(world)
    told = {item.account for item in world.writer.store.ledger.unvalued.all()}
    assert told == {Account.EXTERNAL, Account.LOAN, Account.INTEREST, Account.REALISED}
    found = reporter(world).pnl(EVERYTHING).total
    assert (found.realised, found.unrealised, found.interest, found.net) == (None, None, None, None)
    assert found.coverage is Coverage.PARTIAL
    today = daybook.since(world.writer.store, start)
    assert today is not None
    assert D(950) < today.profit < D(1_001), "two ETH gained 500 each, the deposit nothing"
    curve = reporter(world).equity(EVERYTHING)
    assert (curve.total_return, curve.max_drawdown, curve.rows[-1].index) == (None, None, None)
    assert curve.rows[1].index == 1
    assert any("ETH" in note and "worth" in note for note in curve.notes)
    edge = world.clock.now()
    priced(world, 3_300)
    later = reporter(world).equity(ReportQuery(since=edge))
    assert later.total_return is not None


def test_interest_of_a_day_that_nobody_saw_is_known(world: World) -> None:
    """A price of within a day is near enough: nothing is null."""
    world.venue.world.borrow("ETH", D(1))
    world.clock.sleep(20 * HOUR)
    seen(world)
    assert world.writer.store.ledger.unvalued.all() == ()
    assert reporter(world).pnl(EVERYTHING).total.interest is not None
