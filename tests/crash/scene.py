"""One cell of the crash matrix: a world, a victim that is killed at a point, and the writers that come after
it.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from multiprocessing import Pipe
from pathlib import Path

from fundarb import crash
from fundarb.app.ids import SeededIds
from fundarb.app.writer import Writer, introduce
from fundarb.engine.desk import Desk, TradeRules
from fundarb.engine.guard import GateSlot
from fundarb.engine.market import MarketView
from fundarb.exchange.inprocess import Loss
from fundarb.exchange.local import LocalExchange, VenueClock
from fundarb.store.database import Store
from fundarb.store.files import url_of
from fundarb.store.lock import WriterLock
from fundarb.venue.rows import Directive, OrderMatch
from tests.crash.remote import RemoteClock, RemoteExchange, serve
from tests.engine.world import LIMITS, SECOND
from tests.venue.toy import ToyFeed
from tests.venue.toy import venue as toy_venue

D = Decimal
OUTCOMES = ("filled", "partly", "unfilled", "lost")
NOTIONAL = D(4000)


@dataclass(frozen=True)
class Ended:
    """How a process ended: killed by the crash point, or with an exit code."""

    killed: bool
    code: int


class _Tracer:
    """Sits where an armed point would and notes every point that is compared with it."""

    def __init__(self, trail: Path) -> None:
        self.name = self
        self._file = trail.open("a")

    def __eq__(self, point: object) -> bool:
        self._file.write(f"{point}\n")
        self._file.flush()
        return False

    __hash__ = None  # type: ignore[assignment]


class Scene:
    """A venue that outlives its clients, and one database file."""

    def __init__(self, folder: Path) -> None:
        """An empty account."""
        self.path = folder / "fundarb.sqlite3"
        self.venue = toy_venue(ToyFeed())
        self.clock = VenueClock(self.venue)
        self.clock.sleep(60 * SECOND)
        self.exchange = LocalExchange(self.venue, None, clock=self.clock)

    @property
    def _trail(self) -> Path:
        return self.path.with_name("trail.txt")

    def arrange(self, outcome: str, *, count: int = 1, skip: int = 0) -> None:
        """What becomes of ``count`` creates after ``skip`` that pass."""
        if outcome == "lost":
            self.exchange.lose(*[None] * skip, *[Loss.REQUEST] * count)
        fraction = {"partly": D("0.5"), "unfilled": D(0)}.get(outcome)
        if fraction is not None:
            full = [Directive(fill_frac=D(1))] * skip
            self.venue.force(OrderMatch(), *full, *[Directive(fill_frac=fraction)] * count)

    def apart(self, name: str, act: Callable[[Scene], object]) -> None:
        """Let something happen in a copy of this world, which goes on as it was; what failed there fails
        here.
        """
        folder = self.path.parent.with_name(name)
        gc.freeze()  # else collecting in the child copies every page of the parent
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                shutil.copytree(self.path.parent, folder)
                self.path = folder / self.path.name
                act(self)
                code = 0
            except BaseException:  # noqa: BLE001 - a forked child must never return into the test runner
                folder.with_suffix(".failed").write_text(traceback.format_exc())
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        if status:
            failed = folder.with_suffix(".failed")
            raise AssertionError(failed.read_text() if failed.exists() else f"{name} died: {status}")

    def trail_of(self, name: str) -> list[str]:
        """The points that the victim of the copy of this name passed."""
        return self._trail.parent.with_name(name).joinpath(self._trail.name).read_text().split()

    def calm(self) -> None:
        """No fault is armed any more."""
        self.exchange._losses.clear()
        self.venue._state.armed.clear()

    def run(
        self, work: Callable[[Writer], object], *, die: str = "", hits: int = 1, trace: bool = False
    ) -> Ended:
        """Do ``work`` as a writer in a process of its own, killed at a point if one is named.

        ``trace`` lets it live and notes which points it passed (``passed``).
        """
        ours, theirs = Pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                ours.close()
                if trace:
                    crash._armed[:] = [_Tracer(self._trail)]  # type: ignore[list-item]
                elif die:
                    crash.arm(die, hits)
                code = _child(self.path, RemoteExchange(theirs, GateSlot()), work)
            except BaseException:  # noqa: BLE001 - a forked child must never return into the test runner
                traceback.print_exc()
            finally:
                os._exit(code)
        theirs.close()
        serve(ours, self.exchange, self.clock)
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        return Ended(killed, -1 if killed else os.waitstatus_to_exitcode(status))


def _child(path: Path, exchange: RemoteExchange, work: Callable[[Writer], object]) -> int:
    """A writer from its lock to its end; what a restarted program does."""
    clock = RemoteClock(exchange)
    store = Store.open(url_of(path), clock=clock)
    lock = WriterLock(store, clock=clock)
    lock.acquire("command")
    ids = SeededIds(0, store.writer.epoch())
    if store.identity.read() is None:
        uid = exchange.account().uid
        store.identity.create(venue="sandbox", mode="live", instance="default", uid=uid, tag=ids.tag())
    rules = TradeRules(limits=LIMITS)
    desk = Desk(store, exchange, clock, ids, lock, rules, MarketView(exchange, clock))  # type: ignore[arg-type]
    writer = introduce(desk, lock, slot=exchange._gate)
    writer.collector.open_books()
    writer.reconciler.run()
    work(writer)
    lock.release()
    store.close()
    return 0
