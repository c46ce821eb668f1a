"""``close_when_due``: leave a position when holding on is expected to cost, confirmed over several
settlements, and not at the worst basis of the day: such an exit is patient, within bounds.

The decision is ``core.exits``; this job brings it its facts, keeps what it remembers (in the database, so
that a restart forgets nothing) and carries it out. Closing is never held back by a block.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from fundarb.core.events import DecisionMade
from fundarb.core.exits import ExitDecision, ExitMemory, ExitRules, decide_exit
from fundarb.core.forecast import forecast, print_weight
from fundarb.core.market import FundingRate, MarketSnapshot
from fundarb.core.records import PositionRecord
from fundarb.core.states import PositionState
from fundarb.engine.activity import Activity, busy_with
from fundarb.engine.exit_cost import exit_cost
from fundarb.engine.jobs import IDLE, JobParts, JobReport
from fundarb.engine.shut_out import met
from fundarb.engine.told import NOT_CLOSED, left, shortfall
from fundarb.errors import Unavailable
from fundarb.store.database import Store

_MEMORY = "exit."
_WAITING = "exit.waits."
"""Since when an exit that is due waits for a better basis."""


def load_memory(store: Store, position_id: str) -> ExitMemory:
    """What the last decision about a position left behind."""
    text = store.meta.get(_MEMORY + position_id)
    if text is None:
        return ExitMemory()
    kept = json.loads(text)
    period = kept["period"]
    return ExitMemory(kept["against"], None if period is None else datetime.fromisoformat(period))


def save_memory(store: Store, position_id: str, *, memory: ExitMemory) -> None:
    """Keep what a decision left behind; an empty memory is no row."""
    if memory == load_memory(store, position_id):
        return
    if memory == ExitMemory():
        store.meta.delete(_MEMORY + position_id)
        return
    period = None if memory.period is None else memory.period.isoformat()
    store.meta.set(_MEMORY + position_id, json.dumps({"against": memory.against, "period": period}))


class CloseWhenDue:
    """The job."""

    def __init__(self, parts: JobParts) -> None:
        """``parts.rules`` give horizon, minimum hold and the number of settlements that must agree."""
        self._parts = parts
        self._rules = ExitRules(
            horizon=parts.rules.horizon, min_hold=parts.rules.min_hold, confirm=parts.rules.exit_confirm
        )

    def run(self, arguments: Mapping[str, object]) -> JobReport:  # noqa: ARG002 - the interface gives it
        """Judge every hedged position once; ``Unavailable`` if the market cannot be read."""
        desk = self._parts.desk
        held = [item for item in desk.store.positions.active() if item.state is PositionState.HEDGED]
        if not held:
            return IDLE
        snapshot = desk.market.refresh()
        running = {item.perp_symbol: _running(snapshot, item) for item in held}
        self._parts.shelf.refresh({symbol: rate for symbol, rate in running.items() if rate is not None})
        done: list[str] = []
        missed: list[str] = []
        result = "ok"
        for position in held:
            period = running[position.perp_symbol]
            # another one's order may have been waited for, and much have happened meanwhile
            now = desk.store.positions.get(position.position_id)
            if desk.stop.requested or period is None or now.state is not PositionState.HEDGED:
                continue
            decision = self._decide(position, period)
            save_memory(desk.store, position.position_id, memory=decision.memory)
            try:
                if decision.leave and not self._waits(position, decision, period=period):
                    closed, text = self._close(position, decision)
                    done.append(text)
                    result = result if closed else "incomplete"
            except Unavailable as error:  # one market that cannot be read keeps no other from being left
                met(desk, error)
                missed.append(f"{position.base}: {error}")
        if missed:
            raise Unavailable("; ".join([*done, *missed]))
        if done:
            return JobReport(result=result, message="; ".join(done), notable=True)
        return JobReport(result="nothing", message=f"{len(held)} positions are kept")

    def _decide(self, position: PositionRecord, running: FundingRate) -> ExitDecision:
        desk = self._parts.desk
        history = self._parts.shelf.of(position.perp_symbol)
        outlook = forecast(running, history, weight=print_weight(self._rules.horizon))
        return decide_exit(
            outlook,
            running,
            now=desk.clock.now(),
            opened_at=position.opened_at or position.created_at,
            memory=load_memory(desk.store, position.position_id),
            rules=self._rules,
        )

    def _waits(self, position: PositionRecord, decision: ExitDecision, *, period: FundingRate) -> bool:
        """Whether a better basis is worth waiting for: leaving now costs more than the funding of another
        period, and the wait has not lasted for as many periods as the decision took.
        """
        store, now = self._parts.desk.store, self._parts.desk.clock.now()
        key = _WAITING + position.position_id
        cost = exit_cost(self._parts.desk, position)
        if cost is None or not cost.bad or -decision.rate > cost.excess:
            store.meta.delete(key)
            return False
        since = store.meta.get(key)
        if since is None:
            store.meta.set(key, now.isoformat())
            reason = f"{decision.reason.message}; {cost.reason.message}"
            store.events.record(DecisionMade(base=position.base, decision="wait", reason=reason))
            return True
        return now - datetime.fromisoformat(since) < self._rules.confirm * period.interval

    def _close(self, position: PositionRecord, decision: ExitDecision) -> tuple[bool, str]:
        """Carry a decision out; whether it is, and what the position is now."""
        desk = self._parts.desk
        reason = decision.reason.message
        desk.store.events.record(DecisionMade(base=position.base, decision="close", reason=reason))
        with busy_with(desk.store, Activity.CLOSING):
            missing = shortfall(self._parts.trader.close(position.position_id))
        if not missing:
            save_memory(desk.store, position.position_id, memory=ExitMemory())
            desk.store.meta.delete(_WAITING + position.position_id)
        return not missing, left(desk.store, position, missing=missing, code=NOT_CLOSED, done="closed")


def _running(snapshot: MarketSnapshot, position: PositionRecord) -> FundingRate | None:
    quote = snapshot.perp.get(position.perp_symbol)
    return None if quote is None else quote.funding
