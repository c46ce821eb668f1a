"""The note of an IP ban, so that the next process does not go on asking: the venue bans an address, not a
program.

A small file beside the cache, one per venue address; looked at before each request, for a neighbour may have
been banned meanwhile. Losing it costs one more refused request, hence every fault of the file is ignored.
Sends nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from fundarb.clock import Clock
from fundarb.core.instants import from_ms, to_ms


class BanNote:
    """Until when nothing may be asked of one venue, for every process that shares a folder."""

    def __init__(self, folder: Path | None, source: str, *, clock: Clock, longest: timedelta) -> None:
        """``source`` is the venue's address. Without a folder nothing is noted. A note further ahead than
        ``longest`` is of another clock and does not count.
        """
        name = hashlib.sha256(source.encode()).hexdigest()[:12]
        self._path = str(folder / f"ban-{name}.json") if folder is not None else ""
        self._clock = clock
        self._longest = longest
        self._seen: tuple[int, int] | None = None
        self._until: datetime | None = None

    def left(self) -> timedelta:
        """How long the noted ban still lasts; zero without one."""
        if not self._path:
            return timedelta()
        try:
            found = os.stat(self._path)  # noqa: PTH116 - asked before every request
        except OSError:
            return timedelta()
        version = (found.st_mtime_ns, found.st_ino)
        if version != self._seen:
            self._seen, self._until = version, self._read()
        if self._until is None:
            return timedelta()
        left = self._until - self._clock.now()
        return left if timedelta() < left <= self._longest else timedelta()

    def write(self, until: datetime) -> None:
        """Note a ban."""
        if not self._path:
            return
        path = Path(self._path)
        fresh = path.with_suffix(f".{os.getpid()}")
        with suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh.write_text(json.dumps({"until": to_ms(until)}), encoding="ascii")
            fresh.replace(path)

    def _read(self) -> datetime | None:
        try:
            return from_ms(int(json.loads(Path(self._path).read_bytes())["until"]))
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None
