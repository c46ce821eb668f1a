"""What every command file uses: ``run_command``, the outcome it prints, the shared ``--json`` and the lazy
group of a family.

A command file parses its options, hands ``run_command`` a function that calls the app and one that renders,
and returns the exit code. JSON, warnings, errors and codes are dealt with here, once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, cast

import typer

from fundarb.cli import failure
from fundarb.cli.document import Envelope, Failure
from fundarb.cli.exits import Exit
from fundarb.cli.session import Session
from fundarb.core.exact_json import jsonable
from fundarb.core.reasons import Reason

if TYPE_CHECKING:
    from fundarb.app import App

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[T]):
    """What a command has to say: ``data`` for scripts, ``shown`` for the renderer (the app's result), and how
    it ended.

    ``error`` goes with the codes 3, 6 and 8, where there is a result *and* something is wrong; exceptions
    make their own. ``told``: the renderer shows the reasons itself, so that they are not said twice.
    ``acted``: it tells what was done, and whoever asked must learn it, on stderr if stdout takes nothing.
    ``place`` are venue and mode of the books that it is made of, None: those of the settings.
    """

    data: Any
    shown: T
    as_of: datetime | None = None
    warnings: tuple[Reason, ...] = ()
    code: Exit = Exit.DONE
    error: Failure | None = None
    told: bool = False
    acted: bool = False
    place: tuple[str, str] | None = None


def session_of(ctx: typer.Context) -> Session:
    """The run that a context belongs to."""
    return cast("Session", ctx.obj)


def _note_json(ctx: typer.Context, value: bool) -> bool:
    if value:
        session_of(ctx).options.json = True
    return value


JsonFlag = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object instead of text.", callback=_note_json, is_eager=True),
]
"""Add ``_json: JsonFlag = False`` to every command and group that prints a result."""

YesFlag = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def run_command(
    ctx: typer.Context,
    name: str,
    *,
    action: Callable[[App], Outcome[T]],
    render: Callable[[Session, T], None],
) -> int:
    """Call the app and print what came of it; the exit code. ``name`` is the schema's: ``scan`` for
    ``fundarb.scan/1``.
    """
    session = session_of(ctx)
    session.schema = name
    outcome = action(session.app)
    return finish(session, outcome, render=render)


def finish(session: Session, outcome: Outcome[T], *, render: Callable[[Session, T], None]) -> int:
    """Print an outcome as JSON or for a person; the exit code. ``OSError`` if stdout does not take it."""
    session.code = outcome.code
    try:
        _print(session, outcome, render=render)
    except BrokenPipeError:  # whoever goes away wants to read no more, and has learned nothing of what failed
        if not session.options.json:
            _remark(session, outcome)
        raise
    except OSError:
        if outcome.acted:
            session.divert()
            _print(session, outcome, render=render)
        raise
    return outcome.code


def _print(session: Session, outcome: Outcome[T], *, render: Callable[[Session, T], None]) -> None:
    if session.options.json:
        session.answer(envelope(session, outcome))
        return
    session.answered = True
    render(session, outcome.shown)
    _remark(session, outcome)


def _remark(session: Session, outcome: Outcome[Any]) -> None:
    """What is said on stderr beside a result."""
    for warning in outcome.warnings:
        session.say(f"warning: {warning.message}", style="yellow")
    if outcome.error is not None:
        said = replace(outcome.error, reasons=()) if outcome.told else outcome.error
        for line in failure.lines(said):
            session.say(line, style="red")


def envelope(session: Session, outcome: Outcome[Any]) -> Envelope:
    """The envelope of an outcome."""
    venue, mode = outcome.place or session.place
    return Envelope(
        schema=f"fundarb.{session.schema}/1",
        as_of=outcome.as_of or session.now(),
        venue=venue,
        mode=mode,
        data=jsonable(outcome.data),
        warnings=outcome.warnings,
        error=outcome.error,
    )


def family(help_text: str) -> typer.Typer:
    """A Typer for a group of commands (``fundarb config …``) that takes ``--json`` itself."""
    group = typer.Typer(
        help=help_text,
        rich_markup_mode=None,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )

    @group.callback()
    def _group(_json: JsonFlag = False) -> None:
        pass

    return group


def single() -> typer.Typer:
    """A Typer for commands that stand alone (``fundarb scan``); one file may hold several related ones."""
    return typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
