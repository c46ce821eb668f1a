"""Every exception of fundarb, named by the response it requires.

::

    FundarbError
    ├── ConfigError            cannot start: print every problem, exit 2
    │   └── OtherAccount       the venue answers as another account than the database's: book and send nothing
    ├── Unavailable            a read failed, nothing changed: repeat within bounds, else skip (exit 4)
    │   └── BadAnswer          an answer that is unreadable or contradicts itself; a write is then uncertain
    ├── Rejected               the venue refused a write, nothing changed: never repeat it as it is (exit 3)
    │   └── NotSent            our own gate held a request back before a byte was written
    ├── OutcomeUncertain       a write may or may not have happened: never repeat, resolve (exit 5)
    ├── Locked                 another writer holds the account (exit 7)
    ├── StateUnavailable       our own database cannot be read or written: nothing may be sent, stop; the next
    │                          start finds out what the venue holds
    ├── IllegalTransition      a state table was asked for a pair it does not have: a bug, or corrupt state
    └── InvariantBroken        something that must always hold does not: halt, a person must look

Refusals by a rule (risk, guard) are not exceptions: they are values that carry all their reasons
(``core.reasons``). This module imports nothing of fundarb and never will.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


class FundarbError(Exception):
    """The base of every exception that fundarb raises on purpose."""

    kind = "error"
    """The name of the class in snake case, as the JSON envelope shows it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the configuration: where it stands, and what mends it.

    ``where`` names file, table and key (``fundarb.toml [risk] max_gross``), an environment variable or a
    flag.
    """

    where: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        """One line for a person."""
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}; {self.remedy}" if self.remedy else text


class ConfigError(FundarbError):
    """The program cannot start or a command was used wrongly; carries *every* problem found."""

    kind = "config_error"

    def __init__(self, *problems: Problem | str) -> None:
        """Keep all problems; a plain string becomes a problem without a place."""
        self.problems: tuple[Problem, ...] = tuple(
            Problem("", item) if isinstance(item, str) else item for item in problems
        )
        super().__init__("\n".join(str(problem) for problem in self.problems))


class OtherAccount(ConfigError):
    """The venue behind the same address and key is another account than the database's: nothing of it may be
    booked, decided upon or sent; a writer at work ends.
    """


class Unavailable(FundarbError):
    """A read failed and nothing changed; ``code`` is the venue's retCode where there was one.

    ``forbidden``: the venue serves this address no more (HTTP 403), as far as is known ``until`` an instant.
    """

    kind = "unavailable"

    def __init__(self, message: str, *, code: int | None = None) -> None:
        """Say what could not be read."""
        self.code = code
        self.forbidden = False
        self.until: datetime | None = None
        super().__init__(message)

    def reworded(self, message: str) -> Unavailable:
        """The same failure in other words."""
        other = Unavailable(message, code=self.code)
        other.forbidden, other.until = self.forbidden, self.until
        return other


class BadAnswer(Unavailable):
    """An answer does not parse or contradicts itself; for a write this is treated as uncertain."""

    kind = "bad_answer"


class Rejected(FundarbError):
    """The venue refused a write for certain; nothing changed."""

    kind = "rejected"

    def __init__(self, message: str, *, code: int | None = None) -> None:
        """Keep the venue's retCode beside its words."""
        self.code = code
        super().__init__(message)


class NotSent(Rejected):
    """Our own gate refused before the first byte was written; the venue never saw the request."""

    kind = "not_sent"


class OutcomeUncertain(FundarbError):
    """A write may or may not have happened."""

    kind = "outcome_uncertain"

    def __init__(self, message: str, *, code: int | None = None) -> None:
        """Keep the venue's retCode where there was one."""
        self.code = code
        super().__init__(message)


class Locked(FundarbError):
    """Another process holds the writer's lock of this account."""

    kind = "locked"


class StateUnavailable(FundarbError):
    """The database cannot be read or written: a full disk, a deleted or damaged file, a lock that never came
    free.

    Whatever the transaction held is not durable, so nothing may leave for the wire on its strength. The
    process stops; the next start resolves what the venue has from what *was* durable.
    """

    kind = "state_unavailable"


class IllegalTransition(FundarbError):
    """A state table has no such pair; nothing was changed."""

    kind = "illegal_transition"


class InvariantBroken(FundarbError):
    """Something that must always hold does not; trading stops until a person has looked."""

    kind = "invariant_broken"
