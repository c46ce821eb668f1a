"""Frozen facts of the audit trail: what happened, recorded before anyone is told.

Each class is one kind; its fields are flat and exact, so that an event can be stored as JSON text and shown
to a person. Times are added by whoever records (``store``), which also gives the growing id.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar

from fundarb.core.exact_json import jsonable


class Severity(StrEnum):
    """INFO is for the record, WARNING is worth a look, ALERT goes to a person."""

    INFO = "info"
    WARNING = "warning"
    ALERT = "alert"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The base of all facts."""

    severity: ClassVar[Severity] = Severity.INFO

    @property
    def kind(self) -> str:
        """The class name in snake case: ``leg_filled``."""
        return _kind_of(type(self))

    def payload(self) -> dict[str, Any]:
        """All fields as JSON-able values: decimals in plain notation, instants in ISO 8601."""
        return {item.name: jsonable(getattr(self, item.name)) for item in fields(self)}


def _kind_of(event: type[Event]) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", event.__name__).lower()


def kinds() -> tuple[str, ...]:
    """The kind of every event there is, in alphabetical order."""
    # a set: a class with slots is made twice, and both of them are remembered
    return tuple(sorted({_kind_of(event) for event in Event.__subclasses__()}))


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterStarted(Event):
    """A process became the writer."""

    pid: int
    epoch: int
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterStopped(Event):
    """The writer ended in order."""

    epoch: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsInForce(Event):
    """The hard caps and deadlines that this and later writers obey, noted when they change; amounts in quote,
    ratios as fractions. ``t_recover`` is how long an order may be in doubt, the last look at it included.
    """

    max_clip: Decimal
    collar: Decimal
    orders_per_minute: int
    leverage: Decimal
    drift_limit: Decimal
    recv_window: timedelta
    t_hedge: timedelta
    t_recover: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivityChanged(Event):
    """What the bot is busy with (shown, not stored state)."""

    activity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionChanged(Event):
    """A position moved along its state table."""

    position_id: str
    base: str
    old: str
    new: str
    trigger: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderAnswered(Event):
    """What an order's answer meant."""

    link_id: str
    position_id: str
    symbol: str
    outcome: str
    code: int | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownAnswer(Event):
    """The venue used a code that the outcome table does not list: the table wants extending."""

    severity: ClassVar[Severity] = Severity.WARNING
    code: int
    message: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LegFilled(Event):
    """An order of ours traded."""

    position_id: str
    leg: str
    link_id: str
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionUnwound(Event):
    """A leg could not be hedged in time and was given back; ``cost`` in quote."""

    severity: ClassVar[Severity] = Severity.WARNING
    position_id: str
    base: str
    reason: str
    unwinds_in_hour: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentResolved(Event):
    """An uncertain order became certain."""

    link_id: str
    position_id: str
    state: str
    filled: Decimal
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingPaid(Event):
    """A settlement was booked; ``amount`` + = received, in ``coin``. One that is split anew later is told
    again, with the difference.
    """

    position_id: str
    symbol: str
    amount: Decimal
    coin: str
    rate: Decimal | None
    settled_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FundingMissing(Event):
    """A settlement at which we held has not shown up in the venue's books yet."""

    severity: ClassVar[Severity] = Severity.WARNING
    position_id: str
    symbol: str
    settled_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSet(Event):
    """Opens are forbidden from now on."""

    severity: ClassVar[Severity] = Severity.WARNING
    scope: str
    block: str
    reason: str
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockCleared(Event):
    """A block was lifted."""

    scope: str
    block: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MismatchFound(Event):
    """Ledger and venue disagree; ``found`` is None where nobody has seen the venue's side."""

    severity: ClassVar[Severity] = Severity.WARNING
    mismatch: str
    symbol: str
    expected: Decimal
    found: Decimal | None
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MismatchRepaired(Event):
    """A difference was mended."""

    mismatch: str
    symbol: str
    action: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionMade(Event):
    """A job decided to open, close or leave a coin alone, and why."""

    base: str
    decision: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFinished(Event):
    """A job ran to its end."""

    job: str
    result: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailed(Event):
    """A job ended with an error."""

    severity: ClassVar[Severity] = Severity.WARNING
    job: str
    error: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandAsked(Event):
    """A command waits for the writer from now on."""

    command_id: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandFinished(Event):
    """A command from another process was executed."""

    command_id: int
    name: str
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRaised(Event):
    """A person must look; one event per incident (``code`` and ``subject`` name the incident)."""

    severity: ClassVar[Severity] = Severity.ALERT
    code: str
    subject: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEvent:
    """An event as the store gives it back: with its growing id and its time."""

    id: int
    at: datetime
    kind: str
    severity: Severity
    payload: str
