"""The running sums by day, and the sums of a span: what the entries of its facts add up to, whatever is
asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import combinations
from typing import TypeAlias

import pytest

from fundarb.core.ledger import Account, Journal
from fundarb.core.orders import Leg
from fundarb.core.records import PositionRecord
from fundarb.core.transactions import Share
from fundarb.errors import StateUnavailable
from fundarb.store.database import Store
from tests.store.make import NOW, opened, position, sqlite_only
from tests.store.test_ledger import execution, plan, row, wallet

D = Decimal
__all__ = ["plan"]
Sums: TypeAlias = "dict[tuple[datetime, bool, str, str], tuple[Decimal, Decimal]]"

MIDNIGHT = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
MOMENT = timedelta(milliseconds=1)
AROUND = tuple(
    MIDNIGHT + timedelta(days=number) + much
    for number in range(3)
    for much in (-MOMENT, timedelta(0), timedelta(hours=9))
)
"""Instants just before, at and after each of several midnights."""


def lived(store: Store, owner: PositionRecord) -> None:
    """Books that are opened on the second day, with facts of ours, of nobody and in other coins around each
    midnight, some of which become known late; those of before the opening too.
    """
    ledger = store.ledger
    for number, at in enumerate(AROUND[:2]):
        early = execution(f"e{number}", fee=D("0.33"), time=at)
        ledger.post_execution(early, position=owner, leg=Leg.SPOT, mid=D(59990))
    ledger.post_opening(wallet(USDT="1000", NEW="5"), AROUND[4], prices={"NEW": D(2)})
    for number, at in enumerate(reversed(AROUND)):
        paid = row(f"f{number}", "SETTLEMENT", change="0.1", symbol="BTCUSDT", time=at, funding=D("0.1"))
        share = Share(owner, D("-0.01"), D("-0.03")) if number % 2 else None
        ledger.post_transaction(paid, share=share)
        ledger.post_transaction(row(f"i{number}", "INTEREST", change="-0.00000001", time=at))
        ledger.post_transaction(row(f"n{number}", "AIRDROP", "NEW", "-0.7", time=at), price=D(3))
        ledger.post_transaction(row(f"s{number}", "NEVER_HEARD_OF", change=str(number - 4), time=at))


def outside(journal: Journal, since: datetime | None, until: datetime | None) -> bool:
    """Whether a fact is not of a span."""
    return (since is not None and journal.at < since) or (until is not None and journal.at >= until)


def wanted(
    journals: Sequence[Journal], since: datetime | None, until: datetime | None, *, after: int
) -> Sums:
    """The same from the journals, in the order of booking, one by one."""
    found: Sums = {}
    for journal in journals[after:]:
        if outside(journal, since, until):
            continue
        for entry in journal.entries:
            if entry.account in {Account.WALLET, Account.POSITION_COST}:
                continue
            day = journal.at.replace(hour=0, minute=0, second=0, microsecond=0)
            key = (day, entry.position_id is not None, str(entry.account), entry.coin)
            amount, value = found.get(key, (D(0), D(0)))
            found[key] = (amount + entry.amount, value + entry.value)
    return found


def spanned(
    journals: Sequence[Journal], since: datetime | None, until: datetime | None, *, after: int
) -> dict[tuple[object, ...], tuple[Decimal, Decimal]]:
    """The sums of a span by position, account, coin and leg, from the journals one by one."""
    found: dict[tuple[object, ...], tuple[Decimal, Decimal]] = {}
    for journal in journals[after:]:
        if outside(journal, since, until):
            continue
        for entry in journal.entries:
            if entry.account not in {Account.WALLET, Account.POSITION_COST}:
                key = (entry.position_id, entry.account, entry.coin, entry.leg)
                amount, value = found.get(key, (D(0), D(0)))
                found[key] = (amount + entry.amount, value + entry.value)
    return {key: sums for key, sums in found.items() if any(sums)}


def told(store: Store, since: datetime | None, until: datetime | None, *, after: int) -> Sums:
    """What the sums by day say."""
    days = store.ledger.read.by_day(since=since, until=until, booked_after=after)
    assert list(days) == sorted(days, key=lambda one: (one.day, one.ours, one.account, one.coin))
    return {(one.day, one.ours, str(one.account), one.coin): (one.amount, one.value) for one in days}


def test_every_span_is_what_its_entries_add_up_to(store: Store, plan: PositionRecord) -> None:
    """Whether it begins and ends at midnight, beside it, within one day or nowhere; with what the opening
    brought, and without.
    """
    lived(store, plan)
    opening, journals = store.ledger.opening_id, list(store.ledger.read.journals())
    assert opening > 2
    spans = [*combinations(AROUND, 2), *((at, at) for at in AROUND), (None, None)]
    spans += [(None, at) for at in AROUND] + [(at, None) for at in AROUND]
    for since, until in spans:
        for after in (0, opening):
            found = told(store, since, until, after=after)
            assert found == wanted(journals, since, until, after=after), (since, until, after)
            sums = store.ledger.read.of_span(since=since, until=until, booked_after=after)
            assert {
                (one.position_id, one.account, one.coin, one.leg): (one.amount, one.value) for one in sums
            } == spanned(journals, since, until, after=after), (since, until, after)
    assert len(told(store, None, None, after=opening)) > 20
    assert store.ledger.read.drifted() == ()


def test_what_the_opening_alone_did_makes_no_day(store: Store) -> None:
    """Without the opening's journals the day of an opening after which nothing happened is not there."""
    store.ledger.post_opening(wallet(USDT="1000"), NOW)
    assert [one.account for one in store.ledger.read.by_day()] == [Account.EXTERNAL]
    assert store.ledger.read.by_day(booked_after=store.ledger.opening_id) == ()


def test_a_sum_that_was_changed_by_hand_is_seen(store: Store, plan: PositionRecord) -> None:
    """A running sum of a day that is not that of its entries, or that is missing, is named."""
    lived(store, plan)
    param = store.database.param
    change = f"UPDATE ledger_days SET value = '7' WHERE account = {param} AND day = {param}"
    day = (MIDNIGHT - MOMENT - datetime(1970, 1, 1, tzinfo=UTC)).days
    store.database.execute_sql(change, ["fees", day])
    assert store.ledger.read.drifted() == (f"fees USDT of positions on {MIDNIGHT - MOMENT:%Y-%m-%d}",)
    store.database.execute_sql(f"DELETE FROM ledger_days WHERE account = {param}", ["interest"])
    seen = [
        place for place in store.ledger.read.drifted() if place.startswith("interest USDT of the account")
    ]
    assert len(seen) == 4


@pytest.mark.parametrize(("column", "text"), [("account", "vees"), ("value", "NaN0x")])
@sqlite_only
def test_a_sum_that_nobody_stored_is_damage(store: Store, column: str, text: str) -> None:
    """A flipped bit is named with its remedy. Only in a file: a server refuses what is no number."""
    store.ledger.post_transaction(row("1"))
    store.database.execute_sql(f"UPDATE ledger_days SET {column} = ?", [text])
    with pytest.raises(StateUnavailable, match=r"damaged.*backup"):
        store.ledger.read.by_day()


def test_a_database_of_the_version_before_gets_its_days(backend: str, anew: Callable[[], str]) -> None:
    """What a database without the table had booked is added up when it is migrated, exactly, and goes on."""
    url = anew()
    mark = {"sqlite": "PRAGMA user_version = 3", "postgres": "UPDATE schema_info SET version = 3"}[backend]
    with opened(url) as store:
        lived(store, store.positions.add(position()))
        before = store.ledger.read.by_day()
        with store.transaction():
            store.database.execute_sql("DROP TABLE ledger_days")
            store.database.execute_sql(mark)
    with opened(url) as store:
        assert store.ledger.read.by_day() == before
        assert store.ledger.read.drifted() == ()
        store.ledger.post_transaction(row("later", time=AROUND[-1]))
        (more,) = set(store.ledger.read.by_day()) - set(before)
        assert (more.account, more.amount, store.ledger.read.drifted()) == (Account.EXTERNAL, D(-10), ())
