"""``report tax``: every disposal of coins with the lot that it came from, every result of a contract, every
payment, each with the key of the venue's own row.

Lots are of the whole account, not of one position, as tax offices see it. Fees are rows of their own: what
they do to cost or proceeds differs between countries. Field names are the JSON keys of the command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from itertools import groupby, pairwise
from typing import Final

from fundarb.core.ledger import QUOTE_COINS, Account
from fundarb.core.lots import Lot, LotMethod, Lots
from fundarb.core.money import CASH_STEP, ZERO, cash
from fundarb.core.pnl import Coverage
from fundarb.engine.report_rows import ReportQuery
from fundarb.store.database import Store
from fundarb.store.ledger_sums import TaxEntry

_WORDS: Final = {Account.FUNDING: "funding", Account.INTEREST: "interest", Account.FEES: "fee"}
_OPENING: Final = "OPENING"
_ELSEWHERE: Final = (_OPENING, "TRANSFER_IN")
"""Facts by which coins come that their owner had before: when he got them the books do not know."""
_PAIRED: Final = ("TRADE", "CONVERT", "CURRENCY", "SPOT_REPAYMENT", "LIQUIDATION")
_EXCHANGES: Final = ("CONVERT", "CURRENCY", "SPOT_REPAYMENT")
_BACK: Final = "reversal:"
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
    zero, where no other row says what the coins brought; the gain also for coins that went before they
    came. ``acquired`` is None for averaged lots and for coins that came before the books or from elsewhere,
    whose cost is their worth when they came. ``expense`` + = paid.
    """

    time: datetime
    kind: str
    asset: str
    quantity: Decimal
    acquired: datetime | None
    proceeds: Decimal | None
    cost: Decimal
    gain: Decimal | None
    expense: Decimal
    position_id: str | None
    source_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxLot:
    """Coins still held at the end of the span, at cost. ``outside``: carried out of the account, and still
    their owner's as far as the books know; coins that come back are lots of their own.
    """

    asset: str
    acquired: datetime | None
    quantity: Decimal
    cost: Decimal
    outside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxReport:
    """``report tax``. ``gains`` is the sum of all known gains less expenses under each method: the difference
    between them is in ``held``, never lost, as long as none is unknown. ``unknown`` counts the rows whose
    gain is in no sum because it is not known; ``coverage`` is then ``partial``.
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
        guessed = any(
            (query.until is None or item.since < query.until)
            and (query.since is None or item.until >= query.since)
            for item in store.ledger.unvalued.all()
            if item.account is not Account.EXTERNAL  # carried out unsold: no worth is asked for
        )
    found = tax_of(entries, query, method=method)
    return replace(found, coverage=Coverage.PARTIAL) if guessed else found


def tax_of(entries: Sequence[TaxEntry], query: ReportQuery, *, method: LotMethod) -> TaxReport:
    """The same of entries in the order of time, from the first one of the books to the end of the span."""
    made = {each: _Return(each) for each in LotMethod}
    for _, moment in groupby(_standing(entries), key=lambda item: item.at):
        facts = [(fact, fact.shares()) for fact in _facts(list(moment))]
        for each in made.values():
            each.book(facts)
    rows = {each: [row for row in found.rows if _inside(row, query)] for each, found in made.items()}
    unknown = sum(row.gain is None for row in rows[method])
    return TaxReport(
        rows=tuple(rows[method]),
        held=tuple(made[method].held()),
        lots=method,
        gains={
            each.value: sum(((row.gain or ZERO) - row.expense for row in found), ZERO)
            for each, found in rows.items()
        },
        unknown=unknown,
        coverage=Coverage.PARTIAL if unknown else Coverage.COMPLETE,
        method=METHOD,
    )


def _standing(entries: Sequence[TaxEntry]) -> Iterator[TaxEntry]:
    """The entries that stand: what was booked and taken back again is no fact."""
    back = {item.key.removeprefix(_BACK) for item in entries if item.key.startswith(_BACK)}
    return (item for item in entries if item.key.removeprefix(_BACK) not in back)


def _inside(row: TaxRow, query: ReportQuery) -> bool:
    return query.since is None or row.time >= query.since


class _Return:
    """All rows under one method."""

    def __init__(self, method: LotMethod) -> None:
        self._method = method
        self._lots: dict[str, Lots] = {}
        self._outside: list[TaxLot] = []
        self._debts: dict[str, Lots] = {}
        self.rows: list[TaxRow] = []

    def held(self) -> Iterator[TaxLot]:
        """What is left, in the account and then outside."""
        for asset, lots in sorted(self._lots.items()):
            for lot in lots.held:
                yield TaxLot(asset=asset, acquired=lot.acquired, quantity=lot.quantity, cost=lot.cost)
        yield from self._outside

    def book(self, moment: Iterable[tuple[_Fact, Mapping[int, Decimal]]]) -> None:
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

    def _money(self, item: TaxEntry, fact: _Fact) -> None:
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
            lots.acquire(Lot(came, item.amount, item.value if share is None else share))
            if against is Account.LOAN:
                self._debt(item.coin).acquire(Lot(None, item.amount, item.value))
            return
        sold = lots.dispose(-item.amount)
        if against is Account.EXTERNAL and item.fact == _OPENING:  # lent, and gone before the books
            self._disposed(item, [lot for lot in sold if lot.short], kind="sale", proceeds=None)
        elif against is Account.EXTERNAL:
            self._carried(item, sold)
        elif against is Account.LOAN:
            self._disposed(item, sold, kind="loan", proceeds=self._repaid(item))
        elif counter is not None and against in _WORDS:
            self._disposed(item, sold, kind=_WORDS[counter.account], proceeds=counter.value)
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
        worth = sum((lot.cost for lot in debt.dispose(ended)), ZERO)
        if ended and not worth:
            return None
        return worth + cash(-item.value * (quantity - ended) / quantity)

    def _carried(self, item: TaxEntry, lots: Iterable[Lot]) -> None:
        """Coins that leave the account with their dates and costs, unsold."""
        for lot in lots:
            self._outside.append(
                TaxLot(
                    asset=item.coin,
                    acquired=lot.acquired,
                    quantity=lot.quantity,
                    cost=lot.cost,
                    outside=True,
                )
            )
            self._parted(item, lot, kind="transfer", proceeds=lot.cost)

    def _disposed(self, item: TaxEntry, sold: Iterable[Lot], *, kind: str, proceeds: Decimal | None) -> None:
        """A row for each lot; proceeds by quantity."""
        parts = list(sold)
        shares: Sequence[Decimal | None] = (
            [None] * len(parts) if proceeds is None else _split(proceeds, [lot.quantity for lot in parts])
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
                cost=lot.cost,
                gain=None if proceeds is None or lot.short else proceeds - lot.cost,
            )
        )

    def _unexplained(self, item: TaxEntry) -> None:
        """Money that went (+) or came and nobody knows why; a rounding is none."""
        if abs(item.amount) > CASH_STEP:
            row = replace(_row(item, "suspense", gain=None), quantity=abs(item.amount))
            self.rows.append(replace(row, proceeds=None, cost=max(item.amount, ZERO)))

    def _payment(self, item: TaxEntry, fact: _Fact) -> None:
        """A payment, a result of a contract, or an expense."""
        kind = _WORDS.get(item.account)
        if item.account is Account.FEES:
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


class _Fact:
    """The entries of one fact, each side of its exchange of coins, if it is one."""

    def __init__(self, entries: Sequence[TaxEntry]) -> None:
        """``counters`` says against what each movement of a wallet was booked, by the identity of its
        entry: a journal has it right behind, and an amount alone would take a fee for a loss that is as
        large. A spot trade of ours has none, its costs being left out.
        """
        self.entries = entries
        self.counters = {
            id(item): other
            for item, other in pairwise(entries)
            if item.account is Account.WALLET
            and other.account is not Account.WALLET
            and (other.key, other.coin, other.amount) == (item.key, item.coin, -item.amount)
        }
        swapped = [item for item in entries if item.account is Account.WALLET and self._swaps(item)]
        self.coins = [item for item in swapped if item.coin not in QUOTE_COINS]
        self._money = [item for item in swapped if item.coin in QUOTE_COINS]

    def moved_cash(self, item: TaxEntry) -> bool:
        """Whether this is a result that a wallet was changed by: what is realised without it is only told
        apart between positions.
        """
        return item.account is Account.REALISED and any(item is other for other in self.counters.values())

    def _swaps(self, item: TaxEntry) -> bool:
        counter = self.counters.get(id(item))
        return counter is None or counter.account is Account.REALISED

    @property
    def complete(self) -> bool:
        """Whether there are two sides."""
        sides = {item.amount > ZERO for item in (*self.coins, *self._money)}
        return len(sides) == 2

    def shares(self) -> dict[int, Decimal]:
        """What the coins cost or brought, by the identity of their entries; left out where it is not known:
        the other side is missing or has no worth, or coins of several kinds went for one sum.
        """
        found: dict[int, Decimal] = {}
        for sign in (1, -1) if self.coins else ():
            side = [item for item in self.coins if item.amount * sign > ZERO]
            others = [item for item in self.coins if item.amount * sign < ZERO]
            worth = self._worth(others, sign=sign)
            if not side or worth is None or len({item.coin for item in side}) > 1:
                continue
            parts = _split(worth, [abs(item.amount) for item in side])
            found.update((id(item), part) for item, part in zip(side, parts, strict=True))
        return found

    def _worth(self, others: Sequence[TaxEntry], *, sign: int) -> Decimal | None:
        """What stands on the other side of coins that came (+1: what they cost) or went (−1: what they
        brought).
        """
        money = -sign * sum((item.amount for item in self._money), ZERO)
        if sign > 0 and others:
            return None  # coins for coins: they came at their price
        if not self.complete or money < ZERO or any(not item.value for item in others):
            return None
        return money + sum((item.value for item in others), ZERO)


def _facts(moment: Sequence[TaxEntry]) -> list[_Fact]:
    """What belongs together of one instant: a journal's entries, and the rows that the log has of one
    exchange of coins. Those have their trade in common, else their number, else nothing but the instant, the
    kind and the symbol.
    """
    found: dict[str, list[TaxEntry]] = {}
    for item in moment:
        found.setdefault(_name(item, moment), []).append(item)
    return [_Fact(entries) for entries in found.values()]


def _name(item: TaxEntry, moment: Sequence[TaxEntry]) -> str:
    if not (item.key.startswith("tx:") and item.fact.startswith(_PAIRED)):
        return item.key
    _, number, kind, _, trade, _ = item.key.split(":", 5)
    if trade:
        return f"{kind}:{trade}"
    mates = {other.key for other in moment if other.key.startswith(f"tx:{number}:{kind}:")}
    return f"{kind}:{number}" if len(mates) > 1 else f"{kind}::{item.symbol}"


def _split(total: Decimal, weights: Sequence[Decimal]) -> list[Decimal]:
    """A sum in proportion to the weights; the last takes the rest."""
    whole = sum(weights, ZERO)
    parts = [cash(total * weight / whole) for weight in weights[:-1]]
    return [*parts, total - sum(parts, ZERO)]
