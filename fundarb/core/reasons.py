"""Refusals are data: a reason has a stable code for scripts and a sentence for people."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something is refused or warned about; ``code`` is snake case and stable, ``message`` says by how
    much.
    """

    code: str
    message: str

    def __str__(self) -> str:
        """The sentence."""
        return self.message


@dataclass(frozen=True, slots=True)
class Approved:
    """A rule book has nothing against it; ``warnings`` are shown but do not refuse."""

    warnings: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """At least one rule forbids it; *all* reasons are listed."""

    reasons: tuple[Reason, ...]
    warnings: tuple[Reason, ...] = ()


Verdict = Approved | Refused


def verdict(
    reasons: tuple[Reason, ...] | list[Reason], warnings: tuple[Reason, ...] | list[Reason] = ()
) -> Verdict:
    """Approved if nothing stands against it, else refused with everything that does."""
    return Refused(tuple(reasons), tuple(warnings)) if reasons else Approved(tuple(warnings))
