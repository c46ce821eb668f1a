"""``audit``: the invariants over the database and, where given, over what the venue itself holds.

Each check looks at stored facts and says what contradicts it; it repairs nothing and trusts no derived
column that can be derived again. A check that cannot be made from what there is stands in a list of its own
and is never counted as passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from fundarb.engine import audit_ledger as ledger
from fundarb.engine import audit_money as money
from fundarb.engine import audit_orders as orders
from fundarb.engine.audit_book import BookRules
from fundarb.engine.audit_facts import Facts, NotJudged, VenueOrder, VenueTruth
from fundarb.store.database import Store

__all__ = ["Audit", "AuditCheck", "VenueOrder", "VenueTruth", "audit", "examine"]

_SHOWN = 5
"""How many contradictions of one kind are told in full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditCheck:
    """One invariant: its number, whether it holds, and what was looked at or what contradicts it."""

    id: str
    ok: bool
    details: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What holds and what does not, and by id why some invariants could not be judged here."""

    checks: tuple[AuditCheck, ...]
    not_judged: Mapping[str, str]

    @property
    def clean(self) -> bool:
        """Whether everything that could be judged holds."""
        return all(check.ok for check in self.checks)


def audit(store: Store, rules: BookRules, *, truth: VenueTruth | None = None) -> tuple[AuditCheck, ...]:
    """Every check that can be made, in order; ``rules`` are the limits that trading obeys."""
    return examine(store, rules, truth=truth).checks


def examine(
    store: Store, rules: BookRules, *, truth: VenueTruth | None = None, secrets: tuple[str, ...] = ()
) -> Audit:
    """Every check in order; ``secrets`` are the values that must not be found in the database's files."""
    checks: list[AuditCheck] = []
    not_judged = dict(_ELSEWHERE)
    with store.reading():
        facts = Facts.read(store, rules, truth=truth)
        for number, name, look in (*_CHECKS, ("14", "no secret is stored", _secrets(store, secrets))):
            try:
                checks.append(_checked(number, name, found=list(look(facts)), facts=facts))
            except NotJudged as why:
                not_judged[number] = f"{name}: {why}"
        coarse = money.lots_unknown(facts)
        if coarse:
            not_judged["6 lot"] = coarse
    return Audit(checks=tuple(checks), not_judged=dict(sorted(not_judged.items(), key=_by_number)))


def _by_number(item: tuple[str, str]) -> int:
    return int(item[0].split()[0])


def _checked(number: str, name: str, *, found: list[str], facts: Facts) -> AuditCheck:
    if not found:
        return AuditCheck(id=number, ok=True, details=f"{name}: {facts.extent}")
    shown = "; ".join(found[:_SHOWN]) + (f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
    return AuditCheck(id=number, ok=False, details=f"{name}: {shown}")


def _secrets(store: Store, secrets: tuple[str, ...]) -> Callable[[Facts], Iterator[str]]:
    """14: none of the loaded secrets stands in the database, in any of its usual spellings."""

    def look(_facts: Facts) -> Iterator[str]:
        needles = {secret.encode() for secret in secrets}
        if not needles:
            raise NotJudged("no secret is loaded here that could be looked for")
        for where in store.place.search(needles):
            yield f"{where} contains a secret value"

    return look


_CHECKS: tuple[tuple[str, str, Callable[[Facts], Iterator[str]]], ...] = (
    ("1", "every order was written before it was sent", orders.intent_before_wire),
    ("2", "one order per link id, legs in order", orders.one_order_per_link),
    ("3", "one open order per leg, one plan per coin", orders.one_at_a_time),
    ("4", "doubts are proved, not timed out", orders.doubts_are_proved),
    ("5", "fills are those of the executions", orders.fills_agree),
    ("6", "neutral outside clips", money.neutral),
    ("7", "reductions reduce", money.reductions_reduce),
    ("8", "caps hold for what adds exposure", orders.caps_hold),
    ("10", "no opens under a block", orders.no_opens_under_blocks),
    ("11", "strangers are left alone", money.strangers_untouched),
    ("12", "the ledger ties out", ledger.ledger_ties),
    ("liveness", "nothing is stuck in silence", money.nothing_is_stuck),
)

_ELSEWHERE: Mapping[str, str] = {
    "4 look-ups": "the answers that proved an absence are not stored, only when it was; tests watch them",
    "8 gross": "what all positions were worth at each order is not stored; held at the wire",
    "8 collar": "the mark of the moment of each order is not stored; held at the wire",
    "9": "which answers a decision was made from is not stored; tests feed it broken ones",
    "12 slippage": "the mid of each fill's decision is not stored; held where it is booked",
    "13": "repeating a reconcile and restarting at every step is done by tests; a database shows one history",
    "15": "needs the same seed twice; the simulation's tests do that",
}
"""What no database can show, and who judges it."""
