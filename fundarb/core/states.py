"""The two state tables, of a position and of an intent, and the one function that moves along them.

Everything that decides whether a state may follow another stands in this file, and the file knows nothing of
venues, databases or quantities. The transition is checked *before* anything is sent or stored; an illegal
pair raises and changes nothing.

A position's triggers say what the **book** is once everything sent in a step is known (FLAT, BALANCED,
UNBALANCED), that something was SENT, or that there is NO_ANSWER. One word, UNCERTAIN, stands everywhere for
"may or may not exist".
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from fundarb.errors import IllegalTransition


class PositionState(StrEnum):
    """Where a position is in its life."""

    PLANNED = "PLANNED"
    OPENING = "OPENING"
    HEDGED = "HEDGED"
    CHANGING = "CHANGING"
    EXPOSED = "EXPOSED"
    REPAIRING = "REPAIRING"
    UNCERTAIN = "UNCERTAIN"
    CLOSED = "CLOSED"
    ABORTED = "ABORTED"

    @property
    def final(self) -> bool:
        """Whether nothing can follow."""
        return not POSITION[self]


class PositionTrigger(StrEnum):
    """What is known of the book of a position."""

    SENT = "SENT"
    FLAT = "FLAT"
    BALANCED = "BALANCED"
    UNBALANCED = "UNBALANCED"
    NO_ANSWER = "NO_ANSWER"


class IntentState(StrEnum):
    """Where one order of ours is in its life."""

    SENDING = "SENDING"
    WORKING = "WORKING"
    DONE = "DONE"
    REFUSED = "REFUSED"
    UNCERTAIN = "UNCERTAIN"
    ABSENT = "ABSENT"

    @property
    def terminal(self) -> bool:
        """Whether nothing can follow: REFUSED, ABSENT, or DONE with what was really filled, maybe nothing."""
        return not INTENT[self]


class IntentTrigger(StrEnum):
    """What was learnt about one order."""

    ACCEPTED = "ACCEPTED"
    FINISHED = "FINISHED"
    REFUSED = "REFUSED"
    NO_ANSWER = "NO_ANSWER"
    PROVED_ABSENT = "PROVED_ABSENT"


_S = TypeVar("_S", bound=StrEnum)
_G = TypeVar("_G", bound=StrEnum)

_P, _T = PositionState, PositionTrigger
POSITION: Mapping[PositionState, Mapping[PositionTrigger, PositionState]] = {
    # FLAT here: a start-up that finds nothing was sent
    _P.PLANNED: {_T.SENT: _P.OPENING, _T.FLAT: _P.ABORTED},
    _P.OPENING: {
        _T.BALANCED: _P.HEDGED,
        _T.UNBALANCED: _P.EXPOSED,
        _T.FLAT: _P.ABORTED,
        _T.NO_ANSWER: _P.UNCERTAIN,
    },
    # CHANGING: add, reduce or close; the target is data of the plan
    _P.HEDGED: {_T.SENT: _P.CHANGING, _T.UNBALANCED: _P.EXPOSED, _T.FLAT: _P.CLOSED},
    _P.CHANGING: {
        _T.BALANCED: _P.HEDGED,
        _T.UNBALANCED: _P.EXPOSED,
        _T.FLAT: _P.CLOSED,
        _T.NO_ANSWER: _P.UNCERTAIN,
    },
    # SENT here: top up, trim or unwind
    _P.EXPOSED: {_T.SENT: _P.REPAIRING, _T.BALANCED: _P.HEDGED, _T.FLAT: _P.CLOSED},
    _P.REPAIRING: {
        _T.BALANCED: _P.HEDGED,
        _T.UNBALANCED: _P.EXPOSED,
        _T.FLAT: _P.CLOSED,
        _T.NO_ANSWER: _P.UNCERTAIN,
    },
    _P.UNCERTAIN: {
        _T.SENT: _P.REPAIRING,
        _T.BALANCED: _P.HEDGED,
        _T.UNBALANCED: _P.EXPOSED,
        _T.FLAT: _P.CLOSED,
    },
    _P.CLOSED: {},
    _P.ABORTED: {},
}

_I, _N = IntentState, IntentTrigger
INTENT: Mapping[IntentState, Mapping[IntentTrigger, IntentState]] = {
    _I.SENDING: {
        _N.ACCEPTED: _I.WORKING,
        _N.REFUSED: _I.REFUSED,
        _N.NO_ANSWER: _I.UNCERTAIN,
    },
    # an IOC that the venue reports final; matching may have filled it in part or not at all
    _I.WORKING: {_N.FINISHED: _I.DONE, _N.REFUSED: _I.REFUSED, _N.NO_ANSWER: _I.UNCERTAIN},
    _I.UNCERTAIN: {_N.ACCEPTED: _I.WORKING, _N.FINISHED: _I.DONE, _N.PROVED_ABSENT: _I.ABSENT},
    _I.DONE: {},
    _I.REFUSED: {},
    _I.ABSENT: {},
}


def advance(table: Mapping[_S, Mapping[_G, _S]], state: _S, *, trigger: _G) -> _S:
    """The state that follows; ``IllegalTransition`` if the table has no such pair."""
    try:
        return table[state][trigger]
    except KeyError:
        msg = f"{type(state).__name__}: {state} has no transition on {trigger}"
        raise IllegalTransition(msg) from None
