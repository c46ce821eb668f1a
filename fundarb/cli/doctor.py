"""``fundarb doctor``: one line per check with its remedy; a broken configuration is a finding, not the
end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fundarb.cli.common import JsonFlag, Outcome, finish, session_of, single
from fundarb.cli.document import Failure
from fundarb.cli.exits import Exit
from fundarb.cli.session import Session
from fundarb.core.reasons import Reason
from fundarb.errors import ConfigError

if TYPE_CHECKING:
    from fundarb.core.health import Check

app = single()

_STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


@app.command(epilog="Example: fundarb doctor --fix")
def doctor(
    ctx: typer.Context,
    fix: Annotated[
        bool,
        typer.Option(
            "--fix", help="Mend what needs no decision: permissions, folders, the instrument cache."
        ),
    ] = False,
    _json: JsonFlag = False,
) -> int:
    """Check everything that trading needs, with a remedy for each failure.

    Configuration, files and who may read them, database, reachability, clock, instrument cache, key, account
    mode and fees; exit 6 if a check fails.
    """
    session = session_of(ctx)
    session.schema = "doctor"
    checks = _configuration(session, fix=fix)
    if "settings" in session.__dict__:
        checks += session.app.doctor(fix=fix)
    failed = tuple(check for check in checks if not check.ok)
    error = None
    if failed:
        reasons = tuple(Reason(check.id, check.message) for check in failed)
        error = Failure(
            kind="mismatch", message=f"{len(failed)} of {len(checks)} checks failed", reasons=reasons
        )
    outcome = Outcome(
        data={"checks": [_document(check) for check in checks], "clean": not failed},
        shown=checks,
        code=Exit.MISMATCH if failed else Exit.DONE,
        error=error if session.options.json else None,
    )
    return finish(session, outcome, render=_render)


def _configuration(session: Session, *, fix: bool) -> tuple[Check, ...]:
    """The settings themselves; with ``--fix`` the rights of ``.env`` are mended first."""
    from fundarb.config.checks import mend_env_file
    from fundarb.core.health import Check, Level

    mended = fix and mend_env_file(session.options.env_file or session.cwd / ".env")
    found = (
        (Check("env_file", Level.OK, ".env was open to others and is private now", fixed=True),)
        if mended
        else ()
    )
    try:
        settings = session.settings
    except ConfigError as error:
        return found + tuple(
            Check(
                "configuration",
                Level.FAIL,
                str(problem),
                remedy="" if problem.remedy else "fundarb config check",
            )
            for problem in error.problems
        )
    read = [
        str(path)
        for path in (settings.config_file, settings.env_file, settings.jobs_file)
        if path is not None
    ]
    message = f"{settings.venue.name}, {settings.mode}; read {', '.join(read) or 'no files'}"
    return (*found, Check("configuration", Level.OK, message))


def _document(check: Check) -> dict[str, object]:
    return {
        "id": check.id,
        "level": check.level,
        "ok": check.ok,
        "message": check.message,
        "remedy": check.remedy,
        "fixed": check.fixed,
    }


def _render(session: Session, checks: tuple[Check, ...]) -> None:
    from rich.text import Text

    width = max(len(check.id) for check in checks)
    for check in checks:
        message = session.folded(check.message, width + 8)
        line = Text.assemble((f"{check.level:<4}", _STYLES[check.level]), f"  {check.id:<{width}}  {message}")
        if check.fixed:
            line.append("  (mended)", style="green")
        session.out.print(line, soft_wrap=True)
        if check.remedy and (not check.ok or check.level == "warn"):
            remedy = session.folded(check.remedy, width + 10)
            session.out.print(f"{'':{width + 8}}→ {remedy}", soft_wrap=True)
