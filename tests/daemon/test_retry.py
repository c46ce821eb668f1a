"""When a recovery that failed is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fundarb.clock import VirtualClock
from fundarb.daemon.retry import Retry
from fundarb.errors import Unavailable

SECOND = timedelta(seconds=1)
START = datetime(2026, 1, 5, tzinfo=UTC)


def waits(error: Unavailable, tries: int = 6) -> list[int]:
    """After how many seconds each of so many failures is tried again."""
    clock = VirtualClock(START)
    retry, found = Retry(clock), []
    for _ in range(tries):
        retry.failed(error)
        began = clock.monotonic()
        while not retry.due():
            clock.sleep(SECOND)
        found.append(int((clock.monotonic() - began) / SECOND))
        assert not retry.due()
    return found


def until(seconds: int) -> Unavailable:
    """A ban of which the end is known."""
    banned = Unavailable("the venue serves this address no more")
    banned.until = START + seconds * SECOND
    return banned


def test_it_is_tried_as_often_as_a_watch() -> None:
    """However long the venue was away: what is naked is seen within the time of a watch once it is back."""
    assert waits(Unavailable("the venue is away")) == [5, 10, 15, 15, 15, 15]


def test_the_end_of_a_ban_is_the_next_try() -> None:
    """Nobody waits for longer than the venue does; a ban that outlasts its end is asked about in turn."""
    assert waits(until(12), 4) == [5, 7, 15, 15]


def test_what_fails_after_a_success_is_another_matter() -> None:
    """An outage of this morning makes nobody wait longer in the evening."""
    clock = VirtualClock(START)
    retry = Retry(clock)
    for _ in range(4):
        retry.failed(None)
    retry.succeeded()
    assert not retry.due()
    retry.failed(None)
    clock.sleep(5 * SECOND)
    assert retry.due()
