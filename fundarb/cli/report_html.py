"""A report as one HTML file: figures, interactive charts, the rows as a table to sort. It needs nothing
beside it and may load nothing: script and style are inside, and its policy forbids any request.

Charts are drawn by uPlot (MIT, its licence lies beside it in ``assets``), which is inside as it is
published. Exact figures stay texts; only the charts turn them into binary numbers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape
from importlib.resources import files
from itertools import accumulate
from typing import Any, Final

from fundarb.cli.document import Envelope
from fundarb.core.exact_json import jsonable
from fundarb.core.instants import to_ms
from fundarb.core.money import ZERO, plain

_ASSETS: Final = files("fundarb.cli") / "assets"
_POLICY: Final = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"
_GAINS: Final = frozenset(
    {
        *("funding", "basis_pnl", "realised", "unrealised", "net", "gross", "rate", "expected", "received"),
        *("net_apr_on_capital", "gross_apr_on_capital", "net_apr_on_notional", "gross_apr_on_notional"),
        *("difference", "by_rate", "by_mark", "gain"),
    }
)
"""Where + is good: only these have a colour, for what costs is + as well."""
_TITLES: Final = {
    "pnl": "Profit and loss",
    "funding": "Funding",
    "trades": "Fills",
    "equity": "Equity",
    "ledger": "Ledger",
    "tax": "Tax export",
}
_SUMMARIES: Final = {
    "pnl": ("equity_start", "equity_end", "explained", "external", "suspense", "pending", "unexplained"),
    "funding": ("expected", "received", "pending"),
    "equity": (
        "total_return",
        "max_drawdown",
        "annual_return",
        "sharpe",
        "sharpe_error",
        "sharpe_long_run",
        "exposure",
        "time_in_market",
        "days",
        "provisional",
    ),
}
_LABELS: Final = {
    "total_return": "return (time-weighted)",
    "annual_return": "yearly return (time-weighted, simple)",
    "max_drawdown": "largest fall (time-weighted)",
}
_UNIT: Final = "Amounts in USDT, ratios as fractions, times UTC"
_UNITS: Final = {"ledger": "Amounts in their own coin, values in USDT, times UTC"}
Chart = dict[str, Any]


def page(kind: str, found: Any, *, names: Sequence[str], around: Envelope) -> str:
    """The whole file; ``names`` are the columns of the table."""
    rows = found if isinstance(found, tuple) else found.rows
    table = [[_cell(getattr(row, name)) for name in names] for row in rows]
    total = getattr(found, "total", None)
    data = {
        "columns": list(names),
        "rows": table,
        "total": None if total is None else [_cell(getattr(total, name)) for name in names],
        "text": [_is_text(table, at) for at in range(len(names))],
        "signed": [name in _GAINS for name in names],
        "figures": _figures(kind, found),
        "charts": _charts(kind, rows),
    }
    embedded = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    place = f"{around.venue} ({around.mode}), {around.as_of:%Y-%m-%d %H:%M:%S} UTC"
    notes = [*(reason.message for reason in around.warnings), *getattr(found, "notes", ())]
    method = getattr(found, "method", "")
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>fundarb: {_TITLES[kind]}</title>",
            f"<style>{_asset('uPlot.min.css')}{_asset('report.css')}</style></head><body>",
            f'<h1>{_TITLES[kind]}</h1><p class="place">{escape(place)}</p>',
            *(f'<p class="note">{escape(note)}</p>' for note in notes),
            f'<p class="method">{_UNITS.get(kind, _UNIT)}{"; " + escape(method) if method else ""}.</p>',
            '<dl></dl><div id="charts"></div>',
            '<div class="scroll"><table id="rows"><thead><tr></tr></thead><tbody></tbody></table></div>',
            f'<script type="application/json" id="data">{embedded}</script>',
            f"<script>{_asset('uPlot.iife.min.js')}</script><script>{_asset('report.js')}</script>",
            "</body></html>",
            "",
        )
    )


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _cell(value: Any) -> str | None:
    """A figure as text, exact; nested figures as JSON."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    found = jsonable(value)
    if found is None or isinstance(found, str):
        return found
    return json.dumps(found) if isinstance(found, (dict, list)) else str(found)


def _is_text(table: Sequence[Sequence[str | None]], at: int) -> bool:
    """Whether a column holds words and not figures."""
    held = (row[at] for row in table)
    return any(value is not None and not value.lstrip("-").replace(".", "", 1).isdigit() for value in held)


def _figures(kind: str, found: Any) -> list[tuple[str, str | None]]:
    """What stands above the table."""
    holders = [found.tie_out, found.tie_out.parts] if kind == "pnl" else [found]
    names = _SUMMARIES.get(kind, ())
    figures = [(_LABELS.get(name, name.replace("_", " ")), _cell(_first(holders, name))) for name in names]
    if kind == "tax" and found.unknown:
        figures.append(("disposals of unknown proceeds, in no sum", str(found.unknown)))
    if kind == "tax":
        figures += [(f"gain less expenses, {name}", plain(amount)) for name, amount in found.gains.items()]
    if kind == "ledger":
        figures += [(f"{row.account.value} {row.coin}", plain(row.amount)) for row in found.balances]
    return figures


def _first(holders: Sequence[Any], name: str) -> Any:
    """The figure of a name, of whichever has it; None where there is none yet."""
    return next((getattr(holder, name) for holder in holders if hasattr(holder, name)), None)


def _charts(kind: str, rows: Sequence[Any]) -> list[Chart]:
    """The charts of a kind; none where there is nothing to draw."""
    if not rows:
        return []
    if kind == "pnl":
        net = [{"label": "net", "values": [_cell(row.net) for row in rows]}]
        return [{"title": "Net (USDT)", "times": None, "names": [row.key for row in rows], "series": net}]
    series = [
        {"label": label, "values": [_cell(value) for value in values]}
        for label, values in _curves(kind, rows).items()
    ]
    seconds = [plain(Decimal(to_ms(row.time)) / 1000) for row in rows] if series else []
    title = f"{_TITLES[kind]} over time (USDT)"
    return [{"title": title, "times": seconds, "names": None, "series": series}] if series else []


def _curves(kind: str, rows: Sequence[Any]) -> dict[str, list[Decimal | None]]:
    """What is drawn over time."""
    if kind == "equity":
        return {"equity": [row.equity for row in rows], "result": [row.result for row in rows]}
    if kind == "funding":
        received, expected = (row.received for row in rows), (row.expected for row in rows)
        return {"received": _summed(received), "expected": _summed(expected)}
    if kind == "trades":
        fees, slippage = (row.fee_value for row in rows), (row.slippage for row in rows)
        return {"fees": _summed(fees), "slippage": _summed(slippage)}
    if kind == "tax":
        known = (None if row.gain is None else row.gain - row.expense for row in rows)
        return {"gain less expenses": _summed(known)}
    return {}


def _summed(values: Iterable[Decimal | None]) -> list[Decimal | None]:
    """Running sums; what is not known adds nothing yet."""
    return list(accumulate(value or ZERO for value in values))
