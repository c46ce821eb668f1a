"""Ctrl-C during a trade: the first finishes the clip that is under way, the second ends at once, and so does
a clip that takes too long.

Ending at once is safe, because the next start recovers; finishing is better, because nothing is left naked.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType

from fundarb.engine.desk import StopRequest

HARD_LIMIT = timedelta(seconds=16)
"""The whole must be over within twenty seconds, whatever the venue does not answer; the rest is for the last
words.
"""
_STDERR = 2
_SAID = b"finishing the step under way; once more to end at once\n"


@contextmanager
def finishing_clips(stop: StopRequest) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into a request to stop after this clip, within ``HARD_LIMIT``; outside
    the main thread nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.requested:
            signal.default_int_handler(number, frame)
        stop.requested = True
        signal.setitimer(signal.ITIMER_REAL, HARD_LIMIT.total_seconds())
        os.write(_STDERR, _SAID)  # a buffered stream may be in the middle of a line

    mine = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = {number: signal.signal(number, handle) for number in mine}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
