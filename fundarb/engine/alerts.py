"""One alert per incident: an incident is a code and a subject, open from its first alert until whoever raised
it says that its cause is gone; the next one alerts anew. One that lasts is told again now and then.

An incident that is over in the moment it is told (a forced trade, a leg that was naked) is an event of its
own and does not come here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from fundarb.core.events import AlertRaised
from fundarb.core.instants import iso
from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind
from fundarb.store.database import Store

NAKED: Final = ("unhedged", "hedge_without_market", "correction_refused")
"""Incidents of a position that end when its legs are together again."""
IN_DOUBT: Final = "uncertain_order"
"""Orders of a position are in doubt: one incident, however many they are, until it comes to rest."""
_REMIND: Final = timedelta(days=1)
_REMIND_SOON: Final = timedelta(hours=1)
_PRESSING: Final = frozenset({*NAKED, IN_DOUBT, "ban", "key"})
"""Told again every hour while they last: something is naked, or could not be hedged if it were."""
_LEVELS: Final = frozenset({"margin", "adl_rank", "borrowed", "usdt_depegged"})
"""A figure that stands at a limit crosses it many times: told once an hour at most, whatever it does."""
_LOOK_BACK: Final = 200


def alert_once(store: Store, code: str, *, subject: str, message: str) -> None:
    """Record an alert unless the same incident is open and was told a short time ago."""
    with store.transaction():
        key, now = _key(code, subject), store.clock.now()
        known = _known(store, key)
        if known is not None:
            told, still_open = known
            soon = code in _PRESSING or not still_open
            if now - told < (_REMIND_SOON if soon else _REMIND):
                return
        store.events.record(AlertRaised(code=code, subject=subject, message=message))
        store.meta.set(key, f"open {iso(now)}")


def alert_over(store: Store, codes: Iterable[str], *, subject: str) -> None:
    """The cause is gone: the next incident of these codes and this subject is another one."""
    for code in codes:
        key = _key(code, subject)
        known = _known(store, key)
        if known is None or not known[1]:
            continue
        if code in _LEVELS:
            store.meta.set(key, f"over {iso(known[0])}")
        else:
            store.meta.delete(key)


def was_told(store: Store, code: str, *, subject: str) -> bool:
    """Whether an incident is open, so that somebody knows of it."""
    known = _known(store, _key(code, subject))
    return known is not None and known[1]


def _key(code: str, subject: str) -> str:
    return f"incident:{code}:{subject}"


def _known(store: Store, key: str) -> tuple[datetime, bool] | None:
    """When an incident was told last, and whether it is still open."""
    found = store.meta.get(key)
    if found is None:
        return None
    state, told = found.split(" ", 1)
    return datetime.fromisoformat(told), state == "open"


def halt(store: Store, code: str, *, subject: str, message: str) -> None:
    """No opens at all until a person has looked, and an alert about it; hedging and reducing go on. A person
    who has looked since (``resume``) is told anew.
    """
    with store.transaction():
        now = store.clock.now()
        held = store.blocks.get(GLOBAL_SCOPE, BlockKind.HALT)
        if held is None or not held.active(now):
            alert_over(store, (code,), subject=subject)
        store.blocks.set(
            Block(scope=GLOBAL_SCOPE, kind=BlockKind.HALT, reason=message, since=now, needs_person=True)
        )
        alert_once(store, code, subject=subject, message=message)


def freeze(store: Store, base: str, *, reason: str) -> None:
    """No opens of one coin until a person has looked (``resume BASE``); hedging and reducing go on."""
    now = store.clock.now()
    store.blocks.set(Block(scope=base, kind=BlockKind.FREEZE, reason=reason, since=now, needs_person=True))


def block_for(store: Store, base: str, *, kind: BlockKind, reason: str, lasts: timedelta) -> None:
    """No opens of one coin for a while: nobody looks at a coin that is not held, so it ends by itself."""
    now = store.clock.now()
    store.blocks.set(Block(scope=base, kind=kind, reason=reason, since=now, until=now + lasts))


def count_recent(store: Store, kind: str, *, base: str, within: timedelta) -> int:
    """How many events of a kind a coin has had lately."""
    since = store.clock.now() - within
    found = store.events.after(0, _LOOK_BACK, kind=kind, since=since)
    return sum(json.loads(item.payload)["base"] == base for item in found)
