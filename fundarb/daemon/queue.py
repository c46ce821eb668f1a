"""The one priority queue of the trading thread: jobs, commands and urgent work meet here.

It holds names, not work: what a name means is the worker's business. A name that already waits is not added
twice; asked for with more urgency it moves up. Threads put, one thread takes.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum

COMMANDS = "commands"
"""The name under which command rows wait; one turn executes one row."""


class Priority(IntEnum):
    """Who goes first; a smaller number is more urgent."""

    URGENT = 0
    COMMAND = 1
    WATCH = 2
    RECONCILE = 3
    COLLECT = 4
    CLOSE = 5
    OPEN = 6
    OTHER = 7


PRIORITIES: Mapping[str, Priority] = {
    "watch": Priority.WATCH,
    "reconcile": Priority.RECONCILE,
    "collect_funding": Priority.COLLECT,
    "close_when_due": Priority.CLOSE,
    "scan_and_open": Priority.OPEN,
}
"""The priority of each ``run`` of jobs.toml; what is not listed is OTHER."""


def priority_of(run: str) -> Priority:
    """How urgent a run of this kind is when its time has come."""
    return PRIORITIES.get(run, Priority.OTHER)


@dataclass(frozen=True, slots=True)
class Item:
    """A name that was taken, with the priority it waited under."""

    name: str
    priority: Priority


class JobQueue:
    """Names by priority, first come first served within one priority."""

    def __init__(self) -> None:
        """Empty and open."""
        self._changed = threading.Condition()
        self._heap: list[tuple[Priority, int, str]] = []
        self._waiting: dict[str, Priority] = {}
        self._count = 0
        self._closed = False

    def put(self, name: str, priority: Priority) -> bool:
        """Let a name wait; False if it waits already (it is moved up if this call is more urgent) or the
        queue is closed.
        """
        with self._changed:
            held = self._waiting.get(name)
            if self._closed or (held is not None and held <= priority):
                return False
            self._waiting[name] = priority
            self._count += 1
            heapq.heappush(self._heap, (priority, self._count, name))
            self._changed.notify()
            return held is None

    def take(self, wait: timedelta = timedelta()) -> Item | None:
        """The most urgent name; None if nothing comes within ``wait`` (of the machine's time) or the queue
        is closed.
        """
        with self._changed:
            if not self._waiting and not self._closed and wait > timedelta():
                self._changed.wait_for(lambda: bool(self._waiting) or self._closed, wait.total_seconds())
            while self._heap and not self._closed:
                priority, _, name = heapq.heappop(self._heap)
                if self._waiting.get(name) is priority:  # else it was moved up and has been taken already
                    del self._waiting[name]
                    return Item(name, priority)
            return None

    def waiting(self) -> tuple[str, ...]:
        """Every name that waits, the most urgent first."""
        with self._changed:
            live = sorted(entry for entry in self._heap if self._waiting.get(entry[2]) is entry[0])
            return tuple(dict.fromkeys(name for _, _, name in live))

    def close(self) -> None:
        """Nothing is given out or taken in any more; whoever waits is woken. What waited is dropped: the
        schedule brings it again.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        with self._changed:
            return self._closed
