"""Reports for a person: P&L with its tie-out, settlements, fills, equity curve, balances of the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from fundarb.cli import figures as fig
from fundarb.cli.money_view import amount, cell, plain_quantity
from fundarb.cli.tables import Cell, Column, fitted
from fundarb.core.money import CASH_STEP, ZERO

if TYPE_CHECKING:
    from fundarb.cli.session import Session
    from fundarb.engine.listings import Balance, FundingReport, FundingRow, LedgerReport, TradeRow
    from fundarb.engine.report_equity import EquityReport
    from fundarb.engine.report_rows import PnlReport, PnlRow
    from fundarb.engine.report_tax import TaxReport, TaxRow

_SHORTEST = 3


def render(session: Session, kind: str, *, found: Any, plot: bool = False) -> None:
    """Print one report, below its curve where that is wanted and there is one."""
    if plot:
        _draw(session, curve(kind, found))
    if kind == "pnl":
        pnl(session, found)
    elif kind == "funding":
        funding(session, found)
    elif kind == "trades":
        trades(session, found)
    elif kind == "ledger":
        ledger(session, found)
    elif kind == "tax":
        tax(session, found)
    else:
        equity(session, found)


def curve(kind: str, found: Any) -> list[Decimal]:
    """What is drawn of a report: the account's result, or what was gained up to each row."""
    if kind == "equity":
        return [row.result for row in found.rows]
    gains: dict[str, Callable[[Any], Decimal | None]] = {
        "pnl": _gained,
        "funding": lambda row: row.received,
        "tax": lambda row: (row.gain or ZERO) - (row.expense or ZERO),
    }
    return list(accumulate(gains[kind](row) or ZERO for row in found.rows))


def _gained(row: PnlRow) -> Decimal:
    """What a row is known to have brought: of a day that was not measured all but its prices."""
    if row.net is not None:
        return row.net
    return (row.funding or ZERO) + (row.realised or ZERO) - (row.fees or ZERO) - (row.interest or ZERO)


def _draw(session: Session, values: Sequence[Decimal]) -> None:
    if len(values) >= _SHORTEST:
        from fundarb.cli.plot import lines

        for line in lines(values, width=session.out.width):
            session.out.print(line)


def pnl(session: Session, found: PnlReport) -> None:
    """What was earned, split into what made it, then the total and the identity. Amounts in USDT."""
    total = found.total
    if not found.rows:
        session.out.print("nothing was held in this time")
    else:
        columns = _pnl_columns(found.by.value, lambda row: "total" if row is total else row.key)
        session.out.print(fitted(session.out, columns, rows=found.rows, last=total))
    _tie_out(session, found)
    session.out.print(f"{_valued(found)}{found.method}", style="dim")


def _valued(found: PnlReport) -> str:
    """Of which moment unrealised figures are; nothing where there are none."""
    if found.live:
        return "unrealised at mark now; "
    if found.valued_at is None:
        return ""
    return f"unrealised at mark at the last snapshot of {found.valued_at:%Y-%m-%d %H:%M} UTC; "


def _tie_out(session: Session, found: PnlReport) -> None:
    """The identity, and what stands beside the total in it: deposits, suspense, what is on its way."""
    tie, parts = found.tie_out, found.tie_out.parts
    if tie.unexplained is None or parts is None:
        session.out.print("no equity to tie out with yet", style="dim")
        return
    session.out.print(f"equity {amount(tie.equity_start)} → {amount(tie.equity_end)} USDT")
    beside = {"deposits": parts.external, "suspense": parts.suspense, "pending": tie.pending}
    more = "".join(
        f", {name} {amount(value, sign=True, places=8)}" for name, value in beside.items() if value
    )
    session.out.print(
        f"explained {amount(tie.explained, sign=True, places=8)}{more}, "
        f"unexplained {amount(tie.unexplained, places=8)}",
        style="green" if tie.unexplained == 0 else "red",
    )


def _pnl_columns(by: str, key: Any) -> tuple[Column[PnlRow], ...]:
    return (
        Column(f"{by}\nUTC" if by in {"day", "month"} else by, key, name=True),
        Column("coin", lambda row: row.base, name=True, spare=4 if by == "symbol" else 3),
        Column("funding", lambda row: cell(row.funding)),
        Column("basis", lambda row: cell(row.basis_pnl), spare=1),
        Column("fees and\ninterest", lambda row: amount(_paid(row)), spare=1),
        Column("net", lambda row: cell(row.net)),
        Column("gross", lambda row: cell(row.gross), spare=8),
        Column("days", lambda row: f"{row.days:.1f}", spare=2),
        Column("APR on\ncapital %", lambda row: _apr(row.net_apr_on_capital)),
        Column("APR on\nnotional %", lambda row: _apr(row.net_apr_on_notional), spare=5),
        Column("gross APR\ncapital %", lambda row: _apr(row.gross_apr_on_capital), spare=10),
        Column("gross APR\nnotional %", lambda row: _apr(row.gross_apr_on_notional), spare=10),
        Column("slippage", lambda row: amount(row.slippage), spare=7),
        Column("realised", lambda row: cell(row.realised), spare=6),
        Column("unreal.", lambda row: cell(row.unrealised), spare=6),
        Column("notional", lambda row: amount(row.notional, places=0), spare=9),
        Column("books", lambda row: f"{row.pending} pending" if row.pending else row.coverage.value),
    )


def _paid(row: PnlRow) -> Decimal | None:
    """Fees and interest, so that the row adds up at any width; the parts are in the other formats."""
    return None if row.fees is None or row.interest is None else row.fees + row.interest


def _apr(fraction: Decimal | None) -> Cell:
    """A yield of less than a day says nothing, so there is none."""
    return fig.signed(fig.percent(fraction, 1), fraction)


def funding(session: Session, found: FundingReport) -> None:
    """Each settlement: what was expected, what came. Amounts in the settle coin."""
    if not found.rows:
        unread = found.received is None
        session.out.print(f"no settlement {'is known of' if unread else 'in'} this time")
        return
    columns: tuple[Column[FundingRow], ...] = (
        Column("time UTC", lambda row: f"{row.time:%Y-%m-%d %H:%M}", name=True),
        Column("symbol", lambda row: row.symbol, name=True),
        Column("contracts", lambda row: plain_quantity(row.contracts), spare=1),
        Column("rate\nbp", lambda row: fig.points(row.rate)),
        Column("expected\nUSDT", lambda row: amount(row.expected, sign=True, places=4)),
        Column(
            "received\nUSDT",
            lambda row: "pending" if row.received is None else cell(row.received, places=4),
        ),
        Column("difference\nUSDT", lambda row: amount(row.difference, sign=True, places=4), spare=2),
        Column("position", lambda row: row.position_id, name=True, spare=3),
    )
    session.out.print(fitted(session.out, columns, rows=found.rows))
    pending = f", {found.pending} pending" if found.pending else ""
    session.out.print(
        f"{fig.count(len(found.rows), 'settlement')}, "
        f"received {amount(found.received, sign=True, places=4)} USDT, "
        f"expected {amount(found.expected, sign=True, places=4)}{pending}"
    )
    reasons = (
        ("another rate", "by_rate"),
        ("another mark", "by_mark"),
        ("nothing that is known", "unexplained"),
    )
    for reason, name in reasons:
        rows = [value for row in found.rows if (value := getattr(row, name)) and abs(value) > CASH_STEP]
        if rows:
            total = amount(sum(rows), sign=True, places=8)
            session.out.print(
                f"{total} USDT of the difference by {reason}, in {fig.count(len(rows), 'settlement')}"
            )


def trades(session: Session, found: tuple[TradeRow, ...]) -> None:
    """Each fill of ours."""
    if not found:
        session.out.print("no fill in this time")
        return
    years = sorted({f"{row.time:%Y}" for row in (found[0], found[-1])})
    form = "%m-%d %H:%M:%S" if len(years) == 1 else "%Y-%m-%d %H:%M:%S"
    columns: tuple[Column[TradeRow], ...] = (
        Column(f"time UTC\n{' to '.join(years)}", lambda row: f"{row.time:{form}}", name=True),
        Column("position", lambda row: row.position_id, name=True, spare=5),
        Column("symbol", lambda row: row.symbol, name=True),
        Column("leg", lambda row: row.leg.value, name=True),
        Column(
            "side",
            lambda row: row.side.value if row.kind == "Trade" else f"{row.side.value}\n{row.kind}",
            name=True,
        ),
        Column("quantity", lambda row: plain_quantity(row.quantity)),
        Column("price", lambda row: plain_quantity(row.price)),
        Column("value\nUSDT", lambda row: amount(row.value), spare=2),
        Column("fee\ncoin", lambda row: f"{plain_quantity(row.fee)} {row.fee_coin}", spare=4),
        Column("fee\nUSDT", lambda row: amount(row.fee_value, places=4), spare=1),
        Column("slippage\nUSDT", lambda row: amount(row.slippage, sign=True, places=4), spare=6),
        Column("realised\nUSDT", lambda row: cell(row.realised), spare=3),
    )
    session.out.print(fitted(session.out, columns, rows=found))
    fees = sum((row.fee_value for row in found), start=type(found[0].fee_value)(0))
    session.out.print(f"{fig.count(len(found), 'fill')}, fees {amount(fees)} USDT")


def ledger(session: Session, found: LedgerReport) -> None:
    """The trial balance; single entries are for ``--format csv`` and ``json``."""
    columns: tuple[Column[Balance], ...] = (
        Column("account", lambda row: row.account.value, name=True),
        Column("coin", lambda row: row.coin, name=True),
        Column("balance", lambda row: f"{row.amount:,.8f}"),
        Column("book value\nUSDT", lambda row: amount(row.value)),
    )
    session.out.print(fitted(session.out, columns, rows=found.balances))
    known = sum((row.value for row in found.balances if row.value is not None), ZERO)
    unknown = sum(row.value is None for row in found.balances)
    more = f"; {fig.count(unknown, 'balance')} without a known value" if unknown else ""
    session.out.print(f"book values add up to {amount(known)} USDT{more}")
    if found.partial:
        session.out.print("balances are over everything, entries of the span", style="dim")
    session.out.print(
        f"{len(found.rows)} entr{'y' if len(found.rows) == 1 else 'ies'}; --format csv lists them",
        style="dim",
    )


def tax(session: Session, found: TaxReport) -> None:
    """Disposals and payments; every figure is in ``--format csv`` and ``json``."""
    if not found.rows:
        session.out.print("nothing taxable in this time")
    else:
        columns: tuple[Column[TaxRow], ...] = (
            Column("time UTC", lambda row: f"{row.time:%Y-%m-%d %H:%M}", name=True),
            Column("kind", lambda row: row.kind, name=True),
            Column("asset", lambda row: row.asset, name=True),
            Column("quantity", lambda row: plain_quantity(row.quantity) if row.quantity else "", spare=1),
            Column(
                "acquired", lambda row: "" if row.acquired is None else f"{row.acquired:%Y-%m-%d}", spare=2
            ),
            Column("proceeds\nUSDT", lambda row: amount(row.proceeds) if row.quantity else "", spare=4),
            Column("cost\nUSDT", lambda row: cell(row.cost) if row.quantity else "", spare=4),
            Column("gain\nUSDT", lambda row: cell(row.gain, places=4)),
            Column("expense\nUSDT", lambda row: amount(row.expense, places=4)),
            Column("position", lambda row: row.position_id or "", name=True, spare=5),
        )
        session.out.print(fitted(session.out, columns, rows=found.rows))
    if found.unknown:
        session.out.print(
            f"{fig.count(found.unknown, 'disposal')} of unknown proceeds: in no sum", style="yellow"
        )
    gains = ", ".join(f"{name} {amount(value, sign=True)}" for name, value in found.gains.items())
    outside = sum(lot.outside for lot in found.held)
    away = f", {outside} carried out" if outside else ""
    session.out.print(f"gain less expenses: {gains} USDT; {len(found.held) - outside} lots held{away}")
    session.out.print(f"lots: {found.lots.value}; {found.method}", style="dim")


def equity(session: Session, found: EquityReport, *, plot: bool = False) -> None:
    """The curve in figures, and drawn."""
    if not found.rows:
        session.out.print("no equity recorded yet")
        return
    first, last = found.rows[0], found.rows[-1]
    if plot:
        _draw(session, curve("equity", found))
    session.out.print(
        f"{first.time:%Y-%m-%d %H:%M} → {last.time:%Y-%m-%d %H:%M} UTC, {found.days:.1f} days", style="dim"
    )
    result = cell(last.result - first.result)
    session.out.print(f"equity {amount(first.equity)} → {amount(last.equity)} USDT, result", result, "USDT")
    session.out.print(
        f"time-weighted return {_percent(found.total_return)}, "
        f"yearly {_percent(found.annual_return)} (simple), "
        f"largest fall {_percent(found.max_drawdown, sign=False)}"
    )
    session.out.print(
        f"in the market {fig.share(found.time_in_market)}, exposure {fig.share(found.exposure)}"
    )
    if found.sharpe is not None:
        session.out.print(
            f"Sharpe {found.sharpe:.2f} ± {found.sharpe_error:.2f}, long-run {amount(found.sharpe_long_run)}"
        )
    if found.provisional:
        session.out.print(f"{found.provisional} of {len(found.rows)} points provisional", style="yellow")
    for note in found.notes:
        session.out.print(note, style="dim")


def _percent(fraction: Decimal | None, *, sign: bool = True) -> str:
    """With its unit; what is not known has none."""
    return fig.MISSING if fraction is None else f"{fig.percent(fraction, sign=sign)} %"
