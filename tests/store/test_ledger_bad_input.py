"""Odd facts and odd files: named, booked where they belong or refused; nothing is lost and nothing half
written.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fundarb.core.ledger import POOL, Account, Holding, HoldingKey
from fundarb.core.orders import Leg
from fundarb.core.records import PositionRecord
from fundarb.errors import StateUnavailable
from fundarb.store.database import Store
from fundarb.store.migrate import migrate
from fundarb.store.migrations import MIGRATIONS
from tests.store.make import clock, opened, sqlite_only
from tests.store.test_ledger import execution, plan, row

D = Decimal
__all__ = ["plan"]


def test_a_negative_fee_is_an_income(store: Store, plan: PositionRecord) -> None:
    """A rebate makes the wallet larger and the fees smaller, in quote and in coins alike."""
    for number, coin in enumerate(("USDT", "BTC")):
        paid = execution(str(number), fee=D("-0.001"), fee_coin=coin)
        assert store.ledger.post_execution(paid, position=plan, leg=Leg.SPOT)
    assert store.ledger.balances() == {"BTC": D("0.021"), "USDT": D("-1199.999")}
    fees = {item.coin: item.amount for item in store.ledger.read.sums() if item.account is Account.FEES}
    assert fees == {"USDT": D("-0.001"), "BTC": D("-0.001")}
    assert store.ledger.read.unbalanced() == ()


def test_a_coin_never_seen_is_kept_at_no_value(store: Store) -> None:
    """Without a price it counts nothing and is all there; once a price is known, later ones come in at it."""
    assert store.ledger.post_transaction(row("1", "AIRDROP", "NEW", "5"))
    assert store.ledger.read.holding(HoldingKey(POOL, "NEW")) == Holding(D(5), D(0))
    store.ledger.set_price("NEW", D(3))
    assert store.ledger.post_transaction(row("2", "AIRDROP", "NEW", "5"))
    assert store.ledger.read.holding(HoldingKey(POOL, "NEW")) == Holding(D(10), D(15))
    assert store.ledger.balances() == {"NEW": D(10)}


def test_an_unknown_kind_is_in_suspense_to_the_last_digit(store: Store) -> None:
    """The wallet follows the venue, the other side waits to be explained; a second telling changes
    nothing.
    """
    strange = row("1", "NEVER_HEARD_OF", change="-12.34567891")
    assert store.ledger.post_transaction(strange)
    assert not store.ledger.post_transaction(strange)
    assert store.ledger.read.balances() == {
        (Account.WALLET, "USDT"): D("-12.34567891"),
        (Account.SUSPENSE, "USDT"): D("12.34567891"),
    }


@sqlite_only
def test_a_disk_that_became_read_only_refuses_by_name(store: Store) -> None:
    """What cannot be written to a file is said with its name; nothing of it is there, and reading goes on."""
    store.ledger.post_transaction(row("1"))
    store.database.execute_sql("PRAGMA query_only = ON")
    with pytest.raises(StateUnavailable, match=r"fundarb\.db"):
        store.ledger.post_transaction(row("2"))
    assert store.ledger.balances() == {"USDT": D(10)}
    store.database.execute_sql("PRAGMA query_only = OFF")
    assert store.ledger.post_transaction(row("2"))
    assert store.ledger.balances() == {"USDT": D(20)}


def test_totals_that_were_changed_by_hand_are_seen(store: Store) -> None:
    """A running total that is not the sum of its entries is named."""
    store.ledger.post_transaction(row("1"))
    assert store.ledger.read.drifted() == ()
    store.database.execute_sql("UPDATE ledger_totals SET amount = '11' WHERE account = 'wallet'")
    assert store.ledger.read.drifted() == ("wallet USDT",)


def test_totals_of_an_older_database_are_its_sums(path: Path) -> None:
    """A database of the schema before the running totals gets them from its entries, exactly."""
    path.parent.mkdir()
    path.touch()
    migrate(path, clock=clock(), migrations=MIGRATIONS[:2])
    amounts: tuple[Any, ...] = ("0.1", "0.2", "-1e-8", "12345678901234567890.00000001")
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("INSERT INTO ledger_journals VALUES (1, 'k', 'F', 0, 0, '', NULL, NULL, NULL)")
        columns = "journal_id, account, coin, amount, value"
        for amount in amounts:
            for account, sign in (("wallet", ""), ("external", "-")):
                text = f"{D(sign + '1') * D(amount):f}"
                old.execute(
                    f"INSERT INTO ledger_entries ({columns}) VALUES (1, ?, 'USDT', ?, ?)",
                    (account, text, text),
                )
    whole = D("12345678901234567890.3")
    with opened(path) as store:
        assert store.ledger.balances() == {"USDT": whole}
        assert store.ledger.read.drifted() == ()
        store.ledger.post_transaction(row("1"))
        assert store.ledger.balances() == {"USDT": whole + 10}


@pytest.mark.parametrize(
    ("column", "text"), [("leg", "sqot"), ("account", "vallet"), ("amount", "NaN"), ("value", "NaN")]
)
def test_a_text_that_nobody_stored_is_damage(store: Store, column: str, text: str) -> None:
    """A flipped bit that makes a word or an amount unreadable is named with what to do, and is no bug."""
    store.ledger.post_transaction(row("1"))
    columns = {"journal_id": 1, "account": "wallet", "coin": "USDT", "amount": "5", "value": "5", "leg": None}
    columns[column] = text
    marks = ", ".join([store.database.param] * len(columns))
    names = ", ".join(columns)
    store.database.execute_sql(f"INSERT INTO ledger_entries ({names}) VALUES ({marks})", [*columns.values()])
    with pytest.raises(StateUnavailable, match=f"damaged.*{text}.*backup"):
        list(store.ledger.read.journals())


@pytest.mark.parametrize(("column", "text"), [("leg", "sqot"), ("account", "vallet")])
def test_a_running_total_that_nobody_stored_is_damage(store: Store, column: str, text: str) -> None:
    """The same of a running total: named, and no figure is made of it."""
    store.ledger.post_transaction(row("1"))
    param = store.database.param
    store.database.execute_sql(
        f"UPDATE ledger_totals SET {column} = {param} WHERE account = 'wallet'", [text]
    )
    with pytest.raises(StateUnavailable, match=f"damaged.*{text}.*backup"):
        store.ledger.balances()


def test_a_tax_export_of_damaged_entries_is_refused(store: Store) -> None:
    """No return is made of a text that nobody stored."""
    store.ledger.post_transaction(row("1"))
    columns = "journal_id, account, coin, amount, value"
    store.database.execute_sql(
        f"INSERT INTO ledger_entries ({columns}) VALUES (1, 'vallet', 'USDT', '5', '5')"
    )
    with pytest.raises(StateUnavailable, match=r"damaged.*vallet.*backup"):
        store.ledger.read.tax_entries()
