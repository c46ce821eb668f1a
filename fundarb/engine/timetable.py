"""The schedule that a daemon goes by, kept in the database for ``status`` and ``jobs list``: the file in the
caller's folder may be another one, or may have been changed since the daemon read it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from fundarb.config import JobSpec, Trigger
from fundarb.core.instants import from_ms, to_ms
from fundarb.store.database import Store

_KEY: Final = "jobs.timetable"
_MS: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Timetable:
    """What is scheduled. Intervals are counted from ``start``, or from the last run of each job where no
    daemon has armed them (None).
    """

    specs: tuple[JobSpec, ...]
    start: datetime | None = None


def publish(store: Store, table: Timetable) -> None:
    """Write down what this writer goes by from now on."""
    rows = [_row(spec) for spec in table.specs]
    start = None if table.start is None else to_ms(table.start)
    store.meta.set(_KEY, json.dumps({"start": start, "jobs": rows}))


def published(store: Store) -> Timetable | None:
    """What the last daemon went by; None before the first one."""
    text = store.meta.get(_KEY)
    if text is None:
        return None
    found = json.loads(text)
    start = found["start"]
    return Timetable(tuple(_spec(row) for row in found["jobs"]), None if start is None else from_ms(start))


def _row(spec: JobSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "run": spec.run,
        "trigger": spec.trigger.value,
        "cron": dict(spec.cron),
        "every": None if spec.every is None else spec.every // _MS,
        "offset": spec.offset // _MS,
        "args": dict(spec.args),
        "enabled": spec.enabled,
    }


def _spec(row: dict[str, Any]) -> JobSpec:
    every = row["every"]
    return JobSpec(
        **{
            **row,
            "trigger": Trigger(row["trigger"]),
            "every": None if every is None else every * _MS,
            "offset": row["offset"] * _MS,
        }
    )
