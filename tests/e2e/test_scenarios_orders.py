"""Orders whose fate is in doubt or refused (family A): lost, garbled, contradicted, rejected, on either leg
of either clip, on the way in, out, and out in an emergency.
"""

from __future__ import annotations

import pytest

from fundarb.core.records import BlockKind
from fundarb.exchange.outcomes import EXISTS, UNCERTAIN
from tests.e2e.deeds import DEEDS, ENTRY, EXIT, NAKED, NTH, Deed, finished, grid, states
from tests.e2e.stage import LOT, Stage

HOWS = ("hang", "reset", "close")
BODIES = ("html", "empty", "null", "cut", "bad_json", "no_result", "no_order_id")
STATUSES = (408, 500, 502, 503, 504, 302)
APPLIED = (True, False)
READS = ("/v5/order/realtime", "/v5/order/history", "/v5/execution/list")
PRIVATE = (*READS, "/v5/position/list", "/v5/account/wallet-balance", "/v5/account/transaction-log")
UNKNOWN = 999_999


@pytest.mark.parametrize(("deed", "how", "nth"), grid(29, DEEDS, ("reset", "close"), NTH))
def test_a01_a_request_that_is_lost(stage: Stage, deed: Deed, how: str, nth: int) -> None:
    """A01: the venue never saw it: ABSENT only after its lease and the proof, then a new number."""
    deed.prepare(stage)
    stage.fault("drop_request", how=how, match={"nth": nth})
    before = stage.truth()["now"]
    ran = deed.do(stage)
    assert ran.code in {0, 8}, ran.out
    assert states(ran).count("ABSENT") == 1
    assert stage.truth()["now"] - before >= 32_000
    finished(stage, deed)


@pytest.mark.parametrize(("deed", "ms", "nth"), grid(29, DEEDS, (400, 1900), NTH))
def test_a01_a_request_that_arrives_late(stage: Stage, deed: Deed, ms: int, nth: int) -> None:
    """A01: lost for us, applied by the venue within the lease: adopted, nothing is created in its place."""
    deed.prepare(stage)
    stage.fault("apply_after", ms=ms, match={"nth": nth})
    ran = deed.do(stage)
    assert ran.code == 0, ran.out
    assert "ABSENT" not in states(ran)
    finished(stage, deed)


@pytest.mark.parametrize(("deed", "how", "nth"), grid(45, DEEDS, HOWS, NTH))
def test_a02_an_answer_that_is_lost(stage: Stage, deed: Deed, how: str, nth: int) -> None:
    """A02: created, and the answer lost: the order is adopted by its link id, nothing is created twice."""
    deed.prepare(stage)
    stage.fault("apply_then_lose", how=how, match={"nth": nth})
    ran = deed.do(stage)
    assert ran.code == 0, ran.out
    assert set(states(ran)) == {"DONE"}
    finished(stage, deed)


@pytest.mark.parametrize(("deed", "nth"), grid(25, DEEDS, NTH))
def test_a04_reads_that_lag(stage: Stage, deed: Deed, nth: int) -> None:
    """A04: an answer is lost and every private read lags 20 s: never ABSENT before they have caught up."""
    deed.prepare(stage)
    stage.advance("1m")
    for path in PRIVATE:
        stage.fault("lag_reads", ms=20_000, match={"path": path, "times": 0})
    stage.fault("apply_then_lose", how="close", match={"nth": nth})
    ran = deed.do(stage)
    assert ran.code in {0, 5, 8}, ran.out
    assert "ABSENT" not in states(ran)
    finished(stage, deed)


@pytest.mark.parametrize(("deed", "ms"), grid(17, DEEDS, (36_000, 45_000, 120_000)))
def test_a04_reads_that_lag_longer_than_a_proof_takes(stage: Stage, deed: Deed, ms: int) -> None:
    """A04: every create is acknowledged and every private read lags for longer than absence takes to prove:
    what was acknowledged is never ABSENT, no other order is sent in its place, and a person is told of it.
    """
    deed.prepare(stage)
    stage.advance("3m")
    for path in PRIVATE:
        stage.fault("lag_reads", ms=ms, match={"path": path, "times": 0})
    ran = deed.do(stage)
    assert "ABSENT" not in states(ran)
    if ms > 40_000:
        assert ran.code == 5, ran.out
        assert states(ran)[-1] == "UNCERTAIN"
        assert stage.alerts() == ["uncertain_order"]
    stage.advance("3m")
    stage.healed(*stage.alerts())


@pytest.mark.parametrize(("deed", "nth"), grid(13, (ENTRY, EXIT), NTH))
def test_a04_a_fill_that_shows_after_the_proof(stage: Stage, deed: Deed, nth: int) -> None:
    """A04: an answer is lost and nothing at all shows for a minute, longer than the proof takes: whatever was
    concluded, the fill is ours when it shows, told, and no leg stays naked.
    """
    deed.prepare(stage)
    stage.advance("3m")
    for path in PRIVATE:
        stage.fault("lag_reads", ms=60_000, match={"path": path, "times": 0})
    stage.fault("apply_then_lose", how="close", match={"nth": nth})
    deed.do(stage)
    stage.advance("3m")
    stage.heal()
    assert stage.json("reconcile").code == 0
    assert abs(stage.coins() - stage.short()) <= 2 * LOT
    told = stage.alerts()
    assert set(told) <= {"late_fill", "uncertain_order", NAKED}
    assert told
    stage.healed(*told)


@pytest.mark.parametrize(("deed", "nth"), grid(13, (ENTRY, EXIT), NTH))
def test_a_refusal_that_was_none(stage: Stage, deed: Deed, nth: int) -> None:
    """The venue refuses for certain and has taken the order all the same: its fill is no stranger's, whatever
    became of the plan; it is given back at the next look, the coin frozen, somebody told.
    """
    deed.prepare(stage)
    stage.fault("ret_code", code=10006, applied=True, match={"nth": nth})
    deed.do(stage)
    ran = stage.json("reconcile")
    assert ran.code == 0, ran.out
    assert abs(stage.coins() - stage.short()) <= 2 * LOT
    told = stage.alerts()
    assert told.count("late_fill") == 1
    assert set(told) <= {"late_fill", "unhedged", NAKED}
    with stage.store() as store:
        assert store.blocks.get("BTC", BlockKind.FREEZE) is not None
    stage.healed(*told)


@pytest.mark.parametrize(("code", "applied"), grid(29, (*sorted(UNCERTAIN), UNKNOWN), APPLIED))
def test_a06_a_code_that_says_nothing(stage: Stage, code: int, applied: bool) -> None:
    """A06: an ambiguous or unknown code is UNCERTAIN and resolved right, whether the order exists or not."""
    deed, nth = DEEDS[code % len(DEEDS)], NTH[code % 7 % len(NTH)]
    deed.prepare(stage)
    stage.fault("ret_code", code=code, applied=applied, match={"nth": nth})
    ran = deed.do(stage)
    assert ran.code in {0, 8}, ran.out
    assert states(ran).count("ABSENT") == (0 if applied else 1)
    finished(stage, deed)


@pytest.mark.parametrize(("status", "applied"), grid(21, STATUSES, APPLIED))
def test_a06_a_page_of_a_proxy(stage: Stage, status: int, applied: bool) -> None:
    """A06: any 5xx, 408 or redirect, with an HTML page, is UNCERTAIN; the page's words are never read."""
    deed, nth = DEEDS[status % len(DEEDS)], NTH[status % len(NTH)]
    deed.prepare(stage)
    page = '<html>{"retCode":0,"result":{}}</html>'
    stage.fault("http", status=status, body=page, applied=applied, match={"nth": nth})
    ran = deed.do(stage)
    assert ran.code in {0, 8}, ran.out
    assert states(ran).count("ABSENT") == (0 if applied else 1)
    finished(stage, deed)


@pytest.mark.parametrize(("kind", "applied"), grid(13, BODIES, APPLIED))
def test_a08_a_garbled_body(stage: Stage, kind: str, applied: bool) -> None:
    """A08: 200 with garbage is UNCERTAIN, never "order None"."""
    number = BODIES.index(kind) + 3 * applied
    deed, nth = DEEDS[number % len(DEEDS)], NTH[number % len(NTH)]
    deed.prepare(stage)
    stage.fault("body", kind=kind, applied=applied, match={"nth": nth})
    ran = deed.do(stage)
    assert ran.code in {0, 8}, ran.out
    assert states(ran).count("ABSENT") == (0 if applied else 1)
    assert "None" not in {order["order_id"] for order in ran.data["orders"]}
    finished(stage, deed)


@pytest.mark.parametrize(("code", "deed", "nth"), grid(37, sorted(EXISTS), (ENTRY, EXIT), (1, 4)))
def test_a11_a_link_id_that_is_taken_by_ourselves(stage: Stage, code: int, deed: Deed, nth: int) -> None:
    """A11: "duplicate link id" on a first send: looked up, found with our parameters, adopted at once."""
    deed.prepare(stage)
    stage.fault("ret_code", code=code, applied=True, match={"nth": nth})
    before = stage.truth()["now"]
    ran = deed.do(stage)
    assert ran.code == 0, ran.out
    assert set(states(ran)) == {"DONE"}
    assert stage.truth()["now"] - before < 10_000
    finished(stage, deed)


@pytest.mark.parametrize(("deed", "nth"), grid(17, DEEDS, NTH))
def test_a12_an_order_that_matching_rejects(stage: Stage, deed: Deed, nth: int) -> None:
    """A12: accepted, then rejected by matching: zero fill; tried anew, or the other leg is never sent or
    given back.
    """
    deed.prepare(stage)
    stage.fault("reject_async", match={"nth": nth})
    ran = deed.do(stage)
    assert ran.code in {0, 8}, ran.out
    if (deed, nth) == (ENTRY, 1):
        assert ran.data["state"] == "ABORTED"
        assert len(stage.truth()["orders"]) == 1
    finished(stage, deed)


def test_a12_a_second_leg_that_is_always_rejected(stage: Stage) -> None:
    """A12: each spot order is rejected by matching: the perp is given back, the coin cools down."""
    stage.fault("reject_async", match={"category": "spot", "side": "Buy", "times": 0})
    ran = stage.open()
    assert ran.code == 8, ran.out
    assert ran.data["state"] == "CLOSED"
    with stage.store() as store:
        assert store.blocks.get("BTC", BlockKind.COOL_DOWN) is not None
    stage.healed()


VERBS = ("apply_then_lose", "drop_request")


@pytest.mark.parametrize(("deed", "first", "second"), grid(29, DEEDS, VERBS, VERBS))
def test_a17_both_legs_in_doubt(stage: Stage, deed: Deed, first: str, second: str) -> None:
    """A17: both answers are lost, each applied or not: each order is resolved on its own evidence."""
    deed.prepare(stage)
    stage.fault(first, how="close")
    stage.fault(second, how="close", match={"nth": 2})
    ran = deed.do(stage)
    assert ran.code in {0, 8}, ran.out
    assert states(ran).count("ABSENT") >= (first == VERBS[1])
    finished(stage, deed)


def test_a17_both_legs_in_doubt_until_another_day(stage: Stage) -> None:
    """A17: neither order can be looked up for an hour, one exists and one does not: no cross-adoption."""
    stage.fault("apply_then_lose", how="close")
    stage.fault("drop_request", how="close", match={"nth": 2})
    for path in READS:
        stage.fault("http", status=503, match={"path": path, "symbol": "BTCUSDT", "times": 0})
    ran = stage.open()
    assert ran.code == 5, ran.out
    stage.advance("1h")
    stage.heal()
    assert stage.json("reconcile").code == 0
    stage.healed("uncertain_order")
    assert abs(stage.coins() - stage.short()) <= LOT


DEFINITE = (10006, 110007, 110063, 110094, 170131)


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
    stage.healed()


@pytest.mark.parametrize("code", DEFINITE)
def test_a_definite_refusal_of_the_second_leg(stage: Stage, code: int) -> None:
    """One refusal of the second leg costs nothing: the leg is topped up at once."""
    stage.fault("ret_code", code=code, applied=False, match={"nth": 2})
    ran = stage.open()
    assert ran.code == 0, ran.out
    assert abs(stage.coins() - stage.short()) <= LOT
    stage.healed()
