"""Contracts that settle in USDC: never ours, but on the account, in the coin that they really pay."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from fundarb.core.ledger import Account
from fundarb.core.market import Category
from fundarb.core.orders import Side
from fundarb.engine.report_rows import ACCOUNT_ROW, By, ReportQuery
from tests.engine.month import collect, reporter, require_tied, snapshot
from tests.engine.world import make_world
from tests.proof.market import RoughFeed
from tests.venue.toy import perp, spot

D = Decimal
HOUR = timedelta(hours=1)


def test_a_strangers_usdc_contract_pays_in_usdc(tmp_path: Path) -> None:
    """Its fees, funding of both signs and result are booked in USDC, one for one with USDT, as the account's
    own; ours beside it is untouched, and everything ties to the last digit.
    """
    feed = RoughFeed(
        listed=(spot(), perp(), perp("BTCPERP", settle_coin="USDC", quote_coin="USDC")),
        prices={"BTCUSDT": D(50_000), "BTCPERP": D(50_010)},
        rate=D("0.0001"),
    )
    world = make_world(tmp_path / "usdc.sqlite3", feed=feed)
    world.venue.world.transfer("USDC", D(20_000))
    collect(world)
    world.writer.trader.open("BTC", D(2_000))
    world.venue.world.manual_order(Category.LINEAR, "BTCPERP", side=Side.SELL, quantity=D("0.1"))
    for rate in (D("0.0002"), D("-0.0005")):
        world.feed.rate = rate
        world.clock.sleep(8 * HOUR)
        collect(world)
        snapshot(world)
        require_tied(world)
    world.feed.prices["BTCPERP"] = D(49_000)
    world.venue.world.manual_order(Category.LINEAR, "BTCPERP", side=Side.BUY, quantity=D("0.1"))
    world.clock.sleep(HOUR)
    collect(world)
    snapshot(world)
    require_tied(world)
    read = world.writer.store.ledger.read
    strange = {item.account: item for item in read.sums() if item.position_id is None and item.coin == "USDC"}
    assert {Account.FUNDING, Account.FEES, Account.REALISED} <= strange.keys()
    assert all(item.amount == item.value for item in strange.values())
    assert strange[Account.REALISED].amount < -90
    assert all(item.coin != "USDC" for item in read.sums() if item.position_id is not None)
    rows = {row.key: row for row in reporter(world).pnl(ReportQuery(by=By.POSITION)).rows}
    assert rows[ACCOUNT_ROW].funding == -strange[Account.FUNDING].amount
    assert set(rows[ACCOUNT_ROW].fees_by_coin) == {"USDC"}
    world.close()
