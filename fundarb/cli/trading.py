"""``open`` and ``close``: parse, show the plan and ask, call the app, show what the book is now."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import typer

from fundarb.cli import trade_view as view
from fundarb.cli.common import JsonFlag, Outcome, YesFlag, run_command, session_of, single
from fundarb.cli.document import Failure
from fundarb.cli.exits import Exit
from fundarb.cli.failure import Declined
from fundarb.core.money import dec, parse_duration, parse_ratio, plain
from fundarb.errors import ConfigError, Problem, Unavailable

if TYPE_CHECKING:
    from fundarb.app import App
    from fundarb.cli.session import Session
    from fundarb.engine.answers import Answer
    from fundarb.engine.documents import Document

app = single()


def _duration(text: str) -> str:
    """A duration as it was given; a usage error (exit 2) if it is none."""
    try:
        parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return text


DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan; send nothing.")]
Wait = Annotated[
    str,
    typer.Option(metavar="T", help="With a daemon: how long to wait for its answer.", callback=_duration),
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="With a daemon: queue it and print its number.")]
LockWait = Annotated[
    str, typer.Option(metavar="T", help="How long to wait for another command.", callback=_duration)
]


def outcome_of(answer: Answer, program: App | None = None) -> Outcome[Document | None]:
    """A command's answer as the command line prints it, at the venue's time if ``program`` knows it."""
    error = None
    if answer.failed:
        error = Failure(kind=answer.kind, message=answer.message, reasons=answer.reasons)
    as_of = None
    if program is not None:
        try:
            as_of = program.clock.now()
        except Unavailable:  # a sandbox on virtual time that has gone away; the answer stands
            as_of = None
    return Outcome(
        data=answer.data,
        shown=answer.data,
        as_of=as_of,
        warnings=answer.warnings,
        code=Exit(answer.exit_code),
        error=error,
        told=isinstance(answer.data, dict) and "checked" in answer.data,  # a reconcile shows its differences
        acted=True,
    )


def amount(text: str, flag: str) -> Decimal:
    """An amount given on the command line, above zero."""
    try:
        number = dec(text)
    except ValueError as error:
        raise ConfigError(Problem(flag, f"{text!r} is not an amount", "write it like 1000")) from error
    if number <= 0:
        raise ConfigError(Problem(flag, f"{text} is not above zero"))
    return number


def checked_ratio(text: str, flag: str) -> str:
    """A ratio with its unit, above zero and at most the whole, as it was given."""
    try:
        fraction = parse_ratio(text)
    except ValueError as error:
        raise ConfigError(Problem(flag, str(error))) from error
    if not 0 < fraction <= 1:
        raise ConfigError(Problem(flag, f"{text} is not above 0 % and at most 100 %"))
    return text


def agreed(session: Session, plan: Outcome[Document | None], *, question: str) -> bool:
    """Show a person the plan and ask; False if the plan is refused already (nothing is asked then)."""
    if plan.code is not Exit.DONE:
        return False
    view.render(session, plan.shown, console=session.err)
    for warning in plan.warnings:
        session.say(f"warning: {warning.message}", style="yellow")
    if not session.confirm(question, yes=False):
        raise Declined
    return True


@app.command(name="open", epilog="Example: fundarb open BTC --notional 1000 --dry-run")
def open_(
    ctx: typer.Context,
    base: Annotated[str, typer.Argument(metavar="BASE", help="Coin without multiplier: PEPE, not 1000PEPE.")],
    notional: Annotated[str, typer.Option(metavar="N", help="Value of one leg in USDT.")],
    add: Annotated[bool, typer.Option("--add", help="Grow a position that is open already.")] = False,
    dry_run: DryRun = False,
    yes: YesFlag = False,
    wait: Wait = "60s",
    no_wait: NoWait = False,
    lock_wait: LockWait = "5s",
    _json: JsonFlag = False,
) -> int:
    """Open a hedged position: buy the coin on spot, short the same quantity of its perpetual.

    Shows the plan and asks first; --yes does not ask. Exit 3: refused, nothing was sent; 5: something may be
    live; 8: sent, but not what was wanted.
    """
    session = session_of(ctx)
    value, coin = amount(notional, "--notional"), base.upper()

    def act(program: App) -> Outcome[Document | None]:
        if not dry_run:
            session.require_person(yes=yes)
        if dry_run or not yes:
            plan = outcome_of(program.plan_open(coin, value, add=add), program)
            question = f"Open {coin} with {plain(value)} USDT per leg on {program.place}?"
            if dry_run or not agreed(session, plan, question=question):
                return plan
        arguments: dict[str, str | bool] = {"base": coin, "notional": plain(value), "add": add}
        answer = program.command(
            "open",
            arguments,
            wait=view.waiting(wait, no_wait=no_wait),
            lock_wait=parse_duration(lock_wait),
        )
        return outcome_of(answer, program)

    return run_command(ctx, "open", action=act, render=view.render)


@app.command(epilog="Example: fundarb close BTC --fraction 50% --yes")
def close(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="ID|BASE", help="Position id or coin.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Close every position.")] = False,
    fraction: Annotated[str, typer.Option(metavar="P", help="Part to close, with its unit.")] = "100%",
    emergency: Annotated[
        bool, typer.Option("--emergency", help="Accept wider prices and do not wait.")
    ] = False,
    dry_run: DryRun = False,
    yes: YesFlag = False,
    wait: Wait = "60s",
    no_wait: NoWait = False,
    lock_wait: LockWait = "5s",
    _json: JsonFlag = False,
) -> int:
    """Close a position, or a part of it: buy the perpetual back reduce-only, sell the coin.

    Shows what is held and asks first; --yes does not ask. No block, margin rule or cool-down ever keeps a
    position from being closed. No job opens a coin again whose position you closed, until
    `fundarb resume BASE` or your own open.
    """
    session = session_of(ctx)
    part = checked_ratio(fraction, "--fraction")
    if bool(name) == everything:
        raise ConfigError(Problem("close", "name one position or coin, or give --all"))
    if everything and parse_ratio(part) != 1:
        raise ConfigError(Problem("--fraction", "--all closes whole positions", "name one to close a part"))

    def act(program: App) -> Outcome[Document | None]:
        if not dry_run:
            session.require_person(yes=yes)
        if dry_run or not yes:
            plan = outcome_of(program.plan_close(name, part), program)
            what = "every position" if everything else f"{part} of {name}"
            if dry_run or not agreed(session, plan, question=f"Close {what} on {program.place}?"):
                return plan
        arguments: dict[str, str | bool] = {"emergency": emergency}
        arguments |= {"all": True} if everything else {"name": name, "fraction": part}
        answer = program.command(
            "close",
            arguments,
            wait=view.waiting(wait, no_wait=no_wait),
            lock_wait=parse_duration(lock_wait),
        )
        return outcome_of(answer, program)

    return run_command(ctx, "close", action=act, render=view.render)
