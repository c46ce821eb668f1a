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
from fundarb.store.backup import copy_verified, stamped, verify
from fundarb.store.database import exists
from fundarb.store.files import path_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A backup: the file, its size in bytes, and its schema. Every page of it has been checked."""

    file: Path
    bytes: int
    schema_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What stands now where: the database, the backup that it was made from, and the former file if there was
    one. Opens are halted until a clean ``reconcile`` and a ``resume``.
    """

    database: Path
    source: Path
    former: Path | None


def backup(settings: Settings, clock: Clock, *, target: Path | None) -> Copied:
    """Copy the database to a file, or into a folder under a name with the time; into the home's ``backups``
    where none is named. ``ConfigError`` if there is nothing to copy or the place cannot be written.
    """
    if not exists(settings.db_url):
        raise ConfigError(Problem("--db", "nothing was traded yet: there is no database to copy"))
    path = path_of(settings.db_url)
    place = settings.home / "backups" if target is None else target
    if target is None:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if place.is_dir():
        place = stamped(place / path.name, "backup", at=clock.now())
    made = copy_verified(path, place)
    return Copied(file=made, bytes=made.stat().st_size, schema_version=verify(made))


def restore(settings: Settings, clock: Clock, *, source: Path) -> Restored:
    """Put a backup in the database's place. ``Locked`` while a writer is at work, ``ConfigError`` if the
    backup cannot be trusted.
    """
    former = replacing.restore(source, settings.db_url, clock=clock, tag=RandomIds().tag())
    return Restored(database=path_of(settings.db_url), source=source, former=former)
