"""``scan_and_open``: look at the market, judge the best few coins by their settled rates, open what is worth
it within the limits.

One decision per coin and run, each told once with its reason. The scan picks, ``Trader`` decides again on
fresh quotes with every rule of risk; a coin that is refused there is simply not opened. A coin of which
something cannot be read is passed over; a venue that shows no quotes either ends the run. Where the limits
are full the best coin may take the place of the weakest one (``switching``), one in a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from itertools import islice

from fundarb.core.events import DecisionMade
from fundarb.core.money import ZERO, plain
from fundarb.core.opportunity import Opportunity
from fundarb.core.reasons import Reason, Refused
from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind
from fundarb.core.risk import blocks, day_breaker
from fundarb.engine.activity import Activity, busy_with, now_busy_with
from fundarb.engine.daybook import midnight, today
from fundarb.engine.equity_points import newest
from fundarb.engine.jobs import JobParts, JobReport
from fundarb.engine.jobs_books import Snapshot
from fundarb.engine.preflight import Yield
from fundarb.engine.scan import ScanResult
from fundarb.engine.shut_out import met
from fundarb.engine.switching import Switching, Weakest
from fundarb.engine.told import shortfall
from fundarb.errors import Unavailable

SHORTLIST = 6
"""How many coins are judged by their history; each costs one request per settlement."""
_LEAST_NOTIONAL = Decimal(50)
"""A smaller rest of a limit is not worth its round trip."""
_DAY = timedelta(days=1)
_FULL = frozenset({"max_positions", "max_gross"})
_FREED = _FULL | {"insufficient_margin", "insufficient_spot_balance"}
"""Reasons against an open that the place of a position that is left may take away."""


@dataclass(slots=True)
class _Run:
    """What a run came to: coins ``opened``, how many a rule ``refused``, and in words what was ``left`` for
    another coin, what was begun and not reached (``missed``), what could not be judged (``unread``).
    """

    left: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    refused: int = 0
    missed: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    @property
    def told(self) -> bool:
        """Whether there is more to say than that nothing was opened."""
        return bool(self.left or self.opened or self.missed or self.unread)

    def report(self, found: ScanResult) -> JobReport:
        """The run in a sentence."""
        opened = [f"opened {', '.join(self.opened)}"] if self.opened else []
        told = [*self.left, *opened, *self.missed, *self.unread]
        if not told:
            return JobReport(result="nothing", message=_nothing(found, self.refused))
        result = "ok" if opened else "incomplete" if self.missed or self.left else "nothing"
        return JobReport(result=result, message="; ".join(told), notable=True)


class ScanAndOpen:
    """The job."""

    def __init__(self, parts: JobParts) -> None:
        """Nothing was decided yet."""
        self._parts = parts
        self._told: dict[str, tuple[str, str]] = {}
        self._snapshot = Snapshot(parts)
        self._switching = Switching(parts)

    def run(self, arguments: Mapping[str, object]) -> JobReport:  # noqa: ARG002 - the interface gives it
        """Scan and open; ``Unavailable`` if the market cannot be read. ``incomplete``: orders were sent and
        nothing is held of them.
        """
        full = self._no_room()
        if self._may_go_on(full):
            self._check_day()
            full = self._no_room()
        if full is not None and not self._may_go_on(full):
            return JobReport(result="nothing", message=full.message)
        with busy_with(self._parts.desk.store, Activity.SCANNING):
            return self._fill() if full is None else self._switch(full)

    def _may_go_on(self, full: Reason | None) -> bool:
        """Whether there is room, or it is only full and a place may be made free."""
        return full is None or (full.code in _FULL and self._switching.due())

    def _fill(self) -> JobReport:
        """Open one coin after the other as long as there is room."""
        found, run = self._scan(), _Run()
        for item in self._free(found, run):
            if self._parts.desk.stop.requested or self._no_room() is not None:
                break
            self._try(item, run)
        return run.report(found)

    def _switch(self, full: Reason) -> JobReport:
        """The limits are full: give the weakest position's place to a better coin, where there is one."""
        weakest, run = self._switching.weakest(), _Run()
        if weakest is None:
            return JobReport(result="nothing", message=full.message)
        found = self._scan(freed=weakest.position.notional)
        self._replace(weakest, found, run=run)
        return run.report(found) if run.told else JobReport(result="nothing", message=full.message)

    def _replace(self, weakest: Weakest, found: ScanResult, *, run: _Run) -> None:
        """Leave a position for the best coin that is free, if that is worth it and nothing but the place is
        against its open.
        """
        item = next(self._free(found, run), None)
        if item is None or self._parts.desk.stop.requested:
            return
        try:
            if not self._switching.worth(item, weakest):
                return
            plan = self._parts.trader.plan_open(item.base, self._room(weakest.position.notional))
        except Unavailable as error:
            self._pass_over(item, run, error=error)
            return
        if isinstance(plan, Refused) and any(reason.code not in _FREED for reason in plan.reasons):
            self._refused(item, plan, run=run)
            return
        closed, said = self._switching.leave(weakest, item)
        run.left.append(said)
        if closed:
            self._try(item, run)

    # ------------------------------------------------------------------------------------------- room

    def _no_room(self) -> Reason | None:
        """Why nothing may be opened at all: a block, or a limit that is full."""
        desk = self._parts.desk
        for block in desk.store.blocks.active(desk.clock.now()):
            if block.scope == GLOBAL_SCOPE:
                return Reason(f"block_{block.kind}", f"{block.kind}: {block.reason}")
        held, limits = desk.store.positions.active(), desk.rules.limits
        if len(held) >= limits.max_positions:
            return Reason("max_positions", f"{len(held)} positions are open, as many as allowed")
        if self._room() < _LEAST_NOTIONAL:
            return Reason("max_gross", f"the limit of {plain(limits.max_gross)} in all is used up")
        return None

    def _room(self, freed: Decimal = ZERO) -> Decimal:
        """The notional that the next position may have, once so much was ``freed``."""
        limits = self._parts.desk.rules.limits
        gross = sum((item.notional for item in self._parts.desk.store.positions.active()), ZERO)
        return min(self._parts.rules.notional, limits.max_per_coin, limits.max_gross - gross + freed)

    def _check_day(self) -> None:
        """Stop opens until midnight once the day's losses or fees are above their limit.

        Snapshots are an hour apart: what was booked since the last look is measured first.
        """
        desk = self._parts.desk
        last = newest(desk.store)
        if last is not None and last.booked_until != desk.store.ledger.read.last_id():
            self._snapshot.run({})
        day = today(desk.store)
        if day is None:
            return
        reasons = day_breaker(
            equity_start=day.equity_start, profit=day.profit, fees=day.fees, limits=desk.rules.limits
        )
        if reasons:
            desk.store.blocks.set(
                Block(
                    scope=GLOBAL_SCOPE,
                    kind=BlockKind.COOL_DOWN,
                    reason="; ".join(reason.message for reason in reasons),
                    since=desk.clock.now(),
                    until=midnight(day.since) + _DAY,
                )
            )

    # ----------------------------------------------------------------------------------------- choice

    def _scan(self, freed: Decimal = ZERO) -> ScanResult:
        """The market judged with settled rates: a first look picks the few whose history is read, a second
        one ranks. Coins with a block of their own take nobody's place in it.
        """
        parts = self._parts
        held = {position.base for position in parts.desk.store.positions.active()}
        active = parts.desk.store.blocks.active(parts.desk.clock.now())
        barred = {block.scope for block in active} - held - {GLOBAL_SCOPE}
        query = replace(parts.scanner.query(), notional=self._room(freed), top=SHORTLIST + len(barred))
        first = parts.scanner.scan(query)
        candidates = [*first.opportunities, *(near.opportunity for near in first.nearest)]
        wanted = {
            item.perp_symbol: item.funding
            for item in candidates
            if item.base not in held | barred and item.funding is not None
        }
        read = parts.shelf.refresh(dict(islice(wanted.items(), SHORTLIST)))
        return parts.scanner.scan(query) if read else first

    def _free(self, found: ScanResult, run: _Run) -> Iterator[Opportunity]:
        """The coins that are not held, the best first; a block of a coin's own is told, and nobody is asked
        for anything.
        """
        store, now = self._parts.desk.store, self._parts.desk.clock.now()
        for item in found.opportunities:
            if store.positions.active_for(item.base) is not None:
                continue
            own = [block for block in store.blocks.active(now) if block.scope == item.base]
            if own:
                self._refused(item, Refused(blocks(own, item.base, now=now)), run=run)
            else:
                yield item

    def _try(self, item: Opportunity, run: _Run) -> None:
        """Open one coin. What cannot be read of it is its own trouble as long as the venue shows its quotes;
        ``Unavailable`` if it does not.
        """
        try:
            self._open(item, run)
        except Unavailable as error:  # of the plan: from the first order on nothing is raised
            self._pass_over(item, run, error=error)

    def _pass_over(self, item: Opportunity, run: _Run, *, error: Unavailable) -> None:
        """Something of one coin cannot be read; ``Unavailable`` if the venue shows no quotes either."""
        met(self._parts.desk, error)
        self._parts.desk.market.refresh()
        self._tell(item.base, "pass_over", reason=str(error))
        run.unread.append(f"{item.base} passed over: {error}")

    def _refused(self, item: Opportunity, refusal: Refused, *, run: _Run) -> None:
        codes = ", ".join(reason.code for reason in refusal.reasons)
        words = "; ".join(reason.message for reason in refusal.reasons)
        self._tell(item.base, "refuse", reason=f"{codes}: {words}")
        run.refused += 1

    def _open(self, item: Opportunity, run: _Run) -> None:
        """One decision about one coin, and what came of it."""
        if item.result is None or item.forecast is None:
            return
        expected = Yield(
            net_apr=item.result.net_apr, min_net_apr=self._parts.rules.min_net_apr, automatic=True
        )
        why = (
            f"net APR {item.result.net_apr * 100:.2f} % over the horizon, "
            f"expected rate {item.forecast.rate * 10000:.3f} bp ({item.forecast.kind})"
        )
        now_busy_with(self._parts.desk.store, Activity.OPENING)
        result = self._parts.trader.open(item.base, self._room(), expected=expected)
        if isinstance(result, Refused):
            self._refused(item, result, run=run)
            return
        missing = shortfall(result)
        if missing:
            self._tell(item.base, "open_incomplete", reason=f"{missing} (decided on {why})")
            run.missed.append(f"{item.base} not opened: {missing}")
        else:
            self._tell(item.base, "open", reason=why)
            run.opened.append(item.base)

    def _tell(self, base: str, decision: str, *, reason: str) -> None:
        """Record a decision unless the last one about this coin was the same, whatever its figures."""
        key = (decision, reason.partition(":")[0] if decision == "refuse" else reason)
        if self._told.get(base) != key:
            self._told[base] = key
            self._parts.desk.store.events.record(DecisionMade(base=base, decision=decision, reason=reason))


def _nothing(found: ScanResult, refused: int) -> str:
    """Why nothing was opened, with the nearest miss."""
    if refused:
        return f"{refused} candidates were refused"
    if found.opportunities:
        return "every eligible coin is held already"
    if found.nearest:
        near = found.nearest[0]
        return (
            f"nothing is worth opening; {near.opportunity.base} misses by {near.missing_apr * 100:.2f} points"
        )
    return "nothing is worth opening"
