"""``positions``: what is held now, with live marks."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import typer

from fundarb.cli.common import JsonFlag, Outcome, run_command, single

if TYPE_CHECKING:
    from fundarb.app import App
    from fundarb.cli.session import Session
    from fundarb.cli.tables import Cell, Column
    from fundarb.engine.views import PositionView

app = single()

_FAR = 10
"""Beyond this (a fraction: tenfold) the distance to liquidation is only said to be far."""


@app.command(epilog="Example: fundarb positions --json")
def positions(ctx: typer.Context, _json: JsonFlag = False) -> int:
    """Show the open positions: both legs, delta, basis, funding, P&L and the distance to liquidation.

    Only looks; needs no lock, so it works while a daemon or another command trades.
    """

    def act(program: App) -> Outcome[tuple[PositionView, ...]]:
        found = program.positions()
        return Outcome(
            data={"positions": found.views},
            shown=found.views,
            as_of=program.clock.now(),
            warnings=found.concerns,
        )

    def show(session: Session, found: tuple[PositionView, ...]) -> None:
        render(session, found, now=session.app.clock.now())

    return run_command(ctx, "positions", action=act, render=show)


def render(session: Session, found: tuple[PositionView, ...], *, now: datetime) -> None:
    """One line a position, more figures where there is room; the sum below. ``now`` is the venue's time."""
    from fundarb.cli.money_view import amount
    from fundarb.cli.tables import fitted
    from fundarb.core.money import ZERO

    if not found:
        session.out.print("no open positions")
        return
    session.out.print(fitted(session.out, _columns(now), rows=found))
    known = [item.net_pnl for item in found if item.net_pnl is not None]
    total, unknown = (sum(known, ZERO) if known else None), len(found) - len(known)
    due = sum(item.funding_pending or 0 for item in found)
    unread = sum(item.funding_pending is None for item in found)
    note = f"; {unknown} of unknown value" if unknown else ""
    note += f"; {due} funding payments pending, not in it" if due else ""
    note += f"; {unread} with funding unread, not in it" if unread else ""
    session.out.print(f"{len(found)} open, net {amount(total, sign=True)} USDT at mid and mark{note}")


def _funding(row: PositionView) -> Cell:
    """What was received; a payment that is due and not shown yet is pending, one that may have passed since
    the venue's log was read is unread, and neither is a zero.
    """
    from rich.text import Text

    from fundarb.cli.money_view import cell

    unread = row.funding_pending is None
    if row.funding_received is None:
        return "unread" if unread else "pending"
    if row.funding_pending == 0:
        return cell(row.funding_received)
    return Text.assemble(cell(row.funding_received), " +?" if unread else f" +{row.funding_pending} due")


def _columns(now: datetime) -> tuple[Column[PositionView], ...]:
    """In the order of reading; what goes first on a narrow screen has the largest ``spare``."""
    from fundarb.cli import figures as fig
    from fundarb.cli.money_view import amount, cell, plain_quantity
    from fundarb.cli.tables import Column
    from fundarb.cli.trade_view import state

    def settles(row: PositionView) -> str:
        coming = row.next_funding_time
        return fig.countdown(None if coming is None else coming - now)

    def liquidation(row: PositionView) -> str:
        away = row.liquidation_distance
        return f">{_FAR * 100}" if away is not None and away > _FAR else fig.percent(away, 0)

    return (
        Column("position", lambda row: row.position_id, name=True, spare=4),
        Column("coin", lambda row: row.base, name=True),
        Column("state", lambda row: state(row.state.value), name=True),
        Column("spot\ncoins", lambda row: plain_quantity(row.spot_quantity)),
        Column("perp\ncontracts", lambda row: plain_quantity(row.perp_quantity), spare=1),
        Column("drift\n%", lambda row: "?" if row.drift is None else fig.percent(row.drift, sign=False)),
        Column("notional\nUSDT", lambda row: amount(row.notional)),
        Column("basis in\nbp", lambda row: fig.points(row.entry_basis, 1), spare=6),
        Column("basis now\nbp", lambda row: fig.points(row.mark_basis, 1), spare=6),
        Column("funding\nUSDT", _funding),
        Column("fees\nUSDT", lambda row: amount(row.fees_paid), spare=2),
        Column("unreal.\nUSDT", lambda row: cell(row.unrealised_pnl), spare=5),
        Column("net\nUSDT", lambda row: cell(row.net_pnl)),
        Column("to liq.\n%", liquidation, spare=3),
        Column("settles\nin", settles, spare=7),
        Column(
            "opened\nUTC",
            lambda row: "" if row.opened_at is None else f"{row.opened_at:%m-%d %H:%M}",
            spare=8,
        ),
    )
