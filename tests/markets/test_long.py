"""A quarter of a year in one process: memory stays small, and a later month costs what the first one did."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from time import process_time

import pytest

from fundarb.core.market import Category
from fundarb.core.money import floor_to
from fundarb.core.orders import Side, TimeInForce
from fundarb.markets.synthetic import synthetic
from fundarb.venue.engine import Venue
from fundarb.venue.rows import OrderSpec, OrderType

START = datetime(2026, 1, 5, tzinfo=UTC)
MONTH = 30
MEGABYTE = 1 << 20


def lived(venue: Venue, days: range) -> float:
    """Let days pass hour by hour, as somebody who watches would; the processor time that it took."""
    began = process_time()
    for hour in range(days.start * 24, days.stop * 24):
        venue.advance(START + timedelta(hours=hour, minutes=30))
        venue.fundings()
        for category in Category:
            venue.points(category)
        venue.wallet()
    return process_time() - began


@pytest.mark.proof
def test_ninety_days_cost_what_three_months_cost() -> None:
    """Twenty short positions, settlements and interest: linear in time, bounded in memory, rows for
    everything.
    """
    market = synthetic(1, START)
    venue = Venue(market, start=START, uid="long", balances={"USDT": Decimal(100_000)})
    carried = [
        symbol for symbol in venue.instruments(Category.LINEAR) if symbol in venue.instruments(Category.SPOT)
    ]
    for symbol in carried[:20]:
        instrument = venue.instruments(Category.LINEAR)[symbol]
        quantity = floor_to(300 / venue.point(Category.LINEAR, symbol).mark, instrument.qty_step)
        venue.place(
            OrderSpec(
                category=Category.LINEAR,
                symbol=symbol,
                side=Side.SELL,
                quantity=quantity,
                order_type=OrderType.MARKET,
                time_in_force=TimeInForce.IOC,
            )
        )
        venue.advance(venue.now)
    first = lived(venue, range(MONTH))
    second = lived(venue, range(MONTH, 2 * MONTH))
    assert second < 2 * first
    tracemalloc.start()
    lived(venue, range(2 * MONTH, 2 * MONTH + 5))
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    lived(venue, range(2 * MONTH + 5, 3 * MONTH))
    assert grown < 5 * MEGABYTE
    assert len(venue.held()) == 20
    assert len(venue.all_fills()) > 20 * 90
