"""What a person sees and what a script reads: tables that fit the screen, the keys of the contract, the
question before an order.
"""

from __future__ import annotations

import csv
import io
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.stage import LIVE, Ran, Stage

TRADE = {
    "position_id",
    "base",
    "state",
    "spot",
    "perp",
    "delta",
    "drift",
    "lot",
    "notional",
    "orders",
    "plan",
}
ORDER = {
    *("link_id", "order_id", "seq", "leg", "purpose", "side"),
    *("quantity", "filled", "average_price", "state"),
}
POSITION = {
    *(
        "position_id",
        "base",
        "state",
        "spot_quantity",
        "perp_quantity",
        "multiplier",
        "delta",
        "drift",
        "lot",
    ),
    *("entry_basis", "mark_basis", "notional", "funding_received", "fees_paid", "unrealised_pnl", "net_pnl"),
    *("opened_at", "next_funding_time", "liquidation_price", "liquidation_distance"),
}
MISMATCH = {"id", "kind", "symbol", "expected", "found", "difference", "tolerance", "action"}
PNL = {
    *("key", "funding", "basis_pnl", "fees", "interest", "slippage", "realised", "unrealised", "net"),
    *("notional", "days", "net_apr_on_capital", "coverage"),
}
PLAIN = re.compile(r"-?\d+(\.\d+)?")


def seen(stage: Stage, width: int, *words: str) -> Ran:
    """A command line on a screen of so many columns; no line is wider and no figure is cut."""
    ran = stage.run(*words, environ={"COLUMNS": str(width)})
    for line in ran.out.splitlines():
        assert len(line.rstrip()) <= width, line
        assert "…" not in line, line
    return ran


@pytest.mark.parametrize("width", [80, 160])
def test_a_life_on_the_screen(stage: Stage, width: int) -> None:
    """Plan, open, positions, every report, a difference, a close: each fits the screen and says what
    matters.
    """
    plan = seen(stage, width, "open", "PEPE", "--notional", "700", "--dry-run")
    assert (plan.code, "PLANNED" in plan.out, "nothing was sent" in plan.out) == (0, True, True)
    assert "2 clips" in plan.out
    opened = seen(stage, width, "open", "PEPE", "--notional", "700", "--yes")
    assert opened.code == 0
    for word in ("HEDGED", "PEPEUSDT", "1000PEPEUSDT", "delta", "basis", "fees", "DONE"):
        assert word in opened.out
    seen(stage, width, "open", "BTC", "--notional", "900", "--yes")
    stage.advance("9h")
    assert "books and venue agree" in seen(stage, width, "reconcile").out
    held = seen(stage, width, "positions").out
    assert all(word in held for word in ("PEPE", "BTC", "HEDGED", "drift", "net", "2 open"))
    assert ("p-" in held) is (width == 160)
    for kind, words in {
        "pnl": ("total", "unexplained 0.00000000", "complete"),
        "funding": ("1000PEPEUSDT", "settlements, received +"),
        "trades": ("Buy", "Sell", "fills, fees"),
        "equity": ("equity", "result"),
        "ledger": ("position_cost", "entries"),
    }.items():
        shown = seen(stage, width, "report", kind).out
        assert all(word in shown for word in words), shown
    stage.world("manual_close", symbol="BTCUSDT")
    differs = seen(stage, width, "reconcile")
    assert differs.code == 6
    assert all(word in differs.out for word in ("perp_size", "BTCUSDT", "our books", "venue", "coin frozen"))
    assert differs.err == "Error: 1 difference between our books and the venue stays\n"
    closed = seen(stage, width, "close", "PEPE", "--yes")
    assert closed.code == 0
    assert "nothing is held" in closed.out
    refused = seen(stage, width, "close", "BTC", "--fraction", "50%", "--yes")
    assert (refused.code, refused.out) == (3, "")
    assert "run `fundarb reconcile`" in refused.err


def test_the_keys_of_the_contract(stage: Stage) -> None:
    """Every key that scripts rely on, with decimals in plain notation and times in UTC."""
    plan = stage.open("BTC", "400", "--dry-run")
    (stage.home / "HALT").touch()
    halted = stage.open("BTC", "400", "--dry-run")
    assert (halted.code, [reason["code"] for reason in halted.envelope["error"]["reasons"]]) == (
        3,
        ["block_halt"],
    )
    (stage.home / "HALT").unlink()
    assert set(plan.data) == TRADE
    assert (plan.data["state"], plan.data["orders"]) == ("PLANNED", [])
    opened = stage.open()
    assert set(opened.data) == TRADE
    assert set(opened.data["spot"]) == {"symbol", "quantity", "average_price", "fees"}
    assert set(opened.data["perp"]) == {"symbol", "contracts", "average_price", "fees"}
    assert set(opened.data["spot"]["fees"][0]) == {"coin", "amount", "value_quote"}
    assert set(opened.data["orders"][0]) >= ORDER
    for figure in (opened.data["delta"], opened.data["drift"], opened.data["lot"], opened.data["notional"]):
        assert PLAIN.fullmatch(figure), figure
    envelope = opened.envelope
    assert set(envelope) == {"schema", "as_of", "venue", "mode", "data", "warnings", "error"}
    assert (envelope["schema"], envelope["venue"], envelope["mode"]) == ("fundarb.open/1", "sandbox", "live")
    assert envelope["as_of"].startswith("2026-01-05T00:0")
    position = stage.json("positions").data["positions"][0]
    assert set(position) >= POSITION
    assert position["perp_quantity"] == "-0.008"
    found = stage.json("reconcile").data
    assert set(found) >= {"checked", "resolved", "mismatches", "repaired", "clean"}
    assert set(found["checked"]) == {"positions", "balances", "orders", "executions", "ledger_rows"}
    stage.world("transfer", coin="BTC", amount="-0.001")
    assert all(set(row) >= MISMATCH for row in stage.json("reconcile").data["mismatches"])
    report = stage.json("report", "pnl").data
    assert set(report["rows"][0]) >= PNL
    assert set(report["tie_out"]) >= {"equity_start", "equity_end", "explained", "unexplained"}
    trades = stage.run("report", "trades", "--format", "csv").out
    rows = list(csv.DictReader(io.StringIO(trades)))
    assert [row["side"] for row in rows] == ["Sell", "Buy"]
    assert stage.run("report", "funding", "--format", "csv").out.startswith("time,symbol,rate,")


def test_closing_everything(stage: Stage) -> None:
    """``--all`` closes each position, in JSON under ``closed``; with nothing open it is done at once."""
    stage.open("BTC")
    stage.open("ETH")
    plans = stage.json("close", "--all", "--dry-run").data["closed"]
    assert {item["base"] for item in plans} == {"BTC", "ETH"}
    ran = stage.json("close", "--all", "--yes")
    assert ran.code == 0
    assert [item["state"] for item in ran.data["closed"]] == ["CLOSED", "CLOSED"]
    nothing = stage.run("close", "--all", "--yes")
    assert (nothing.code, nothing.out) == (0, "no open positions\n")
    stage.check()


def test_a_dry_run_of_reconcile_changes_nothing(stage: Stage) -> None:
    """After a crash in flight ``--dry-run`` shows what is uncertain and neither resolves nor books it."""
    stage.open()
    stage.world("transfer", coin="USDT", amount="-5")
    for _ in range(2):
        ran = stage.json("reconcile", "--dry-run")
        assert ran.code == 6
        found = [(row["kind"], row["difference"]) for row in ran.data["mismatches"]]
        assert found[-1] == ("balance", "-5")
        assert {kind for kind, _ in found[:-1]} == {"missing_row"}
    assert stage.json("reconcile").code == 0


PROGRAM = "import sys; from fundarb.cli.main import main; sys.exit(main())"


@pytest.mark.parametrize(("answer", "code", "orders"), [("n", 3, 0), ("y", 0, 2)])
def test_the_question_before_an_order(
    stage: Stage, repo_root: Path, answer: str, code: int, orders: int
) -> None:
    """On a terminal the plan is shown and the question asked; "n" sends nothing and is calm, "y" opens."""
    ours, theirs = pty.openpty()
    place = ("--venue", "sandbox", "--venue-url", stage.url, *LIVE)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *place, "open", "BTC", "--notional", "400"],
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "FUNDARB_HOME": str(stage.home),
            "PYTHONPATH": str(repo_root),
            "TERM": "dumb",
        },
        cwd=stage.home,
    )
    os.close(theirs)
    shown = ""
    deadline = time.monotonic() + 20  # noqa: TID251 - another process is waited for
    while "?" not in shown and time.monotonic() < deadline:  # noqa: TID251 - as above
        shown += os.read(ours, 4096).decode()
    os.write(ours, f"{answer}\n".encode())
    out, _ = process.communicate(timeout=20)
    if not orders:
        said = os.read(ours, 4096).decode()
        assert "nothing was done" in said
        assert "Error" not in said
    os.close(ours)
    assert "Open BTC with 400 USDT per leg on sandbox (live, default)?" in shown
    assert "PLANNED" in shown
    assert process.returncode == code
    assert ("HEDGED" in out) is bool(orders)
    assert len(stage.truth()["orders"]) == orders
