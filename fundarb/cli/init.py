"""``fundarb init``: commented settings files in a folder; what is there already is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fundarb.cli.common import JsonFlag, Outcome, finish, session_of, single
from fundarb.cli.session import Session

if TYPE_CHECKING:
    from fundarb.config.templates import Written

app = single()


@app.command(epilog="Example: fundarb init ~/carry && cd ~/carry && fundarb config check")
def init(
    ctx: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where to; made if it does not exist.")
    ] = Path(),
    _json: JsonFlag = False,
) -> int:
    """Write commented settings files into a folder.

    Writes fundarb.toml, jobs.toml and .env.example with every setting at its default; never overwrites.
    """
    from fundarb.config.templates import write

    session = session_of(ctx)
    session.schema = "init"
    done = write((session.cwd / folder.expanduser()).resolve())
    data = {"folder": done.folder, "written": done.written, "kept": done.kept}
    return finish(session, Outcome(data=data, shown=done, acted=True), render=_render)


def _render(session: Session, done: Written) -> None:
    for name in done.written:
        session.out.print(f"written  {done.folder / name}", soft_wrap=True)
    for name in done.kept:
        session.out.print(f"kept     {done.folder / name}", style="dim", soft_wrap=True)
    if ".env.example" in done.written:
        session.say("Keys go into .env: cp .env.example .env && chmod 600 .env. Paper trading needs none.")
