"""Which reads are repeated, how often and how long: the only place of the program that repeats a request.

Bounded in attempts and in total time; every wait goes through the clock that was handed in. Writes never come
here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from fundarb.clock import Clock
from fundarb.errors import BadAnswer
from fundarb.exchange.strict import NoAnswer, VenueRefused

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """At most ``attempts`` tries, none started after ``total``; waits of ``first``, twice that, four times
    …
    """

    attempts: int = 3
    total: timedelta = timedelta(seconds=20)
    first: timedelta = timedelta(milliseconds=250)


def may_repeat(error: BaseException) -> bool:
    """Whether a read that failed so may be tried again: transport faults, garbage and overload, never a
    refusal.
    """
    if isinstance(error, NoAnswer | VenueRefused):
        return error.repeat
    return isinstance(error, BadAnswer)


def repeated(read: Callable[[], T], *, clock: Clock, policy: RetryPolicy) -> T:
    """Call ``read`` until it answers or the policy is exhausted; then its last error is raised as it was."""
    import tenacity

    started = clock.monotonic()

    def exhausted(state: tenacity.RetryCallState) -> bool:
        return state.attempt_number >= policy.attempts or clock.monotonic() - started >= policy.total

    retrying = tenacity.Retrying(
        stop=exhausted,
        wait=tenacity.wait_exponential(multiplier=policy.first.total_seconds(), max=5),
        retry=tenacity.retry_if_exception(may_repeat),
        sleep=lambda seconds: clock.sleep(timedelta(seconds=seconds)),
        reraise=True,
    )
    return retrying(read)
