"""What a key must be able to do, and must not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fundarb.core.account import KeyInfo
from fundarb.core.keys import key_problems, key_remedy, key_warnings

NOW = datetime(2026, 1, 5, tzinfo=UTC)
GOOD = KeyInfo(
    uid="7",
    read_only=False,
    permissions={"ContractTrade": ("Order", "Position"), "Spot": ("SpotTrade",), "Wallet": ()},
    addresses=("192.0.2.7",),
    expires=None,
    unified=True,
    master=False,
)


def test_a_fit_key_has_no_problem() -> None:
    """A bound key of a sub-account that can trade and nothing else passes without a word."""
    assert key_problems(GOOD, uid="7") == ()
    assert key_warnings(GOOD, NOW) == ()


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (replace(GOOD, uid="8"), "other_account"),
        (replace(GOOD, unified=False), "not_unified"),
        (replace(GOOD, read_only=True), "key_read_only"),
        (replace(GOOD, permissions={"Spot": ("SpotTrade",)}), "key_permissions"),
        (replace(GOOD, permissions={**GOOD.permissions, "Wallet": ("Withdraw",)}), "key_withdraws"),
    ],
)
def test_each_flaw_is_named(key: KeyInfo, code: str) -> None:
    """Another account, no unified account, read-only, a missing permission, the right to withdraw."""
    assert [item.code for item in key_problems(key, uid="7")] == [code]


def test_the_remedy_is_of_the_flaw() -> None:
    """The wrong account's key is no key that lacks anything."""
    assert "[account] uid" in key_remedy(key_problems(replace(GOOD, uid="8"), uid="7"))
    assert "make a key" in key_remedy(key_problems(replace(GOOD, read_only=True), uid="7"))


def test_a_key_of_any_account_will_do_where_none_is_named() -> None:
    """Without a uid in the settings the owner is not compared."""
    assert key_problems(replace(GOOD, uid="8")) == ()


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (replace(GOOD, addresses=("*",)), "key_any_address"),
        (replace(GOOD, addresses=()), "key_any_address"),
        (replace(GOOD, expires=NOW + timedelta(days=13)), "key_expires"),
        (replace(GOOD, master=True), "key_of_main_account"),
    ],
)
def test_what_a_careful_owner_would_mend(key: KeyInfo, code: str) -> None:
    """No bound address, an end within two weeks, the main account."""
    assert [item.code for item in key_warnings(key, NOW)] == [code]
