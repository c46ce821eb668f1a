"""What the bot is busy with, shown to people as event rows; it is told, not stored state, and decides
nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from fundarb.core.events import ActivityChanged
from fundarb.store.database import Store


class Activity(StrEnum):
    """The words of ``status``; from MONITORING back to SCANNING, as several positions are held."""

    INITIALIZING = "INITIALIZING"
    RECOVERING = "RECOVERING"
    IDLE = "IDLE"
    SCANNING = "SCANNING"
    OPENING = "OPENING"
    MONITORING = "MONITORING"
    CLOSING = "CLOSING"
    ERROR = "ERROR"


def now_busy_with(store: Store, activity: Activity) -> None:
    """Say so, unless it was the last word already."""
    last = store.events.last(1, kind="activity_changed")
    if not last or json.loads(last[0].payload)["activity"] != activity:
        store.events.record(ActivityChanged(activity=activity))


@contextmanager
def busy_with(store: Store, activity: Activity) -> Iterator[None]:
    """So for the length of a task, however it ends."""
    now_busy_with(store, activity)
    try:
        yield
    finally:
        at_rest(store)


def at_rest(store: Store) -> None:
    """Between two tasks: MONITORING with something held, else IDLE."""
    now_busy_with(store, Activity.MONITORING if store.positions.active() else Activity.IDLE)
