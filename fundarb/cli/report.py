"""``report``: P&L, funding, trades, equity and ledger, as a table, JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import fields
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fundarb.cli import document
from fundarb.cli.common import JsonFlag, Outcome, envelope, run_command, session_of, single
from fundarb.core.reasons import Reason
from fundarb.errors import ConfigError, Problem

if TYPE_CHECKING:
    from fundarb.app import App
    from fundarb.cli.session import Session

app = single()

_FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M"]


class Kind(StrEnum):
    """What is reported."""

    PNL = "pnl"
    FUNDING = "funding"
    TRADES = "trades"
    EQUITY = "equity"
    LEDGER = "ledger"


class Format(StrEnum):
    """How it is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class Grouping(StrEnum):
    """What a row of the P&L stands for."""

    POSITION = "position"
    SYMBOL = "symbol"
    DAY = "day"
    MONTH = "month"


@app.command(epilog="Example: fundarb report pnl --by month --since 2026-01-01 --format csv")
def report(
    ctx: typer.Context,
    kind: Annotated[Kind, typer.Argument(help="What to report.")] = Kind.PNL,
    by: Annotated[
        Grouping, typer.Option("--by", help="What a row of the P&L stands for.")
    ] = Grouping.POSITION,
    since: Annotated[
        datetime | None, typer.Option(formats=_FORMATS, metavar="TIME", help="From here on, UTC.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=_FORMATS, metavar="TIME", help="Up to here, UTC.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TABLE,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the equity curve in the terminal.")] = False,
    output: Annotated[Path | None, typer.Option("-o", metavar="FILE", help="Write there instead.")] = None,
    _json: JsonFlag = False,
) -> int:
    """Report what was earned and paid, tied out to the venue's own books."""
    session = session_of(ctx)
    session.options.json = session.options.json or form is Format.JSON
    begin, end = _utc(since), _utc(until)
    if begin is not None and end is not None and begin >= end:
        raise ConfigError(Problem("--since", "it is not before --until"))

    def act(program: App) -> Outcome[Any]:
        from fundarb.engine.report_rows import By, ReportQuery

        query = ReportQuery(by=By(by.value), since=begin, until=end)
        with program.reporter() as reporter:
            found = getattr(reporter, kind.value)(query)
        return Outcome(
            data={"rows": found} if isinstance(found, tuple) else found,
            shown=found,
            as_of=program.clock.now(),
            warnings=tuple(Reason("report", text) for text in getattr(found, "warnings", ())),
        )

    def show(run: Session, found: Any) -> None:
        from fundarb.cli import report_view

        if form is Format.CSV:
            _put(run, _csv(kind, found), output=output)
            return
        report_view.render(run, kind.value, found=found, plot=plot)

    if output is not None and form is Format.TABLE and not session.options.json:
        raise ConfigError(Problem("-o", "a table is for the screen", "add --format csv or json"))
    if output is not None and session.options.json:
        session.schema = "report"
        outcome = act(session.app)
        _put(session, document.text(envelope(session, outcome)) + "\n", output=output)
        return outcome.code
    return run_command(ctx, "report", action=act, render=show)


def _utc(instant: datetime | None) -> datetime | None:
    """Times on the command line are UTC."""
    return None if instant is None else instant.replace(tzinfo=UTC)


def _put(session: Session, text: str, *, output: Path | None) -> None:
    """To the file that was named, else to stdout."""
    if output is None:
        session.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(Problem("-o", f"{output} cannot be written: {error.strerror}")) from error
    session.say(f"written to {output}")


def _csv(kind: Kind, found: Any) -> str:
    """The rows, one line each under the names of their fields; nested figures are JSON texts."""
    names = [item.name for item in fields(_row_of(kind))]
    rows = found if isinstance(found, tuple) else found.rows
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(document.jsonable(getattr(row, name))) for name in names])
    return buffer.getvalue()


def _row_of(kind: Kind) -> type[Any]:
    """What a row of a report is."""
    from fundarb.engine import listings, report_rows

    rows: dict[Kind, type[Any]] = {
        Kind.PNL: report_rows.PnlRow,
        Kind.FUNDING: listings.FundingRow,
        Kind.TRADES: listings.TradeRow,
        Kind.EQUITY: listings.EquityRow,
        Kind.LEDGER: listings.LedgerRow,
    }
    return rows[kind]


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, (dict, list)) else value
