"""Putting a backup in the place of a database: nothing is thrown away, and trading stays halted until a
person has looked.

What happened after the backup is only known to the venue. Hence a new tag (orders of the lost time are
recognisably not of this file, the old tags stay ours) and a halt that ``resume`` lifts after a clean
reconcile.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fundarb.clock import Clock
from fundarb.core.instants import iso
from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind
from fundarb.errors import ConfigError, Locked, Problem
from fundarb.store.backup import COPY_MARK, copy_verified, stamped, verify
from fundarb.store.database import Store
from fundarb.store.files import path_of, require_local, require_version, url_of
from fundarb.store.flock import FileLock, holder, lock_path
from fundarb.store.migrations import SCHEMA_VERSION

_SIDE_FILES: Final = ("-wal", "-shm")


def restore(source: Path, url: str, *, clock: Clock, tag: str) -> Path | None:
    """Make the database of ``url`` a copy of ``source``; where the former database was moved, None if there
    was none.

    ``Locked`` while a writer is at work, ``ConfigError`` if the backup is missing, damaged or of a newer
    schema.
    """
    path = path_of(url)
    if not source.is_file():
        raise ConfigError(Problem(str(source), "there is no such backup", "name an existing file"))
    require_version(source, verify(source), known=SCHEMA_VERSION, readonly=False)
    require_local(path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(lock_path(path))
    if not lock.try_acquire():
        raise Locked(
            f"process {holder(lock.path).get('pid', 'unknown')} works on {path}: end it, then restore"
        )
    try:
        fresh = copy_verified(source, stamped(path, "restoring", at=clock.now()))
        with Store.open(url_of(fresh), clock=clock) as store:
            store.meta.set(COPY_MARK, source.name)
            adopt_copy(store, tag)
        former = _set_aside(path, clock)
        lock_path(fresh).unlink(missing_ok=True)
        fresh.rename(path)
    finally:
        lock.release()
    return former


def adopt_copy(store: Store, tag: str) -> bool:
    """If this database is a copy that has not been used yet, make it usable: new tag, halted. False for any
    other.

    A writer calls it at its start, so that a backup which was put in place by hand is treated like one that
    ``restore`` put there.
    """
    name = store.meta.get(COPY_MARK)
    if name is None:
        return False
    with store.transaction():
        if store.identity.read() is not None:
            store.identity.renew_tag(tag)
        now = store.now()
        reason = f"restored from {name} at {iso(now)}: run fundarb reconcile, then fundarb resume"
        store.blocks.set(
            Block(scope=GLOBAL_SCOPE, kind=BlockKind.HALT, reason=reason, since=now, needs_person=True)
        )
        store.meta.delete(COPY_MARK)
    return True


def _set_aside(path: Path, clock: Clock) -> Path | None:
    aside = stamped(path, "before-restore", at=clock.now())
    for suffix in _SIDE_FILES:  # a write-ahead log belongs to its file, and would be applied to the wrong one
        beside = Path(f"{path}{suffix}")
        if beside.exists():
            beside.rename(f"{aside}{suffix}")
    if not path.exists():
        return None
    path.rename(aside)
    return aside
