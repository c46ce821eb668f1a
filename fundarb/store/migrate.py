"""Bringing a database to the current schema: forward only, each step in one transaction with its record,
after a backup.

The record is the header's ``user_version``: it changes with the transaction or not at all, so that a kill at
any moment leaves a database of exactly one version.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fundarb.clock import Clock
from fundarb.errors import Locked
from fundarb.store.backup import copy_verified, stamped
from fundarb.store.flock import FileLock, holder, lock_path
from fundarb.store.migrations import MIGRATIONS
from fundarb.store.schema import Migration, Schema
from fundarb.store.sqlite import APPLICATION_ID, Sqlite, translated


def migrate(
    path: Path, *, clock: Clock, migrations: Sequence[Migration] = MIGRATIONS, keep: bool = True
) -> int:
    """Apply what is missing; the version afterwards. ``Locked`` if a writer of the older schema is at work.

    A database that already holds something is backed up first, beside itself, as ``NAME.schema-N.TIME``,
    unless it is a copy itself that need not be kept.
    """
    database = Sqlite(path, readonly=False)
    try:
        version = _version(database)
        if version == 0:
            return _apply(database, migrations)
        lock = FileLock(lock_path(path))
        if not lock.try_acquire():
            pid = holder(lock.path).get("pid", "unknown")
            raise Locked(
                f"{path} must be migrated, but process {pid} of an older fundarb works on it: end it first"
            )
        try:
            if keep:
                copy_verified(path, stamped(path, f"schema-{version}", at=clock.now()))
            return _apply(database, migrations)
        finally:
            lock.release()
    finally:
        database.close_all()


def _version(database: Sqlite) -> int:
    return int(database.execute_sql("PRAGMA user_version").fetchone()[0])


def _apply(database: Sqlite, migrations: Sequence[Migration]) -> int:
    version = 0
    for migration in migrations:
        with translated(database.path), database.transaction("IMMEDIATE"):
            version = _version(database)  # read under the lock: another process may have been faster
            if version < migration.version:
                migration.apply(Schema(database))
                database.execute_sql(f"PRAGMA application_id = {APPLICATION_ID}")
                database.execute_sql(f"PRAGMA user_version = {migration.version}")
                version = migration.version
    return version
