"""The two state tables: exactly the documented moves, everything else is an error that changes nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.states import (
    INTENT,
    POSITION,
    IntentState,
    IntentTrigger,
    PositionState,
    PositionTrigger,
    advance,
)
from fundarb.errors import IllegalTransition

DOCUMENTED = """
PLANNED SENT OPENING | PLANNED FLAT ABORTED
OPENING BALANCED HEDGED | OPENING UNBALANCED EXPOSED | OPENING FLAT ABORTED | OPENING NO_ANSWER UNCERTAIN
HEDGED SENT CHANGING | HEDGED UNBALANCED EXPOSED | HEDGED FLAT CLOSED
CHANGING BALANCED HEDGED | CHANGING UNBALANCED EXPOSED | CHANGING FLAT CLOSED | CHANGING NO_ANSWER UNCERTAIN
EXPOSED SENT REPAIRING | EXPOSED BALANCED HEDGED | EXPOSED FLAT CLOSED
REPAIRING BALANCED HEDGED | REPAIRING UNBALANCED EXPOSED | REPAIRING FLAT CLOSED
REPAIRING NO_ANSWER UNCERTAIN
UNCERTAIN SENT REPAIRING | UNCERTAIN BALANCED HEDGED | UNCERTAIN UNBALANCED EXPOSED | UNCERTAIN FLAT CLOSED
"""


def test_positions_move_as_documented() -> None:
    """The table of positions is the one in the architecture, no more and no less."""
    moves = {tuple(move.split()) for line in DOCUMENTED.strip().splitlines() for move in line.split("|")}
    assert {(a.value, t.value, b.value) for a, row in POSITION.items() for t, b in row.items()} == moves


@given(st.sampled_from(list(PositionState)), st.sampled_from(list(PositionTrigger)))
def test_a_position_moves_or_raises(state: PositionState, trigger: PositionTrigger) -> None:
    """Every pair either has its successor or is illegal by name."""
    if trigger in POSITION[state]:
        assert advance(POSITION, state, trigger=trigger) is POSITION[state][trigger]
    else:
        with pytest.raises(IllegalTransition, match=f"{state} has no transition on {trigger}"):
            advance(POSITION, state, trigger=trigger)


@given(st.sampled_from(list(IntentState)), st.sampled_from(list(IntentTrigger)))
def test_an_intent_moves_or_raises(state: IntentState, trigger: IntentTrigger) -> None:
    """Every pair either has its successor or is illegal."""
    if trigger in INTENT[state]:
        assert advance(INTENT, state, trigger=trigger) is INTENT[state][trigger]
    else:
        with pytest.raises(IllegalTransition):
            advance(INTENT, state, trigger=trigger)


def test_final_states() -> None:
    """Nothing follows closed and aborted positions, nor done, refused and absent intents."""
    assert {state for state in PositionState if state.final} == {PositionState.CLOSED, PositionState.ABORTED}
    assert {state for state in IntentState if state.terminal} == {
        IntentState.DONE,
        IntentState.REFUSED,
        IntentState.ABSENT,
    }


def test_uncertain_never_becomes_refused_and_absence_is_proved() -> None:
    """An intent that may exist is not refused; only a proof of absence makes it absent."""
    assert IntentState.REFUSED not in INTENT[IntentState.UNCERTAIN].values()
    ways = {
        (state, trigger)
        for state, row in INTENT.items()
        for trigger, to in row.items()
        if to is IntentState.ABSENT
    }
    assert ways == {(IntentState.UNCERTAIN, IntentTrigger.PROVED_ABSENT)}


def test_every_state_can_end() -> None:
    """From every position state a final one can be reached."""
    reach = {state for state in PositionState if state.final}
    for _ in PositionState:
        reach |= {state for state, row in POSITION.items() if reach & set(row.values())}
    assert reach == set(PositionState)
