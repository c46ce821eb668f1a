"""The file that ``--state`` names: looked at before a world begins, read at the start, written at the end,
whole or not at all. One sandbox at a time has it.

It knows nothing of what a snapshot holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fundarb.errors import ConfigError, Problem, StateUnavailable


def unwritable(path: Path) -> Problem | None:
    """Why a world could not be kept there, found out by trying: better at the start than when it ends."""
    if path.is_dir():
        return Problem("--state", f"{path} is a folder", "name a file inside it")
    beside = _beside(path)
    try:
        with beside.open("ab"):
            pass
        beside.unlink()
    except OSError as error:
        return Problem(
            "--state",
            f"{path} cannot be written: {error.strerror}",
            "create its folder and make it writable, or name a file elsewhere",
        )
    return None


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Within it no other sandbox may use the file; ``ConfigError`` if one does. The lock is on a file beside
    it, and goes with the process however that ends.
    """
    with path.with_name(f"{path.name}.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            problem = f"{path} is in use by another sandbox"
            raise ConfigError(Problem("--state", problem, "end that one, or name another file")) from error
        yield


def load(path: Path, restore: Callable[[Any], object]) -> None:
    """Restore what the file holds; ``ConfigError`` if it cannot be read or is no world (``restore`` says so
    with a ``ValueError``).
    """
    try:
        restore(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        remedy = "give another file, or move it away to begin anew"
        raise ConfigError(Problem("--state", f"{path} cannot be loaded: {error}", remedy)) from error


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Replace the file, durably; ``StateUnavailable`` if the machine refuses: what was there before stays."""
    beside, text = _beside(path), json.dumps(content)
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise StateUnavailable(
            f"this run's world could not be written to {path}: {error.strerror}; "
            "the file is as it was before, what happened since is lost"
        ) from error


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _sync_folder(folder: Path) -> None:
    """Make a rename durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
