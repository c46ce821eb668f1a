"""``resolve``: a person's answer to one difference that ``reconcile`` has shown.

The walk runs first, so that the answer meets the difference as it is now, and again afterwards, so that the
result is what is true then. An answer that does not fit is refused and nothing is sent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fundarb.core.orders import Leg
from fundarb.core.reasons import Reason, Refused
from fundarb.core.states import IntentState, PositionState
from fundarb.crash import Point, reached
from fundarb.engine.compare import Choice, Mismatch
from fundarb.engine.desk import Desk
from fundarb.engine.explain import NOTHING
from fundarb.engine.reconcile import Reconciler, ReconcileResult
from fundarb.engine.resolve import Resolver
from fundarb.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What an answer came to: the difference as it was, and the walk after it."""

    mismatch: Mismatch
    choice: Choice
    after: ReconcileResult

    @property
    def settled(self) -> bool:
        """Whether the difference is gone, or left alone as was asked."""
        gone = all(item.id != self.mismatch.id for item in self.after.mismatches)
        return gone and self.after.unread is None


_NAKED = "unhedged:"


class Decider:
    """Carries a person's answers out."""

    def __init__(self, desk: Desk, *, reconciler: Reconciler, resolver: Resolver) -> None:
        """Through the reconciler and its repairs."""
        self._desk = desk
        self._reconciler = reconciler
        self._resolver = resolver

    def decide(self, ident: str, choice: Choice) -> Decided | Refused:
        """Answer one difference by its id; ``ConfigError`` if there is none of that id, ``Refused`` if the
        answer does not fit it, ``Unavailable`` if books and venue cannot be compared.
        """
        naked = ident.startswith(_NAKED)  # the walk itself mends it: the answer says which way
        before = self._reconciler.run(repair=False, dry_run=naked)
        if before.unread is not None:
            raise before.unread
        item = _found(before, ident)
        if choice not in item.choices:
            fitting = ", ".join(f"--{one}" for one in item.choices) or "none yet: it is looked at again"
            message = f"{item.kind} of {item.symbol} cannot be answered with --{choice}; what can: {fitting}"
            return Refused((Reason("answer_does_not_fit", message),))
        reached(Point.DECISION_BEFORE)
        refusal = self._carry_out(item, choice)
        reached(Point.DECISION_AFTER)
        if refusal is not None:
            return Refused((refusal,))
        after = self._reconciler.run(repair=False)
        repaired = {one.position_id: one for one in (*before.repaired, *after.repaired)}
        both = replace(after, repaired=tuple(repaired.values()), taken=(*before.taken, *after.taken))
        return Decided(mismatch=item, choice=choice, after=both)

    def _carry_out(self, item: Mismatch, choice: Choice) -> Reason | None:
        """Do what was answered; why not, if it cannot be done."""
        if choice is Choice.IGNORE and item.kind == "uncertain_order":
            return self._never_existed(item.subject or item.symbol)
        if choice is Choice.IGNORE:
            self._reconciler.remembered.ignore(item)
            return None
        repairer = self._reconciler.repairer
        if item.id.startswith(_NAKED):
            contracts = self._desk.store.positions.get(item.position_id).contracts
            repairer.aim(item.position_id, choice, contracts=contracts)
            return None
        why = repairer.explain(self._reconciler.facts()).get(item.position_id, NOTHING)
        leg = Leg.SPOT if item.kind == "spot_short" else Leg.PERP
        if repairer.answered(item.position_id, why, leg=leg, choice=choice):
            return None
        return Reason("not_explained", f"nothing at the venue explains {item.kind} of {item.symbol} any more")

    def _never_existed(self, link: str) -> Reason | None:
        """A person says that the venue has no order of ours under this link id: taken as proof once its lease
        is over and unless the venue itself shows our order.
        """
        intent = self._desk.store.intents.get(link)
        if intent.state is not IntentState.UNCERTAIN:
            return None
        against = self._resolver.against_absence(intent)
        if against:
            return Reason("may_exist", f"{link}: {against}")
        self._resolver.declare_absent(intent, how="a person said so")
        return None


def _found(result: ReconcileResult, ident: str) -> Mismatch:
    """The difference of this id; ``ConfigError`` naming those that there are."""
    every = (*result.mismatches, *result.ignored)
    for item in every:
        if item.id == ident:
            return item
    known = ", ".join(item.id for item in every) or "none: books and venue agree"
    raise ConfigError(Problem("ID", f"there is no difference {ident!r}", f"there are: {known}"))


def outcome(decided: Decided) -> str:
    """How it ended, as the kind of error: empty where it is settled."""
    states = {one.state for one in decided.after.repaired}
    kinds = {item.kind for item in decided.after.mismatches}
    if PositionState.UNCERTAIN in states or "uncertain_order" in kinds:
        return "outcome_uncertain"
    if "unhedged" in kinds:
        return "incomplete"
    if decided.after.unread is not None:
        return "unavailable"
    return "" if decided.settled else "mismatch"
