"""The platform's own settings, which are no business of the venue: what its clock claims, maintenance, and
what the world has announced or moved; part of a snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from fundarb.core.instants import from_ms, to_ms
from fundarb.core.money import dec
from fundarb.sandbox.bounds import FIRST, LARGEST_SKEW_MS, LAST, sane

_CALENDAR = range(to_ms(FIRST), to_ms(LAST))


@dataclass(slots=True, kw_only=True)
class Setting:
    """``jumps``: when the world moved a coin's prices (milliseconds), by one of its symbols, and by which
    factor. ``announced``: when it announced a delisting, by symbol (the script's own are in the feed).
    """

    skew_ms: int = 0
    maintenance: list[tuple[int, int]] = field(default_factory=list)
    jumps: list[tuple[int, str, Decimal]] = field(default_factory=list)
    announced: dict[str, datetime] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "skew_ms": self.skew_ms,
            "maintenance": [list(window) for window in self.maintenance],
            "jumps": [[at, symbol, str(factor)] for at, symbol, factor in self.jumps],
            "announced": {symbol: to_ms(at) for symbol, at in self.announced.items()},
        }

    @classmethod
    def of(cls, state: Mapping[str, Any], *, listed: frozenset[str]) -> Setting:
        """From JSON values; ``ValueError``, ``KeyError`` or ``TypeError`` for anything that it cannot be.
        ``listed``: the symbols that there are.
        """
        found = cls(
            skew_ms=_whole(state["skew_ms"], range(-LARGEST_SKEW_MS, LARGEST_SKEW_MS + 1)),
            maintenance=[
                (_whole(begin, _CALENDAR), _whole(end, _CALENDAR)) for begin, end in state["maintenance"]
            ],
            jumps=[(_whole(at, _CALENDAR), symbol, dec(factor)) for at, symbol, factor in state["jumps"]],
            announced={symbol: from_ms(_whole(at, _CALENDAR)) for symbol, at in state["announced"].items()},
        )
        moved = {symbol for _, symbol, _ in found.jumps}
        if not listed.issuperset((*moved, *found.announced)):
            msg = "setting: a symbol is not listed"
            raise ValueError(msg)
        if any(factor <= 0 or not sane(factor) for _, _, factor in found.jumps):
            msg = "setting: a factor is out of range"
            raise ValueError(msg)
        return found


def _whole(value: object, allowed: range) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value not in allowed:
        msg = f"{str(value)[:40]} is not between {allowed.start} and {allowed.stop - 1}"
        raise ValueError(msg)
    return value
