"""``jobs list`` and ``jobs run``: what is scheduled, when it fires next, how it went; run one now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fundarb.cli import trade_view as view
from fundarb.cli.common import JsonFlag, Outcome, family, run_command
from fundarb.cli.trading import LockWait, NoWait, Wait, outcome_of
from fundarb.core.money import parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from fundarb.app import App
    from fundarb.cli.session import Session
    from fundarb.engine.status import JobStatus
    from fundarb.engine.timetable import Timetable
    from fundarb.store.database import Store

app = family("What runs unattended, and when.")


def upcoming(store: Store, timetable: Timetable) -> Mapping[str, datetime | None]:
    """When each job is due next, as far as a reader can tell."""
    from fundarb.daemon.triggers import FundingSchedule
    from fundarb.daemon.triggers import upcoming as due
    from fundarb.engine.held import published

    schedule, now = FundingSchedule(), store.clock.now()
    schedule.update(published(store), now)
    last = {
        spec.name: latest.started_at if (latest := store.jobs.last(spec.name)) is not None else None
        for spec in timetable.specs
    }
    return due(timetable, schedule, last=last, now=now)


def job_data(job: JobStatus) -> dict[str, Any]:
    """One job for scripts."""
    return {
        "name": job.name,
        "next": job.next,
        "last": job.last,
        "result": job.result,
        "enabled": job.enabled,
        "message": job.message,
    }


@app.command("list", epilog="Example: fundarb jobs list")
def list_(ctx: typer.Context, _json: JsonFlag = False) -> int:
    """Show what is scheduled.

    When each job fires next (UTC), and how it went last. While a daemon runs this is its own schedule.
    """

    def act(program: App) -> Outcome[tuple[JobStatus, ...]]:
        from fundarb.app import unattended

        found = unattended.list_jobs(program, upcoming)
        return Outcome(data={"jobs": [job_data(job) for job in found]}, shown=found)

    return run_command(ctx, "jobs", action=act, render=_show)


def _show(session: Session, found: tuple[JobStatus, ...]) -> None:
    session.out.print(table(session, found))


def table(session: Session, found: tuple[JobStatus, ...]) -> Any:
    """One line a job."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold")
    for header in ("job", "next (UTC)", "last (UTC)", "result"):
        made.add_column(header)
    made.add_column("", overflow="fold")
    for job in found:
        style = {"failed": "red", "mismatch": "yellow"}.get(job.result, "") if job.enabled else "dim"
        due = f"{job.next:%m-%d %H:%M:%S}" if job.next and job.enabled else "–" if job.enabled else "off"
        last = f"{job.last:%m-%d %H:%M:%S}" if job.last else "–"
        made.add_row(job.name, due, last, job.result, job.message, style=style)
    del session
    return made


@app.command(epilog="Example: fundarb jobs run snapshot")
def run(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A job of jobs.toml.")],
    wait: Wait = "60s",
    no_wait: NoWait = False,
    lock_wait: LockWait = "5s",
    _json: JsonFlag = False,
) -> int:
    """Run one job now, as the writer or through the daemon that is."""

    def act(program: App) -> Outcome[Any]:
        from fundarb.app import unattended
        from fundarb.app.one_job import unknown_job

        specs = unattended.known_jobs(program)
        if all(spec.name != name for spec in specs):
            raise unknown_job(name, specs)
        return outcome_of(
            unattended.command(
                program,
                "jobs_run",
                arguments={"name": name},
                wait=view.waiting(wait, no_wait=no_wait),
                lock_wait=parse_duration(lock_wait),
            )
        )

    return run_command(ctx, "jobs", action=act, render=_show_run)


def _show_run(session: Session, data: Any) -> None:
    if data is None or "command_id" in data:
        view.render(session, data)
        return
    session.out.print(f"{data['name']}: {data['result']}: {data['message']}")
