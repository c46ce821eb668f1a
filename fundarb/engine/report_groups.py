"""Rows of the P&L from groups of positions: what is known of each, what it yielded, and the sum of all."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final, NamedTuple

from fundarb.core.ledger import MOVED, Account
from fundarb.core.money import ZERO, cash, plain, years
from fundarb.core.pnl import CoinTotal, Coverage, together, worst
from fundarb.core.records import PositionRecord
from fundarb.engine.report_coverage import Coverages
from fundarb.engine.report_rows import By, Group, PnlRow, ReportQuery, TieOutRow, bounds, period
from fundarb.engine.report_time import NOT_KNOWN

_RATIO: Final = Decimal("1e-12")
_DAYS: Final = Decimal("1e-6")
_ROUNDINGS: Final = Decimal("0.001")
"""In quote; a trade may leave 1e-8 in suspense, so this is what a hundred thousand of them come to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """What is known of a group. ``read``: how far the log was read for it; ``unpaid``: whether its funding is
    not known; ``guessed``: accounts with entries whose worth nobody knows; ``waits``: its facts to come.
    """

    coverage: Coverage
    read: Coverage
    unpaid: bool
    guessed: Collection[Account]
    waits: int

    @property
    def missing(self) -> bool:
        """Whether nothing was read at all."""
        return self.coverage is Coverage.MISSING

    def known(self, account: Account, amount: Decimal) -> Decimal | None:
        """An amount of an account, unless it is not known."""
        return None if self.missing or account in self.guessed else amount


def _judge(key: str, group: Group, *, coverages: Coverages) -> _Judged:
    alone = bool(group.positions) and key != "total" and not _is_period(key)
    beside = [] if alone else [coverages.of_account()]
    reads = {position.position_id: coverages.read(position) for position in group.positions}
    known = (coverages.of(one, read=reads[one.position_id]) for one in group.positions)
    coverage, read = worst([*known, *beside]), worst([*reads.values(), *beside])
    waits = sum(coverages.pending(position) for position in group.positions)
    guessed = coverages.unvalued(group.positions, whole=not alone)
    missing = coverage is Coverage.MISSING
    if (guessed or not group.valued or _unexplained(group)) and not missing:
        coverage = Coverage.PARTIAL
    unread = read is not Coverage.COMPLETE or waits > 0
    unpaid = missing or (unread and not group.pnl.funding)
    return _Judged(coverage=coverage, read=read, unpaid=unpaid, guessed=guessed, waits=waits)


def _unexplained(group: Group) -> dict[str, CoinTotal]:
    """What stands in suspense beside roundings, by coin: a purchase that nobody has explained is worth
    nothing in sum.
    """
    return {coin: item for coin, item in group.pnl.suspense_by_coin.items() if abs(item.value) > _ROUNDINGS}


def suspended(total: Group) -> tuple[str, ...]:
    """What stands in suspense, in words."""
    found = ", ".join(f"{plain(item.amount)} {coin}" for coin, item in _unexplained(total).items())
    if not found:
        return ()
    text = (
        f"in suspense and in no result: {found}; nobody has said what it was, see the account suspense in "
        "`fundarb report ledger`"
    )
    return (text,)


def unexplained(tied: TieOutRow) -> tuple[str, ...]:
    """What the venue's wallet shows and the books do not explain, in words."""
    missing = (tied.unexplained or ZERO) + (tied.pending or ZERO)
    if not missing:
        return ()
    more = "more" if missing > ZERO else "less"
    text = (
        f"the venue holds {plain(abs(missing))} USDT {more} than the books: a source has not shown it all, "
        "`fundarb reconcile` looks for it"
    )
    return (text,)


def partly(row: PnlRow) -> PnlRow:
    """The row of the account, or a total, to which something may belong that is in no book."""
    return replace(row, coverage=Coverage.PARTIAL) if row.coverage is Coverage.COMPLETE else row


def row(key: str, group: Group, *, coverages: Coverages) -> PnlRow:
    """A group as a row."""
    pnl, judged = group.pnl, _judge(key, group, coverages=coverages)
    whole = group.valued and not (judged.unpaid or judged.guessed)
    # a yield of some of the funding over all of the time would be none
    yields = whole and judged.read is Coverage.COMPLETE
    reason = group.time.no_yield() if yields else NOT_KNOWN
    rates = _Rates() if reason else _rates(group)
    bases = {position.base for position in group.positions}
    # what coins gained that came or went at an unknown worth, nobody can say either
    carried = not MOVED.isdisjoint(judged.guessed)
    realised = None if carried or Account.REALISED in judged.guessed else pnl.realised
    return PnlRow(
        key=key,
        funding=None if judged.unpaid else pnl.funding,
        basis_pnl=None if realised is None or not group.valued else pnl.basis_pnl,
        fees=judged.known(Account.FEES, pnl.fees),
        interest=judged.known(Account.INTEREST, pnl.interest),
        slippage=pnl.slippage,
        realised=realised,
        unrealised=None if carried or not group.valued else pnl.unrealised,
        net=pnl.net if whole else None,
        notional=_notional(group),
        days=(years(group.time.length) * 365).quantize(_DAYS),
        net_apr_on_capital=rates.net_on_capital,
        coverage=judged.coverage,
        base=bases.pop() if len(bases) == 1 else "",
        dust=pnl.dust,
        suspense=pnl.suspense,
        pending=judged.waits,
        fees_by_coin={} if judged.missing else pnl.fees_by_coin,
        net_apr_reason=reason,
        gross=pnl.gross if whole else None,
        gross_apr_on_capital=rates.gross_on_capital,
        net_apr_on_notional=rates.net_on_notional,
        gross_apr_on_notional=rates.gross_on_notional,
    )


class _Rates(NamedTuple):
    """Yearly rates, fractions; null where nothing is annualised."""

    net_on_capital: Decimal | None = None
    gross_on_capital: Decimal | None = None
    net_on_notional: Decimal | None = None
    gross_on_notional: Decimal | None = None


def _rates(group: Group) -> _Rates:
    own, time = group.own, group.time
    return _Rates(
        _ratio(time.on_capital(own.net)),
        _ratio(time.on_capital(own.gross)),
        _ratio(time.on_notional(own.net)),
        _ratio(time.on_notional(own.gross)),
    )


def _notional(group: Group) -> Decimal:
    """The mean over the time held, else what was decided."""
    mean = group.time.notional
    if mean is not None:
        return cash(mean)
    return sum((position.notional for position in group.positions), ZERO)


def _ratio(value: Decimal) -> Decimal:
    """A ratio of 12 places."""
    return value.quantize(_RATIO)


def _is_period(key: str) -> bool:
    """Whether a row is of a day or month: ``2026-11-22`` or ``2026-11``."""
    return key[:4].isdecimal() and key[4:5] == "-"


def judges(coverages: Coverages, key: str, *, by: By) -> Coverages:
    """What judges a row: that of the whole span, or of its day or month."""
    return coverages.within(*bounds(key)) if by in {By.DAY, By.MONTH} else coverages


def unmeasured(groups: Mapping[str, Group], total: Group) -> tuple[str, ...]:
    """Which days or months begin or end where no point of the equity curve is near, or have none."""
    names = [key for key, group in groups.items() if not group.valued and _is_period(key)]
    if not names:
        return ()
    where = ", only the total has it" if total.valued else ""
    return (f"prices of {', '.join(names)} were not measured: unrealised is not known{where}",)


def aged(groups: Mapping[str, Group]) -> tuple[str, ...]:
    """Which days or months end, as far as prices go, hours before their end: the rest is the next one's."""
    names = [
        f"{key} ({group.priced_at:%Y-%m-%d %H:%M})"
        for key, group in groups.items()
        if group.valued and group.priced_at is not None
    ]
    return (f"prices of these end at their last point: {', '.join(names)}",) if names else ()


def whole(groups: Mapping[str, Group]) -> Group:
    """The sum of all rows. A position that stands in several periods counts once; its time is the sum of its
    parts.
    """
    unique = {item.position_id: item for group in groups.values() for item in group.positions}
    found = Group(together([group.pnl for group in groups.values()]), list(unique.values()))
    found.own = together([group.own for group in groups.values()])
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
