"""What a command came to, in a form that a database row can carry: exit code, data, error.

A command executed by the daemon is answered through its row, and the command line prints it as if it had done
the work itself; so exit codes and the JSON of results are settled here, below both. Nothing here executes
anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from fundarb.core.exact_json import jsonable
from fundarb.core.reasons import Reason
from fundarb.errors import ConfigError, FundarbError

EXIT_CODES: Mapping[str, int] = {
    "config_error": 2,
    "rejected": 3,
    "not_sent": 3,
    "refused": 3,
    "unavailable": 4,
    "bad_answer": 4,
    "outcome_uncertain": 5,
    "invariant_broken": 6,
    "state_unavailable": 6,
    "mismatch": 6,
    "locked": 7,
    "incomplete": 8,
    "interrupted": 130,
}
"""Exit code by kind of error; a kind that is not listed is a bug (1)."""

BUG = 1

KEY_TROUBLE: Mapping[int, str] = {
    10003: "the venue does not know this API key: correct BYBIT_API_KEY, or name the right venue",
    10004: "the signature does not fit this API key: correct BYBIT_API_SECRET",
    10005: "this API key lacks a permission: allow unified trading (orders, positions, spot) for it",
    10009: "the venue does not serve the region this request comes from",
    10010: "this API key is bound to other addresses: allow this machine's at the venue",
    33004: "this API key has expired: make a new one at the venue and put it into BYBIT_API_KEY and "
    "BYBIT_API_SECRET",
}
"""What is wrong with a key and what mends it, by the venue's code (bybit-v5, the codes of every endpoint);
trying again does not.
"""


def in_words(error: FundarbError) -> str:
    """An error for a person; one that is the key's fault names the key and its remedy."""
    trouble = KEY_TROUBLE.get(getattr(error, "code", None) or 0)
    return str(error) if trouble is None else f"{trouble} ({error})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The end of a command: exit code, ``data`` as JSON knows it, and what was wrong (empty ``kind``:
    nothing).
    """

    exit_code: int = 0
    data: Any = None
    kind: str = ""
    message: str = ""
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[Reason, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether anything was wrong."""
        return bool(self.kind)

    @classmethod
    def wrong(cls, kind: str, message: str, *, reasons: Iterable[Reason] = (), data: Any = None) -> Self:
        """An answer with an error, and the exit code that goes with its kind."""
        found = tuple(reasons) or (Reason(kind, message),)
        return cls(
            exit_code=EXIT_CODES.get(kind, BUG),
            data=jsonable(data),
            kind=kind,
            message=message,
            reasons=found,
        )

    @classmethod
    def of_error(cls, error: BaseException) -> Self:
        """The answer that an exception means."""
        if isinstance(error, ConfigError):
            reasons = tuple(Reason("configuration", str(problem)) for problem in error.problems)
            return cls.wrong(error.kind, str(error), reasons=reasons)
        if isinstance(error, FundarbError):
            code, message = getattr(error, "code", None), in_words(error)
            name = error.kind if code is None else f"venue_{code}"
            return cls.wrong(error.kind, message, reasons=(Reason(name, message),))
        return cls.wrong("error", f"unexpected {type(error).__name__}: {error}")

    def text(self) -> str:
        """As the row keeps it."""
        return json.dumps(
            {
                "data": self.data,
                "kind": self.kind,
                "message": self.message,
                "reasons": jsonable(self.reasons),
                "warnings": jsonable(self.warnings),
            },
            ensure_ascii=False,
        )

    @classmethod
    def parse(cls, exit_code: int, text: str) -> Self:
        """Read a row's result back; ``ValueError`` if it is none."""
        found = json.loads(text)
        return cls(
            exit_code=exit_code,
            data=found["data"],
            kind=found["kind"],
            message=found["message"],
            reasons=tuple(Reason(**item) for item in found["reasons"]),
            warnings=tuple(Reason(**item) for item in found["warnings"]),
        )
