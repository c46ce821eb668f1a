"""Rows of the P&L from groups of positions: what is known of each, what it yielded, and the sum of all."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from fundarb.core.ledger import Account
from fundarb.core.money import ZERO, cash, years
from fundarb.core.pnl import EMPTY, Coverage, worst
from fundarb.core.records import PositionRecord
from fundarb.engine.report_coverage import Coverages
from fundarb.engine.report_rows import By, Group, PnlRow, ReportQuery, bounds, period
from fundarb.engine.report_time import NOT_KNOWN

_RATIO: Final = Decimal("1e-12")
_DAYS: Final = Decimal("1e-6")


def row(key: str, group: Group, *, coverages: Coverages) -> PnlRow:
    """A group as a row."""
    pnl = group.pnl
    waits = sum(coverages.pending(position) for position in group.positions)
    alone = bool(group.positions) and key != "total" and not _is_period(key)
    beside = [] if alone else [coverages.of_account()]
    coverage = worst([*(coverages.of(position) for position in group.positions), *beside])
    read = worst([*(coverages.read(position) for position in group.positions), *beside])
    missing = coverage is Coverage.MISSING
    guessed = coverages.unvalued(group.positions, whole=not alone)
    if (guessed or not group.valued) and not missing:
        coverage = Coverage.PARTIAL
    unpaid = read is not Coverage.COMPLETE or waits > 0
    unknown = missing or (unpaid and not pnl.funding)
    net = None if unknown or guessed or not group.valued else pnl.net
    # a yield of some of the funding over all of the time, or of many days' prices on one, would be none
    partly = net is None or read is not Coverage.COMPLETE or group.spread
    reason = NOT_KNOWN if partly else group.time.no_yield()
    own, time = (None if reason else group.own), group.time
    at_decision = sum((position.notional for position in group.positions), ZERO)
    mean = group.time.notional
    return PnlRow(
        key=key,
        funding=None if unknown else pnl.funding,
        basis_pnl=pnl.basis_pnl if group.valued else None,
        fees=None if missing or Account.FEES in guessed else pnl.fees,
        interest=None if missing or Account.INTEREST in guessed else pnl.interest,
        slippage=pnl.slippage,
        realised=pnl.realised,
        unrealised=pnl.unrealised if group.valued else None,
        net=net,
        notional=at_decision if mean is None else cash(mean),
        days=(years(group.time.length) * 365).quantize(_DAYS),
        net_apr_on_capital=None if own is None else _ratio(time.on_capital(own.net)),
        coverage=coverage,
        base=group.positions[0].base if len({position.base for position in group.positions}) == 1 else "",
        dust=pnl.dust,
        suspense=pnl.suspense,
        pending=waits,
        fees_by_coin={} if missing else pnl.fees_by_coin,
        net_apr_reason=reason,
        gross=None if net is None else pnl.gross,
        gross_apr_on_capital=None if own is None else _ratio(time.on_capital(own.gross)),
        net_apr_on_notional=None if own is None else _ratio(time.on_notional(own.net)),
        gross_apr_on_notional=None if own is None else _ratio(time.on_notional(own.gross)),
    )


def _ratio(value: Decimal) -> Decimal:
    """A ratio of 12 places."""
    return value.quantize(_RATIO)


def mark_measured(
    groups: Mapping[str, Group], seen: Collection[str], *, unpriced: str | None, pool: bool
) -> None:
    """Say of each period, oldest first, whether its prices were measured, and whether those of unmeasured
    ones before it are in it; ``seen`` have a point of their own, ``unpriced`` is the one whose point lacks a
    price. ``pool``: prices move something even where no position is held.
    """
    waiting = False
    for key, group in groups.items():
        group.valued = key in seen or not (group.positions or pool)
        group.spread = waiting and key in seen
        waiting = not group.valued or (waiting and key not in seen)
        if key == unpriced:
            group.valued = False


def _is_period(key: str) -> bool:
    """Whether a row is of a day or month: ``2026-11-22`` or ``2026-11``."""
    return key[:4].isdecimal() and key[4:5] == "-"


def judges(coverages: Coverages, key: str, *, by: By) -> Coverages:
    """What judges a row: that of the whole span, or of its day or month."""
    return coverages.within(*bounds(key)) if by in {By.DAY, By.MONTH} else coverages


def unmeasured(groups: Mapping[str, Group]) -> tuple[str, ...]:
    """Which days or months have no point of the equity curve, and where their result stands."""
    names = [key for key, group in groups.items() if not group.valued and _is_period(key)]
    if not names:
        return ()
    later = [key for key, group in groups.items() if group.spread]
    where = f"; what their prices brought is in {', '.join(later)}" if later else ""
    return (f"prices of {', '.join(names)} were not measured: unrealised is not known{where}",)


def whole(groups: Mapping[str, Group]) -> Group:
    """The sum of all rows. A position that stands in several periods counts once; its time is the sum of its
    parts.
    """
    unique = {item.position_id: item for group in groups.values() for item in group.positions}
    found = Group(sum((group.pnl for group in groups.values()), EMPTY), list(unique.values()))
    found.own = sum((group.own for group in groups.values()), EMPTY)
    for group in groups.values():
        found.time.absorb(group.time)
    return found


def periods(
    position: PositionRecord, query: ReportQuery, *, stop: datetime
) -> Iterator[tuple[str, datetime, datetime]]:
    """The periods in which a position was open, each with its part of the span."""
    at, last = position.opened_at, position.closed_at or stop
    while at is not None and at <= last:
        key = period(at, query.by)
        begin, end = bounds(key)
        yield key, max(begin, query.since or begin), min(end, stop)
        at = end
