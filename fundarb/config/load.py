"""From flags, environment and files to frozen ``Settings``, or to one ``ConfigError`` that lists everything
that is wrong.

Precedence: flag > ``FUNDARB_*`` environment > ``.env`` > ``fundarb.toml`` > default. Nothing is created, no
clock is read, and a secret never becomes part of a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from fundarb.config import envfile, places, rules
from fundarb.config.kinds import spoken, spoken_ratio, truth
from fundarb.config.schema import Credentials, FileSettings, Settings, VenueName, keys, sections
from fundarb.config.sources import KEY_NAMES, Flags, Merged, Value, take_environment, take_toml
from fundarb.errors import ConfigError, Problem

CONFIG_FILE, ENV_FILE = "fundarb.toml", ".env"


@dataclass(slots=True)
class _Files:
    """The files that apply and where they were looked for."""

    home: Path
    config: Path | None = None
    env: Path | None = None
    problems: list[Problem] = field(default_factory=list)


def load(flags: Flags, environ: Mapping[str, str], *, cwd: Path) -> Settings:
    """The settings that hold; raises ``ConfigError`` with every problem at once."""
    merged = Merged()
    _take_flags(merged, flags)
    take_environment(merged, environ, origin="environment")
    files = _find(merged, cwd)
    merged.problems += files.problems
    settings = _resolved(merged, _validated(merged), files=files, cwd=cwd)
    if merged.problems:
        raise ConfigError(*merged.problems)
    return settings


def _take_flags(merged: Merged, flags: Flags) -> None:
    for key, name in ((("venue", "name"), "venue"), (("", "mode"), "mode")):
        given = getattr(flags, name)
        if given is not None:
            merged.settings[key] = Value(given, f"flag --{name}")
    for name in ("config", "jobs", "env_file", "venue_url", "db"):
        given = getattr(flags, name)
        if given is not None:
            merged.options[name] = Value(str(given), f"flag --{name.replace('_', '-')}")
    if flags.live:
        merged.options["live"] = Value(True, "flag --live")


def _find(merged: Merged, cwd: Path) -> _Files:
    """Read ``.env`` and then ``fundarb.toml``: the first may name the second."""
    home = merged.options.get("home")
    files = _Files(places.home_folder(home.raw if home else None, cwd))
    files.env = _file(merged, "env_file", name=ENV_FILE, folders=(cwd, files.home))
    if files.env is not None:
        values, problems = envfile.read(files.env)
        files.problems += problems
        take_environment(merged, values, origin=ENV_FILE)
        if home is None and "home" in merged.options:
            files.home = places.home_folder(merged.options["home"].raw, cwd)
    files.config = _file(merged, "config", name=CONFIG_FILE, folders=(cwd, files.home))
    if files.config is not None:
        take_toml(merged, files.config)
    return files


def _file(merged: Merged, option: str, *, name: str, folders: tuple[Path, Path]) -> Path | None:
    """The file that an option names, which must exist, else the first of that name in the folders."""
    given = merged.options.get(option)
    if given is None:
        return places.first_file(folder / name for folder in folders)
    path = (folders[0] / Path(str(given.raw)).expanduser()).absolute()
    if path.exists():
        return path
    merged.problems.append(
        Problem(given.where, f"{path} does not exist", "name an existing file, or leave it out")
    )
    return None


def _validated(merged: Merged) -> FileSettings:
    """The values through the schema; one that does not fit is reported and its default stands in for it."""
    raw: dict[str, dict[str, Any]] = {"": {}}
    for (section, key), value in merged.settings.items():
        raw.setdefault(section, {})[key] = value.raw
    try:
        return FileSettings.model_validate(raw.pop("") | raw)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            place = _key(item)
            merged.problems.append(_problem(merged, item, place=place))
            merged.failed.add(place)
    kept = {key: value for key, value in merged.settings.items() if key not in merged.failed}
    return _validated(Merged(settings=kept))


def _key(item: ErrorDetails) -> tuple[str, str]:
    location = [str(part) for part in item["loc"]]
    return (location[0], location[1]) if location[0] in sections() else ("", location[0])


def _problem(merged: Merged, item: ErrorDetails, *, place: tuple[str, str]) -> Problem:
    value = merged.settings[place]
    return Problem(value.where, _sentence(item, place[0], key=place[1]))


_BOUNDS = {
    "greater_than": ("gt", "must be more than"),
    "greater_than_equal": ("ge", "must be at least"),
    "less_than": ("lt", "must be less than"),
    "less_than_equal": ("le", "may be at most"),
}


def _sentence(item: ErrorDetails, section: str, *, key: str) -> str:
    context = item.get("ctx") or {}
    if item["type"] in _BOUNDS:
        name, words = _BOUNDS[item["type"]]
        field = sections()[section].model_fields[key]
        # as it was declared: the library's own words for a duration are none that the file accepts
        bound = next((getattr(one, name) for one in field.metadata if hasattr(one, name)), context[name])
        default = field.default
        percent = isinstance(bound, Decimal) and isinstance(default, str) and default.endswith(("%", "bp"))
        return f"{words} {spoken_ratio(bound) if percent else spoken(bound)}"
    if item["type"] in {"enum", "literal_error"}:
        return f"{item['input']!r} is not one of {context.get('expected', '')}"
    if "error" in context:
        return str(context["error"])
    return item["msg"][:1].lower() + item["msg"][1:]


def _resolved(merged: Merged, checked: FileSettings, *, files: _Files, cwd: Path) -> Settings:
    """The checked values with everything that follows from them; problems are added to ``merged``."""
    sources = {
        name: value.where
        for (section, key), value in merged.settings.items()
        if (name := _dotted(section, key))
    }
    merged.problems += rules.cross_problems(checked, sources, failed={_dotted(*key) for key in merged.failed})
    live = _live(merged)
    merged.problems += rules.live_problems(checked, live=live, toml=merged.toml)
    given = None if ("venue", "name") in merged.failed else _option(merged, "venue_url")
    url, problems = places.venue_address(checked, given, where=_place(merged, "venue_url"))
    merged.problems += problems
    db, problems = places.database(
        checked, _option(merged, "db"), home=files.home, cwd=cwd, where=_place(merged, "db")
    )
    merged.problems += problems
    sources |= {name: _place(merged, name) for name in ("live", "venue_url", "db", "home")}
    jobs = _file(merged, "jobs", name="jobs.toml", folders=(cwd, files.home))
    return Settings(
        **{name: getattr(checked, name) for name in FileSettings.model_fields},
        live=live,
        venue_url=url,
        db_url=db,
        home=files.home,
        credentials=_credentials(merged, checked, sources=sources),
        notify_urls=_addresses(merged, checked),
        config_file=files.config,
        jobs_file=jobs,
        env_file=files.env,
        sources={_dotted(*key): "default" for key in keys()} | sources,
        texts=_texts(merged),
    )


def _dotted(section: str, key: str) -> str:
    return f"{section}.{key}" if section else key


def _option(merged: Merged, name: str) -> str | None:
    value = merged.options.get(name)
    return None if value is None else str(value.raw)


def _place(merged: Merged, name: str) -> str:
    value = merged.options.get(name)
    return "default" if value is None else value.where


def _live(merged: Merged) -> bool:
    value = merged.options.get("live")
    if value is None:
        return False
    try:
        return truth(value.raw)
    except ValueError as error:
        merged.problems.append(Problem(value.where, str(error), "write yes or no"))
        return False


def _credentials(merged: Merged, checked: FileSettings, *, sources: dict[str, str]) -> Credentials | None:
    """The key pair; the sandbox has one of its own, so that practising needs no key."""
    given = [merged.environment.get(name) for name in KEY_NAMES]
    key, secret = (None if value is None or not value.raw else value for value in given)
    for name, one, other in ((KEY_NAMES[0], key, secret), (KEY_NAMES[1], secret, key)):
        if one is None and other is not None:
            merged.problems.append(Problem(name, f"is missing, and {other.where} is set", "set both or none"))
    if key is not None and secret is not None:
        sources["key"] = key.where
        return Credentials(SecretStr(key.raw), SecretStr(secret.raw))
    if checked.venue.name is VenueName.SANDBOX:
        sources["key"] = "default"
        return Credentials(SecretStr("demo"), SecretStr("demo"))
    return None


def _addresses(merged: Merged, checked: FileSettings) -> tuple[SecretStr, ...]:
    found = []
    for name in checked.notify.urls:
        value = merged.environment.get(name)
        if value is None or not value.raw:
            place = merged.settings[("notify", "urls")].where
            merged.problems.append(
                Problem(place, f"{name} is not set", f"set {name} in the environment or in .env")
            )
        else:
            found.append(SecretStr(value.raw))
    return tuple(found)


def _texts(merged: Merged) -> dict[str, str]:
    """Each value in the notation of the file."""
    texts = {}
    for section, key in keys():
        value = merged.settings.get((section, key))
        field_info = (sections()[section] if section else FileSettings).model_fields[key]
        texts[_dotted(section, key)] = spoken(field_info.default if value is None else value.raw)
    return texts
