"""The store: opens one database, brings its schema up to date, and puts together the collaborators that own
its tables.

Every change of state goes through ``transaction()`` (``store.session``). To add a room of tables: models made
from ``tables.base_model``, a migration in ``migrations``, a collaborator built here.
"""

from __future__ import annotations

from typing import Self

from fundarb.clock import Clock
from fundarb.store.blocks import Blocks
from fundarb.store.commands import Commands
from fundarb.store.events import Events
from fundarb.store.executions import Executions
from fundarb.store.identity import IdentityTable
from fundarb.store.intents import Intents
from fundarb.store.jobs import Jobs
from fundarb.store.ledger import Ledger
from fundarb.store.meta import Meta
from fundarb.store.place import exists, place_of
from fundarb.store.ports import Place
from fundarb.store.positions import Positions
from fundarb.store.prices import CoinPrices
from fundarb.store.session import Session
from fundarb.store.snapshots import Snapshots
from fundarb.store.writer import Writer

__all__ = ["Store", "exists"]


class Store(Session):
    """One database of one account. Made by ``Store.open``."""

    def __init__(self, place: Place, *, clock: Clock, readonly: bool) -> None:
        """Of an existing database whose schema is right; use ``open``."""
        super().__init__(place, clock=clock, readonly=readonly)
        self.meta = Meta(self)
        self.identity = IdentityTable(self, self.meta)
        self.events = Events(self)
        self.positions = Positions(self, self.events)
        self.intents = Intents(self)
        self.executions = Executions(self)
        self.snapshots = Snapshots(self)
        self.ledger = Ledger(self, self.meta, prices=CoinPrices(self.snapshots))
        self.blocks = Blocks(self, self.events)
        self.commands = Commands(self)
        self.jobs = Jobs(self)
        self.writer = Writer(self)

    @classmethod
    def open(cls, url: str, *, clock: Clock, readonly: bool = False) -> Self:
        """Open ``sqlite:///FILE`` or ``postgresql://…``; a writer makes it if it is missing and migrates an
        older schema.

        ``ConfigError``: no such database (reader), another or a newer schema, damage, another program's, no
        permission. ``Locked``: an older schema while another process is the writer.
        """
        place = place_of(url)
        place.prepare(clock=clock, readonly=readonly)
        return cls(place, clock=clock, readonly=readonly)
