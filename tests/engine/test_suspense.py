"""What nobody could explain: it is no result, and whoever reads a report is told."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from fundarb.core.lots import LotMethod
from fundarb.core.orders import Leg, Side
from fundarb.core.pnl import Coverage
from fundarb.engine.collect import Collector
from fundarb.engine.report_rows import By, ReportQuery
from fundarb.engine.report_tax import tax_of
from tests.engine.month import EVERYTHING, reporter
from tests.engine.test_collect import Bent
from tests.engine.world import World
from tests.store.make import position
from tests.store.test_ledger import execution, row

D = Decimal


@pytest.mark.parametrize("amount", ["-100", "5"])
def test_money_that_nobody_explained_is_in_no_result_and_told(world: World, amount: str) -> None:
    """A kind of row that nobody described moves USDT: the P&L is partial and says so, and the tax export has
    a row whose gain is not known.
    """
    bent = Bent(world)
    bent.rows = lambda rows: [replace(row, kind="MYSTERY") for row in rows]
    world.venue.world.transfer("USDT", D(amount))
    Collector(world.writer.store, bent, clock=world.clock, market=world.exchange).collect()
    for by in By:
        found = reporter(world).pnl(ReportQuery(by=by))
        assert (found.total.suspense, found.total.realised) == (D(amount), D(0))
        assert found.total.coverage is Coverage.PARTIAL
        assert [row.coverage for row in found.rows] == [Coverage.PARTIAL]
        assert any("suspense" in text and amount in text for text in found.warnings)
    for method in LotMethod:
        told = reporter(world).tax(EVERYTHING, method)
        (row,) = told.rows
        assert (row.kind, row.asset, row.quantity) == ("suspense", "USDT", abs(D(amount)))
        assert (row.gain, row.proceeds, row.cost) == (None, None, max(-D(amount), D(0)))
        assert (told.unknown, told.coverage, told.gains[method.value]) == (1, Coverage.PARTIAL, D(0))


@pytest.mark.parametrize("method", LotMethod)
def test_what_was_taken_back_was_never_there(world: World, method: LotMethod) -> None:
    """A trade of ours whose execution comes too late goes to suspense and is taken back: the tax export has
    the trade alone, as if it had come in time.
    """
    store = world.writer.store
    owner = store.positions.add(position())
    sold = execution("1", side=Side.SELL, fee=D(0))
    rows = [
        row("a", "TRADE", change="600", trade_id="1", symbol="BTCUSDT"),
        row("a", "TRADE", "BTC", "-0.01", trade_id="1", symbol="BTCUSDT", price=D(60_000)),
    ]
    store.ledger.post_execution(execution("0"), position=owner, leg=Leg.SPOT)
    for item in rows:
        store.ledger.post_transaction(item)
    waiting = tax_of(store.ledger.read.tax_entries(), EVERYTHING, method=method)
    assert (waiting.unknown, waiting.coverage) == (2, Coverage.PARTIAL)
    assert store.ledger.post_execution(sold, position=owner, leg=Leg.SPOT)
    assert [store.ledger.match_trade(item, sold.key) for item in rows] == [0, 0]
    found = tax_of(store.ledger.read.tax_entries(), EVERYTHING, method=method)
    assert [item.kind for item in found.rows] == ["sale"]
    assert (found.unknown, found.coverage, found.held) == (0, Coverage.COMPLETE, ())
