"""The reports that list facts as they are: funding, trades, ledger. Field names are the JSON keys
of the command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from fundarb.core.ledger import Account
from fundarb.core.money import ZERO
from fundarb.core.orders import Leg, Side
from fundarb.engine.report_rows import ReportQuery
from fundarb.store.database import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingRow:
    """One settlement at which we held. ``received`` None: pending, the venue has not shown it. Amounts +
    = received.

    ``expected`` = contracts at the instant × mark × settled rate, None while rate or mark is unknown; the
    difference to what was received is the venue's rounding. ``source_id`` is the key of the venue's row.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingReport:
    """``report funding``. ``received`` sums what was paid, ``expected`` what could be computed;
    ``pending`` counts the missing.
    """

    rows: tuple[FundingRow, ...]
    expected: Decimal
    received: Decimal
    pending: int


def funding(store: Store, query: ReportQuery) -> FundingReport:
    """Every settlement of the span, oldest first."""
    rows = tuple(
        FundingRow(
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
        )
        for item in store.ledger.log.settlements(since=query.since, until=query.until)
    )
    return FundingReport(
        rows=rows,
        expected=sum((row.expected for row in rows if row.expected is not None), ZERO),
        received=sum((row.received for row in rows if row.received is not None), ZERO),
        pending=sum(row.received is None for row in rows),
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
        journals = {item.key: item for item in store.ledger.read.journals(position_id=position.position_id)}
        for item in store.executions.of_position(position.position_id):
            journal = journals.get(item.key)
            inside = (query.since is None or item.time >= query.since) and (
                query.until is None or item.time < query.until
            )
            if journal is None or journal.leg is None or not inside:
                continue
            values = {
                account: sum((entry.value for entry in journal.entries if entry.account is account), ZERO)
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
    """The sum of an account in one coin."""

    account: Account
    coin: str
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerReport:
    """``report ledger``: the entries of the span in the order of booking, and the trial balance over
    everything.
    """

    rows: tuple[LedgerRow, ...]
    balances: tuple[Balance, ...]


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
    balances = tuple(
        Balance(account=account, coin=coin, amount=amount)
        for (account, coin), amount in sorted(store.ledger.read.balances().items())
    )
    return LedgerReport(rows=rows, balances=balances)
