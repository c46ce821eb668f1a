"""A conversion of coins by the venue, dust among them, as far as a venue that knows none can show it: rows of
the log and a wallet that followed them.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from fundarb.core.account import Transaction, Wallet
from fundarb.core.ledger import Account
from fundarb.core.lots import LotMethod
from fundarb.engine import equity_points
from fundarb.engine.collect import Collector
from fundarb.engine.report import Reporter
from fundarb.engine.report_rows import ACCOUNT_ROW, By, ReportQuery
from tests.engine.test_collect import Bent, opened
from tests.engine.world import World

D = Decimal
HOUR = timedelta(hours=1)


class Converting(Bent):
    """The venue, after it has changed coins of the wallet into others."""

    def __init__(self, world: World) -> None:
        """Nothing is converted yet."""
        super().__init__(world)
        self._world = world
        self._made: tuple[Transaction, ...] = ()

    def convert(self, **moved: Decimal) -> None:
        """Change what the wallet holds: two rows of one instant, each with the balance after it."""
        held = self._world.exchange.wallet().coins
        base = max(self._world.exchange.transactions(self._world.venue.started, _late(self._world)), key=_age)
        self._made = tuple(
            replace(
                base,
                id="converted",
                kind="CONVERT",
                coin=coin,
                symbol="",
                side=None,
                time=self._world.clock.now(),
                funding=D(0),
                fee=D(0),
                cash_flow=change,
                change=change,
                balance=held[coin].wallet + change,
                fee_rate=None,
                price=None,
                trade_id="",
                link_id="",
            )
            for coin, change in moved.items()
        )

    def transactions(self, since: datetime, until: datetime) -> tuple[Transaction, ...]:
        """The log, with these rows."""
        made = (row for row in self._made if since <= row.time <= until)
        return (*super().transactions(since, until), *made)

    def wallet(self) -> Wallet:
        """The wallet after them."""
        wallet = self._world.exchange.wallet()
        coins = dict(wallet.coins)
        for row in self._made:
            was = coins[row.coin]
            now = was.equity + row.change
            worth = was.usd_value * now / was.equity if was.usd_value and was.equity else was.usd_value
            coins[row.coin] = replace(was, wallet=was.wallet + row.change, equity=now, usd_value=worth)
        return replace(wallet, coins=coins)


def _late(world: World) -> datetime:
    return world.clock.now() + HOUR


def _age(row: Transaction) -> datetime:
    return row.time


def test_a_conversion_is_the_accounts_own_result(world: World) -> None:
    """Coins of nobody's go at their cost and come in as what they brought: the gain is realised by the
    account, the position beside it is untouched, every total ties exactly, and the tax export has the sale.
    """
    venue = Converting(world)
    collector = Collector(world.writer.store, venue, clock=world.clock, market=world.exchange)
    opened(world)
    world.venue.world.transfer("BTC", D("0.1"))
    world.clock.sleep(HOUR)
    collector.collect()
    ledger = world.writer.store.ledger
    before, cost = ledger.read.sums(), D("0.1") * 50_000
    venue.convert(BTC=D("-0.1"), USDT=D("5100.5"))
    collector.collect()
    assert ledger.balances() == {
        coin: held.owned for coin, held in venue.wallet().coins.items() if held.owned
    }
    gained = sum(
        (
            -item.value
            for item in ledger.read.sums()
            if item.account is Account.REALISED and item.position_id is None
        ),
        D(0),
    )
    assert not [item for item in before if item.account is Account.REALISED and item.position_id is None]
    assert gained == D("5100.5") - cost
    assert ledger.chain_breaks() == ()
    reporter = Reporter(world.writer.store, world.clock, market=world.exchange, trading=venue)
    equity_points.take_snapshot(
        world.writer.store,
        world.exchange,
        trading=venue,
        at=world.clock.now(),
    )
    totals = set()
    for by in By:
        report = reporter.pnl(ReportQuery(by=by))
        assert report.tie_out.unexplained == 0
        totals.add((report.total.realised, report.total.unrealised, report.total.fees, report.total.net))
    assert len(totals) == 1
    rows = {row.key: row for row in reporter.pnl(ReportQuery()).rows}
    assert rows[ACCOUNT_ROW].realised == gained
    for method in LotMethod:
        sales = [row for row in reporter.tax(ReportQuery(), method).rows if row.kind == "sale"]
        assert sum(row.quantity for row in sales) == D("0.1")
        proceeds = [row.proceeds for row in sales if row.proceeds is not None]
        assert (len(proceeds), sum(proceeds)) == (len(sales), D("5100.5"))
