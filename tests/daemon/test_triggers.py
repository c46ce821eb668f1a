"""Triggers: cron and interval in UTC, and the settlements of what is held."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.config import JobSpec, Trigger
from fundarb.daemon.triggers import FundingSchedule, FundingTrigger, next_time, trigger_of, upcoming
from fundarb.engine.held import NextSettlement
from fundarb.engine.timetable import Timetable

START = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)  # the night in which Europe changes its clocks
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def spec(trigger: Trigger, **more: Any) -> JobSpec:
    """A job with this trigger."""
    return JobSpec(name="job", run="watch", trigger=trigger, **more)


def holding(
    at: datetime, interval: timedelta = 8 * HOUR, symbol: str = "BTCUSDT"
) -> dict[str, NextSettlement]:
    """One held symbol."""
    return {symbol: NextSettlement(at, interval)}


def fires(trigger: Any, now: datetime, count: int) -> list[datetime]:
    """The next so many fire times."""
    found: list[datetime] = []
    previous = None
    for _ in range(count):
        due = next_time(trigger, previous, now=now)
        assert due is not None
        found.append(due)
        previous = now = due
    return found


def test_cron_fires_in_utc() -> None:
    """A cron job is due at its fields in UTC, whatever the local zone does in that night."""
    trigger = trigger_of(spec(Trigger.CRON, cron={"minute": "*/15"}), FundingSchedule(), start=START)
    assert fires(trigger, START + SECOND, 4) == [START + 15 * MINUTE * k for k in range(1, 5)]


def test_interval_counts_from_our_clock() -> None:
    """An interval job is first due one interval after the start on the clock that was handed in."""
    start = START + timedelta(seconds=7, milliseconds=300)
    trigger = trigger_of(spec(Trigger.INTERVAL, every=15 * SECOND), FundingSchedule(), start=start)
    assert fires(trigger, start, 3) == [start + 15 * SECOND * k for k in (1, 2, 3)]


def test_a_day_that_never_comes_is_none() -> None:
    """A cron job for 31 February has no next time, and says so instead of hanging."""
    trigger = trigger_of(spec(Trigger.CRON, cron={"day": "31", "month": "2"}), FundingSchedule(), start=START)
    assert next_time(trigger, None, now=START) is None


@pytest.mark.parametrize("kind", [Trigger.BEFORE_FUNDING, Trigger.AFTER_FUNDING])
def test_nothing_held_means_the_next_full_hour(kind: Trigger) -> None:
    """Without a position a funding job is due at the next full hour: it is never lost."""
    trigger = trigger_of(spec(kind, offset=90 * SECOND), FundingSchedule(), start=START)
    assert next_time(trigger, None, now=START) == datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert fires(trigger, START, 2)[1] == datetime(2026, 3, 29, 2, tzinfo=UTC)


def test_due_after_each_symbols_own_settlement() -> None:
    """With two symbols of different intervals the job is due the offset after each settlement of either."""
    schedule = FundingSchedule()
    schedule.update(
        {**holding(START + HOUR), **holding(START + 2 * HOUR, 2 * HOUR, "ETHUSDT")},
        START,
    )
    trigger = FundingTrigger(schedule, 90 * SECOND)
    moments = [START + hours * HOUR + 90 * SECOND for hours in (1, 2, 4, 6)]
    assert fires(trigger, START, 4) == moments


def test_due_before_a_settlement() -> None:
    """A negative offset is before the settlement; one that is over already gives way to the next
    settlement.
    """
    schedule = FundingSchedule()
    schedule.update(holding(START + 10 * MINUTE), START)
    assert next_time(FundingTrigger(schedule, -5 * MINUTE), None, now=START) == START + 5 * MINUTE
    late = FundingTrigger(schedule, -15 * MINUTE)
    assert next_time(late, None, now=START) == START + 10 * MINUTE + 8 * HOUR - 15 * MINUTE


def test_a_settlement_that_just_passed_still_rings() -> None:
    """When the ticker has moved on to the next period, the offset after the one that passed is still due."""
    schedule, settled = FundingSchedule(), START + HOUR
    schedule.update(holding(settled), START)
    now = settled + 10 * SECOND
    assert schedule.update(holding(settled + 8 * HOUR), now)
    assert next_time(FundingTrigger(schedule, 90 * SECOND), None, now=now) == settled + 90 * SECOND


def test_an_interval_that_shrinks_is_followed() -> None:
    """A settlement that is moved from eight hours away to the next hour is due an hour from now, not in
    eight.
    """
    schedule = FundingSchedule()
    schedule.update(holding(START + 8 * HOUR), START)
    assert schedule.update(holding(START + HOUR, HOUR), START + MINUTE)
    trigger = FundingTrigger(schedule, 90 * SECOND)
    assert next_time(trigger, None, now=START + MINUTE) == START + HOUR + 90 * SECOND
    assert fires(trigger, START + MINUTE, 2)[1] == START + 2 * HOUR + 90 * SECOND


def test_a_settlement_moved_before_its_time_is_forgotten() -> None:
    """What was announced and then moved never happened: it does not ring."""
    schedule = FundingSchedule()
    schedule.update(holding(START + HOUR), START)
    schedule.update(holding(START + 4 * HOUR), START + MINUTE)
    assert next_time(FundingTrigger(schedule, timedelta()), None, now=START + MINUTE) == START + 4 * HOUR


def test_a_closed_position_rings_no_more_but_its_last_settlement_does() -> None:
    """After a close the settlement that had just passed is still collected, then the full hours are back."""
    schedule, settled = FundingSchedule(), START + HOUR
    schedule.update(holding(settled), START)
    schedule.update({}, settled + SECOND)
    trigger = FundingTrigger(schedule, 90 * SECOND)
    first, second = fires(trigger, settled + SECOND, 2)
    assert first == settled + 90 * SECOND
    assert second == datetime(2026, 3, 29, 2, tzinfo=UTC)


def test_the_same_news_is_no_news() -> None:
    """Telling the schedule what it knows changes nothing."""
    schedule = FundingSchedule()
    assert schedule.update(holding(START + HOUR), START)
    assert not schedule.update(holding(START + HOUR), START + MINUTE)


def test_upcoming_tells_a_reader_when_jobs_are_due() -> None:
    """Without the daemon's own state: cron from now, intervals from the last run, funding from what was
    published.
    """
    schedule = FundingSchedule()
    schedule.update(holding(START + HOUR), START)
    specs = (
        JobSpec(name="a", run="watch", trigger=Trigger.INTERVAL, every=HOUR),
        JobSpec(name="b", run="digest", trigger=Trigger.CRON, cron={"hour": "8", "minute": "0"}),
        JobSpec(name="c", run="collect_funding", trigger=Trigger.AFTER_FUNDING, offset=90 * SECOND),
        JobSpec(name="d", run="backup", trigger=Trigger.INTERVAL, every=HOUR, enabled=False),
    )
    found = upcoming(Timetable(specs), schedule, last={"a": START - 20 * MINUTE}, now=START)
    assert found == {
        "a": START + 40 * MINUTE,
        "b": datetime(2026, 3, 29, 8, tzinfo=UTC),
        "c": START + HOUR + 90 * SECOND,
    }
    armed = upcoming(Timetable(specs, START - 50 * MINUTE), schedule, last={"a": START}, now=START)
    assert armed["a"] == START + 10 * MINUTE


@given(
    st.integers(min_value=0, max_value=48 * 60),
    st.sampled_from([1, 2, 4, 8]),
    st.integers(min_value=-8 * 60, max_value=8 * 60),
)
def test_the_next_time_lies_ahead_and_belongs_to_a_settlement(ahead: int, hours: int, offset: int) -> None:
    """Whatever the offset, a funding trigger is due after the previous time, a whole number of intervals
    apart.
    """
    schedule = FundingSchedule()
    first, shift = START + ahead * MINUTE, offset * MINUTE
    schedule.update(holding(first, hours * HOUR), START)
    trigger = FundingTrigger(schedule, shift)
    due = next_time(trigger, None, now=START)
    assert due is not None
    assert due >= START
    assert (due - shift - first) % (hours * HOUR) == timedelta()
    later = next_time(trigger, due, now=due)
    assert later == due + hours * HOUR
