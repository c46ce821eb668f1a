"""Errors as the outside sees them: which exit code, which kind, which sentence, which reasons.

Owns the one mapping from exception classes to exit codes. An exception that is not listed is a bug, exit 1.
"""

from __future__ import annotations

import errno
from typing import cast

from fundarb.cli.document import Failure
from fundarb.cli.exits import Exit
from fundarb.core.reasons import Reason
from fundarb.errors import (
    ConfigError,
    FundarbError,
    InvariantBroken,
    Locked,
    OutcomeUncertain,
    Rejected,
    StateUnavailable,
    Unavailable,
)

# The first class that fits decides.
_CODES: tuple[tuple[type[FundarbError], Exit], ...] = (
    (ConfigError, Exit.USAGE),
    (Unavailable, Exit.UNAVAILABLE),
    (Rejected, Exit.REFUSED),
    (OutcomeUncertain, Exit.UNCERTAIN),
    (Locked, Exit.LOCKED),
    (InvariantBroken, Exit.MISMATCH),
    (StateUnavailable, Exit.MISMATCH),
)

_MACHINE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})

_NEXT = {
    Exit.UNAVAILABLE: "Nothing was changed. Try again; `fundarb doctor` says what can be reached.",
    Exit.UNCERTAIN: "Something may be live at the venue: run `fundarb reconcile` next.",
}


def exit_of(error: BaseException) -> Exit:
    """The exit code that an exception means."""
    if isinstance(error, KeyboardInterrupt):
        return Exit.INTERRUPTED
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.BUG)


def failure_of(error: BaseException) -> Failure:
    """The ``error`` of the envelope for an exception."""
    if isinstance(error, KeyboardInterrupt):
        return Failure(kind="interrupted", message="interrupted")
    if isinstance(error, ConfigError):
        reasons = tuple(Reason("configuration", str(problem)) for problem in error.problems)
        return Failure(kind=error.kind, message=str(error), reasons=reasons)
    if isinstance(error, FundarbError):
        code = getattr(error, "code", None)
        reasons = (
            (Reason(f"venue_{code}", str(error)),) if code is not None else (Reason(error.kind, str(error)),)
        )
        return Failure(kind=error.kind, message=str(error), reasons=reasons)
    if is_of_the_machine(error):
        message = f"the output or a file cannot be written: {cast('OSError', error).strerror}"
        return Failure(kind="error", message=message, reasons=(Reason("machine", message),))
    message = f"unexpected {type(error).__name__}: {error}"
    return Failure(kind="error", message=message, reasons=(Reason("error", message),))


def is_of_the_machine(error: BaseException) -> bool:
    """Whether the machine is at fault, not the program: a disk that is full, broken or read-only."""
    return isinstance(error, OSError) and error.errno in _MACHINE


def usage(message: str) -> Failure:
    """A command line that cannot be understood."""
    return Failure(kind=ConfigError.kind, message=message, reasons=(Reason("usage", message),))


_LIBRARY_WORDS = (
    ("Value error, ", ""),
    ("Input should be greater than or equal to", "must be at least"),
    ("Input should be less than or equal to", "may be at most"),
    ("Input should be a valid integer, unable to parse string as an integer", "must be a whole number"),
)


def plain_words(message: str) -> str:
    """What the command line library says about a value, without the words of the library below it."""
    for theirs, ours in _LIBRARY_WORDS:
        message = message.replace(theirs, ours)
    return message


def advice(code: Exit) -> str:
    """What to do next, for a person; empty where the message says it already."""
    return _NEXT.get(code, "")
