"""The books, proved over random histories: exact every day whatever happened, and the same whatever the order
in which the venue tells it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest

from fundarb.clock import VirtualClock
from fundarb.core.account import Transaction
from fundarb.core.money import ZERO, cash
from fundarb.core.orders import Execution, Leg, Side
from fundarb.core.records import PositionRecord
from fundarb.core.transactions import MATCHED_KINDS, SETTLEMENT, Share
from fundarb.store.database import Store
from fundarb.store.files import url_of
from tests.engine.month import Month, collect, market, met, require_good_books
from tests.engine.world import make_world
from tests.store.make import NOW, execution, position

D = Decimal
MONTHS = 100
CHUNK = 5
ACCIDENTS = frozenset(
    {
        *("partial fills", "funding paid", "funding received", "fee in USDT", "fee in BTC", "fee in MNT"),
        *("AdlTrade", "INTEREST", "BORROW", "TRANSFER_IN", "TRANSFER_OUT", "TRADE", "DUST"),
    }
)
"""What five months together have had, or they prove less than they say."""
FEES = (("USDT", "0.13"), ("BTC", "0.000005"), ("MNT", "0.4"))
KINDS = (SETTLEMENT, "INTEREST", "TRANSFER_OUT", "CONVERT", "TRADE", "FEE_REFUND", "NEVER_HEARD_OF")


@pytest.mark.proof
@pytest.mark.parametrize("first", range(1000, 1000 + MONTHS, CHUNK))
def test_thirty_days_of_accidents_tie_out(first: int, tmp_path: Path) -> None:
    """Partial fills and closes, funding of both signs, fees in USDT, coins and MNT, interest, ADL, transfers,
    strangers, over a month of each seed: exact every day, and the same by position, symbol, day and month.
    """
    seen: set[str] = set()
    for seed in range(first, first + CHUNK):
        world = make_world(tmp_path / f"{seed}.sqlite3", feed=market())
        world.venue.world.transfer("MNT", D(500))
        collect(world)
        world.venue.world.transfer("USDT", D("-12.34567891"))
        Month(world, random.Random(seed)).live(30)
        require_good_books(world, random.Random(seed))
        seen |= met(world)
        world.close()
    assert seen >= ACCIDENTS, ACCIDENTS - seen


# ---------------------------------------------------------------------------------------- order of arrival


@dataclass(frozen=True)
class Fact:
    """Something that the venue tells: a fill of ours, or a row of its log."""

    told: Execution | Transaction

    def book(self, store: Store, owner: PositionRecord) -> None:
        """As the collector does."""
        ledger, told = store.ledger, self.told
        if isinstance(told, Execution):
            leg = Leg.SPOT if told.category is Leg.SPOT.category else Leg.PERP
            ledger.post_execution(told, position=owner, leg=leg, mid=D(60_000))
        elif told.kind in MATCHED_KINDS:
            if ledger.log.state(told.key) is None:
                ledger.match_trade(told, None)
        else:
            share = Share(owner, D("-0.01")) if told.kind == SETTLEMENT else None
            ledger.post_transaction(told, share=share)


def fill(number: int, dice: random.Random) -> Execution:
    """A fill of either leg, the fee in one of three coins, now and then a rebate."""
    leg = dice.choice(list(Leg))
    quantity, price = D(dice.randint(1, 90)) / 1000, D(dice.randint(500_000, 700_000)) / 10
    coin, fee = dice.choice(FEES if leg is Leg.SPOT else FEES[::2])
    return execution(
        number,
        exec_id=f"e{number}",
        category=leg.category,
        side=dice.choice(list(Side)),
        quantity=quantity,
        price=price,
        value=cash(quantity * price),
        fee=D(fee) * dice.choice((1, 1, -1)),
        fee_coin=coin,
        time=NOW + timedelta(minutes=number),
    )


def transaction(number: int, kind: str, amount: Decimal) -> Transaction:
    """A row of the log that moves USDT."""
    return Transaction(
        id=f"r{number}",
        kind=kind,
        coin="USDT",
        category="",
        symbol="",
        side=None,
        time=NOW + timedelta(minutes=number),
        quantity=ZERO,
        size=ZERO,
        price=None,
        funding=ZERO,
        fee=ZERO,
        cash_flow=amount,
        change=amount,
        balance=ZERO,
        fee_rate=None,
        trade_id="",
        order_id="",
        link_id="",
    )


def rows(number: int, dice: random.Random) -> Iterator[Transaction]:
    """What the log has: a payment, interest, a transfer, a conversion of two rows, a stranger's trade of two
    rows, a refund, or a kind that nobody knows; each of one row in coins now and then.
    """
    amount = D(dice.randint(-500_000_000, 500_000_000)) / 10**8
    row = transaction(number, dice.choice(KINDS), amount)
    if row.kind == SETTLEMENT:
        yield replace(row, symbol="BTCUSDT", funding=amount, cash_flow=ZERO)
        return
    if row.kind == "TRADE":
        row = replace(row, symbol="BTCUSDT", price=D(60_000), trade_id=f"t{number}")
    paired = row.kind in {"CONVERT", "TRADE"}
    yield row if paired else replace(row, coin=dice.choice(("USDT", "BTC", "MNT")))
    if paired:
        coins = cash(-amount / 60_000)
        yield replace(row, coin="BTC", cash_flow=coins, change=coins)


def history(seed: int, length: int) -> list[Fact]:
    """So many facts of one account."""
    dice = random.Random(seed)
    found: list[Fact] = []
    for number in range(length):
        if dice.random() < 0.5:
            found.append(Fact(fill(number, dice)))
        else:
            found += map(Fact, rows(number, dice))
    return found


@contextmanager
def booked(path: Path, facts: Iterable[Fact], *, batch: bool = False) -> Iterator[Store]:
    """A database into which these facts were booked, in this order, one by one or in one batch."""
    with Store.open(url_of(path), clock=VirtualClock(NOW)) as store:
        owner = store.positions.add(position())
        store.ledger.set_price("MNT", D("0.8"))
        store.ledger.set_price("BTC", D(60_000))
        with store.ledger.batch() if batch else store.transaction():
            for fact in facts:
                fact.book(store, owner)
        assert store.ledger.read.unbalanced() == ()
        assert store.ledger.read.drifted() == ()
        yield store


def orders(facts: list[Fact], dice: random.Random) -> Iterator[list[Fact]]:
    """As it happened; every fact twice or more; shuffled and repeated; and a third of it late."""
    yield facts
    yield [*facts, *facts, *facts[::2]]
    shuffled = [*facts, *facts[::3]]
    dice.shuffle(shuffled)
    yield shuffled
    late = set(dice.sample(range(len(facts)), len(facts) // 3))
    yield [
        *(fact for number, fact in enumerate(facts) if number not in late),
        *(facts[number] for number in sorted(late)),
    ]


def worth(store: Store, price: Decimal) -> Decimal:
    """What the account has gained by now at a price of the coin, realised or not: it depends on no method."""
    read = store.ledger.read
    held = (
        holding.unrealised(D("0.8") if key.asset == "MNT" else price)
        for key, holding in read.holdings().items()
    )
    return sum(held, ZERO) - sum((item.value for item in read.sums()), ZERO)


def require_one_ledger(seed: int, folder: Path, *, length: int) -> None:
    """The same ledger hash, and the same result at any price, in whatever order the facts come."""
    seen = []
    for number, facts in enumerate(orders(history(seed, length), random.Random(seed))):
        with booked(folder / f"{seed}-{number}.sqlite3", facts, batch=bool(number % 2)) as store:
            seen.append((store.ledger.read.digest(), worth(store, D(61_234))))
    for one, other in pairwise(seen):
        assert one == other, seed


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_arrival_does_not_matter(seed: int, tmp_path: Path) -> None:
    """Shuffled, repeated and late facts leave the identical ledger hash and the identical result."""
    require_one_ledger(seed, tmp_path, length=40)


@pytest.mark.proof
@pytest.mark.parametrize("first", range(100, 200, 20))
def test_the_order_of_arrival_never_matters(first: int, tmp_path: Path) -> None:
    """The same of a hundred other histories, each longer."""
    for seed in range(first, first + 20):
        require_one_ledger(seed, tmp_path, length=150)


def test_another_fact_is_another_ledger(tmp_path: Path) -> None:
    """One fact less, or one amount that differs in its last digit, changes the hash."""
    facts = history(7, 12)
    row = next(fact.told for fact in facts if isinstance(fact.told, Transaction))
    changed = replace(row, cash_flow=row.cash_flow + D("1e-8"), change=row.change + D("1e-8"))
    other = [Fact(changed) if fact.told is row else fact for fact in facts]
    hashes = []
    for number, made in enumerate((facts, other, facts[:-1])):
        with booked(tmp_path / f"{number}.sqlite3", made) as store:
            hashes.append(store.ledger.read.digest())
    assert len(set(hashes)) == 3
