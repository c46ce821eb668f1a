"""The outcome table, code by code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fundarb.core.orders import Outcome
from fundarb.exchange.outcomes import EXISTS, NO_CHANGE, REFUSED, UNCERTAIN, classify

NAMED_EXISTS = {110072, 110030, 170141, 12141, 10014}
NAMED_UNCERTAIN = {
    10000,
    10016,
    10019,
    170001,
    170005,
    170007,
    170032,
    170146,
    170147,
    170149,
    170210,
    110079,
}
NAMED_UNCERTAIN |= {429, 10403, 10429, 20003, 20006, 500000}


@pytest.mark.parametrize("code", sorted(NAMED_EXISTS))
def test_a_duplicate_link_id_means_that_it_exists(code: int) -> None:
    """A refusal for a duplicate proves that the first request landed."""
    assert classify(code) == (Outcome.EXISTS, False)


@pytest.mark.parametrize("code", sorted(NAMED_UNCERTAIN))
def test_an_internal_failure_of_the_venue_is_uncertain(code: int) -> None:
    """Time-outs and restarts behind the door decide nothing."""
    assert classify(code) == (Outcome.UNCERTAIN, False)


def test_rate_limit_and_settlement_are_definite() -> None:
    """The two codes that other programs treat as uncertain are refusals here."""
    assert classify(10006) == classify(110063) == (Outcome.REFUSED, False)


def test_zero_is_accepted() -> None:
    """Success, if the strict check let it through."""
    assert classify(0) == (Outcome.ACCEPTED, False)


def test_the_three_classes_do_not_overlap() -> None:
    """Every code has one meaning, and "nothing to change" is a definite refusal."""
    for first, second in ((EXISTS, UNCERTAIN), (EXISTS, REFUSED), (UNCERTAIN, REFUSED)):
        assert not first & second
    assert NO_CHANGE <= REFUSED


@given(st.integers(-10_000_000, 10_000_000))
def test_a_code_in_no_list_is_uncertain_and_asks_for_the_table(code: int) -> None:
    """What is not known may have happened."""
    outcome, unknown = classify(code)
    assert unknown == (code != 0 and code not in EXISTS | UNCERTAIN | REFUSED)
    if unknown:
        assert outcome is Outcome.UNCERTAIN


def test_every_definite_refusal_of_the_reference_is_listed(shared_dir: Path) -> None:
    """Each row of the error table whose column "amb" is empty or "no" is classified as refused."""
    reference = (shared_dir / "reference" / "bybit-v5.md").read_text(encoding="utf-8")
    missing = {code for code in _definite(reference) if classify(code)[0] is not Outcome.REFUSED}
    assert not missing
    assert len(_definite(reference)) > 100


def _definite(reference: str) -> set[int]:
    """The codes of the rows that are not ambiguous, less those that the outcome table names otherwise."""
    table = reference.split("### 5.2")[1].split("Details:", maxsplit=1)[0]
    codes: set[int] = set()
    for line in table.splitlines():
        cells = [cell.strip().strip("*") for cell in line.strip("|").split("|")]
        if len(cells) < 5 or not re.match(r"-?\d", cells[0]):
            continue
        if cells[3].split("/")[0].strip("*") in {"", "no", "-"}:
            codes |= _codes(cells[0])
    return codes - NAMED_EXISTS - NAMED_UNCERTAIN - {0, 131214}


def _codes(cell: str) -> set[int]:
    found: set[int] = set()
    for first, last in re.findall(r"(-?\d+)(?:-(\d+))?", cell):
        found |= set(range(int(first), int(last or first) + 1))
    return found
