"""The month that everybody sees first: the demo with several seeds, hence several choices of coins and
prices.
"""

from __future__ import annotations

import pytest

from fundarb.clock import SystemClock
from fundarb.daemon import month
from tests.cli.conftest import Shell, golden

pytestmark = pytest.mark.proof


@pytest.mark.parametrize("seed", [1, 5, 11])
def test_thirty_days_of_the_demo_pass_their_own_audit(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thirty days tie out, whatever the coins cost that the seed makes worth holding; those of the first seed
    are the ones in the README.
    """
    lived = month.live(30, seed, machine=SystemClock(), progress=lambda *_: None)
    monkeypatch.setattr(month, "live", lambda *_, **__: lived)
    shell = Shell(SystemClock())
    data = shell.json("demo", "--seed", str(seed))["data"]
    assert data["audit"]["clean"]
    assert data["pnl"]["tie_out"]["unexplained"] == "0"
    assert data["funding"]["rows"]
    if seed == 1:
        golden("demo-80.txt", shell("demo", COLUMNS="80").stdout)
