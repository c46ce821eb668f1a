"""``fundarb config show|check``: what holds and where it came from; what is wrong, all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from fundarb.cli.common import JsonFlag, Outcome, family, finish, session_of
from fundarb.cli.session import Session
from fundarb.errors import ConfigError

if TYPE_CHECKING:
    from fundarb.config import JobSpec, Settings

app = family("Show and check the settings.")


@app.command(epilog="Example: fundarb config show --json")
def show(ctx: typer.Context, _json: JsonFlag = False) -> int:
    """Print the settings that hold.

    Each with the place it came from; secrets are masked.
    """
    session = session_of(ctx)
    session.schema = "config_show"
    settings = session.settings
    return finish(session, Outcome(data=_document(settings), shown=settings), render=_render)


@app.command(epilog="Example: fundarb --config other.toml config check")
def check(ctx: typer.Context, _json: JsonFlag = False) -> int:
    """Check all settings and jobs.

    Looks at fundarb.toml, .env, FUNDARB_* and jobs.toml; every problem is listed with file, table and key
    (exit 2).
    """
    session = session_of(ctx)
    session.schema = "config_check"
    settings, jobs = _checked(session)
    data = {"ok": True, "files": _files(settings), "jobs": len(jobs), "settings": len(settings.texts)}
    shown = (
        f"{len(settings.texts)} settings and {len(jobs)} jobs are in order ({', '.join(_read(settings))})."
    )
    return finish(
        session, Outcome(data=data, shown=shown), render=lambda run, text: run.out.print(text, soft_wrap=True)
    )


def _checked(session: Session) -> tuple[Settings, tuple[JobSpec, ...]]:
    """Settings and jobs; a ``ConfigError`` with the problems of both."""
    from fundarb import config
    from fundarb.config.templates import template

    try:
        settings = session.settings
    except ConfigError as error:
        path = session.options.jobs or session.cwd / "jobs.toml"
        try:
            if path.exists():
                config.read_jobs(path)
        except ConfigError as more:
            raise ConfigError(*error.problems, *more.problems) from None
        raise
    return settings, config.load_jobs(settings, template("jobs.toml"))


def _files(settings: Settings) -> dict[str, object]:
    return {
        "home": settings.home,
        "config": settings.config_file,
        "jobs": settings.jobs_file,
        "env": settings.env_file,
    }


def _read(settings: Settings) -> list[str]:
    """The files that were read, in words."""
    found = [
        str(path)
        for path in (settings.config_file, settings.env_file, settings.jobs_file)
        if path is not None
    ]
    return found or ["no files: all defaults"]


def _document(settings: Settings) -> dict[str, object]:
    from fundarb.config import masked_url

    return {
        "settings": [
            {"name": name, "value": text, "source": settings.sources.get(name, "default")}
            for name, text in settings.texts.items()
        ],
        "files": _files(settings),
        "database": masked_url(settings.db_url),
        "venue_url": settings.venue_url,
        "live": settings.live,
        "key": {"given": settings.credentials is not None, "source": settings.sources.get("key")},
        "notify_urls": len(settings.notify_urls),
    }


def _render(session: Session, settings: Settings) -> None:
    from rich.table import Table

    from fundarb.config import masked_url

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("setting", "value", "from"):
        table.add_column(name, overflow="fold", no_wrap=name == "setting")
    for name, text in settings.texts.items():
        source = settings.sources.get(name, "default")
        table.add_row(name, text or '""', source, style="dim" if source == "default" else None)
    table.add_section()
    extra = {
        "home": str(settings.home),
        "db": masked_url(settings.db_url),
        "venue_url": settings.venue_url,
        "live": "true" if settings.live else "false",
        "key": "***" if settings.credentials is not None else "none",
    }
    for name, text in extra.items():
        source = settings.sources.get(name, "default")
        table.add_row(name, text, source, style="dim" if source == "default" else None)
    session.out.print(table)
