"""The packaged templates of ``fundarb.toml``, ``jobs.toml`` and ``.env.example``, and how they are put into a
folder.

What is there already is never touched, whatever it holds.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from fundarb.errors import ConfigError, Problem

# Name in the folder, name in the package (a dot in front would be lost by some packagers), mode of the new
# file.
_TEMPLATES = (
    ("fundarb.toml", "fundarb.toml", 0o644),
    ("jobs.toml", "jobs.toml", 0o644),
    (".env.example", "env.example", 0o600),
)


@dataclass(frozen=True, slots=True)
class Written:
    """What ``write`` did in a folder: names of new files, names of files that were kept."""

    folder: Path
    written: tuple[str, ...]
    kept: tuple[str, ...]


def template(name: str) -> str:
    """The text of a packaged template (``jobs.toml``)."""
    return files("fundarb").joinpath("data", "templates", name).read_text(encoding="utf-8")


def write(folder: Path) -> Written:
    """Write the templates that the folder lacks, making the folder if needed; ``ConfigError`` if it cannot be
    written.
    """
    written, kept = [], []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, packaged, mode in _TEMPLATES:
            try:
                descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            except FileExistsError:
                kept.append(name)
                continue
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(template(packaged))
            written.append(name)
    except OSError as error:
        raise ConfigError(
            Problem(str(folder), f"cannot be written: {error.strerror}", "name another folder")
        ) from None
    return Written(folder, tuple(written), tuple(kept))
