"""Streams and colours: results to stdout, messages to stderr, and no secret on either.

Colours are taken from the terminal's own palette, so that they can be read on light and on dark. Owns width
and colour rules; knows nothing of markets.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 160
"""Columns where nobody's screen limits them."""


class RedactingStream(io.TextIOBase):
    """A text stream that masks every known secret on its way; looks itself up anew, so tests may swap
    ``sys.stdout``.
    """

    def __init__(self, stream: Callable[[], TextIO], redact: Callable[[str], str]) -> None:
        """Wrap what ``stream()`` returns at the time of writing."""
        self._stream = stream
        self._redact = redact

    def write(self, text: str) -> int:
        """Write the masked text; the count is that of the text as given."""
        self._stream().write(self._redact(text))
        return len(text)

    def flush(self) -> None:
        """Hand on what is buffered."""
        self._stream().flush()

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
    """A console on a stream; on a pipe it is wide and plain."""
    from rich.console import Console

    class Quiet(Console):
        """Hands a broken pipe on to the outermost frame; rich itself would end the process with 1."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    width = None if stream.isatty() or environ.get("COLUMNS") else PIPE_WIDTH
    return Quiet(
        file=stream,  # type: ignore[arg-type]  # rich asks for all of IO and uses write, flush, isatty, fileno
        no_color=True if not colour or environ.get("NO_COLOR") else None,
        width=width,
        highlight=False,
        soft_wrap=False,
        emoji=False,
        markup=False,
        _environ=environ,
    )


def silence_stdout() -> None:
    """Point stdout at nothing after the reader went away, so that the flush at exit stays quiet."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
