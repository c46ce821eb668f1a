"""What jobs.toml can run: the unattended use cases by name, and what each of them says when it ends.

Owns the list of runs and what they share (parts and rules); each kind of job stands in a file of its own. A
job either finishes with a report or raises: what a failure means is decided by the worker, not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from fundarb.core.money import parse_ratio
from fundarb.core.records import GLOBAL_SCOPE, BlockKind
from fundarb.engine.account_view import AccountView
from fundarb.engine.collect import Collector
from fundarb.engine.desk import Desk
from fundarb.engine.hedge import Hedger
from fundarb.engine.reconcile import Reconciler
from fundarb.engine.scan import Scanner
from fundarb.engine.shelf import FundingShelf
from fundarb.engine.trade import Trader
from fundarb.store.database import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """How a run ended: one word, one sentence; ``notable`` if it deserves an event of its own."""

    result: str = "ok"
    message: str = ""
    notable: bool = False


IDLE = JobReport(result="idle", message="nothing is held")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRules:
    """What the jobs obey beyond the desk's rules: ratios as fractions, durations (``fundarb.toml`` [strategy]
    and [risk]).
    """

    horizon: timedelta = timedelta(days=30)
    min_net_apr: Decimal = parse_ratio("5%")
    min_hold: timedelta = timedelta(days=3)
    exit_confirm: int = 3
    switch_gain: Decimal = parse_ratio("20%")
    margin_warn: Decimal = parse_ratio("50%")
    margin_reduce: Decimal = parse_ratio("70%")
    max_loss_per_day: Decimal = parse_ratio("2%")
    max_fees_per_day: Decimal = parse_ratio("0.5%")
    notional: Decimal = Decimal(1000)
    margin_target: Decimal = parse_ratio("50%")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobParts:
    """The collaborators of the jobs, handed in once by ``app``; ``backups`` is the folder of copies."""

    desk: Desk
    trader: Trader
    collector: Collector
    reconciler: Reconciler
    hedger: Hedger
    scanner: Scanner
    shelf: FundingShelf
    account: AccountView
    rules: JobRules
    backups: Path


class Job(Protocol):
    """One kind of run."""

    def run(self, arguments: Mapping[str, object]) -> JobReport:
        """Do it once."""


@dataclass(frozen=True, slots=True)
class Jobs:
    """Every run by its name in jobs.toml."""

    kinds: Mapping[str, Job] = field(default_factory=dict)

    def run(self, name: str, arguments: Mapping[str, object]) -> JobReport:
        """Run one; ``LookupError`` for a name that jobs.toml does not know either."""
        return self.kinds[name].run(arguments)


def lift(store: Store, kind: BlockKind) -> None:
    """Lift a global block whose cause is gone; nothing is written if it is not there."""
    if store.blocks.get(GLOBAL_SCOPE, kind) is not None:
        store.blocks.clear(GLOBAL_SCOPE, kind)
