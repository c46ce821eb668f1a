"""Putting a backup in the place of a database: nothing is thrown away, and trading stays halted until a
person has looked.

What happened after the backup is only known to the venue. Hence a new tag (orders of the lost time are
recognisably not of this file, the old tags stay ours) and a halt that ``resume`` lifts after a clean
reconcile.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from fundarb.clock import Clock
from fundarb.core.instants import iso
from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind
from fundarb.errors import ConfigError, FundarbError, Locked, Problem
from fundarb.store.backup import COPY_MARK, copy_verified, stamped, title, verify
from fundarb.store.database import Store
from fundarb.store.files import make_folder, require_local, require_version, url_of
from fundarb.store.identity import differences
from fundarb.store.migrate import migrate
from fundarb.store.migrations import SCHEMA_VERSION
from fundarb.store.place import place_of
from fundarb.store.ports import Holder


def restore(
    source: Path, url: str, *, clock: Clock, tag: str, owner: tuple[str, str, str] | None = None
) -> str:
    """Make the database of ``url`` a copy of ``source``; where the former database is kept, "" if there was
    none.

    ``owner`` is the venue, mode and instance that is configured: a backup of another one, or of another
    account than the database in place, is refused. ``Locked`` while a writer is at work, ``ConfigError`` if
    the backup is missing, damaged, of a newer schema or of somebody else.
    """
    place = place_of(url)
    if not source.is_file():
        raise ConfigError(Problem(str(source), "there is no such backup", "name an existing file"))
    require_version(source, verify(source), known=SCHEMA_VERSION, readonly=False, where="FILE")
    if place.file is not None:
        require_local(place.file)
        make_folder(place.file)
    lock = place.lock()
    try:
        if not lock.try_acquire():
            pid = (place.holder() or Holder()).pid or "unknown"
            raise Locked(f"process {pid} works on {place.name}: end it, then restore")
        with TemporaryDirectory(prefix="fundarb-") as folder:
            beside = place.file or Path(folder) / place.label
            fresh = copy_verified(source, stamped(beside, "restoring", at=clock.now()))
            with ExitStack() as undo:
                undo.callback(_remove, fresh)
                migrate(fresh, clock=clock, keep=False)  # of what the source is kept of already
                with Store.open(url_of(fresh), clock=clock) as store:
                    if owner is not None:
                        _require_owner(store, owner, uid=_uid_of(url, clock))
                    store.meta.set(COPY_MARK, title(source))
                    adopt_copy(store, tag)
                undo.pop_all()
            return place.put(fresh, clock.now())
    finally:
        lock.release()


def _remove(fresh: Path) -> None:
    """A copy that does not take the database's place, with all that lies beside it."""
    for suffix in ("", "-wal", "-shm", ".lock"):
        Path(f"{fresh}{suffix}").unlink(missing_ok=True)


def _require_owner(copy: Store, owner: tuple[str, str, str], *, uid: str | None) -> None:
    """``ConfigError`` unless a copy is nobody's yet or of this venue, mode, instance and (if known)
    account.
    """
    found = copy.identity.read()
    if found is None:
        return
    (venue, mode, instance), uid = owner, found.uid if uid is None else uid
    remedy = "name a backup of this account, or correct the configuration"
    problems = [
        Problem("FILE", f"is a backup of {part} {is_!r}, not of {wanted!r}", remedy)
        for part, is_, wanted in differences(found, venue=venue, mode=mode, instance=instance, uid=uid)
    ]
    if problems:
        raise ConfigError(*problems)


def _uid_of(url: str, clock: Clock) -> str | None:
    """The account of the database in place; None where there is none, or it cannot be read any more."""
    with suppress(FundarbError), Store.open(url, clock=clock, readonly=True) as store:
        found = store.identity.read()
        return None if found is None else found.uid
    return None


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
