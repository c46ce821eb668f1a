"""``jobs.toml``: what runs unattended and when, as frozen ``JobSpec`` values; every mistake at once, with the
job's number and name.

Owns the syntax only: the daemon turns a spec into a trigger, the app knows what a run does. It reads no
clock.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any

from fundarb.config.kinds import spoken
from fundarb.config.schema import Settings
from fundarb.config.sources import read_toml
from fundarb.core.money import parse_duration
from fundarb.errors import ConfigError, Problem


class Trigger(StrEnum):
    """What rings for a job."""

    CRON = "cron"
    INTERVAL = "interval"
    BEFORE_FUNDING = "before_funding"
    AFTER_FUNDING = "after_funding"


RUNS: Mapping[str, Mapping[str, type]] = {
    "scan_and_open": {},
    "close_when_due": {},
    "watch": {},
    "collect_funding": {},
    "reconcile": {"repair": bool},
    "snapshot": {},
    "digest": {},
    "backup": {},
    "history": {},
}
"""What a job may run, with the arguments it takes."""

_KEYS = {
    Trigger.CRON: ("second", "minute", "hour", "day", "month", "day_of_week"),
    Trigger.INTERVAL: ("every",),
    Trigger.BEFORE_FUNDING: ("offset",),
    Trigger.AFTER_FUNDING: ("offset",),
}
_COMMON = ("name", "run", "trigger", "args", "enabled")
_RANGES = {
    "second": (0, 59),
    "minute": (0, 59),
    "hour": (0, 23),
    "day": (1, 31),
    "month": (1, 12),
    "day_of_week": (0, 6),
}
_NAMED = {
    "month": ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    "day_of_week": ("mon", "tue", "wed", "thu", "fri", "sat", "sun"),
}
_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
"""The most days of each month."""
_OWN = {"commands": "the queue of commands", "recovery": "the walk of every start"}
"""Names under which the daemon itself has work done."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}", re.ASCII)
_PART = re.compile(r"(?:\*|(?P<low>\w+)(?:-(?P<high>\w+))?)(?:/(?P<step>\d{1,4}))?", re.ASCII)
_SHORTEST = timedelta(seconds=1)
_LONGEST_OFFSET = timedelta(hours=8)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """One job. ``cron`` holds the given fields (UTC), ``every`` the interval, ``offset`` the distance from a
    settlement.
    """

    name: str
    run: str
    trigger: Trigger
    cron: Mapping[str, str] = field(default_factory=dict)
    every: timedelta | None = None
    offset: timedelta = timedelta()
    args: Mapping[str, object] = field(default_factory=dict)
    enabled: bool = True


WATCH = JobSpec(name="watch", run="watch", trigger=Trigger.INTERVAL, every=timedelta(seconds=15))
"""Runs unless ``jobs.toml`` says something about ``watch`` itself: nobody forgets it by accident."""


def load_jobs(settings: Settings, default: str) -> tuple[JobSpec, ...]:
    """The jobs of the file that applies, else those of the packaged template, whose text ``default`` is."""
    if settings.jobs_file is not None:
        return read_jobs(settings.jobs_file)
    return parse_jobs(tomllib.loads(default), "jobs.toml")


def read_jobs(path: Path) -> tuple[JobSpec, ...]:
    """The jobs of a file; ``ConfigError`` with every problem."""
    table, problems = read_toml(path)
    if problems:
        raise ConfigError(*problems)
    if table.get("job", []) == [] and set(table) <= {"job"}:
        remedy = "write [[job]] tables (`fundarb init` shows them), or remove the file for the built-in list"
        raise ConfigError(Problem(path.name, "names no job", remedy))
    return parse_jobs(table, path.name)


def parse_jobs(table: Mapping[str, Any], file: str) -> tuple[JobSpec, ...]:
    """The jobs of a parsed file, ``watch`` added where the file does not speak of it."""
    problems = [
        Problem(f"{file} {key}", "is unknown", "jobs stand in [[job]] tables")
        for key in table
        if key != "job"
    ]
    listed = table.get("job", [])
    if not isinstance(listed, list):
        raise ConfigError(*problems, Problem(f"{file} job", "must be a list of tables", "write [[job]]"))
    specs = []
    for number, raw in enumerate(listed, start=1):
        job = _Job(file, number, raw=raw if isinstance(raw, dict) else {})
        specs.append(job.read())
        problems += job.problems
    problems += _repeated(specs, file)
    if problems:
        raise ConfigError(*problems)
    return tuple(specs) + ((WATCH,) if all(spec.run != WATCH.run for spec in specs) else ())


def _repeated(specs: list[JobSpec], file: str) -> list[Problem]:
    names = [spec.name for spec in specs]
    return [
        Problem(
            f"{file} job {number} ({name})",
            f"has the name of job {names.index(name) + 1}",
            "names must differ",
        )
        for number, name in enumerate(names, start=1)
        if name and names.index(name) + 1 < number
    ]


class _Job:
    """One raw table while it is read; collects its problems."""

    def __init__(self, file: str, number: int, *, raw: Mapping[str, Any]) -> None:
        self.raw = raw
        name = raw.get("name")
        self.where = f"{file} job {number}" + (f" ({name})" if isinstance(name, str) and name else "")
        self.problems: list[Problem] = []

    def read(self) -> JobSpec:
        """The spec; where something is wrong a placeholder stands, and the problem is recorded."""
        name = self._text(
            "name",
            lambda text: _NAME.fullmatch(text) is not None,
            wanted="lower case letters, digits, - and _",
        )
        run = self._choice("run", tuple(RUNS))
        if name in _OWN or (name == WATCH.name and run not in {"", WATCH.run}):
            what = _OWN.get(name, "the look at what is held")
            self._wrong("name", f"is what the daemon calls {what}", remedy="choose another")
        word = self._choice("trigger", tuple(Trigger))
        trigger = Trigger(word) if word else None
        if trigger is not None:
            self._unknown_keys(trigger)
        return JobSpec(
            name=name,
            run=run,
            trigger=trigger or Trigger.INTERVAL,
            cron=self._cron() if trigger is Trigger.CRON else {},
            every=self._every() if trigger is Trigger.INTERVAL else None,
            offset=self._offset(),
            args=self._args(run),
            enabled=self._enabled(),
        )

    def _wrong(self, key: str, message: str, *, remedy: str = "") -> None:
        self.problems.append(Problem(f"{self.where} {key}", message, remedy))

    def _text(self, key: str, fits: Callable[[str], bool], *, wanted: str) -> str:
        value = self.raw.get(key)
        if isinstance(value, str) and fits(value):
            return value
        self._wrong(
            key, "is missing" if value is None else f"{value!r} does not fit", remedy=f"write {wanted}"
        )
        return ""

    def _choice(self, key: str, known: tuple[str, ...]) -> str:
        value = self.raw.get(key)
        if isinstance(value, str) and value in known:
            return value
        close = get_close_matches(str(value), known, n=1)
        remedy = f"did you mean {close[0]}?" if close else f"one of {', '.join(known)}"
        self._wrong(key, "is missing" if value is None else f"{value!r} is unknown", remedy=remedy)
        return ""

    def _unknown_keys(self, trigger: Trigger) -> None:
        allowed = (*_COMMON, *_KEYS[trigger])
        for key in self.raw:
            if key not in allowed:
                other = [kind for kind, names in _KEYS.items() if key in names]
                remedy = f"it goes with trigger {other[0]}" if other else f"known here: {', '.join(allowed)}"
                self._wrong(key, f"is unknown for trigger {trigger}", remedy=remedy)

    def _cron(self) -> dict[str, str]:
        found = {}
        for key in _KEYS[Trigger.CRON]:
            value = self.raw.get(key)
            if value is None:
                continue
            text = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
            fault = cron_fault(key, text)
            if fault:
                low, high = _RANGES[key]
                self._wrong(
                    key,
                    f"{value!r} {fault}",
                    remedy=f'like "*", "*/15", "0", "1-5" or "0,30", from {low} to {high}',
                )
            found[key] = text
        self._day_comes(found)
        if not found:
            self._wrong("trigger", "cron needs at least one field", remedy='like minute = "*/15"')
        return found

    def _day_comes(self, cron: Mapping[str, str]) -> None:
        """A day that none of its months has: the job would never ring."""
        day, month = cron.get("day", "*"), cron.get("month", "*")
        if cron_fault("day", day) or cron_fault("month", month):
            return
        longest = max(_MONTHS[number - 1] for number in _matching("month", month))
        if min(_matching("day", day)) > longest:
            text = f"{day!r} never comes in month {month!r}; the longest of these months has {longest} days"
            self._wrong("day", text)

    def _duration(self, key: str, *, low: timedelta, high: timedelta) -> timedelta | None:
        value = self.raw.get(key)
        try:
            found = parse_duration(value) if isinstance(value, str) else None
        except ValueError:
            found = None
        if found is None:
            self._wrong(key, f"{value!r} is not a duration with its unit", remedy='like "90s" or "15m"')
        elif not low <= found <= high:
            self._wrong(key, f"{value!r} must be between {spoken(low)} and {spoken(high)}")
        return found

    def _every(self) -> timedelta | None:
        if "every" not in self.raw:
            self._wrong("every", "is missing", remedy='like every = "60s"')
            return None
        return self._duration("every", low=_SHORTEST, high=timedelta(days=31))

    def _offset(self) -> timedelta:
        if "offset" not in self.raw:
            return timedelta()
        return self._duration("offset", low=timedelta(), high=_LONGEST_OFFSET) or timedelta()

    def _args(self, run: str) -> dict[str, object]:
        value = self.raw.get("args", {})
        if not isinstance(value, dict):
            self._wrong("args", "must be a table", remedy="like args = { repair = true }")
            return {}
        known = RUNS.get(run, {})
        for key, given in value.items():
            if not run:
                continue
            if key not in known:
                self._wrong(
                    f"args.{key}", f"is unknown for {run}", remedy=f"known: {', '.join(known) or 'none'}"
                )
            elif type(given) is not known[key]:
                self._wrong(f"args.{key}", f"{given!r} is not a {known[key].__name__}")
        return dict(value)

    def _enabled(self) -> bool:
        value = self.raw.get("enabled", True)
        if not isinstance(value, bool):
            self._wrong("enabled", f"{value!r} is not true or false")
        return value is True


def cron_fault(key: str, text: str) -> str:
    """What is wrong with one cron field; empty if nothing."""
    low, high = _RANGES[key]
    names = _NAMED.get(key, ())
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            return "is not a cron field"
        bounds = [
            _number(match[group], names, low=low) for group in ("low", "high") if match[group] is not None
        ]
        if any(bound is None or not low <= bound <= high for bound in bounds):
            return "is out of range"
        if match["step"] is not None and any(text and not text.isdigit() for text in match.group(1, 2)):
            return "has a step after a name, which would not be counted: write numbers"
        numbers = [bound for bound in bounds if bound is not None]
        if numbers != sorted(numbers):
            return "runs backwards"
        if match["step"] is not None and (int(match["step"]) == 0 or int(match["step"]) > high - low + 1):
            return "has a step that never fits"
    return ""


def _matching(key: str, text: str) -> set[int]:
    """The numbers that a faultless cron field stands for; a step without a range goes on to the end."""
    low, high = _RANGES[key]
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            continue
        first, last, step = match["low"], match["high"], match["step"]
        begin = low if first is None else _number(first, _NAMED.get(key, ()), low=low) or low
        end = high if last is None else _number(last, _NAMED.get(key, ()), low=low) or high
        alone = first is not None and last is None and step is None
        found |= set(range(begin, (begin if alone else end) + 1, int(step or 1)))
    return found


def _number(text: str, names: tuple[str, ...], *, low: int) -> int | None:
    if text.isdigit():
        return int(text)
    return names.index(text.lower()) + low if text.lower() in names else None
