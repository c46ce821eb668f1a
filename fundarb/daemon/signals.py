"""SIGTERM and SIGINT: the first asks for an orderly end, the second ends at once.

Caught from the first moment of a daemon on, long before it has anything to put in order: whoever stops it
while it starts gets the same answer as later. Light on purpose: nothing may have to be loaded first.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

_INTERRUPTED = 130


def _nothing() -> None:
    """Nobody wants to know."""


@dataclass(slots=True)
class Signals:
    """Which signal came ``first``; zero while none has."""

    first: int = 0
    _tell: Callable[[], None] = field(default=_nothing)

    def tell(self, whom: Callable[[], None]) -> None:
        """Call ``whom`` (which does next to nothing) when the first one comes; at once if it has come."""
        self._tell = whom
        if self.first:
            whom()

    def take(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the interface gives it
        """A signal arrived."""
        if self.first:
            os._exit(_INTERRUPTED)
        self.first = number
        self._tell()

    @contextmanager
    def caught(self) -> Iterator[None]:
        """While inside, signals come here; only on the main thread. May be entered again inside itself."""
        before = {number: signal.signal(number, self.take) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
