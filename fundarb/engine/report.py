"""``report pnl``: what each position, symbol, day or month brought, where it came from, and how it ties
out to the account.

Reads only the store, and the live market and account where they can be had. Every figure is exact; ratios
are cut to 12 places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from fundarb.clock import Clock
from fundarb.core.lots import LotMethod
from fundarb.core.money import ZERO
from fundarb.core.pnl import EMPTY, Pnl, Valuation, of_account, together
from fundarb.core.records import PositionRecord
from fundarb.engine import equity, listings, report_equity, report_tax
from fundarb.engine import equity_points as curve
from fundarb.engine.equity import EquityPoint
from fundarb.engine.listings import FundingReport, LedgerReport, TradeRow
from fundarb.engine.ports import MarketData, Trading
from fundarb.engine.report_coverage import Coverages
from fundarb.engine.report_equity import EquityReport
from fundarb.engine.report_groups import (
    aged,
    judges,
    partly,
    periods,
    row,
    suspended,
    unexplained,
    unmeasured,
    whole,
)
from fundarb.engine.report_rows import (
    ACCOUNT_ROW,
    By,
    Group,
    PnlReport,
    ReportQuery,
    by_symbol,
    period,
)
from fundarb.engine.report_span import Span, by_period, find_span, tie_out
from fundarb.engine.report_tax import TaxReport
from fundarb.engine.report_time import Capitals
from fundarb.errors import Unavailable
from fundarb.store.database import Store
from fundarb.store.ledger_days import DaySum
from fundarb.store.ledger_sums import Sum

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
        """Without market and account unrealised figures are those of the last snapshot; ``warnings`` are true
        of every report: a P&L says them itself where it does not ask the account.
        """
        self.warnings: Final = warnings
        self._store = store
        self._clock = clock
        self._market = market
        self._trading = trading
        self._buffer = buffer

    @property
    def at(self) -> datetime:
        """The instant of the reports."""
        return self._clock.now()

    @property
    def place(self) -> tuple[str, str] | None:
        """Venue and mode of the books, whoever asks; None where they are nobody's yet."""
        owner = self._store.identity.read()
        return None if owner is None else (owner.venue, owner.mode)

    def pnl(self, query: ReportQuery) -> PnlReport:
        """The result by ``query.by``, its total, and the identity over the very same facts."""
        now = self._clock.now()
        query = query.by_now(now)
        measured, warnings = self._measured(query.until, now)
        with self._store.reading():
            positions = self._positions(query)
            span = find_span(
                self._store, query, now=now, measured=measured, positions=positions, warnings=warnings
            )
            coverages = Coverages(self._store, span.stop, since=query.since)
            groups, carried = self._grouped(query, span, positions=positions)
            if ACCOUNT_ROW not in groups and self._unsure(query, coverages):
                groups[ACCOUNT_ROW] = Group(EMPTY, [])
            rows = tuple(
                row(key, group, coverages=judges(coverages, key, by=query.by))
                for key, group in groups.items()
            )
            summed = whole(groups)
            summed.valued = span.complete
            total = row("total", summed, coverages=coverages)
            tied = tie_out(span, total=summed.pnl, external=carried)
        open_questions = (*unexplained(tied), *span.at_cost)
        if open_questions:
            total = partly(total)
            rows = tuple(partly(one) if one.key == ACCOUNT_ROW else one for one in rows)
        return PnlReport(
            rows=rows,
            total=total,
            tie_out=tied,
            coverage=coverages.of_sources(),
            by=query.by,
            valuation=Valuation.MARK,
            valued_at=span.end.at if span.end is not None and span.end.at <= span.stop else None,
            live=span.live,
            method=METHOD,
            warnings=(
                *span.warnings,
                *span.said,
                *open_questions,
                *coverages.unread(),
                *suspended(summed),
                *unmeasured(groups, summed),
                *aged(groups),
                *coverages.warnings(summed.positions),
            ),
        )

    def funding(self, query: ReportQuery) -> FundingReport:
        """Every settlement of the span, expected beside received."""
        with self._store.reading():
            return listings.funding(self._store, query)

    def trades(self, query: ReportQuery) -> tuple[TradeRow, ...]:
        """Every execution of ours."""
        with self._store.reading():
            return listings.trades(self._store, query)

    def tax(self, query: ReportQuery, method: LotMethod = LotMethod.FIFO) -> TaxReport:
        """Every disposal with its lot, and every payment."""
        return report_tax.tax(self._store, query, method=method)

    def ledger(self, query: ReportQuery) -> LedgerReport:
        """Every entry, and the trial balance."""
        with self._store.reading():
            return listings.ledger(self._store, query)

    def equity(self, query: ReportQuery) -> EquityReport:
        """The equity curve, with this moment at its end where the account can be read."""
        measured, warnings = self._measured(query.until, self._clock.now())
        with self._store.reading():
            return report_equity.equity(
                self._store, query, live=measured, buffer=self._buffer, warnings=warnings
            )

    # ------------------------------------------------------------------------------------------ span

    def _measured(self, until: datetime | None, now: datetime) -> tuple[EquityPoint | None, tuple[str, ...]]:
        """The account of this moment, None where the span ends before it or it cannot be read; what should be
        said.
        """
        if self._market is None or self._trading is None or (until is not None and until < now):
            return None, self.warnings
        try:
            return equity.measure(self._store, self._market, trading=self._trading, at=now), ()
        except Unavailable as error:
            text = f"the account could not be read ({error}); unrealised figures are of the last snapshot"
            return None, (text,)

    def _positions(self, query: ReportQuery) -> dict[str, PositionRecord]:
        found = self._store.positions.all(since=query.since, until=query.until)
        return {position.position_id: position for position in found}

    # ---------------------------------------------------------------------------------------- groups

    def _grouped(
        self, query: ReportQuery, span: Span, *, positions: Mapping[str, PositionRecord]
    ) -> tuple[dict[str, Group], Decimal]:
        """What was booked of the span by what the rows stand for, what the opening brought left out; and the
        deposits less the withdrawals among it.
        """
        ledger = self._store.ledger
        since, until, number = query.since, query.until, ledger.opening_id
        if query.by not in {By.POSITION, By.SYMBOL}:
            days = ledger.read.by_day(since=since, until=until, booked_after=number)
            return self._by_time(query, span, positions=positions, days=days), curve.external(days)
        sums = ledger.read.of_span(since=since, until=until, booked_after=number)
        groups = self._by_position(query, span, positions=positions, sums=sums)
        return by_symbol(groups) if query.by is By.SYMBOL else groups, curve.external(sums)

    @staticmethod
    def _unsure(query: ReportQuery, coverages: Coverages) -> bool:
        """Whether something of the account alone has no known worth: it has a row, if without a figure."""
        by_owner = query.by in {By.POSITION, By.SYMBOL}
        return by_owner and bool(coverages.unvalued((), whole=True))

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
            result += Pnl(unrealised=change, slippage=slippage.get(name, ZERO))
            group = Group(result, [position], own=result)
            group.valued = name not in span.unknown
            self._stretch(group, position, capitals=capitals, since=query.since, until=span.stop)
            groups[name] = group
        if rest != EMPTY or span.account_unknown:
            groups[ACCOUNT_ROW] = Group(rest, [], valued=not span.account_unknown)
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
        self,
        query: ReportQuery,
        span: Span,
        *,
        positions: Mapping[str, PositionRecord],
        days: Iterable[DaySum],
    ) -> dict[str, Group]:
        """Results by the day or month (UTC) of the fact; unrealised by what changed from its begin to its
        end.
        """
        results: dict[str, list[Pnl]] = {}
        ours: dict[str, list[Pnl]] = {}
        parts = by_period(self._store, span, positions=positions)
        for key, result, own in (*self._booked_by_time(query, days), *_changes(parts)):
            results.setdefault(key, []).append(result)
            if own is not EMPTY:
                ours.setdefault(key, []).append(own)
        held = [(one, *item) for one in positions.values() for item in periods(one, query, stop=span.stop)]
        keys = {*results, *(key for _, key, begin, end in held if begin < end)}
        groups = {
            key: Group(together(results.get(key, ())), [], own=together(ours.get(key, ())))
            for key in sorted(keys)
        }
        capitals = Capitals(self._store, positions, buffer=self._buffer)
        for position, key, begin, end in held:
            group = groups.get(key)
            if group is not None and begin <= end:
                group.positions.append(position)
                self._stretch(group, position, capitals=capitals, since=begin, until=end)
        for key, part in parts.items():
            if key in groups:
                groups[key].valued = part.complete
                groups[key].priced_at = part.priced_at
        return groups

    def _booked_by_time(self, query: ReportQuery, days: Iterable[DaySum]) -> Iterator[tuple[str, Pnl, Pnl]]:
        """What was booked by the period of the fact, and the positions' part of it."""
        for item in days:
            part = of_account(item.account, item.coin, amount=item.amount, value=item.value)
            yield period(item.day, query.by), part, part if item.ours else EMPTY
        read = self._store.ledger.read
        for at, cost in read.slippage_by_day(since=query.since, until=query.until):
            part = Pnl(slippage=cost)
            yield period(at, query.by), part, part


def _changes(parts: Mapping[str, Span]) -> Iterator[tuple[str, Pnl, Pnl]]:
    """How the unrealised result changed in each period, and the positions' part of it."""
    for key, part in parts.items():
        if part.begin is not None and part.finish is not None and part.begin != part.finish:
            change = part.finish.unrealised - part.begin.unrealised
            own = part.finish.ours_unrealised - part.begin.ours_unrealised
            if change or own:
                yield key, Pnl(unrealised=change), Pnl(unrealised=own)
