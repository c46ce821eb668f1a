"""Creates whose answer says nothing, or the wrong thing: lost, garbled, refused, unknown (families A and
F).
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.stage import LOT, Ran, Stage

LEGS = {"first leg": 1, "second leg": 2}
BODIES = ("html", "empty", "null", "cut", "bad_json", "no_result", "no_order_id")
AMBIGUOUS = (10000, 10016, 170007, 170146, 999_999)
TAKEN = (110072, 110030, 170141)
DEFINITE = (10006, 110007, 170131)


def hedged(stage: Stage, ran: Ran) -> None:
    """The position was opened in spite of everything, each link id traded at most once."""
    assert ran.code == 0, ran.out
    assert ran.data["state"] == "HEDGED"
    assert abs(stage.coins() - stage.short()) <= LOT
    assert sum(1 for amount in stage.filled().values() if amount) == 2
    stage.check()


def states(ran: Ran) -> list[str]:
    return [order["state"] for order in ran.data["orders"]]


@pytest.mark.parametrize("nth", LEGS.values(), ids=LEGS)
@pytest.mark.parametrize("how", ["hang", "reset", "close"])
def test_an_answer_that_is_lost(stage: Stage, how: str, nth: int) -> None:
    """A02: created, and the answer lost: the order is adopted by its link id, nothing is created twice."""
    stage.fault("apply_then_lose", how=how, match={"nth": nth})
    ran = stage.open()
    hedged(stage, ran)
    assert states(ran) == ["DONE", "DONE"]


@pytest.mark.parametrize("nth", LEGS.values(), ids=LEGS)
@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_request_that_is_lost(stage: Stage, how: str, nth: int) -> None:
    """A01: the venue never saw it: ABSENT after its lease, then a new number; one fill of each leg in all."""
    stage.fault("drop_request", how=how, match={"nth": nth})
    ran = stage.open()
    hedged(stage, ran)
    assert states(ran).count("ABSENT") == 1


@pytest.mark.parametrize("applied", [True, False], ids=["applied", "not applied"])
@pytest.mark.parametrize("code", AMBIGUOUS)
def test_a_code_that_says_nothing(stage: Stage, code: int, applied: bool) -> None:
    """A06: an ambiguous or unknown code is UNCERTAIN and resolved right, whether the order exists or not."""
    stage.fault("ret_code", code=code, applied=applied, match={"nth": 1 + applied})
    ran = stage.open()
    hedged(stage, ran)
    assert states(ran).count("ABSENT") == (0 if applied else 1)


@pytest.mark.parametrize("applied", [True, False], ids=["applied", "not applied"])
@pytest.mark.parametrize("kind", BODIES)
def test_a_garbled_body(stage: Stage, kind: str, applied: bool) -> None:
    """A08: 200 with garbage is UNCERTAIN, never "order None"."""
    stage.fault("body", kind=kind, applied=applied, match={"nth": 2 - applied})
    ran = stage.open()
    hedged(stage, ran)
    assert states(ran).count("ABSENT") == (0 if applied else 1)


@pytest.mark.parametrize("applied", [True, False], ids=["applied", "not applied"])
def test_a_page_of_a_proxy(stage: Stage, applied: bool) -> None:
    """A 502 with an HTML page is UNCERTAIN."""
    stage.fault("http", status=502, body="<html>Bad gateway</html>", applied=applied)
    hedged(stage, stage.open())


@pytest.mark.parametrize("code", TAKEN)
def test_a_link_id_that_is_taken(stage: Stage, code: int) -> None:
    """A11: "duplicate link id" on a first send: looked up, found with our parameters, adopted at once."""
    stage.fault("ret_code", code=code, applied=True)
    before = stage.truth()["now"]
    hedged(stage, stage.open())
    assert stage.truth()["now"] - before < 30_000


@pytest.mark.parametrize("code", DEFINITE)
def test_a_definite_refusal_of_the_first_leg(stage: Stage, code: int) -> None:
    """Refused for certain: the plan is aborted, nothing is held, exit 8 with the venue's code among the
    reasons.
    """
    stage.fault("ret_code", code=code, applied=False)
    ran = stage.open()
    assert ran.code == 8, ran.out
    assert ran.data["state"] == "ABORTED"
    assert states(ran) == ["REFUSED"]
    assert "order_not_filled" in ran.codes
    assert str(code) in ran.out
    assert stage.short() == stage.coins() == 0
    stage.check()


@pytest.mark.parametrize("code", DEFINITE)
def test_a_definite_refusal_of_the_second_leg(stage: Stage, code: int) -> None:
    """One refusal of the second leg costs nothing: the leg is topped up at once."""
    stage.fault("ret_code", code=code, applied=False, match={"nth": 2})
    hedged(stage, stage.open())


def test_both_legs_uncertain(stage: Stage) -> None:
    """A17: both answers lost, one applied, one not: each is resolved on its own evidence."""
    stage.fault("apply_then_lose", how="close")
    stage.fault("drop_request", how="close", match={"nth": 2})
    ran = stage.open()
    hedged(stage, ran)
    assert states(ran) == ["DONE", "ABSENT", "DONE"]


def test_reads_that_lag_behind_a_lost_answer(stage: Stage) -> None:
    """A04: the order reads lag 20 s: never ABSENT before they have caught up."""
    lag: dict[str, Any] = {"times": 0}
    for path in ("order/realtime", "order/history", "execution/list"):
        stage.fault("lag_reads", ms=20_000, match={**lag, "path": f"/v5/{path}"})
    stage.fault("apply_then_lose", how="close")
    ran = stage.open()
    stage.heal()
    assert ran.code in {0, 8}, ran.out
    assert "ABSENT" not in states(ran)
    stage.check()
