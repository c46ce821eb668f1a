"""The exit codes: a promise to scripts (the table in the README); numbers never change their meaning."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What a process of fundarb says when it ends."""

    DONE = 0
    BUG = 1
    USAGE = 2
    REFUSED = 3
    UNAVAILABLE = 4
    UNCERTAIN = 5
    MISMATCH = 6
    LOCKED = 7
    INCOMPLETE = 8
    INTERRUPTED = 130
