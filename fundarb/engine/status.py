"""``status``: how the bot is, from the database alone: control, activity, writer, sources, blocks, jobs,
errors.

It asks no venue, so it answers while the venue is away, and it decides nothing. What a daemon would have
kept fresh is judged by its age.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fundarb.config import JobSpec
from fundarb.core.events import RecordedEvent, Severity
from fundarb.core.reasons import Reason
from fundarb.core.records import Block, BlockKind, WriterRecord
from fundarb.core.states import PositionState
from fundarb.engine.collect import SOURCES, read_until
from fundarb.engine.handover import HEARTBEAT_LIMIT, Holder, holder_of
from fundarb.store.blocks import Control
from fundarb.store.database import Store

_OLD = timedelta(minutes=15)
"""A source that a daemon has not read for so long is stale."""
_ERRORS = 5
_LOOK_BACK = timedelta(days=1)
_FAILED = frozenset({"failed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterStatus:
    """Who holds the lock; ``heartbeat_age`` is that of the last sign of life."""

    pid: int
    epoch: int
    role: str
    holder: Holder
    heartbeat_age: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceStatus:
    """A source of the books and how long ago it was read; ``state`` is fresh, stale or never."""

    name: str
    age: timedelta | None
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """A job: when it is due next, when it last began, and how that ended."""

    name: str
    next: datetime | None
    last: datetime | None
    result: str
    enabled: bool
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorStatus:
    """One of the last events that somebody should look at."""

    id: int
    at: datetime
    kind: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The whole. ``degraded`` lists everything that is not as it should be; empty means healthy."""

    control: Control
    activity: str
    writer: WriterStatus | None
    sources: tuple[SourceStatus, ...]
    blocks: tuple[Block, ...]
    jobs: tuple[JobStatus, ...]
    positions_open: int
    last_errors: tuple[ErrorStatus, ...]
    degraded: tuple[Reason, ...] = ()


def job_statuses(
    store: Store, specs: tuple[JobSpec, ...], *, upcoming: Mapping[str, datetime | None]
) -> tuple[JobStatus, ...]:
    """Every job with its last run; ``upcoming`` says when each is due next."""
    found = []
    for spec in specs:
        run = store.jobs.last(spec.name)
        found.append(
            JobStatus(
                name=spec.name,
                next=upcoming.get(spec.name),
                last=None if run is None else run.started_at,
                result="never" if run is None else run.result or "running",
                enabled=spec.enabled,
                message="" if run is None else run.message,
            )
        )
    return tuple(found)


def status(store: Store, jobs: tuple[JobStatus, ...]) -> Status:
    """Read it all at one moment."""
    with store.reading():
        now = store.clock.now()
        holder = holder_of(store, now)
        writer = _writer(store.writer.read(), holder, now=now)
        watching = holder is Holder.DAEMON
        sources = tuple(_source(store, name, now=now, watching=watching) for name in SOURCES)
        blocks = store.blocks.active(now)
        made = Status(
            control=store.blocks.control(now),
            activity=_activity(store, holder),
            writer=writer,
            sources=sources,
            blocks=blocks,
            jobs=jobs,
            positions_open=len(store.positions.active()),
            last_errors=tuple(_error(event) for event in _errors(store, now)),
        )
        reasons = _degraded(made, store)
    return replace(made, degraded=reasons)


def nothing_yet(jobs: tuple[JobStatus, ...]) -> Status:
    """The state of a bot that has no database: off, with nothing wrong."""
    return Status(
        control=Control.RUNNING,
        activity="OFF",
        writer=None,
        sources=tuple(SourceStatus(name=name, age=None, state="never") for name in SOURCES),
        blocks=(),
        jobs=jobs,
        positions_open=0,
        last_errors=(),
    )


def _writer(record: WriterRecord | None, holder: Holder, *, now: datetime) -> WriterStatus | None:
    if record is None or holder is Holder.NOBODY:
        return None
    return WriterStatus(
        pid=record.pid,
        epoch=record.epoch,
        role=record.role,
        holder=holder,
        heartbeat_age=now - record.heartbeat,
    )


def _activity(store: Store, holder: Holder) -> str:
    """The last activity that a living writer said; without one the bot is OFF."""
    if holder is Holder.NOBODY:
        return "OFF"
    last = store.events.last(1, kind="activity_changed")
    return str(json.loads(last[0].payload)["activity"]) if last else "IDLE"


def _source(store: Store, name: str, *, now: datetime, watching: bool) -> SourceStatus:
    read = read_until(store, name)
    if read is None:
        return SourceStatus(name=name, age=None, state="never")
    age = now - read
    return SourceStatus(name=name, age=age, state="stale" if watching and age > _OLD else "fresh")


def _errors(store: Store, now: datetime) -> tuple[RecordedEvent, ...]:
    recent = [
        event for event in store.events.last(50, severity=Severity.WARNING) if now - event.at < _LOOK_BACK
    ]
    return tuple(recent[-_ERRORS:])


def _error(event: RecordedEvent) -> ErrorStatus:
    fields = json.loads(event.payload)
    text = fields.get("message") or fields.get("reason") or fields.get("action") or event.payload
    return ErrorStatus(id=event.id, at=event.at, kind=event.kind, message=str(text))


def _degraded(found: Status, store: Store) -> tuple[Reason, ...]:
    """Everything that keeps the bot from being healthy. A pause is a person's wish, and no sickness."""
    reasons = [
        Reason(f"block_{block.kind}", f"{block.scope}: {block.reason}")
        for block in found.blocks
        if block.kind not in {BlockKind.PAUSE, BlockKind.COOL_DOWN}
    ]
    writer = found.writer
    if writer is not None and writer.holder is Holder.SILENT_DAEMON:
        age = int(writer.heartbeat_age.total_seconds())
        limit = int(HEARTBEAT_LIMIT.total_seconds())
        reasons.append(
            Reason("silent_daemon", f"process {writer.pid} shows no life for {age} s (limit {limit} s)")
        )
    reasons += [
        Reason("stale_source", f"{item.name} was not read for {int(item.age.total_seconds())} s")
        for item in found.sources
        if item.state == "stale" and item.age is not None
    ]
    reasons += [
        Reason("job_failed", f"{job.name}: {job.message}") for job in found.jobs if job.result in _FAILED
    ]
    reasons += [
        Reason("position", f"{item.position_id} ({item.base}) is {item.state}")
        for item in store.positions.active()
        if item.state in {PositionState.EXPOSED, PositionState.UNCERTAIN}
    ]
    return tuple(reasons)
