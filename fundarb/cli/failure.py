"""Errors as the outside sees them: which exit code, which kind, which sentence, which reasons.

Owns the one mapping from exception classes to exit codes. An exception that is not listed is a bug, exit 1.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TypeGuard

from fundarb.cli.document import Failure
from fundarb.cli.exits import Exit
from fundarb.core.reasons import Reason
from fundarb.engine.answers import KEY_TROUBLE, in_words
from fundarb.errors import (
    ConfigError,
    FundarbError,
    InvariantBroken,
    Locked,
    OutcomeUncertain,
    Problem,
    Rejected,
    StateUnavailable,
    Unavailable,
)


class Declined(Exception):
    """A person answered a question with no."""


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

DECLINED = "nothing was done"
_KEY_CODES = frozenset(f"venue_{code}" for code in KEY_TROUBLE)
_MACHINE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})
_PLACE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})

_NEXT = {
    Exit.UNAVAILABLE: "Nothing was changed. Try again; `fundarb doctor` says what can be reached.",
    Exit.UNCERTAIN: "Something may be live at the venue: run `fundarb reconcile` next.",
}


def exit_of(error: BaseException) -> Exit:
    """The exit code that an exception means."""
    if isinstance(error, KeyboardInterrupt):
        return Exit.INTERRUPTED
    if isinstance(error, Declined):
        return Exit.REFUSED
    if is_of_the_place(error):
        return Exit.USAGE
    return next((code for kind, code in _CODES if isinstance(error, kind)), Exit.BUG)


def failure_of(error: BaseException) -> Failure:
    """The ``error`` of the envelope for an exception."""
    if isinstance(error, KeyboardInterrupt):
        return Failure(kind="interrupted", message=str(error) or "interrupted")
    if isinstance(error, Declined):
        return Failure(kind="refused", message=DECLINED, reasons=(Reason("declined", DECLINED),))
    if isinstance(error, ConfigError):
        reasons = tuple(Reason("configuration", str(problem)) for problem in error.problems)
        return Failure(kind=error.kind, message=str(error), reasons=reasons)
    if isinstance(error, FundarbError):
        code, message = getattr(error, "code", None), in_words(error)
        name = error.kind if code is None else f"venue_{code}"
        return Failure(kind=error.kind, message=message, reasons=(Reason(name, message),))
    if isinstance(error, OSError) and error.errno in _PLACE | _MACHINE:
        return _refused_by_the_system(error)
    message = f"unexpected {type(error).__name__}: {error}"
    return Failure(kind="error", message=message, reasons=(Reason("error", message),))


def _refused_by_the_system(error: OSError) -> Failure:
    """A file, or the output, that the system does not let us write."""
    if is_of_the_place(error):
        problem = Problem(str(error.filename), f"cannot be used: {error.strerror}", "choose another place")
        return failure_of(ConfigError(problem))
    what = "the output" if error.filename is None else str(error.filename)
    message = f"{what} cannot be written: {error.strerror}"
    return Failure(kind="error", message=message, reasons=(Reason("machine", message),))


def is_of_the_machine(error: BaseException) -> bool:
    """Whether the machine is at fault, not the program: a disk that is full or broken."""
    return isinstance(error, OSError) and error.errno in _MACHINE


def is_of_the_place(error: BaseException) -> TypeGuard[OSError]:
    """Whether a file lies where this user may not use it: on a read-only disk, in a folder of another."""
    return isinstance(error, OSError) and error.errno in _PLACE and error.filename is not None


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


def advice(what: Failure, code: Exit, *, error: BaseException | None = None) -> str:
    """What to do next, for a person; empty where the message says it already."""
    if isinstance(error, Unavailable) and error.until is not None:
        return f"Nothing was changed. Wait until {error.until:%H:%M:%S} UTC: no request is sent before."
    if isinstance(error, Unavailable) and error.forbidden:  # a country or network that is not served
        return "Nothing was changed."
    if any(reason.code in _KEY_CODES for reason in what.reasons):
        return ""
    return _NEXT.get(code, "")


def lines(what: Failure) -> Iterator[str]:
    """A failure for a person, in the one form that all have: a sentence, and below it one line for each
    reason that it does not say yet.
    """
    reasons = [reason.message for reason in what.reasons]
    head, _, rest = what.message.partition(": ")
    if len(reasons) > 1 and rest == "; ".join(reasons):
        yield f"Error: {head}:"
        yield from (f"  {text}" for text in reasons)
        return
    first, *more = what.message.splitlines() or [what.kind]
    if more:
        first, more = f"{len(more) + 1} problems:", [first, *more]
    yield f"Error: {first}"
    yield from (f"  {text}" for text in more)
    yield from (f"  {text}" for text in reasons if text not in what.message)
