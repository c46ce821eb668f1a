"""Differences that are remembered: those that were found last, and those that a person wants left as they
are, which do not come back unless they change.

Kept in the database as two texts: the ids of the differences that wait, and the id of each ignored one with
how large it was then.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from fundarb.core.money import plain
from fundarb.core.orders import parse_link_id
from fundarb.engine.compare import Mismatch
from fundarb.store.database import Store

_KEY: Final = "reconcile.ignored"
TOLD: Final = "reconcile.told"
"""Under which key the differences of the last walk stand, an id in each line."""
_STRANGERS: Final = frozenset({"orphan_order", "second_instance"})
"""Kinds of differences whose subject is a link id: one for each order."""


def standing(store: Store) -> frozenset[str]:
    """The ids of all differences between books and venue that the last walk left: those that wait for what
    explains them or for an answer, and those that are to stay.
    """
    return frozenset((store.meta.get(TOLD) or "").split()) | _ignored(store).keys()


def _ignored(store: Store) -> dict[str, str]:
    text = store.meta.get(_KEY)
    found: dict[str, str] = {} if text is None else json.loads(text)
    return found


def _size(item: Mismatch) -> str:
    """How large a difference is; empty where nobody knows."""
    return "" if item.difference is None else plain(item.difference)


def incident(ident: str) -> str:
    """What a person hears of once: the difference of this id by itself, but all orders of one fundarb that is
    not in our books together.
    """
    kind, _, subject = ident.partition(":")
    parts = parse_link_id(subject) if kind in _STRANGERS else None
    return ident if parts is None else f"{kind}:{parts.tag}"


class Remembered:
    """The ignored differences of one database."""

    def __init__(self, store: Store) -> None:
        """Kept in its small texts."""
        self._store = store

    def ignore(self, item: Mismatch) -> None:
        """Leave this difference alone for as long as it is exactly as large."""
        self._write({**self._read(), item.id: _size(item)})

    def of(self, mismatches: Iterable[Mismatch]) -> frozenset[str]:
        """The ids of those that a person has answered and that have not changed since."""
        known = self._read()
        return frozenset(item.id for item in mismatches if known.get(item.id) == _size(item))

    def keep(self, ignored: Iterable[Mismatch]) -> None:
        """Forget every answer whose difference is gone or has changed: should it come back, it is news."""
        known = self._read()
        wanted = {item.id for item in ignored}
        if not known.keys() <= wanted:
            self._write({name: size for name, size in known.items() if name in wanted})

    def _read(self) -> dict[str, str]:
        return _ignored(self._store)

    def _write(self, known: dict[str, str]) -> None:
        self._store.meta.set(_KEY, json.dumps(known, sort_keys=True))
