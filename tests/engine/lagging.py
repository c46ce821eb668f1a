"""A venue whose private reads all show its past: orders, fills, log, positions and wallet alike."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from fundarb.core.account import PositionReport, Wallet
from tests.engine.world import World

_STEP = timedelta(seconds=1)


class Past:
    """Keeps what positions and wallet were, and shows them as they were ``lag`` ago."""

    def __init__(self, world: World, patch: pytest.MonkeyPatch) -> None:
        """Of one world; nothing lags yet."""
        self._world = world
        self._reads = (world.exchange.positions, world.exchange.wallet)
        self._kept: deque[tuple[datetime, tuple[PositionReport, ...], Wallet]] = deque()
        self._sleep = world.clock.sleep
        patch.setattr(world.exchange, "positions", lambda: self._then()[1])
        patch.setattr(world.exchange, "wallet", lambda: self._then()[2])
        patch.setattr(type(world.clock), "sleep", lambda _, duration: self._pass(duration))
        self._keep()

    def lag(self, by: timedelta) -> None:
        """From now on everything private is read as it was so long ago."""
        self._keep()
        self._world.exchange.read_lag = by

    def before_create(self, number: int, then: Callable[[], None]) -> None:
        """Let something happen right before the create of this number (from one) reaches the venue."""
        real, seen = self._world.exchange.create, [0]

        def create(*args: Any, **named: Any) -> Any:
            seen[0] += 1
            if seen[0] == number:
                then()
            return real(*args, **named)

        self._world.exchange.create = create  # type: ignore[method-assign]

    def _pass(self, duration: timedelta) -> None:
        """Time passes a second at a time at most, each kept."""
        while duration > timedelta():
            step = min(duration, _STEP)
            self._sleep(step)
            self._keep()
            duration -= step

    def _keep(self) -> None:
        positions, wallet = self._reads
        self._kept.append((self._world.clock.now(), positions(), wallet()))

    def _then(self) -> tuple[datetime, tuple[PositionReport, ...], Wallet]:
        lag, now = self._world.exchange.read_lag, self._world.clock.now()
        if not lag:
            self._keep()
        known = [item for item in self._kept if item[0] <= now - lag]
        return known[-1] if known else self._kept[0]
