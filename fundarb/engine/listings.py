"""The reports that list facts as they are: funding, trades, ledger. Field names are the JSON keys
of the command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from fundarb.core.ledger import Account, Entry, Journal
from fundarb.core.money import ZERO
from fundarb.core.orders import Leg, Side
from fundarb.core.pnl import Coverage, worst
from fundarb.engine.report_coverage import Coverages
from fundarb.engine.report_funding import why
from fundarb.engine.report_rows import ReportQuery
from fundarb.store.database import Store
from fundarb.store.ledger_log import Settlement


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingRow:
    """One settlement at which we held. ``received`` None: pending, the venue has not shown it. Amounts +
    = received.

    ``expected`` = contracts at the instant × mark × settled rate, None while rate or mark is unknown.
    ``difference`` = received − expected = ``by_rate`` + ``by_mark`` + ``unexplained``: what the venue paid by
    another rate or mark than those, and the rest (a rounding, 1e-8). ``source_id`` is the key of its row.
    """

    time: datetime
    symbol: str
    rate: Decimal | None
    expected: Decimal | None
    received: Decimal | None
    difference: Decimal | None
    source_id: str
    position_id: str
    contracts: Decimal
    mark: Decimal | None
    by_rate: Decimal | None
    by_mark: Decimal | None
    unexplained: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingReport:
    """``report funding``. ``received`` sums what was paid and ``expected`` what was to be expected of the
    very same rows, so that the two compare; ``pending`` counts the rows that were not, which are in neither.

    Both are None, never zero, while nothing of what was due is known; ``expected`` also where it cannot be
    told of a row that was paid (its rate or mark is unknown), and the coverage is then partial.
    """

    rows: tuple[FundingRow, ...]
    expected: Decimal | None
    received: Decimal | None
    pending: int
    coverage: Coverage = Coverage.COMPLETE
    warnings: tuple[str, ...] = ()


def funding(store: Store, query: ReportQuery) -> FundingReport:
    """Every settlement of the span, oldest first, and how much of it has been read."""
    now = store.clock.now()
    coverages = Coverages(store, now if query.until is None else min(query.until, now), since=query.since)
    positions = store.positions.all(since=query.since, until=query.until)
    found = store.ledger.log.settlements(since=query.since, until=query.until)
    rows = tuple(_funding_row(store, item) for item in found)
    expected, received = funding_totals(rows)
    coverage = worst([*(coverages.of(position) for position in positions), coverages.of_account()])
    if coverage is Coverage.COMPLETE and expected is None:
        coverage = Coverage.PARTIAL
    unknown = coverage is not Coverage.COMPLETE and not any(row.received for row in rows)
    return FundingReport(
        rows=rows,
        expected=None if unknown else expected,
        received=None if unknown else received,
        pending=sum(row.received is None for row in rows),
        coverage=coverage,
        warnings=coverages.unread(),
    )


def funding_totals(rows: Iterable[FundingRow]) -> tuple[Decimal | None, Decimal]:
    """Expected and received, summed over the rows that were paid; the first is None where it is of one."""
    paid = [(row.expected, row.received) for row in rows if row.received is not None]
    known = [expected for expected, _ in paid if expected is not None]
    expected = sum(known, ZERO) if len(known) == len(paid) else None
    return expected, sum((received for _, received in paid), ZERO)


def _funding_row(store: Store, item: Settlement) -> FundingRow:
    paid = store.ledger.log.row(item.source_id) if item.difference else None
    reason = why(item, paid)
    return FundingRow(
        time=item.settled_at,
        symbol=item.symbol,
        rate=item.rate,
        expected=item.expected,
        received=item.received,
        difference=item.difference,
        source_id=item.source_id,
        position_id=item.position_id,
        contracts=item.contracts,
        mark=item.mark,
        by_rate=None if reason is None else reason.rate,
        by_mark=None if reason is None else reason.mark,
        unexplained=None if reason is None else reason.rest,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeRow:
    """One execution of ours. ``realised`` and ``slippage`` in quote; ``fee`` in ``fee_coin``,
    ``fee_value`` in quote, + = expense.
    """

    time: datetime
    position_id: str
    leg: Leg
    symbol: str
    side: Side
    kind: str
    quantity: Decimal
    price: Decimal
    value: Decimal
    fee: Decimal
    fee_coin: str
    fee_value: Decimal
    realised: Decimal
    slippage: Decimal | None
    link_id: str
    source_id: str


def trades(store: Store, query: ReportQuery) -> tuple[TradeRow, ...]:
    """Every execution of ours in the span, oldest first."""
    rows = []
    for position in store.positions.all(since=query.since, until=query.until):
        inside = [
            item
            for item in store.executions.of_position(position.position_id)
            if (query.since is None or item.time >= query.since)
            and (query.until is None or item.time < query.until)
        ]
        journals = {item.key: item for item in store.ledger.read.of_keys(item.key for item in inside)}
        for item in inside:
            journal = journals.get(item.key)
            if journal is None or journal.leg is None or journal.position_id != position.position_id:
                continue
            values = {
                account: sum((entry.value for entry in _own(journal) if entry.account is account), ZERO)
                for account in (Account.FEES, Account.REALISED)
            }
            rows.append(
                TradeRow(
                    time=item.time,
                    position_id=position.position_id,
                    leg=journal.leg,
                    symbol=item.symbol,
                    side=item.side,
                    kind=item.raw_kind,
                    quantity=item.quantity,
                    price=item.price,
                    value=item.value,
                    fee=item.fee,
                    fee_coin=item.fee_coin,
                    fee_value=values[Account.FEES],
                    realised=-values[Account.REALISED],
                    slippage=journal.slippage,
                    link_id=item.link_id,
                    source_id=item.key,
                )
            )
    return tuple(sorted(rows, key=lambda row: (row.time, row.source_id)))


def _own(journal: Journal) -> Iterator[Entry]:
    """The entries of a fill's own position: what its fee coin gained is the account's."""
    return (entry for entry in journal.entries if entry.position_id == journal.position_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """One entry: ``amount`` in ``coin``, ``value`` in quote, debit + (a wallet grows with +, an income is
    −).
    """

    time: datetime
    key: str
    fact: str
    account: Account
    coin: str
    amount: Decimal
    value: Decimal
    symbol: str
    position_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """The sum of an account in one coin. ``value`` is its book value in quote; None where coins have none,
    because no price was known when they came.
    """

    account: Account
    coin: str
    amount: Decimal
    value: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerReport:
    """``report ledger``: the entries of the span in the order of booking, and the trial balance over
    everything.
    """

    rows: tuple[LedgerRow, ...]
    balances: tuple[Balance, ...]
    partial: bool = False
    """Whether ``rows`` are those of a span only."""


def ledger(store: Store, query: ReportQuery) -> LedgerReport:
    """Every entry of the span."""
    rows = tuple(
        LedgerRow(
            time=journal.at,
            key=journal.key,
            fact=journal.fact,
            account=entry.account,
            coin=entry.coin,
            amount=entry.amount,
            value=entry.value,
            symbol=journal.symbol,
            position_id=entry.position_id,
        )
        for journal in store.ledger.read.journals(since=query.since, until=query.until)
        for entry in journal.entries
    )
    return LedgerReport(
        rows=rows, balances=_balances(store), partial=query.since is not None or query.until is not None
    )


def _balances(store: Store) -> tuple[Balance, ...]:
    """Every account in every coin. One without coins can still have a value (what a fee's coins gained until
    they paid, what a loan's price moved before it was given back), and without it the rest would not add up
    to nothing.
    """
    sums: dict[tuple[Account, str], tuple[Decimal, Decimal]] = {}
    for item in store.ledger.read.totals():
        amount, value = sums.get((item.account, item.coin), (ZERO, ZERO))
        sums[item.account, item.coin] = (amount + item.amount, value + item.value)
    return tuple(
        Balance(account=account, coin=coin, amount=amount, value=value or None)
        for (account, coin), (amount, value) in sorted(sums.items())
        if amount or value
    )
