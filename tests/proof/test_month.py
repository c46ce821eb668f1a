"""The month that everybody sees first: the demo with several seeds, hence several choices of coins and
prices.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fundarb.cli.main import cli
from fundarb.cli.session import Session
from fundarb.clock import SystemClock


@pytest.mark.proof
@pytest.mark.parametrize("seed", [1, 5, 11])
def test_thirty_days_of_the_demo_pass_their_own_audit(tmp_path: Path, seed: int) -> None:
    """Thirty days tie out, whatever the coins cost that the seed makes worth holding."""
    session = Session(environ={**os.environ, "FUNDARB_HOME": str(tmp_path)}, clock=SystemClock())
    words = ["--json", "demo", "--days", "30", "--seed", str(seed)]
    found = CliRunner().invoke(cli, words, obj=session)
    assert found.exit_code == 0, found.stderr + found.stdout[-500:]
    data = json.loads(found.stdout)["data"]
    assert data["audit"]["clean"]
    assert data["pnl"]["tie_out"]["unexplained"] == "0"
    assert data["funding"]["rows"]
