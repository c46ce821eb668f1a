"""``report``: P&L, funding, trades, equity, ledger and tax, as a table, JSON, CSV or HTML."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fundarb.cli import document, report_files
from fundarb.cli.common import JsonFlag, Outcome, envelope, run_command, session_of, single
from fundarb.cli.options import instant
from fundarb.core.reasons import Reason
from fundarb.errors import ConfigError, Problem

if TYPE_CHECKING:
    from fundarb.app import App
    from fundarb.cli.document import Envelope
    from fundarb.cli.session import Session
    from fundarb.core.lots import LotMethod

app = single()


class Kind(StrEnum):
    """What is reported."""

    PNL = "pnl"
    FUNDING = "funding"
    TRADES = "trades"
    EQUITY = "equity"
    LEDGER = "ledger"
    TAX = "tax"


class Format(StrEnum):
    """How it is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    HTML = "html"


class LotChoice(StrEnum):
    """Which coins are sold first, for taxes."""

    FIFO = "fifo"
    AVERAGE = "average"


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
        datetime | None,
        typer.Option(
            parser=instant, metavar="TIME", help="From here on; UTC unless it says otherwise (local, +02:00)."
        ),
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(parser=instant, metavar="TIME", help="Up to here, not included.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TABLE,
    lots: Annotated[
        LotChoice, typer.Option("--lots", help="Which coins are sold first (tax).")
    ] = LotChoice.FIFO,
    plot: Annotated[bool, typer.Option("--plot", help="Draw a curve in the terminal.")] = False,
    output: Annotated[Path | None, typer.Option("-o", metavar="FILE", help="Write there instead.")] = None,
    _json: JsonFlag = False,
) -> int:
    """Report what was earned and paid, tied out to the venue's own books."""
    session = session_of(ctx)
    session.options.json = session.options.json or form is Format.JSON
    if since is not None and until is not None and since >= until:
        raise ConfigError(Problem("--since", "it is not before --until"))
    if plot and not _has_curve(kind, by):
        remedy = "equity, funding and tax have one, and pnl --by day or month"
        raise ConfigError(Problem("--plot", f"there is no curve of {kind.value} here", remedy))

    def act(program: App) -> Outcome[Any]:
        from fundarb.engine.report_rows import By, ReportQuery

        query = ReportQuery(by=By(by.value), since=since, until=until)
        with program.reporter() as reporter:
            found = (
                reporter.tax(query, _method(lots))
                if kind is Kind.TAX
                else getattr(reporter, kind.value)(query)
            )
            said: Outcome[Any] = Outcome(
                data=None,
                shown=None,
                as_of=reporter.at,
                warnings=_warnings(found, beside=reporter.warnings),
                place=reporter.place,
            )
        data = {"rows": found} if isinstance(found, tuple) else found
        return replace(said, data=data, shown=(found, envelope(session, said)))

    def show(run: Session, told: tuple[Any, Envelope]) -> None:
        from fundarb.cli import report_view

        found, around = told
        if form is Format.CSV:
            report_files.put(run, report_files.as_csv(kind.value, found), output=output)
            return
        if form is Format.HTML:
            report_files.put(run, report_files.as_html(kind.value, found, around=around), output=output)
            return
        report_view.render(run, kind.value, found=found, plot=plot)

    if output is not None and form is Format.TABLE and not session.options.json:
        raise ConfigError(Problem("-o", "a table is for the screen", "add --format csv, json or html"))
    if output is not None and session.options.json:
        session.schema = "report"
        outcome = act(session.app)
        report_files.put(session, document.text(envelope(session, outcome)) + "\n", output=output)
        return outcome.code
    return run_command(ctx, "report", action=act, render=show)


def _has_curve(kind: Kind, by: Grouping) -> bool:
    if kind is Kind.PNL:
        return by in {Grouping.DAY, Grouping.MONTH}
    return kind in {Kind.EQUITY, Kind.FUNDING, Kind.TAX}


def _warnings(found: Any, *, beside: Iterable[str]) -> tuple[Reason, ...]:
    """What a report says of itself, and what is true of all of them as far as it does not say that."""
    said: tuple[str, ...] = getattr(found, "warnings", ())
    more = (text for text in beside if not any(text in one for one in said))
    return tuple(Reason("report", text) for text in (*more, *said))


def _method(lots: LotChoice) -> LotMethod:
    from fundarb.core.lots import LotMethod

    return LotMethod(lots.value)
