"""How long the walks of a seeded episode are: in some stories they have many small clips, and each order
takes its time, so that whoever acts meanwhile acts in the middle of them.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Final

from fundarb.core.risk import RiskLimits

_PAUSES: Final = tuple(timedelta(milliseconds=pause) for pause in (900, 1700, 300))
_SMALL: Final = Decimal(250)


def walks_of(seed: int, limits: RiskLimits) -> tuple[RiskLimits, timedelta]:
    """The limits of a story, and what each of its creates takes: half of the stories with meddling have long
    walks.
    """
    if seed % 22 != 18:
        return limits, timedelta()
    return replace(limits, max_clip=_SMALL, orders_per_minute=600), _PAUSES[seed // 22 % len(_PAUSES)]
