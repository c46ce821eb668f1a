"""``demo``: everything at once on built-in data: sandbox, daemon on a virtual clock, reports, equity plot.

No key, no network, no files left behind.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fundarb.cli.common import JsonFlag, Outcome, finish, session_of, single
from fundarb.cli.document import Failure
from fundarb.cli.exits import Exit
from fundarb.core.money import ZERO

if TYPE_CHECKING:
    from fundarb.cli.session import Session
    from fundarb.daemon.month import Month
    from fundarb.engine.listings import FundingReport, FundingRow

app = single()


@app.command(epilog="Example: fundarb demo --days 10 --seed 3")
def demo(
    ctx: typer.Context,
    days: Annotated[int, typer.Option(min=1, max=365, metavar="N", help="Virtual days to trade.")] = 30,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Which market.")] = 1,
    _json: JsonFlag = False,
) -> int:
    """See it work on built-in data: no key, no network.

    Trades a simulated exchange for a month of virtual time, unattended, and reports what came of it.
    """
    session = session_of(ctx)
    session.schema = "demo"
    session.simulated = True
    from fundarb.daemon.month import live

    with session.progress(f"{days} days of trading") as advance:
        month = live(
            days,
            seed,
            machine=session.clock,
            progress=lambda done, whole: advance(int(done.total_seconds()), int(whole.total_seconds())),
        )
    broken = [check for check in month.audit.checks if not check.ok]
    error = None
    if broken:
        details = "; ".join(check.details for check in broken)
        error = Failure(kind="invariant_broken", message=f"the audit of the demo fails: {details}")
    outcome = Outcome(
        data=_data(month),
        shown=month,
        as_of=month.equity.rows[-1].time,
        code=Exit.MISMATCH if broken else Exit.DONE,
        error=error,
    )
    return finish(session, outcome, render=_render)


def _data(month: Month) -> dict[str, Any]:
    from fundarb.cli.audit import audit_data

    return {
        "seed": month.seed,
        "days": month.days,
        "positions": month.positions,
        "pnl": month.pnl,
        "funding": month.funding,
        "equity": month.equity,
        "audit": audit_data(month.audit),
    }


def _render(session: Session, month: Month) -> None:
    from fundarb.cli import positions, report_view

    out = session.out
    out.print(f"Open after {month.days} days", style="bold")
    positions.render(session, month.positions, now=month.equity.rows[-1].time)
    out.print("\nProfit and loss by position (USDT)", style="bold")
    report_view.pnl(session, month.pnl)
    out.print("\nFunding by symbol", style="bold")
    _funding(session, month.funding)
    out.print("\nResult over time (USDT)", style="bold")
    report_view.equity(session, month.equity, plot=True)
    checks, clean = month.audit.checks, month.audit.clean
    out.print(
        f"\naudit: {sum(check.ok for check in checks)} of {len(checks)} invariants hold",
        style="green" if clean else "bold red",
    )
    session.say(
        f"Market and time are simulated (seed {month.seed}); orders, fills and books are the program's own."
    )


def _funding(session: Session, found: FundingReport) -> None:
    """Settlements that were paid, summed up by symbol."""
    from rich.table import Table

    from fundarb.cli import figures as fig
    from fundarb.cli.money_view import amount, cell
    from fundarb.engine.listings import funding_totals

    paid: defaultdict[str, list[FundingRow]] = defaultdict(list)
    for row in found.rows:
        if row.received is not None:
            paid[row.symbol].append(row)
    totals = {symbol: funding_totals(rows) for symbol, rows in paid.items()}
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("symbol")
    for header in ("settlements", "mean rate bp", "expected", "received"):
        table.add_column(header, justify="right")
    for symbol, (expected, received) in sorted(totals.items(), key=lambda item: -item[1][1]):
        rates = [row.rate for row in paid[symbol] if row.rate is not None]
        table.add_row(
            symbol,
            str(len(paid[symbol])),
            fig.points(sum(rates, ZERO) / len(rates) if rates else None),
            amount(expected, sign=True, places=4),
            cell(received, places=4),
        )
    session.out.print(table)
    session.out.print(
        f"{fig.count(len(found.rows), 'settlement')}, "
        f"received {amount(found.received, sign=True, places=4)} USDT"
    )
