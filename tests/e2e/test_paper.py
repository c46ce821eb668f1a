"""Paper: the venue's quotes, an account of its own on this machine, and not one signed request."""

from __future__ import annotations

from tests.e2e.stage import D, Stage

SESSION = (
    ("open", "BTC", "--notional", "400", "--dry-run"),
    ("open", "BTC", "--notional", "400", "--yes"),
    ("positions",),
    ("open", "PEPE", "--notional", "300", "--yes"),
    ("close", "BTC", "--fraction", "50%", "--yes"),
    ("reconcile",),
    ("report", "pnl"),
    ("report", "trades"),
    ("close", "--all", "--yes"),
    ("reconcile",),
)


def test_a_paper_session_never_signs(stage: Stage) -> None:
    """A whole session on paper: every command works, the venue sees public reads only, and no order."""
    for words in SESSION:
        ran = stage.json(*words, live=False)
        assert ran.code == 0, (words, ran.out)
        assert ran.envelope["mode"] == "paper"
    truth = stage.truth()
    asked = [row for row in truth["requests"] if row["path"].startswith("/v5/")]
    assert asked
    assert {row["method"] for row in asked} == {"GET"}
    assert [row for row in asked if row["timestamp"] is not None] == []
    assert all(row["path"].startswith(("/v5/market/", "/v5/spot-margin-trade/collateral")) for row in asked)
    tables = [row["path"] for row in asked if row["path"].endswith(("/risk-limit", "/collateral"))]
    assert sorted(tables) == ["/v5/market/risk-limit"] * 2 + ["/v5/spot-margin-trade/collateral"]
    assert truth["orders"] == []


def test_the_paper_account_is_kept_between_commands(stage: Stage) -> None:
    """What one command opens the next one sees, with funding of the time in between; live knows nothing of
    it.
    """
    assert stage.json("open", "BTC", "--notional", "400", "--yes", live=False).code == 0
    stage.advance("9h")
    assert stage.json("reconcile", live=False).code == 0
    held = stage.json("positions", live=False).data["positions"]
    assert [item["base"] for item in held] == ["BTC"]
    assert D(held[0]["funding_received"]) > 0
    assert stage.json("report", "pnl", live=False).data["tie_out"]["unexplained"] == "0"
    assert stage.json("positions").data["positions"] == []


def test_a_paper_open_is_refused_like_a_live_one(stage: Stage) -> None:
    """The paper account has 10,000 USDT by default and the same rules."""
    assert stage.json("open", "BTC", "--notional", "3", "--yes", live=False).code == 3
    assert stage.json("open", "NOPE", "--notional", "300", "--yes", live=False).code == 3
    assert stage.truth()["orders"] == []
