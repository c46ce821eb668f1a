"""``pause``, ``resume``, ``halt`` and ``flatten``: a person's hand on the bot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fundarb.cli import reconcile as walk
from fundarb.cli import trade_view as view
from fundarb.cli.common import JsonFlag, Outcome, YesFlag, run_command, session_of, single
from fundarb.cli.failure import Declined
from fundarb.cli.trading import LockWait, NoWait, Wait, outcome_of
from fundarb.core.money import parse_duration
from fundarb.errors import ConfigError, Problem

if TYPE_CHECKING:
    from fundarb.app import App
    from fundarb.cli.session import Session

app = single()

Why = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Kept with the block.")]


@app.command(epilog="Example: fundarb pause --reason holidays")
def pause(
    ctx: typer.Context, reason: Why = "", wait: Wait = "60s", no_wait: NoWait = False, _json: JsonFlag = False
) -> int:
    """Open nothing from now on; positions are kept, hedged and closed as before."""

    def act(program: App) -> Outcome[Any]:
        from fundarb.app import unattended

        return outcome_of(unattended.pause(program, reason, wait=view.waiting(wait, no_wait=no_wait)))

    return run_command(ctx, "pause", action=act, render=_show)


@app.command(epilog="Example: fundarb halt")
def halt(
    ctx: typer.Context, reason: Why = "", wait: Wait = "60s", no_wait: NoWait = False, _json: JsonFlag = False
) -> int:
    """Open nothing until a person has looked and resumed; hedging and reducing go on."""

    def act(program: App) -> Outcome[Any]:
        from fundarb.app import unattended

        return outcome_of(unattended.halt(program, reason, wait=view.waiting(wait, no_wait=no_wait)))

    return run_command(ctx, "halt", action=act, render=_show)


@app.command(epilog="Example: fundarb resume")
def resume(
    ctx: typer.Context,
    base: Annotated[str, typer.Argument(metavar="[BASE]", help="Only what stands against this coin.")] = "",
    wait: Wait = "60s",
    no_wait: NoWait = False,
    lock_wait: LockWait = "5s",
    _json: JsonFlag = False,
) -> int:
    """Allow opens again; after a halt only if a reconcile finds books and venue equal (else exit 6)."""

    def act(program: App) -> Outcome[Any]:
        from fundarb.app import unattended

        return outcome_of(
            unattended.command(
                program,
                "resume",
                arguments={"base": base},
                wait=view.waiting(wait, no_wait=no_wait),
                lock_wait=parse_duration(lock_wait),
            )
        )

    return run_command(ctx, "resume", action=act, render=_show)


@app.command(epilog="Example: fundarb flatten --all --yes")
def flatten(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="[ID|BASE]", help="Position id or coin.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Close every position, and pause.")] = False,
    yes: YesFlag = False,
    wait: Wait = "60s",
    no_wait: NoWait = False,
    lock_wait: LockWait = "5s",
    _json: JsonFlag = False,
) -> int:
    """Close at wider prices and without waiting: one position, or pause and close all."""
    if bool(name) == everything:
        raise ConfigError(Problem("flatten", "name one position or coin, or give --all"))

    def act(program: App) -> Outcome[Any]:
        from fundarb.app import unattended

        what = "every position" if everything else name
        if not session_of(ctx).confirm(f"Close {what} on {program.place} at once?", yes=yes):
            raise Declined
        return outcome_of(
            unattended.command(
                program,
                "flatten",
                arguments={"name": name},
                wait=view.waiting(wait, no_wait=no_wait),
                lock_wait=parse_duration(lock_wait),
            )
        )

    return run_command(ctx, "flatten", action=act, render=view.render)


def _show(session: Session, data: Any) -> None:
    if data is not None and "checked" in data:  # what forbids it: the reconcile that a resume asks for
        walk.render(session, data)
        return
    if data is None or "control" not in data:
        view.render(session, data)
        if data is not None and "halt_file" in data:
            told = "nothing is opened from now on; remove it before you resume"
            session.out.print(f"made the file {data['halt_file']}: {told}")
        return
    session.out.print(data["control"])
    for block in data.get("blocks", ()):
        session.out.print(f"  {block['scope']}  {block['kind']}: {block['reason']}")
