"""Putting a backup in the place of a database: nothing is thrown away, and trading stays halted until a
person has looked.

What happened after the backup is only known to the venue. Hence a new tag (orders of the lost time are
recognisably not of this file, the old tags stay ours) and a halt that ``resume`` lifts after a clean
reconcile.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from fundarb.clock import Clock
from fundarb.core.instants import iso
from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind
from fundarb.errors import ConfigError, Locked, Problem
from fundarb.store.backup import COPY_MARK, copy_verified, stamped, verify
from fundarb.store.database import Store
from fundarb.store.files import require_local, require_version, url_of
from fundarb.store.migrations import SCHEMA_VERSION
from fundarb.store.place import place_of
from fundarb.store.ports import Holder


def restore(source: Path, url: str, *, clock: Clock, tag: str) -> str:
    """Make the database of ``url`` a copy of ``source``; where the former database is kept, "" if there was
    none.

    ``Locked`` while a writer is at work, ``ConfigError`` if the backup is missing, damaged or of a newer
    schema.
    """
    place = place_of(url)
    if not source.is_file():
        raise ConfigError(Problem(str(source), "there is no such backup", "name an existing file"))
    require_version(source, verify(source), known=SCHEMA_VERSION, readonly=False)
    if place.file is not None:
        require_local(place.file)
        place.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = place.lock()
    try:
        if not lock.try_acquire():
            pid = (place.holder() or Holder()).pid or "unknown"
            raise Locked(f"process {pid} works on {place.name}: end it, then restore")
        with TemporaryDirectory(prefix="fundarb-") as folder:
            beside = place.file or Path(folder) / place.label
            fresh = copy_verified(source, stamped(beside, "restoring", at=clock.now()))
            with Store.open(url_of(fresh), clock=clock) as store:
                store.meta.set(COPY_MARK, source.name)
                adopt_copy(store, tag)
            return place.put(fresh, clock.now())
    finally:
        lock.release()


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
