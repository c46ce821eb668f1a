"""Small builders of records for the store's tests, and a real process beside the test's own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fundarb.clock import VirtualClock
from fundarb.core.market import Category
from fundarb.core.orders import ExecKind, Execution, Leg, Purpose, Side, link_id
from fundarb.core.records import Goal, IntentRecord, PositionRecord
from fundarb.core.states import IntentState, PositionState
from fundarb.store.database import Store
from fundarb.store.files import url_of

D = Decimal
NOW = datetime(2026, 11, 22, 9, 0, 0, 123456, tzinfo=UTC)
TAG = "k3f9"
PLAN = "7Q2MX0WA4D"


def clock() -> VirtualClock:
    """A clock that stands at a fixed instant with microseconds in it."""
    return VirtualClock(NOW)


def opened(where: Path | str, **options: Any) -> Store:
    """The store of a file or a URL, made if it is missing."""
    url = where if isinstance(where, str) else url_of(where)
    return Store.open(url, **{"clock": clock(), **options})


sqlite_only = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
"""For a test of what only a database file has; its docstring says what that is."""
server_in_proof = pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.proof)], indirect=True
)
"""For a slow test (it starts processes): with a file in each run, with a server in `make proof`."""


def made(path: Path) -> Path:
    """A database with something in it, closed."""
    with opened(path) as store:
        store.positions.add(position())
        for number in range(50):
            store.meta.set(f"key {number}", "x" * 2000)
    return path


def position(plan: str = PLAN, base: str = "BTC", **changes: Any) -> PositionRecord:
    """A new plan of one coin."""
    made = PositionRecord(
        position_id=f"p-{plan}",
        base=base,
        spot_symbol=f"{base}USDT",
        perp_symbol=f"{base}USDT",
        multiplier=D(1),
        state=PositionState.PLANNED,
        goal=Goal.OPEN,
        notional=D(1000),
        target_contracts=D("0.016"),
        spot_owned=D(0),
        contracts=D(0),
        leverage=D(2),
        decision_spot_mid=D("60000.05"),
        decision_perp_mid=D("60010.1"),
        created_at=NOW,
    )
    return replace(made, **changes)


def intent(seq: int = 1, leg: Leg = Leg.PERP, plan: str = PLAN, **changes: Any) -> IntentRecord:
    """A new order of a plan."""
    made = IntentRecord(
        link_id=link_id(TAG, plan, leg=leg, seq=seq),
        position_id=f"p-{plan}",
        leg=leg,
        seq=seq,
        purpose=Purpose.ENTER,
        category=leg.category,
        symbol="BTCUSDT",
        side=Side.SELL if leg is Leg.PERP else Side.BUY,
        quantity=D("0.016"),
        limit_price=D("59900.5"),
        reduce_only=False,
        state=IntentState.SENDING,
        epoch=1,
        signed_at=NOW - timedelta(milliseconds=20),
        created_at=NOW,
    )
    return replace(made, **changes)


def execution(number: int = 1, **changes: Any) -> Execution:
    """One fill."""
    made = Execution(
        exec_id=f"e{number}",
        order_id="o1",
        link_id=link_id(TAG, PLAN, leg=Leg.SPOT, seq=1),
        category=Category.SPOT,
        symbol="BTCUSDT",
        side=Side.BUY,
        price=D("60000.01"),
        quantity=D("0.005"),
        value=D("300.00005"),
        fee=D("0.000005"),
        fee_coin="BTC",
        kind=ExecKind.TRADE,
        raw_kind="Trade",
        time=NOW + timedelta(seconds=number),
    )
    return replace(made, **changes)


PREAMBLE = """
import os, signal, sys
from datetime import timedelta
from pathlib import Path
from fundarb.clock import SystemClock
from fundarb.store.database import Store
from fundarb.store.lock import WriterLock
clock = SystemClock()
store = Store.open(sys.argv[1], clock=clock)
path = store.place.file
"""


@contextmanager
def process(where: Path | str, script: str) -> Iterator["subprocess.Popen[str]"]:
    """A python process that has a database open as ``store`` and runs a script; killed at the end."""
    url = where if isinstance(where, str) else url_of(where)
    child = subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + script, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                stream.close()


def heard(child: "subprocess.Popen[str]") -> str:
    """The next line that a process printed."""
    assert child.stdout is not None
    return child.stdout.readline().strip()
