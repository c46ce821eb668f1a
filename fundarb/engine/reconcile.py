"""Start-up is recovery, and reconciliation is the same walk: make safe, then make true.

Orders in doubt, fills and hedges come first (``safety``); then the books are brought up to the venue's,
compared with it, and what others did is repaired or told. A read that fails in the second half is reported
and takes nothing of the first half back. Running it twice changes nothing the second time. Foreign orders,
positions and coins are reported and never touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from fundarb.core.events import AlertRaised, MismatchFound
from fundarb.core.ledger import QUOTE_COINS
from fundarb.core.market import Category
from fundarb.core.orders import LINK_PREFIX
from fundarb.core.reasons import Reason
from fundarb.core.records import GLOBAL_SCOPE, Block, BlockKind, IntentRecord
from fundarb.engine.account_view import coins_there
from fundarb.engine.alerts import alert_once, was_told
from fundarb.engine.beside import Beside
from fundarb.engine.collect import Collector, read_until
from fundarb.engine.compare import (
    Books,
    Choice,
    Mismatch,
    VenueFacts,
    compare,
    not_booked,
    own_differences,
)
from fundarb.engine.desk import Desk
from fundarb.engine.explain import Explained
from fundarb.engine.hedge import Hedger
from fundarb.engine.lifecycle import not_hedged
from fundarb.engine.remembered import TOLD, Remembered, incident
from fundarb.engine.repair import Repair, Repairer
from fundarb.engine.resolve import Resolver
from fundarb.engine.safety import Safe, Safety
from fundarb.engine.shut_out import kept_out, let_in, met, passing_over
from fundarb.engine.takings import taken_since
from fundarb.errors import Unavailable

_RECENT = timedelta(days=1)
_ENDED = timedelta(days=30)
"""How long a finished position is looked at: it must hold nothing."""
REASON = "reconcile: "
"""How the reason of each block begins that a difference set."""
_TOLD_ELSEWHERE = frozenset({"unhedged", "uncertain_order"})
"""The hedger and the resolver tell of these themselves."""
_RATES = 1
"""So many perps are asked for their settled rates in one walk, which reads in bulk; the job that collects
funding asks for all.
"""
_OURS = frozenset({"perp_size", "spot_short"})


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
    """What one walk found and did. ``clean`` means nothing is left that needs anybody.

    ``ignored`` are the differences that a person has answered with "leave it"; they come back when they
    change. ``unread``: the venue did not show everything, so books and venue were not compared; ``unsafe``:
    not even its executions, so that something may be naked that nobody knows of. ``taken`` is what the venue
    took of our positions, as this walk booked it.
    """

    checked: Checked = field(default_factory=Checked)
    resolved: tuple[IntentRecord, ...] = ()
    mismatches: tuple[Mismatch, ...] = ()
    repaired: tuple[Repair, ...] = ()
    ignored: tuple[Mismatch, ...] = ()
    unread: Unavailable | None = None
    unsafe: bool = False
    taken: tuple[Reason, ...] = ()

    @property
    def clean(self) -> bool:
        """Everything was compared, and no difference found but notes about other people's business."""
        return self.unread is None and not self.loud

    @property
    def loud(self) -> tuple[Mismatch, ...]:
        """The differences that are not only notes."""
        return tuple(item for item in self.mismatches if not item.note_only)


class Reconciler:
    """Brings books and venue together."""

    def __init__(self, desk: Desk, *, collector: Collector, resolver: Resolver, hedger: Hedger) -> None:
        """Share the collaborators with whoever trades."""
        self._desk = desk
        self._collector = collector
        self._safety = Safety(desk, collector=collector, resolver=resolver, hedger=hedger)
        self.repairer = Repairer(desk)
        self.remembered = Remembered(desk.store)
        self._beside = Beside(desk.store)

    def run(
        self, *, dry_run: bool = False, repair: bool | None = None, patience: timedelta | None = None
    ) -> ReconcileResult:
        """The whole walk; ``dry_run`` compares only and sends, books and blocks nothing.

        ``repair`` lets the policy decide about legs that were closed by hand (None: as the settings say).
        What the venue did, and what is naked, is mended in any case. ``patience`` is how long an order in
        doubt is waited for, by default until its absence could be proved.

        A venue that does not show everything ends the walk after what could be made safe, and the result says
        so; with ``dry_run`` it is ``Unavailable``.
        """
        policy = self._policy(repair=self._desk.rules.repair if repair is None else repair)
        if dry_run:
            facts, (executions, rows) = self.facts(), self._collector.unbooked()
            found = self._compare(facts, self.repairer.explain(facts), policy=policy)
            return self._result(facts, (*not_booked(executions, rows), *found))
        seen = self._desk.store.events.newest_id()
        result = self._walk(policy=policy, patience=patience)
        return replace(result, taken=taken_since(self._desk.store, seen))

    def _walk(self, *, policy: Choice | None, patience: timedelta | None) -> ReconcileResult:
        """Make safe, then make true."""
        shut = kept_out(self._desk.store)
        safe = self._safety.make(patience=2 * self._desk.rules.t_recover if patience is None else patience)
        done = list(safe.repaired)
        try:
            result = self._make_true(safe, done, policy=policy)
        except Unavailable as error:
            return self._unread(safe, done, error=error, policy=policy)
        let_in(self._desk.store, shut)  # not what an order of this very walk has met
        return result

    def _make_true(self, safe: Safe, done: list[Repair], *, policy: Choice | None) -> ReconcileResult:
        """Book everything, repair what others did (``done`` grows by it), compare and act; ``Unavailable`` if
        it cannot be read.
        """
        self._collector.collect(most_rates=_RATES)
        facts = self.facts()
        seen = self._desk.store.events.newest_id()
        booked = self.repairer.book_known(self.repairer.explain(facts), policy=policy)
        done += [*booked, *self._safety.hedge()]  # what is naked waits for no book-keeping
        if booked:  # fills that became ours are matched with their log rows at once
            self._collector.collect(most_rates=_RATES)
        if seen != self._desk.store.events.newest_id():  # whatever was booked or traded, helpful or not
            facts = self.facts()
        mismatches = self._compare(facts, self.repairer.explain(facts), policy=policy)
        result = self._result(facts, mismatches, resolved=safe.resolved, repaired=self._as_now(done))
        unclear = {item.symbol for item in result.mismatches if item.kind == "perp_size"}
        self._beside.note(facts.positions, at=read_until(self._desk.store, "linear"), unclear=unclear)
        self._act(result)
        return result

    def _unread(
        self, safe: Safe, done: list[Repair], *, error: Unavailable, policy: Choice | None
    ) -> ReconcileResult:
        """The venue did not show everything: nothing is decided from what it lacks. What our own books say is
        naked is hedged, what was booked until now with it; what stays so, or in doubt, is told all the same.
        """
        if self._desk.store.events.newest_id() != safe.event:
            done += self._safety.hedge()
        met(self._desk, error)
        gone = self._without_log(done, policy=policy) if safe.unread is None else ()
        mismatches = tuple(self._own_differences())
        for item in mismatches:
            self._alert(item)
        return ReconcileResult(
            resolved=safe.resolved,
            mismatches=(*mismatches, *gone),
            repaired=self._as_now(done),
            unread=error,
            unsafe=safe.unread is not None,
        )

    def _without_log(self, done: list[Repair], *, policy: Choice | None) -> tuple[Mismatch, ...]:
        """What sizes and executions tell while the log cannot be read: legs of ours that the venue does not
        hold, whose coins are frozen and of which a person is told; ``done`` grows by what was repaired.

        A short that a hand closed goes the policy's way as long as its coins are all there. Where coins went
        only the log knows: that waits for it.
        """
        gone: tuple[Mismatch, ...] = ()
        with passing_over(self._desk):
            facts = self.facts()
            booked = self.repairer.book_known(self._traded(facts), policy=policy)
            if booked:
                done += [*booked, *self._safety.hedge()]
                facts = self.facts()
            found = self._compare(facts, self.repairer.explain(facts), policy=policy)
            result = self._result(facts, tuple(item for item in found if item.kind in _OURS))
            gone = result.mismatches
            self._forbid(result)
            self._tell(gone, whole=False)
        return gone

    def _traded(self, facts: VenueFacts) -> Mapping[str, Explained]:
        """What hands did to the perps of positions whose coins are all in the wallet."""
        get, nothing = self._desk.store.positions.get, self._desk.rules.tolerance
        return {
            ident: why
            for ident, why in self.repairer.explain(facts).items()
            if coins_there((get(ident),), facts.wallet, tolerance=nothing)
        }

    def forbid_opens(self) -> None:
        """For a writer that begins to work on books that could not be compared: nothing is opened until a
        walk comes to its end, which lifts it.
        """
        reason, now = f"{REASON}books and venue could not be compared", self._desk.clock.now()
        self._desk.store.blocks.set(
            Block(scope=GLOBAL_SCOPE, kind=BlockKind.FREEZE, reason=reason, since=now)
        )

    def _own_differences(self) -> Iterable[Mismatch]:
        """What our books alone say is in doubt, naked, or cannot be judged."""
        store = self._desk.store
        return own_differences(store.positions.active(), store.intents.open(), naked=self._naked())

    def _naked(self) -> frozenset[str]:
        """The positions that are called hedged and are not."""
        held = self._desk.store.positions.active()
        return frozenset(item.position_id for item in held if not_hedged(self._desk, item))

    def _policy(self, *, repair: bool) -> Choice | None:
        """What becomes of a leg closed by hand; None: a person is asked."""
        wanted = self._desk.rules.manual_close
        return Choice(wanted) if repair and wanted != "ask" else None

    def _result(
        self,
        facts: VenueFacts,
        mismatches: tuple[Mismatch, ...],
        *,
        resolved: tuple[IntentRecord, ...] = (),
        repaired: tuple[Repair, ...] = (),
    ) -> ReconcileResult:
        """With what a person has answered before taken out."""
        known = self.remembered.of(mismatches)
        return ReconcileResult(
            checked=self._checked(facts),
            resolved=resolved,
            mismatches=tuple(item for item in mismatches if item.id not in known),
            repaired=repaired,
            ignored=tuple(item for item in mismatches if item.id in known),
        )

    def _as_now(self, repaired: Iterable[Repair]) -> tuple[Repair, ...]:
        """The repairs, each once, with their positions as they are at the end of the walk."""
        get = self._desk.store.positions.get
        once = {(item.kind, item.position_id): item for item in repaired}
        return tuple(replace(item, position=get(item.position_id)) for item in once.values())

    def facts(self) -> VenueFacts:
        """Complete answers of this very cycle; fills of the last day that have a fundarb's link id and are in
        no book of ours.
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
                if item.link_id.startswith(LINK_PREFIX) and store.executions.owner(item.key)[0] is None
            ),
            executions=len(recent),
        )

    def _since(self) -> datetime:
        """When this database was made or restored."""
        return self._desk.store.identity.since() or self._desk.identity().created_at

    def _compare(
        self, facts: VenueFacts, explained: Mapping[str, Explained], *, policy: Choice | None
    ) -> tuple[Mismatch, ...]:
        store = self._desk.store
        links = {order.link_id for order in facts.orders}
        lately = store.positions.all(since=self._desk.clock.now() - _ENDED)
        books = Books(
            identity=self._desk.identity(),
            since=self._since(),
            positions=store.positions.active(),
            intents=store.intents.open(),
            left=tuple(item for item in lately if item.state.final and (item.spot_owned or item.contracts)),
            naked=self._naked(),
            known_links=frozenset(link for link in links if store.intents.find(link) is not None),
            balances=store.ledger.balances(),
            explained=explained,
            policy=policy,
        )
        return compare(books, facts, tolerance=self._desk.rules.tolerance)

    def _act(self, result: ReconcileResult) -> None:
        """Block what is not understood, tell once, and lift our own freezes where the cause is gone."""
        store, now = self._desk.store, self._desk.clock.now()
        wanted = self._forbid(result)
        for block in store.blocks.active(now):
            ours = block.reason.startswith(REASON) and not block.needs_person
            if ours and (block.scope, block.kind) not in wanted:
                store.blocks.clear(block.scope, block.kind)
        if not store.intents.open():  # an order in doubt hides what it may explain
            self.remembered.keep(result.ignored)
        self._tell(result.mismatches)

    def _forbid(self, result: ReconcileResult) -> Mapping[tuple[str, BlockKind], Block]:
        """Block what is not understood; the blocks that there must be.

        A leg of ours that is missing keeps its coin frozen even where a person has answered "leave it".
        """
        store, now = self._desk.store, self._desk.clock.now()
        wanted: dict[tuple[str, BlockKind], Block] = {}
        for item in (*result.mismatches, *(one for one in result.ignored if one.kind in _OURS)):
            block = _block(item, now)
            if block is not None:
                wanted.setdefault((block.scope, block.kind), block)
        for block in wanted.values():
            held = store.blocks.get(block.scope, block.kind)
            if held is None or not held.needs_person or not held.active(now):
                store.blocks.set(block)
        return wanted

    def _tell(self, mismatches: tuple[Mismatch, ...], *, whole: bool = True) -> None:
        """One event per difference and one alert per incident: what was told in the last walk is not told
        again. What a walk that is not ``whole`` did not find may be there all the same.
        """
        store = self._desk.store
        told = set(filter(None, (store.meta.get(TOLD) or "").split("\n")))
        known = {incident(ident) for ident in told}
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
                if incident(item.id) not in known:
                    self._alert(item)
                known.add(incident(item.id))
        current = {item.id for item in mismatches} | (set() if whole else told)
        if current != told:
            store.meta.set(TOLD, "\n".join(sorted(current)))

    def _alert(self, item: Mismatch) -> None:
        """An alert, unless whoever worked on the same incident before has raised it."""
        if item.note_only or was_told(self._desk.store, "link_id_taken", subject=item.symbol):
            return
        text = f"{item.kind} of {item.symbol}: {item.action}"
        if item.kind in _TOLD_ELSEWHERE:
            alert_once(self._desk.store, item.kind, subject=item.position_id, message=text)
        else:
            subject = item.subject or item.symbol
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
            reason=REASON + item.action,
            since=now,
            needs_person=True,
        )
    if item.note_only or not item.base or item.kind == "unhedged":
        return None
    reason = f"{REASON}{item.kind} of {item.symbol}"
    scope = GLOBAL_SCOPE if item.base in QUOTE_COINS else item.base  # every entry spends it
    return Block(scope=scope, kind=BlockKind.FREEZE, reason=reason, since=now)
