"""``status``: how the bot is, from the database alone: control, activity, writer, sources, blocks, jobs,
errors.

It asks no venue, so it answers while the venue is away, and it decides nothing. A source's age is told in any
case, and counts against a daemon alone: without one nobody was to read it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fundarb.config import JobSpec
from fundarb.core.events import RecordedEvent, Severity
from fundarb.core.reasons import Reason
from fundarb.core.records import Block, BlockKind, WriterRecord
from fundarb.core.states import PositionState
from fundarb.engine.collect import read_until
from fundarb.engine.halt_file import HaltFile
from fundarb.engine.handover import HEARTBEAT_LIMIT, Holder, holder_of
from fundarb.engine.opening import SOURCES
from fundarb.engine.unfinished import asked, lasting, unfinished
from fundarb.store.blocks import Control, control_of
from fundarb.store.database import Store

_OLD = timedelta(minutes=15)
"""A source that was not read for so long is stale."""
_WRITERS = 200
"""So many of the latest writers are looked through."""
_ERRORS = 5
_LOOK_BACK = timedelta(days=1)
_FAILED = frozenset({"failed"})
_ODD = frozenset({PositionState.EXPOSED, PositionState.UNCERTAIN})
"""States that are never in order, whoever is at work."""
_SLOW = timedelta(minutes=2)
"""Longer than a writer that is at work leaves a position in the middle of something."""
_IDLE = frozenset({Holder.NOBODY, Holder.SILENT_DAEMON, Holder.STOPPED_COMMAND})
"""Nobody is there who works."""
_NEXT: Mapping[Holder, str] = {
    Holder.NOBODY: "run `fundarb reconcile`",
    Holder.DAEMON: "the daemon works on it; `fundarb reconcile` says what it finds",
    Holder.SILENT_DAEMON: "end the silent daemon, then run `fundarb reconcile`",
    Holder.COMMAND: "another command is at work; then run `fundarb reconcile`",
    Holder.STOPPED_COMMAND: "end the stopped command or let it go on, then run `fundarb reconcile`",
}
"""What a person does about a position that is not at rest."""


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
class CommandStatus:
    """A command that somebody asked for and the writer has not ended; ``age`` since it was asked."""

    id: int
    name: str
    state: str
    age: timedelta


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
    commands: tuple[CommandStatus, ...] = ()
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


def status(store: Store, jobs: tuple[JobStatus, ...], *, machine: datetime, halt_file: HaltFile) -> Status:
    """Read it all at one moment; ``machine`` is that moment by the machine's clock, which signs of life and
    the age of commands go by. The file HALT halts whether or not anybody has written it down yet.
    """
    with store.reading():
        now = store.clock.now()
        holder = holder_of(store, machine)
        writer = _writer(store.writer.read(), holder, now=machine)
        sources = tuple(_source(store, name, now=now) for name in SOURCES)
        blocks = halt_file.seen(store.blocks.active(now))
        made = Status(
            control=control_of(blocks),
            activity=_activity(store, holder),
            writer=writer,
            sources=sources,
            blocks=blocks,
            jobs=jobs,
            positions_open=len(store.positions.active()),
            last_errors=tuple(_error(event) for event in _errors(store, now)),
            commands=tuple(
                CommandStatus(
                    id=item.id, name=item.name, state=item.state.value, age=machine - item.created_at
                )
                for item in asked(store)
            ),
        )
        reasons = _degraded(made, store, holder=holder)
    return replace(made, degraded=reasons)


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


def _source(store: Store, name: str, *, now: datetime) -> SourceStatus:
    read = read_until(store, name)
    if read is None:
        return SourceStatus(name=name, age=None, state="never")
    age = now - read
    return SourceStatus(name=name, age=age, state="stale" if age > _OLD else "fresh")


def _errors(store: Store, now: datetime) -> tuple[RecordedEvent, ...]:
    """What went wrong lately. A block is none of it: it is shown while it holds, and may be a wish."""
    recent = [
        event
        for event in store.events.last(50, severity=Severity.WARNING)
        if now - event.at < _LOOK_BACK and event.kind != "block_set"
    ]
    return tuple(recent[-_ERRORS:])


def _error(event: RecordedEvent) -> ErrorStatus:
    fields = json.loads(event.payload)
    text = fields.get("message") or fields.get("reason") or fields.get("action") or event.payload
    return ErrorStatus(id=event.id, at=event.at, kind=event.kind, message=str(text))


def _degraded(found: Status, store: Store, *, holder: Holder) -> tuple[Reason, ...]:
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
    if writer is not None and writer.holder is Holder.STOPPED_COMMAND:
        pid = writer.pid
        ways = f"`kill -CONT {pid}` lets it go on, `kill -9 {pid}` ends it"
        reasons.append(Reason("stopped_command", f"the command at work, process {pid}, is stopped: {ways}"))
    reasons += _died(found, store, holder=holder)
    reasons += [
        Reason("stale_source", f"{item.name} was not read for {int(item.age.total_seconds())} s")
        for item in found.sources
        if holder is Holder.DAEMON and item.state == "stale" and item.age is not None
    ]
    reasons += [
        Reason("job_failed", f"{job.name}: {job.message}") for job in found.jobs if job.result in _FAILED
    ]
    return (*reasons, *_unfinished(found, store, holder=holder))


def _died(found: Status, store: Store, *, holder: Holder) -> Iterator[Reason]:
    """A daemon that ended without its last word while something is held: whoever relies on it must know."""
    if holder in {Holder.DAEMON, Holder.SILENT_DAEMON} or not found.positions_open:
        return
    starts = [json.loads(event.payload) for event in store.events.last(_WRITERS, kind="writer_started")]
    daemon = next((item for item in reversed(starts) if item["role"] == "daemon"), None)
    if daemon is None:
        return
    ends = store.events.last(_WRITERS, kind="writer_stopped")
    if daemon["epoch"] not in {json.loads(event.payload)["epoch"] for event in ends}:
        text = f"the daemon (process {daemon['pid']}) ended without its last word, and nobody watches"
        yield Reason("daemon_died", f"{text} {found.positions_open} positions: start it again")


def _unfinished(found: Status, store: Store, *, holder: Holder) -> Iterator[Reason]:
    """Positions that are not at rest and commands that wait, where nobody is there who ends them soon."""
    now, nobody = store.clock.now(), holder in _IDLE
    for item in unfinished(store):
        if nobody or item.position.state in _ODD or now - item.since > _SLOW:
            yield Reason("position", f"{item.sentence(now)}: {_NEXT[holder]}")
    for command in found.commands:
        if nobody:
            text = f"command {command.id} ({command.name}) has waited for {lasting(command.age)}"
            yield Reason("command_waits", f"{text}: the next writer takes it")
