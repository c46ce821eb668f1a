"""The ``.env`` file: whether it may be trusted, and what it says.

Secrets live in it, so a file that others can read or that git tracks is refused, with the command that mends
it. Values are taken literally: nothing is interpolated, nothing is exported into the process environment.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from shutil import which

from dotenv import dotenv_values

from fundarb.errors import Problem

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def file_problems(path: Path) -> list[Problem]:
    """Why a file may not hold secrets: readable by others, somebody else's, tracked by git. Empty if it
    may.
    """
    where = str(path)
    try:
        status = path.stat()
    except OSError as error:
        return [Problem(where, f"cannot be read: {error.strerror}")]
    if not stat.S_ISREG(status.st_mode):
        return [Problem(where, "is not a regular file")]
    problems = []
    if status.st_mode & _OTHERS:
        problems.append(
            Problem(
                where,
                f"can be read by others (mode {stat.S_IMODE(status.st_mode):o}), and it holds secrets",
                f"run: chmod 600 {quote(where)}",
            )
        )
    if status.st_uid != os.getuid():
        problems.append(
            Problem(where, "belongs to another user", f"run: sudo chown {os.getuid()} {quote(where)}"),
        )
    if tracked_by_git(path):
        problems.append(
            Problem(
                where,
                "is tracked by git, so its secrets are in the history",
                f"run: git -C {quote(str(path.resolve().parent))} rm --cached {quote(path.name)}"
                " and replace the keys that were in it",
            )
        )
    return problems


def tracked_by_git(path: Path) -> bool:
    """Whether git knows the file; False without a work tree or without git."""
    place = path.resolve()
    git = which("git")
    if git is None or not any((folder / ".git").exists() for folder in place.parents):
        return False
    answer = subprocess.run(  # noqa: S603 - a fixed program; the path is an argument, no shell
        [git, "-C", str(place.parent), "ls-files", "--error-unmatch", "--", place.name],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        check=False,
    )
    return answer.returncode == 0


def read(path: Path) -> tuple[Mapping[str, str], list[Problem]]:
    """The names and values of a trusted file; of a refused one nothing but the problems."""
    problems = file_problems(path)
    if problems:
        return {}, problems
    try:
        found = dotenv_values(path, interpolate=False, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return {}, [Problem(str(path), f"cannot be read: {error}")]
    problems = [
        Problem(str(path), f"{name} has no value", f"write {name}=…")
        for name, value in found.items()
        if value is None and name.startswith(("FUNDARB_", "BYBIT_API_"))
    ]
    return {name: value for name, value in found.items() if value is not None}, problems
