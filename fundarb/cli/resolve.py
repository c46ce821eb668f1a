"""``resolve``: a person's answer to a difference that ``reconcile`` asks about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fundarb.cli import reconcile as walk
from fundarb.cli import trade_view as view
from fundarb.cli.common import JsonFlag, Outcome, run_command, single
from fundarb.cli.trading import LockWait, NoWait, Wait, outcome_of
from fundarb.core.money import parse_duration
from fundarb.errors import ConfigError, Problem

if TYPE_CHECKING:
    from fundarb.app import App
    from fundarb.cli.session import Session
    from fundarb.engine.documents import Document

app = single()


@app.command(epilog="Example: fundarb resolve perp_size:BTCUSDT --unwind")
def resolve(
    ctx: typer.Context,
    ident: Annotated[
        str, typer.Argument(metavar="ID", help="Of a difference, as `fundarb reconcile` shows it.")
    ],
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take what happened into our books; what is naked is reduced.")
    ] = False,
    ignore: Annotated[
        bool, typer.Option("--ignore", help="Leave it; it is not shown again unless it changes.")
    ] = False,
    rehedge: Annotated[
        bool, typer.Option("--rehedge", help="Take it into our books and restore the missing leg.")
    ] = False,
    unwind: Annotated[
        bool, typer.Option("--unwind", help="Take it into our books and reduce the other leg to match.")
    ] = False,
    wait: Wait = "60s",
    no_wait: NoWait = False,
    lock_wait: LockWait = "5s",
    _json: JsonFlag = False,
) -> int:
    """Answer a difference between our books and the venue; give exactly one of the four answers.

    Exit 3 when the answer does not fit it, 6 when it stays, 8 when a leg is still naked afterwards.
    """
    given = {"adopt": adopt, "ignore": ignore, "rehedge": rehedge, "unwind": unwind}
    answers = [name for name, wanted in given.items() if wanted]
    if len(answers) != 1:
        said = ", ".join(f"--{name}" for name in answers) or "none"
        fix = "give exactly one of --adopt, --ignore, --rehedge, --unwind"
        raise ConfigError(Problem("resolve", f"{said} was given", fix))

    def act(program: App) -> Outcome[Document | None]:
        arguments: dict[str, str | bool] = {"id": ident, "answer": answers[0]}
        answer = program.command(
            "resolve",
            arguments,
            wait=view.waiting(wait, no_wait=no_wait),
            lock_wait=parse_duration(lock_wait),
        )
        return outcome_of(answer, program)

    return run_command(ctx, "resolve", action=act, render=render)


def render(session: Session, data: Any) -> None:
    """What was answered, then the walk after it."""
    if data is not None and "mismatch" in data:
        state = "settled" if data["settled"] else "not settled"
        style = "green" if data["settled"] else "yellow"
        session.out.print(f"{data['id']}  {data['answer']}  {state}", style=style)
    walk.render(session, data)
