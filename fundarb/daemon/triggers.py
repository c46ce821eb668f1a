"""When a job is due: the triggers of jobs.toml as APScheduler triggers, asked by the bell and by a
simulation alike.

Cron and interval are the library's own. ``FundingTrigger`` follows the settlements of the held symbols, as
the live ticker announces them; it never answers None, so a job is never lost: with nothing held it rings at
the next full hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from fundarb.config import JobSpec, Trigger
from fundarb.core.instants import floor_hour
from fundarb.engine.held import NextSettlement
from fundarb.engine.timetable import Timetable

_HOUR = timedelta(hours=1)
_KEEP = timedelta(hours=9)
"""Longer than the longest offset that jobs.toml accepts."""
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class _Known:
    """One consistent view; replaced as a whole, so that another thread may read it at any time."""

    coming: Mapping[str, NextSettlement] = field(default_factory=dict)
    passed: frozenset[datetime] = frozenset()


class FundingSchedule:
    """The settlements of what is held: those to come, and those just passed whose offset is not over yet."""

    def __init__(self) -> None:
        """Nothing is held."""
        self._known = _Known()

    def update(self, coming: Mapping[str, NextSettlement], now: datetime) -> bool:
        """Take what the tickers of the held symbols say now; True if an instant was added, moved or
        dropped.

        An announced settlement that has passed is remembered, one that was moved before its time is
        forgotten.
        """
        known = self._known
        happened = {
            old.at for symbol, old in known.coming.items() if old.at <= now and coming.get(symbol) != old
        }
        passed = frozenset(instant for instant in known.passed | happened if now - instant < _KEEP)
        moved = dict(coming) != dict(known.coming)
        self._known = _Known(dict(coming), passed)
        return moved

    def coming(self) -> Mapping[str, NextSettlement]:
        """The next settlement by held symbol."""
        return self._known.coming

    def first_after(self, instant: datetime, offset: timedelta) -> datetime | None:
        """The first ``settlement + offset`` after an instant; None with nothing held and nothing just
        passed.
        """
        known = self._known
        moments = [passed + offset for passed in known.passed]
        moments += [_first(settlement, instant - offset) + offset for settlement in known.coming.values()]
        return min((moment for moment in moments if moment > instant), default=None)


def _first(settlement: NextSettlement, after: datetime) -> datetime:
    """The first settlement after an instant; the ticker's own one unless it has passed."""
    if settlement.at > after:
        return settlement.at
    steps = (after - settlement.at) // settlement.interval + 1
    return settlement.at + steps * settlement.interval


class FundingTrigger(BaseTrigger):  # type: ignore[misc]  # apscheduler publishes no types
    """Due a fixed time before or after each settlement of a held symbol."""

    def __init__(self, schedule: FundingSchedule, offset: timedelta) -> None:
        """A negative ``offset`` is before the settlement."""
        self._schedule = schedule
        self._offset = offset

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """The next instant at which it is due; never None."""
        after = (now - _INSTANT) if previous_fire_time is None else previous_fire_time
        due = self._schedule.first_after(after, self._offset)
        return (floor_hour(after) + _HOUR) if due is None else due


def trigger_of(spec: JobSpec, schedule: FundingSchedule, *, start: datetime) -> BaseTrigger:
    """The trigger of a job; intervals are counted from ``start``."""
    if spec.trigger is Trigger.CRON:
        return CronTrigger(timezone=UTC, **dict(spec.cron))
    if spec.trigger is Trigger.INTERVAL:
        every = spec.every or _HOUR
        return IntervalTrigger(seconds=every / timedelta(seconds=1), start_date=start + every, timezone=UTC)
    before = spec.trigger is Trigger.BEFORE_FUNDING
    return FundingTrigger(schedule, -spec.offset if before else spec.offset)


def next_time(trigger: BaseTrigger, previous: datetime | None, *, now: datetime) -> datetime | None:
    """When a trigger is due next; None if its cron fields name a day that never comes."""
    due: datetime | None = trigger.get_next_fire_time(previous, now)
    return None if due is None else due.astimezone(UTC)


def upcoming(
    table: Timetable,
    schedule: FundingSchedule,
    *,
    last: Mapping[str, datetime | None],
    now: datetime,
) -> Mapping[str, datetime | None]:
    """When each enabled job is due next as far as a reader can tell; where no daemon has armed the intervals
    they are counted from the ``last`` run.
    """
    found: dict[str, datetime | None] = {}
    for spec in table.specs:
        if spec.enabled:
            trigger = trigger_of(spec, schedule, start=table.start or last.get(spec.name) or now)
            found[spec.name] = next_time(trigger, None, now=now)
    return found
