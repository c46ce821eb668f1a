"""``report pnl``: what each position, symbol, day or month brought, where it came from, and how it ties
out to the account.

Reads only the store, and the live market and account where they can be had. Every figure is exact; ratios
are cut to 12 places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from fundarb.clock import Clock
from fundarb.core.lots import LotMethod
from fundarb.core.money import ZERO, cash, years
from fundarb.core.pnl import EMPTY, Coverage, Pnl, Valuation, of_account, worst
from fundarb.core.records import PositionRecord
from fundarb.engine import equity, listings, report_equity, report_tax
from fundarb.engine import equity_points as curve
from fundarb.engine.equity import EquityPoint
from fundarb.engine.listings import FundingReport, LedgerReport, TradeRow
from fundarb.engine.ports import MarketData, Trading
from fundarb.engine.report_coverage import Coverages
from fundarb.engine.report_equity import EquityReport
from fundarb.engine.report_rows import (
    ACCOUNT_ROW,
    By,
    Group,
    PnlReport,
    PnlRow,
    ReportQuery,
    bounds,
    by_symbol,
    period,
)
from fundarb.engine.report_span import Span, find_span, tie_out
from fundarb.engine.report_tax import TaxReport
from fundarb.engine.report_time import Capitals
from fundarb.errors import Unavailable
from fundarb.store.database import Store
from fundarb.store.ledger_sums import Sum

_RATIO: Final = Decimal("1e-12")
_DAYS: Final = Decimal("1e-6")
METHOD: Final = "average cost per position; USDC taken one for one with USDT"


class Reporter:
    """Makes reports from one store. ``buffer`` is the part of notional kept free as margin (``[account]
    usdt_buffer``).
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        market: MarketData | None = None,
        trading: Trading | None = None,
        buffer: Decimal = ZERO,
        warnings: tuple[str, ...] = (),
    ) -> None:
        """Without market and account unrealised figures are those of the last snapshot; ``warnings`` are said
        with every P&L.
        """
        self._warnings = warnings
        self._store = store
        self._clock = clock
        self._market = market
        self._trading = trading
        self._buffer = buffer

    def pnl(self, query: ReportQuery) -> PnlReport:
        """The result by ``query.by``, its total, and the identity over the very same facts."""
        now = self._clock.now()
        measured, warnings = self._measured(query.until, now)
        with self._store.reading():
            span = find_span(self._store, query, now=now, measured=measured, warnings=warnings)
            positions = self._positions(query)
            sums = self._sums(query)
            if query.by in {By.POSITION, By.SYMBOL}:
                groups = self._by_position(query, span, positions=positions, sums=sums)
                if query.by is By.SYMBOL:
                    groups = by_symbol(groups)
            else:
                groups = self._by_time(query, span, positions=positions)
            coverages = Coverages(self._store, span.stop, since=query.since)
            rows = tuple(
                _row(key, group, coverages=_judges(coverages, key, by=query.by))
                for key, group in groups.items()
            )
            whole = _whole(groups)
            whole.valued = not span.unknown
            total = _row("total", whole, coverages=coverages)
            tied = tie_out(self._store, span, total=whole.pnl, sums=sums)
        return PnlReport(
            rows=rows,
            total=total,
            tie_out=tied,
            coverage=coverages.of_sources(),
            by=query.by,
            valuation=Valuation.MARK,
            valued_at=span.end.at if span.end is not None else None,
            live=span.live,
            method=METHOD,
            warnings=(
                *span.warnings,
                *span.said,
                *coverages.unread(),
                *_unmeasured(groups),
                *coverages.warnings(whole.positions),
            ),
        )

    def funding(self, query: ReportQuery) -> FundingReport:
        """Every settlement of the span, expected beside received."""
        return listings.funding(self._store, query)

    def trades(self, query: ReportQuery) -> tuple[TradeRow, ...]:
        """Every execution of ours."""
        return listings.trades(self._store, query)

    def tax(self, query: ReportQuery, method: LotMethod = LotMethod.FIFO) -> TaxReport:
        """Every disposal with its lot, and every payment."""
        return report_tax.tax(self._store, query, method=method)

    def ledger(self, query: ReportQuery) -> LedgerReport:
        """Every entry, and the trial balance."""
        return listings.ledger(self._store, query)

    def equity(self, query: ReportQuery) -> EquityReport:
        """The equity curve, with this moment at its end where the account can be read."""
        measured, _ = self._measured(query.until, self._clock.now())
        with self._store.reading():
            return report_equity.equity(self._store, query, live=measured, buffer=self._buffer)

    # ------------------------------------------------------------------------------------------ span

    def _measured(self, until: datetime | None, now: datetime) -> tuple[EquityPoint | None, tuple[str, ...]]:
        """The account of this moment, None where the span ends before it or it cannot be read; what should be
        said.
        """
        if self._market is None or self._trading is None or (until is not None and until < now):
            return None, self._warnings
        try:
            return equity.measure(self._store, self._market, trading=self._trading, at=now), ()
        except Unavailable as error:
            text = f"the account could not be read ({error}); unrealised figures are of the last snapshot"
            return None, (text,)

    def _positions(self, query: ReportQuery) -> dict[str, PositionRecord]:
        found = self._store.positions.all(since=query.since, until=query.until)
        return {position.position_id: position for position in found}

    def _sums(self, query: ReportQuery) -> tuple[Sum, ...]:
        """What was booked of the span, what the opening brought left out."""
        ledger = self._store.ledger
        if query.since is not None or query.until is not None:
            return ledger.read.sums(since=query.since, until=query.until, booked_after=ledger.opening_id)
        brought = ledger.read.sums(booked_until=ledger.opening_id) if ledger.opening_id else ()
        return (
            *ledger.read.sums(),
            *(replace(item, amount=-item.amount, value=-item.value) for item in brought),
        )

    # ---------------------------------------------------------------------------------------- groups

    def _by_position(
        self,
        query: ReportQuery,
        span: Span,
        *,
        positions: Mapping[str, PositionRecord],
        sums: Iterable[Sum],
    ) -> dict[str, Group]:
        results = curve.sum_pnl(sums)
        rest = results.pop(None, EMPTY) + Pnl(unrealised=span.account_unrealised)
        # a late fact of a position that was closed before the span still belongs to it
        late = {name for name in (*results, *span.changed) if name is not None and name not in positions}
        positions = {**positions, **{name: self._store.positions.get(name) for name in sorted(late)}}
        slippage = self._store.ledger.read.slippage(since=query.since, until=query.until)
        capitals = Capitals(self._store, positions, buffer=self._buffer)
        groups: dict[str, Group] = {}
        for name, position in positions.items():
            result, change = results.get(name, EMPTY), span.unrealised_of(name)
            if result == EMPTY and not change and (position.opened_at is None or name in late):
                continue  # a plan that never traded
            group = Group(result + Pnl(unrealised=change, slippage=slippage.get(name, ZERO)), [position])
            group.valued = name not in span.unknown
            self._stretch(group, position, capitals=capitals, since=query.since, until=span.stop)
            groups[name] = group
        if rest != EMPTY or span.unknown:
            groups[ACCOUNT_ROW] = Group(rest, [], valued=not span.unknown)
        return groups

    @staticmethod
    def _stretch(
        group: Group,
        position: PositionRecord,
        *,
        capitals: Capitals,
        since: datetime | None,
        until: datetime,
    ) -> None:
        """Add the time that a position was open within ``[since, until]`` and what it tied up meanwhile."""
        found = capitals.over(position, since=since, until=until)
        if found is not None:
            group.time.absorb(found)

    def _by_time(
        self, query: ReportQuery, span: Span, *, positions: Mapping[str, PositionRecord]
    ) -> dict[str, Group]:
        """Results by the day or month (UTC) of the fact; unrealised by what the snapshots saw change in
        it.
        """
        results: dict[str, Pnl] = {}
        ledger = self._store.ledger
        moved = ledger.read.by_day(since=query.since, until=query.until, booked_after=ledger.opening_id)
        for item in moved:
            part = of_account(item.account, item.coin, amount=item.amount, value=item.value)
            if part != EMPTY:
                key = period(item.day, query.by)
                results[key] = results.get(key, EMPTY) + part
        for at, cost in ledger.read.slippage_by_day(since=query.since, until=query.until):
            key = period(at, query.by)
            results[key] = results.get(key, EMPTY) + Pnl(slippage=cost)
        changes = self._unrealised_by_time(query, span)
        for key, change in changes.items():
            if change:
                results[key] = results.get(key, EMPTY) + Pnl(unrealised=change)
        held = [item for one in positions.values() for item in _periods(one, query, stop=span.stop)]
        keys = {*results, *(key for key, begin, end in held if begin < end)}
        groups = {key: Group(results.get(key, EMPTY), []) for key in sorted(keys)}
        capitals = Capitals(self._store, positions, buffer=self._buffer)
        for position in positions.values():
            for key, begin, end in _periods(position, query, stop=span.stop):
                group = groups.get(key)
                if group is not None and begin <= end:
                    group.positions.append(position)
                    self._stretch(group, position, capitals=capitals, since=begin, until=end)
        unpriced = period(span.end.at, query.by) if span.unknown and span.end is not None else None
        _mark_measured(groups, changes, unpriced=unpriced)
        return groups

    def _unrealised_by_time(self, query: ReportQuery, span: Span) -> dict[str, Decimal]:
        """How the unrealised result changed in each period, as the points that tied saw it; the changes add
        up to the whole. A period without a point is not in it: what it changed is in the next one that has.
        """
        if span.start is None or span.end is None or span.start == span.end:
            return {}
        between = curve.points(self._store, since=span.start.at, until=span.end.at, tied_only=True)
        before = span.start.unrealised
        changes: dict[str, Decimal] = {}
        for point in (*between, span.end):
            if query.since is not None and point.at < query.since:
                continue
            key = period(point.at, query.by)
            changes[key] = changes.get(key, ZERO) + point.unrealised - before
            before = point.unrealised
        return changes


def _row(key: str, group: Group, *, coverages: Coverages) -> PnlRow:
    """A group as a row."""
    pnl = group.pnl
    waits = sum(coverages.pending(position) for position in group.positions)
    alone = bool(group.positions) and key != "total" and not _is_period(key)
    beside = [] if alone else [coverages.of_account()]
    coverage = worst([*(coverages.of(position) for position in group.positions), *beside])
    read = worst([*(coverages.read(position) for position in group.positions), *beside])
    missing = coverage is Coverage.MISSING
    if not group.valued and not missing:
        coverage = Coverage.PARTIAL
    unpaid = read is not Coverage.COMPLETE or waits > 0
    unknown = missing or (unpaid and not pnl.funding)
    net = None if unknown or not group.valued else pnl.net
    # a yield of some of the funding over all of the time, or of many days' prices on one, would be none
    apr, reason = group.time.apr(None if read is not Coverage.COMPLETE or group.spread else net)
    at_decision = sum((position.notional for position in group.positions), ZERO)
    mean = group.time.notional
    return PnlRow(
        key=key,
        funding=None if unknown else pnl.funding,
        basis_pnl=pnl.basis_pnl if group.valued else None,
        fees=None if missing else pnl.fees,
        interest=None if missing else pnl.interest,
        slippage=pnl.slippage,
        realised=pnl.realised,
        unrealised=pnl.unrealised if group.valued else None,
        net=net,
        notional=at_decision if mean is None else cash(mean),
        days=(years(group.time.length) * 365).quantize(_DAYS),
        net_apr_on_capital=None if apr is None else apr.quantize(_RATIO),
        coverage=coverage,
        base=group.positions[0].base if len({position.base for position in group.positions}) == 1 else "",
        dust=pnl.dust,
        suspense=pnl.suspense,
        pending=waits,
        fees_by_coin={} if missing else pnl.fees_by_coin,
        net_apr_reason=reason,
    )


def _mark_measured(
    groups: Mapping[str, Group], changes: Mapping[str, Decimal], *, unpriced: str | None
) -> None:
    """Say of each period, oldest first, whether its prices were measured, and whether those of unmeasured
    ones before it are in it; ``unpriced`` is the one whose point lacks a price.
    """
    waiting = False
    for key, group in groups.items():
        group.valued = key in changes or not group.positions
        group.spread = waiting and key in changes
        waiting = not group.valued or (waiting and key not in changes)
        if key == unpriced:
            group.valued = False


def _is_period(key: str) -> bool:
    """Whether a row is of a day or month: ``2026-11-22`` or ``2026-11``."""
    return key[:4].isdecimal() and key[4:5] == "-"


def _judges(coverages: Coverages, key: str, *, by: By) -> Coverages:
    """What judges a row: that of the whole span, or of its day or month."""
    return coverages.within(*bounds(key)) if by in {By.DAY, By.MONTH} else coverages


def _unmeasured(groups: Mapping[str, Group]) -> tuple[str, ...]:
    """Which days or months have no point of the equity curve, and where their result stands."""
    names = [key for key, group in groups.items() if not group.valued and _is_period(key)]
    if not names:
        return ()
    later = [key for key, group in groups.items() if group.spread]
    where = f"; what their prices brought is in {', '.join(later)}" if later else ""
    return (f"prices of {', '.join(names)} were not measured: unrealised is not known{where}",)


def _whole(groups: Mapping[str, Group]) -> Group:
    """The sum of all rows. A position that stands in several periods counts once; its time is the sum of its
    parts.
    """
    whole = Group(sum((group.pnl for group in groups.values()), EMPTY), [])
    unique = {item.position_id: item for group in groups.values() for item in group.positions}
    whole.positions = list(unique.values())
    for group in groups.values():
        whole.time.absorb(group.time)
    return whole


def _periods(
    position: PositionRecord, query: ReportQuery, *, stop: datetime
) -> Iterator[tuple[str, datetime, datetime]]:
    """The periods in which a position was open, each with its part of the span."""
    at, last = position.opened_at, position.closed_at or stop
    while at is not None and at <= last:
        key = period(at, query.by)
        begin, end = bounds(key)
        yield key, max(begin, query.since or begin), min(end, stop)
        at = end
