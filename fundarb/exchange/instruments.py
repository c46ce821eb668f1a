"""The instrument list, cached on disk: a warm scan asks the venue for nothing but quotes.

The file names its version, its source and when it was read, and carries a hash of its content; anything that
does not fit (another version, another venue, too old, from the future, cut, edited) is as good as no file.
Written atomically. A cache that cannot be written is said in ``problem`` and never stops anything.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fundarb.clock import Clock
from fundarb.core.instants import from_ms, to_ms
from fundarb.core.market import Instruments
from fundarb.exchange.parse import Row
from fundarb.exchange.parse_market import (
    LINEAR_KEYS,
    SPOT_KEYS,
    instruments,
    perp_instrument,
    slim,
    spot_instrument,
)

VERSION = 1
_AHEAD = timedelta(minutes=5)
"""A file from further in the future than this belongs to another clock."""


@dataclass(frozen=True, slots=True)
class RawInstruments:
    """The rows of both markets as the venue sent them, and when."""

    spot: Sequence[Row]
    linear: Sequence[Row]
    as_of: datetime


class InstrumentCache:
    """The parsed list in memory, its rows on disk, the venue behind both."""

    def __init__(
        self,
        read: Callable[[], RawInstruments],
        *,
        clock: Clock,
        source: str,
        folder: Path | None,
        max_age: timedelta,
    ) -> None:
        """``read`` asks the venue; ``source`` is the venue's address; without ``folder`` nothing is kept
        on disk.
        """
        self._read = read
        self._clock = clock
        self._source = source
        self._max_age = max_age
        name = hashlib.sha256(source.encode()).hexdigest()[:12]
        self._path = folder / f"instruments-{name}.json" if folder is not None else None
        self._held: Instruments | None = None
        self._digest = ""
        self.problem = ""
        self.unreadable: Mapping[str, str] = {}

    @property
    def path(self) -> Path | None:
        """The cache file, whether it exists or not."""
        return self._path

    def get(self, *, refresh: bool = False) -> Instruments:
        """The list, not older than the allowed age; ``ParseError`` if the venue's is unreadable."""
        if not refresh:
            if self._held is not None and self._fresh(self._held.as_of):
                return self._held
            held = self._from_disk()
            if held is not None:
                self._held = held
                return held
        raw = self._read()
        content, digest = _content(raw)
        if self._held is not None and digest == self._digest:  # which is the rule from one hour to the next
            self._held = replace(self._held, as_of=raw.as_of)
        else:
            self._held, self._digest = self._parsed(raw), digest
        self._to_disk(raw.as_of, content, digest=digest)
        return self._held

    def _fresh(self, as_of: datetime) -> bool:
        return -_AHEAD <= self._clock.now() - as_of <= self._max_age

    def _parsed(self, raw: RawInstruments) -> Instruments:
        spot, bad_spot = instruments(raw.spot, spot_instrument)
        perp, bad_perp = instruments(raw.linear, perp_instrument)
        self.unreadable = bad_spot | bad_perp
        return Instruments(spot=spot, perp=perp, as_of=raw.as_of)

    def _from_disk(self) -> Instruments | None:
        if self._path is None:
            return None
        try:
            head_line, _, content = self._path.read_bytes().partition(b"\n")
            head = json.loads(head_line)
            if not self._fits(head, content):
                return None
            document = json.loads(content)
            raw = RawInstruments(document["spot"], document["linear"], from_ms(head["read_at"]))
            held = self._parsed(raw)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            return None  # missing, cut or edited: read it anew
        self._digest = head["sha256"]
        return held

    def _fits(self, head: Any, content: bytes) -> bool:
        return (
            head["version"] == VERSION
            and head["source"] == self._source
            and isinstance(head["read_at"], int)
            and self._fresh(from_ms(head["read_at"]))
            and head["sha256"] == hashlib.sha256(content).hexdigest()
        )

    def _to_disk(self, as_of: datetime, content: bytes, *, digest: str) -> None:
        if self._path is None:
            return
        head = {"version": VERSION, "source": self._source, "read_at": to_ms(as_of), "sha256": digest}
        try:
            _replace(self._path, json.dumps(head).encode() + b"\n" + content)
            self.problem = ""
        except OSError as error:
            self.problem = f"{self._path}: {error.strerror or error}"


def _content(raw: RawInstruments) -> tuple[bytes, str]:
    """What of the list is read, as the file keeps it, and its hash."""
    document = {
        "spot": [slim(row, SPOT_KEYS) for row in raw.spot],
        "linear": [slim(row, LINEAR_KEYS) for row in raw.linear],
    }
    content = json.dumps(document, separators=(",", ":"), default=str).encode()
    return content, hashlib.sha256(content).hexdigest()


def _replace(path: Path, content: bytes) -> None:
    """Write to a neighbour and rename, so that a reader sees the old file or the new one."""
    for folder in (
        path.parent.parent,
        path.parent,
    ):  # both ours, and private: the mode holds for the last one only
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
