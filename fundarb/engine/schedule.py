"""Which taker rates a scan reckons with: the account's own where there is a key, read in bulk, else the
public schedule.

Reads only. An account whose rates cannot be read is no reason to show nothing: the public schedule stands in,
and that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from fundarb.clock import Clock
from fundarb.core.account import VIP0_SPOT, FeeRates
from fundarb.core.market import Category, Pair
from fundarb.core.reasons import Reason
from fundarb.engine.ports import MarketData
from fundarb.errors import Unavailable

_KEEP = timedelta(hours=12)
"""A tier changes once a day at most."""


def nobody(_: Unavailable) -> None:
    """Is told by whoever only shows what it reads."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The account's rates by symbol; both empty where the public schedule holds, ``problem`` says why it
    stands in.
    """

    spot: Mapping[str, FeeRates] = field(default_factory=dict)
    perp: Mapping[str, FeeRates] = field(default_factory=dict)
    problem: Reason | None = None

    @property
    def source(self) -> str:
        """``account`` or ``schedule``, as in ``FeeRates``."""
        return "account" if self.spot or self.perp else VIP0_SPOT.source

    def of(self, pair: Pair) -> tuple[FeeRates | None, FeeRates | None]:
        """The rates of both legs, spot first; None where only the public schedule is known."""
        return self.spot.get(pair.spot.symbol), self.perp.get(pair.perp.symbol)


class ScheduleBook:
    """Keeps what was read for some hours."""

    def __init__(self, market: MarketData, clock: Clock, *, met: Callable[[Unavailable], object]) -> None:
        """Read through one venue; ``met`` is told what could not be read."""
        self._market = market
        self._clock = clock
        self._met = met
        self._read: tuple[timedelta, Schedule] | None = None

    def now(self) -> Schedule:
        """The rates that hold: two requests with a key, none without one or while what was read is young."""
        at = self._clock.monotonic()
        if self._read is not None and at - self._read[0] < _KEEP:
            return self._read[1]
        try:
            found = Schedule(
                spot=self._market.fee_schedule(Category.SPOT), perp=self._market.fee_schedule(Category.LINEAR)
            )
        except Unavailable as error:
            self._met(error)
            message = f"the account's fee rates cannot be read ({error}): reckoned with the public schedule"
            return Schedule(problem=Reason("fee_rates", message))
        self._read = (at, found)
        return found
