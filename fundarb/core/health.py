"""What a check of the installation, the account or the books found: one line, how bad it is, and what mends
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """OK, worth a look, or broken."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of ``doctor``. ``id`` is stable for scripts; ``fixed`` says that it was mended just now."""

    id: str
    level: Level
    message: str
    remedy: str = ""
    fixed: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing is broken (a warning is not)."""
        return self.level is not Level.FAIL
