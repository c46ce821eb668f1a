"""The trial balance: everything that has an amount or a value, so that the values add up to nothing."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from fundarb.core.ledger import Account
from fundarb.core.market import Category
from fundarb.core.orders import Side
from fundarb.engine.outcome import TradeResult
from fundarb.engine.report import Reporter
from fundarb.store.database import Store
from fundarb.store.files import url_of
from fundarb.store.ledger_sums import Sum
from tests.engine.month import EVERYTHING, collect, market, reporter, snapshot
from tests.engine.world import World, make_world

D = Decimal
HOUR = timedelta(hours=1)


def require_balanced(world: World, account: Account, coin: str) -> None:
    """Book values add up to nothing, with those of an account that has a value and no coins."""
    balances = reporter(world).ledger(EVERYTHING).balances
    assert sum((row.value or D(0) for row in balances), D(0)) == 0
    (row,) = [row for row in balances if (row.account, row.coin) == (account, coin)]
    assert not row.amount
    assert row.value


def test_what_a_fee_coin_gained_is_in_the_trial_balance(tmp_path: Path) -> None:
    """MNT that doubled before it paid fees: realised in MNT, without an amount of MNT."""
    world = make_world(tmp_path / "mnt.sqlite3", feed=market())
    world.venue.world.transfer("MNT", D(500))
    collect(world)
    for category in (Category.LINEAR, Category.SPOT):
        world.venue.world.fees(category, mnt=True)
    world.feed.prices["MNTUSDT"] = D("1.6")
    world.clock.sleep(HOUR)
    snapshot(world)
    assert isinstance(world.writer.trader.open("BTC", D(5000)), TradeResult)
    collect(world)
    require_balanced(world, Account.REALISED, "MNT")
    world.close()


def test_a_loan_given_back_is_in_the_trial_balance(world: World) -> None:
    """Bitcoin lent, and given back after some were bought at another price: no debt, and a value."""
    accidents = world.venue.world
    accidents.borrow("BTC", D("0.1"))
    world.clock.sleep(HOUR)
    collect(world)
    world.feed.prices["BTCUSDT"] += 500
    accidents.manual_order(Category.SPOT, "BTCUSDT", side=Side.BUY, quantity=D("0.1"))
    world.clock.sleep(HOUR)
    accidents.auto_repay("BTC", D(1))
    collect(world)
    require_balanced(world, Account.LOAN, "BTC")


def test_a_report_is_of_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deposit is booked by a writer between the reading of the entries and that of the balances: the report
    has it in neither, and the next one in both.
    """
    world = make_world(tmp_path / "moment.sqlite3", feed=market())
    collect(world)
    url = url_of(tmp_path / "moment.sqlite3")
    with Store.open(url, clock=world.clock, readonly=True) as store:
        totals, waiting = store.ledger.read.totals, [D(250)]

        def meanwhile() -> tuple[Sum, ...]:
            if waiting:
                world.venue.world.transfer("USDT", waiting.pop())
                collect(world)
            return totals()

        monkeypatch.setattr(store.ledger.read, "totals", meanwhile)
        for deposits in (D(0), D(250)):
            found = Reporter(store, world.clock).ledger(EVERYTHING)
            booked = sum((row.amount for row in found.rows if row.account is Account.WALLET), D(0))
            (wallet,) = [row for row in found.balances if row.account is Account.WALLET]
            assert booked == wallet.amount == D(100_000) + deposits
    world.close()
