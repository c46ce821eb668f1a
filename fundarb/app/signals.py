"""Ctrl-C during a trade: the first finishes the clip that is under way, the second ends at once.

Ending at once is safe, because the next start recovers; finishing is better, because nothing is left naked.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fundarb.engine.desk import StopRequest

_STDERR = 2
_SAID = b"finishing the step under way; once more to end at once\n"


@contextmanager
def finishing_clips(stop: StopRequest) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into a request to stop after this clip; outside the main thread
    nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.requested:
            signal.default_int_handler(number, frame)
        stop.requested = True
        os.write(_STDERR, _SAID)  # a buffered stream may be in the middle of a line

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
