"""Everything that unattended trading needs, put together by ``app``: the writer's desk with its jobs and
commands.

It decides nothing; a driver (daemon, simulation) is handed one and runs what is in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fundarb.config import JobSpec
from fundarb.engine.control import CommandRunner
from fundarb.engine.desk import Desk
from fundarb.engine.halt_file import HaltFile
from fundarb.engine.jobs import JobReport, Jobs
from fundarb.engine.ports import Notifier
from fundarb.store.lock import WriterLock


class Silent:
    """A notifier that tells nobody."""

    def tell(self, event: object) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """One writer's office. ``recover`` is the walk that every start begins with (``Unavailable`` if the venue
    does not answer: then it is tried again). The lock is taken before anything here is used.
    """

    desk: Desk
    lock: WriterLock
    jobs: Jobs
    commands: CommandRunner
    recover: Callable[[], JobReport]
    specs: tuple[JobSpec, ...]
    halt_file: HaltFile
    notifier: Notifier
