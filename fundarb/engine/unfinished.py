"""What is not at rest, as our own books know it: positions in the middle of something, orders in flight, and
commands that wait for the writer.

Only reads, asks no venue and decides nothing: ``status``, ``positions`` and an interrupted command say with
it what may be live, and that ``reconcile`` is next.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from fundarb.core.money import plain
from fundarb.core.reasons import Reason
from fundarb.core.records import CommandRecord, IntentRecord, PositionRecord
from fundarb.core.states import PositionState
from fundarb.store.database import Store

_LOOK_BACK = 200
_NAKED = frozenset({PositionState.EXPOSED, PositionState.REPAIRING})
"""So many changes of positions are looked through for the one that led to a state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """A position that is not at rest: in a state that leads on, or with ``orders`` that may be in flight."""

    position: PositionRecord
    orders: tuple[IntentRecord, ...]
    since: datetime

    def sentence(self, now: datetime) -> str:
        """What it is, for how long, what a naked one holds, and which orders nobody knows the end of."""
        held = self.position
        text = f"{held.position_id} ({held.base}) is {held.state} for {lasting(now - self.since)}"
        if held.state is PositionState.EXPOSED:
            book = f"{plain(held.spot_owned)} {held.base} against {plain(held.contracts)} {held.perp_symbol}"
            text += f", {book} short"
        if not self.orders:
            return text
        word = "an order is" if len(self.orders) == 1 else f"{len(self.orders)} orders are"
        return f"{text}, {word} in flight: {', '.join(order_line(item) for item in self.orders)}"


def order_line(intent: IntentRecord) -> str:
    """An order that may be live, so that a person finds it at the venue."""
    wish = f"{intent.side.value} {plain(intent.quantity)} {intent.symbol} {intent.leg.value}"
    return f"{intent.link_id} ({wish}, {intent.state})"


def unfinished(store: Store) -> tuple[Unfinished, ...]:
    """Every position that is not at rest, oldest first."""
    waiting: dict[str, list[IntentRecord]] = {}
    for intent in store.intents.open():
        waiting.setdefault(intent.position_id, []).append(intent)
    return tuple(
        Unfinished(position=item, orders=tuple(orders), since=_since(store, item, orders=orders))
        for item in store.positions.active()
        if (orders := waiting.get(item.position_id, [])) or item.state is not PositionState.HEDGED
    )


def left_behind(store: Store) -> tuple[Reason, ...]:
    """What a writer leaves that ends now, and that nobody works on from then on."""
    now = store.clock.now()
    return tuple(
        Reason("position", f"{item.sentence(now)}: run `fundarb reconcile`") for item in unfinished(store)
    )


def may_be_live(store: Store, *, sent: Collection[str], epoch: int) -> tuple[str, ...]:
    """What may be live or naked where a writer's work broke off, a sentence each: positions in the middle of
    something, except those of which nothing was traded and nothing of this writer's (``epoch``) was ``sent``.
    """
    now = store.clock.now()
    return tuple(
        item.sentence(now)
        for item in unfinished(store)
        if _has_traded(item.position)
        or any(order.link_id in sent or order.epoch != epoch for order in item.orders)
    )


def _has_traded(position: PositionRecord) -> bool:
    """Whether it holds more than the dust that a plan begins with."""
    return position.state is not PositionState.PLANNED and bool(position.spot_owned or position.contracts)


def _since(store: Store, position: PositionRecord, *, orders: list[IntentRecord]) -> datetime:
    """When the state began: the first order without an end, else the last change of the position; a repair
    that came to nothing is no change.
    """
    if orders:
        return min(item.created_at for item in orders)
    since = None
    for event in reversed(store.events.last(_LOOK_BACK, kind="position_changed")):
        fields = json.loads(event.payload)
        if fields["position_id"] != position.position_id:
            continue
        since = event.at
        if fields["old"] not in _NAKED or position.state not in _NAKED:
            break
    return since or position.created_at


def asked(store: Store) -> tuple[CommandRecord, ...]:
    """Commands that the writer has been asked for and has not ended, oldest first."""
    return (*store.commands.running(), *store.commands.waiting())


def asked_line(command: CommandRecord, now: datetime) -> str:
    """A command that has not ended, in a sentence."""
    return f"command {command.id} ({command.name}) is {command.state} for {lasting(now - command.created_at)}"


def interrupted(store: Store, now: datetime, *, machine: datetime) -> str:
    """What to tell a person whose Ctrl-C ended a command that trades; ``machine`` is ``now`` by the machine's
    clock, which commands go by.
    """
    left = [item.sentence(now) for item in unfinished(store)]
    with_writer = [f"{asked_line(item, machine)} and goes on without you" for item in asked(store)]
    if not left and not with_writer:
        return "interrupted; nothing is in flight"
    told = "\n".join(["interrupted:", *left, *with_writer])
    return f"{told}\nrun `fundarb reconcile` next: it finds out what is live" if left else told


def lasting(duration: timedelta) -> str:
    """``40 s``, ``3 min``, ``2 h 05 min``, ``3 days``: as exact as a person needs it."""
    total = max(int(duration.total_seconds()), 0)
    if total < 120:
        return f"{total} s"
    if total < 7200:
        return f"{total // 60} min"
    hours = total // 3600
    return f"{hours} h {total // 60 % 60:02} min" if hours < 48 else f"{hours // 24} days"
