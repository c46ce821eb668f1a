"""``report tax``: every disposal of coins with the lot that it came from, every result of a contract, every
payment, each with the key of the venue's own row.

Lots are of the whole account, not of one position, as tax offices see it. Fees are rows of their own: what
they do to cost or proceeds differs between countries. Field names are the JSON keys of the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Final

from fundarb.core.ledger import QUOTE_COINS, Account
from fundarb.core.lots import Lot, LotMethod, Lots
from fundarb.core.money import CASH_STEP, ZERO, cash
from fundarb.core.pnl import Coverage
from fundarb.core.postings import REVERSAL_PREFIX
from fundarb.engine.report_rows import ReportQuery
from fundarb.engine.tax_facts import Fact, facts_of, split
from fundarb.store.database import Store
from fundarb.store.ledger_sums import TaxEntry
from fundarb.store.unvalued import Unvalued

_WORDS: Final = {Account.FUNDING: "funding", Account.INTEREST: "interest", Account.FEES: "fee"}
_OPENING: Final = "OPENING"
_ELSEWHERE: Final = (_OPENING, "TRANSFER_IN")
"""Facts by which coins come that their owner had before: when he got them the books do not know."""
_EXCHANGES: Final = ("CONVERT", "CURRENCY", "SPOT_REPAYMENT")
METHOD: Final = (
    "lots of the whole account; fees are rows of their own; USDC taken one for one with USDT; "
    "coins owned before the books or brought from elsewhere have no date, and as cost what they were worth "
    "when they came"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxRow:
    """One taxable fact, amounts in quote. ``kind``: ``sale`` of coins, ``fee`` and ``interest`` (paid in
    coins: a disposal at their worth; and in any case a row of what was paid), ``perp`` (a contract closed),
    ``funding``, ``exchange`` (of one quote coin for another), ``loan`` (coins given back: they bring what
    the debt was worth when it was made), ``transfer`` (coins carried out of the account: no disposal, so they
    bring what they cost and stay held), ``suspense`` (coins gone, or money that came or went, and nobody
    knows why).

    ``gain`` = proceeds − cost for a disposal, else the amount received (+) or paid (−). Both are None, never
    zero, where no other row says what the coins brought; the gain also for coins that went before they came,
    and with ``cost`` for those whose worth nobody knew when they came. ``acquired`` is None for averaged lots
    and for coins that came before the books or from elsewhere, whose cost is their worth when they came.
    ``expense`` + = paid; None, with the gain, where nobody knows what the coins that paid were worth.
    """

    time: datetime
    kind: str
    asset: str
    quantity: Decimal
    acquired: datetime | None
    proceeds: Decimal | None
    cost: Decimal | None
    gain: Decimal | None
    expense: Decimal | None
    position_id: str | None
    source_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxLot:
    """Coins still held at the end of the span, at cost; None where that is not known. ``outside``: carried
    out of the account, and still their owner's as far as the books know; coins that come back are lots of
    their own.
    """

    asset: str
    acquired: datetime | None
    quantity: Decimal
    cost: Decimal | None
    outside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxReport:
    """``report tax``. ``gains`` is the sum of all known gains less expenses under each method: the difference
    between them is in ``held``, never lost, as long as none is unknown. ``unknown`` counts the rows whose
    gain is in no sum because it is not known; ``coverage`` is then ``partial``, and also where the cost of
    what is held is not known.
    """

    rows: tuple[TaxRow, ...]
    held: tuple[TaxLot, ...]
    lots: LotMethod
    gains: dict[str, Decimal]
    unknown: int
    coverage: Coverage
    method: str


def tax(store: Store, query: ReportQuery, *, method: LotMethod) -> TaxReport:
    """The span's disposals and payments, by the lots of everything before it."""
    with store.reading():
        entries = store.ledger.read.tax_entries(until=query.until)
        found = tax_of(entries, query, method=method, guessed=_Worths(store).guessed)
        guessed = any(
            (query.until is None or item.since < query.until)
            and (query.since is None or item.until >= query.since)
            for item in store.ledger.unvalued.all()
            if item.account is not Account.EXTERNAL or _came(item, entries)
        )
    if store.ledger.opened_at is None:
        return replace(found, coverage=Coverage.MISSING)  # nothing is known of an account without books
    return replace(found, coverage=Coverage.PARTIAL) if guessed else found


def _came(item: Unvalued, entries: Iterable[TaxEntry]) -> bool:
    """Whether any of these coins came in at the time: what is carried out unsold, no worth is asked for."""
    return any(
        entry.account is Account.WALLET and entry.coin == item.coin and item.since <= entry.at <= item.until
        for entry in entries
        if entry.amount > ZERO
    )


class _Worths:
    """Whose value nobody knows, of the entries of one database."""

    def __init__(self, store: Store) -> None:
        """Reads what was booked without a worth."""
        self._unvalued = store.ledger.unvalued.all()
        self._opening = store.ledger.opening_unpriced
        self._near = store.ledger.price_near

    def guessed(self, item: TaxEntry) -> bool:
        """Whether an entry's value is nothing for want of a price, or made of a price of another time."""
        if item.fact == _OPENING:
            return _worthless(item) if self._opening is None else item.coin in self._opening
        named = any(
            (known.account, known.coin, known.position_id) == (item.account, item.coin, item.position_id)
            and known.since <= item.at <= known.until
            for known in self._unvalued
        )
        return named and (_worthless(item) or self._near(item.coin, item.at) is None)


def _worthless(item: TaxEntry) -> bool:
    return not item.value


def tax_of(
    entries: Sequence[TaxEntry],
    query: ReportQuery,
    *,
    method: LotMethod,
    guessed: Callable[[TaxEntry], bool] = _worthless,
) -> TaxReport:
    """The same of entries in the order of time, from the first one of the books to the end of the span;
    ``guessed`` tells whether nobody knows what an entry is worth.
    """
    made = {each: _Return(each, guessed) for each in LotMethod}
    for _, moment in groupby(_standing(entries), key=lambda item: item.at):
        facts = [(fact, fact.shares()) for fact in facts_of(list(moment))]
        for each in made.values():
            each.book(facts)
    rows = {each: [row for row in found.rows if _inside(row, query)] for each, found in made.items()}
    unknown = sum(row.gain is None for row in rows[method])
    held = tuple(made[method].held())
    open_costs = unknown or any(lot.cost is None for lot in held)
    return TaxReport(
        rows=tuple(rows[method]),
        held=held,
        lots=method,
        gains={
            each.value: sum(((row.gain or ZERO) - (row.expense or ZERO) for row in found), ZERO)
            for each, found in rows.items()
        },
        unknown=unknown,
        coverage=Coverage.PARTIAL if open_costs else Coverage.COMPLETE,
        method=METHOD,
    )


def _standing(entries: Sequence[TaxEntry]) -> Iterator[TaxEntry]:
    """The entries that stand: what was booked and taken back again is no fact."""
    back = {
        item.key.removeprefix(REVERSAL_PREFIX) for item in entries if item.key.startswith(REVERSAL_PREFIX)
    }
    return (item for item in entries if item.key.removeprefix(REVERSAL_PREFIX) not in back)


def _inside(row: TaxRow, query: ReportQuery) -> bool:
    return query.since is None or row.time >= query.since


class _Return:
    """All rows under one method."""

    def __init__(self, method: LotMethod, guessed: Callable[[TaxEntry], bool]) -> None:
        self._method = method
        self._guessed = guessed
        self._lots: dict[str, Lots] = {}
        self._outside: list[TaxLot] = []
        self._debts: dict[str, Lots] = {}
        self.rows: list[TaxRow] = []

    def held(self) -> Iterator[TaxLot]:
        """What is left, in the account and then outside."""
        for asset, lots in sorted(self._lots.items()):
            for lot in lots.held:
                yield TaxLot(asset=asset, acquired=lot.acquired, quantity=lot.quantity, cost=lot.known_cost)
        yield from self._outside

    def book(self, moment: Iterable[tuple[Fact, Mapping[int, Decimal]]]) -> None:
        """The facts of the next instant, each with its ``shares``. Their order is nobody's: what comes at an
        instant can go at it.
        """
        for came in (True, False):
            for fact, shares in moment:
                for item in fact.entries:
                    if item.account is Account.WALLET and item.coin not in QUOTE_COINS:
                        if (item.amount > ZERO) is came:
                            self._coins(item, fact.counters.get(id(item)), share=shares.get(id(item)))
                    elif not came:
                        self._money(item, fact)

    def _money(self, item: TaxEntry, fact: Fact) -> None:
        """What is no movement of coins."""
        if item.account in _WORDS or (fact.moved_cash(item) and not fact.coins):
            self._payment(item, fact)
        elif item.account is Account.SUSPENSE and item.coin in QUOTE_COINS:
            self._unexplained(item)

    def _coins(self, item: TaxEntry, counter: TaxEntry | None, *, share: Decimal | None) -> None:
        """Coins in or out of the wallet; ``share`` is what the exchange that they belong to says they cost
        or brought.
        """
        lots = self._lots.setdefault(item.coin, Lots(self._method))
        against = None if counter is None else counter.account
        if item.amount > ZERO:
            came = None if against is Account.EXTERNAL and item.fact.startswith(_ELSEWHERE) else item.at
            cost = item.value if share is None else share
            unknown = share is None and self._guessed(counter or item)
            lots.acquire(Lot(came, item.amount, cost, unknown=unknown))
            if against is Account.LOAN:
                self._debt(item.coin).acquire(Lot(None, item.amount, item.value, unknown=unknown))
            return
        sold = lots.dispose(-item.amount)
        if against is Account.EXTERNAL and item.fact == _OPENING:  # lent, and gone before the books
            self._disposed(item, [lot for lot in sold if lot.short], kind="sale", proceeds=None)
        elif against is Account.EXTERNAL:
            self._carried(item, sold)
        elif against is Account.LOAN:
            self._disposed(item, sold, kind="loan", proceeds=self._repaid(item))
        elif counter is not None and against in _WORDS:
            worth = None if self._guessed(counter) else counter.value
            self._disposed(item, sold, kind=_WORDS[counter.account], proceeds=worth)
        else:
            kind = "suspense" if against is Account.SUSPENSE else "sale"
            self._disposed(item, sold, kind=kind, proceeds=share)

    def _debt(self, coin: str) -> Lots:
        """What is owed of a coin, at its worth when it was lent: the same under every method."""
        return self._debts.setdefault(coin, Lots(LotMethod.AVERAGE))

    def _repaid(self, item: TaxEntry) -> Decimal | None:
        """What coins that go back to their lender bring: the debt that they end. Beyond what the books know
        of a debt they bring their book value; None where the debt was never valued.
        """
        debt, quantity = self._debt(item.coin), -item.amount
        owed = sum((lot.quantity for lot in debt.held), ZERO)
        ended = min(owed, quantity)
        parts = debt.dispose(ended)
        if any(part.unknown for part in parts):
            return None
        return sum((part.cost for part in parts), ZERO) + cash(-item.value * (quantity - ended) / quantity)

    def _carried(self, item: TaxEntry, lots: Iterable[Lot]) -> None:
        """Coins that leave the account with their dates and costs, unsold."""
        for lot in lots:
            self._outside.append(
                TaxLot(
                    asset=item.coin,
                    acquired=lot.acquired,
                    quantity=lot.quantity,
                    cost=lot.known_cost,
                    outside=True,
                )
            )
            self._parted(item, lot, kind="transfer", proceeds=lot.known_cost)
            self.rows[-1] = replace(self.rows[-1], gain=self.rows[-1].gain if lot.short else ZERO)

    def _disposed(self, item: TaxEntry, sold: Iterable[Lot], *, kind: str, proceeds: Decimal | None) -> None:
        """A row for each lot; proceeds by quantity."""
        parts = list(sold)
        shares: Sequence[Decimal | None] = (
            [None] * len(parts) if proceeds is None else split(proceeds, [lot.quantity for lot in parts])
        )
        for lot, share in zip(parts, shares, strict=True):
            self._parted(item, lot, kind=kind, proceeds=share)

    def _parted(self, item: TaxEntry, lot: Lot, *, kind: str, proceeds: Decimal | None) -> None:
        """A lot that went."""
        self.rows.append(
            replace(
                _row(item, kind),
                quantity=lot.quantity,
                acquired=lot.acquired,
                proceeds=proceeds,
                cost=lot.known_cost,
                gain=None if proceeds is None or lot.short or lot.unknown else proceeds - lot.cost,
            )
        )

    def _unexplained(self, item: TaxEntry) -> None:
        """Money that went (+) or came and nobody knows why; a rounding is none."""
        if abs(item.amount) > CASH_STEP:
            row = replace(_row(item, "suspense", gain=None), quantity=abs(item.amount))
            self.rows.append(replace(row, proceeds=None, cost=max(item.amount, ZERO)))

    def _payment(self, item: TaxEntry, fact: Fact) -> None:
        """A payment, a result of a contract, or an expense."""
        kind = _WORDS.get(item.account)
        if kind is not None and self._guessed(item):
            self.rows.append(replace(_row(item, kind, gain=None), expense=None))
        elif item.account is Account.FEES:
            self.rows.append(_row(item, "fee", expense=item.value))
        elif kind is not None:
            self.rows.append(_row(item, kind, gain=-item.value))
        elif item.fact.startswith(_EXCHANGES):
            self.rows.append(_row(item, "exchange", gain=-item.value if fact.complete else None))
        else:
            self.rows.append(_row(item, "perp", gain=-item.value))


def _row(item: TaxEntry, kind: str, *, gain: Decimal | None = ZERO, expense: Decimal = ZERO) -> TaxRow:
    """A row without coins: a payment or an expense."""
    return TaxRow(
        time=item.at,
        kind=kind,
        asset=item.symbol if kind in {"perp", "funding"} else item.coin,
        quantity=ZERO,
        acquired=None,
        proceeds=ZERO,
        cost=ZERO,
        gain=gain,
        expense=expense,
        position_id=item.position_id,
        source_id=item.key,
    )
