"""How a sandbox is started: one frozen value that the command line, tests and the demo fill in; it starts
nothing itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from fundarb.venue.engine import Rules
from fundarb.venue.feed import MarketFeed

LOOPBACK = ("127.0.0.1", "::1", "localhost")
DEFAULT_PORT = 8899


class ClockKind(StrEnum):
    """Whether venue time is the wall clock or moves only by ``POST /sandbox/clock``."""

    REAL = "real"
    VIRTUAL = "virtual"


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """Everything a sandbox needs to know.

    ``market`` builds the price source for a start instant (it is called once, in the process that serves;
    hand in something that pickles, like ``functools.partial`` of a function of a module, if the sandbox is
    to run in a process of its own). ``start`` is where a virtual clock begins; on a real clock it is None
    and the wall clock counts. ``seed``, ``replay`` and ``run`` only name the world: the account uid is a
    hash of them and the start; without ``run`` each start is a new world. ``state`` is a snapshot file:
    loaded if it exists (uid and clock included), written at exit. ``match_delay`` None means 2 ms on a real
    clock and none on a virtual one. ``limits`` None means the request limits hold on a real clock only.
    """

    market: Callable[[datetime], MarketFeed]
    port: int = DEFAULT_PORT
    host: str = "127.0.0.1"
    clock: ClockKind = ClockKind.REAL
    start: datetime | None = None
    balances: Mapping[str, Decimal] = field(default_factory=lambda: {"USDT": Decimal(100_000)})
    key: str = "demo"
    secret: str = "demo"  # noqa: S105 - a sandbox has no secret worth the name
    seed: int = 1
    replay: str = ""
    run: str | None = None
    state: Path | None = None
    match_delay: timedelta | None = None
    limits: bool | None = None
    rules: Rules | None = None

    def venue_rules(self) -> Rules:
        """The venue's rules with this sandbox's match delay."""
        rules = self.rules or Rules()
        delay = self.match_delay
        if delay is None:
            delay = timedelta(milliseconds=2) if self.clock is ClockKind.REAL else timedelta()
        return replace(rules, match_delay=delay)

    @property
    def limited(self) -> bool:
        """Whether request limits hold."""
        return self.clock is ClockKind.REAL if self.limits is None else self.limits


def world_uid(seed: int, start: datetime, *, replay: str, run: str) -> str:
    """The account's uid, nine digits like a real one: the same world, the same uid; another world, another
    one.
    """
    text = f"{seed}|{start.isoformat()}|{replay}|{run}"
    return str(100_000_000 + int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 900_000_000)
