"""``status``: how the bot is; exit 0 healthy, 6 degraded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from fundarb.cli.common import JsonFlag, Outcome, run_command, session_of, single
from fundarb.cli.document import Failure
from fundarb.cli.exits import Exit
from fundarb.cli.figures import count
from fundarb.cli.jobs import job_data, table, upcoming

if TYPE_CHECKING:
    from fundarb.app import App
    from fundarb.cli.session import Session
    from fundarb.engine.status import Status

app = single()
_STYLES = {"RUNNING": "green", "PAUSED": "yellow", "HALTED": "bold red"}


@app.command(epilog="Example: fundarb status --json")
def status(ctx: typer.Context, _json: JsonFlag = False) -> int:
    """Show control, activity, writer, sources, blocks, jobs and the last errors; exit 6 when degraded."""

    def act(program: App) -> Outcome[Status]:
        from fundarb.app import unattended

        found = unattended.run_status(program, upcoming)
        error = None
        if found.degraded and session_of(ctx).options.json:  # else the table says it
            message = f"degraded: {'; '.join(reason.message for reason in found.degraded)}"
            error = Failure(kind="degraded", message=message, reasons=found.degraded)
        code = Exit.MISMATCH if found.degraded else Exit.DONE
        return Outcome(data=status_data(found), shown=found, code=code, error=error)

    return run_command(ctx, "status", action=act, render=_show)


def status_data(found: Status) -> dict[str, Any]:
    """For scripts."""
    writer = found.writer
    return {
        "control": found.control,
        "activity": found.activity,
        "writer": None
        if writer is None
        else {
            "pid": writer.pid,
            "epoch": writer.epoch,
            "heartbeat_age": writer.heartbeat_age,
            "role": writer.role,
            "holder": writer.holder,
        },
        "sources": [{"name": item.name, "age": item.age, "state": item.state} for item in found.sources],
        "blocks": [
            {
                "scope": block.scope,
                "kind": block.kind,
                "reason": block.reason,
                "since": block.since,
                "until": block.until,
                "needs_person": block.needs_person,
            }
            for block in found.blocks
        ],
        "jobs": [job_data(job) for job in found.jobs],
        "commands": [
            {"id": item.id, "name": item.name, "state": item.state, "age": item.age}
            for item in found.commands
        ],
        "positions_open": found.positions_open,
        "last_errors": [
            {"id": item.id, "at": item.at, "kind": item.kind, "message": item.message}
            for item in found.last_errors
        ],
    }


def _show(session: Session, found: Status) -> None:
    from fundarb.engine.unfinished import lasting

    out = session.out
    health = ", degraded" if found.degraded else ""
    out.print(f"{found.control.value}, {found.activity}{health}", style=_STYLES.get(found.control.value))
    writer = found.writer
    if writer is None:
        out.print("no writer at work")
    else:
        beat = lasting(writer.heartbeat_age)
        out.print(f"{writer.role} {writer.pid}, epoch {writer.epoch}, last sign of life {beat} ago")
    out.print(f"{count(found.positions_open, 'position')} open")
    for block in found.blocks:
        until = "" if block.until is None else f" until {block.until:%m-%d %H:%M}"
        out.print(f"block {block.scope} {block.kind}: {block.reason}{until}", style="yellow")
    for command in found.commands:
        out.print(f"command {command.id} {command.name}: {command.state} for {lasting(command.age)}")
    for item in found.sources:
        age_text = "never read" if item.age is None else f"{lasting(item.age)} old"
        out.print(f"source {item.name}: {age_text}", style="yellow" if item.state == "stale" else None)
    out.print(table(session, found.jobs))
    for error in found.last_errors:
        out.print(f"{error.at:%m-%d %H:%M:%S} {error.kind}: {error.message}", style="yellow")
    for reason in found.degraded:
        if not reason.code.startswith("block_"):  # those are shown as what they are
            out.print(f"! {reason.message}", style="bold red")
