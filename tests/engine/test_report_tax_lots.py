"""The lots behind the tax export, over histories that nobody would think of: no method loses anything."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby, permutations
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.ledger import POOL, QUOTE_COINS, Account, Booked, Holding, HoldingKey
from fundarb.core.lots import LotMethod
from fundarb.core.money import cash
from fundarb.core.orders import Leg, Side
from fundarb.core.pnl import Coverage
from fundarb.core.postings import Fill, OpeningBalance, execution_journal, opening_journal
from fundarb.core.transactions import transaction_journal
from fundarb.engine.report_rows import ReportQuery
from fundarb.engine.report_tax import TaxReport, tax_of
from fundarb.store.ledger_sums import TaxEntry
from tests.core.test_ledger_postings import PERP, POSITION, SPOT, execution, row
from tests.factories import known

D = Decimal
START = datetime(2026, 1, 5, tzinfo=UTC)
COINS: Final = ("BTC", "MNT", "ETH")
IN: Final = ("TRANSFER_IN", "BORROW", "AIRDROP")
OUT: Final = ("TRANSFER_OUT", "REPAY", "INTEREST")
_NONE: Final = Holding()

deeds = st.lists(
    st.tuples(
        st.sampled_from((*IN, *OUT, "buy", "sell", "short", "cover", "SETTLEMENT")),
        st.sampled_from(COINS),
        st.decimals("0.01", "3", places=2),
        st.decimals("1", "999", places=1),
        st.sampled_from(("USDT", "BTC", "MNT")),
    ),
    min_size=1,
    max_size=25,
)


@dataclass
class Books:
    """A ledger without a database: what is held, every entry, and what is owed at its worth."""

    held: dict[HoldingKey, Holding] = field(default_factory=dict)
    entries: list[TaxEntry] = field(default_factory=list)
    owed: dict[str, Holding] = field(default_factory=dict)
    away: dict[str, Decimal] = field(default_factory=dict)
    count: int = 0

    def pool(self, coin: str) -> Decimal:
        """How many coins are nobody's."""
        return self.held.get(HoldingKey(POOL, coin), _NONE).quantity

    def book(self, booked: Booked) -> None:
        """Keep a journal as the export reads it."""
        self.held |= booked.holdings
        journal = booked.journal
        self.entries += [
            TaxEntry(
                at=journal.at,
                key=journal.key,
                fact=journal.fact,
                symbol=journal.symbol,
                account=entry.account,
                coin=entry.coin,
                amount=entry.amount,
                value=entry.value,
                position_id=entry.position_id,
                leg=entry.leg,
            )
            for entry in journal.entries
            if entry.account is not Account.POSITION_COST
        ]

    def open(self, coin: str, amount: Decimal, *, borrowed: Decimal) -> None:
        """What was there before."""
        balance = OpeningBalance(coin=coin, amount=amount, borrowed=borrowed, price=D(100))
        self.book(opening_journal(balance, self.held, at=START))
        self.owed[coin] = Holding(borrowed, 100 * borrowed)

    def live(self, deed: str, coin: str, amount: Decimal, *, price: Decimal, fee_coin: str) -> None:
        """One deed, as far as there is enough for it."""
        self.count += 1
        at = START + self.count * timedelta(hours=1)
        if deed in {"buy", "sell", "short", "cover"}:
            self._trade(deed, amount, price=price, fee_coin=fee_coin, at=at)
            return
        if deed == "SETTLEMENT":
            made = row(deed, funding=amount, id=str(self.count), time=at)
            self.book(transaction_journal(made, self.held))
            return
        if deed in OUT:
            amount = -min(amount, self.pool(coin), self.owed[coin].quantity if deed == "REPAY" else amount)
        made = row(deed, coin, cash_flow=amount, id=str(self.count), time=at)
        booked = transaction_journal(made, self.held, price=price)
        self.book(booked)
        moved = sum((e.value for e in booked.journal.entries if e.account is Account.WALLET), D(0))
        if deed in {"BORROW", "REPAY"}:
            owed = self.owed[coin]
            self.owed[coin] = owed.move(amount, moved if amount > 0 else amount * (owed.average or 0))[0]
        if deed == "TRANSFER_OUT":
            worth = sum((e.value for e in booked.journal.entries if e.account is Account.EXTERNAL), D(0))
            self.away[coin] = self.away.get(coin, D(0)) + worth

    def _trade(self, deed: str, amount: Decimal, *, price: Decimal, fee_coin: str, at: datetime) -> None:
        leg = Leg.SPOT if deed in {"buy", "sell"} else Leg.PERP
        side = Side.BUY if deed in {"buy", "cover"} else Side.SELL
        mine = self.held.get(SPOT if leg is Leg.SPOT else PERP, _NONE).quantity
        if deed in {"sell", "cover"}:
            amount = min(amount, abs(mine))
        fee = (
            cash(amount / 1000)
            if deed == "buy" or fee_coin == "USDT"
            else min(D("0.002"), self.pool(fee_coin))
        )
        if deed != "buy" and not fee:
            fee_coin = "USDT"
        if not amount:
            return
        made = execution(leg, side, str(amount), str(price))
        coin = "BTC" if deed == "buy" else fee_coin
        made = replace(made, exec_id=str(self.count), time=at, fee=fee, fee_coin=coin)
        self.book(
            execution_journal(Fill(execution=made, position=POSITION, leg=leg, fee_price=price), self.held)
        )

    def result(self, prices: dict[str, Decimal]) -> Decimal:
        """All that was made, by the books: results, unrealised gains, and what the debts cost by now."""
        made = D(0)
        for item in self.entries:
            if item.account not in {Account.WALLET, Account.EXTERNAL, Account.LOAN}:
                made -= item.value
            elif item.account is Account.LOAN and item.coin not in QUOTE_COINS:
                made += item.amount * prices[item.coin] - item.value
        return (
            made
            + self.contracts(prices)
            + sum(
                (held.unrealised(prices[key.asset]) for key, held in self.held.items() if key != PERP), D(0)
            )
        )

    def contracts(self, prices: dict[str, Decimal]) -> Decimal:
        """What the contracts would gain."""
        return self.held.get(PERP, _NONE).unrealised(prices["BTC"])


def total(found: TaxReport, books: Books, prices: dict[str, Decimal], *, method: LotMethod) -> Decimal:
    """Gains less expenses, and what all lots, contracts and debts would gain; coins carried away at what they
    were worth then.
    """
    lots = sum(
        (lot.quantity * prices[lot.asset] - known(lot.cost) for lot in found.held if not lot.outside), D(0)
    )
    away = sum(books.away.values(), D(0)) - sum((known(lot.cost) for lot in found.held if lot.outside), D(0))
    debts = sum((owed.cost - owed.quantity * prices[coin] for coin, owed in books.owed.items()), D(0))
    return found.gains[method.value] + lots + away + debts + books.contracts(prices)


@given(deeds, st.tuples(*[st.decimals("1", "999", places=1)] * 3))
def test_no_method_makes_or_loses_money(
    lived: list[tuple[str, str, Decimal, Decimal, str]], prices: tuple[Decimal, ...]
) -> None:
    """Whatever is bought, sold, lent (and sold before the books were opened), given back, carried in and out
    and paid in three coins: what was realised and what is held are the same under either method and in the
    books.
    """
    books, last = Books(), dict(zip(COINS, prices, strict=True))
    for coin in COINS:
        books.open(coin, D(1), borrowed=D("1.5") if coin == "ETH" else D(0))
    for deed, coin, amount, price, fee_coin in lived:
        books.live(deed, coin, amount, price=price, fee_coin=fee_coin)
    made = {}
    for method in LotMethod:
        found = tax_of(books.entries, ReportQuery(), method=method)
        assert found.coverage is Coverage.COMPLETE
        for coin in COINS:
            held = sum((lot.quantity for lot in found.held if lot.asset == coin and not lot.outside), D(0))
            assert held == sum(
                (h.quantity for k, h in books.held.items() if k.asset == coin and k != PERP), D(0)
            )
        unrealised = sum((lot.quantity * last[lot.asset] - known(lot.cost) for lot in found.held), D(0))
        made[method] = found.gains[method.value] + unrealised
        assert abs(total(found, books, last, method=method) - books.result(last)) <= D("1e-7")
    assert len(set(made.values())) == 1


def test_coins_of_before_the_books_have_no_date() -> None:
    """What the account held already was got at a time that nobody wrote down, and costs what it was worth."""
    books = Books()
    books.open("BTC", D(2), borrowed=D(0))
    (held,) = tax_of(books.entries, ReportQuery(), method=LotMethod.FIFO).held
    assert (held.acquired, held.quantity, held.cost, held.outside) == (None, D(2), D(200), False)


def test_coins_lent_and_sold_before_the_books_are_not_held() -> None:
    """Of half a coin lent a tenth is left: that is held, and nothing was carried away or sold."""
    books = Books()
    books.open("ETH", D("0.1"), borrowed=D("0.5"))
    found = tax_of(books.entries, ReportQuery(), method=LotMethod.FIFO)
    assert [lot.quantity for lot in found.held] == [D("0.1")]
    assert found.rows == ()


DEEDS: Final = {
    "a round trip": (("buy", "BTC", D(2), D(90)), ("sell", "BTC", D(2), D(110))),
    "two round trips": (
        ("buy", "BTC", D(2), D(90)),
        ("sell", "BTC", D(2), D(110)),
        ("buy", "BTC", D(1), D(70)),
        ("sell", "BTC", D(1), D(60)),
    ),
    "a loan sold and repaid": (
        ("BORROW", "BTC", D(3), D(100)),
        ("TRANSFER_OUT", "BTC", D(2), D(100)),
        ("buy", "BTC", D(2), D(120)),
        ("REPAY", "BTC", D(1), D(100)),
    ),
    "a loan renewed": (("BORROW", "BTC", D(3), D(100)), ("REPAY", "BTC", D(3), D(100))),
}


@pytest.mark.parametrize("method", list(LotMethod))
@pytest.mark.parametrize("name", DEEDS)
def test_what_happens_at_one_instant_has_no_order(name: str, method: LotMethod) -> None:
    """Bought and sold, lent and given back in one and the same millisecond: whatever row the venue names
    first, coins go after they came; nothing is unknown, sold coins are not held, and all adds up.
    """
    books, prices = Books(), dict.fromkeys(COINS, D(130))
    books.open("BTC", D(0), borrowed=D(0))
    for deed, coin, amount, price in DEEDS[name]:
        books.live(deed, coin, amount, price=price, fee_coin="USDT")
    entries = [replace(item, at=START) for item in books.entries]
    journals = [list(group) for _, group in groupby(entries, key=lambda item: item.key)]
    held = sum((h.quantity for key, h in books.held.items() if key != PERP), D(0))
    for order in permutations(journals):
        found = tax_of([item for journal in order for item in journal], ReportQuery(), method=method)
        assert (found.unknown, found.coverage) == (0, Coverage.COMPLETE)
        assert sum((lot.quantity for lot in found.held if not lot.outside), D(0)) == held
        assert abs(total(found, books, prices, method=method) - books.result(prices)) <= D("1e-7")


@pytest.mark.parametrize("method", list(LotMethod))
def test_coins_sold_before_they_are_bought_have_no_known_gain(method: LotMethod) -> None:
    """A sale beyond what is held, as on margin: its gain is not known, never the whole proceeds, and what is
    bought later makes good what is missing before anything is held.
    """
    books = Books()
    books.open("BTC", D(1), borrowed=D(0))
    books.live("buy", "BTC", D(2), price=D(90), fee_coin="USDT")
    books.live("sell", "BTC", D(2), price=D(110), fee_coin="USDT")
    early, late = START + timedelta(hours=1), START + timedelta(hours=2)
    opened, bought, sold = ([item for item in books.entries if item.at == at] for at in (START, early, late))
    entries = [*opened, *(replace(i, at=early) for i in sold), *(replace(i, at=late) for i in bought)]
    found = tax_of(entries, ReportQuery(), method=method)
    known, short = (row for row in found.rows if row.kind == "sale")
    assert (known.quantity, known.gain) == (D(1), D(10))
    assert (short.quantity, short.proceeds, short.gain) == (D("0.998"), D("109.78"), None)
    assert (found.unknown, found.coverage) == (1, Coverage.PARTIAL)
    assert sum((lot.quantity for lot in found.held), D(0)) == D(1)
