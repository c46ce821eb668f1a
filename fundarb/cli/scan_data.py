"""A scan as data: the keys that scripts rely on, for JSON and CSV.

Computed ratios are rounded to twelve decimals here, at the very edge; everything before is exact.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Any

from fundarb.core.exact_json import jsonable
from fundarb.core.money import seconds

if TYPE_CHECKING:
    from fundarb.core.opportunity import Opportunity
    from fundarb.engine.scan import ScanResult

_STEP = Decimal("1e-12")
_CENT = Decimal("0.01")

COLUMNS = (
    "rank",
    "base",
    "spot_symbol",
    "perp_symbol",
    "multiplier",
    "funding_rate",
    "interval_hours",
    "next_funding_time",
    "expected_rate",
    "forecast",
    "gross_apr",
    "net_apr",
    "basis",
    "expected_exit_basis",
    "round_trip_cost",
    "fees",
    "impact",
    "break_even_settlements",
    "break_even_hours",
    "spread_spot",
    "spread_perp",
    "depth_notional",
    "turnover_24h",
    "open_interest_notional",
    "positive_share",
    "verdict",
    "reasons",
    "unread_books",
)


_COSTS = ("spot_fee", "perp_fee", "spot_buy", "spot_sell", "perp_sell", "perp_buy")
_FORECAST = ("predicted", "counted", "weight", "mean", "settled_mean", "deviation", "standard_error")
_YIELD = ("funding", "cost", "basis_gain", "net", "capital")


def document(result: ScanResult) -> dict[str, Any] | None:
    """``data`` of the envelope; None where the question itself is refused before anything was read."""
    if result.terms is None:
        return None
    found: dict[str, Any] = {
        "opportunities": [row(number, item) for number, item in enumerate(result.opportunities, start=1)],
        "counts": {
            "listed": result.counts.listed,
            "paired": result.counts.paired,
            "eligible": result.counts.eligible,
        },
        "requests": result.requests,
        "notional": result.query.notional,
        "horizon_days": _tidy(seconds(result.query.horizon) / 86_400),
        "min_net_apr": result.query.min_net_apr,
        "fee_source": result.fee_source,
        "nearest": [
            {**row(number, near.opportunity), "missing_apr": _tidy(near.missing_apr)}
            for number, near in enumerate(result.nearest, start=1)
        ],
    }
    if result.query.why:
        found["why"] = [{**row(1, item), "terms": terms(item)} for item in result.explained]
    return found


def row(number: int, item: Opportunity) -> dict[str, Any]:
    """One opportunity under the keys of ``COLUMNS``.

    ``unread_books`` names the legs whose order book was needed and not read: cost is then a lower bound, and
    net APR an upper one.
    """
    funding, costs, outlook, result = item.funding, item.costs, item.forecast, item.result
    return {
        "rank": number,
        "base": item.base,
        "spot_symbol": item.spot_symbol,
        "perp_symbol": item.perp_symbol,
        "multiplier": item.multiplier,
        "funding_rate": funding.rate if funding else None,
        "interval_hours": _whole(item.interval_hours),
        "next_funding_time": funding.next_time if funding else None,
        "expected_rate": _tidy(outlook.rate) if outlook else None,
        "forecast": outlook.kind if outlook else None,
        "gross_apr": _tidy(item.gross_apr),
        "net_apr": _tidy(item.net_apr),
        "basis": _tidy(item.basis),
        "expected_exit_basis": _tidy(item.expected_exit_basis),
        "round_trip_cost": _tidy(costs.total) if costs else None,
        "fees": _tidy(costs.fees) if costs else None,
        "impact": _tidy(costs.impact) if costs else None,
        "break_even_settlements": result.break_even_settlements if result else None,
        "break_even_hours": _hours(result.break_even_after) if result else None,
        "spread_spot": _tidy(item.spread_spot),
        "spread_perp": _tidy(item.spread_perp),
        "depth_notional": _tidy(item.depth_notional, _CENT),
        "turnover_24h": _tidy(item.turnover_24h, _CENT),
        "open_interest_notional": _tidy(item.open_interest_notional, _CENT),
        "positive_share": _tidy(outlook.positive_share) if outlook else None,
        "verdict": item.verdict,
        "reasons": item.reasons,
        "unread_books": item.needs_book,
    }


def terms(item: Opportunity) -> Mapping[str, Any]:
    """Each term of the arithmetic, for ``--why``."""
    found: dict[str, Any] = {}
    for part, names in ((item.costs, _COSTS), (item.forecast, _FORECAST), (item.result, _YIELD)):
        if part is not None:
            found |= {name: _tidy(getattr(part, name)) for name in names}
    if item.result:
        found["settlements"] = item.result.settlements
    return found


def csv_text(result: ScanResult, *, header: bool = True) -> str:
    """The rows as CSV; reasons in one cell, separated by semicolons."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if header:
        writer.writerow(COLUMNS)
    for number, item in enumerate(result.opportunities, start=1):
        cells = jsonable(row(number, item))
        cells["reasons"] = "; ".join(reason["message"] for reason in cells["reasons"])
        cells["unread_books"] = "; ".join(cells["unread_books"])
        writer.writerow("" if cells[name] is None else cells[name] for name in COLUMNS)
    return out.getvalue()


def _tidy(value: Decimal | None, step: Decimal = _STEP) -> Decimal | None:
    return None if value is None else value.quantize(step, ROUND_HALF_EVEN)


def _whole(value: Decimal | None) -> Decimal | int | None:
    """Hours as an integer, which they are at every venue known; an odd interval keeps its fraction."""
    return int(value) if value is not None and value == value.to_integral_value() else value


def _hours(duration: timedelta | None) -> Decimal | None:
    return None if duration is None else _tidy(seconds(duration) / 3600, Decimal("0.0001"))
