"""What an audit looks at, read once: the database's rows, its event trail, and what a venue holds.

Nothing here judges; a check that lacks what it needs raises ``NotJudged`` with the reason, so that it is
never counted as passed by luck.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from fundarb.core.account import PositionReport, Wallet
from fundarb.core.market import Pair
from fundarb.core.money import ONE, dec
from fundarb.core.orders import Execution, OrderReport, Purpose
from fundarb.core.records import IntentRecord, PositionRecord
from fundarb.core.states import IntentState
from fundarb.engine.audit_book import OUTCOMES, BookRules, Move, Stretch, Walk, doubts, moves, walk
from fundarb.engine.kept_pairs import KeptPairs
from fundarb.engine.naked import REACHING, names
from fundarb.store.database import Store

_ALL = 1_000_000_000


class NotJudged(Exception):
    """This check cannot be made from what there is; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueOrder:
    """One order as the venue has it, with the parameters that it was sent with."""

    report: OrderReport
    requests: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueTruth:
    """What the venue holds of this account. ``complete`` means that ``orders`` are all orders ever sent (a
    simulated venue tells); otherwise only the open ones are known. ``at`` is its own time.
    """

    wallet: Wallet
    positions: tuple[PositionReport, ...]
    orders: tuple[VenueOrder, ...]
    complete: bool = False
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """One event of the trail: its number, its time, its fields."""

    number: int
    at: datetime
    fields: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that is looked at, read once."""

    store: Store
    positions: tuple[PositionRecord, ...]
    intents: Mapping[str, IntentRecord]
    executions: Mapping[str, tuple[Execution, ...]]
    rules: BookRules
    truth: VenueTruth | None = None
    by_position: Mapping[str, tuple[IntentRecord, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, store: Store, rules: BookRules, *, truth: VenueTruth | None) -> Facts:
        """All rows of a database."""
        positions = store.positions.all()
        by_position = {item.position_id: store.intents.of_position(item.position_id) for item in positions}
        return cls(
            store=store,
            positions=positions,
            by_position=by_position,
            intents={intent.link_id: intent for rows in by_position.values() for intent in rows},
            executions={
                item.position_id: store.executions.of_position(item.position_id) for item in positions
            },
            rules=replace(rules, past=tuple(_noted(store, rules))),
            truth=truth,
        )

    @property
    def extent(self) -> str:
        """How far the look reached, in words."""
        venue = "books only"
        if self.truth is not None:
            venue = "against every order of the venue" if self.truth.complete else "against the venue"
        return f"{len(self.intents)} orders of {len(self.positions)} positions, {venue}"

    @cached_property
    def books(self) -> Mapping[str, tuple[Move, ...]]:
        """What moved each position's book, oldest first."""
        return {
            item.position_id: moves(self.store, item, executions=self.executions[item.position_id])
            for item in self.positions
        }

    @cached_property
    def pairs(self) -> Mapping[str, Pair | None]:
        """The steps of each position's instruments as its writer kept them; None where none did."""
        kept = KeptPairs(self.store)
        return {item.position_id: kept.of(item) for item in self.positions}

    @cached_property
    def walks(self) -> Mapping[str, Walk]:
        """Each position's book, replayed."""
        return {
            item.position_id: walk(
                item, self.books[item.position_id], rules=self.rules, pair=self.pairs[item.position_id]
            )
            for item in self.positions
        }

    @cached_property
    def our_tags(self) -> frozenset[str]:
        """The tags that our link ids carry, those of before a restore among them."""
        identity = self.store.identity.read()
        return frozenset() if identity is None else frozenset({identity.tag, *identity.old_tags})

    def told(self, kind: str) -> tuple[Told, ...]:
        """Every event of a kind, oldest first."""
        return tuple(
            Told(event.id, event.at, json.loads(event.payload))
            for event in self.store.events.after(0, _ALL, kind=kind)
        )

    @cached_property
    def messages(self) -> tuple[Told, ...]:
        """Everything that reached a person and may name a position, oldest first."""
        return tuple(
            sorted((one for kind in REACHING for one in self.told(kind)), key=lambda one: one.number)
        )

    def was_told(self, position: PositionRecord, *, since: datetime) -> bool:
        """Whether a person was told of this position, its coin, symbols or orders since an instant."""
        return any(one.at >= since and names(position, one.fields) for one in self.messages)

    @cached_property
    def outcomes(self) -> tuple[tuple[str, datetime], ...]:
        """Every word about an order: its link id, and when it came."""
        return tuple((one.fields["link_id"], one.at) for kind in OUTCOMES for one in self.told(kind))

    def doubts(self, position: PositionRecord) -> tuple[Stretch, ...]:
        """When it was not known what became of an order of a position."""
        rows, now = self.by_position[position.position_id], self.store.clock.now()
        return doubts(rows, self.outcomes, now=now)

    def entries(self) -> Iterator[tuple[PositionRecord, IntentRecord]]:
        """Every order that added exposure: entries, but not those that matched what the other leg of their
        clip had traded, which are hedges.
        """
        for position in self.positions:
            for intent in self.by_position[position.position_id]:
                sent = intent.state is not IntentState.REFUSED or intent.code is not None
                if intent.purpose is Purpose.ENTER and sent and not self._hedges(position, intent):
                    yield position, intent

    def _hedges(self, position: PositionRecord, intent: IntentRecord) -> bool:
        """Whether the book before an order lacked what the order brings."""
        before = [move for move in self.books[position.position_id] if move.order < intent.seq]
        delta = sum(move.coins - move.contracts * position.multiplier for move in before)
        coins = intent.quantity * (1 if intent.leg.value == "spot" else position.multiplier)
        missing = -delta if intent.leg.value == "spot" else delta
        return 0 < coins <= 2 * missing


def _noted(store: Store, rules: BookRules) -> Iterator[tuple[datetime, BookRules]]:
    """The rules that writers have noted, oldest first; what an older note lacks is taken from ``rules``."""
    for event in store.events.after(0, _ALL, kind="limits_in_force"):
        fields = json.loads(event.payload)
        yield (
            event.at,
            replace(
                rules,
                largest_naked=dec(fields["max_clip"]) * (ONE + dec(fields["collar"])),
                drift_limit=dec(fields.get("drift_limit", rules.drift_limit)),
                lease=_duration(fields, "recv_window", otherwise=rules.lease),
                t_hedge=_duration(fields, "t_hedge", otherwise=rules.t_hedge),
                t_recover=_duration(fields, "t_recover", otherwise=rules.t_recover),
            ),
        )


def _duration(fields: Mapping[str, Any], name: str, *, otherwise: timedelta) -> timedelta:
    """Seconds as an event tells them."""
    found = fields.get(name)
    return otherwise if found is None else int(dec(found) * 1_000_000) * timedelta(microseconds=1)
