"""What an API key must be able to do, and what it must not: judged before anything is sent with it.

Pure; the key's facts come from the venue (``KeyInfo``). A key that may withdraw is refused: whoever steals it
could take the coins, and nothing here needs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from fundarb.core.account import KeyInfo
from fundarb.core.reasons import Reason

_NEEDED: Final = (("ContractTrade", "Order"), ("ContractTrade", "Position"), ("Spot", "SpotTrade"))
_EXPIRES_SOON: Final = timedelta(days=14)
_OTHER_ACCOUNT: Final = "other_account"


def key_problems(key: KeyInfo, *, uid: str = "") -> tuple[Reason, ...]:
    """Everything that forbids trading with a key; ``uid`` is the account it must belong to (empty: any)."""
    return tuple(_problems(key, uid))


def key_remedy(reasons: Iterable[Reason]) -> str:
    """What mends them."""
    if any(reason.code == _OTHER_ACCOUNT for reason in reasons):
        return "give that account's key, or name the key's own account ([account] uid) and database (--db)"
    return "make a key with Contract (Orders, Positions) and Spot (Trade), bound to this machine's address"


def _problems(key: KeyInfo, uid: str) -> Iterator[Reason]:
    if uid and key.uid != uid:
        yield Reason(_OTHER_ACCOUNT, f"the key belongs to account {key.uid}, not to {uid}")
    if not key.unified:
        yield Reason("not_unified", "the account is not a unified trading account")
    if key.read_only:
        yield Reason("key_read_only", "the key may only read")
    missing = [f"{group}: {name}" for group, name in _NEEDED if name not in key.permissions.get(group, ())]
    if missing and not key.read_only:
        yield Reason("key_permissions", f"the key lacks the permissions {', '.join(missing)}")
    if "Withdraw" in key.permissions.get("Wallet", ()):
        yield Reason("key_withdraws", "the key may withdraw coins: make one that may not")


def key_warnings(key: KeyInfo, now: datetime) -> tuple[Reason, ...]:
    """What a careful owner would mend: no address bound, an end in sight, the main account's key."""
    found = []
    if not key.addresses or "*" in key.addresses:
        found.append(
            Reason("key_any_address", "the key may be used from any address: bind it to this machine's")
        )
    if key.expires is not None and key.expires - now < _EXPIRES_SOON:
        found.append(Reason("key_expires", f"the key ends on {key.expires:%Y-%m-%d}"))
    if key.master:
        found.append(
            Reason("key_of_main_account", "the key is of the main account: a sub-account holds less")
        )
    return tuple(found)
