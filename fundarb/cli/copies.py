"""``backup`` and ``restore``: verified copies of the state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fundarb.cli.common import JsonFlag, Outcome, YesFlag, run_command, session_of, single
from fundarb.cli.failure import Declined

if TYPE_CHECKING:
    from fundarb.app import App
    from fundarb.app.copies import Copied, Restored
    from fundarb.cli.session import Session

app = single()


@app.command(epilog="Example: fundarb backup /mnt/usb")
def backup(
    ctx: typer.Context,
    target: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE|DIR]", help="Where to; the home's folder backups if none is named."),
    ] = None,
    _json: JsonFlag = False,
) -> int:
    """Copy the database, verified page by page; also while a daemon trades.

    Never overwrites, and stays until you delete it: the job backup rotates only its own copies.
    """
    session = session_of(ctx)
    place = None if target is None else (session.cwd / target.expanduser()).resolve()

    def act(program: App) -> Outcome[Copied]:
        from fundarb.app import copies

        made = copies.backup(program.settings, program.known_clock(), target=place)
        return Outcome(data=made, shown=made, acted=True)

    return run_command(ctx, "backup", action=act, render=_show_copy)


@app.command(epilog="Example: fundarb restore backups/live.db.copy.20261122T090000.000Z --yes")
def restore(
    ctx: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
    yes: YesFlag = False,
    _json: JsonFlag = False,
) -> int:
    """Put a backup in the database's place; the former file is kept beside it, and opens are halted.

    What happened after the backup is only known to the venue: run reconcile, then resume.
    """
    session = session_of(ctx)
    file = (session.cwd / source.expanduser()).resolve()

    def act(program: App) -> Outcome[Restored]:
        from fundarb.app import copies

        if not session.confirm(f"Replace the database of {program.place} by {file}?", yes=yes):
            raise Declined
        done = copies.restore(program.settings, program.known_clock(), source=file)
        return Outcome(data=done, shown=done, acted=True)

    return run_command(ctx, "restore", action=act, render=_show_restored)


def _show_copy(session: Session, made: Copied) -> None:
    size = made.bytes / 1_000_000
    session.out.print(f"{made.file}: {size:.1f} MB, schema {made.schema_version}, verified", soft_wrap=True)


def _show_restored(session: Session, done: Restored) -> None:
    session.out.print(f"{done.database} is a copy of {done.source}", soft_wrap=True)
    if done.former is not None:
        session.out.print(f"the former database is kept as {done.former}", soft_wrap=True)
    session.out.print("halted: run fundarb reconcile, then fundarb resume")
