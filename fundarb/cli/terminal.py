"""Streams and colours: results to stdout, messages to stderr, and no secret on either.

A result that cannot be written is an error; a message that cannot is lost, and what it was about goes on.
Colours are taken from the terminal's own palette, so that they can be read on light and on dark. Owns width
and colour rules; knows nothing of markets.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 160
"""Columns where nobody's screen limits them."""
LEAST_WIDTH = 80
"""Columns that a table gets on however narrow a screen: below it figures would be cut."""
UNWRITABLE = "backslashreplace"
"""What becomes of a character that an encoding does not have: a dash must not cost a report."""


class RedactingStream(io.TextIOBase):
    """A text stream that masks every known secret on its way; looks itself up anew, so tests may swap
    ``sys.stdout``.
    """

    def __init__(
        self, stream: Callable[[], TextIO], redact: Callable[[str], str], *, lossy: bool = False
    ) -> None:
        """Wrap what ``stream()`` returns at the time of writing. ``lossy``: a disk that is full or a reader
        that went away loses the text and stops nobody; else ``OSError``.
        """
        self._stream = stream
        self._redact = redact
        self._lossy = lossy

    def write(self, text: str) -> int:
        """Write the masked text; the count is that of the text as given."""
        with self._losing():
            self._stream().write(self._redact(text))
        return len(text)

    def write_document(self, text: str) -> None:
        """Write a text that programs read (JSON, CSV, HTML), masked and at once: in UTF-8 as in a file,
        whatever the encoding of the terminal.
        """
        stream, masked = self._stream(), self._redact(text)
        with self._losing():
            stream.flush()
            if isinstance(stream, io.TextIOWrapper):
                stream.buffer.write(masked.encode("utf-8", UNWRITABLE))
            else:
                stream.write(masked)
            stream.flush()

    def flush(self) -> None:
        """Hand on what is buffered."""
        with self._losing():
            self._stream().flush()

    def _losing(self) -> AbstractContextManager[None]:
        return suppress(OSError) if self._lossy else nullcontext()

    def isatty(self) -> bool:
        """Whether a person looks at it."""
        return self._stream().isatty()

    def fileno(self) -> int:
        """The descriptor below, for the size of the terminal."""
        return self._stream().fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has it writable, and a stream's never is
        """The encoding below."""
        return self._stream().encoding or "utf-8"


def stdout() -> TextIO:
    """The standard output of this moment."""
    return sys.stdout


def stderr() -> TextIO:
    """The standard error of this moment."""
    return sys.stderr


def console(stream: RedactingStream, *, colour: bool, environ: Mapping[str, str]) -> Console:
    """A console on a stream; on a pipe it is wide and plain. COLUMNS that say nothing (0) count as unsaid."""
    from rich.console import Console

    class Quiet(Console):
        """Hands a broken pipe on to the outermost frame; rich itself would end the process with 1."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    said = environ.get("COLUMNS", "")
    screen = said if said.isdigit() and int(said) else ""
    width = None if stream.isatty() or screen else PIPE_WIDTH
    made = Quiet(
        file=stream,  # type: ignore[arg-type]  # rich asks for all of IO and uses write, flush, isatty, fileno
        no_color=True if not colour or environ.get("NO_COLOR") else None,
        width=width,
        highlight=False,
        soft_wrap=False,
        emoji=False,
        markup=False,
        _environ={**environ, "COLUMNS": screen},
    )
    made.width = max(made.width, LEAST_WIDTH)
    return made


class _Closed(io.FileIO):
    """What stands in for an output that was closed before the start: nothing can be written to it."""

    def write(self, data: Any, /) -> int:
        """Fail in words for a person, unless the stream was silenced since."""
        try:
            return super().write(data)
        except OSError as error:
            raise OSError(errno.EIO, "it is closed") from error


def prepare() -> None:
    """Make the three standard streams fit for use, whoever started this process and how.

    A descriptor that was closed is taken, lest the next file that is opened gets its number and, with it,
    what a library prints: no input comes, messages are lost, and a result fails as on a full disk. What an
    encoding has no character for is written as its number.
    """
    if sys.stdin is None:
        sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY), encoding="utf-8", closefd=False)
    if sys.stdout is None:
        closed = _Closed(os.open(os.devnull, os.O_RDONLY), "w", closefd=False)
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(closed), encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError):  # it hands on what is buffered
                stream.reconfigure(errors=UNWRITABLE)


def settle() -> None:
    """Hand on what is still buffered and drop what nobody takes: the interpreter would try again at its end,
    and put its own exit code in the place of ours.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            silence(stream)


def silence(stream: TextIO) -> None:
    """Point a stream at nothing after its reader went away, so that the flush at exit stays quiet."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
