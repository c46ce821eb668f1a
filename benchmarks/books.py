"""Facts for the benchmarks of the books: positions, their fills, their funding."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from fundarb.core.account import Transaction
from fundarb.core.market import Category
from fundarb.core.orders import ExecKind, Execution, Leg, Side
from fundarb.core.records import Goal, PositionRecord
from fundarb.core.states import PositionState

D = Decimal
START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def plan(number: int) -> PositionRecord:
    """One position of a coin of its own time."""
    return PositionRecord(
        position_id=f"p-{number:010d}",
        base="BTC",
        spot_symbol="BTCUSDT",
        perp_symbol="BTCUSDT",
        multiplier=D(1),
        state=PositionState.PLANNED,
        goal=Goal.OPEN,
        notional=D(1200),
        target_contracts=D("0.02"),
        spot_owned=D(0),
        contracts=D(0),
        leverage=D(2),
        decision_spot_mid=D(60_000),
        decision_perp_mid=D(60_010),
        created_at=START + number * 8 * HOUR,
    )


def fills(number: int, *, opening: bool) -> Iterator[Execution]:
    """Two fills a leg, on the way in or out."""
    for part in range(4):
        leg = Leg.SPOT if part % 2 else Leg.PERP
        buys = (leg is Leg.SPOT) == opening
        price = D(60_000) + D(number % 97) / 10 + part
        quantity = D("0.01")
        yield Execution(
            exec_id=f"{number}-{opening}-{part}",
            order_id="",
            link_id="",
            category=leg.category,
            symbol="BTCUSDT",
            side=Side.BUY if buys else Side.SELL,
            price=price,
            quantity=quantity,
            value=price * quantity,
            fee=D("0.33000001"),
            fee_coin="USDT",
            kind=ExecKind.TRADE,
            raw_kind="Trade",
            time=START + number * 8 * HOUR + timedelta(seconds=part),
        )


def settlement(number: int, count: int) -> Transaction:
    """One funding payment."""
    paid = D(number % 89 - 30) / 1000 + D("0.00000001")
    return Transaction(
        id=f"{number}-{count}",
        kind="SETTLEMENT",
        coin="USDT",
        category=Category.LINEAR.value,
        symbol="BTCUSDT",
        side=Side.SELL,
        time=START + (number + count) * 8 * HOUR,
        quantity=D("0.02"),
        size=D("-0.02"),
        price=D(60_000),
        funding=paid,
        fee=D(0),
        cash_flow=D(0),
        change=paid,
        balance=D(10_000),
        fee_rate=D("-0.0001"),
        trade_id="",
        order_id="",
        link_id="",
    )
