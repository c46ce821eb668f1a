"""How the demo's end looks to a person, with the daemon's own books behind it."""

from datetime import timedelta
from pathlib import Path

import pytest

from fundarb.cli.figures import countdown
from fundarb.daemon import month
from fundarb.engine.audit import Audit
from fundarb.engine.report import Reporter
from fundarb.engine.report_rows import ReportQuery
from fundarb.engine.views import position_views
from tests.cli.conftest import Shell
from tests.daemon.living import make_living


def test_a_wide_demo_says_when_each_position_settles(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is room, the countdown is by the demo's own time, not left open."""
    living = make_living(tmp_path, specs=month.JOBS)
    try:
        living.live(timedelta(hours=2))
        reporter = Reporter(living.store, living.clock, market=living.exchange, trading=living.exchange)
        query = ReportQuery()
        lived = month.Month(
            seed=1,
            days=1,
            positions=position_views(living.store, living.exchange, trading=living.exchange),
            pnl=reporter.pnl(query),
            funding=reporter.funding(query),
            equity=reporter.equity(query),
            audit=Audit(checks=living.audit(), not_judged={}),
        )
    finally:
        living.close()
    monkeypatch.setattr(month, "live", lambda *_, **__: lived)
    shown = shell("demo", "--days", "1", COLUMNS="200").stdout
    row = next(line for line in shown.splitlines() if "HEDGED" in line)
    coming = lived.positions[0].next_funding_time
    assert coming is not None
    assert f" {countdown(coming - lived.equity.rows[-1].time)} " in row
