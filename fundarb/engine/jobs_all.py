"""The table of all jobs: which name in jobs.toml runs what. Nothing else stands here."""

from __future__ import annotations

from fundarb.engine.jobs import JobParts, Jobs
from fundarb.engine.jobs_books import Backup, CollectFunding, Digest, History, Reconcile, Snapshot
from fundarb.engine.jobs_close import CloseWhenDue
from fundarb.engine.jobs_open import ScanAndOpen
from fundarb.engine.jobs_watch import Watch


def all_jobs(parts: JobParts) -> Jobs:
    """The jobs of one desk."""
    return Jobs(
        {
            "scan_and_open": ScanAndOpen(parts),
            "close_when_due": CloseWhenDue(parts),
            "watch": Watch(parts),
            "collect_funding": CollectFunding(parts),
            "reconcile": Reconcile(parts),
            "snapshot": Snapshot(parts),
            "digest": Digest(parts),
            "backup": Backup(parts),
            "history": History(parts),
        }
    )
