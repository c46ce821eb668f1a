"""SIGTERM to a command is Ctrl-C: the same answer, the same exit code, whoever ends it; and once there is an
answer, it stays.

Owns nothing but the handler. A trade and a daemon put handlers of their own on top, which finish the step
under way; what is left is a command that has not yet begun one, or only reads. Light on purpose: ``--help``
passes here too.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def terminated_is_interrupted() -> Iterator[None]:
    """Inside, SIGTERM raises ``KeyboardInterrupt``; outside the main thread nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def answered() -> None:
    """The answer is given and the process about to end: a signal that comes now changes nothing of it. The
    interpreter takes its own handlers down long before itself, but leaves what is ignored alone.
    """
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
