"""Where values come from: flags, environment, ``.env`` and ``fundarb.toml``, merged by precedence with a note
of each origin.

Owns the names (which ``FUNDARB_*`` exist, which keys a table has) and their misspellings. It does not judge
values: that is ``schema`` and ``rules``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from fundarb.config.kinds import EnvText
from fundarb.config.schema import keys, sections
from fundarb.errors import Problem

PREFIX = "FUNDARB_"
INTERNAL = frozenset({"FUNDARB_CRASH", "FUNDARB_SHARED"})
"""Names that tests use; known, and no settings."""

GLOBALS = {
    "FUNDARB_CONFIG": "config",
    "FUNDARB_JOBS": "jobs",
    "FUNDARB_ENV_FILE": "env_file",
    "FUNDARB_VENUE_URL": "venue_url",
    "FUNDARB_LIVE": "live",
    "FUNDARB_DB": "db",
    "FUNDARB_HOME": "home",
}
"""Names that stand for a global flag or for the home folder, not for a key of ``fundarb.toml``."""

KEY_NAMES = ("BYBIT_API_KEY", "BYBIT_API_SECRET")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The global options of the command line; None where one was not given."""

    config: Path | None = None
    jobs: Path | None = None
    env_file: Path | None = None
    venue: str | None = None
    venue_url: str | None = None
    mode: str | None = None
    live: bool = False
    db: str | None = None


@dataclass(frozen=True, slots=True)
class Value:
    """A raw value and the words that say where it stands (``fundarb.toml [risk] max_gross``)."""

    raw: Any
    where: str


@dataclass(slots=True)
class Merged:
    """All raw values by (section, key), the global ones by name, and what was found wrong on the way.

    ``failed`` names the settings whose value does not fit; rules that concern them are left alone.
    """

    settings: dict[tuple[str, str], Value] = field(default_factory=dict)
    options: dict[str, Value] = field(default_factory=dict)
    environment: dict[str, Value] = field(default_factory=dict)
    toml: Mapping[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    failed: set[tuple[str, str]] = field(default_factory=set)


def environment_names() -> Mapping[str, tuple[str, str]]:
    """Every ``FUNDARB_*`` name of a key, with its (section, key): ``FUNDARB_RISK_MAX_GROSS``."""
    names = {f"{PREFIX}{section}_{key}".upper(): (section, key) for section, key in keys() if section}
    return {"FUNDARB_MODE": ("", "mode"), "FUNDARB_VENUE": ("venue", "name"), **names}


def take_environment(merged: Merged, values: Mapping[str, str], *, origin: str) -> None:
    """Add the names of one environment; what is already there came from a place that wins."""
    known = environment_names()
    for name in sorted(values):
        if not name.startswith(PREFIX):
            merged.environment.setdefault(name, Value(values[name], f"{origin} {name}"))
            continue
        value = Value(EnvText(values[name]), f"{origin} {name}")
        if name in known:
            _take_setting(merged, known[name], value=value)
        elif name in GLOBALS:
            merged.options.setdefault(GLOBALS[name], value)
        elif name not in INTERNAL:
            merged.problems.append(
                Problem(value.where, "is not a setting", _guess(name, [*known, *GLOBALS]) or "unset it")
            )


def _take_setting(merged: Merged, key: tuple[str, str], *, value: Value) -> None:
    """FUNDARB_VENUE and FUNDARB_VENUE_NAME name one setting: two different answers in one place are no
    answer.
    """
    held = merged.settings.get(key)
    same_place = held is not None and held.where.rpartition(" ")[0] == value.where.rpartition(" ")[0]
    if held is not None and same_place and held.raw != value.raw:
        merged.problems.append(Problem(value.where, f"contradicts {held.where}", "set one of the two"))
    merged.settings.setdefault(key, value)


def take_toml(merged: Merged, path: Path) -> None:
    """Add a configuration file; unknown tables and keys are problems."""
    table, problems = read_toml(path)
    merged.problems += problems
    merged.toml = table
    known = sections()
    for name, content in table.items():
        if name == "mode":
            merged.settings.setdefault(("", "mode"), Value(content, f"{path.name} mode"))
        elif name not in known:
            kind = f"[{name}]" if isinstance(content, dict) else name
            merged.problems.append(
                Problem(f"{path.name} {kind}", "is unknown", _guess(name, [*known, "mode"]) or _owner(name))
            )
        elif not isinstance(content, dict):
            merged.problems.append(Problem(f"{path.name} {name}", "must be a table", f"write [{name}]"))
        else:
            _take_table(merged, name, content=content, file=path.name)


def _take_table(merged: Merged, section: str, *, content: Mapping[str, Any], file: str) -> None:
    known = sections()[section].model_fields
    for key, raw in content.items():
        where = f"{file} [{section}] {key}"
        if key in known:
            merged.settings.setdefault((section, key), Value(raw, where))
        else:
            merged.problems.append(Problem(where, "is unknown", _guess(key, known) or _owner(key)))


def read_toml(path: Path) -> tuple[dict[str, Any], list[Problem]]:
    """A TOML file, or why it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")), []
    except OSError as error:
        return {}, [Problem(str(path), f"cannot be read: {error.strerror}")]
    except UnicodeDecodeError:
        return {}, [Problem(str(path), "is not UTF-8 text")]
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        return {}, [Problem(str(path) + (f" line {line[1]}" if line else ""), f"is not TOML: {error}")]


def _guess(name: str, known: Iterable[str]) -> str:
    found = get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f"did you mean {found[0]}?" if found else ""


def _owner(key: str) -> str:
    """Where a key belongs that stands in the wrong table; else the advice to remove it."""
    homes = [section for section, other in keys() if other == key and section]
    return f"it belongs into {' or '.join(f'[{home}]' for home in homes)}" if homes else "remove it"
