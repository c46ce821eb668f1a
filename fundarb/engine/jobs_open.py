"""``scan_and_open``: look at the market, judge the best few coins by their settled rates, open what is worth
it within the limits.

One decision per coin and run, each told once with its reason. The scan picks, ``Trader`` decides again on
fresh quotes with every rule of risk; a coin that is refused there is simply not opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import islice

from fundarb.core.events import DecisionMade
from fundarb.core.money import ZERO, plain
from fundarb.core.opportunity import Opportunity
from fundarb.core.reasons import Reason, Refused
from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind
from fundarb.core.risk import day_breaker
from fundarb.engine.activity import Activity, at_rest, now_busy_with
from fundarb.engine.daybook import today
from fundarb.engine.equity_points import newest
from fundarb.engine.jobs import JobParts, JobReport
from fundarb.engine.jobs_books import Snapshot
from fundarb.engine.outcome import Reached, TradeResult
from fundarb.engine.preflight import Yield
from fundarb.engine.scan import ScanResult

SHORTLIST = 6
"""How many coins are judged by their history; each costs one request per settlement."""
_LEAST_NOTIONAL = Decimal(50)
"""A smaller rest of a limit is not worth its round trip."""
_DAY = timedelta(days=1)


class ScanAndOpen:
    """The job."""

    def __init__(self, parts: JobParts) -> None:
        """Nothing was decided yet."""
        self._parts = parts
        self._told: dict[str, tuple[str, str]] = {}
        self._snapshot = Snapshot(parts)

    def run(self, arguments: Mapping[str, object]) -> JobReport:  # noqa: ARG002
        """Scan and open; ``Unavailable`` if the market cannot be read."""
        full = self._no_room()
        if full is None:
            self._check_day()
            full = self._no_room()
        if full is not None:
            return JobReport(result="nothing", message=full.message)
        store = self._parts.desk.store
        now_busy_with(store, Activity.SCANNING)
        found = self._scan()
        opened: list[str] = []
        refused = 0
        for item in found.opportunities:
            if self._parts.desk.stop.requested or self._no_room() is not None:
                break
            if store.positions.active_for(item.base) is None:
                result = self._open(item)
                refused += isinstance(result, Refused)
                opened += [item.base] if isinstance(result, TradeResult) else []
        at_rest(store)
        if opened:
            return JobReport(message=f"opened {', '.join(opened)}", notable=True)
        return JobReport(result="nothing", message=_nothing(found, refused))

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

    def _room(self) -> Decimal:
        """The notional that the next position may have."""
        limits = self._parts.desk.rules.limits
        gross = sum((item.notional for item in self._parts.desk.store.positions.active()), ZERO)
        return min(self._parts.rules.notional, limits.max_per_coin, limits.max_gross - gross)

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
                    until=day.since + _DAY,
                )
            )

    # ----------------------------------------------------------------------------------------- choice

    def _scan(self) -> ScanResult:
        """The market judged with settled rates: a first look picks the few whose history is read, a second
        one ranks.
        """
        parts = self._parts
        query = replace(parts.scanner.query(), notional=self._room(), top=SHORTLIST)
        first = parts.scanner.scan(query)
        candidates = [*first.opportunities, *(near.opportunity for near in first.nearest)]
        held = {position.base for position in parts.desk.store.positions.active()}
        wanted = {
            item.perp_symbol: item.funding
            for item in candidates
            if item.base not in held and item.funding is not None
        }
        read = parts.shelf.refresh(dict(islice(wanted.items(), SHORTLIST)))
        return parts.scanner.scan(query) if read else first

    def _open(self, item: Opportunity) -> TradeResult | Refused | None:
        """One decision about one coin, and what came of it; None if it was decided against without asking."""
        if item.result is None or item.forecast is None:
            return None
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
            codes = ", ".join(reason.code for reason in result.reasons)
            self._tell(
                item.base, "refuse", reason=codes + ": " + "; ".join(r.message for r in result.reasons)
            )
            return result
        self._tell(item.base, "open" if result.reached is Reached.DONE else "open_incomplete", reason=why)
        return result

    def _tell(self, base: str, decision: str, *, reason: str) -> None:
        """Record a decision unless the last one about this coin was the same, whatever its figures."""
        key = (decision, reason.partition(":")[0] if decision == "refuse" else reason)
        if self._told.get(base) != key:
            self._told[base] = key
            self._parts.desk.store.events.record(DecisionMade(base=base, decision=decision, reason=reason))


def _nothing(found: ScanResult, refused: int) -> str:
    """Why nothing was opened, with the nearest miss."""
    if refused:
        return f"{refused} candidates were refused on fresh quotes"
    if found.opportunities:
        return "every eligible coin is held already"
    if found.nearest:
        near = found.nearest[0]
        return (
            f"nothing is worth opening; {near.opportunity.base} misses by {near.missing_apr * 100:.2f} points"
        )
    return "nothing is worth opening"
