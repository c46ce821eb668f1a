"""Where plan ids and database tags come from: the operating system's randomness, or a seed in simulation."""

from __future__ import annotations

import hashlib
import secrets

_PLAN = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TAG = "0123456789abcdefghijklmnopqrstuvwxyz"


class RandomIds:
    """Ids that nobody can guess or repeat."""

    def plan_id(self) -> str:
        """Ten characters of 0-9 and A-Z."""
        return "".join(secrets.choice(_PLAN) for _ in range(10))

    def tag(self) -> str:
        """Four characters of 0-9 and a-z."""
        return "".join(secrets.choice(_TAG) for _ in range(4))


class SeededIds:
    """The same ids for the same seed and epoch, so that a simulated run can be repeated; another writer of
    the same database has another epoch, and never draws an id that was used before.
    """

    def __init__(self, seed: int, epoch: int) -> None:
        """Count from zero."""
        self._seed = f"{seed}:{epoch}"
        self._count = 0

    def plan_id(self) -> str:
        """Ten characters of 0-9 and A-Z."""
        return self._draw(_PLAN, 10)

    def tag(self) -> str:
        """Four characters of 0-9 and a-z."""
        return self._draw(_TAG, 4)

    def _draw(self, alphabet: str, length: int) -> str:
        digest = hashlib.sha256(f"{self._seed}:{self._count}:{length}".encode()).digest()
        self._count += 1
        return "".join(alphabet[byte % len(alphabet)] for byte in digest[:length])
