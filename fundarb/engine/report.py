"""``report pnl``: what each position, symbol, day or month brought, where it came from, and how it ties
out to the account.

Reads only the store, and the live market and account where they can be had. Every figure is exact; ratios
are cut to 12 places.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from fundarb.clock import Clock
from fundarb.core.instants import floor_hour
from fundarb.core.ledger import DUST
from fundarb.core.money import ZERO, years
from fundarb.core.pnl import EMPTY, Capital, Coverage, Pnl, Valuation, of_account, worst
from fundarb.core.records import PositionRecord
from fundarb.engine import equity as books
from fundarb.engine import listings
from fundarb.engine.collect import SOURCES, read_until
from fundarb.engine.equity import EquityPoint
from fundarb.engine.listings import EquityReport, FundingReport, LedgerReport, TradeRow
from fundarb.engine.ports import MarketData, Trading
from fundarb.engine.report_rows import (
    ACCOUNT_ROW,
    By,
    Group,
    PnlReport,
    PnlRow,
    ReportQuery,
    TieOutRow,
    bounds,
    by_symbol,
    group_days,
    period,
)
from fundarb.errors import Unavailable
from fundarb.store.database import Store

_RATIO: Final = Decimal("1e-12")
METHOD: Final = "average cost per position; USDC taken one for one with USDT"


@dataclass(frozen=True, slots=True)
class _Span:
    """The two points between which the report counts, and until when."""

    start: EquityPoint | None
    end: EquityPoint | None
    until: datetime
    live: bool
    warnings: tuple[str, ...]

    def unrealised_of(self, position_id: str) -> Decimal:
        """The change of a position's unrealised result."""
        before = self.start.by_position.get(position_id, ZERO) if self.start is not None else ZERO
        after = self.end.by_position.get(position_id, ZERO) if self.end is not None else ZERO
        return after - before


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
    ) -> None:
        """Without market and account unrealised figures are those of the last snapshot."""
        self._store = store
        self._clock = clock
        self._market = market
        self._trading = trading
        self._buffer = buffer

    def pnl(self, query: ReportQuery) -> PnlReport:
        """The result by ``query.by``, its total, and the identity over the same span."""
        span = self._span(query)
        with self._store.reading():
            positions = self._positions(query)
            if query.by in {By.POSITION, By.SYMBOL}:
                groups = self._by_position(query, span, positions=positions)
                if query.by is By.SYMBOL:
                    groups = by_symbol(groups)
            else:
                groups = self._by_time(query, span, positions=positions)
            pending = self._pending()
            rows = tuple(self._row(key, group, span=span, pending=pending) for key, group in groups.items())
            total = self._total(groups, span, pending=pending)
            tie_out = self._tie_out(span)
        return PnlReport(
            rows=rows,
            total=total,
            tie_out=tie_out,
            coverage={source: self._coverage_of_source(source, span.until) for source in SOURCES},
            by=query.by,
            valuation=Valuation.MARK,
            valued_at=span.end.at if span.end is not None else None,
            live=span.live,
            method=METHOD,
            warnings=span.warnings,
        )

    def funding(self, query: ReportQuery) -> FundingReport:
        """Every settlement of the span, expected beside received."""
        return listings.funding(self._store, query)

    def trades(self, query: ReportQuery) -> tuple[TradeRow, ...]:
        """Every execution of ours."""
        return listings.trades(self._store, query)

    def ledger(self, query: ReportQuery) -> LedgerReport:
        """Every entry, and the trial balance."""
        return listings.ledger(self._store, query)

    def equity(self, query: ReportQuery) -> EquityReport:
        """The equity curve, with this moment at its end where the account can be read."""
        end, live, _ = self._end(query.until, self._clock.now())
        return listings.equity(self._store, query, live=end if live else None)

    # ------------------------------------------------------------------------------------------ span

    def _span(self, query: ReportQuery) -> _Span:
        now = self._clock.now()
        until = min(query.until, now) if query.until is not None else now
        end, live, warnings = self._end(query.until, now)
        start = books.opening(self._store)
        if query.since is not None:
            start = books.newest(self._store, until=query.since) or start
        return _Span(start, end, until, live, warnings)

    def _end(self, until: datetime | None, now: datetime) -> tuple[EquityPoint | None, bool, tuple[str, ...]]:
        """The live account, or the newest snapshot before ``until``; whether it is live; what should be
        said.
        """
        warnings: tuple[str, ...] = ()
        if (until is None or until >= now) and self._market is not None and self._trading is not None:
            try:
                return books.measure(self._store, self._market, trading=self._trading, at=now), True, ()
            except Unavailable as error:
                warnings = (
                    f"the account could not be read ({error}); unrealised figures are of the last snapshot",
                )
        return books.newest(self._store, until=until), False, warnings

    def _positions(self, query: ReportQuery) -> dict[str, PositionRecord]:
        found = self._store.positions.all(since=query.since, until=query.until)
        return {position.position_id: position for position in found}

    # ---------------------------------------------------------------------------------------- groups

    def _by_position(
        self, query: ReportQuery, span: _Span, *, positions: Mapping[str, PositionRecord]
    ) -> dict[str, Group]:
        read = self._store.ledger.read
        results = books.sum_pnl(read.sums(since=query.since, until=query.until))
        slippage = read.slippage(since=query.since, until=query.until)
        groups: dict[str, Group] = {}
        for name, position in positions.items():
            result = results.pop(name, EMPTY)
            change = span.unrealised_of(name)
            if result == EMPTY and not change and position.opened_at is None:
                continue  # a plan that never traded
            result += Pnl(unrealised=change, slippage=slippage.get(name, ZERO))
            groups[name] = self._group(result, [position], query=query, span=span)
        # a late fact of a position that was closed before the span still belongs to it
        for late, result in results.items():
            if late is not None and result != EMPTY:
                groups[late] = self._group(result, [self._store.positions.get(late)], query=query, span=span)
        rest = results.get(None, EMPTY) + Pnl(unrealised=span.unrealised_of(DUST))
        if rest != EMPTY:
            groups[ACCOUNT_ROW] = Group(rest, [])
        return groups

    def _group(
        self, pnl: Pnl, positions: Iterable[PositionRecord], *, query: ReportQuery, span: _Span
    ) -> Group:
        group = Group(pnl, list(positions))
        for position in group.positions:
            self._stretch(group, position, since=query.since, until=span.until)
        return group

    def _stretch(
        self, group: Group, position: PositionRecord, *, since: datetime | None, until: datetime
    ) -> None:
        """Add the time that a position was open within ``[since, until]`` and what it tied up meanwhile."""
        first = position.opened_at
        if first is None:
            return
        first = max(first, since) if since is not None else first
        last = min(position.closed_at or until, until)
        if last < first:
            return
        group.since = first if group.since is None else min(group.since, first)
        group.until = last if group.until is None else max(group.until, last)
        capital = Capital(position.notional, position.leverage, self._buffer)
        group.capital_years += capital.amount * years(last - first)

    def _by_time(
        self, query: ReportQuery, span: _Span, *, positions: Mapping[str, PositionRecord]
    ) -> dict[str, Group]:
        """Results by the day or month (UTC) of the fact; unrealised by what the snapshots saw change in
        it.
        """
        results: dict[str, Pnl] = {}
        read = self._store.ledger.read
        for item in read.movements(since=query.since, until=query.until):
            part = of_account(item.account, item.coin, amount=item.amount, value=item.value)
            if part != EMPTY:
                key = period(item.at, query.by)
                results[key] = results.get(key, EMPTY) + part
        for at, cost in read.slippage_by_time(since=query.since, until=query.until):
            key = period(at, query.by)
            results[key] = results.get(key, EMPTY) + Pnl(slippage=cost)
        for key, change in self._unrealised_by_time(query, span).items():
            results[key] = results.get(key, EMPTY) + Pnl(unrealised=change)
        groups: dict[str, Group] = {}
        for key in sorted(results):
            begin, end = bounds(key)
            group = Group(results[key], [])
            for position in positions.values():
                opened = position.opened_at
                if opened is not None and opened < end and (position.closed_at or span.until) >= begin:
                    group.positions.append(position)
                    self._stretch(
                        group, position, since=max(begin, query.since or begin), until=min(end, span.until)
                    )
            groups[key] = group
        return groups

    def _unrealised_by_time(self, query: ReportQuery, span: _Span) -> dict[str, Decimal]:
        """How the unrealised result of our positions changed in each period; the changes add up to the
        whole.
        """
        seen = list(books.points(self._store, since=span.start.at if span.start else None, until=span.until))
        if span.end is not None and span.end not in seen:
            seen.append(span.end)
        before = span.start.positions_unrealised if span.start is not None else ZERO
        changes: dict[str, Decimal] = {}
        for point in seen:
            if query.since is not None and point.at < query.since:
                continue
            key = period(point.at, query.by)
            changes[key] = changes.get(key, ZERO) + point.positions_unrealised - before
            before = point.positions_unrealised
        return {key: change for key, change in changes.items() if change}

    # ------------------------------------------------------------------------------------------ rows

    def _row(self, key: str, group: Group, *, span: _Span, pending: Mapping[str, int]) -> PnlRow:
        pnl = group.pnl
        waits = sum(pending.get(position.position_id, 0) for position in group.positions)
        coverage = worst(
            self._coverage(position, span.until, pending=pending) for position in group.positions
        )
        unknown = coverage is Coverage.MISSING or (waits > 0 and not pnl.funding)
        net = None if unknown else pnl.net
        years_of_capital = group.capital_years
        return PnlRow(
            key=key,
            funding=None if unknown else pnl.funding,
            basis_pnl=pnl.basis_pnl,
            fees=pnl.fees,
            interest=pnl.interest,
            slippage=pnl.slippage,
            realised=pnl.realised,
            unrealised=pnl.unrealised,
            net=net,
            notional=sum((position.notional for position in group.positions), ZERO),
            days=group_days(group),
            net_apr_on_capital=(net / years_of_capital).quantize(_RATIO)
            if net is not None and years_of_capital
            else None,
            coverage=coverage,
            base=group.positions[0].base if len({position.base for position in group.positions}) == 1 else "",
            dust=pnl.dust,
            suspense=pnl.suspense,
            pending=waits,
            fees_by_coin=pnl.fees_by_coin,
        )

    def _total(self, groups: Mapping[str, Group], span: _Span, *, pending: Mapping[str, int]) -> PnlRow:
        """The sum of all rows. A position that stands in several periods counts once; its time is the sum
        of its parts.
        """
        whole = Group(sum((group.pnl for group in groups.values()), EMPTY), [])
        unique = {item.position_id: item for group in groups.values() for item in group.positions}
        whole.positions = list(unique.values())
        for group in groups.values():
            whole.absorb_time(group)
        return self._row("total", whole, span=span, pending=pending)

    def _pending(self) -> dict[str, int]:
        """Settlements that the venue has not shown yet, by position."""
        found: dict[str, int] = {}
        for item in self._store.ledger.log.pending_settlements():
            found[item.position_id] = found.get(item.position_id, 0) + 1
        return found

    def _coverage(self, position: PositionRecord, until: datetime, *, pending: Mapping[str, int]) -> Coverage:
        """How much of what was due to a position has been read from the venue's log.

        Funding falls due on full hours only: until the first of them nothing can be missing.
        """
        since, end = position.created_at, min(position.closed_at or until, until)
        due = floor_hour(end)
        if due <= since:
            return Coverage.COMPLETE
        cursors = [read_until(self._store, source) for source in SOURCES]
        opened = self._store.ledger.opened_at
        if opened is None or any(cursor is None or cursor <= since for cursor in cursors):
            return Coverage.MISSING
        read = all(cursor is not None and cursor >= due for cursor in cursors)
        return Coverage.COMPLETE if read and not pending.get(position.position_id) else Coverage.PARTIAL

    def _coverage_of_source(self, source: str, until: datetime) -> Coverage:
        cursor = read_until(self._store, source)
        if cursor is None:
            return Coverage.MISSING
        return Coverage.COMPLETE if cursor >= floor_hour(until) else Coverage.PARTIAL

    def _tie_out(self, span: _Span) -> TieOutRow:
        if span.start is None or span.end is None:
            return TieOutRow(equity_start=None, equity_end=None, explained=None, unexplained=None)
        found = books.tie_out(self._store, span.start, end=span.end)
        return TieOutRow(
            equity_start=found.equity_start,
            equity_end=found.equity_end,
            explained=found.explained,
            unexplained=found.unexplained,
            since=span.start.at,
            until=span.end.at,
            parts=found,
            revaluation=span.end.others_unrealised - span.start.others_unrealised,
            venue_equity=span.end.venue_equity,
        )
