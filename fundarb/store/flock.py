"""A file lock that the operating system takes back when its holder dies, however it dies.

The lock is on the open file, not in it: the text inside (pid, role, since) is for people. The file is never
deleted: who deletes a lock file lets a second holder in beside the first. A stopped process keeps its lock.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path

from fundarb.errors import StateUnavailable


class FileLock:
    """``flock`` on one path. Not inherited across ``exec``; a forked child shares it with its parent."""

    def __init__(self, path: Path) -> None:
        """Nothing is opened yet."""
        self.path = path
        self._file: int | None = None

    def try_acquire(self) -> bool:
        """Take the lock if nobody has it. True if it is (now, or already) ours."""
        if self._file is not None:
            return True
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._file = file
        if not self.ours():  # the file was deleted between open and lock: this lock excludes nobody
            self.release()
            return False
        return True

    def write(self, holder: Mapping[str, str | int]) -> None:
        """Say inside the file who holds it; ``StateUnavailable`` if the disk does not take it."""
        if self._file is None:
            return
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, json.dumps(dict(holder)).encode(), 0)
        except OSError as error:
            message = f"the lock file {self.path} cannot be written: {error.strerror}; nothing was sent"
            raise StateUnavailable(message) from error

    def ours(self) -> bool:
        """Whether we hold it, and the file of that name is still the one we hold. Costs two stats."""
        if self._file is None:
            return False
        try:
            there = self.path.stat()
        except OSError:
            return False
        mine = os.fstat(self._file)
        return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)

    def release(self) -> None:
        """Let go; nothing happens if it is not held."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def lock_path(database: Path) -> Path:
    """The lock file of a database file."""
    return database.with_name(database.name + ".lock")


def held(path: Path) -> bool:
    """Whether anybody (this process included) holds the lock. Looking takes a shared lock for an instant."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def holder(path: Path) -> dict[str, str | int]:
    """What the last holder wrote about itself; empty if nothing readable is there."""
    try:
        found = json.loads(path.read_bytes() or b"{}")
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
