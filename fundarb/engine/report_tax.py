"""``report tax``: every disposal of coins with the lot that it came from, every result of a contract, every
payment, each with the key of the venue's own row.

Lots are of the whole account, not of one position, as tax offices see it. Fees are rows of their own: what
they do to cost or proceeds differs between countries. Field names are the JSON keys of the command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Final

from fundarb.core.ledger import QUOTE_COINS, Account
from fundarb.core.lots import Lot, LotMethod, Lots
from fundarb.core.money import ZERO, cash
from fundarb.core.orders import Leg
from fundarb.engine.report_rows import ReportQuery
from fundarb.store.database import Store
from fundarb.store.ledger_sums import TaxEntry

_WORDS: Final = {Account.FUNDING: "funding", Account.INTEREST: "interest", Account.FEES: "fee"}
_PAIRED: Final = ("TRADE", "CONVERT", "CURRENCY", "SPOT_REPAYMENT", "LIQUIDATION")
METHOD: Final = "lots of the whole account; fees are rows of their own; USDC taken one for one with USDT"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxRow:
    """One taxable fact, amounts in quote. ``kind``: ``sale`` of coins, ``fee`` (paid in coins: a disposal at
    their worth; and in any case an expense), ``perp`` (a contract closed), ``funding``, ``interest``.

    ``gain`` = proceeds − cost for a disposal, else the amount received (+) or paid (−). ``acquired`` is None
    for averaged lots and for coins that came before the books. ``expense`` + = paid.
    """

    time: datetime
    kind: str
    asset: str
    quantity: Decimal
    acquired: datetime | None
    proceeds: Decimal
    cost: Decimal
    gain: Decimal
    expense: Decimal
    position_id: str | None
    source_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxLot:
    """Coins still held at the end of the span, at cost."""

    asset: str
    acquired: datetime | None
    quantity: Decimal
    cost: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxReport:
    """``report tax``. ``gains`` is the sum of all gains less expenses under each method: the difference
    between them is in ``held``, never lost.
    """

    rows: tuple[TaxRow, ...]
    held: tuple[TaxLot, ...]
    lots: LotMethod
    gains: dict[str, Decimal]
    method: str


def tax(store: Store, query: ReportQuery, *, method: LotMethod) -> TaxReport:
    """The span's disposals and payments, by the lots of everything before it."""
    with store.reading():
        entries = store.ledger.read.tax_entries(until=query.until)
    made = {each: _Return(each).made(entries) for each in LotMethod}
    rows = {each: [row for row in found.rows if _inside(row, query)] for each, found in made.items()}
    return TaxReport(
        rows=tuple(rows[method]),
        held=tuple(made[method].held()),
        lots=method,
        gains={
            each.value: sum((row.gain - row.expense for row in found), ZERO) for each, found in rows.items()
        },
        method=METHOD,
    )


def _inside(row: TaxRow, query: ReportQuery) -> bool:
    return query.since is None or row.time >= query.since


class _Return:
    """All rows under one method."""

    def __init__(self, method: LotMethod) -> None:
        self._method = method
        self._lots: dict[str, Lots] = {}
        self.rows: list[TaxRow] = []

    def made(self, entries: Sequence[TaxEntry]) -> _Return:
        """Fact by fact, in the order of time; the rows of one exchange of coins count as one fact."""
        for _, group in groupby(entries, key=_fact):
            self._book(list(group))
        return self

    def held(self) -> Iterator[TaxLot]:
        """What is left."""
        for asset, lots in sorted(self._lots.items()):
            for lot in lots.held:
                yield TaxLot(asset=asset, acquired=lot.acquired, quantity=lot.quantity, cost=lot.cost)

    def _book(self, fact: Sequence[TaxEntry]) -> None:
        received = sum(
            (item.amount for item in fact if item.coin in QUOTE_COINS and item.account is Account.WALLET),
            ZERO,
        )
        quote_fees = sum(
            (item.amount for item in fact if item.coin in QUOTE_COINS and item.account is Account.FEES), ZERO
        )
        for item in fact:
            if item.account is Account.WALLET and item.coin not in QUOTE_COINS:
                self._coins(item, fact, proceeds=received + quote_fees)
            elif item.account in _WORDS or (item.account is Account.REALISED and item.leg is Leg.PERP):
                self._payment(item)

    def _coins(self, item: TaxEntry, fact: Sequence[TaxEntry], *, proceeds: Decimal) -> None:
        """Coins in or out of the wallet."""
        lots = self._lots.setdefault(item.coin, Lots(self._method))
        if item.amount > ZERO:
            lots.acquire(Lot(item.at, item.amount, item.value))
            return
        sold = lots.dispose(-item.amount)
        if any(other.account in {Account.EXTERNAL, Account.LOAN} for other in fact):
            return  # carried away, not sold
        fee = next(
            (
                other.value
                for other in fact
                if other.account is Account.FEES and other.coin == item.coin and other.amount == -item.amount
            ),
            None,
        )
        worth = fee if fee is not None else max(proceeds, ZERO)
        self._disposed(item, sold, kind="sale" if fee is None else "fee", proceeds=worth)

    def _disposed(self, item: TaxEntry, sold: Iterable[Lot], *, kind: str, proceeds: Decimal) -> None:
        """A row for each lot; proceeds in proportion, the last takes the rest."""
        whole, left, parts = -item.amount, proceeds, list(sold)
        for number, lot in enumerate(parts):
            share = left if number + 1 == len(parts) else cash(proceeds * lot.quantity / whole)
            left -= share
            self.rows.append(
                replace(
                    _row(item, kind),
                    quantity=lot.quantity,
                    acquired=lot.acquired,
                    proceeds=share,
                    cost=lot.cost,
                    gain=share - lot.cost,
                )
            )

    def _payment(self, item: TaxEntry) -> None:
        """A payment, a result of a contract, or an expense."""
        kind = _WORDS.get(item.account, "perp")
        if item.account is Account.FEES:
            self.rows.append(replace(_row(item, kind), expense=item.value))
        else:
            self.rows.append(replace(_row(item, kind), gain=-item.value))


def _row(item: TaxEntry, kind: str) -> TaxRow:
    return TaxRow(
        time=item.at,
        kind=kind,
        asset=item.coin if kind in {"sale", "fee", "interest"} else item.symbol,
        quantity=ZERO,
        acquired=None,
        proceeds=ZERO,
        cost=ZERO,
        gain=ZERO,
        expense=ZERO,
        position_id=item.position_id,
        source_id=item.key,
    )


def _fact(item: TaxEntry) -> tuple[datetime, str]:
    """What belongs together: a journal's entries, and the two rows that the log has of one exchange of
    coins.
    """
    if item.key.startswith("tx:") and item.fact.startswith(_PAIRED):
        _, number, kind, _, trade, _ = item.key.split(":", 5)
        return item.at, f"{kind}:{trade or number}"
    return item.at, item.key
