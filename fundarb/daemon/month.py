"""The demo month: a sandbox with the synthetic market, the daemon's own jobs once an hour on its virtual
clock, and the reports at the end.

Everything is real but the market and the time: the same office, worker and jobs, over HTTP with signatures.
The same seed decides the same; what it earns is what the market gave, losses included.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from fundarb.app import App, build, unattended, worlds
from fundarb.app.sandboxes import SandboxPlan
from fundarb.clock import Clock
from fundarb.config import JobSpec, Trigger
from fundarb.core.money import Money
from fundarb.daemon.simulate import MergedClock, Simulation
from fundarb.engine.audit import Audit
from fundarb.engine.listings import FundingReport
from fundarb.engine.office import Office
from fundarb.engine.report_equity import EquityReport
from fundarb.engine.report_rows import PnlReport, ReportQuery
from fundarb.engine.views import PositionView

BALANCE = Money(Decimal(10_000), "USDT")
Progress = Callable[[timedelta, timedelta], None]


def _hourly(name: str, run: str, *, minute: str) -> JobSpec:
    return JobSpec(name=name, run=run, trigger=Trigger.CRON, cron={"minute": minute})


JOBS: tuple[JobSpec, ...] = (
    _hourly("scan-and-open", "scan_and_open", minute="20"),
    _hourly("watch", "watch", minute="40"),
    _hourly("snapshot", "snapshot", minute="40"),
    JobSpec(
        name="collect-funding",
        run="collect_funding",
        trigger=Trigger.AFTER_FUNDING,
        offset=timedelta(seconds=90),
    ),
    JobSpec(
        name="close-when-due",
        run="close_when_due",
        trigger=Trigger.AFTER_FUNDING,
        offset=timedelta(minutes=3),
    ),
    JobSpec(name="reconcile", run="reconcile", trigger=Trigger.CRON, cron={"hour": "*/6", "minute": "30"}),
    JobSpec(name="digest", run="digest", trigger=Trigger.CRON, cron={"hour": "0", "minute": "10"}),
)
"""What a month needs, once an hour: quick to live through, and every kind of job runs."""
_AFTER_MIDNIGHT = timedelta(seconds=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """What a demo leaves: open positions with live marks, the reports, and the audit of its books."""

    seed: int
    days: int
    positions: tuple[PositionView, ...]
    pnl: PnlReport
    funding: FundingReport
    equity: EquityReport
    audit: Audit


def live(days: int, seed: int, *, machine: Clock, progress: Progress) -> Month:
    """Live through a month of so many days in a world of its own; nothing of it stays."""
    with TemporaryDirectory(prefix="fundarb-demo-") as folder:
        plan = SandboxPlan(port=0, seed=seed, virtual=True, start=worlds.START, balances=(BALANCE,))
        with worlds.world(plan) as url:
            settings = worlds.settings_in(url, Path(folder))
            program = build(settings, clock=machine)
            with closing(program):
                clock = MergedClock(program.clock)
                with unattended.office(settings, clock, specs=JOBS, seed=seed) as office:
                    simulation = Simulation(office, clock=clock, machine=machine)
                    simulation.run(timedelta(days=days), progress=progress)
                    _settle(office, clock)
                return _looked_at(program, days, seed=seed)


def _settle(office: Office, clock: Clock) -> None:
    """The last night's funding is booked a moment after midnight: wait for it, then draw the line."""
    clock.sleep(_AFTER_MIDNIGHT)
    office.jobs.run("collect_funding", {})
    office.jobs.run("snapshot", {})


def _looked_at(program: App, days: int, *, seed: int) -> Month:
    with program.reporter() as reporter:
        query = ReportQuery()
        pnl, funding, curve = reporter.pnl(query), reporter.funding(query), reporter.equity(query)
    found, _ = unattended.run_audit(program)
    return Month(
        seed=seed,
        days=days,
        positions=program.positions().views,
        pnl=pnl,
        funding=funding,
        equity=curve,
        audit=found,
    )
