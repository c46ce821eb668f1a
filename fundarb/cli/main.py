"""The entry point: global options, lazily loaded commands, and the outermost frame that turns every error
into an exit code.

The one place of the command line that catches everything. With ``--json`` each way to end prints an envelope;
no traceback is shown unless ``-vv`` asks for it, and no secret ever.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

import fundarb
from fundarb.cli import failure, terminal
from fundarb.cli.common import JsonFlag, session_of
from fundarb.cli.document import Envelope, Failure
from fundarb.cli.exits import Exit
from fundarb.cli.interrupts import answered, terminated_is_interrupted
from fundarb.cli.registry import COMMANDS, Entry
from fundarb.cli.session import Options, Session

# Typer carries its own copy of click and exports of its errors only this branch.
_UsageError, _ClickError = typer.BadParameter.__mro__[1:3]


class LazyGroup(TyperGroup):
    """The root: knows its commands by the registry and imports the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        """Make the names known (for suggestions) without loading anything."""
        super().__init__(**attributes)
        self._entries = {entry.name: entry for entry in COMMANDS}
        self.commands = cast("Any", dict.fromkeys(self._entries))

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the interface gives it
        """All names in the order of the registry."""
        return list(self._entries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the interface gives it
        """The command itself, imported now; None for an unknown name."""
        entry = self._entries.get(cmd_name)
        return None if entry is None else load(entry)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the interface gives it
        """The list of commands in the help, from the registry alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(entry.name, entry.summary) for entry in COMMANDS])

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a reader that went away (``| head``) is no error."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            return _unread(session_of(ctx))

    def main(self, args: Sequence[str] | None = None, *rest: Any, **named: Any) -> Any:
        """Within ``fundarb.cli.main.main`` the plain call; from outside (tests, completion) that function
        around it.
        """
        if named.get("standalone_mode", True):
            sys.exit(main(args, session=named.get("obj")))
        return super().main(args, *rest, **named)


def load(entry: Entry) -> Any:
    """The click command of an entry."""
    module = import_module(f"fundarb.cli.{entry.module}")
    if entry.group:
        return typer.main.get_group(module.app)
    command = typer.main.get_command(module.app)
    return command.commands[entry.name] if isinstance(command, TyperGroup) else command


cli = typer.Typer(
    name="fundarb",
    cls=LazyGroup,
    help="Harvest perpetual funding on Bybit: long spot, short the perpetual of the same coin.",
    epilog="Example: fundarb scan --notional 1000 --min-apr 5%",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fundarb {fundarb.__version__}")
        raise typer.Exit


@cli.callback()
def _root(
    ctx: typer.Context,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Settings file. [./fundarb.toml]")
    ] = None,
    jobs: Annotated[Path | None, typer.Option(metavar="FILE", help="Jobs file. [./jobs.toml]")] = None,
    env_file: Annotated[Path | None, typer.Option(metavar="FILE", help="File with keys. [./.env]")] = None,
    venue: Annotated[
        str | None, typer.Option(metavar="NAME", help="bybit, bybit-testnet, bybit-demo or sandbox. [bybit]")
    ] = None,
    venue_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Address of the sandbox. [http://127.0.0.1:8899]")
    ] = None,
    mode: Annotated[str | None, typer.Option(metavar="MODE", help="paper or live. [paper]")] = None,
    live: Annotated[bool, typer.Option("--live", help="Confirm live mode for this start.")] = False,
    db: Annotated[
        str | None,
        typer.Option(metavar="URL", help="sqlite:///FILE or postgresql://… [one file per venue and mode]"),
    ] = None,
    _json: JsonFlag = False,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Say more; -vv for everything.")
    ] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only what is wrong.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours; NO_COLOR does the same.")] = False,
    _version_flag: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    session = session_of(ctx)
    session.options = Options(
        config=config,
        jobs=jobs,
        env_file=env_file,
        venue=venue,
        venue_url=venue_url,
        mode=mode,
        live=live,
        db=db,
        json=session.options.json,
        verbose=verbose,
        quiet=quiet,
        no_color=no_color,
    )


def main(args: Sequence[str] | None = None, *, session: Session | None = None) -> int:
    """Run one command line and return the exit code; everything that can go wrong ends here. Without
    ``args`` it is the command line of this process, which ends with it.
    """
    terminal.prepare()
    given = list(sys.argv[1:] if args is None else args)
    session = session or Session()
    # Known before parsing, so that a command line that cannot be parsed is answered in JSON too.
    session.options.json = session.options.json or "--json" in given[: [*given, "--"].index("--")]
    try:
        try:
            code = _called(given, session)
        except BrokenPipeError:
            return _unread(session)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the outermost frame
            return _failed(session, error)
        finally:
            session.close()
        unsaid = code == Exit.INTERRUPTED and not session.answered
        return _failed(session, KeyboardInterrupt()) if unsaid else code
    except KeyboardInterrupt:  # another one, while the first was being answered
        return Exit.INTERRUPTED
    finally:
        terminal.settle()
        if args is None:
            answered()


def _unread(session: Session) -> int:
    """A reader that went away is no error: the exit code of what was done."""
    terminal.silence(sys.stdout)
    return session.code


def _called(given: Sequence[str], session: Session) -> int:
    """The command line, parsed and run; its exit code."""
    with terminated_is_interrupted():
        code = typer.main.get_command(cli).main(
            given, prog_name="fundarb", standalone_mode=False, obj=session
        )
        sys.stdout.flush()
    return int(code or Exit.DONE)


def _failed(session: Session, error: BaseException) -> int:
    """Say what went wrong, in the form that was asked for."""
    if isinstance(error, _ClickError):
        return _misused(session, error)
    if isinstance(error, typer.Abort):  # Ctrl-C or the end of the input at a question
        error = KeyboardInterrupt(f"interrupted; {failure.DECLINED}")
    elif isinstance(error, KeyboardInterrupt):
        error = KeyboardInterrupt(session.interruption())
    code = failure.exit_of(error)
    _tell(session, failure.failure_of(error), code=code, error=error)
    if failure.is_of_the_machine(error):
        return session.code or code
    if code is Exit.BUG:
        if session.options.verbose > 1:
            import traceback

            session.say("".join(traceback.format_exception(error)), style="red")
        else:
            session.say("This is a bug in fundarb; -vv shows where.", style="red")
    return code


def _misused(session: Session, error: BaseException) -> int:
    """A command line that cannot be understood: usage, what is wrong, where help is."""
    message = failure.plain_words(cast("Any", error).format_message())
    context = getattr(error, "ctx", None)
    if context is not None and " " in context.command_path:
        session.schema = context.command_path.partition(" ")[2].replace(" ", "_")
    if context is not None and message in {"", context.get_help()}:  # no command: the help is the answer
        message = "Missing command."
        if not session.options.json:
            session.err.print(context.get_help(), soft_wrap=True)
            return Exit.USAGE
    if session.options.json or context is None:
        _tell(session, failure.usage(message), code=Exit.USAGE)
        return Exit.USAGE
    session.err.print(context.get_usage(), soft_wrap=True)
    _tell(session, failure.usage(message), code=Exit.USAGE)
    session.say(f"Try '{context.command_path} --help'.")
    return Exit.USAGE


def _tell(session: Session, what: Failure, *, code: Exit, error: BaseException | None = None) -> None:
    if session.options.json and not session.diverted and _answered(session, what):
        return
    if what.message == failure.DECLINED:
        session.say(failure.DECLINED)
        return
    for line in failure.lines(what):
        session.say(line, style="red")
    if advice := failure.advice(what, code, error=error):
        session.say(advice)


def _answered(session: Session, what: Failure) -> bool:
    """Answer with the envelope of a failure; False if stdout does not take it."""
    venue, mode = session.place
    schema = f"fundarb.{session.schema}/1"
    try:
        session.answer(Envelope(schema=schema, as_of=session.now(), venue=venue, mode=mode, error=what))
    except OSError:
        return False
    return True
