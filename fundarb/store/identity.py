"""What a database belongs to: venue, mode, instance and account, and the tags in our link ids. Owns the table
``identity``.

Written once, checked by every writer before anything else: orders of one account must never be booked in the
file of another.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from fundarb.core.instants import from_ms, to_ms
from fundarb.core.records import Identity
from fundarb.errors import ConfigError, InvariantBroken, Problem
from fundarb.store.meta import Meta
from fundarb.store.records import Records
from fundarb.store.session import Session

_RENEWED: Final = "identity.renewed_at"


_COLUMNS: Final = ("venue", "mode", "instance", "uid", "tag", "old_tags", "created_at")


class IdentityTable:
    """The identity of one database."""

    def __init__(self, session: Session, meta: Meta) -> None:
        """``meta`` keeps when the tag was last renewed."""
        self._session = session
        self._meta = meta
        self._records = Records(session, session.tables.identity, kind=_read, names=_COLUMNS)

    def read(self) -> Identity | None:
        """Whose database it is; None until ``create``."""
        return self._records.one("WHERE id = 1")

    def require(self) -> Identity:
        """Whose database it is; ``InvariantBroken`` if nobody's: nothing may be traded from such a file."""
        found = self.read()
        if found is None:
            raise InvariantBroken(f"{self._session.name} belongs to nobody yet")
        return found

    def create(self, *, venue: str, mode: str, instance: str, uid: str, tag: str) -> Identity:
        """Write it, once; ``InvariantBroken`` if there is one already."""
        with self._session.transaction():
            if self.read() is not None:
                raise InvariantBroken(f"{self._session.name} already belongs to an account")
            values = {"venue": venue, "mode": mode, "instance": instance, "uid": uid, "tag": tag}
            now = self._session.now()
            self._records.insert({"id": 1, **values, "old_tags": "[]", "created_at": now})
            return Identity(**values, old_tags=(), created_at=now)

    def check(self, *, venue: str, mode: str, instance: str, uid: str) -> Identity:
        """The identity, if it is this one; ``ConfigError`` with every difference otherwise, or if there is
        none.
        """
        found = self.read()
        name = self._session.name
        if found is None:
            raise ConfigError(Problem("--db", f"{name} has no owner yet", "start a command that writes"))
        remedy = "name that account's own database with --db, or correct the configuration"
        problems = [
            Problem("--db", f"{name} belongs to {part} {is_!r}, not to {wanted!r}", remedy)
            for part, is_, wanted in differences(found, venue=venue, mode=mode, instance=instance, uid=uid)
        ]
        if problems:
            raise ConfigError(*problems)
        return found

    def renew_tag(self, tag: str) -> Identity:
        """Mark new orders with a new tag (after a restore); the old ones stay ours. ``InvariantBroken`` if it
        was ours before.
        """
        with self._session.transaction():
            found = self.require()
            old = (*found.old_tags, found.tag)
            if tag in old:
                raise InvariantBroken(f"the tag {tag!r} was used before")
            self._records.update({"tag": tag, "old_tags": json.dumps(old)}, "WHERE id = 1")
            self._meta.set(_RENEWED, str(to_ms(self._session.clock.now())))
            return replace(found, tag=tag, old_tags=old)

    def since(self) -> datetime | None:
        """When this database was created or last restored: no foreign tag of ours can be newer by rights."""
        renewed = self._meta.get(_RENEWED)
        if renewed is not None:
            return from_ms(int(renewed))
        found = self.read()
        return None if found is None else found.created_at


def differences(
    found: Identity, *, venue: str, mode: str, instance: str, uid: str
) -> list[tuple[str, str, str]]:
    """In what an identity is not this one: the part's name, what it is, and what is wanted."""
    wanted = {"venue": venue, "mode": mode, "instance": instance, "uid": uid}
    return [
        (part, getattr(found, part), value) for part, value in wanted.items() if getattr(found, part) != value
    ]


def _read(*, old_tags: str, **columns: Any) -> Identity:
    return Identity(old_tags=tuple(json.loads(old_tags)), **columns)
