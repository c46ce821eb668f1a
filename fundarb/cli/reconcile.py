"""``reconcile``: bring our books and the venue together, and show every difference that stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from fundarb.cli import trade_view as view
from fundarb.cli.common import JsonFlag, Outcome, run_command, single
from fundarb.cli.figures import MISSING, count
from fundarb.cli.trading import LockWait, NoWait, Wait, outcome_of
from fundarb.core.money import parse_duration

if TYPE_CHECKING:
    from fundarb.app import App
    from fundarb.cli.session import Session
    from fundarb.engine.documents import Document

app = single()

_WIDE = 110
"""Columns from which what happens about a difference stands beside it."""


@app.command(epilog="Example: fundarb reconcile --repair")
def reconcile(
    ctx: typer.Context,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Let [reconcile] manual_close decide about legs closed by hand (the rest is mended always).",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only compare: look nothing up, book and send nothing.")
    ] = False,
    wait: Wait = "60s",
    no_wait: NoWait = False,
    lock_wait: LockWait = "5s",
    _json: JsonFlag = False,
) -> int:
    """Compare with the venue, resolve what is uncertain, book what is missing, hedge what is naked.

    Exit 6 when a difference stays. Twice in a row changes nothing the second time; what is not ours is never
    touched.
    """

    def act(program: App) -> Outcome[Document | None]:
        arguments: dict[str, str | bool] = {"repair": repair, "dry_run": dry_run}
        answer = program.command(
            "reconcile",
            arguments,
            wait=view.waiting(wait, no_wait=no_wait),
            lock_wait=parse_duration(lock_wait),
        )
        return outcome_of(answer, program)

    return run_command(ctx, "reconcile", action=act, render=render)


def render(session: Session, data: Any) -> None:
    """What was looked at, what was done, and every difference that stays."""
    if data is None or "command_id" in data:
        view.render(session, data)
        return
    out, checked = session.out, data["checked"]
    if data["not_compared"] is None:
        out.print(
            f"checked {count(checked['positions'], 'position')}, {count(checked['balances'], 'balance')}, "
            f"{count(checked['orders'], 'open order')}, {count(checked['executions'], 'execution')}, "
            f"{count(checked['ledger_rows'], 'ledger row')}",
            style="dim",
        )
    for row in data["resolved"]:
        found = f"filled {row['filled']} of {row['quantity']}" if row["state"] == "DONE" else row["message"]
        out.print(f"resolved  {row['link_id']}  {row['state']}  {found}", style="cyan")
    for row in data["taken"]:
        out.print(f"taken     {row['message']}", style="yellow")
    for row in data["repaired"]:
        line = f"repaired  {row['position_id']}  {row['base']}  {row['state']}"
        said = row["kind"] == "unhedged" or any(row["action"] in one["message"] for one in data["taken"])
        out.print(line if said else f"{line}  {row['action']}", style="cyan")
    for row in data["ignored"]:
        out.print(f"ignored   {row['id']}  {_figure(row['difference'])}", style="dim")
    if data["mismatches"]:
        _differences(session, data["mismatches"])
    if data["clean"]:
        out.print("books and venue agree", style="green")


def _figure(text: str | None) -> str:
    return MISSING if text is None else view.short(text)


def _differences(session: Session, rows: list[Any]) -> None:
    from rich.table import Table

    wide = session.out.width >= _WIDE
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("what", no_wrap=True)
    table.add_column("where", overflow="fold")
    for header in ("our books", "venue", "difference"):
        table.add_column(header, justify="right", no_wrap=True)
    if wide:
        table.add_column("what happens", overflow="fold")
    for row in rows:
        cells = [_figure(row[key]) for key in ("expected", "found", "difference")]
        if row["from_books"]:
            cells = [f"{cells[1]} against {cells[0]}", MISSING, cells[2]]
        more = (str(row["action"]),) if wide else ()
        table.add_row(str(row["kind"]), str(row["symbol"]), *cells, *more)
    session.out.print(table)
    if not wide:
        for row in rows:
            session.out.print(f"{row['kind']} of {row['symbol']}: {row['action']}", style="dim")
