"""A scan for a person: the ranked table, the face of an empty result, and the arithmetic of one coin.

Figures are aligned, units stand in the header, colour follows the sign. More columns appear where there is
room for them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from fundarb.cli.figures import MISSING, countdown, days, hours, percent, points, share, short, signed, span
from fundarb.cli.session import Session
from fundarb.core.money import ONE, plain

if TYPE_CHECKING:
    from rich.console import RenderableType

    from fundarb.core.opportunity import Opportunity
    from fundarb.engine.scan import ScanResult

WIDE = 136
"""Columns from which the wide table fits."""

_Cell = Callable[["Opportunity", datetime], "RenderableType"]


def render(session: Session, result: ScanResult) -> None:
    """Print the scan, or the explanation where one coin was asked about."""
    out = session.out
    out.print(headline(session, result), soft_wrap=True)
    if result.query.why:
        for item in result.explained:
            out.print(explanation(item, result))
        return
    if result.opportunities:
        out.print(table(result, width=out.width))
        refused = [item for item in result.opportunities if item.reasons]
        for item in refused if out.width < WIDE else ():
            out.print(_reasons(item), soft_wrap=True)
    if result.counts.eligible == 0 and not result.query.coins:
        _empty(session, result)
    for line in footer(result):
        out.print(line, style="dim", soft_wrap=True)


def headline(session: Session, result: ScanResult) -> Text:
    """Where, when and for what."""
    query = result.query
    venue = session.place[0] or ""
    return Text.assemble(
        (venue, "bold"),
        f"  {result.as_of:%Y-%m-%d %H:%M:%S} UTC",
        f"  {plain(query.notional)} USDT a leg, {span(query.horizon)}, net APR ≥ ",
        f"{percent(query.min_net_apr).lstrip('+').rstrip('0').rstrip('.')} %",
    )


def footer(result: ScanResult) -> tuple[str, ...]:
    """Counts, and what the figures assume."""
    counts = result.counts
    shown = sum(not item.reasons for item in result.opportunities)
    more = f" ({shown} shown)" if shown < counts.eligible else ""
    items = result.opportunities or tuple(near.opportunity for near in result.nearest)
    found = f"{counts.eligible} eligible{more} of {counts.paired} pairs and {counts.listed} contracts"
    lines = [f"{found}; {result.requests} requests"]
    if any(item.forecast is not None and item.forecast.kind == "naive" for item in items):
        lines.append("Expected rate: half of the running one where no history is kept.")
    if any(item.needs_book for item in items):
        lines.append("≤ ≥ order books not read: at best prices, whose size is below the notional.")
    return tuple(lines)


# Header, unit, cell; those of the wide table are marked.
def _columns(now: datetime) -> tuple[tuple[str, str, bool, Callable[[Opportunity], RenderableType]], ...]:
    return (
        ("rate", "bp / interval", False, _rate),
        ("gross", "% p.a.", False, lambda o: signed(percent(o.gross_apr), o.gross_apr)),
        ("net", "% p.a.", False, _net),
        ("basis", "bp", False, lambda o: signed(points(o.basis, 1), o.basis)),
        (
            "cost",
            "bp",
            False,
            lambda o: _least(o, points(o.costs.total, 1, sign=False) if o.costs else MISSING),
        ),
        (
            "pays in",
            "days",
            False,
            lambda o: _least(o, days(o.result.break_even_after) if o.result else MISSING),
        ),
        ("settles", "in", False, lambda o: countdown(o.funding.next_time - now) if o.funding else MISSING),
        ("turnover", "USDT/d", False, lambda o: short(o.turnover_24h)),
        ("expected", "bp", True, lambda o: points(o.forecast.rate) if o.forecast else MISSING),
        ("spread", "bp s/p", True, _spreads),
        ("depth", "USDT", True, lambda o: _least(o, short(o.depth_notional))),
        ("open int.", "USDT", True, lambda o: short(o.open_interest_notional)),
        ("contract", "", True, lambda o: Text(o.perp_symbol, style="dim")),
    )


def table(result: ScanResult, *, width: int) -> Table:
    """The ranking; ``width`` decides how many columns there are."""
    wide = width >= WIDE
    now = result.as_of
    view = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold", collapse_padding=True)
    view.add_column("#", justify="right")
    view.add_column("coin", no_wrap=True)
    columns = [column for column in _columns(now) if wide or not column[2]]
    for name, unit, _, _ in columns:
        view.add_column(
            f"{name}\n{unit}" if unit else name,
            justify="left" if name == "contract" else "right",
            no_wrap=True,
        )
    reasons = wide and any(item.reasons for item in result.opportunities)
    if reasons:
        view.add_column("why not", overflow="fold", ratio=1)
    for number, item in enumerate(result.opportunities, start=1):
        cells: list[RenderableType] = [str(number), item.base, *(cell(item) for *_, cell in columns)]
        if reasons:
            cells.append(_short_reasons(item))
        view.add_row(*cells, style="dim" if item.reasons else None)
    return view


def _rate(item: Opportunity) -> Text:
    if item.funding is None:
        return Text(MISSING)
    return Text.assemble(
        signed(points(item.funding.rate), item.funding.rate), (f" /{hours(item.funding.interval):<3}", "dim")
    )


def _net(item: Opportunity) -> Text:
    """Net APR; where a book was not read the size may cost more, so it is at most that."""
    text = percent(item.net_apr)
    return signed(f"≤ {text}" if item.needs_book and text != MISSING else text, item.net_apr)


def _least(item: Opportunity, text: str) -> str:
    """A figure that is a lower bound where a book was not read."""
    return f"≥ {text}" if item.needs_book and text != MISSING else text


def _spreads(item: Opportunity) -> str:
    return f"{points(item.spread_spot, 1, sign=False)}/{points(item.spread_perp, 1, sign=False)}"


def _reasons(item: Opportunity) -> Text:
    return Text.assemble((f"{item.base}: ", "bold"), _short_reasons(item))


def _short_reasons(item: Opportunity) -> str:
    """All reasons; the one about the yield only with what is missing, the yield stands beside it."""
    return "; ".join(
        f"net APR {reason.message.partition(' is ')[2]}"
        if reason.code == "net_apr_below_minimum"
        else reason.message
        for reason in item.reasons
    )


def _empty(session: Session, result: ScanResult) -> None:
    """Nothing is worth opening: said plainly, with what comes nearest and by how much it misses."""
    out = session.out
    out.print()
    out.print("Nothing is worth opening on these terms.", style="bold")
    if result.nearest and not any(item.reasons for item in result.opportunities):
        view = Table(box=None, pad_edge=False, padding=(0, 1), header_style="bold", collapse_padding=True)
        view.add_column("nearest", no_wrap=True)
        for name in ("rate\nbp / interval", "net\n% p.a.", "misses by\npoints"):
            view.add_column(name, justify="right", no_wrap=True)
        view.add_column("also in the way", overflow="fold")
        for near in result.nearest:
            item = near.opportunity
            others = [reason.message for reason in item.reasons if reason.code != "net_apr_below_minimum"]
            missing = percent(near.missing_apr).lstrip("+") if near.missing_apr > 0 else MISSING
            missing = _least(item, missing)
            view.add_row(
                item.base,
                _rate(item),
                _net(item),
                missing,
                "; ".join(others),
            )
        out.print(view)
    horizon = result.query.horizon * 3 // timedelta(days=1) or 30
    out.print(
        f"--horizon {horizon}d spreads the costs, --min-apr lowers the bar, --all lists every reason.",
        soft_wrap=True,
    )


def explanation(item: Opportunity, result: ScanResult) -> Table:
    """Each term of one coin's arithmetic, in the order in which it is reckoned."""
    view = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    view.add_column(no_wrap=True)
    view.add_column(justify="right", no_wrap=True)
    view.add_column(overflow="fold")
    verdict = Text("worth opening", style="green") if not item.reasons else Text("refused", style="red")
    multiplier = (
        f" × {plain(item.multiplier)}" if item.multiplier not in (None, ONE) and item.multiplier else ""
    )
    view.add_row(
        Text(item.base, style="bold"),
        "",
        f"spot {item.spot_symbol or 'none'}{multiplier}, perp {item.perp_symbol}",
    )
    for label, figure, words in [
        *_funding_lines(item, result),
        *_cost_lines(item, result),
        *_result_lines(item, result),
    ]:
        view.add_row(label, figure, words)
    view.add_row("verdict", verdict, "")
    for reason in item.reasons:
        view.add_row("", "", reason.message)
    return view


_Line = tuple[str, "RenderableType", str]


def _funding_lines(item: Opportunity, result: ScanResult) -> list[_Line]:
    funding, outlook, found = item.funding, item.forecast, item.result
    if funding is None:
        return []
    cap = f", capped at ±{points(funding.cap, sign=False)}" if funding.cap is not None else ""
    lines: list[_Line] = [
        ("running rate", _bp(funding.rate), f"per {hours(funding.interval)}, what longs would pay now{cap}")
    ]
    if outlook is not None:
        lines.append(("expected rate r̂", _bp(outlook.rate), _forecast_words(item)))
    if found is not None:
        left = countdown(funding.next_time - result.as_of)
        every = f"every {hours(funding.interval)}, the first in {left}"
        lines.append(("settlements n", str(found.settlements), f"in {span(result.query.horizon)}, {every}"))
        lines.append(("funding r̂·n", _bp(found.funding), "of notional, over the horizon"))
    return lines


def _forecast_words(item: Opportunity) -> str:
    outlook = item.forecast
    if outlook is None:
        return ""
    if outlook.kind == "naive":
        return "naive: half of the running rate, no settled rates are known"
    mean = outlook.settled_mean
    return (
        f"{outlook.kind}: {share(outlook.weight)} of {points(outlook.counted)} and the rest of the "
        f"settled mean {points(mean)}, less the standard error {points(outlook.standard_error, sign=False)} "
        f"({outlook.settlements} settlements, {share(outlook.positive_share)} positive)"
    )


def _cost_lines(item: Opportunity, result: ScanResult) -> list[_Line]:
    costs = item.costs
    if costs is None:
        return []

    def bp(value: Decimal) -> str:
        return points(value, sign=False)

    whose = "this account" if result.fee_source == "account" else "public schedule"
    fees = f"2 × (spot {bp(costs.spot_fee)} + perp {bp(costs.perp_fee)}), taker, {whose}, in and out"
    impact = (
        f"from mid: spot buy {bp(costs.spot_buy)} and sell {bp(costs.spot_sell)}, "
        f"perp sell {bp(costs.perp_sell)} and buy {bp(costs.perp_buy)}"
    )
    return [
        ("fees", _bp(-costs.fees), fees),
        ("impact", _bp(-costs.impact), impact),
        ("round-trip cost C", _bp(-costs.total), "fees and impact"),
    ]


def _result_lines(item: Opportunity, result: ScanResult) -> list[_Line]:
    found, terms = item.result, result.terms
    if found is None or terms is None:
        return []
    basis = f"now {points(item.basis, 1)}, expected at the exit {points(item.expected_exit_basis, 1)}"
    capital = f"1 + 1/{plain(terms.leverage)} leverage + {share(terms.buffer)} buffer, × notional"
    even = (
        f"C ÷ r̂ settlements, {days(found.break_even_after)} days"
        if found.break_even_settlements
        else "never at this rate"
    )
    return [
        ("basis gain", _bp(found.basis_gain), basis),
        ("net", _bp(found.net), "r̂·n − C + basis gain, of notional, over the horizon"),
        ("capital", f"{found.capital:.2f}", capital),
        (
            "net APR on capital",
            _pct(found.net_apr),
            f"net × 365 days ÷ {span(result.query.horizon)} ÷ capital, simple",
        ),
        ("gross APR on notional", _pct(found.gross_apr), "r̂ over a year, before all costs"),
        ("break-even", str(found.break_even_settlements or MISSING), even),
    ]


def _bp(value: Decimal) -> Text:
    return signed(f"{points(value)} bp", value)


def _pct(value: Decimal) -> Text:
    return signed(f"{percent(value)} %", value)
