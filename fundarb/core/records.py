"""What the state of the program is made of: positions, intents, blocks, commands; immutable values, stored by
``store``.

A position is one plan: ``position_id`` is ``p-`` and the ten-character plan id that its orders carry in their
link ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from fundarb.core.market import Category
from fundarb.core.orders import Leg, OrderRequest, Purpose, Side
from fundarb.core.states import IntentState, PositionState


class Goal(StrEnum):
    """What a position is meant to become next; data of the plan, decided before anything is sent."""

    OPEN = "open"
    HOLD = "hold"
    ADD = "add"
    REDUCE = "reduce"
    CLOSE = "close"

    @property
    def growing(self) -> bool:
        """Whether it is to become larger."""
        return self in {Goal.OPEN, Goal.ADD}


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionRecord:
    """A position and its book as our own executions made it.

    ``spot_owned`` coins net of base fees (never negative), ``contracts`` short (positive here);
    ``target_contracts`` is what the current goal aims at (zero for a close). ``notional`` is the quote value
    of one leg at the decision price, after rounding to the venue's steps; ``decision_spot_mid`` and
    ``decision_perp_mid`` are what slippage is measured against.
    """

    position_id: str
    base: str
    spot_symbol: str
    perp_symbol: str
    multiplier: Decimal
    state: PositionState
    goal: Goal
    notional: Decimal
    target_contracts: Decimal
    spot_owned: Decimal
    contracts: Decimal
    leverage: Decimal
    decision_spot_mid: Decimal
    decision_perp_mid: Decimal
    created_at: datetime
    opened_at: datetime | None = None
    closed_at: datetime | None = None
    note: str = ""

    @property
    def plan_id(self) -> str:
        """The ten characters that stand in the link ids of this position's orders."""
        return self.position_id.removeprefix("p-")


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentRecord:
    """One order of ours, written before it is sent.

    ``filled`` and ``average_price`` are the venue's final figures once the state is DONE. ``signed_at`` is
    the timestamp that the signature carries; together with the receive window it is a lease.
    """

    link_id: str
    position_id: str
    leg: Leg
    seq: int
    purpose: Purpose
    category: Category
    symbol: str
    side: Side
    quantity: Decimal
    limit_price: Decimal
    reduce_only: bool
    state: IntentState
    epoch: int
    signed_at: datetime
    created_at: datetime
    order_id: str = ""
    filled: Decimal = Decimal(0)
    average_price: Decimal | None = None
    code: int | None = None
    message: str = ""

    @property
    def request(self) -> OrderRequest:
        """The order exactly as it was, or would have been, sent."""
        return OrderRequest(
            link_id=self.link_id,
            category=self.category,
            symbol=self.symbol,
            side=self.side,
            quantity=self.quantity,
            limit_price=self.limit_price,
            reduce_only=self.reduce_only,
        )


class BlockKind(StrEnum):
    """Why nothing may be opened (or, with a coin as scope, why this coin may not)."""

    PAUSE = "pause"
    HALT = "halt"
    BREAKER = "breaker"
    FREEZE = "freeze"
    COOL_DOWN = "cool_down"
    STALE_DATA = "stale_data"
    CLOCK = "clock"
    BAN = "ban"
    KEY = "key"


GLOBAL_SCOPE = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A row that forbids opens: everywhere (scope ``*``) or for one base coin.

    ``until`` None with ``needs_person`` False: lifted by whoever set it when the cause is gone; with True:
    only ``resume`` or ``resolve`` lifts it.
    """

    scope: str
    kind: BlockKind
    reason: str
    since: datetime
    until: datetime | None = None
    needs_person: bool = False

    def active(self, now: datetime) -> bool:
        """Whether it still holds."""
        return self.until is None or now < self.until


class CommandState(StrEnum):
    """A command row's life: inserted, claimed by the writer, finished with a result."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRecord:
    """A command handed to the writer through the database; arguments and result are JSON texts."""

    id: int
    name: str
    arguments: str
    state: CommandState
    created_at: datetime
    finished_at: datetime | None = None
    exit_code: int | None = None
    result: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterRecord:
    """Who holds the writer's lock. ``role`` is "daemon" or "command"; ``heartbeat`` is renewed by a
    daemon.
    """

    pid: int
    epoch: int
    role: str
    since: datetime
    heartbeat: datetime

    def alive(self, now: datetime, limit: timedelta) -> bool:
        """Whether the heartbeat is younger than ``limit``."""
        return now - self.heartbeat < limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a database belongs to; checked by every writer before anything else. ``tag`` marks our link
    ids.
    """

    venue: str
    mode: str
    instance: str
    uid: str
    tag: str
    old_tags: tuple[str, ...]
    created_at: datetime
