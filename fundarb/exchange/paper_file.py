"""The paper account's file: read whole, written atomically and durably, by one process at a time.

One JSON object. A write goes to a temporary file beside it, is fsynced, renamed over it, and the directory is
fsynced, so that a crash leaves the old state or the new one. Who means to write holds a lock on a file beside
it until the process ends, however it ends; a second process is refused before it has done anything. What the
object means is the business of ``paper``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fundarb.errors import ConfigError, InvariantBroken, Locked, Problem

FORMAT = 1


class AccountFile:
    """One paper account on disk."""

    def __init__(self, path: Path) -> None:
        """Nothing is touched until ``read`` or ``write``."""
        self.path = path
        self._seen: tuple[int, int] | None = None
        self._lock: int | None = None

    def claim(self) -> None:
        """Become the process that writes this account; ``Locked`` if another one is."""
        if self._lock is not None:
            return
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(
                self.path.with_name(f"{self.path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise self._broken(f"cannot be locked: {error.strerror}") from error
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise Locked(f"the paper account {self.path} is in use by another process") from error
        self._lock = lock
        weakref.finalize(self, os.close, lock)  # the lock goes with this object, or with the process

    def read(self) -> dict[str, Any] | None:
        """What is stored, None if there is no file yet; ``ConfigError`` with the remedy for anything
        unreadable.
        """
        try:
            with self.path.open("rb") as file:
                data = file.read()
                self._seen = _stamp(os.fstat(file.fileno()))
        except FileNotFoundError:
            self._seen = None
            return None
        except OSError as error:
            raise self._broken(f"cannot be read: {error.strerror}") from error
        try:
            content = json.loads(data)
        except ValueError as error:
            raise self._broken(f"is not JSON: {error}") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise self._broken("was written by another version of this program")
        return content

    def _broken(self, what: str) -> ConfigError:
        return ConfigError(
            Problem(
                where=str(self.path),
                message=f"the paper account {what}",
                remedy="restore the file, or move it away and begin a new account with a new database",
            )
        )

    def write(self, content: Mapping[str, Any]) -> None:
        """Replace the file; ``OSError`` if the disk refuses, ``InvariantBroken`` if somebody else has
        written it.
        """
        if self._on_disk() != self._seen:
            raise InvariantBroken(f"{self.path} was changed by another process while this one used it")
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(json.dumps({"format": FORMAT, **content}, separators=(",", ":")).encode())
                file.flush()
                os.fsync(file.fileno())
                stamp = _stamp(os.fstat(file.fileno()))
            temporary.replace(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        self._seen = stamp
        _sync_directory(self.path.parent)

    def _on_disk(self) -> tuple[int, int] | None:
        try:
            return _stamp(self.path.stat())
        except FileNotFoundError:
            return None


def _stamp(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_ino, stat.st_mtime_ns


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
