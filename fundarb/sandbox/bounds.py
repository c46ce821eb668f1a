"""How large a number, how far an instant and how old a world may be: whatever comes in from outside lies
within, so that nothing that is worked out from it leaves the precision or the calendar.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

MOST = Decimal("1E+12")
"""The largest amount, price or factor that is taken in; its inverse is the smallest."""
LARGEST_MOVE = Decimal(10) ** 6
"""By how much the jumps of a coin may move its prices in all, up or down."""
HELD = Decimal(10) ** 24
"""The largest number of a restored state: a price times a quantity."""
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
LIFE = timedelta(days=1826)
"""How long a world lasts on a virtual clock: five years."""
LARGEST_SKEW_MS = 86_400_000


def sane(number: Decimal, most: Decimal = MOST) -> bool:
    """Whether a number is zero, or neither too large nor too small."""
    return not number or 1 / most <= abs(number) <= most


def in_calendar(instant: datetime) -> bool:
    """Whether an aware instant lies in this century."""
    return FIRST <= instant < LAST
