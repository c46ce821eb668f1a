"""What may help after the venue refused an order for certain, by the number of its answer (Bybit V5 error
codes).

A refusal is never repeated as it is: either time must pass, or the price or the quantity must be another, or
nothing helps. Which refusals are certain is the exchange adapter's table; this one is for whoever hedges.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Cure(StrEnum):
    """WAIT: the same order may pass in a moment; REPRICE: at another price; RELIST: with the steps and
    minimums read again; NONE: not now, whatever is done to it.
    """

    WAIT = "wait"
    REPRICE = "reprice"
    RELIST = "relist"
    NONE = "none"


_WAIT: Final = frozenset({10006, 110063, 110066, 170222})
_REPRICE: Final = frozenset(
    {110003, 170132, 170133, 170192, 170193, 170194, 170195, 170196, 170197, 170198, 170371, 170372}
)
_RELIST: Final = frozenset(
    {10001, 110094, 170124, 170134, 170135, 170136, 170137, 170140, 170148, 170341, 170381, 170382}
)

NOT_THERE: Final = frozenset({110017, 170131})
"""What was to be reduced is not there, or not free: no position, or not so many coins."""
MAY_NOT_TRADE: Final = 10005
"""The key has no such right; it may still read."""
KEY_CODES: Final = frozenset({10003, 10004, MAY_NOT_TRADE, 10009, 10010, 33004})
"""The venue does not take the key, or not from here: no request that is signed with it is answered."""
_NOT_THE_ORDER: Final = KEY_CODES | {10002}


def judged(code: int | None) -> bool:
    """Whether a refusal was about the order: one that was not sent (no code), signed with a dead key or with
    a time that the venue does not take (10002) says nothing of what the same order will come to.
    """
    return code is not None and code not in _NOT_THE_ORDER


def cure(code: int | None) -> Cure:
    """What may help after this code; an order that our own gate held back (no code) is judged anew each
    time.
    """
    if code is None or code in _REPRICE:
        return Cure.REPRICE
    if code in _WAIT:
        return Cure.WAIT
    return Cure.RELIST if code in _RELIST else Cure.NONE
