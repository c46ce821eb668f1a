"""Named crash points around every durable or wire step, so that a test can kill the process exactly there.

A point does nothing unless armed. Armed with ``name:k`` (environment ``FUNDARB_CRASH``, or ``arm``) the k-th
time it is reached the process kills itself with SIGKILL, as a power cut would: no handler, no flush, no
clean-up. The registry is an enum, so that the crash matrix picks up new points by itself. This module decides
nothing and imports nothing of fundarb.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from enum import StrEnum


class Point(StrEnum):
    """Every place where the process may be killed by a test; the name says what was done last, or what comes
    next.
    """

    POSITION_BEFORE_COMMIT = "position.before_commit"
    POSITION_AFTER_COMMIT = "position.after_commit"
    INTENT_BEFORE_COMMIT = "intent.before_commit"
    INTENT_AFTER_COMMIT = "intent.after_commit"
    WIRE_BEFORE_GATE = "wire.before_gate"
    WIRE_BEFORE_SEND = "wire.before_send"
    WIRE_AFTER_SEND = "wire.after_send"
    WIRE_BEFORE_WRITE = "wire.before_write"
    """Before a write that is no create leaves: a setting, a cancel."""
    WIRE_AFTER_WRITE = "wire.after_write"
    ANSWER_BEFORE_COMMIT = "answer.before_commit"
    ANSWER_AFTER_COMMIT = "answer.after_commit"
    FILL_BEFORE_COMMIT = "fill.before_commit"
    FILL_AFTER_COMMIT = "fill.after_commit"
    LEDGER_BETWEEN_ENTRIES = "ledger.between_entries"
    LEGS_BETWEEN = "legs.between"
    LEGS_BEFORE_TOP_UP = "legs.before_top_up"
    LEGS_BEFORE_TRIM = "legs.before_trim"
    UNWIND_BEFORE_FIRST = "unwind.before_first"
    UNWIND_BETWEEN = "unwind.between"
    STATE_BEFORE_COMMIT = "state.before_commit"
    STATE_AFTER_COMMIT = "state.after_commit"
    DUST_PUT_ASIDE = "dust.put_aside"
    REST_BEFORE_COMMIT = "rest.before_commit"
    REST_AFTER_COMMIT = "rest.after_commit"
    RESOLVE_BEFORE_COMMIT = "resolve.before_commit"
    RESOLVE_AFTER_COMMIT = "resolve.after_commit"
    FUNDING_BEFORE_COMMIT = "funding.before_commit"
    FUNDING_AFTER_COMMIT = "funding.after_commit"
    BOOKS_BEFORE_OPENING = "books.before_opening"
    BOOKS_AFTER_OPENING = "books.after_opening"
    CURSOR_BEFORE_COMMIT = "cursor.before_commit"
    CURSOR_AFTER_COMMIT = "cursor.after_commit"
    REPAIR_BEFORE_COMMIT = "repair.before_commit"
    REPAIR_AFTER_COMMIT = "repair.after_commit"
    DECISION_BEFORE = "decision.before"
    """Before what a person answered is carried out."""
    DECISION_AFTER = "decision.after"
    LOCK_AFTER_ACQUIRE = "lock.after_acquire"
    EPOCH_AFTER_COMMIT = "epoch.after_commit"
    COMMAND_BEFORE_ADD = "command.before_add"
    COMMAND_AFTER_ADD = "command.after_add"
    COMMAND_AFTER_CLAIM = "command.after_claim"
    COMMAND_BEFORE_RESULT = "command.before_result"
    BLOCK_BEFORE_COMMIT = "block.before_commit"
    BLOCK_AFTER_COMMIT = "block.after_commit"
    COMMIT_BEFORE = "commit.before"
    """Before the commit of a transaction to which nobody gave a name: no durable step is without a point."""
    COMMIT_AFTER = "commit.after"


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class _Armed:
    """What is armed in this process; a test device, hence the one piece of module state in fundarb."""

    def __init__(self, text: str, strike: Callable[[], None] = _kill) -> None:
        name, _, hits = text.partition(":")
        self.name = name
        self.left = int(hits) if hits else 1
        self.strike = strike


_armed: list[_Armed] = [_Armed(os.environ["FUNDARB_CRASH"])] if os.environ.get("FUNDARB_CRASH") else []


def arm(name: str, hits: int = 1, *, strike: Callable[[], None] = _kill) -> None:
    """Kill this process the ``hits``-th time the point is reached; a simulation has its own ``strike``."""
    _armed[:] = [_Armed(f"{name}:{hits}", strike)]


def disarm() -> None:
    """Let this process live."""
    _armed.clear()


def reached(point: Point) -> None:
    """Say that a point is reached; returns at once unless it is armed."""
    if _armed and _armed[0].name == point:
        _armed[0].left -= 1
        if _armed[0].left <= 0:
            _armed[0].strike()
