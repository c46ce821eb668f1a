"""The ledger reproduces reference figures of hold-forever carry on real prices and funding, to the digit.

One coin is bought and one contract is sold short at the entry, every settlement is posted as the venue
would report it, both legs are closed at the exit: no fees, no spreads, no rounding. The reference is
exact decimal arithmetic, so nothing here has a tolerance.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fundarb.clock import VirtualClock
from fundarb.core.account import Transaction
from fundarb.core.instants import from_ms
from fundarb.core.ledger import Holding, HoldingKey, Journal
from fundarb.core.market import Category
from fundarb.core.orders import ExecKind, Execution, Leg, Side
from fundarb.core.pnl import EMPTY, Pnl, of_account
from fundarb.core.postings import Fill, execution_journal
from fundarb.core.records import Goal, PositionRecord
from fundarb.core.states import PositionState
from fundarb.core.transactions import Share, transaction_journal
from fundarb.engine.booking import book_execution
from fundarb.engine.equity_points import sum_pnl
from fundarb.store.database import Store

pq = pytest.importorskip("pyarrow.parquet", reason="the reference prices are parquet files (extra: data)")
pc = pytest.importorskip("pyarrow.compute")

DURATIONS = {"5m": 300_000, "1h": 3_600_000, "8h": 28_800_000}
ONE = Decimal(1)


@pytest.fixture(scope="module")
def cases(shared_dir: Path) -> list[dict[str, Any]]:
    """The reference cases."""
    with (shared_dir / "reference" / "golden-carry.json").open() as file:
        return list(json.load(file)["carry"])


@cache
def rows_of(path: Path, symbol: str) -> Any:
    """The rows of one symbol of a file, as a table."""
    return pq.read_table(path, filters=[("symbol", "==", symbol)])


def exact(value: float) -> Decimal:
    """A stored number as the decimal it was: its shortest representation that reads back the same."""
    return Decimal(repr(value))


@dataclass(frozen=True)
class Carry:
    """The inputs of one case, from the data files alone."""

    spot_entry: Decimal
    spot_exit: Decimal
    perp_entry: Decimal
    perp_exit: Decimal
    entry: datetime
    exit: datetime
    settlements: tuple[tuple[datetime, Decimal, Decimal], ...]


def closes(data: Path, case: dict[str, Any], market: str, symbol: str) -> dict[int, Decimal]:
    """Close prices of one market by the time of the bar's opening."""
    table = rows_of(data / case[f"{market}_file"], symbol)
    if "interval" in table.column_names:
        table = table.filter(pc.equal(table["interval"], case["interval"]))
    if case.get("bar_source"):
        table = table.filter(pc.equal(table["source"], case["bar_source"]))
    table = table.filter(
        pc.and_(
            pc.greater_equal(table["ts"], case["entry_bar_ts"]),
            pc.less_equal(table["ts"], case["exit_bar_ts"]),
        )
    )
    return {
        ts: exact(close)
        for ts, close in zip(table["ts"].to_pylist(), table["close"].to_pylist(), strict=True)
    }


def read(shared: Path, case: dict[str, Any]) -> Carry:
    """What happened, as the file's formulas define it."""
    data, length = shared / "data", DURATIONS[case["interval"]]
    spot = closes(data, case, "spot", case["spot_symbol"])
    perp = closes(data, case, "perp", case["symbol"])
    entry, end = case["entry_bar_ts"] + length, case["exit_bar_ts"] + length
    funding = rows_of(data / case["funding_file"], case["symbol"])
    funding = funding.filter(pc.and_(pc.greater(funding["ts"], entry), pc.less(funding["ts"], end)))
    columns = (funding[name].to_pylist() for name in ("ts", "rate", "mark_price"))
    return Carry(
        spot_entry=spot[case["entry_bar_ts"]],
        spot_exit=spot[case["exit_bar_ts"]],
        perp_entry=perp[case["entry_bar_ts"]],
        perp_exit=perp[case["exit_bar_ts"]],
        entry=from_ms(entry),
        exit=from_ms(end),
        settlements=tuple(
            (from_ms(ts), exact(rate), exact(mark) if mark is not None else last_close(perp, ts, length))
            for ts, rate, mark in zip(*columns, strict=True)
        ),
    )


def last_close(perp: dict[int, Decimal], ts: int, length: int) -> Decimal:
    """The close of the latest perp bar that ended at or before an instant."""
    bar = (ts // length) * length - length
    offset = next(iter(perp)) % length
    bar += offset
    while bar + length > ts or bar not in perp:
        bar -= length
    return perp[bar]


def position(case: dict[str, Any], carry: Carry) -> PositionRecord:
    """The plan of one coin against one contract."""
    return PositionRecord(
        position_id="p-GOLDEN0001",
        base=case["symbol"].removesuffix("USDT"),
        spot_symbol=case["spot_symbol"],
        perp_symbol=case["symbol"],
        multiplier=ONE,
        state=PositionState.PLANNED,
        goal=Goal.OPEN,
        notional=carry.spot_entry,
        target_contracts=ONE,
        spot_owned=Decimal(0),
        contracts=Decimal(0),
        leverage=ONE,
        decision_spot_mid=carry.spot_entry,
        decision_perp_mid=carry.perp_entry,
        created_at=carry.entry,
    )


def execution(
    name: str, plan: PositionRecord, leg: Leg, side: Side, price: Decimal, at: datetime
) -> Execution:
    """One unit traded without a fee."""
    return Execution(
        exec_id=name,
        order_id=name,
        link_id="",
        category=leg.category,
        symbol=plan.spot_symbol if leg is Leg.SPOT else plan.perp_symbol,
        side=side,
        price=price,
        quantity=ONE,
        value=price,
        fee=Decimal(0),
        fee_coin="USDT",
        kind=ExecKind.TRADE,
        raw_kind="Trade",
        time=at,
    )


def entries(plan: PositionRecord, carry: Carry) -> tuple[tuple[Execution, Leg], ...]:
    """Both legs bought and sold at the entry."""
    return (
        (execution("s1", plan, Leg.SPOT, Side.BUY, carry.spot_entry, carry.entry), Leg.SPOT),
        (execution("p1", plan, Leg.PERP, Side.SELL, carry.perp_entry, carry.entry), Leg.PERP),
    )


def exits(plan: PositionRecord, carry: Carry) -> tuple[tuple[Execution, Leg], ...]:
    """Both legs given back at the exit."""
    return (
        (execution("s2", plan, Leg.SPOT, Side.SELL, carry.spot_exit, carry.exit), Leg.SPOT),
        (execution("p2", plan, Leg.PERP, Side.BUY, carry.perp_exit, carry.exit), Leg.PERP),
    )


def settlement_rows(plan: PositionRecord, carry: Carry) -> Iterator[Transaction]:
    """The transaction log of a short of one contract: mark · rate received at each settlement."""
    balance = Decimal(0)
    for number, (at, rate, mark) in enumerate(carry.settlements):
        paid = mark * rate
        balance += paid
        yield Transaction(
            id=f"f{number}",
            kind="SETTLEMENT",
            coin="USDT",
            category=Category.LINEAR,
            symbol=plan.perp_symbol,
            side=Side.SELL,
            time=at,
            quantity=ONE,
            size=-ONE,
            price=mark,
            funding=paid,
            fee=Decimal(0),
            cash_flow=Decimal(0),
            change=paid,
            balance=balance,
            fee_rate=-rate,
            trade_id=f"t{number}",
            order_id="",
            link_id="",
        )


def require_reference(case: dict[str, Any], pnl: Pnl, legs: dict[Leg, Pnl]) -> None:
    """Every exact figure of the case, digit by digit."""
    found = {
        "funding_pnl": pnl.funding,
        "spot_pnl": legs[Leg.SPOT].realised,
        "perp_price_pnl": legs[Leg.PERP].realised,
        "basis_pnl": pnl.basis_pnl,
        "total_pnl": pnl.net,
    }
    assert found == {name: Decimal(case[name]) for name in found}


@pytest.mark.proof
def test_every_case_by_its_postings(shared_dir: Path, cases: list[dict[str, Any]]) -> None:
    """All reference cases are reproduced exactly by the journals that the core writes for their replay."""
    assert len(cases) == 36
    for case in cases:
        carry = read(shared_dir, case)
        plan = position(case, carry)
        assert len(carry.settlements) == case["settlements"]
        holdings: dict[HoldingKey, Holding] = {}
        journals: list[Journal] = []
        for trade, leg in entries(plan, carry):
            booked = execution_journal(Fill(execution=trade, position=plan, leg=leg), holdings)
            holdings |= booked.holdings
            journals.append(booked.journal)
        share = Share(plan, -ONE, -ONE)
        journals += [
            transaction_journal(row, holdings, share=share).journal for row in settlement_rows(plan, carry)
        ]
        for trade, leg in exits(plan, carry):
            booked = execution_journal(Fill(execution=trade, position=plan, leg=leg), holdings)
            holdings |= booked.holdings
            journals.append(booked.journal)
        assert all(holding == Holding() for holding in holdings.values())
        pnl, legs = EMPTY, {Leg.SPOT: EMPTY, Leg.PERP: EMPTY}
        for journal in journals:
            for entry in journal.entries:
                part = of_account(entry.account, entry.coin, amount=entry.amount, value=entry.value)
                pnl += part
                if entry.leg is not None:
                    legs[entry.leg] += part
        require_reference(case, pnl, legs)


@pytest.mark.parametrize(
    "name", ["carry/bybit/SOLUSDT/1h", "carry/bybit/ETHUSDT/5m", "carry/binance/ADAUSDT/1h/spot-binance/2022"]
)
def test_cases_through_the_store(
    shared_dir: Path, cases: list[dict[str, Any]], tmp_path: Path, name: str
) -> None:
    """Posted through the store, read back and summed by its exact aggregate, the figures are the same to
    the digit.
    """
    case = next(item for item in cases if item["id"].startswith(name))
    carry = read(shared_dir, case)
    plan = position(case, carry)
    clock = VirtualClock(datetime(2026, 1, 1, tzinfo=UTC))
    with Store.open(f"sqlite:///{tmp_path / 'golden.db'}", clock=clock) as store:
        store.positions.add(plan)
        with store.transaction():
            for trade, leg in entries(plan, carry):
                assert book_execution(store, trade, position=plan, leg=leg)
            for row in settlement_rows(plan, carry):
                assert store.ledger.post_transaction(row, share=Share(plan, -ONE, row.size))
            for trade, leg in exits(plan, carry):
                assert book_execution(store, trade, position=plan, leg=leg)
        sums = store.ledger.read.sums()
        legs = {leg: sum_pnl(item for item in sums if item.leg is leg)[plan.position_id] for leg in Leg}
        require_reference(case, sum_pnl(sums)[plan.position_id], legs)
        assert store.ledger.balances() == {"USDT": Decimal(case["total_pnl"])}
        assert store.ledger.read.unbalanced() == ()
