"""Numbers as a trader reads them: percent and basis points with a sign, short amounts, countdowns; colour by
sign.

Only here fractions become percent. Rounding is for the screen alone: what is computed or stored never passes
through.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from rich.text import Text

from fundarb.core.money import fixed

_UNITS = (("T", Decimal(10) ** 12), ("B", Decimal(10) ** 9), ("M", Decimal(10) ** 6), ("k", Decimal(10) ** 3))
MISSING = "–"


def count(number: int, noun: str) -> str:
    """``1 position``, ``2 positions``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def percent(fraction: Decimal | None, places: int = 2, *, sign: bool = True) -> str:
    """``0.0479`` → ``+4.79``; the unit stands in the header."""
    return MISSING if fraction is None else fixed(fraction * 100, places, sign=sign)


def share(fraction: Decimal | None) -> str:
    """``0.2`` → ``20 %``."""
    return MISSING if fraction is None else f"{fraction * 100:.0f} %"


def points(fraction: Decimal | None, places: int = 2, *, sign: bool = True) -> str:
    """``0.0001`` → ``+1.00``, in basis points; the unit stands in the header."""
    return MISSING if fraction is None else fixed(fraction * 10_000, places, sign=sign)


def signed(text: str, value: Decimal | None) -> Text:
    """A figure in green above zero, in red below, plain at zero."""
    if value is None or value == 0:
        return Text(text)
    return Text(text, style="green" if value > 0 else "red")


def short(amount: Decimal | None) -> str:
    """``1234567`` → ``1.23M``."""
    if amount is None:
        return MISSING
    for unit, size in _UNITS:
        if abs(amount) >= size:
            value = amount / size
            return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f}{unit}"
    return f"{amount:.0f}"


def countdown(left: timedelta | None) -> str:
    """``2h 47m``, ``47m 53s``, ``1d 3h``; ``now`` when it is over."""
    if left is None:
        return MISSING
    seconds = int(left.total_seconds())
    if seconds <= 0:
        return "now"
    days, hours, minutes = seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days}d {hours:02}h"
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {seconds % 60:02}s"


def hours(interval: timedelta) -> str:
    """An interval in hours: ``8h``, ``0.5h``."""
    value = Decimal(interval // timedelta(minutes=1)) / 60
    return f"{value.normalize():f}h"


def span(duration: timedelta) -> str:
    """A duration in the largest unit that it fills: ``30 days``, ``36 hours``, ``90 seconds``."""
    for unit, size in (
        ("day", timedelta(days=1)),
        ("hour", timedelta(hours=1)),
        ("minute", timedelta(minutes=1)),
    ):
        count, rest = divmod(duration, size)
        if count and not rest:
            return f"{count} {unit}{'s' if count > 1 else ''}"
    seconds = Decimal(duration // timedelta(milliseconds=1)) / 1000
    return f"{seconds:f} second{'' if seconds == 1 else 's'}"


def days(duration: timedelta | None) -> str:
    """``10.3 d`` without the unit."""
    return MISSING if duration is None else f"{Decimal(duration // timedelta(minutes=1)) / 1440:.1f}"
