"""What ``doctor`` looks at on this machine: the settings, the jobs, the files and who may read them.

Reads only, unless asked to ``mend``, and then only permissions and missing folders. The venue is not asked
here.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from shlex import quote

from fundarb.config.jobs import load_jobs
from fundarb.config.schema import Settings
from fundarb.config.templates import template
from fundarb.core.health import Check, Level
from fundarb.errors import ConfigError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def jobs_check(settings: Settings) -> Check:
    """Whether the jobs can be read."""
    try:
        jobs = load_jobs(settings, template("jobs.toml"))
    except ConfigError as error:
        return Check("jobs", Level.FAIL, str(error), remedy="mend jobs.toml")
    origin = settings.jobs_file or "the built-in list"
    active = sum(job.enabled for job in jobs)
    return Check("jobs", Level.OK, f"{active} of {len(jobs)} jobs enabled, from {origin}")


def file_checks(settings: Settings, *, mend: bool) -> tuple[Check, ...]:
    """The home folder and every file in it that may hold state: there, writable, private."""
    home = settings.home
    checks = [_home_check(home, mend=mend)]
    if home.is_dir():
        checks += [
            found
            for path in sorted(home.iterdir())
            if path.is_file()
            and path.suffix in {".db", ".lock"}
            and (found := _private(path, mend=mend)) is not None
        ]
        checks += _cache_checks(home / "cache")
    if settings.env_file is not None:
        checks.append(Check("env_file", Level.OK, f"{settings.env_file} is private and not tracked by git"))
    return tuple(checks)


def _cache_checks(folder: Path) -> list[Check]:
    """A warning if the instrument list cannot be kept; nothing if it can, or if there is no folder yet."""
    if not folder.exists() or (folder.is_dir() and os.access(folder, os.R_OK | os.W_OK | os.X_OK)):
        return []
    message = f"{folder} is not a folder that can be written: every scan reads the instruments anew"
    return [Check("cache", Level.WARN, message, remedy=f"remove {quote(str(folder))}")]


def _home_check(home: Path, *, mend: bool) -> Check:
    if not home.exists():
        if not mend:
            remedy = "fundarb doctor --fix makes it; so does the first command that stores anything"
            return Check("home", Level.OK, f"{home} does not exist yet", remedy=remedy)
        try:
            home.mkdir(parents=True, mode=0o700)
        except OSError as error:
            return Check(
                "home", Level.FAIL, f"{home} cannot be made: {error.strerror}", remedy="set FUNDARB_HOME"
            )
        return Check("home", Level.OK, f"{home} was made", fixed=True)
    if not home.is_dir() or not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        return Check(
            "home", Level.FAIL, f"{home} is not a folder that can be written", remedy="set FUNDARB_HOME"
        )
    return _private(home, mend=mend) or Check("home", Level.OK, f"{home} is private and can be written")


def _private(path: Path, *, mend: bool) -> Check | None:
    """A warning if others may look at the path; None if all is well."""
    mode = stat.S_IMODE(path.stat().st_mode)
    wanted = mode & ~_OTHERS
    name = "home" if path.is_dir() else "files"
    if mode == wanted:
        return None
    if mend:
        path.chmod(wanted)
        return Check(name, Level.OK, f"{path} was open to others and is private now", fixed=True)
    return Check(
        name,
        Level.WARN,
        f"{path} is open to others (mode {mode:o})",
        remedy=f"chmod {wanted:o} {quote(str(path))}",
    )


def mend_env_file(path: Path) -> bool:
    """Take the rights of others away from a ``.env``; whether anything was done. What git knows only a person
    can mend.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & _OTHERS:
            path.chmod(mode & ~_OTHERS)
            return True
    except OSError:
        return False
    return False
