"""JSON as scripts read it: the envelope around every result, its values exact (``core.exact_json``), ratios
as fractions, refusals as ``{code, message}``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fundarb.core.exact_json import jsonable
from fundarb.core.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The ``error`` of an envelope: which kind, one sentence, and every reason."""

    kind: str
    message: str
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What is around every result."""

    schema: str
    as_of: datetime
    venue: str | None
    mode: str | None
    data: Any = None
    warnings: tuple[Reason, ...] = ()
    error: Failure | None = None


def text(envelope: Envelope) -> str:
    """The envelope on one line."""
    return json.dumps(jsonable(envelope), ensure_ascii=False)
