"""One run of the command line: its options, its streams, and what is built only when a command asks for it.

Everything a command touches hangs here (``ctx.obj``), so that a test hands in its own clock, environment or
app. Importing this file is cheap; settings, app and rich are imported at their first use.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from fundarb.cli import document, terminal
from fundarb.clock import Clock, SystemClock
from fundarb.errors import ConfigError, FundarbError, Problem

if TYPE_CHECKING:
    from rich.console import Console

    from fundarb.app import App
    from fundarb.cli.document import Envelope
    from fundarb.config import Settings
    from fundarb.config.secrets import Redactor


_LEAST_ROOM = 20
"""Columns that a folded text gets on however narrow a screen."""


@dataclass(slots=True)
class Options:
    """The global options as they were given; ``json`` is set by any of the places where ``--json`` may
    stand.
    """

    config: Path | None = None
    jobs: Path | None = None
    env_file: Path | None = None
    venue: str | None = None
    venue_url: str | None = None
    mode: str | None = None
    live: bool = False
    db: str | None = None
    json: bool = False
    verbose: int = 0
    quiet: bool = False
    no_color: bool = False


@dataclass
class Session:
    """What one run knows. ``schema`` is the name of the running command's envelope; ``answered`` once a
    result was printed, ``code`` how the latest one ended, whether or not it could be printed.
    """

    options: Options = field(default_factory=Options)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    cwd: Path = field(default_factory=Path.cwd)
    clock: Clock = field(default_factory=SystemClock)
    schema: str = "error"
    answered: bool = False
    code: int = 0
    recorded: bool = False
    simulated: bool = False

    @cached_property
    def settings(self) -> Settings:
        """The settings that hold; ``ConfigError`` with every problem."""
        from fundarb import config

        options = self.options
        flags = config.Flags(
            config=options.config,
            jobs=options.jobs,
            env_file=options.env_file,
            venue=options.venue,
            venue_url=options.venue_url,
            mode=options.mode,
            live=options.live,
            db=options.db,
        )
        settings = config.load(flags, self.environ, cwd=self.cwd)
        self.redactor.add(config.secrets_of(settings))
        return settings

    @cached_property
    def app(self) -> App:
        """The program behind the command line, built from the settings."""
        from fundarb.app import build
        from fundarb.cli.logs import configure

        settings = self.settings
        configure(self.options.verbose, quiet=self.options.quiet, stream=self._stderr)
        return build(settings, clock=self.clock)

    def close(self) -> None:
        """Close what the app holds open, if it was built at all."""
        if "app" in self.__dict__:
            self.app.close()

    @cached_property
    def redactor(self) -> Redactor:
        """What masks secrets; knows those of the environment before any file is read."""
        from fundarb.config.secrets import Redactor, environment_secrets

        return Redactor(environment_secrets(self.environ))

    def now(self) -> datetime:
        """The time that an answer is of: the venue's where a venue was asked for it (a sandbox may keep
        virtual time) and still answers, else the machine's.
        """
        program = self.__dict__.get("app")
        try:
            return self.clock.now() if program is None else program.time()
        except FundarbError:
            return self.clock.now()

    def interruption(self) -> str:
        """What to say when Ctrl-C ended this run: what may be live, if it had begun to trade."""
        program = self.__dict__.get("app")
        return "interrupted" if program is None else program.interrupted()

    def redact(self, text: str) -> str:
        """A text without secrets."""
        return self.redactor(text)

    @cached_property
    def _stderr(self) -> terminal.RedactingStream:
        return terminal.RedactingStream(terminal.stderr, self.redact, lossy=True)

    @cached_property
    def _stdout(self) -> terminal.RedactingStream:
        return terminal.RedactingStream(terminal.stdout, self.redact)

    @cached_property
    def out(self) -> Console:
        """Where results go."""
        return terminal.console(self._stdout, colour=not self.options.no_color, environ=self.environ)

    @cached_property
    def err(self) -> Console:
        """Where messages go."""
        return terminal.console(self._stderr, colour=not self.options.no_color, environ=self.environ)

    @property
    def narrow(self) -> bool:
        """Whether results go to a screen of a certain width, and not to a pipe."""
        return self._stdout.isatty() or bool(self.environ.get("COLUMNS"))

    def folded(self, text: str, indent: int) -> str:
        """A text that begins at column ``indent`` of a screen and goes on there; on a pipe it stays one line.
        Words are never broken, so that a path can be copied.
        """
        if not self.narrow:
            return text
        room = max(self.out.width - indent, _LEAST_ROOM)
        lines = wrap(text, room, break_long_words=False, break_on_hyphens=False)
        return ("\n" + " " * indent).join(lines)

    def write(self, text: str) -> None:
        """Put a finished text on stdout (CSV, JSON), at once."""
        self._stdout.write_document(text)

    def divert(self) -> None:
        """From here on results go where messages go: stdout takes none."""
        self._stdout = self._stderr
        self.out = self.err

    @property
    def diverted(self) -> bool:
        """Whether stdout takes nothing, so that what is printed goes to stderr."""
        return self._stdout is self._stderr

    def say(self, text: str, *, style: str = "") -> None:
        """A message for the person, on stderr; silent with ``-q`` unless something is wrong (``style``
        red).
        """
        if not self.options.quiet or style == "red":
            self.err.print(text, style=style or None, soft_wrap=True)

    def answer(self, envelope: Envelope) -> None:
        """Print an envelope on a line of its own."""
        self.answered = True
        self.write(document.text(envelope) + "\n")

    @property
    def place(self) -> tuple[str | None, str | None]:
        """Venue and mode as far as they are known; the settings may be what is broken. A recording is no
        venue.
        """
        if self.recorded:
            return "recorded", "paper"
        if self.simulated:
            return "sandbox", "live"
        if "settings" in self.__dict__:
            return str(self.settings.venue.name), str(self.settings.mode)
        return None, None

    def require_person(self, *, yes: bool) -> None:
        """``ConfigError`` (exit 2) where a question would be asked and nobody can answer; with ``yes`` none
        is asked.
        """
        if not yes and (self.options.json or not (sys.stdin.isatty() and self._stderr.isatty())):
            raise ConfigError(
                Problem("", "this asks a question, and there is no terminal to ask on", "add --yes")
            )

    def confirm(self, question: str, *, yes: bool) -> bool:
        """Ask a person; without a terminal nothing is asked and ``--yes`` is needed (exit 2)."""
        if yes:
            return True
        self.require_person(yes=yes)
        import typer

        return typer.confirm(question, err=True)

    @contextmanager
    def progress(self, label: str) -> Iterator[_Advance]:
        """A bar on stderr while a person watches, nothing on a pipe; yields ``advance(done, total)``."""
        if self.options.quiet or self.options.json or not self._stderr.isatty():
            yield _Advance(None)
            return
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
        )
        # Without redirection: our streams look stderr up anew and would find rich's own proxy there.
        with Progress(
            *columns, console=self.err, transient=True, redirect_stdout=False, redirect_stderr=False
        ) as bar:
            task = bar.add_task(label, total=None)
            yield _Advance(lambda done, total: bar.update(task, completed=done, total=total))


@dataclass(frozen=True, slots=True)
class _Advance:
    """Moves a progress bar, or nothing."""

    update: Callable[[int, int], None] | None

    def __call__(self, done: int, total: int) -> None:
        """So much of the whole is done."""
        if self.update is not None:
            self.update(done, total)
