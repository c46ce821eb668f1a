"""When bars begin and end: fixed lengths since midnight UTC, weeks from Monday on, months of the calendar
(Bybit V5 API, kline); it knows no price.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONDAY = timedelta(days=4)
_DAY = timedelta(days=1)
_MINUTES = {
    **{str(minutes): minutes for minutes in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)},
    "D": 1440,
    "W": 10_080,
}
_MONTH = "M"
INTERVALS = (*_MINUTES, _MONTH)
"""What the wire calls them."""
OF_DAYS = ("W", _MONTH)
"""Those that are made of daily bars."""


def shortest(interval: str) -> timedelta:
    """How long one bar is at least."""
    return timedelta(days=28) if interval == _MONTH else timedelta(minutes=_MINUTES[interval])


def begun(interval: str, at: datetime) -> datetime:
    """When the bar begins in which an instant lies."""
    if interval == _MONTH:
        return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    since = _EPOCH + _MONDAY if interval == "W" else _EPOCH
    return at - (at - since) % shortest(interval)


def following(interval: str, start: datetime) -> datetime:
    """When the bar ends that begins then: where the next one begins."""
    if interval == _MONTH:
        return begun(interval, start + timedelta(days=31))
    return start + shortest(interval)


def earlier(interval: str, start: datetime, *, count: int) -> datetime:
    """When the bar began so many before (negative: after) the one that begins then."""
    if interval != _MONTH:
        return start - shortest(interval) * count
    months = start.year * 12 + start.month - 1 - count
    return start.replace(year=months // 12, month=months % 12 + 1)
