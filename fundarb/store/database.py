"""The store: opens one database, brings its schema up to date, and puts together the collaborators that own
its tables.

Every change of state goes through ``transaction()`` (``store.session``). To add a room of tables: models made
from ``tables.base_model``, a migration in ``migrations``, a collaborator built here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from fundarb.clock import Clock
from fundarb.errors import ConfigError, Problem
from fundarb.store import files
from fundarb.store.blocks import Blocks
from fundarb.store.commands import Commands
from fundarb.store.events import Events
from fundarb.store.executions import Executions
from fundarb.store.identity import IdentityTable
from fundarb.store.intents import Intents
from fundarb.store.jobs import Jobs
from fundarb.store.ledger import Ledger
from fundarb.store.meta import Meta
from fundarb.store.migrate import migrate
from fundarb.store.migrations import SCHEMA_VERSION
from fundarb.store.positions import Positions
from fundarb.store.session import Session
from fundarb.store.snapshots import Snapshots
from fundarb.store.writer import Writer


class Store(Session):
    """One database of one account. Made by ``Store.open``."""

    def __init__(self, path: Path, *, clock: Clock, readonly: bool) -> None:
        """Of an existing file whose schema is right; use ``open``."""
        super().__init__(path, clock=clock, readonly=readonly)
        self.meta = Meta(self)
        self.identity = IdentityTable(self, self.meta)
        self.events = Events(self)
        self.positions = Positions(self, self.events)
        self.intents = Intents(self)
        self.executions = Executions(self)
        self.ledger = Ledger(self, self.meta)
        self.blocks = Blocks(self, self.events)
        self.commands = Commands(self)
        self.jobs = Jobs(self)
        self.snapshots = Snapshots(self)
        self.writer = Writer(self)

    @classmethod
    def open(cls, url: str, *, clock: Clock, readonly: bool = False) -> Self:
        """Open ``sqlite:///FILE``; a writer makes the file if it is missing and migrates an older schema
        (after a backup).

        ``ConfigError``: no such file (reader), another or a newer schema, a damaged file, a file of another
        program, a network filesystem, no permission. ``Locked``: an older schema while another process is the
        writer.
        """
        path = files.path_of(url)
        files.require_local(path)
        files.require_not_lost(path)
        if readonly:
            if not path.exists():
                remedy = "it is made by the first command that writes, or name the right one with --db"
                raise ConfigError(Problem("--db", f"there is no database {path}", remedy))
            found = files.inspect(path, thorough=False)
            files.require_version(path, found.version, known=SCHEMA_VERSION, readonly=True)
        else:
            files.create_empty(path)
            files.tighten(path)
            found = files.inspect(path, thorough=True)
            files.require_version(path, found.version, known=SCHEMA_VERSION, readonly=False)
            if found.version != SCHEMA_VERSION:
                migrate(path, clock=clock)
        return cls(path, clock=clock, readonly=readonly)


def exists(url: str) -> bool:
    """Whether the database that a URL names has been made; ``StateUnavailable`` if it was and is gone."""
    path = files.path_of(url)
    files.require_not_lost(path)
    return path.exists() and path.stat().st_size > 0
