"""The breaker: jobs that keep failing forbid opens until they work again; hedging, closing and recovery go
on. Jobs on which no trade depends (a copy, a summary) only call a person.

Owns the ``breaker`` block and nothing else. One alert per incident, not one per failure; a ban or a dead key
is an incident of its own (``engine.shut_out``) and fails every job.
"""

from __future__ import annotations

from collections.abc import Collection

from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind
from fundarb.engine.alerts import alert_once, alert_over
from fundarb.engine.shut_out import shut_out
from fundarb.store.database import Store

LIMIT = 3
"""Failures in a row of one job that trip it."""
_REMIND = 20


class Breaker:
    """Counts failures in a row, job by job."""

    def __init__(self, store: Store, *, spared: Collection[str] = ()) -> None:
        """Nothing has failed yet; a block that an earlier process left is lifted by the first clean round.
        The jobs in ``spared`` forbid nothing.
        """
        self._store = store
        self._spared = frozenset(spared)
        self._failures: dict[str, int] = {}
        self._worked: set[str] = set()
        self._left_over = store.blocks.get(GLOBAL_SCOPE, BlockKind.BREAKER) is not None

    def is_news(self, job: str) -> bool:
        """Whether one more failure of a job deserves an event: the first ones, then now and then."""
        count = self._failures.get(job, 0) + 1
        return count <= LIMIT or count % _REMIND == 0

    def failed(self, job: str, error: BaseException) -> None:
        """A job ended with an error; that the venue lets nobody in is told at once."""
        away = shut_out(self._store, error)
        count = self._failures[job] = self._failures.get(job, 0) + 1
        if count < LIMIT:
            return
        if job not in self._spared:
            reason = f"{', '.join(self.tripped)}: failed {LIMIT} times in a row or more"
            now = self._store.clock.now()
            self._store.blocks.set(
                Block(scope=GLOBAL_SCOPE, kind=BlockKind.BREAKER, reason=reason, since=now)
            )
        if not away:
            alert_once(self._store, "job_fails", subject=job, message=f"{job} keeps failing: {error}")

    def succeeded(self, job: str) -> bool:
        """A job ran to its end: once all that tripped the breaker work again, opens are allowed again. True
        if it had failed before.
        """
        failures = self._failures.pop(job, 0)
        tripped = failures >= LIMIT
        if tripped or job not in self._worked:  # an earlier process may have told of it
            self._worked.add(job)
            alert_over(self._store, ("job_fails",), subject=job)
        if (tripped or self._left_over) and not self.tripped:
            self._left_over = False
            if self._store.blocks.get(GLOBAL_SCOPE, BlockKind.BREAKER) is not None:
                self._store.blocks.clear(GLOBAL_SCOPE, BlockKind.BREAKER)
        return failures > 0

    @property
    def tripped(self) -> tuple[str, ...]:
        """The jobs that keep failing and forbid opens."""
        failing = {job for job, count in self._failures.items() if count >= LIMIT}
        return tuple(sorted(failing - self._spared))
