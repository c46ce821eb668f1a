"""Which reads are repeated, how often and how long: the only place of the program that repeats a request.

Bounded in attempts and in total time; every wait goes through the clock that was handed in. Writes never come
here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

from fundarb.clock import Clock
from fundarb.errors import BadAnswer
from fundarb.exchange.strict import NoAnswer, VenueRefused

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """At most ``attempts`` tries, none begun later than ``total``; waits of ``first``, twice that, four times
    …
    """

    attempts: int = 3
    total: timedelta = timedelta(seconds=20)
    first: timedelta = timedelta(milliseconds=250)

    def within(self, limit: timedelta | None) -> RetryPolicy:
        """This policy for a read that has no more than ``limit``; as it is without one."""
        if limit is None or limit >= self.total:
            return self
        return replace(self, total=limit, first=min(self.first, limit / 8))


def may_repeat(error: BaseException) -> bool:
    """Whether a read that failed so may be tried again: transport faults, garbage and overload, never a
    refusal.
    """
    if isinstance(error, NoAnswer | VenueRefused):
        return error.repeat
    return isinstance(error, BadAnswer)


def repeated(read: Callable[[], T], *, clock: Clock, policy: RetryPolicy) -> T:
    """Call ``read`` until it answers or the policy is exhausted; then its last error is raised as it was."""
    started = clock.monotonic()
    try:
        return read()
    except (NoAnswer, VenueRefused, BadAnswer) as error:
        if not may_repeat(error):
            raise
        failed = error
    return _again(read, failed, clock=clock, policy=policy, started=started)


def _again(
    read: Callable[[], T], failed: BaseException, *, clock: Clock, policy: RetryPolicy, started: timedelta
) -> T:
    """The further tries, after the first one ``failed``; nearly every read answers at once and never comes
    here, hence the late import.
    """
    import tenacity

    def exhausted(state: tenacity.RetryCallState) -> bool:
        next_at = clock.monotonic() - started + timedelta(seconds=state.upcoming_sleep)
        return state.attempt_number >= policy.attempts or next_at >= policy.total

    first = [failed]

    def attempt() -> T:
        if first:
            raise first.pop()
        return read()

    retrying = tenacity.Retrying(
        stop=exhausted,
        wait=tenacity.wait_exponential(multiplier=policy.first.total_seconds(), max=5),
        retry=tenacity.retry_if_exception(may_repeat),
        sleep=lambda seconds: clock.sleep(timedelta(seconds=seconds)),
        reraise=True,
    )
    return retrying(attempt)
