"""Start-up is recovery, and reconciliation is the same walk: resolve, collect, settle,
compare, repair.

Running it twice changes nothing the second time. Foreign orders, positions and coins are reported and never
touched.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fundarb.core.events import ActivityChanged, AlertRaised, MismatchFound, MismatchRepaired
from fundarb.core.market import Category
from fundarb.core.orders import LINK_PREFIX
from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind, IntentRecord, PositionRecord
from fundarb.core.states import IntentState, IntentTrigger, PositionState
from fundarb.crash import Point
from fundarb.engine.alerts import alert_once
from fundarb.engine.collect import Collector
from fundarb.engine.compare import Books, Mismatch, VenueFacts, compare
from fundarb.engine.desk import Desk
from fundarb.engine.hedge import Hedger
from fundarb.engine.lifecycle import rest, settle
from fundarb.engine.resolve import Resolver
from fundarb.errors import Unavailable

_RECENT = timedelta(days=1)
_REASON = "reconcile: "
_TOLD = "reconcile.told"
_TOLD_ELSEWHERE = frozenset({"unhedged", "uncertain_order"})
"""The hedger and the resolver tell of these themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """How much was looked at."""

    positions: int = 0
    balances: int = 0
    orders: int = 0
    executions: int = 0
    ledger_rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileResult:
    """What one walk found and did. ``clean`` means nothing is left that needs anybody."""

    checked: Checked = field(default_factory=Checked)
    resolved: tuple[IntentRecord, ...] = ()
    mismatches: tuple[Mismatch, ...] = ()
    repaired: tuple[PositionRecord, ...] = ()

    @property
    def clean(self) -> bool:
        """No difference but notes about other people's business."""
        return all(item.note_only for item in self.mismatches)


class Reconciler:
    """Brings books and venue together."""

    def __init__(self, desk: Desk, *, collector: Collector, resolver: Resolver, hedger: Hedger) -> None:
        """Share the collaborators with whoever trades."""
        self._desk = desk
        self._collector = collector
        self._resolver = resolver
        self._hedger = hedger

    def run(self, *, dry_run: bool = False) -> ReconcileResult:
        """The whole walk; ``dry_run`` compares only and sends, books and blocks nothing."""
        resolved: tuple[IntentRecord, ...] = ()
        repaired: tuple[PositionRecord, ...] = ()
        if not dry_run:
            resolved = self._resolve()
            self._collector.collect()
            self._settle()
            repaired = self._repair()
        facts = self._facts()
        mismatches = self._compare(facts)
        if not dry_run:
            self._act(mismatches)
        return ReconcileResult(
            checked=self._checked(facts), resolved=resolved, mismatches=mismatches, repaired=repaired
        )

    def _resolve(self) -> tuple[IntentRecord, ...]:
        """What was in flight is UNCERTAIN, whoever sent it; then it is looked up."""
        store = self._desk.store
        waiting = store.intents.open()
        if not waiting:
            return ()
        store.events.record(ActivityChanged(activity="RECOVERING"))
        for intent in waiting:
            if intent.state is not IntentState.UNCERTAIN:
                with store.transaction(before=Point.RESOLVE_BEFORE_COMMIT, after=Point.RESOLVE_AFTER_COMMIT):
                    store.intents.advance(
                        intent.link_id, IntentTrigger.NO_ANSWER, message="in flight when its writer stopped"
                    )
        return self._resolver.resolve_all(patience=2 * self._desk.rules.t_recover)

    def _settle(self) -> None:
        """Write down what each book is; one whose market cannot be read does not keep the others waiting."""
        for position in self._desk.store.positions.active():
            with suppress(Unavailable):
                settle(self._desk, position.position_id)
                rest(self._desk, position.position_id)

    def _repair(self) -> tuple[PositionRecord, ...]:
        """A naked leg is hedged or unwound, always."""
        repaired = []
        for position in self._desk.store.positions.active():
            if position.state is PositionState.EXPOSED:
                with suppress(Unavailable):
                    self._hedger.repair(position.position_id)
                    rest(self._desk, position.position_id)
                after = self._desk.store.positions.get(position.position_id)
                if after.state is not PositionState.EXPOSED:
                    self._desk.store.events.record(
                        MismatchRepaired(mismatch="unhedged", symbol=position.base, action=after.state)
                    )
                    repaired.append(after)
        return tuple(repaired)

    def _facts(self) -> VenueFacts:
        """Complete answers of this very cycle; fills of the last day whose link id no row of ours
        explains.
        """
        exchange, store = self._desk.exchange, self._desk.store
        now = self._desk.clock.now()
        since = max(now - _RECENT, self._since())
        recent = store.executions.between(since, now + _RECENT)
        return VenueFacts(
            positions=exchange.positions(),
            wallet=exchange.wallet(),
            orders=(*exchange.open_orders(Category.SPOT), *exchange.open_orders(Category.LINEAR)),
            recent=tuple(
                item
                for item in recent
                if item.link_id.startswith(LINK_PREFIX) and store.intents.find(item.link_id) is None
            ),
            executions=len(recent),
        )

    def _since(self) -> datetime:
        """When this database was made or restored."""
        return self._desk.store.identity.since() or self._desk.identity().created_at

    def _compare(self, facts: VenueFacts) -> tuple[Mismatch, ...]:
        store = self._desk.store
        links = {order.link_id for order in facts.orders} | {item.link_id for item in facts.recent}
        books = Books(
            identity=self._desk.identity(),
            since=self._since(),
            positions=store.positions.active(),
            intents=store.intents.open(),
            known_links=frozenset(link for link in links if store.intents.find(link) is not None),
            balances=store.ledger.balances(),
        )
        return compare(books, facts, tolerance=self._desk.rules.tolerance)

    def _act(self, mismatches: tuple[Mismatch, ...]) -> None:
        """Block what is not understood, tell once, and lift our own freezes where the cause is gone."""
        store, now = self._desk.store, self._desk.clock.now()
        wanted: dict[tuple[str, BlockKind], Block] = {}
        for item in mismatches:
            block = _block(item, now)
            if block is not None:
                wanted.setdefault((block.scope, block.kind), block)
        for block in wanted.values():
            held = store.blocks.get(block.scope, block.kind)
            if held is None or not held.needs_person or not held.active(now):
                store.blocks.set(block)
        for block in store.blocks.active(now):
            ours = block.reason.startswith(_REASON) and not block.needs_person
            if ours and (block.scope, block.kind) not in wanted:
                store.blocks.clear(block.scope, block.kind)
        self._tell(mismatches)

    def _tell(self, mismatches: tuple[Mismatch, ...]) -> None:
        """One event per incident: an id that was told in the last walk is not told again."""
        store = self._desk.store
        told = set(filter(None, (store.meta.get(_TOLD) or "").split("\n")))
        for item in mismatches:
            if item.id not in told:
                store.events.record(
                    MismatchFound(
                        mismatch=item.kind,
                        symbol=item.symbol,
                        expected=item.expected,
                        found=item.found,
                        action=item.action,
                    )
                )
                self._alert(item)
        current = {item.id for item in mismatches}
        if current != told:
            store.meta.set(_TOLD, "\n".join(sorted(current)))

    def _alert(self, item: Mismatch) -> None:
        """An alert, unless whoever worked on the same incident before has raised it."""
        if item.note_only:
            return
        subject, text = item.subject or item.symbol, f"{item.kind} of {item.symbol}: {item.action}"
        if item.kind in _TOLD_ELSEWHERE:
            alert_once(self._desk.store, item.kind, subject=subject, message=text)
        else:
            self._desk.store.events.record(AlertRaised(code=item.kind, subject=subject, message=text))

    def _checked(self, facts: VenueFacts) -> Checked:
        return Checked(
            positions=len(facts.positions),
            balances=len(facts.wallet.coins),
            orders=len(facts.orders),
            executions=facts.executions,
            ledger_rows=self._desk.store.ledger.count(),
        )


def _block(item: Mismatch, now: datetime) -> Block | None:
    """What a difference forbids: everything, one coin, or nothing (other people's business; a naked leg,
    which the hedger has judged).
    """
    if item.halts:
        return Block(
            scope=GLOBAL_SCOPE,
            kind=BlockKind.HALT,
            reason=_REASON + item.action,
            since=now,
            needs_person=True,
        )
    if item.note_only or not item.base or item.kind == "unhedged":
        return None
    reason = f"{_REASON}{item.kind} of {item.symbol}"
    return Block(scope=item.base, kind=BlockKind.FREEZE, reason=reason, since=now)
