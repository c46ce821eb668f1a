"""``fundarb scan``: ranked funding opportunities, as a table, CSV or JSON, once or again and again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fundarb.cli import options
from fundarb.cli.common import JsonFlag, Outcome, envelope, finish, session_of, single
from fundarb.cli.document import Envelope, Failure
from fundarb.cli.exits import Exit
from fundarb.cli.failure import failure_of
from fundarb.cli.session import Session
from fundarb.core.money import plain
from fundarb.errors import ConfigError, Problem, Unavailable

if TYPE_CHECKING:
    from fundarb.engine.scan import Scanner, ScanQuery, ScanResult

app = single()

EVERY = timedelta(seconds=30)

_Amount = Annotated[
    Decimal | None,
    typer.Option("--notional", parser=options.amount, metavar="N", help="Value of one leg in USDT. [1000]"),
]
_Horizon = Annotated[
    timedelta | None,
    typer.Option("--horizon", parser=options.duration, metavar="T", help="How far ahead to reckon. [30d]"),
]
_MinApr = Annotated[
    Decimal | None,
    typer.Option("--min-apr", parser=options.ratio, metavar="P", help="Least net APR on capital. [5%]"),
]
_Top = Annotated[int, typer.Option("--top", min=1, max=1000, metavar="N", help="How many to show.")]
_Sort = Annotated[
    Literal["net_apr", "gross_apr", "rate", "break_even"], typer.Option("--sort", help="What to rank by.")
]
_Symbol = Annotated[
    list[str] | None, typer.Option("--symbol", metavar="COIN", help="Only this coin or symbol; repeatable.")
]
_All = Annotated[bool, typer.Option("--all", help="Show the refused, too, with all reasons.")]
_Why = Annotated[
    str, typer.Option("--why", metavar="COIN", help="Explain each term of one coin's arithmetic.")
]
_Every = Annotated[
    timedelta | None,
    typer.Option("--every", parser=options.duration, metavar="T", help="How often with --watch. [30s]"),
]
_Csv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
_Recorded = Annotated[
    bool, typer.Option("--recorded", help="Scan the small invented market that comes along; no network.")
]


@app.command(epilog="Example: fundarb scan --notional 500 --min-apr 8% --why PEPE")
def scan(
    ctx: typer.Context,
    notional: _Amount = None,
    top: _Top = 20,
    horizon: _Horizon = None,
    min_apr: _MinApr = None,
    sort: _Sort = "net_apr",
    symbol: _Symbol = None,
    everything: _All = False,
    why: _Why = "",
    watch: Annotated[bool, typer.Option("--watch", help="Scan again and again until interrupted.")] = False,
    every: _Every = None,
    csv: _Csv = False,
    recorded: _Recorded = False,
    _json: JsonFlag = False,
) -> int:
    """Rank the funding opportunities of the whole market.

    Net APR is on the capital tied up, after all fees and the impact of the size; gross APR is on notional.
    """
    from fundarb.core.opportunity import SortKey

    session = session_of(ctx)
    session.schema = "scan"
    if every is not None and not watch:
        raise ConfigError(Problem("--every", "says how often --watch scans", "give --watch as well"))
    if why and csv and not session.options.json:
        raise ConfigError(Problem("--why", "has no CSV form", "leave out --csv, or give --json instead"))
    session.recorded = recorded
    scanner = session.app.demo_scanner if recorded else session.app.scanner
    usual = scanner.query()
    query = replace(
        usual,
        notional=usual.notional if notional is None else notional,
        horizon=horizon or usual.horizon,
        min_net_apr=usual.min_net_apr if min_apr is None else min_apr,
        top=top,
        sort=SortKey(sort),
        coins=tuple(symbol or ()),
        refused=everything,
        why=why,
    )
    if not watch:
        return show(session, scanner.scan(query), csv=csv)
    return _watch(session, scanner, query=query, every=every or EVERY, csv=csv)


def show(session: Session, result: ScanResult, *, csv: bool, header: bool = True) -> int:
    """Print one scan in the form that was asked for; the exit code."""
    from fundarb.cli import scan_data

    outcome = Outcome(
        data=scan_data.document(result),
        shown=result,
        as_of=result.as_of,
        warnings=result.warnings,
        code=Exit.REFUSED if result.refusal else Exit.DONE,
        error=_refused(result),
    )

    def render(run: Session, found: ScanResult) -> None:
        if csv:
            run.write(scan_data.csv_text(found, header=header))
        elif not found.refusal:
            from fundarb.cli import scan_view

            scan_view.render(run, found)

    return finish(session, outcome, render=render)


def _refused(result: ScanResult) -> Failure | None:
    if not result.refusal:
        return None
    message = f"a scan for {plain(result.query.notional)} USDT is refused"
    return Failure(kind="refused", message=message, reasons=result.refusal)


def _watch(session: Session, scanner: Scanner, *, query: ScanQuery, every: timedelta, csv: bool) -> int:
    """Scan until interrupted; a venue that does not answer is said and tried again at the next turn."""
    clear: Callable[[], None] = session.out.clear if session.out.is_terminal and not csv else lambda: None
    header = True
    while True:
        try:
            result = scanner.scan(query)
        except Unavailable as error:
            _missed(session, error)
        else:
            if not session.options.json:
                clear()
            code = show(session, result, csv=csv, header=header)
            header = False
            if code != Exit.DONE:
                return code
        session.clock.sleep(every)


def _missed(session: Session, error: Unavailable) -> None:
    if session.options.json:
        blank: Envelope = envelope(session, Outcome(data=None, shown=None, error=failure_of(error)))
        session.answer(blank)
    else:
        session.say(f"{error}; trying again", style="red")
