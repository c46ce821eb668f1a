"""Each scenario that is promised has a test of its name: the list stays complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FAMILIES = {
    "A": (1, 2, 4, 6, 8, 11, 12, 17),
    "B": (1, 2, 3, 4, 5, 6, 11),
    "C": (1, 2, 3, 4, 7, 9, 11),
    "D": (1, 3, 4, 5, 7),
    "E": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12),
    "F": (1, 3, 11, 12),
    "G": (1, 8),
    "H": (1, 3, 5, 7),
}
IDS = tuple(f"{family}{number:02}" for family, numbers in FAMILIES.items() for number in numbers)
TEST = re.compile(r"^ *def test_((?:[a-z]\d\d_)+)", re.MULTILINE)


@pytest.fixture(scope="module")
def named() -> set[str]:
    """Every id in the name of a test."""
    tests = Path(__file__).resolve().parent.parent
    found = (match for path in tests.rglob("test_*.py") for match in TEST.findall(path.read_text("utf-8")))
    return {ident.upper() for names in found for ident in names.strip("_").split("_")}


@pytest.mark.parametrize("ident", IDS)
def test_a_scenario_has_a_test_of_its_name(ident: str, named: set[str]) -> None:
    """A fault that is promised to be survived is found by its id."""
    assert ident in named
