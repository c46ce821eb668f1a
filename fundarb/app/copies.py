"""Use cases for copies of the state: a verified backup, also while a writer is at work, and a restore that
throws nothing away.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fundarb.app.ids import RandomIds
from fundarb.clock import Clock
from fundarb.config import Settings
from fundarb.errors import ConfigError, Problem
from fundarb.store import restore as replacing
from fundarb.store.backup import made, stamped, verify
from fundarb.store.place import place_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A backup: the file, its size in bytes, and its schema. Every page of it has been checked."""

    file: Path
    bytes: int
    schema_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What stands now where: the database (a file, or a server's address), the backup that it was made from,
    and the former file or schema if there was one. Opens are halted until a clean ``reconcile`` and a
    ``resume``.
    """

    database: str
    source: Path
    former: str | None


def backup(settings: Settings, clock: Clock, *, target: Path | None) -> Copied:
    """Copy the database to a file, or into a folder under a name with the time; into the home's ``backups``
    where none is named. It stays: the job ``backup`` rotates its own, which have another name.
    ``ConfigError`` if there is nothing to copy or the place cannot be written.
    """
    source = place_of(settings.db_url)
    if not source.exists():
        raise ConfigError(Problem("--db", "nothing was traded yet: there is no database to copy"))
    folder = settings.home / "backups" if target is None else target
    if target is None or folder.is_dir():
        target = stamped(folder / source.label, "copy", at=clock.now())
    file = made(source, target, clock=clock)
    return Copied(file=file, bytes=file.stat().st_size, schema_version=verify(file))


def restore(settings: Settings, clock: Clock, *, source: Path) -> Restored:
    """Put a backup in the database's place. ``Locked`` while a writer is at work, ``ConfigError`` if the
    backup cannot be trusted or is of another account.
    """
    former = replacing.restore(
        source, settings.db_url, clock=clock, tag=RandomIds().tag(), owner=settings.identity
    )
    return Restored(database=place_of(settings.db_url).name, source=source, former=former or None)
