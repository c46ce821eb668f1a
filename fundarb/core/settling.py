"""The moments around a settlement at which no entry begins: a position must be whole at the instant, or not
be there at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from fundarb.core.instants import iso
from fundarb.core.market import FundingRate
from fundarb.core.money import plain, seconds
from fundarb.core.reasons import Reason

SETTLEMENT_BEFORE = timedelta(seconds=5)
SETTLEMENT_AFTER = timedelta(seconds=15)


def settlement_warning(now: datetime, funding: FundingRate, *, t_hedge: timedelta) -> Iterator[Reason]:
    """The settlement, coming or just past, that an entry waits for."""
    if not settlement_wait(now, funding, t_hedge=t_hedge):
        return
    if _is_near(now, funding.next_time, t_hedge=t_hedge):
        text = f"a settlement is close ({iso(funding.next_time)}); the entry waits for it"
    else:
        past, rest = iso(funding.next_time - funding.interval), plain(seconds(SETTLEMENT_AFTER))
        text = f"a settlement has just been ({past}); the entry waits until {rest} s after it"
    yield Reason("settlement_window", text)


def _is_near(now: datetime, coming: datetime, *, t_hedge: timedelta) -> bool:
    """Whether an entry clip that started now might still be under way at a settlement."""
    return now + 2 * t_hedge >= coming - SETTLEMENT_BEFORE


def settlement_wait(now: datetime, funding: FundingRate, *, t_hedge: timedelta) -> timedelta:
    """How long an entry clip must wait for a settlement; zero if it may start now.

    None starts unless ``now + 2·t_hedge < settlement − 5 s``, and none until 15 s after one.
    """
    coming = funding.next_time
    if _is_near(now, coming, t_hedge=t_hedge):
        return max(coming - now + SETTLEMENT_AFTER, timedelta())
    # a little below zero: the ticker shows the new period, but our estimate of the time is biased to the past
    since = now - (coming - funding.interval)
    return SETTLEMENT_AFTER - since if -SETTLEMENT_BEFORE <= since < SETTLEMENT_AFTER else timedelta()
