"""One alert per incident: an incident is a code and a subject, and it is told again only after it has been
quiet for a day.
"""

from __future__ import annotations

import json
from datetime import timedelta

from fundarb.core.events import AlertRaised, Severity
from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind
from fundarb.store.database import Store

_QUIET = timedelta(days=1)
_LOOK_BACK = 200


def alert_once(store: Store, code: str, *, subject: str, message: str) -> None:
    """Record an alert unless the same incident was told within a day."""
    if not was_told(store, code, subject=subject):
        store.events.record(AlertRaised(code=code, subject=subject, message=message))


def was_told(store: Store, code: str, *, subject: str) -> bool:
    """Whether an incident was told within a day."""
    recent = store.clock.now() - _QUIET
    for told in store.events.last(_LOOK_BACK, severity=Severity.ALERT):
        if told.at < recent or told.kind != "alert_raised":
            continue
        payload = json.loads(told.payload)
        if payload["code"] == code and payload["subject"] == subject:
            return True
    return False


def halt(store: Store, code: str, *, subject: str, message: str) -> None:
    """No opens at all until a person has looked, and one alert about it; hedging and reducing go on."""
    with store.transaction():
        store.blocks.set(
            Block(
                scope=GLOBAL_SCOPE,
                kind=BlockKind.HALT,
                reason=message,
                since=store.clock.now(),
                needs_person=True,
            )
        )
        alert_once(store, code, subject=subject, message=message)


def freeze(store: Store, base: str, *, reason: str) -> None:
    """No opens of one coin until a person has looked (``resume BASE``); hedging and reducing go on."""
    now = store.clock.now()
    store.blocks.set(Block(scope=base, kind=BlockKind.FREEZE, reason=reason, since=now, needs_person=True))


def count_recent(store: Store, kind: str, *, base: str, within: timedelta) -> int:
    """How many events of a kind a coin has had lately."""
    since = store.clock.now() - within
    found = store.events.after(0, _LOOK_BACK, kind=kind, since=since)
    return sum(json.loads(item.payload)["base"] == base for item in found)
